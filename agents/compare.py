"""Comparing policies by name: baselines, schemes and run folders, on the same seeds, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table as RichTable

from agents.runs import BEST, CONFIG, Run, RunError
from agents.score import LOG, Interval, Table, interval, make_worlds, paired_difference, score
from edge_envs.core.config import nearest
from edge_envs.core.policy import Scheme, baselines_of, make_baseline, schemes_of
from edge_envs.core.system import System

ROUNDING = 1e-9
"""A half width this small, relative to the mean, comes from rounding."""
HEALTHY_RATIO = 0.98
"""Below this part of finished tasks an energy means little: work was left undone."""
RATIO = "finished_over_arrived"
HEADERS = {RATIO: "finished/arrived"}
"""Column titles that differ from the metric's name."""
NARROWEST_LABEL = 14
"""Width to which the column of the policies' names can be folded."""
BASELINE_SEED = 0
"""Seed of the baselines' own draws and searches."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One policy of a comparison: a baseline by its name, a scheme, or a run with its system's options."""

    label: str
    run: Run | None = None
    model: str = BEST
    scheme: Scheme | None = None

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Options of its environment: those given, with a scheme's own over them.

        A run keeps its own `decision`, which says what actions mean.
        """
        if self.run is None:
            return {**given, **(self.scheme.options if self.scheme else {})}
        own = {key: value for key, value in self.run.config.options.items() if key == "decision"}
        return {**without_decision(given), **own}

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
            name = self.scheme.policy if self.scheme else self.label
            return score(
                lambda env: make_baseline(name, env, BASELINE_SEED), env_id, preset, self.options(options),
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
    """The entry behind a name: a baseline, a scheme, or the path of a run folder.

    Raises:
        ValueError: none of them, a scheme that `options` contradict, or a run of another environment or without a
            network that fits.
    """
    env = make_worlds(env_id, 1, preset, options)
    known, schemes = list(baselines_of(env)), schemes_of(env)
    if name in known:
        return Entry(name)
    if name in schemes:
        entry = Entry(name, scheme=schemes[name])
        check_scheme(entry, env_id, preset, options)
        return entry
    path = Path(name)
    if not path.exists():
        kinds = "neither a baseline, a scheme nor a run folder" if schemes else "neither a baseline nor a run folder"
        raise ValueError(f"policy={name!r} is {kinds}; {nearest(name, [*known, *schemes])}")
    if not (path / CONFIG).is_file():
        raise RunError(f"policy={name!r} is not a run folder: it has no {CONFIG}")
    run = Run.open(path)
    if run.config.env_id != env_id:
        raise RunError(f"policy={name!r} was trained on {run.config.env_id}, not on {env_id}")
    entry = Entry(path.name, run)
    run.load_policy(make_worlds(env_id, 1, preset, entry.options(options)).system)
    return entry


def check_scheme(entry: Entry, env_id: str, preset: str, options: Mapping[str, Any]) -> None:
    """Whether a scheme can be played with the options given.

    Raises:
        ValueError: an option that the scheme sets itself, others that do not go with its own, or a baseline missing.
    """
    scheme = entry.scheme
    assert scheme is not None
    for key in sorted(key for key in scheme.options.keys() & options.keys() if scheme.options[key] != options[key]):
        raise ValueError(
            f"policy={entry.label!r} sets {key}={scheme.options[key]!r}, against --set {key}={options[key]!r}; "
            "leave out one of them"
        )
    try:
        known = baseline_names(env_id, preset, entry.options(options))
    except ValueError as error:
        raise ValueError(f"policy={entry.label!r} cannot be played here: {error}") from error
    if scheme.policy not in known:
        raise ValueError(
            f"policy={entry.label!r} plays {scheme.policy!r}, which does not exist here; known: {', '.join(known)}"
        )


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


def system_of(env_id: str, preset: str, options: Mapping[str, Any]) -> System[Any]:
    """The system behind an environment's configuration.

    Raises:
        ValueError: unknown id, preset or parameter, or an impossible value.
    """
    return make_worlds(env_id, 1, preset, options).system


def without_decision(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options under which a wing's baselines act: they decide what its usual decision says."""
    return {key: value for key, value in options.items() if key != "decision"}


