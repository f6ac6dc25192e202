"""The command `python -m benchmarks`: its options, the run of the benchmarks, and their table and JSON file."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from agents.runs.provenance import provenance
from benchmarks import gym_overhead, training_share
from benchmarks.dtirs import solvers as dtirs_solvers
from benchmarks.dtirs import steps as dtirs_steps
from benchmarks.eccnoma import decisions as eccnoma_decisions
from benchmarks.eccnoma import solvers as eccnoma_solvers
from benchmarks.eccnoma import steps as eccnoma_steps
from benchmarks.lyappo import solvers as lyappo_solvers
from benchmarks.semcom import solvers as semcom_solvers
from benchmarks.semcom import steps as semcom_steps
from benchmarks.timing import Number, Result, Side, Skipped
from edge_envs.core.config import nearest
from edge_envs.core.io.arguments import parse_arguments
from edge_envs.core.io.command import guarded
from edge_envs.core.io.files import write_json

Benchmark = Callable[[int], Sequence[Result]]

BENCHMARKS: Mapping[str, Benchmark] = {
    **lyappo_solvers.BENCHMARKS,
    **dtirs_solvers.BENCHMARKS,
    **dtirs_steps.BENCHMARKS,
    **eccnoma_solvers.BENCHMARKS,
    **eccnoma_steps.BENCHMARKS,
    **eccnoma_decisions.BENCHMARKS,
    **semcom_solvers.BENCHMARKS,
    **semcom_steps.BENCHMARKS,
    **gym_overhead.BENCHMARKS,
    **training_share.BENCHMARKS,
}
REPETITIONS, QUICK_REPETITIONS = 31, 7
PAGE_WIDTH = 140
"""Width of the table where the output is no terminal."""
SOLVERS = ("cvxpy", "clarabel", "scs")
"""Packages whose versions are recorded in addition to those of a training."""


@dataclass(frozen=True)
class Arguments:
    """Compare the speed of solvers and environments with alternatives."""

    quick: bool = False
    """Use fewer repetitions; takes about ten minutes."""
    json: Path | None = None
    """JSON file for the results."""
    only: tuple[str, ...] = ()
    """Benchmarks to run (default: all), by name or by the part before the dot."""
    repetitions: int | None = None
    """Number of repetitions (default: 31, or 7 with --quick)."""


def select(only: Sequence[str]) -> dict[str, Benchmark]:
    """Select benchmarks by name or by group; all if `only` is empty.

    Raises:
        ValueError: unknown name.
    """
    for wanted in only:
        if not any(wanted in (name, name.partition(".")[0]) for name in BENCHMARKS):
            raise ValueError(f"--only {wanted!r} does not exist; {nearest(wanted, list(BENCHMARKS))}")
    return {
        name: benchmark
        for name, benchmark in BENCHMARKS.items()
        if not only or name in only or name.partition(".")[0] in only
    }


def machine() -> dict[str, Any]:
    """Processor model, number of CPUs, and load average."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cpus": os.cpu_count(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def versions() -> dict[str, str]:
    """Versions of the solvers, where they are installed."""
    found = {}
    for package in SOLVERS:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


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


def run(threads: Mapping[str, str]) -> int:
    """Run the command; returns its exit status. `threads` are the thread settings to record."""
    return guarded(
        lambda: run_chosen(parse_arguments(Arguments, Arguments.__doc__), threads),
        "the results cannot be written ({error}); name another --json",
    )


def run_chosen(arguments: Arguments, threads: Mapping[str, str]) -> int:
    """Run the selected benchmarks; returns the exit status.

    Raises:
        ValueError: invalid arguments.
    """
    repetitions = QUICK_REPETITIONS if arguments.quick else REPETITIONS
    if arguments.repetitions is not None:
        repetitions = arguments.repetitions
    chosen = select(arguments.only)
    if repetitions < 1:
        raise ValueError(f"--repetitions {repetitions} must be at least 1")
    if arguments.json is not None and not arguments.json.parent.is_dir():
        raise ValueError(
            f"--json {arguments.json}: folder {arguments.json.parent} does not exist; create it, or name another"
        )
    console = Console(width=None if sys.stdout.isatty() else PAGE_WIDTH)
    record: dict[str, Any] = {**provenance(), "machine": machine(), "threads": dict(threads)}
    record["versions"] |= versions()
    rows: dict[str, Sequence[Result]] = {}
    skipped: dict[str, str] = {}
    started = time.perf_counter()
    for name, benchmark in chosen.items():
        # No spinner, whose thread would run during the timing.
        print(f"timing {name}", file=sys.stderr)
        try:
            rows[name] = benchmark(repetitions)
        except Skipped as outcome:
            skipped[name] = str(outcome)
    record |= {"repetitions": repetitions, "seconds": time.perf_counter() - started}
    if arguments.json is not None:
        found = [{"benchmark": name, **row.as_json()} for name, several in rows.items() for row in several]
        document = {**record, "rows": found, "skipped": skipped}
        write_json(arguments.json, document)
    if rows:
        console.print(table([row for several in rows.values() for row in several]))
    for name, reason in skipped.items():
        console.print(f"{name} skipped: {reason}", soft_wrap=True, markup=False)
    if arguments.json is not None:
        console.print(f"written to {arguments.json}", soft_wrap=True)
    return 0
