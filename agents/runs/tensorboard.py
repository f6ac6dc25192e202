"""TensorBoard event files of a run folder: writing them, and truncating them to a checkpoint."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import TensorBoardOutputFormat
from torch.utils.tensorboard.summary import hparams

from edge_envs.core.io.files import sync_folder

PATTERN = "events.out.tfevents.*"
SCORE = "validation/reward"
"""The curve in TensorBoard's table of hyper-parameters."""


class WorldStepWriter(TensorBoardOutputFormat):
    """TensorBoard events whose steps are counted per world, independent of the number of rows of a world.

    Args:
        folder: of the event files.
        rows_per_world: rows that Stable-Baselines3 counts per world.
        before: steps taken before Stable-Baselines3 began to count, summed over all worlds.
    """

    def __init__(self, folder: str, rows_per_world: int, before: int = 0) -> None:
        self.folder, self.rows_per_world, self.before = folder, rows_per_world, before
        self._is_closed = True

    def open(self) -> None:
        """Create a new event file; the constructor writes nothing."""
        super().__init__(self.folder)

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Write the curves of Stable-Baselines3."""
        super().write(key_values, key_excluded, self.world_steps(step))

    def world_steps(self, rows: int) -> int:
        """Steps so far, summed over all worlds, from the number of rows that Stable-Baselines3 counted."""
        return self.before + rows // self.rows_per_world

    def scalars(self, prefix: str, values: dict[str, float], step: int) -> None:
        """Write curves, without values that are not finite, such as the certificate of an uncertified step."""
        for name, value in values.items():
            if not math.isfinite(value):
                continue
            self.writer.add_scalar(f"{prefix}/{name}", value, step)
        self.writer.flush()

    def describe(self, parameters: Mapping[str, Any], tables: Mapping[str, Mapping[str, Any]]) -> None:
        """Write hyper-parameters and tables of text.

        Args:
            parameters: name -> text, truth value or number, by which TensorBoard compares runs.
            tables: title -> values by name.
        """
        events: Any = self.writer.file_writer
        for summary in hparams(dict(parameters), {SCORE: 0.0}):
            events.add_summary(summary)
        for title, rows in tables.items():
            lines = [f"| {title} | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in rows.items())]
            self.writer.add_text(title, "\n".join(lines))
        self.writer.flush()


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def event_files(folder: Path) -> list[Path]:
    """The event files of a run folder, sorted by name and thus by time."""
    return sorted(file for file in folder.glob(PATTERN) if file.is_file())


def event_sizes(folder: Path) -> dict[str, int]:
    """Name -> size [byte] of each event file, after syncing them to the disk."""
    sizes = {}
    sync_folder(folder)
    for file in event_files(folder):
        with file.open("rb+") as handle:
            os.fsync(handle.fileno())
            sizes[file.name] = os.fstat(handle.fileno()).st_size
    return sizes


def cut_events(folder: Path, sizes: Mapping[str, int]) -> list[str]:
    """Truncate the event files to these sizes and remove later files, so that no step occurs twice.

    Returns the names of files that are missing or shorter.
    """
    found = {file.name: file.stat().st_size for file in event_files(folder)}
    for file in event_files(folder):
        size = sizes.get(file.name)
        if size is None:
            file.unlink()
        elif size < file.stat().st_size:
            os.truncate(file, size)
    return [name for name, size in sizes.items() if found.get(name, -1) < size]
