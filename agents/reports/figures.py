"""The figures of the HTML report, drawn with plotly.py from one environment of an evaluation document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from agents.reports.schema import Environment, Statistics
from agents.reports.styles import Style, styles

BLACK = "#1a1a1a"
LONGEST_LABEL = 26
"""Longer labels are shortened in the middle."""
LINE = 21
"""Height of a line of a legend [pixels]."""

Figure = dict[str, Any]
"""A figure as plotly.js reads it, with the changes of its layout for narrow pages as `narrow`."""


def templates() -> dict[str, Any]:
    """The template of all figures, for wide and for narrow pages."""
    colours = {"gridcolor": "#e4e4e4", "zerolinecolor": "#b0b0b0", "linecolor": "#8a8a8a"}
    axis = {**colours, "showline": True, "automargin": True}
    error = {"type": "data", "symmetric": False, "width": 4, "thickness": 1.5}
    font = {"family": "system-ui, -apple-system, Segoe UI, Roboto, Arial, sans-serif", "color": BLACK}
    below = {"orientation": "h", "x": 0, "yref": "container", "y": 0, "yanchor": "bottom"}
    bar = go.Bar(
        orientation="h", width=0.7, marker_opacity=0.75, textposition="none", error_x={**error, "color": BLACK},
        hovertemplate="%{text}<br>%{x}<extra></extra>",
    )  # fmt: skip
    box = go.Box(
        orientation="h", width=0.7, boxpoints="all", jitter=0.6, pointpos=0, line_width=1.5,
        fillcolor="rgba(0,0,0,0.04)", marker={"size": 4, "opacity": 0.55},
    )  # fmt: skip
    found = {}
    for page, mode, size, legend in (("wide", "markers+text", 13, {"y": 1}), ("narrow", "markers", 11, below)):
        scatter = go.Scatter(mode=mode, cliponaxis=False, textfont_size=12, error_x=error, error_y=error)
        layout = go.Layout(
            paper_bgcolor="#fff", plot_bgcolor="#fff", hovermode="closest", xaxis=axis, yaxis=axis, legend=legend,
            font={**font, "size": size}, margin={"l": 50, "r": 15, "t": 30, "b": 45},
        )  # fmt: skip
        template = go.layout.Template(layout=layout, data={"bar": [bar], "box": [box], "scatter": [scatter]})
        found[page] = template.to_plotly_json()
    return found


def figures(environment: Environment) -> dict[str, dict[str, Figure]]:
    """All figures of an environment by plot and metric.

    Those of the trade-off have the metric on both axes: the page takes one axis from each of two figures.
    """
    plots: dict[Callable[[Environment, str], Figure], list[str]] = {
        **dict.fromkeys((bars, distribution, tradeoff), environment.scored_metrics),
        curves: environment.curve_metrics, episode: environment.series_metrics,
    }  # fmt: skip
    return {draw.__name__: {name: draw(environment, name) for name in names} for draw, names in plots.items()}


def bars(environment: Environment, name: str) -> Figure:
    """Mean and interval of a metric, one bar per policy."""
    found, style = environment.having(name), styles(environment)
    traces = [
        go.Bar(
            x=[statistics.mean], y=[row], name=plain(label), text=[plain(label)], marker_color=style[label].colour,
            error_x=error(statistics),
        )
        for row, (label, statistics) in enumerate(found.items())
    ]  # fmt: skip
    return by_rows(environment, name, traces, list(found))


def distribution(environment: Environment, name: str) -> Figure:
    """A metric's value in every episode, one box per policy."""
    found, style = environment.having(name), styles(environment)
    traces = []
    for row, (label, statistics) in enumerate(found.items()):
        values = [value for run in statistics.by_episode for value in run if value is not None]
        rows = [row] * len(values)
        traces.append(go.Box(x=values, y=rows, name=plain(label), marker_color=style[label].colour))
    return by_rows(environment, name, traces, list(found))


def tradeoff(environment: Environment, name: str) -> Figure:
    """A metric on both axes, one point per policy; `meta` identifies the policy."""
    style = styles(environment)
    traces = [
        go.Scatter(
            x=[statistics.mean], y=[statistics.mean], error_x=error(statistics), error_y=error(statistics),
            meta=label, name=short(label), text=[short(label)], customdata=[plain(label)],
            hovertemplate="%{customdata}<br>%{x}<br>%{y}<extra></extra>",
            marker={
                "color": style[label].colour, "symbol": style[label].symbol, "size": 10,
                "line": {"width": 1.5, "color": style[label].colour},
            },
        )
        for label, statistics in environment.having(name).items()
    ]  # fmt: skip
    title = axis_title(environment, name)
    return with_legend(traces, title, title, len(traces))


