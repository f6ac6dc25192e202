"""Safeguards of one-dimensional root finding: a step that leaves its bracket is replaced by the bracket's middle."""

from __future__ import annotations

import math

from edge_envs.core.kernels.jit import kernel


@kernel
def inside_or_middle(candidate: float, low: float, high: float) -> float:
    """The candidate if it lies inside (low, high), else the arithmetic middle; NaN gives the middle."""
    return candidate if low < candidate < high else 0.5 * (low + high)


@kernel
def inside_or_geometric_middle(candidate: float, low: float, high: float) -> float:
    """The candidate if it lies inside (low, high), else the geometric middle; for positive brackets over decades."""
    return candidate if low < candidate < high else math.sqrt(low * high)
