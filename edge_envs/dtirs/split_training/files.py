"""Files of a split training: one row per round as CSV, and the same with the settings as JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_envs.core.io.files import write_atomically
from edge_envs.dtirs.split_training.experiment import Series
from edge_envs.dtirs.split_training.simulated_delay import DELAY_PARTS

BITS = ("bits_up", "bits_down", "weight_bits_up", "weight_bits_down")


def rounds_of(series: Series) -> list[dict[str, Any]]:
    """One row per round; lists have one entry per user, and an accuracy that was not measured is None."""
    rows = []
    elapsed, means = series.elapsed_s.tolist(), series.mean_loss.tolist()
    for i, frame in enumerate(series.frames):
        accuracy = float(series.accuracy[i])
        rows.append(
            {
                "policy": series.policy, "users": series.users, "round": i + 1, "loss_mean": means[i],
                "delay_s": frame.delay_s, "delay_sum_s": elapsed[i],
                **dict(zip(DELAY_PARTS, frame.parts_s, strict=True)), "twin_share": frame.twin_share,
                **dict(zip(BITS, series.bits[i].tolist(), strict=True)),
                "accuracy": None if math.isnan(accuracy) else accuracy,
                "cut": list(frame.cuts), "loss": series.losses[i].tolist(),
            }
        )  # fmt: skip
    return rows


def save_rounds(folder: Path, trainings: Sequence[Series], settings: Mapping[str, Any]) -> None:
    """Write rounds.csv (one column per user's cut and loss) and rounds.json into a folder.

    Raises:
        OSError: a file cannot be written.
    """
    rows = [row for series in trainings for row in rounds_of(series)]
    document = {"settings": dict(settings), "rounds": rows}
    write_atomically(folder / "rounds.json", (json.dumps(document) + "\n").encode())
    most = max(series.users for series in trainings)
    plain = [name for name in rows[0] if name not in ("cut", "loss")]
    columns = [*plain, *(f"{name}_{k + 1}" for name in ("cut", "loss") for k in range(most))]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_flat(row) for row in rows)
    write_atomically(folder / "rounds.csv", text.getvalue().encode())


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, list):
            flat |= {f"{name}_{k + 1}": entry for k, entry in enumerate(value)}
        else:
            flat[name] = "" if value is None else value
    return flat
