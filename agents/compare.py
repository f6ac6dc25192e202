"""Comparing policies by name: baselines and run folders, on the same seeds, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table as RichTable

from agents.runs import BEST, CONFIG, Run, RunError
from agents.score import Interval, Table, interval, make_worlds, paired_difference, score
from edge_envs.core.config import nearest
from edge_envs.core.policy import baselines_of, make_baseline
from edge_envs.core.system import System

HEALTHY_RATIO = 0.98
"""Below this part of finished tasks an energy means little: work was left undone."""
WIDE = 110
"""Width of a console on which all columns fit."""
ESSENTIAL = ("reward", "finished_over_arrived")
WEAK = ("finished_over_arrived",)
"""Columns that mark a row whose energies mean little."""
HEADERS = {"finished_over_arrived": "finished/arrived"}
"""Column titles that differ from the metric's name."""
BASELINE_SEED = 0
"""Seed of the baselines' own draws and searches."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One policy of a comparison: a baseline's name, or a run with its system's options."""

    label: str
    run: Run | None = None
    model: str = BEST

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Options of its environment: those given, but a run keeps its own `decision`, which says what actions mean."""
        if self.run is None:
            return dict(given)
        own = {key: value for key, value in self.run.config.options.items() if key == "decision"}
        return {**{key: value for key, value in given.items() if key != "decision"}, **own}

    def trained_here(self, preset: str, given: Mapping[str, Any]) -> bool:
        """Whether its run was trained on this preset with these options."""
        return self.run is None or (self.run.config.preset, self.run.config.options) == (preset, self.options(given))

    @property
    def training(self) -> str:
        """The preset and options of its training, in words."""
        if self.run is None:
            return "nothing"
        config = self.run.config
        return " ".join([f"preset {config.preset}", *(f"{key}={value}" for key, value in config.options.items())])

    def score(self, env_id: str, preset: str, options: Mapping[str, Any], seeds: int, episodes: int) -> Table:
        """Evaluate the entry."""
        run = self.run
        if run is None:
            return score(
                lambda env: make_baseline(self.label, env, BASELINE_SEED), env_id, preset, options,
                seeds=seeds, episodes=episodes,
            )  # fmt: skip
        return score(
            lambda env: run.load_policy(env.system, self.model), env_id, preset, self.options(options),
            seeds=seeds, episodes=episodes,
        )  # fmt: skip


def baseline_names(env_id: str, preset: str, options: Mapping[str, Any]) -> list[str]:
    """Names of the baselines for an environment's configuration."""
    env = make_worlds(env_id, 1, preset, options)
    return list(baselines_of(env))


def find_entry(name: str, env_id: str, preset: str, options: Mapping[str, Any]) -> Entry:
    """The entry behind a name: a baseline, or the path of a run folder.

    Raises:
        ValueError: neither, or a run of another environment or without a network that fits.
    """
    known = baseline_names(env_id, preset, options)
    if name in known:
        return Entry(name)
    path = Path(name)
    if not path.exists():
        raise ValueError(f"policy={name!r} is neither a baseline nor a run folder; {nearest(name, known)}")
    if not (path / CONFIG).is_file():
        raise RunError(f"policy={name!r} is not a run folder: it has no {CONFIG}")
    run = Run.open(path)
    if run.config.env_id != env_id:
        raise RunError(f"policy={name!r} was trained on {run.config.env_id}, not on {env_id}")
    entry = Entry(path.name, run)
    run.load_policy(make_worlds(env_id, 1, preset, entry.options(options)).system)
    return entry


def find_entries(names: Sequence[str], env_id: str, preset: str, options: Mapping[str, Any]) -> list[Entry]:
    """The entries behind names; run folders that share their name with another entry are labelled by their path.

    Raises:
        ValueError: no name, a name given twice, or one that `find_entry` refuses.
    """
    if not names:
        raise ValueError("--policies names none; give baselines or run folders")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"--policies names {twice!r} twice; give each once")
    entries = [find_entry(name, env_id, preset, options) for name in names]
    labels = [entry.label for entry in entries]
    return [
        replace(entry, label=name) if labels.count(entry.label) > 1 else entry
        for name, entry in zip(names, entries, strict=True)
    ]


