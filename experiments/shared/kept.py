"""Rows of an earlier table that are kept where only a part of an experiment is repeated."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_envs.core.validation import nearest

NONE = "none"
"""Value of --agents with which no agent is trained and evaluated."""
VALIDATED, TRANSFERRED = " (best validated)", ", on the geometry of `default`"
"""Endings of the labels of further rows of an agent."""


def check_agents(labels: Sequence[str], known: Sequence[str]) -> None:
    """Raise ValueError if one of the labels given with --agents is not known."""
    for label in labels:
        if label not in (*known, NONE):
            raise ValueError(f"--agents {label!r} does not exist; {nearest(label, [*known, NONE])}")


def kept_rows(file: Path, tables: Sequence[str], label: str = "") -> dict[str, dict[str, Any]]:
    """Rows of a table, or of one of its agents, from the JSON file, with the commit that computed them.

    Only the means are kept, because earlier versions computed other intervals.

    Args:
        file: JSON file of the experiment's results.
        tables: keys of the table in the file.
        label: label of the agent; all rows if empty.
    """
    document = json.loads(file.read_text())
    made_by, rows = document["provenance"]["git"], document
    for key in tables:
        rows = rows[key]
    return {
        name: {"commit": made_by} | {metric: without_interval(value) for metric, value in row.items()}
        for name, row in rows.items()
        if not label or name.removesuffix(VALIDATED).removesuffix(TRANSFERRED) == label
    }


def without_interval(value: Any) -> Any:
    """A metric's mean and values by training seed without its half width; other values are returned unchanged."""
    return {**value, "half_width": math.nan} if isinstance(value, Mapping) else value


def kept_note(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Note below a table with kept rows; empty without any."""
    kept = {label: row["commit"][:7] for label, row in rows.items() if "commit" in row}
    if not kept:
        return []
    labels = "all" if len(kept) == len(rows) else "; ".join(kept)
    return ["", f"Rows of earlier commits, with means only ({', '.join(sorted(set(kept.values())))}): {labels}."]
