"""Cached kernels that no longer match their sources, and the quick way to call a kernel."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from numba.core.errors import NumbaError

from edge_envs.core.compiled import FastCall, compiled, forget_stale_kernels, kernel, kernel_part

# Stale kernels


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with a nested wing, and what numba would have cached for both."""
    root = tmp_path / "package"
    for folder in (root, root / "wing"):
        (folder / "__pycache__").mkdir(parents=True)
        (folder / "module.py").write_text("x = 1\n")
        for name in ("module.f-1.py311.nbi", "module.f-1.py311.1.nbc", "module.cpython-311.pyc"):
            (folder / "__pycache__" / name).write_bytes(b"cached")
    return root


def cached(package: Path) -> list[str]:
    return sorted(path.name for path in package.rglob("*.nb[ic]"))


def refill(package: Path) -> None:
    for folder in (package, package / "wing"):
        (folder / "__pycache__" / "module.f-1.py311.nbi").write_bytes(b"new")


def test_kernels_of_unknown_age_are_deleted_and_nothing_else(package):
    forget_stale_kernels(package)
    assert cached(package) == []
    assert len(list(package.rglob("*.pyc"))) == 2
    assert len(list(package.rglob("*.py"))) == 2
    assert (package / "__pycache__" / "kernels.stamp").is_file()


def test_kernels_stay_while_the_sources_do(package):
    forget_stale_kernels(package)
    refill(package)
    forget_stale_kernels(package)
    (package / "notes.txt").write_text("not a source")
    (package / "__pycache__" / "other.pyc").write_bytes(b"not a source")
    forget_stale_kernels(package)
    assert len(cached(package)) == 2


def touch(package: Path) -> None:
    source = package / "wing" / "module.py"
    stat = source.stat()
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def rewrite_keeping_the_time(package: Path) -> None:
    source = package / "module.py"
    stat = source.stat()
    source.write_text("x = 1234\n")
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        touch,
        rewrite_keeping_the_time,
        lambda package: (package / "wing" / "other.py").write_text(""),
        lambda package: (package / "wing" / "module.py").unlink(),
        lambda package: (package / "module.py").rename(package / "renamed.py"),
        lambda package: (package / "__pycache__" / "kernels.stamp").unlink(),
        lambda package: (package / "__pycache__" / "kernels.stamp").write_text(""),
    ],
    ids=["touched", "rewritten", "added", "removed", "renamed", "no stamp", "empty stamp"],
)
def test_any_change_of_a_source_deletes_all_kernels(package, change):
    forget_stale_kernels(package)
    refill(package)
    change(package)
    forget_stale_kernels(package)
    assert cached(package) == []
    refill(package)
    forget_stale_kernels(package)
    assert len(cached(package)) == 2, "once is enough"


def test_a_package_without_a_cache_folder(tmp_path):
    (tmp_path / "module.py").write_text("")
    forget_stale_kernels(tmp_path)
    forget_stale_kernels(tmp_path)
    assert (tmp_path / "__pycache__" / "kernels.stamp").is_file()


def test_a_folder_that_cannot_be_written_is_left_alone(package, monkeypatch):
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise PermissionError

    with monkeypatch.context() as patch:
        for name in ("unlink", "write_text", "mkdir"):
            patch.setattr(Path, name, refuse)
        forget_stale_kernels(package)
    assert len(cached(package)) == 4


SOURCES = {
    "helper.py": "import numba\n@numba.njit(cache=True)\ndef number(): return {number}\n",
    "user.py": (
        "import numba\nfrom package.helper import number\n@numba.njit(cache=True)\ndef twice(): return 2 * number()\n"
    ),
}


def test_a_kernel_follows_a_change_in_another_file(tmp_path):
    """What numba's own cache misses, in processes of their own; the middle run shows that it does."""
    package = tmp_path / "package"
    package.mkdir()

    def run(number: int, forget: bool) -> int:
        for name, text in SOURCES.items():
            if "{number}" in text or not (package / name).exists():
                (package / name).write_text(text.replace("{number}", str(number)))
        lines = ["from pathlib import Path", "from package.user import twice", "print(twice())"]
        if forget:
            lines.insert(1, "from edge_envs.core.compiled import forget_stale_kernels")
            lines.insert(2, f"forget_stale_kernels(Path({str(package)!r}))")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        environment.pop("NUMBA_CACHE_DIR", None)
        done = subprocess.run([sys.executable, "-c", "\n".join(lines)], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    assert run(1, forget=True) == 2
    assert run(20, forget=False) == 2
    assert run(300, forget=True) == 600


# Kernels


class Pair(NamedTuple):
    """Arguments as the wings pass them."""

    floats: np.ndarray
    number: int


@kernel_part
def scaled(pair: Pair, i: int) -> float:
    return pair.floats[i] * pair.number


@kernel
def fill(pair: Pair, rows: np.ndarray, out: np.ndarray) -> None:
    for i in range(len(rows)):
        out[rows[i]] = scaled(pair, rows[i])


@kernel
def ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator


def arguments(size: int) -> tuple[Pair, np.ndarray, np.ndarray]:
    return Pair(np.arange(float(size)), 3), np.arange(size), np.zeros(size)


def test_fast_call_does_what_the_kernel_does():
    call = FastCall(fill)
    for size in (1, 4, 4, 0):
        pair, rows, out = arguments(size)
        assert call(pair, rows, out) is None
        assert out.tolist() == [3.0 * i for i in range(size)]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda pair, rows, out: (pair, rows.astype(np.int32), out),
        lambda pair, rows, out: (pair, rows, out.astype(np.float32)),
        lambda pair, rows, out: (pair._replace(floats=pair.floats.astype(np.float32)), rows, out),
        lambda pair, rows, out: ((pair.floats,), rows, out),
        lambda pair, rows, out: (pair, rows, out.tolist()),
        lambda pair, rows, out: (pair, rows, None),
        lambda pair, rows, out: (pair, rows),
    ],
)
def test_fast_call_refuses_another_item_size_and_other_types(spoil):
    call = FastCall(fill)
    call(*arguments(4))
    with pytest.raises((TypeError, IndexError)):
        call(*spoil(*arguments(4)))
    pair, rows, out = arguments(4)
    call(pair, rows, out)
    assert out.tolist() == [0.0, 3.0, 6.0, 9.0]


def test_fast_calls_are_apart():
    """Two of the same kernel may serve different types."""
    one, other = FastCall(ratio), FastCall(ratio)
    assert one(1.0, 4.0) == 0.25
    assert other(1, 4) == 0.25


def test_kernels_divide_as_numpy_does():
    assert ratio(1.0, 0.0) == np.inf
    assert np.isnan(ratio(0.0, 0.0))


def test_kernels_must_not_allocate():
    @kernel
    def allocating(size: int) -> float:
        return np.zeros(size).sum()

    with pytest.raises((NumbaError, RuntimeError)):
        allocating(3)


def test_compiled_functions_keep_name_and_docstring():
    @compiled
    def documented(x: float) -> float:
        """What it does."""
        return x

    assert documented.__doc__ == "What it does."
    assert documented(2.0) == 2.0
    assert isinstance(documented, numba.core.registry.CPUDispatcher)


def test_functions_of_the_package_can_be_pickled():
    from edge_envs.core import channel

    assert pickle.loads(pickle.dumps(channel.exponential))(0.0) == 0.0
