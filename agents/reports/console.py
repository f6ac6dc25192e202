"""Tables on the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from agents.console import sign_of
from agents.evaluation.bootstrap import Summary, summarise
from agents.evaluation.comparison import LATENCY, headline_of, trainings_of
from agents.evaluation.contestants import Entry
from agents.evaluation.episodes import RATIO, Scores
from agents.evaluation.results import RANKED, Evaluated, Setting
from agents.evaluation.statistics import ABSENT, Interval, plus_minus
from agents.reports.files import number
from agents.reports.tables import ROUNDING
from agents.reports.texts import SCALE, trainings_text, warmup_text
from agents.runs.provenance import stamp

HEALTHY_RATIO = 0.98
"""Below this ratio of finished to arrived tasks, an energy is not meaningful, because tasks remain unfinished."""

WEAK = f"; * less than {HEALTHY_RATIO} of the tasks finished, so the energy means little"

HEADERS = {RATIO: "finished/arrived"}
"""Titles of columns that differ from the metric's name."""

NARROWEST_LABEL = 14
"""Smallest width of the column of names."""


def spread(value: Interval) -> str:
    """Mean ± half of the interval, rounded to two digits of that half; only the mean if there is no interval."""
    half = value.half_width
    if np.isnan(value.mean):
        return ABSENT
    if not np.isfinite(half):
        return f"{value.mean:.4g}"
    if half <= ROUNDING * abs(value.mean):
        return f"{value.mean:.4g} ± 0"
    digits = max(0, 1 - int(np.floor(np.log10(half))))
    return f"{value.mean:.{digits}f} ± {half:.{digits}f}"


def unhealthy(results: Mapping[str, Scores]) -> set[str]:
    """Labels of the policies that leave tasks unfinished."""
    return {label for label, scores in results.items() if RATIO in scores and scores[RATIO].mean() < HEALTHY_RATIO}


def _differences(summaries: Mapping[str, Summary]) -> dict[str, str]:
    """Each policy's paired difference to the first policy, in percent of its mean unless that is zero."""
    first = next(iter(summaries))
    scale, unit = abs(summaries[first].mean.mean) / 100.0, " %"
    if scale == 0.0:
        scale, unit = 1.0, ""
    cells = {first: ""}
    for label in [label for label in summaries if label != first]:
        gap = summaries[label].difference
        half = f" ± {gap.half_width / scale:.1f}" if np.isfinite(gap.half_width) else ""
        cells[label] = ABSENT if np.isnan(gap.mean) else f"{gap.mean / scale:+.1f}{half}{unit}"
    return cells


def _fitting(columns: Sequence[str], widths: Mapping[str, int], free: int) -> list[str]:
    """The columns that fit side by side, in their order; the first two and reward are always kept."""
    kept = {*columns[:2], "reward"}
    free -= sum(widths[name] + 1 for name in columns if name in kept)
    for name in sorted(columns, key=lambda name: name != RATIO):
        if name not in kept and widths[name] < free:
            kept.add(name)
            free -= widths[name] + 1
    return [name for name in columns if name in kept]


def _caption(
    main: str, results: Mapping[str, Scores], warmup_fraction: float, weak: bool, trainings: Mapping[str, int]
) -> str:
    first = next(iter(results))
    _, seeds, episodes = results[first].episodes[main].shape
    parts = [
        spread_meaning(seeds * episodes, trainings), warmup_text(warmup_fraction),
        f"difference in {main} to {first}, paired{WEAK if weak else ''}", trainings_text(trainings), stamp(),
    ]  # fmt: skip
    return "\n" + "; ".join(parts)


def spread_meaning(episodes: int, trainings: Mapping[str, int]) -> str:
    """Definition of ± for a table, from its number of episodes and the trainings of each learned entry."""
    if episodes == 1:
        return "a single episode has no interval"
    return plus_minus(f"{episodes} episodes", any(count > 1 for count in trainings.values()))


