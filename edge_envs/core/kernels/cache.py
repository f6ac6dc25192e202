"""A cache of compiled kernels that never returns a kernel compiled from other sources.

numba's own cache depends only on the file of a kernel, so a kernel would contain an old version of a function from
another file. Here the names of the cached files contain a digest of this package's sources and of those in the package
or folder of the kernel's file. The key of an entry contains the digests for kernels that it calls from elsewhere, and
the values of global numbers.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from time import monotonic
from types import CodeType, ModuleType
from typing import Any

import numpy as np
from numba.core.caching import CompileResultCacheImpl, FunctionCache

PACKAGE = Path(__file__).parents[2]
DIGEST_BYTES = 8
OF_A_DIGEST = re.compile(rf"\.py\d+\w*-([0-9a-f]{{{2 * DIGEST_BYTES}}})\.(?:nbi|\d+\.nbc)$")
"""End of a cached file's name; the first group is the digest."""
LOOK_EVERY_S = 0.1
"""Shortest time between two checks of the sources, because hundreds of kernels are loaded one after the other [s]."""


def source_root(file: Path) -> tuple[Path, bool]:
    """The folder whose sources a kernel in `file` may use, and True if its subfolders are included.

    It is the outermost package around the file, or the file's folder without subfolders if there is no package.
    """
    root = file.parent
    while (root.parent / "__init__.py").is_file() and (root / "__init__.py").is_file():
        root = root.parent
    return root, (root / "__init__.py").is_file()


class Sources:
    """All Python files under some roots, at the time of construction.

    Attributes:
        digest: digest of the files' names and contents, as hexadecimal digits.
    """

    def __init__(self, roots: tuple[tuple[Path, bool], ...]) -> None:
        self._roots = roots
        self._stamps = self._look()
        digest = blake2b(digest_size=DIGEST_BYTES)
        for root, name in self._stamps:
            # A file that was deleted meanwhile, or cannot be read, cannot be imported either.
            with suppress(OSError):
                content = (root / name).read_bytes()
                digest.update(f"{name}\0{len(content)}\0".encode())
                digest.update(content)
        self.digest = digest.hexdigest()
        self._changed, self._looked = False, -math.inf

    def _look(self) -> dict[tuple[Path, str], tuple[int, int]]:
        """Modification time and size of every file, by root and name."""
        stamps = {}
        for root, nested in self._roots:
            for path in sorted(root.rglob("*.py") if nested else root.glob("*.py")):
                with suppress(OSError):
                    stat = path.stat()
                    stamps[root, path.relative_to(root).as_posix()] = stat.st_mtime_ns, stat.st_size
        return stamps

    def changed(self) -> bool:
        """Return True if a file was added, removed or written since; checks at most every `LOOK_EVERY_S`."""
        if not self._changed and monotonic() - self._looked > LOOK_EVERY_S:
            self._changed, self._looked = self._look() != self._stamps, monotonic()
        return self._changed


@cache
def sources_of(*roots: tuple[Path, bool]) -> Sources:
    """The sources under `roots` at the time of the first call in this process."""
    return Sources(roots)


def used_by(function: Callable[..., Any]) -> tuple[set[tuple[Path, bool]], list[str]]:
    """Source roots and global values of a kernel and of all kernels that it calls, directly or indirectly."""
    roots, values, left, seen = set(), [], [function], set()
    while left:
        current = left.pop()
        if current in seen:
            continue
        seen.add(current)
        roots.add(source_root(Path(current.__code__.co_filename).resolve()))
        for name, value in sorted(global_values(current)):
            if hasattr(value, "py_func"):
                left.append(value.py_func)
            elif isinstance(value, np.ndarray):
                values.append(f"{name} {value.dtype} {value.shape} {value.tobytes().hex()}")
            elif isinstance(value, (int, float, complex, str, bytes, tuple, np.generic)):
                values.append(f"{name} {value!r}")
    return roots, sorted(values)


