"""Checks of what Python callers pass to the solvers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def numbers(name: str, values: ArrayLike, low: float, users: int | None = None, strict: bool = False) -> FloatArray:
    """A fresh float array (K,) of finite numbers at or (strict) above `low`.

    Raises:
        ValueError: another shape or value.
    """
    array = np.array(values, dtype=np.float64, ndmin=1)
    if array.ndim != 1 or (users is not None and len(array) != users):
        raise ValueError(f"{name} has shape {array.shape}, expected ({'K' if users is None else users},)")
    bad = ~np.isfinite(array) | (array <= low if strict else array < low)
    if bad.any():
        least = f"{'>' if strict else '>='} {low:g}"
        raise ValueError(f"{name}={float(array[bad][0])!r} is not possible; give numbers {least}")
    return array


def positive(name: str, value: float) -> float:
    """The number, which must be above zero; infinity is.

    Raises:
        ValueError: it is not.
    """
    if not value > 0.0:
        raise ValueError(f"{name}={value!r} is not possible; give a number > 0")
    return float(value)