def compare(
    entries: Sequence[Entry],
    env_id: str,
    preset: str,
    options: Mapping[str, Any],
    *,
    seeds: int,
    episodes: int,
    on_done: Any = None,
) -> dict[str, Table]:
    """Score every entry on the same evaluation seeds; `on_done` is called after each with its label."""
    results: dict[str, Table] = {}
    for entry in entries:
        results[entry.label] = entry.score(env_id, preset, options, seeds, episodes)
        if on_done is not None:
            on_done(entry.label)
    return results


def bar_of(env_id: str) -> str:
    """Name of the baseline against which an environment's policies are measured."""
    return make_worlds(env_id, 1, "default", {}).system.bar


def headline_of(env_id: str, preset: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Columns of the results table: the system's headline metrics, reward, and finished over arrived tasks."""
    system: System[Any] = make_worlds(env_id, 1, preset, options).system
    counted = {"tasks_arrived", "tasks_finished"} <= {metric.name for metric in system.metrics}
    return (*system.headline, "reward", *(("finished_over_arrived",) if counted else ()))


def _cell(value: Interval) -> str:
    """Mean ± half width, rounded to two digits of the half width."""
    half = value.half_width
    if not np.isfinite(half):
        return f"{value.mean:.4g}"
    if half == 0.0:
        return f"{value.mean:.4g} ± 0"
    digits = max(0, 1 - int(np.floor(np.log10(half))))
    return f"{value.mean:.{digits}f} ± {half:.{digits}f}"


def _spread(value: Interval) -> str:
    return f" ± {value.half_width:.1f}" if np.isfinite(value.half_width) else ""


def rich_table(results: Mapping[str, Table], columns: Sequence[str], title: str, width: int = 80) -> RichTable:
    """A row per policy; the second column is the first metric's paired difference to the first policy, in percent.

    On a narrow console only the columns that matter most are shown; `as_json` has everything.
    """
    first, main = next(iter(results)), columns[0]
    if width < WIDE:
        columns = (main, *(name for name in columns[1:] if name in ESSENTIAL))
    reference = results[first][main]
    caption = (
        "\nmean ± half of the 95 % confidence interval over seeds, without the first quarter of each episode; "
        f"difference in {main} to {first}, paired"
    )
    if "finished_over_arrived" in columns:
        caption += f"; * less than {HEALTHY_RATIO} of the tasks finished, so the energy means little"
    table = RichTable(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 0), show_edge=False)
    table.add_column("policy", overflow="fold", min_width=14)
    for name in (main, "difference", *columns[1:]):
        table.add_column(HEADERS.get(name, name), justify="right", no_wrap=True)
    for label, scores in results.items():
        gap, scale = paired_difference(scores[main], reference), abs(float(reference.mean()))
        relative = Interval(*(100.0 * value / scale for value in (gap.mean, gap.low, gap.high))) if scale else gap
        ratio = scores.get("finished_over_arrived")
        weak = ratio is not None and float(ratio.mean()) < HEALTHY_RATIO
        table.add_row(
            label,
            _cell(interval(scores[main])),
            "" if label == first else f"{relative.mean:+.1f}{_spread(relative)} %",
            *(_cell(interval(scores[name])) + (" *" if weak and name in WEAK else "") for name in columns[1:]),
            style="dim" if weak else None,
        )
    return table


def as_json(results: Mapping[str, Table]) -> dict[str, Any]:
    """Every metric of every policy: mean, interval, values by seed, paired difference to the first policy."""
    first = next(iter(results))
    document: dict[str, Any] = {}
    for label, scores in results.items():
        document[label] = {}
        for name, values in scores.items():
            mean = interval(values)
            difference = paired_difference(values, results[first][name])
            finite = len(values) > 1
            document[label][name] = {
                "mean": mean.mean,
                "interval": [mean.low, mean.high] if finite else None,
                "by_seed": values.tolist(),
                "difference": difference.mean,
                "difference_interval": [difference.low, difference.high] if finite else None,
            }
    return {"first": first, "policies": document}
