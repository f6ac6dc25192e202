"""The cache of compiled kernels: where numba puts it, but never older than the sources.

numba's own cache watches the file of the kernel alone. A kernel would go on with the old version of a function that it
takes from another file. Here the names of the cached files carry a digest of this package's sources and of those in the
package or folder of the kernel's own file; the key of an entry holds those of kernels that it calls from elsewhere, and
the values of its global numbers.
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
"""The end of a cached file's name, with the digest as its first group."""
LOOK_EVERY_S = 0.1
"""Time between two looks at the sources: some hundred kernels are loaded one after the other."""


def source_root(file: Path) -> tuple[Path, bool]:
    """The folder whose sources a kernel of `file` may use, and if its subfolders belong to it.

    It is the outermost package around the file, or else the file's own folder without subfolders.
    """
    root = file.parent
    while (root.parent / "__init__.py").is_file() and (root / "__init__.py").is_file():
        root = root.parent
    return root, (root / "__init__.py").is_file()


class Sources:
    """All Python files under some roots as they are at the time of construction.

    Attributes:
        digest: of the files' names and contents, as hexadecimal digits.
    """

    def __init__(self, roots: tuple[tuple[Path, bool], ...]) -> None:
        self._roots = roots
        self._stamps = self._look()
        digest = blake2b(digest_size=DIGEST_BYTES)
        for root, name in self._stamps:
            # A file that vanishes in between, or cannot be read, cannot be imported either.
            with suppress(OSError):
                content = (root / name).read_bytes()
                digest.update(f"{name}\0{len(content)}\0".encode())
                digest.update(content)
        self.digest = digest.hexdigest()
        self._changed, self._looked = False, -math.inf

    def _look(self) -> dict[tuple[Path, str], tuple[int, int]]:
        """Time of the last change and size of every file, by root and name."""
        stamps = {}
        for root, nested in self._roots:
            for path in sorted(root.rglob("*.py") if nested else root.glob("*.py")):
                with suppress(OSError):
                    stat = path.stat()
                    stamps[root, path.relative_to(root).as_posix()] = stat.st_mtime_ns, stat.st_size
        return stamps

    def changed(self) -> bool:
        """Return True if a file was added, removed or written since; looks again after `LOOK_EVERY_S`."""
        if not self._changed and monotonic() - self._looked > LOOK_EVERY_S:
            self._changed, self._looked = self._look() != self._stamps, monotonic()
        return self._changed


@cache
def sources_of(*roots: tuple[Path, bool]) -> Sources:
    """The sources under `roots` as they were when this process first asked."""
    return Sources(roots)


def used_by(function: Callable[..., Any]) -> tuple[set[tuple[Path, bool]], list[str]]:
    """Source roots of the kernels that a kernel calls, directly or not, and the global values that they use."""
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
    """Names of a function's code with what they stand for in its module, or in a module that it names."""
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
    """Names the cached files after the digest of the kernel's sources."""

    def __init__(self, function: Callable[..., Any]) -> None:
        own = source_root(Path(function.__code__.co_filename).resolve())
        self.sources = sources_of(*dict.fromkeys([(PACKAGE, True), own]))
        self.of_the_package = own == (PACKAGE, True)
        super().__init__(function)

    def get_filename_base(self, fullname: str, abiflags: str) -> str:
        return f"{super().get_filename_base(fullname, abiflags)}-{self.sources.digest}"


class KernelCache(FunctionCache):
    """numba's cache of one kernel; a cache that cannot be read or written costs a compilation, never an error.

    Raises:
        RuntimeError: if there is no folder that can be written.
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
        """Return True if a source changed: nobody knows then which version this process has imported."""
        elsewhere = () if self._impl.of_the_package else used_by(self._py_func)[0]
        return self._impl.sources.changed() or any(sources_of(root).changed() for root in elsewhere)

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        if self._sources_changed():
            return None
        try:
            return super().load_overload(signature, target_context)
        except Exception as error:  # whatever a damaged file makes of unpickling and of LLVM
            note_once("damage", f"a compiled kernel in {self.cache_path} cannot be read ({error}); it is compiled anew")
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
    """Delete the kernels in a cache folder that were compiled from other sources; once a process is enough."""
    for path in folder.iterdir():
        found = OF_A_DIGEST.search(path.name)
        if found and found[1] != digest:
            # Another process may be quicker; whoever still wants a deleted kernel compiles it anew.
            with suppress(OSError):
                path.unlink()


def add_cache(dispatcher: Any) -> None:
    """Give a kernel that numba has wrapped its cache, where its source is a file and a folder can be written."""
    function = dispatcher.py_func
    if not Path(function.__code__.co_filename).is_file():  # typed in, or from a zip archive
        return
    try:
        dispatcher._cache = KernelCache(function)
    except RuntimeError:
        note_no_cache("no folder for compiled kernels can be written")


def note_no_cache(reason: str) -> None:
    """Say on stderr, once a process, that kernels are compiled without a cache, and what to do about it."""
    note_once(
        "no cache",
        f"{reason}, so every process compiles its kernels anew; set the environment variable NUMBA_CACHE_DIR to a "
        "folder that can be written",
    )


_noted: set[str] = set()


def note_once(kind: str, text: str) -> None:
    """Write one line to stderr, unless a line of this kind was written before."""
    if kind not in _noted:
        print(f"edge_envs: {text}", file=sys.stderr)
    _noted.add(kind)