def global_values(function: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    """Names in a function's code with their values in its module, or in a module that the code refers to."""
    codes = [function.__code__]
    for code in codes:
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    names = sorted({name for code in codes for name in code.co_names})
    found = {name: function.__globals__[name] for name in names if name in function.__globals__}
    for name, value in found.items():
        if isinstance(value, ModuleType):
            yield from ((f"{name}.{each}", getattr(value, each)) for each in names if hasattr(value, each))
        else:
            yield name, value


class _Implementation(CompileResultCacheImpl):
    """Puts the digest of the kernel's sources into the names of the cached files."""

    def __init__(self, function: Callable[..., Any]) -> None:
        own = source_root(Path(function.__code__.co_filename).resolve())
        self.sources = sources_of(*dict.fromkeys([(PACKAGE, True), own]))
        self.of_the_package = own == (PACKAGE, True)
        super().__init__(function)

    def get_filename_base(self, fullname: str, abiflags: str) -> str:
        return f"{super().get_filename_base(fullname, abiflags)}-{self.sources.digest}"


class KernelCache(FunctionCache):
    """numba's cache of one kernel; if it cannot be read or written, the kernel is compiled and no error is raised.

    Raises:
        RuntimeError: no folder for it is writable.
    """

    _impl_class = _Implementation

    def _index_key(self, signature: Any, codegen: Any) -> Any:
        key = super()._index_key(signature, codegen)
        if self._impl.of_the_package:
            return key
        roots, values = used_by(self._py_func)
        elsewhere = tuple(sources_of(root).digest for root in sorted(roots))
        return (*key, elsewhere, blake2b("\n".join(values).encode(), digest_size=DIGEST_BYTES).hexdigest())

    def _sources_changed(self) -> bool:
        """Return True if a source changed: this process may have imported another version then."""
        elsewhere = () if self._impl.of_the_package else used_by(self._py_func)[0]
        return self._impl.sources.changed() or any(sources_of(root).changed() for root in elsewhere)

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        if self._sources_changed():
            return None
        try:
            return super().load_overload(signature, target_context)
        except Exception as error:  # a damaged file can cause any error of pickle or LLVM
            note_once(
                "damage", f"a compiled kernel in {self.cache_path} cannot be read ({error}); it is compiled again"
            )
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, signature: Any, data: Any) -> None:
        if self._sources_changed():
            return
        try:
            super().save_overload(signature, data)
            delete_stale(Path(self.cache_path), self._impl.sources.digest)
        except OSError as error:
            note_no_cache(f"{self.cache_path} cannot be written ({error.strerror})")


@cache
def delete_stale(folder: Path, digest: str) -> None:
    """Delete the kernels in a cache folder that were compiled from other sources; only once per process."""
    for path in folder.iterdir():
        found = OF_A_DIGEST.search(path.name)
        if found and found[1] != digest:
            # Another process may have deleted the file; a process that needs it compiles it again.
            with suppress(OSError):
                path.unlink()


def add_cache(dispatcher: Any) -> None:
    """Add the cache to a kernel wrapped by numba, if its source is a file and a cache folder is writable."""
    function = dispatcher.py_func
    if not Path(function.__code__.co_filename).is_file():  # from an interactive session or a zip archive
        return
    try:
        dispatcher._cache = KernelCache(function)
    except RuntimeError:
        note_no_cache("no folder for compiled kernels is writable")


def note_no_cache(reason: str) -> None:
    """Write to stderr, once per process, that there is no cache, and the fix."""
    note_once(
        "no cache",
        f"{reason}, so every process compiles its kernels again; set the environment variable NUMBA_CACHE_DIR to a "
        "writable folder",
    )


_noted: set[str] = set()


def note_once(kind: str, text: str) -> None:
    """Write one line to stderr, unless a line of this kind was written before."""
    if kind not in _noted:
        print(f"edge_envs: {text}", file=sys.stderr)
    _noted.add(kind)