def rich_table(
    results: Mapping[str, Scores],
    columns: Sequence[str],
    title: str,
    width: int = 80,
    warmup_fraction: float = 0.25,
    latency_ms: Mapping[str, float] | None = None,
    trainings: Mapping[str, int] | None = None,
    sign: str = "±",
) -> RichTable:
    """A table with a row per policy; its second column is the paired difference to the first policy, in percent.

    On a narrow console, columns that do not fit are left out, except the first two and reward. A policy that leaves
    tasks unfinished is dim and has a star.

    Args:
        results: the policies' scores by label.
        columns: metrics, the most important one first, and reward.
        title: above the table.
        width: of the console, in characters.
        warmup_fraction: fraction of an episode that the scores leave out.
        latency_ms: time of a decision by label, if it was measured.
        trainings: number of training runs of each learned entry, by label.
        sign: ± as the console can show it.
    """
    main = columns[0]
    summaries = {name: summarise(results, name) for name in columns}
    weak = unhealthy(results)
    cells = {
        name: {label: spread(each.mean).replace("±", sign) for label, each in summaries[name].items()}
        for name in columns
    }
    if latency_ms is not None:
        columns = (*columns, LATENCY)
        cells[LATENCY] = {label: f"{value:.3g}" for label, value in latency_ms.items()}
    differences = {label: text.replace("±", sign) for label, text in _differences(summaries[main]).items()}
    widths = {
        name: max(len(HEADERS.get(name, name)), *(len(text) + 2 * (name in (main, RATIO)) for text in column.values()))
        for name, column in cells.items()
    }
    free = width - NARROWEST_LABEL - 1 - max(len("difference"), *map(len, differences.values()))
    columns = _fitting(columns, widths, free)
    marked = RATIO if RATIO in columns else main
    for label in weak:
        cells[marked][label] += " *"
    caption = _caption(main, results, warmup_fraction, bool(weak), trainings or {})
    titles = [HEADERS.get(name, name) for name in (main, "difference", *columns[1:])]
    table = _table(title, caption, titles, NARROWEST_LABEL)
    for label in results:
        numbers = [cells[name][label] for name in columns]
        table.add_row(label, numbers[0], differences[label], *numbers[1:], style="dim" if label in weak else None)
    return table


def results_table(
    console: Console,
    setting: Setting,
    entries: Sequence[Entry],
    results: Mapping[str, Scores],
    latency_ms: Mapping[str, float] | None = None,
) -> RichTable:
    """`rich_table` with the headline metrics of an environment, for a console."""
    columns, fraction = headline_of(setting.system), setting.system.warmup_fraction
    return rich_table(
        results, columns, setting.title, console.width, fraction, latency_ms, trainings_of(entries), sign_of(console)
    )  # fmt: skip


def ranking_table(evaluated: Evaluated, sign: str = "±") -> RichTable:
    """The policies of one environment, from the best mean reward to the worst; `sign` is ± as the console shows it."""
    setting, trainings = evaluated.setting, trainings_of(evaluated.entries)
    main = setting.system.headline[0]
    weak = unhealthy(evaluated.results)
    caption = (
        f"\n{spread_meaning(setting.seeds * setting.episodes, trainings)}; score: {SCALE[0].lower()}{SCALE[1:]} "
        f"({setting.system.strongest_baseline}){WEAK if weak else ''}; {stamp()}"
    )
    table = _table(setting.title, caption, ("rank", "trainings", "score", RANKED, main, LATENCY))
    scaled, ranks = evaluated.normalised or {}, evaluated.ranks
    means = {
        name: {label: each.mean for label, each in summarise(evaluated.results, name).items()}
        for name in (RANKED, main)
    }
    kinds = {entry.label: entry.kind for entry in evaluated.entries}
    for label in sorted(kinds, key=lambda label: ranks.get(label, len(kinds) + 1)):
        shown = (
            spread(scaled[label]) if label in scaled else ABSENT, spread(means[RANKED][label]),
            spread(means[main][label]) + " *" * (label in weak),
        )  # fmt: skip
        table.add_row(
            label, str(ranks.get(label, ABSENT)), str(trainings.get(label, "")),
            *(text.replace("±", sign) for text in shown), f"{evaluated.latencies[label].mean:.3g}",
            style="bold" if kinds[label] == "learned" else None,
        )  # fmt: skip
    return table


def score_table(scores: Sequence[Mapping[str, Any]], env_ids: Sequence[str]) -> RichTable:
    """Normalised scores over all environments."""
    caption = (
        f"\n{SCALE}; the mean is over the environments that a policy is scored on, and baselines of a single "
        f"environment are in its table only; {stamp()}"
    )
    table = _table("Normalised scores", caption, (*env_ids, "mean"))
    for row in scores:
        table.add_row(row["label"], *(number(row["by_env"].get(env_id)) for env_id in env_ids), number(row["mean"]))
    return table


def _table(title: str, caption: str, columns: Sequence[str], label_width: int | None = None) -> RichTable:
    table = RichTable(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 0), show_edge=False)
    table.add_column("policy", overflow="fold", min_width=label_width)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table
