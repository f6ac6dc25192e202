"""Score several policies on the same evaluation seeds, and describe the comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agents.evaluation.contestants import Entry
from agents.evaluation.episodes import LOG, RATIO, Scores, has_task_counts, score
from edge_envs.core.system import System

LATENCY = "ms/decision"


def silent(text: str) -> None:
    """Show no progress."""


def compare(
    entries: Sequence[Entry],
    env_id: str,
    preset: str,
    options: Mapping[str, Any],
    *,
    seeds: int,
    episodes: int,
    notify: Callable[[str], object] = silent,
) -> dict[str, Scores]:
    """Score every entry on the same evaluation seeds; `notify` is called with a line of progress before each run."""
    results: dict[str, Scores] = {}
    for number, entry in enumerate(entries, 1):
        own, factories, runs = entry.options(options), entry.factories(), []
        for run, factory in enumerate(factories, 1):
            part = f", training {run} of {len(factories)}" if len(factories) > 1 else ""
            notify(f"playing {entry.label} ({number} of {len(entries)}{part})")
            runs.append(score(factory, env_id, preset, own, seeds=seeds, episodes=episodes))
        results[entry.label] = Scores.of_runs(runs)
    return results


def headline_of(system: System[Any]) -> tuple[str, ...]:
    """Columns of the results table: headline metrics and their logarithms, reward, finished over arrived tasks."""
    logs = [LOG + name for name in system.logged if name in system.headline]
    return (system.headline[0], *logs, *system.headline[1:], "reward", *((RATIO,) if has_task_counts(system) else ()))


def trainings_of(entries: Sequence[Entry]) -> dict[str, int]:
    """Number of training runs of each learned entry, by label."""
    return {entry.label: len(entry.runs) for entry in entries if entry.runs}
