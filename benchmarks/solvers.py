"""Comparison of the package's solvers with CVXPY and other solvers, for all environments."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import cycle

from benchmarks.timing import Sampler, Skipped
from edge_envs.core.io.extras import load_cvxpy


def require_cvxpy() -> None:
    """Raise Skipped if CVXPY is not installed."""
    try:
        load_cvxpy()
    except ImportError as error:
        raise Skipped(str(error)) from error


def checked_sampler(solves: Sequence[Callable[[], float]], optimum: Sequence[float], tolerance: float) -> Sampler:
    """Sampler of another solver's time per solve, on the next draw in each sample.

    Args:
        solves: one function per draw, which returns the objective that the solver reaches.
        optimum: certified optimum of each draw.
        tolerance: largest relative difference between the objective and the optimum; a sample beyond it raises.
    """
    upcoming = cycle(zip(solves, optimum, strict=True))

    def sample() -> float:
        solve, best = next(upcoming)
        started = time.perf_counter()
        objective = solve()
        seconds = time.perf_counter() - started
        if not abs(objective / best - 1.0) <= tolerance:
            raise RuntimeError(f"objective {objective!r} is not the certified {best!r}")
        return seconds

    return sample
