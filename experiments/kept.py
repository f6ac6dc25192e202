"""Rows of an earlier table that are kept where only a part of an experiment is done again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_envs.core.config import nearest


def check_agents(labels: Sequence[str], known: Sequence[str]) -> None:
    """Raise ValueError if one of the labels given with --agents is not known."""
    for label in labels:
        if label not in known:
            raise ValueError(f"--agents {label!r} does not exist; {nearest(label, sorted(set(known)))}")


def kept_rows(file: Path, preset: str, *labels: str) -> dict[str, dict[str, Any]]:
    """Rows of a preset, or of some agents in it, as they are in the JSON file, with the commit that made them.

    Only their means are kept, as earlier versions had other intervals.
    """
    document = json.loads(file.read_text())
    made_by = document["provenance"]["git"]
    return {
        name: {"commit": made_by} | {metric: without_interval(value) for metric, value in row.items()}
        for name, row in document["tables"][preset].items()
        if not labels or name.startswith(labels)
    }


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
