"""Rows of an earlier table that are kept where only a part of an experiment is done again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.evaluation.statistics import Interval
from edge_envs.core.config import nearest

NONE = "none"
"""What --agents takes to train and evaluate no agent."""


def check_agents(labels: Sequence[str], known: Sequence[str]) -> None:
    """Raise ValueError if one of the labels given with --agents is not known."""
    for label in labels:
        if label not in (*known, NONE):
            raise ValueError(f"--agents {label!r} does not exist; {nearest(label, [*sorted(set(known)), NONE])}")


def kept_rows(file: Path, tables: Sequence[str], *labels: str) -> dict[str, dict[str, Any]]:
    """Rows of a table, or those of some agents, as they are in the JSON file, with the commit that made them.

    Only their means are kept, as earlier versions had other intervals.

    Args:
        file: the experiment's results.
        tables: the keys under which the table stands in the file.
        labels: of the agents; none for all rows.
    """
    document = json.loads(file.read_text())
    made_by, rows = document["provenance"]["git"], document
    for key in tables:
        rows = rows[key]
    return {
        name: {"commit": made_by} | {metric: without_interval(value) for metric, value in row.items()}
        for name, row in rows.items()
        if not labels or name in labels or name.removesuffix(" (best validated)") in labels
    }


def mean_alone(value: float) -> Interval:
    """A mean without an interval."""
    return Interval(value, math.nan, math.nan)


def without_interval(value: Any) -> Any:
    """A metric's mean and values by training seed; anything else as it is."""
    return {**value, "half_width": math.nan} if isinstance(value, Mapping) else value


def kept_note(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What stands under a table of which some rows are kept."""
    kept = {label: row["commit"][:7] for label, row in rows.items() if "commit" in row}
    if not kept:
        return []
    labels = "all" if len(kept) == len(rows) else "; ".join(kept)
    return ["", f"Rows kept from earlier commits, means only ({', '.join(sorted(set(kept.values())))}): {labels}."]
