"""Safeguards of one-dimensional root finding: the middle of the bracket replaces a step outside it."""

from __future__ import annotations

import math

from edge_envs.core.kernels.jit import kernel


@kernel
def inside_or_middle(candidate: float, low: float, high: float) -> float:
    """The candidate if it is inside (low, high), else (also for NaN) the arithmetic mean of the ends."""
    return candidate if low < candidate < high else 0.5 * (low + high)


@kernel
def inside_or_geometric_middle(candidate: float, low: float, high: float) -> float:
    """The candidate if it is inside (low, high), else the geometric mean of the ends, which must be positive."""
    return candidate if low < candidate < high else math.sqrt(low * high)
