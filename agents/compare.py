"""Comparing policies by name: baselines, schemes, run folders and own agents, on the same seeds, as a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.table import Table as RichTable

from agents.entries import Entry
from agents.score import LOG, RATIO, RESAMPLES, Interval, Scores, counts_tasks, score
from agents.statistics import Summary, summarise
from edge_envs.core.system import System

ROUNDING = 1e-9
"""A half width this small, relative to the mean, comes from rounding."""
HEALTHY_RATIO = 0.98
"""Below this part of finished tasks an energy means little: work was left undone."""
WEAK = f"; * less than {HEALTHY_RATIO} of the tasks finished, so the energy means little"
LATENCY = "ms/decision"
HEADERS = {RATIO: "finished/arrived"}
"""Column titles that differ from the metric's name."""
NARROWEST_LABEL = 14
"""Width to which the column of the policies' names can be folded."""


def compare(
    entries: Sequence[Entry],
    env_id: str,
    preset: str,
    options: Mapping[str, Any],
    *,
    seeds: int,
    episodes: int,
    on_done: Callable[[str], object] | None = None,
) -> dict[str, Scores]:
    """Score every entry on the same evaluation seeds; `on_done` is called after each with its label."""
    results: dict[str, Scores] = {}
    for entry in entries:
        own = entry.options(options)
        runs = [score(each, env_id, preset, own, seeds=seeds, episodes=episodes) for each in entry.factories()]
        results[entry.label] = Scores.of_runs(runs)
        if on_done is not None:
            on_done(entry.label)
    return results


def title_of(env_id: str, preset: str, options: Mapping[str, Any], seeds: int, episodes: int) -> str:
    """On what policies are scored, in words."""
    told = ", ".join([f"{env_id}, preset {preset}", *(f"{key}={json.dumps(value)}" for key, value in options.items())])
    return f"{told}: {seeds} seed{'s' * (seeds > 1)} x {episodes} episode{'s' * (episodes > 1)}"


def headline_of(system: System[Any]) -> tuple[str, ...]:
    """Columns of the results table: headline metrics and logarithms, reward, and finished over arrived tasks."""
    logs = [LOG + name for name in system.logged if name in system.headline]
    return (system.headline[0], *logs, *system.headline[1:], "reward", *((RATIO,) if counts_tasks(system) else ()))


def spread(value: Interval) -> str:
    """Mean ± half of the interval, rounded to two digits of that half; the mean alone where there is no interval."""
    half = value.half_width
    if not np.isfinite(half):
        return f"{value.mean:.4g}"
    if half <= ROUNDING * abs(value.mean):
        return f"{value.mean:.4g} ± 0"
    digits = max(0, 1 - int(np.floor(np.log10(half))))
    return f"{value.mean:.{digits}f} ± {half:.{digits}f}"


def unhealthy(results: Mapping[str, Scores]) -> set[str]:
    """The policies that leave work undone."""
    return {label for label, scores in results.items() if RATIO in scores and scores[RATIO].mean() < HEALTHY_RATIO}


def _differences(summaries: Mapping[str, Summary]) -> dict[str, str]:
    """Each policy's paired difference to the first policy: in percent of its mean, unless that is zero."""
    first = next(iter(summaries))
    scale, unit = abs(summaries[first].mean.mean) / 100.0, " %"
    if scale == 0.0:
        scale, unit = 1.0, ""
    cells = {first: ""}
    for label, summary in summaries.items():
        if label != first:
            mean, half = summary.difference.mean / scale, summary.difference.half_width / scale
            cells[label] = f"{mean:+.1f}" + (f" ± {half:.1f}" if np.isfinite(half) else "") + unit
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
        f"\nmean ± half of the 95 % bootstrap interval ({RESAMPLES} resamples of episodes and of training runs), "
        f"{left_out}; difference in {main} to {first}, paired" + (WEAK if marked else "")
    )


def rich_table(
    results: Mapping[str, Scores],
    columns: Sequence[str],
    title: str,
    width: int = 80,
    settling: float = 0.25,
    latency_ms: Mapping[str, float] | None = None,
) -> RichTable:
    """A row per policy; the second column is the first metric's paired difference to the first policy, in percent.

    On a narrow console, columns that do not fit are left out, but never the first two and reward. A policy that leaves
    work undone is dim and has a star.

    Args:
        results: the policies' scores by label.
        columns: metrics, the most important one first, and reward.
        title: above the table.
        width: of the console, in characters.
        settling: part of an episode that the scores leave out.
        latency_ms: time of a decision by label, where it was measured.
    """
    first, main = next(iter(results)), columns[0]
    summaries = {name: summarise(results, name) for name in columns}
    weak = unhealthy(results)
    cells = {name: {label: spread(each.mean) for label, each in summaries[name].items()} for name in columns}
    if latency_ms is not None:
        columns = (*columns, LATENCY)
        cells[LATENCY] = {label: f"{value:.3g}" for label, value in latency_ms.items()}
    differences = _differences(summaries[main])
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
