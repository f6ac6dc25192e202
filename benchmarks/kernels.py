"""Compilation of the loops that the benchmarks put around the package's kernels."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function")


def uncached(function: Function) -> Function:
    """Compile like `edge_envs.core.kernels.jit.kernel`, but without a cache.

    Numba's cache checks a function's own file only, so a cached loop would go on calling an outdated solver.
    """
    return cast(Function, cast(Any, numba.njit)(error_model="numpy", _nrt=False)(function))
