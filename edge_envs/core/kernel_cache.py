"""The cache of compiled kernels: where numba puts it, but never older than the sources.

numba's own cache watches the file of the kernel alone. A kernel would go on with the old version of a function that it
takes from another file. Here the names of the cached files carry a digest of every source that a kernel could use.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from numba.core.caching import CompileResultCacheImpl, FunctionCache

PACKAGE = Path(__file__).parents[1]
DIGEST_BYTES = 8
OF_A_DIGEST = re.compile(rf"\.py\d+\w*-([0-9a-f]{{{2 * DIGEST_BYTES}}})\.(?:nbi|\d+\.nbc)$")
"""The end of a cached file's name, with the digest as its first group."""


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
        """Return True if a file was added, removed or written since."""
        return self._look() != self._stamps


@cache
def sources_of(*roots: tuple[Path, bool]) -> Sources:
    """The sources under `roots` as they were when this process first asked."""
    return Sources(roots)


class _Implementation(CompileResultCacheImpl):
    """Names the cached files after the digest of the kernel's sources."""

    def __init__(self, function: Callable[..., Any]) -> None:
        own = source_root(Path(function.__code__.co_filename).resolve())
        self.sources = sources_of(*dict.fromkeys([(PACKAGE, True), own]))
        super().__init__(function)

    def get_filename_base(self, fullname: str, abiflags: str) -> str:
        return f"{super().get_filename_base(fullname, abiflags)}-{self.sources.digest}"


class KernelCache(FunctionCache):
    """numba's cache of one kernel; a cache that cannot be read or written costs a compilation, never an error.

    Raises:
        RuntimeError: if there is no folder that can be written.
    """

    _impl_class = _Implementation

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(signature, target_context)
        except Exception as error:  # whatever a damaged file makes of unpickling and of LLVM
            note_once(f"a compiled kernel in {self.cache_path} cannot be read ({error}); it is compiled anew")
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, signature: Any, data: Any) -> None:
        # After a change of the sources nobody knows which version this process has imported.
        if self._impl.sources.changed():
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
        f"{reason}, so every process compiles its kernels anew; set the environment variable NUMBA_CACHE_DIR to a "
        "folder that can be written"
    )


_noted: set[str] = set()


def note_once(text: str) -> None:
    """Write one line to stderr, unless a line was written before: one is enough to explain a slow start."""
    if not _noted:
        print(f"edge_envs: {text}", file=sys.stderr)
    _noted.add(text)
