"""Where the APs stand: cells of nearly equal size in a square, by Lloyd's algorithm."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

GRID, ROUNDS = 48, 100
GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


@lru_cache(maxsize=64)
def _unit_centres(count: int) -> NDArray[np.float64]:
    """Centres of `count` cells of the unit square, each in the middle of the points nearest to it."""
    at = (np.arange(GRID) + 0.5) / GRID
    points = np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2)
    turn = GOLDEN_ANGLE * np.arange(count)
    radius = 0.45 * np.sqrt((np.arange(count) + 0.5) / count)
    centres = 0.5 + radius[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    for _ in range(ROUNDS):
        nearest = nearest_centre(points, centres)
        centres = np.array([points[nearest == cell].mean(axis=0) for cell in range(count)])
    centres.flags.writeable = False
    return centres


def cell_centres(count: int, side_m: float) -> NDArray[np.float64]:
    """Positions (count, 2) [m] of the APs in a square of a side: always the same for the same arguments."""
    return _unit_centres(count) * side_m


def nearest_centre(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index (n,) of the centre nearest to each point (n, 2); of equally near ones the first."""
    squares = ((points[:, None] - centres[None]) ** 2).sum(axis=-1)
    nearest: NDArray[np.int64] = squares.argmin(axis=1)
    return nearest


def place_users(
    rng: Generator, count: int, centres: NDArray[np.float64], side_m: float, balanced: bool
) -> NDArray[np.float64]:
    """Places (count, 2) [m], evenly random in the square; if balanced, with equally many nearest to each centre.

    Draws go on until every cell is full, and those for a full cell are passed over, so that a cell's users are evenly
    random within it.
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
