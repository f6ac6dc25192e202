"""An evaluation as one HTML page that loads nothing: tables, figures, configuration and versions."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from agents.reports import tables, texts
from agents.reports.schema import Document, Environment, checked

PARTS = Path(__file__).with_name("page")
"""Folder with the page's templates, style and script."""


def as_html(document: Mapping[str, Any]) -> str:
    """Build a self-contained page from an evaluation document (see `agents.reports.schema`).

    About 5 MB of the page are plotly.js. Its content security policy lets no other script run and nothing be loaded.

    Raises:
        ValueError: a part of the document is missing or wrong.
        ImportError: plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs

        from agents.reports.figures import figures, templates
    except ImportError as error:
        raise ImportError("the report needs plotly: pip install 'edge-envs[train]'") from error
    report = checked(document)
    # Browsers read any line end as one newline, and the fingerprint is of what they read.
    plotly = get_plotlyjs().replace("\r\n", "\n").replace("\r", "\n")
    script = _part("page.js")
    allowed = " ".join(map(_fingerprint, (plotly, script)))
    drawn = {environment.env_id: figures(environment) for environment in report.environments}
    values = {
        "policy": f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:",
        "style": _part("page.css"),
        "title": escape(texts.title_text(report)),
        "origin": escape(texts.origin_text(report)),
        "notes": _items(report.notes),
        "no_scores": "" if report.scores else " hidden",
        "scores": tables.score_table(report),
        "scores_note": escape(texts.scores_note(report)),
        "no_links": "" if len(drawn) > 1 else " hidden",
        "links": "".join(tables.element("a", name, {"href": f"#{quote(name, safe='')}"}) for name in drawn),
        "environments": "".join(_environment(environment, report) for environment in report.environments),
        "document": _embedded(report.model_dump(mode="json")),
        "figures": _embedded({"environments": drawn, "templates": templates()}),
        "plotly": plotly,
        "script": script,
    }
    return Template(_part("page.html")).substitute(values)


def _environment(environment: Environment, report: Document) -> str:
    """One environment, as the element `template` that the page's script shows."""
    headline, main = environment.headline, environment.main
    second = next((name for name in headline if name not in (main, f"log_{main}")), main)
    scored, curves, series = environment.scored_metrics, environment.curve_metrics, environment.series_metrics
    values = {
        "env_id": escape(environment.env_id),
        "setting": escape(texts.setting_text(environment)),
        "caveat": escape(environment.caveat),
        "table": tables.policy_table(environment),
        "table_note": escape(texts.table_note(environment, report)),
        "comparison_choices": _choice(environment, "comparison-metric", "Metric", scored, main),
        "tradeoff_choices": _choice(environment, "tradeoff-metric", "Across", scored, main)
        + _choice(environment, "tradeoff-metric-2", "Up", scored, second),
        "curves_choices": _choice(environment, "curves-metric", "Metric", curves, main),
        "curves_note": escape(texts.curves_note(environment)),
        "episode_choices": _choice(environment, "episode-metric", "Metric", series, main),
        "episode_note": escape(texts.episode_note(environment)),
        "method": _items(texts.method_texts(environment, report)),
        "details": _details(environment, report),
    }
    return Template(_part("environment.html")).substitute(values)


def _choice(environment: Environment, name: str, title: str, metrics: Sequence[str], chosen: str) -> str:
    """A choice of a metric, headline metrics first; empty where there are none."""
    if not metrics:
        return ""
    chosen = chosen if chosen in metrics else metrics[0]
    groups = {
        "Headline": [metric for metric in environment.headline if metric in metrics],
        "Others": [metric for metric in metrics if metric not in environment.headline],
    }
    found = ""
    for heading, group in groups.items():
        options = ""
        for metric in group:
            selected = "selected" if metric == chosen else ""
            attributes = {"value": metric, "data-meaning": environment.meaning(metric), "selected": selected}
            options += tables.element("option", environment.titled(metric), attributes)
        found += tables.tag("optgroup", options, {"label": heading}) if group else ""
    return tables.tag("label", escape(title) + tables.tag("select", found, {"id": name}), {"for": name})


def _details(environment: Environment, report: Document) -> str:
    """Tables that are folded up at first."""
    runs = [
        (each.label, each.kind, each.training or "", ", ".join(each.runs), each.ablation or "")
        for each in environment.policies
        if each.kind != "baseline"
    ]
    versions = texts.versions(report)
    origin = [item for item in report.provenance.items() if item[0] != "versions" or not versions]
    parameters = list(environment.configuration.items())
    metrics = [(each.name, each.unit, each.meaning) for each in environment.metrics]
    return (
        _folded("metrics", "Metrics", ["metric", "unit", "meaning"], metrics)
        + _folded("policies", "Runs and ablations", ["policy", "kind", "trained on", "folders", "ablation"], runs)
        + _folded("configuration", "Configuration of the environment", ["parameter", "value"], parameters)
        + _folded("versions", "Versions and machine", ["what", "value"], [*versions.items(), *origin])
    )  # fmt: skip


def _folded(name: str, title: str, heads: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> str:
    """A table that opens with a click; nothing without rows."""
    table = tables.tag("div", tables.details_table(heads, rows), {"class": "scroll"})
    return tables.tag("details", tables.element("summary", title) + table, {"id": name}) if rows else ""


def _items(lines: Sequence[str]) -> str:
    return "".join(tables.element("li", line) for line in lines)


def _embedded(value: Any) -> str:
    """JSON that can stand in an element of HTML."""
    # Non-ASCII is escaped by default; without "<" no text can end the script element.
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _part(file: str) -> str:
    return (PARTS / file).read_text(encoding="utf-8")


def _fingerprint(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
