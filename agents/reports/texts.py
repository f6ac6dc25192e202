"""Sentences of the HTML report and of the Markdown tables: how the numbers were made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agents.reports.schema import Document, Environment
from agents.runs.provenance import stamp_of

ONE_TRAINING = (
    "With one training run, an interval only covers the variation between episodes, not the variation between "
    "trainings. For several runs, decision times {} of the first run."
)
SCALE = "Mean reward after the warm-up, scaled to 0 for random actions and 1 for the environment's strongest baseline"


def value_text(value: Any) -> str:
    """A text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def percent(part: float) -> str:
    """A part of one in percent."""
    return f"{100 * part:g} %"


def title_text(report: Document) -> str:
    """Title of the page."""
    ids = [environment.env_id for environment in report.environments]
    return f"Benchmark: {len(ids)} environments" if len(ids) > 1 else f"Evaluation of {ids[0]}"


def origin_text(report: Document) -> str:
    """Date, revision and versions of the evaluation."""
    origin = report.provenance
    revision = stamp(report).partition(", commit ")[2]
    parts = [str(origin.get("started") or "").replace("T", " "), f"git {revision}" if revision else ""]
    return " · ".join(filter(None, [*parts, *(f"{name} {each}" for name, each in versions(report).items())]))


def versions(report: Document) -> Mapping[str, Any]:
    """Versions of the packages, as far as the document has them."""
    found = report.provenance.get("versions")
    return found if isinstance(found, dict) else {}


def stamp(report: Document) -> str:
    """Version and revision of this package that made the numbers."""
    origin = {key: value for key, value in report.provenance.items() if value is not None}
    return stamp_of({**origin, "versions": versions(report)})


def setting_text(environment: Environment) -> str:
    """On what the policies were scored."""
    options = "".join(f" {name}={value_text(value)}" for name, value in environment.options.items())
    episodes = f"{environment.seeds} seeds × {environment.episodes} episodes"  # noqa: RUF001
    return f"preset {environment.preset}{options} · {episodes} · {warmup_text(environment.warmup_fraction)}"


def warmup_text(fraction: float) -> str:
    """Which part of each episode counts."""
    return f"without the first {percent(fraction)} of each episode (warm-up)" if fraction else "over whole episodes"


def table_note(environment: Environment, report: Document) -> str:
    """The note under the table of policies."""
    trainings = {policy.label: len(policy.runs) for policy in environment.policies if policy.runs}
    return (
        f"Means with {percent(report.confidence)} percentile bootstrap intervals of the "
        f"{environment.seeds * environment.episodes:,} episodes, together with the trainings of an entry that has "
        f"several; differences in {environment.main} are to {environment.policies[0].label}, paired; "
        f"{trainings_text(trainings)}; {stamp(report)}. Click a header to sort."
    )


def trainings_text(trainings: Mapping[str, int]) -> str:
    """Number of trainings of each learned entry."""
    return "trainings: " + (", ".join(f"{label} {count}" for label, count in trainings.items()) or "none")


def scores_note(report: Document) -> str:
    """The note under the table of scores."""
    strongest = ", ".join(f"{each.strongest_baseline} in {each.env_id}" for each in report.environments)
    return (
        f"Mean reward on a scale where random is 0 and the strongest baseline is 1: {strongest}. The mean is over the "
        f"environments that a policy is scored on, so it does not compare policies that are scored on different ones. "
        f"{stamp(report)}."
    )


def curves_note(environment: Environment) -> str:
    """The note under the training curves."""
    if not environment.curve_metrics:
        return ""
    text = "Validation episodes during training, one line per run; their worlds are not those of the evaluation."
    if environment.reference_baseline in {policy.label for policy in environment.policies}:
        text += f" The dashed line is the evaluation mean of {environment.reference_baseline}, the reference baseline."
    return text


def episode_note(environment: Environment) -> str:
    """The note under the recorded episode."""
    if not (environment.episode and environment.series_metrics):
        return ""
    return f"The same episode for each policy (seed {environment.episode.seed})."


def method_texts(environment: Environment, report: Document) -> list[str]:
    """How the numbers were made, a paragraph each."""
    runs = [len(policy.runs) for policy in environment.policies]
    resampled = "episodes" + (
        ", and of the training runs together with them where an entry has several" if max(runs) > 1 else ""
    )
    return [
        f"Every policy played the same {environment.seeds * environment.episodes:,} episodes (common random numbers): "
        f"{environment.seeds} evaluation seeds of {environment.episodes} episodes each, "
        f"{warmup_text(environment.warmup_fraction)}.",
        f"Intervals are {percent(report.confidence)} percentile bootstrap intervals from {report.resamples:,} "
        f"resamples of the {resampled}.",
        *([ONE_TRAINING.format("and the plotted episode are")] if any(runs) else []),
        f"Differences are to {environment.policies[0].label}, paired: both policies are resampled on the same "
        "episodes.",
        "IQM is the interquartile mean over the means by training run and evaluation seed: of n sorted means, the "
        "int(n / 4) at either end are left out (as scipy.stats.trim_mean and rliable do).",
        f"The score is the mean reward on a scale where random is 0 and {environment.strongest_baseline}, the "
        "strongest baseline, is 1; it can be below 0 or above 1. Ablations have no score because they act in another "
        "system. No policy has a score where random or the strongest baseline was not played.",
        "Decision times are of one decision in one world after a warm-up; they depend on the machine.",
    ]