def headline_of(system: System[Any]) -> tuple[str, ...]:
    """Columns of the results table: headline metrics and logarithms, reward, and finished over arrived tasks."""
    counted = {"tasks_arrived", "tasks_finished"} <= {metric.name for metric in system.metrics}
    logs = [LOG + name for name in system.logged if name in system.headline]
    return (system.headline[0], *logs, *system.headline[1:], "reward", *((RATIO,) if counted else ()))


def _cell(value: Interval) -> str:
    """Mean ± half width, rounded to two digits of the half width."""
    half = value.half_width
    if not np.isfinite(half):
        return f"{value.mean:.4g}"
    if half <= ROUNDING * abs(value.mean):
        return f"{value.mean:.4g} ± 0"
    digits = max(0, 1 - int(np.floor(np.log10(half))))
    return f"{value.mean:.{digits}f} ± {half:.{digits}f}"


def _spread(value: Interval) -> str:
    return f" ± {value.half_width:.1f}" if np.isfinite(value.half_width) else ""


def _differences(results: Mapping[str, Table], main: str) -> dict[str, str]:
    """Each policy's paired difference in a metric to the first policy: in percent of its mean, unless that is zero."""
    first = next(iter(results))
    reference = results[first][main]
    scale, unit = abs(float(reference.mean())) / 100.0, " %"
    if scale == 0.0:
        scale, unit = 1.0, ""
    cells = {first: ""}
    for label, scores in results.items():
        if label != first:
            gap = paired_difference(scores[main], reference)
            gap = Interval(*(value / scale for value in (gap.mean, gap.low, gap.high)))
            cells[label] = f"{gap.mean:+.1f}{_spread(gap)}{unit}"
    return cells


def _fitting(columns: Sequence[str], widths: Mapping[str, int], free: int) -> list[str]:
    """The columns that fit side by side, in their order; the first two and reward are kept even where they do not."""
    kept = {*columns[:2], "reward"}
    free -= sum(widths[name] + 1 for name in columns if name in kept)
    for name in sorted(columns, key=lambda name: name != RATIO):
        if name not in kept and widths[name] < free:
            kept.add(name)
            free -= widths[name] + 1
    return [name for name in columns if name in kept]


def _caption(main: str, first: str, settling: float, marked: bool) -> str:
    left_out = f"without the first {100 * settling:g} % of each episode" if settling else "over whole episodes"
    return (
        f"\nmean ± half of the 95 % confidence interval over seeds, {left_out}; difference in {main} to {first}, paired"
        + (f"; * less than {HEALTHY_RATIO} of the tasks finished, so the energy means little" if marked else "")
    )


def rich_table(
    results: Mapping[str, Table], columns: Sequence[str], title: str, width: int = 80, settling: float = 0.25
) -> RichTable:
    """A row per policy; the second column is the first metric's paired difference to the first policy, in percent.

    On a narrow console, columns that do not fit are left out, but never the first two and reward; `as_json` has
    everything. A policy that leaves work undone is dim and has a star.

    Args:
        results: the policies' scores by label.
        columns: metrics, the most important one first, and reward.
        title: above the table.
        width: of the console, in characters.
        settling: part of an episode that the scores leave out.
    """
    first, main = next(iter(results)), columns[0]
    weak = {label for label, scores in results.items() if RATIO in scores and scores[RATIO].mean() < HEALTHY_RATIO}
    cells = {name: {label: _cell(interval(scores[name])) for label, scores in results.items()} for name in columns}
    differences = _differences(results, main)
    widths = {
        name: max(len(HEADERS.get(name, name)), *(len(text) + 2 * (name in (main, RATIO)) for text in column.values()))
        for name, column in cells.items()
    }
    free = width - NARROWEST_LABEL - 1 - max(len("difference"), *map(len, differences.values()))
    columns = _fitting(columns, widths, free)
    marked = RATIO if RATIO in columns else main
    for label in weak:
        cells[marked][label] += " *"
    caption = _caption(main, first, settling, bool(weak))
    table = RichTable(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 0), show_edge=False)
    table.add_column("policy", overflow="fold", min_width=NARROWEST_LABEL)
    for name in (main, "difference", *columns[1:]):
        table.add_column(HEADERS.get(name, name), justify="right", no_wrap=True)
    for label in results:
        numbers = [cells[name][label] for name in columns]
        table.add_row(label, numbers[0], differences[label], *numbers[1:], style="dim" if label in weak else None)
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