def curves(environment: Environment, name: str) -> Figure:
    """A metric of the validations, one line per training run, with the evaluation mean of the reference baseline."""
    found = [curve for curve in environment.curves if name in curve.metrics]
    style, labels = styles(environment), [curve.label for curve in found]
    traces = [
        go.Scatter(
            mode="lines+markers", x=curve.steps, y=curve.metrics[name], name=short(curve.label),
            legendgroup=plain(curve.label), showlegend=curve.label not in labels[:place], marker_size=4,
            line={"color": style[curve.label].colour, "width": 1.8}, text=[plain(curve.run)] * len(curve.steps),
            hovertemplate="%{text}<br>step %{x}<br>%{y}<extra></extra>",
        )
        for place, curve in enumerate(found)
    ]  # fmt: skip
    reference = environment.having(name).get(environment.reference_baseline)
    if reference is not None:
        steps = [step for curve in found for step in curve.steps]
        traces.append(
            go.Scatter(
                mode="lines", x=[min(steps, default=0), max(steps, default=0)], y=[reference.mean] * 2,
                name=f"{short(environment.reference_baseline)} (reference)",
                line={"color": "#000000", "width": 1.5, "dash": "dash"}, hovertemplate="%{y}<extra></extra>",
            )
        )  # fmt: skip
    return with_legend(traces, "training steps", axis_title(environment, name), len(set(labels)) + 1)


def episode(environment: Environment, name: str) -> Figure:
    """A metric step by step in the recorded episode, one line per policy."""
    style, series = styles(environment), environment.episode.series if environment.episode else {}
    traces = [
        go.Scatter(
            mode="lines", x=list(range(1, len(values[name]) + 1)), y=values[name],
            name=short(label), meta=plain(label), hovertemplate="%{meta}<br>step %{x}<br>%{y}<extra></extra>",
            line={"color": shown.colour, "dash": shown.dash, "width": 1.5},
        )
        for label, values in series.items() if name in values
        for shown in (style.get(label, Style(BLACK)),)
    ]  # fmt: skip
    return with_legend(traces, "step", axis_title(environment, name), len(traces))


def by_rows(environment: Environment, name: str, traces: Sequence[Any], labels: Sequence[str]) -> Figure:
    """A figure with a row per policy, the first on top."""
    rows = {
        "tickvals": list(range(len(labels))), "ticktext": [short(label) for label in labels],
        "range": [len(labels) - 0.4, -0.6], "showgrid": False, "zeroline": False,
    }  # fmt: skip
    layout = {
        "height": 110 + 32 * len(labels), "showlegend": False, "yaxis": rows,
        "xaxis_title_text": axis_title(environment, name),
    }  # fmt: skip
    return as_plotly(traces, layout)


def with_legend(traces: Sequence[Any], across: str, up: str, entries: int) -> Figure:
    """A figure with a legend beside it, on narrow pages below it."""
    layout = {
        "height": max(420, 120 + LINE * entries), "showlegend": True, "xaxis_title_text": across,
        "yaxis_title_text": up,
    }  # fmt: skip
    lines = LINE * entries
    narrow = {"height": 350 + lines, "margin": {"l": 50, "r": 15, "t": 30, "b": 60 + lines}}
    return as_plotly(traces, layout) | {"narrow": narrow}


def as_plotly(traces: Sequence[Any], layout: dict[str, Any]) -> Figure:
    """Traces and layout, validated by plotly.py; the page adds the template."""
    return {"data": [trace.to_plotly_json() for trace in traces], "layout": go.Layout(**layout).to_plotly_json()}


def error(statistics: Statistics) -> dict[str, Any]:
    """Error bar from the mean to the ends of its interval."""
    mean, low, high = statistics.mean or 0.0, statistics.low, statistics.high
    return {"array": [0 if high is None else high - mean], "arrayminus": [0 if low is None else mean - low]}


def axis_title(environment: Environment, name: str) -> str:
    """A metric's name and unit as a text of plotly."""
    return plain(environment.titled(name))


def plain(text: str) -> str:
    """A text with its markup escaped: plotly reads some HTML in texts, and labels are not HTML."""
    return escape(text, quote=False)


def short(text: str) -> str:
    """A text of plotly, shortened in the middle to `LONGEST_LABEL`."""
    if len(text) > LONGEST_LABEL:
        end = (LONGEST_LABEL - 1) // 2
        text = f"{text[: LONGEST_LABEL - 1 - end]}…{text[-end:]}"
    return plain(text)
