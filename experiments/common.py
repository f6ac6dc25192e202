"""What the experiments share: trainings that are kept, evaluation of several training seeds, and where results go."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from agents.cli import parse_arguments
from agents.compare import compare
from agents.entries import Entry
from agents.learn import train
from agents.runs import BEST, CONFIG, LAST, Run, RunConfig, provenance
from agents.score import Interval, Table, interval
from edge_envs.core.command import guarded
from edge_envs.core.files import write_atomically

T = TypeVar("T")


def command(kind: type[T], description: str | None, job: Callable[[T], None]) -> int:
    """Run an experiment with the arguments of the command line; returns the exit status.

    Bad input ends in one line before any work: numbers below 1, presets that do not exist, a folder that cannot be.
    """
    arguments = parse_arguments(kind, description)

    def checked() -> int:
        check(vars(arguments))
        job(arguments)
        return 0

    return guarded(checked, "the results cannot be written ({error}); name another folder with --out")


def check(arguments: Mapping[str, Any]) -> None:
    """Whether an experiment can be made.

    Raises:
        ValueError: a number that cannot be, or a folder that cannot be written.
        OSError: the folder for the results cannot be made.
    """
    for name, value in arguments.items():
        if type(value) is int and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} {value} is not possible; give at least 1")
    out: Path = arguments["out"]
    out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK):
        raise ValueError(f"--out {out} cannot be written; name another folder")


def trained(config: RunConfig, path: Path) -> Run:
    """The run in a folder, trained to its end now where it is not yet."""
    going_on = (path / CONFIG).exists()
    run = Run.open(path) if going_on else Run.create(config, path)
    if run.config != config:
        raise ValueError(f"{path} is a run with another configuration; remove it, or name another folder with --runs")
    if run.finished:
        return run
    for note in run.check_resumable() if going_on else ():
        print(f"{path.name}: {note}", flush=True)
    result = train(run, resume=going_on, quiet=True)
    share = result.env_seconds / result.seconds
    print(f"{path.name}: {result.steps} steps, {result.seconds:.0f} s, {share:.1%} in the environment", flush=True)
    return run


def by_training_seed(
    runs: Sequence[Run], preset: str, options: Mapping[str, Any], seeds: int, episodes: int,
    models: Sequence[str] = (LAST, BEST),
) -> dict[str, list[Table]]:  # fmt: skip
    """Evaluations of the last and of the best validated network of every run, by model file."""
    found: dict[str, list[Table]] = {}
    for model in models:
        entries = [Entry(f"{number}", run, model) for number, run in enumerate(runs)]
        scores = compare(entries, runs[0].config.env_id, preset, options, seeds=seeds, episodes=episodes)
        found[model] = list(scores.values())
    return found


def summary(runs: Sequence[Table], names: Sequence[str]) -> dict[str, Any]:
    """Mean over runs and evaluation seeds; the interval is over runs, or for one run over evaluation seeds."""
    result: dict[str, Any] = {}
    for name in names:
        spread = interval(np.array([run[name].mean() for run in runs]) if len(runs) > 1 else runs[0][name])
        result[name] = {
            "mean": spread.mean,
            "half_width": spread.half_width,
            "by_training_seed": [float(run[name].mean()) for run in runs],
        }
    return result


def spread_text(value: Interval | Mapping[str, Any], digits: int) -> str:
    """Mean ± half width with so many digits after the point."""
    mean, half = (value.mean, value.half_width) if isinstance(value, Interval) else (value["mean"], value["half_width"])
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


def publish(folder: Path, name: str, lines: Sequence[str], document: Mapping[str, Any], module: str) -> None:
    """Write `name`.md and `name`.json, with the provenance of this process."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{name}.md", ("\n".join(lines).rstrip() + "\n").encode())
    origin = provenance() | {"command": ["python", "-m", module, *sys.argv[1:]]}
    content = json.dumps({**document, "provenance": origin}, indent=1)
    write_atomically(folder / f"{name}.json", content.encode())
