"""An evaluation's document as JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import html
import io
import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agents.evaluation.statistics import ABSENT, interval_keys
from agents.reports.schema import upgraded
from agents.reports.texts import ONE_TRAINING, SCALE, percent, warmup_text
from agents.runs.provenance import stamp_of
from edge_envs.core.io.files import write_atomically

FIELDS = ("env_id", "policy", "kind", "metric", "unit", "statistic", "run", "episode", "value")
STATISTICS = (
    "mean", "low", "high", "iqm", "iqm_low", "iqm_high", "difference", "difference_low", "difference_high",
)  # fmt: skip

Document = Mapping[str, Any]


def write(file: Path, content: str, option: str) -> None:
    """Write a file atomically.

    Raises:
        ValueError: the file cannot be written; the message names the `option` of the command line.
    """
    try:
        write_atomically(file, content.encode())
    except OSError as error:
        raise ValueError(f"{option} {file} cannot be written ({error.strerror})") from error


def as_json(document: Document) -> str:
    """The document as JSON."""
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def as_csv(document: Document) -> str:
    """The document as a long table: one row per number.

    The column `statistic` names the number; rows with `episode` are the scores themselves, with their run and episode
    counted from 0. Numbers that are not finite are empty.
    """
    document = upgraded(document)
    table = io.StringIO()
    out = csv.writer(table, lineterminator="\n")
    out.writerow(FIELDS)
    for environment in document["environments"]:
        for policy in environment["policies"]:
            place = (environment["env_id"], policy["label"], policy["kind"])
            out.writerows((*place, *row) for row in _csv_rows(environment, policy))
    return table.getvalue()


def _csv_rows(environment: Document, policy: Document) -> Iterator[tuple[Any, ...]]:
    units = {metric["name"]: metric["unit"] for metric in environment["metrics"]}
    for name, metric in policy["metrics"].items():
        for statistic in STATISTICS:
            yield name, units[name], statistic, "", "", metric[statistic]
        for run, episodes in enumerate(metric["by_episode"]):
            for episode, value in enumerate(episodes):
                yield name, units[name], "episode", run, episode, value
    for statistic, value in (policy["normalised"] or {}).items():
        yield "normalised", "-", statistic, "", "", value
    yield "rank", "-", "value", "", "", policy["rank"]
    for statistic, value in policy["latency_ms"].items():
        yield "latency", "-" if statistic == "steps" else "ms", statistic, "", "", value


def as_markdown(document: Document) -> str:
    """Notes and a table per environment; for a benchmark also a table of the scores over all environments."""
    document = upgraded(document)
    lines = [f"- Note: {html.escape(' '.join(note.split()), quote=False)}" for note in document["notes"]]
    lines += [""] if lines else []
    if document.get("scores"):
        ids = [environment["env_id"] for environment in document["environments"]]
        meaning = f"{SCALE}. The mean of a policy is over the environments in which it is scored."
        lines += ["# Normalised scores", "", wrapped(meaning), ""]
        body = [
            [score["label"], *(number(score["by_env"].get(env_id)) for env_id in ids), number(score["mean"])]
            for score in document["scores"]
        ]
        lines += [*markdown_table(["policy", *ids, "mean"], body), "", f"{stamp_of(document['provenance'])}.", ""]
    for environment in document["environments"]:
        lines += _environment_lines(environment, document)
    origin = document["provenance"]
    versions = ", ".join(f"{name} {version}" for name, version in origin["versions"].items())
    lines += [f"Made with {versions}, on {origin.get('processor', 'an unknown processor')}."]
    return "\n".join(lines) + "\n"


def _environment_lines(environment: Document, document: Document) -> list[str]:
    main, policies = environment["main"], environment["policies"]
    titles = {
        metric["name"]: metric["name"] + (f" [{metric['unit']}]" if metric["unit"] != "-" else "")
        for metric in environment["metrics"]
    }
    options = "".join(f", {key}={json.dumps(value)}" for key, value in environment["options"].items())
    once = f" {ONE_TRAINING.format('are')}" if any(policy["runs"] for policy in policies) else ""
    note = (
        f"All policies are scored on the same {environment['seeds']} evaluation seeds x {environment['episodes']} "
        f"episodes, {warmup_text(environment['warmup_fraction'])}. Brackets contain {percent(document['confidence'])} "
        f"percentile bootstrap intervals from {document['resamples']} resamples of the episodes and, if an entry has "
        f"several trainings, of the trainings. Differences to {policies[0]['label']} are paired. The score is the mean "
        f"reward after the warm-up, scaled to 0 for random actions and 1 for {environment['strongest_baseline']}, the "
        f"strongest baseline. Policies are ranked by the mean reward.{once} {stamp_of(document['provenance'])}."
    )
    others = [name for name in environment["headline"] if name != main]
    header = [
        "policy", "kind", "trainings", "rank", "score", titles[main], "difference", "IQM",
        *(titles[name] for name in others), "ms per decision", "99th percentile",
    ]  # fmt: skip
    body = []
    for policy in policies:
        metrics, latency = policy["metrics"], policy["latency_ms"]
        body.append(
            [
                policy["label"], policy["kind"], str(len(policy["runs"]) or ""), str(policy["rank"] or ABSENT),
                between(policy["normalised"] or {}), between(metrics[main]), between(metrics[main], "difference"),
                between(metrics[main], "iqm"), *(between(metrics.get(name, {})) for name in others),
                number(latency["mean"]), number(latency["p99"]),
            ]
        )  # fmt: skip
    caveat = [f"Note: {environment['caveat']}.", ""] if environment["caveat"] else []
    title = f"## {environment['env_id']}, preset `{environment['preset']}`{options}"
    return [title, "", *caveat, *markdown_table(header, body), "", wrapped(note), ""]


def wrapped(text: str) -> str:
    """Text in lines of at most 120 characters."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def number(value: float | None) -> str:
    """Four significant digits."""
    return ABSENT if value is None else f"{value:.4g}"


def between(statistics: Document, name: str = "") -> str:
    """A statistic with its interval."""
    mean, low, high = map(statistics.get, interval_keys(name))
    return number(mean) if low is None or high is None else f"{number(mean)} [{number(low)}, {number(high)}]"


def markdown_table(header: list[str], body: list[list[str]]) -> list[str]:
    """The lines of a table."""
    rows = [header, ["---"] * len(header), *body]
    return ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
