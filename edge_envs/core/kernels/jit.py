"""Compilation of kernels by numba."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.core.types import unliteral

from edge_envs.core.kernels.cache import add_cache

Function = TypeVar("Function", bound=Callable[..., Any])
_IN_PLACE = {"_nrt": False}
PLAIN = bool(cast(Any, numba.config).DISABLE_JIT)
"""True if NUMBA_DISABLE_JIT was set when numba was imported: kernels run as Python, for a debugger."""


def _njit(function: Function, **options: Any) -> Function:
    """`numba.njit` with a cache that depends on all sources; the plain function if NUMBA_DISABLE_JIT is set.

    The plain function runs under `numpy.errstate(all="ignore")`: as in machine code, division by zero does not warn.
    """
    if PLAIN:
        return np.errstate(all="ignore")(function)
    dispatcher = cast(Any, numba.njit)(error_model="numpy", **options)(function)
    add_cache(dispatcher)
    template = dispatcher.get_call_template

    def without_literals(arguments: Any, keywords: Mapping[str, Any]) -> Any:
        # Otherwise numba compiles a function once more for every constant with which a kernel calls it.
        return template(tuple(map(unliteral, arguments)), {name: unliteral(each) for name, each in keywords.items()})

    dispatcher.get_call_template = without_literals
    return cast(Function, dispatcher)


def compiled(function: Function) -> Function:
    """Compile a function with a cache; the result has the function's type, whose type variables numba would lose.

    Division by zero gives inf or NaN, as in numpy. Without this setting, the result would depend on which kernel
    compiles the function first. There is no fastmath: the results of a row must not depend on its batch.
    """
    return _njit(function)


def kernel(function: Function) -> Function:
    """Compile a function that neither allocates nor slices arrays; division by zero is as in `compiled`.

    Without allocation, numba's reference counting can be omitted. It takes ten times as long as the arithmetic if a
    helper has a tuple of arrays as argument. Allocation in such a function is a compile-time error.
    """
    return _njit(function, **_IN_PLACE)


def kernel_part(function: Function) -> Function:
    """Compile a function as `kernel`, inlined into its callers: a call would copy the headers of the state's arrays."""
    return _njit(function, **_IN_PLACE, inline="always")


class FastCall:
    """A kernel for arguments of always equal types; numba does not inspect them in each call.

    For a state of eighty arrays, the inspection takes longer than a step of one world. The caller must ensure that the
    types are equal: the machine code only compares the sizes of items.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = cast(Any, function)
        self._entry: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        """Call the kernel; the first call compiles it for the arguments' types, or loads it from the cache."""
        if self._entry is None and PLAIN:
            self._entry = self._function
        elif self._entry is None:
            types = tuple(numba.typeof(argument) for argument in arguments)
            self._function.compile(types)
            self._entry = self._function.overloads[types].entry_point
        return self._entry(*arguments)
