"""Positions of APs and users: cells of nearly equal size in a square, by Lloyd's algorithm."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

GRID, ITERATIONS = 48, 100
GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


@lru_cache(maxsize=64)
def _unit_centres(count: int) -> NDArray[np.float64]:
    """Centres (count, 2) of cells of the unit square; each is the mean of the grid points nearest to it."""
    at = (np.arange(GRID) + 0.5) / GRID
    points = np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2)
    turn = GOLDEN_ANGLE * np.arange(count)
    radius = 0.45 * np.sqrt((np.arange(count) + 0.5) / count)
    centres = 0.5 + radius[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    for _ in range(ITERATIONS):
        nearest = nearest_centre(points, centres)
        centres = np.array([points[nearest == cell].mean(axis=0) for cell in range(count)])
    centres.flags.writeable = False
    return centres


def cell_centres(count: int, side_m: float) -> NDArray[np.float64]:
    """Positions (count, 2) [m] of the APs in a square with sides of `side_m`; deterministic."""
    return _unit_centres(count) * side_m


def nearest_centre(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index (n,) of the centre nearest to each point (n, 2); the first of equally near centres."""
    squares = ((points[:, None] - centres[None]) ** 2).sum(axis=-1)
    nearest: NDArray[np.int64] = squares.argmin(axis=1)
    return nearest


def place_users(
    rng: Generator, count: int, centres: NDArray[np.float64], side_m: float, balanced: bool
) -> NDArray[np.float64]:
    """Random positions (count, 2) [m], uniform in the square.

    If `balanced`, equally many users are nearest to each centre: points are drawn until every cell is full, and points
    in a full cell are rejected, so that users are uniform within their cell.
    """
    if not balanced:
        return rng.random((count, 2)) * side_m
    quota = count // len(centres)
    cells: list[list[NDArray[np.float64]]] = [[] for _ in centres]
    while any(len(cell) < quota for cell in cells):
        points = rng.random((count, 2)) * side_m
        for point, cell in zip(points, nearest_centre(points, centres).tolist(), strict=True):
            if len(cells[cell]) < quota:
                cells[cell].append(point)
    return np.array([cell[i] for i in range(quota) for cell in cells])
