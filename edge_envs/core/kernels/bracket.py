"""One step of a bracketed root search: narrow the bracket, and keep the next point inside it."""

from __future__ import annotations

import math

from edge_envs.core.kernels.jit import kernel_part


@kernel_part
def narrowed(low: float, high: float, x: float, above: bool) -> tuple[float, float]:
    """The bracket with x as its lower end if the root is `above` x, else with x as its upper end."""
    return (x, high) if above else (low, x)


@kernel_part
def inside_or_middle(candidate: float, low: float, high: float) -> float:
    """The candidate if it is inside (low, high), else (also for NaN) the arithmetic mean of the ends."""
    return candidate if low < candidate < high else 0.5 * (low + high)


@kernel_part
def inside_or_geometric_middle(candidate: float, low: float, high: float) -> float:
    """The candidate if it is inside (low, high), else the geometric mean of the ends, which must be positive."""
    return candidate if low < candidate < high else math.sqrt(low * high)
