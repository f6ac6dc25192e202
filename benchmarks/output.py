"""Tables and files of the benchmarks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.timing import Number, Result, Side

PAGE_WIDTH = 140
"""Width of a table where the output is no terminal."""


def page_console() -> Console:
    """The console for tables."""
    return Console(width=None if sys.stdout.isatty() else PAGE_WIDTH)


def check_parent(option: str, file: Path | None) -> None:
    """Raise ValueError if a file is given whose folder does not exist."""
    if file is not None and not file.parent.is_dir():
        raise ValueError(f"{option} {file}: folder {file.parent} does not exist; create it, or name another")


def duration(seconds: float) -> str:
    """Format a time with three digits and a suitable unit."""
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def digits(value: float) -> str:
    """Format a number with three digits, or as a whole number from 1000 on."""
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def cells(row: Result) -> tuple[str, str, str, tuple[float, float]]:
    """Cells of a row: our time, the other time, the ratio or number, and its quartiles."""

    def cell(side: Side) -> str:
        return f"{duration(side.median)}\n[dim]{side.label}[/dim]"

    if isinstance(row, Number):
        times = ", ".join(f"{duration(side.median)} ({side.label})" for side in row.sides if side.label != row.label)
        label = f"{row.label}: {times}" if times else row.label
        return f"{digits(row.value)} {row.unit}\n[dim]{label}[/dim]", "", digits(row.value), row.quartiles
    return cell(row.ours), cell(row.other), f"{row.kind} {digits(row.ratio)}", row.ratio_quartiles


def table(rows: Sequence[Result]) -> Table:
    """Table of the rows."""
    title = "Medians. Speed-up: the other time over ours; cost and share: our time over the other"
    result = Table(title=title, show_lines=True)
    for column in ("benchmark", "ours", "other", "ratio", "quartiles", "target", ""):
        result.add_column(column)
    for row in rows:
        ours, other, number, (low, high) = cells(row)
        sign = "≥" if row.bound == "at least" else "≤"
        result.add_row(
            f"{row.name}\n[dim]per {row.unit}[/dim]" if not isinstance(row, Number) else row.name,
            ours,
            other,
            number,
            f"{digits(low)} to {digits(high)}",
            "" if row.target is None else f"{sign} {row.target:,g}",
            {None: "", True: "[green]met[/green]", False: "[red]not met[/red]"}[row.met],
        )
    return result
