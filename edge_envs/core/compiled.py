"""The one way kernels are compiled."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def forget_stale_kernels(package: Path) -> None:
    """Delete the package's cached kernels if any of its sources changed since they were compiled.

    Numba's cache watches a kernel's own file only, so a kernel would go on using the old version of a function that it
    takes from another file. A folder that cannot be written to is left alone: an installed package changes as a whole.
    Caches elsewhere (NUMBA_CACHE_DIR) are not looked at.
    """
    sources = sorted(package.rglob("*.py"))
    stamp = "\n".join(
        f"{path.relative_to(package)} {path.stat().st_mtime_ns} {path.stat().st_size}" for path in sources
    )
    with suppress(OSError):
        note = package / "__pycache__" / "kernels.stamp"
        if note.is_file() and note.read_text() == stamp:
            return
        for kernel in (*package.rglob("__pycache__/*.nbi"), *package.rglob("__pycache__/*.nbc")):
            kernel.unlink(missing_ok=True)
        note.parent.mkdir(exist_ok=True)
        note.write_text(stamp)


forget_stale_kernels(Path(__file__).parents[1])


_njit = cast(Any, numba.njit)
_IN_PLACE = {"cache": True, "error_model": "numpy", "_nrt": False}


def compiled(function: Function) -> Function:
    """`numba.njit(cache=True)`, typed as the function it compiles (numba itself loses type variables).

    Division by zero gives inf or NaN, as in numpy: left open, numba would take the rule of whichever kernel compiled
    the function first. No fastmath: a row must come out the same bits whatever the batch around it.
    """
    return cast(Function, _njit(cache=True, error_model="numpy")(function))


def kernel(function: Function) -> Function:
    """Compile a function that works in place: it neither allocates nor slices arrays, and divides as numpy does.

    Without allocation numba's reference counts can be left out; they would cost ten times the arithmetic where a
    helper takes a tuple of arrays. Allocating in such a function is a compile-time error, not a leak.
    """
    return cast(Function, _njit(**_IN_PLACE)(function))


def kernel_part(function: Function) -> Function:
    """A piece of a `kernel`, merged into it: a call would copy the whole state's array headers each time."""
    return cast(Function, _njit(**_IN_PLACE, inline="always")(function))


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
        if self._entry is None and numba.config.DISABLE_JIT:
            self._entry = self._function
        elif self._entry is None:
            types = tuple(numba.typeof(argument) for argument in arguments)
            self._function.compile(types)
            self._entry = self._function.overloads[types].entry_point
        return self._entry(*arguments)
