"""Checks of arguments of solvers and environments. Each error names the argument, the value and the fix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def finite_array(
    name: str, values: ArrayLike, shape: tuple[int | None, ...], *, low: float = 0.0, strict: bool = False
) -> FloatArray:
    """A fresh, contiguous float array of finite numbers.

    Args:
        name: name of the argument, for the error.
        values: the numbers.
        shape: expected shape; None for any length.
        low: lower bound of the numbers.
        strict: True if numbers equal to `low` are invalid.

    Raises:
        ValueError: another shape, or an invalid number.
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
    """The number as a float.

    Raises:
        ValueError: it is not above zero, or it is infinite and `infinite` is False.
    """
    if not (value > 0.0 and (infinite or math.isfinite(value))):
        raise ValueError(f"{name}={value!r} is not possible; give a {'' if infinite else 'finite '}number > 0")
    return float(value)


def is_whole(value: object) -> bool:
    """Return True if a value is an integer of Python or numpy, and not a boolean."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def whole_number(name: str, value: Any, least: int) -> int:
    """The number as an int.

    Raises:
        ValueError: it is not a whole number of at least `least`.
    """
    if not is_whole(value) or value < least:
        raise ValueError(f"{name}={value!r} is not possible; give a whole number >= {least}")
    return int(value)


def index_array(
    name: str, values: ArrayLike, count: int, limit: int, *, needed: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Indices from 0 to `limit` - 1, a fresh array of shape (count,); `needed` (count,) excludes some from the limits.

    Raises:
        ValueError: another shape, numbers that are not whole, or an index outside the limits.
    """
    array = np.array(values)
    if array.shape != (count,) or array.dtype.kind not in "iu":
        raise ValueError(f"{name}={values!r} is not possible; give {count} whole numbers")
    checked = array if needed is None else array[needed]
    if ((checked < 0) | (checked >= limit)).any():
        raise ValueError(f"{name}={values!r} is not possible; give indices from 0 to {limit - 1}")
    return array.astype(np.int64)


def one_of(name: str, value: object, known: Sequence[object]) -> None:
    """Raise ValueError if a value is not among the known ones."""
    if value not in known:
        raise ValueError(f"{name}={value!r} does not exist; known: {', '.join(map(str, known))}")
