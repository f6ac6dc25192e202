"""Checks of arguments of solvers and environments. Each error names the argument, the value and the fix."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
SEED_MAX = (1 << 32) - 1
"""Largest seed that numpy and torch both accept."""


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


def nearest(word: str, known: Sequence[str], renamed: Mapping[str, str] | None = None) -> str:
    """End of an error message: the most similar known word, or all known words if none is similar.

    Args:
        word: the unknown word.
        known: possible words.
        renamed: earlier word -> its current one, which is suggested instead.
    """
    current = {**(renamed or {}), **dict(zip(known, known, strict=True))}
    close = get_close_matches(word, current, n=1)
    return f"did you mean {current[close[0]]!r}?" if close else f"known: {', '.join(known)}"


def one_of(name: str, value: object, known: Sequence[object]) -> None:
    """Raise ValueError if the value is not one of the known ones."""
    if value not in known:
        raise ValueError(f"{name}={value!r} does not exist; {nearest(str(value), [str(each) for each in known])}")


def is_whole(value: object) -> bool:
    """Return True if a value is an integer of Python or numpy, and not a boolean."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def whole_number(name: str, value: Any, least: int, most: int | None = None) -> int:
    """The number as an int.

    Raises:
        ValueError: it is not a whole number of at least `least` and at most `most`.
    """
    if not is_whole(value) or value < least or (most is not None and value > most):
        limits = f">= {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name}={value!r} is not possible; give a whole number {limits}")
    return int(value)


def number_within(name: str, value: float, low: float, high: float, *, strict: bool = False) -> float:
    """The number as a float.

    Raises:
        ValueError: it is NaN or not within `low` and `high`, or, with `strict`, equal to `low`.
    """
    if not low <= value <= high or (strict and value == low):
        limits = f"above {low:g} and up to {high:g}" if strict else f"from {low:g} to {high:g}"
        raise ValueError(f"{name}={value!r} is not possible; give a number {limits}")
    return float(value)


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
