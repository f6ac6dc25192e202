"""Comparison of the package's solvers with CVXPY and other solvers, for all environments."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import TypeVar

from benchmarks.timing import Sampler, Skipped
from edge_envs.core.io.extras import load_cvxpy

Draw = TypeVar("Draw")
Found = TypeVar("Found")


def require_cvxpy() -> None:
    """Raise Skipped if CVXPY is not installed."""
    try:
        load_cvxpy()
    except ImportError as error:
        raise Skipped(str(error)) from error


def solve_sampler(
    draws: Sequence[Draw], solve: Callable[[Draw], Found], check: Callable[[Draw, Found], object], times: int = 1
) -> Sampler:
    """Sampler of the seconds per solve, on the next draw in each sample.

    Args:
        draws: problems.
        solve: solves a problem `times` times.
        check: raises RuntimeError if the result of the last solve is wrong; not timed.
        times: solves per sample.
    """
    upcoming = cycle(draws)

    def sample() -> float:
        draw = next(upcoming)
        started = time.perf_counter()
        found = solve(draw)
        seconds = (time.perf_counter() - started) / times
        check(draw, found)
        return seconds

    return sample


def checked_sampler(solves: Sequence[Callable[[], float]], optimum: Sequence[float], tolerance: float) -> Sampler:
    """Sampler of another solver's time per solve, on the next draw in each sample.

    Args:
        solves: one function per draw, which returns the objective that the solver reaches.
        optimum: certified optimum of each draw.
        tolerance: largest relative difference between the objective and the optimum; a sample beyond it raises.
    """

    def check(draw: tuple[Callable[[], float], float], objective: float) -> None:
        if not abs(objective / draw[1] - 1.0) <= tolerance:
            raise RuntimeError(f"objective {objective!r} is not the certified {draw[1]!r}")

    return solve_sampler(list(zip(solves, optimum, strict=True)), lambda draw: draw[0](), check)
