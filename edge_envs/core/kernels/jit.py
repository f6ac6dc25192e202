"""The one way kernels are compiled."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from edge_envs.core.kernels.cache import add_cache

Function = TypeVar("Function", bound=Callable[..., Any])


_IN_PLACE = {"_nrt": False}
PLAIN = bool(cast(Any, numba.config).DISABLE_JIT)
"""True if NUMBA_DISABLE_JIT was set when numba was imported: kernels run as Python, for a debugger."""


def _njit(function: Function, **options: Any) -> Function:
    """`numba.njit` with a cache that follows all sources; the plain function where NUMBA_DISABLE_JIT is set.

    The plain function then runs under `numpy.errstate(all="ignore")`, as machine code divides by zero in silence.
    """
    if PLAIN:
        return np.errstate(all="ignore")(function)
    dispatcher = cast(Any, numba.njit)(error_model="numpy", **options)(function)
    add_cache(dispatcher)
    return cast(Function, dispatcher)


def compiled(function: Function) -> Function:
    """Compile a function, and keep what was compiled; typed as the function (numba itself loses type variables).

    Division by zero gives inf or NaN, as in numpy: left open, numba would take the rule of whichever kernel compiled
    the function first. No fastmath: a row must come out the same bits whatever the batch around it.
    """
    return _njit(function)


def kernel(function: Function) -> Function:
    """Compile a function that works in place: it neither allocates nor slices arrays, and divides as numpy does.

    Without allocation numba's reference counts can be left out; they would cost ten times the arithmetic where a
    helper takes a tuple of arrays. Allocating in such a function is a compile-time error, not a leak.
    """
    return _njit(function, **_IN_PLACE)


def kernel_part(function: Function) -> Function:
    """A piece of a `kernel`, merged into it: a call would copy the whole state's array headers each time."""
    return _njit(function, **_IN_PLACE, inline="always")


class FastCall:
    """A kernel that is always called with arguments of the same types, without numba's look at them.

    For a state of some eighty arrays the look costs more than the work on one world. The caller vouches for the types:
    the machine code compares little more than item sizes.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = cast(Any, function)
        self._entry: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        """Call the kernel; the first call compiles it for the types at hand, or loads it from the cache."""
        if self._entry is None and PLAIN:
            self._entry = self._function
        elif self._entry is None:
            types = tuple(numba.typeof(argument) for argument in arguments)
            self._function.compile(types)
            self._entry = self._function.overloads[types].entry_point
        return self._entry(*arguments)
