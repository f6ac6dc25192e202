"""Compiled kernels never outlive a change of their sources, wherever the cache lies, and do without a cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import edge_envs
from edge_envs.core.kernels import cache
from edge_envs.core.kernels.cache import OF_A_DIGEST, Sources, delete_stale, source_root

HELPER = """
from edge_envs.core.kernels.jit import compiled
@compiled
def number():
    return {number}
"""
KERNELS = """
from edge_envs.core.physics.channel import exponential
from edge_envs.core.kernels.jit import compiled
from helper import number
@compiled
def twice(x):
    return 2.0 * number() * exponential(x)
"""
PLACES = ("beside the source", "NUMBA_CACHE_DIR", "home of the user")
NO_CACHE = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
"""numba takes a folder that the user names, and the user names none."""


class Copy:
    """A copy of the package beside two files of a user, and the place of the cache."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment

    def run(self, code: str = "from kernels import twice; print(round(twice(0.5), 9))") -> tuple[str, str]:
        """What a process of its own prints to stdout and stderr."""
        dropped = {"NUMBA_CACHE_DIR", "NUMBA_CACHE_LOCATOR_CLASSES", "NUMBA_DISABLE_JIT"}
        environment = {key: value for key, value in os.environ.items() if key not in dropped}
        environment |= {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        ran = subprocess.run(
            [sys.executable, "-c", code], cwd=self.folder, env={**environment, **self.environment},
            capture_output=True, text=True,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip(), ran.stderr.strip()

    def write_helper(self, number: float) -> None:
        (self.folder / "helper.py").write_text(HELPER.format(number=number))

    def cached(self) -> set[str]:
        """The names of all cached files below the folder."""
        return {path.name for path in self.folder.rglob("*.nb[ic]")}


@pytest.fixture(params=PLACES)
def copy(request: pytest.FixtureRequest, tmp_path: Path) -> Copy:
    place = {
        "beside the source": {},
        "NUMBA_CACHE_DIR": {"NUMBA_CACHE_DIR": str(tmp_path / "cache")},
        "home of the user": {
            "NUMBA_CACHE_LOCATOR_CLASSES": "UserWideCacheLocator", "HOME": str(tmp_path / "home"),
            "XDG_CACHE_HOME": str(tmp_path / "home"),
        },
    }[request.param]  # fmt: skip
    return user_copy(tmp_path, place)


def user_copy(folder: Path, environment: dict[str, str]) -> Copy:
    package = Path(edge_envs.__file__).parent
    shutil.copytree(package, folder / "edge_envs", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "kernels.py").write_text(KERNELS)
    copy = Copy(folder, environment)
    copy.write_helper(1.0)
    return copy


def test_a_kernel_follows_a_change_of_its_users_other_file_and_of_the_package(copy):
    first, said = copy.run()
    assert said == ""
    assert copy.cached()
    copy.write_helper(10.0)
    assert float(copy.run()[0]) == pytest.approx(10.0 * float(first))
    channel = copy.folder / "edge_envs" / "core" / "physics" / "channel.py"
    text = channel.read_text()
    changed = text.replace("-np.log(", "-0.01 * np.log(", 1)
    assert changed != text
    channel.write_text(changed)
    assert float(copy.run()[0]) == pytest.approx(0.1 * float(first))


def test_a_second_process_compiles_nothing_and_old_kernels_are_deleted(copy):
    copy.run()
    before = copy.cached()
    count = "from kernels import twice; twice(0.5); print(sum(twice.stats.cache_misses.values()))"
    assert copy.run(count)[0] == "0"
    assert copy.cached() == before
    copy.write_helper(2.0)
    assert copy.run(count)[0] == "1"
    digests = {found[1] for name in copy.cached() if (found := OF_A_DIGEST.search(name))}
    # The user's kernels carry one digest, the package's own another.
    assert len(digests) == 2


def test_a_copy_of_the_sources_uses_the_same_digest(tmp_path):
    package = Path(edge_envs.__file__).parent
    other = tmp_path / "edge_envs"
    shutil.copytree(package, other, ignore=shutil.ignore_patterns("__pycache__"))
    assert Sources(((package, True),)).digest == Sources(((other, True),)).digest


def no_folder(copy: Copy) -> None:
    copy.environment = NO_CACHE


def full_disk(copy: Copy) -> None:
    file = copy.folder / "edge_envs" / "core" / "kernels" / "cache.py"
    file.write_text(
        file.read_text()
        + "\ndef _full(self, signature, data):\n    raise OSError(28, 'No space left on device')\n"
        + "FunctionCache.save_overload = _full\n"
    )


@pytest.mark.parametrize("trouble", [no_folder, full_disk])
def test_without_a_cache_kernels_are_compiled_and_one_line_says_so(tmp_path, trouble):
    copy = user_copy(tmp_path, {})
    right = copy.run()[0]
    trouble(copy)
    shown, said = copy.run()
    assert shown == right
    assert len(said.splitlines()) == 1
    assert "NUMBA_CACHE_DIR" in said
    assert said.startswith("edge_envs: ")


def test_a_damaged_cache_is_compiled_again(tmp_path):
    copy = user_copy(tmp_path, {})
    right = copy.run()[0]
    for path in tmp_path.rglob("*.nbi"):
        path.write_bytes(path.read_bytes()[:40])
    shown, said = copy.run()
    assert shown == right
    assert len(said.splitlines()) == 1


def test_a_process_whose_sources_changed_after_the_import_leaves_nothing_behind(tmp_path):
    copy = user_copy(tmp_path, {})
    code = (
        "from pathlib import Path; from kernels import twice; text = Path('helper.py').read_text(); "
        "Path('helper.py').write_text(text.replace('1.0', '5.0')); print(round(twice(0.5), 9))"
    )
    first = float(copy.run(code)[0])
    assert not [name for name in copy.cached() if name.startswith(("helper.", "kernels."))]
    assert float(copy.run()[0]) == pytest.approx(5.0 * first)
    assert [name for name in copy.cached() if name.startswith("kernels.")]


PHYSICS = "from edge_envs.core.kernels.jit import compiled\n@compiled\ndef law(x):\n    return {factor} * x\n"
SCATTERED = """
import lib.physics as physics
from edge_envs.core.kernels.jit import compiled
from lib.constants import OFFSET
@compiled
def shifted(x):
    return physics.law(x) + OFFSET
"""


def test_a_kernel_follows_what_it_takes_from_other_folders(tmp_path):
    """The kernel's own file lies in no package, so its folder's subfolders are not all watched; what it uses is."""
    copy = user_copy(tmp_path, {})
    (tmp_path / "lib").mkdir()
    (tmp_path / "scattered.py").write_text(SCATTERED)
    code = "from scattered import shifted; print(shifted(1.0), sum(shifted.stats.cache_misses.values()))"
    for factor, offset, shown in ((2.0, 0.5, "2.5 1"), (2.0, 0.5, "2.5 0"), (4.0, 0.5, "4.5 1"), (4.0, 0.75, "4.75 1")):
        (tmp_path / "lib" / "physics.py").write_text(PHYSICS.format(factor=factor))
        (tmp_path / "lib" / "constants.py").write_text(f"OFFSET = {offset}\n")
        assert copy.run(code) == (shown, "")


def test_a_reloaded_module_does_not_get_the_old_kernels(tmp_path):
    """As in a notebook: run, edit another file, reload both, run again in the same process."""
    copy = user_copy(tmp_path, {})
    code = (
        "import time; from importlib import reload; from pathlib import Path; import helper, kernels; "
        "first = kernels.twice(0.5); time.sleep(0.2); "
        "Path('helper.py').write_text(Path('helper.py').read_text().replace('1.0', '5.0')); "
        "reload(helper); reload(kernels); print(round(kernels.twice(0.5) / first, 6))"
    )
    assert copy.run(code)[0] == "5.0"


def test_what_is_typed_in_is_compiled_without_a_cache_and_without_a_word(tmp_path):
    copy = user_copy(tmp_path, {})
    code = "from edge_envs.core.kernels.jit import compiled; print(compiled(lambda x: x + 1.0)(2.0))"
    assert copy.run(code) == ("3.0", "")


# Digests


def rewrite(folder: Path) -> None:
    """Same size and time of change, other content."""
    source = folder / "sub" / "module.py"
    stat = source.stat()
    source.write_text("x = 2\n")
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "rewritten": rewrite,
    "added": lambda folder: (folder / "sub" / "other.py").write_text(""),
    "removed": lambda folder: (folder / "sub" / "module.py").unlink(),
    "renamed": lambda folder: (folder / "module.py").rename(folder / "renamed.py"),
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    root = tmp_path / "package"
    for folder in (root, root / "sub"):
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        (folder / "module.py").write_text("x = 1\n")
    return root


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_every_change_of_a_source_changes_the_digest(package, change, monkeypatch):
    monkeypatch.setattr(cache, "LOOK_EVERY_S", -1.0)
    before = Sources(((package, True),))
    assert Sources(((package, True),)).digest == before.digest
    assert not before.changed()
    (package / "notes.txt").write_text("not a source")
    assert not before.changed()
    change(package)
    assert Sources(((package, True),)).digest != before.digest
    assert before.changed() == (change is not rewrite)


def test_a_root_is_the_outermost_package_or_the_files_own_folder(package):
    assert source_root(package / "sub" / "module.py") == (package, True)
    assert source_root(package.parent / "script.py") == (package.parent, False)


def test_only_kernels_of_another_digest_are_deleted(tmp_path):
    old, new = "0" * 16, "1" * 16
    kept = [
        f"a.f-1.py311-{new}.nbi", f"a.f-1.py311-{new}.1.nbc", "a.f-1.py311.nbi", "a.py", f"a.f-1.py311-{old}.txt",
    ]  # fmt: skip
    for name in (*kept, f"a.f-1.py311-{old}.nbi", f"a.f-1.py311-{old}.12.nbc"):
        (tmp_path / name).write_text("")
    delete_stale(tmp_path, new)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
