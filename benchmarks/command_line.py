"""The command `python -m benchmarks`: its options, the run of the benchmarks, and their table and JSON file."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agents.runs.provenance import processor, provenance
from benchmarks import gym_overhead, training_share
from benchmarks.dtirs import solvers as dtirs_solvers
from benchmarks.dtirs import steps as dtirs_steps
from benchmarks.eccnoma import decisions as eccnoma_decisions
from benchmarks.eccnoma import solvers as eccnoma_solvers
from benchmarks.eccnoma import steps as eccnoma_steps
from benchmarks.lyappo import solvers as lyappo_solvers
from benchmarks.output import check_parent, page_console, table
from benchmarks.semcom import solvers as semcom_solvers
from benchmarks.semcom import steps as semcom_steps
from benchmarks.timing import Result, Skipped
from edge_envs.core.io.arguments import parse_arguments
from edge_envs.core.io.command import guarded
from edge_envs.core.io.files import write_json
from edge_envs.core.validation import nearest, whole_number

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
GROUPS = tuple(dict.fromkeys(name.partition(".")[0] for name in BENCHMARKS))
REPETITIONS, QUICK_REPETITIONS = 31, 7
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
        if wanted not in (*BENCHMARKS, *GROUPS):
            raise ValueError(f"--only {wanted!r} does not exist; {nearest(wanted, list(BENCHMARKS))}")
    chosen = set(only or GROUPS)
    return {name: each for name, each in BENCHMARKS.items() if chosen & {name, name.partition(".")[0]}}


def machine() -> dict[str, Any]:
    """Processor model, number of CPUs, and load average."""
    return {
        "cpu": processor(),
        "cpus": os.cpu_count(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def run(threads: Mapping[str, str]) -> int:
    """Run the command; returns its exit status. `threads` are the thread settings to record."""
    description = f"{Arguments.__doc__}\n\nNames for --only: {', '.join((*GROUPS, *BENCHMARKS))}."
    return guarded(
        lambda: run_chosen(parse_arguments(Arguments, description), threads),
        "the results cannot be written ({error}); name another --json",
    )


def run_chosen(arguments: Arguments, threads: Mapping[str, str]) -> int:
    """Run the selected benchmarks; returns the exit status.

    Raises:
        ValueError: invalid arguments.
    """
    repetitions = QUICK_REPETITIONS if arguments.quick else REPETITIONS
    if arguments.repetitions is not None:
        repetitions = whole_number("--repetitions", arguments.repetitions, 1)
    chosen = select(arguments.only)
    check_parent("--json", arguments.json)
    console = page_console()
    record: dict[str, Any] = {**provenance(), "machine": machine(), "threads": dict(threads)}
    record["versions"] |= {name: version(name) if find_spec(name) else "not installed" for name in SOLVERS}
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
