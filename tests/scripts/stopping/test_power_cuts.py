"""A power cut leaves of a run folder only what was synced; a training goes on from that as if it had never stopped."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import train
from agents.runs.folder import CONFIG
from tests.scripts.running import ENV, call
from tests.scripts.stopping.test_kills import curves, hashes
from tests.scripts.stopping.test_resume import COMMON, SMALL

CUTS = 12
Names = dict[str, tuple[int, bool]]
"""Name in a folder -> inode, and whether it is a folder."""


class Disk:
    """What the disk would hold after a power cut, at the worst: files and names as they were when last synced.

    A file that was never synced is empty, and a name whose folder was not synced since is that of before.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.contents: dict[int, bytes] = {}
        """Content of each file, by its inode."""
        self.names: dict[int, Names] = {}
        """What each folder holds, by its inode."""
        self.cuts: list[tuple[dict[int, Names], dict[int, bytes]]] = []
        """What would be there if the power went just before each sync or rename, and just after."""
        self._open: list[int] = []
        sync, replace = os.fsync, Path.replace

        def syncing(handle: int) -> None:
            self.cut()
            sync(handle)
            self.keep(handle)
            self.cut()

        def replacing(path: Path, target: Any) -> Any:
            self.cut()
            result = replace(path, target)
            self.cut()
            return result

        patch.setattr(os, "fsync", syncing)
        patch.setattr(Path, "replace", replacing)

    def keep(self, handle: int) -> None:
        """This file or folder is on the disk as it is now."""
        status, path = os.fstat(handle), Path(f"/proc/self/fd/{handle}")
        # So that no other file gets its number.
        self._open.append(os.dup(handle))
        if stat.S_ISDIR(status.st_mode):
            self.names[status.st_ino] = {each.name: (each.stat().st_ino, each.is_dir()) for each in path.iterdir()}
        else:
            self.contents[status.st_ino] = path.read_bytes()

    def cut(self) -> None:
        self.cuts.append((dict(self.names), dict(self.contents)))

    def close(self) -> None:
        for handle in self._open:
            os.close(handle)

    def restore(self, number: int, folder: int, target: Path) -> None:
        """Write what is left of a folder after a cut."""
        names, contents = self.cuts[number]
        target.mkdir()
        for name, (inode, is_folder) in names.get(folder, {}).items():
            if is_folder:
                self.restore(number, inode, target / name)
            else:
                (target / name).write_bytes(contents.get(inode, b""))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files have their names in /proc")
def test_what_is_left_after_a_power_cut_is_enough(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        disk = Disk(patch)
        assert call(patch, train, *ENV, *SMALL, *COMMON, "--run", "straight") == 0
    straight = tmp_path / "straight"
    folder = straight.stat().st_ino
    begun = [number for number, (names, _) in enumerate(disk.cuts) if CONFIG in names.get(folder, {})]
    assert len(begun) > 100
    went_on = 0
    for cut in np.random.default_rng(0).choice(begun, CUTS, replace=False).tolist():
        run = tmp_path / f"cut{cut}"
        disk.restore(cut, folder, run)
        capsys.readouterr()
        assert call(monkeypatch, train, "--resume", run.name, *COMMON) == 0
        went_on += "note: resuming after " in capsys.readouterr().out
        assert hashes(run) == hashes(straight)
        assert curves(run) == curves(straight)
    disk.close()
    assert went_on >= CUTS // 2
