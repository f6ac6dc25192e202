"""Checks of arguments that Python callers pass to solvers and environments. Each error names the value and the fix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def finite_array(
    name: str, values: ArrayLike, shape: tuple[int | None, ...], *, low: float = 0.0, strict: bool = False
) -> FloatArray:
    """A fresh, contiguous float array of finite numbers.

    Args:
        name: of the argument, for the error.
        values: numbers.
        shape: the expected shape; None stands for any length.
        low: the smallest number allowed.
        strict: if True, numbers must be above `low`.

    Raises:
        ValueError: another shape, or a number that is not allowed.
    """
    try:
        array = np.array(values, dtype=np.float64, order="C")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}={values!r} is not possible; give an array of numbers") from error
    expected = tuple(found if size is None else size for size, found in zip(shape, array.shape, strict=False))
    if array.ndim != len(shape) or array.shape != expected:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} has shape {array.shape}, expected ({wanted}{',' if len(shape) == 1 else ''})")
    wrong = ~np.isfinite(array) | ((array <= low) if strict else (array < low))
    if wrong.any():
        index = tuple(int(each) for each in np.argwhere(wrong)[0])
        place = f"[{', '.join(map(str, index))}]" if index else ""
        bound = "" if low == -math.inf else f" {'>' if strict else '>='} {low:g}"
        raise ValueError(f"{name}{place}={float(array[index])!r} is not possible; give finite numbers{bound}")
    return array


def positive_number(name: str, value: float, *, infinite: bool = False) -> float:
    """The number, which must be above zero, and finite unless `infinite` is True.

    Raises:
        ValueError: it is not.
    """
    if not (value > 0.0 and (infinite or math.isfinite(value))):
        raise ValueError(f"{name}={value!r} is not possible; give a {'' if infinite else 'finite '}number > 0")
    return float(value)


def is_whole(value: object) -> bool:
    """Return True if a value is an integer of Python or numpy, and not a boolean."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def whole_number(name: str, value: Any, least: int) -> int:
    """The whole number, which must be at least `least`.

    Raises:
        ValueError: it is not.
    """
    if not is_whole(value) or value < least:
        raise ValueError(f"{name}={value!r} is not possible; give a whole number >= {least}")
    return int(value)
