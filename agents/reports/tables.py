"""The tables of the HTML report; every text in them is escaped."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, Generic, NamedTuple, TypeVar

from agents.evaluation.statistics import ABSENT, interval_keys
from agents.reports.schema import Document, Environment, Policy, Score
from agents.reports.styles import styles
from agents.reports.texts import value_text

SMALLEST, LARGEST = -4, 6
"""Powers of ten between which numbers are written without an exponent."""
MOST_DIGITS = 20
ROUNDING = 1e-9
"""Half intervals up to this fraction of the value come from rounding."""

Row = TypeVar("Row")


class Value(NamedTuple):
    """A number of a table, with its interval where there is one."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


class Column(NamedTuple, Generic[Row]):
    """A column that can be sorted."""

    key: str  # of its cells, as `data-column`
    title: str  # of its header
    read: Callable[[Row], Value | int | str | None]  # number or text of a row
    unit: str = ""
    hint: str = ""  # shown when the mouse is over the header
    heading: Callable[[Row], str] | None = None  # HTML of a row's cell, in the column that names the row


def sortable_table(columns: Sequence[Column[Row]], rows: Sequence[Row], caption: str, **order: str) -> str:
    """A table that the page's script sorts; `order` has the key and direction that the rows are sorted by."""
    heads = []
    for column in columns:
        number = not all(isinstance(column.read(row), str) for row in rows)
        attributes = {"scope": "col", "data-column": column.key, "aria-sort": order.get(column.key, "")}
        unit = element("span", f" ({column.unit})", {"class": "unit"}) if column.unit else ""
        button = tag("button", escape(column.title) + unit, {"type": "button", "title": column.hint})
        heads.append(tag("th", button, attributes | {"class": "number" if number else ""}))
    lines = ["".join(cell(column, row) for column in columns) for row in rows]
    return table(heads, lines, {"aria-label": caption})


def cell(column: Column[Row], row: Row) -> str:
    """A cell, with its whole value and interval as JSON."""
    read = column.read(row)
    value, low, high = read if isinstance(read, Value) else (read, None, None)
    attributes = {"data-column": column.key, "data-value": json.dumps(value)}
    if column.heading is not None:
        return tag("th", column.heading(row), attributes | {"scope": "row"})
    if isinstance(value, str):
        return element("td", value, attributes)
    attributes["class"] = "number"
    if isinstance(value, int):
        return element("td", str(value), attributes)
    if value is None or low is None or high is None:
        return element("td", number_text(value), attributes)
    half = (high - low) / 2
    half = half if half > ROUNDING * abs(value) else 0.0
    ends = element("span", f"[{number_text(low, half)}, {number_text(high, half)}]", {"class": "interval"})
    attributes |= {"data-low": json.dumps(low), "data-high": json.dumps(high)}
    return tag("td", number_text(value, half) + ends, attributes)


def number_text(value: float | None, half: float = 0.0) -> str:
    """A number rounded to two digits of half its interval; to four digits if that is 0."""
    if value is None:
        return ABSENT
    if value == 0 and 0.0 < half < 10.0**SMALLEST:
        return "0"
    size = math.floor(math.log10(max(abs(value), half) or 1.0))
    digits = 1 - math.floor(math.log10(half)) if half > 0 else 3 - size
    if SMALLEST <= size <= LARGEST:
        text = f"{value:.{min(MOST_DIGITS, max(0, digits))}f}"
    else:
        mantissa, _, exponent = f"{value:.{min(MOST_DIGITS, max(0, digits + size))}e}".partition("e")
        text = f"{mantissa}e{int(exponent):+d}"
    return (text.replace("-", "") if float(text) == 0 else text).replace("-", "−")  # noqa: RUF001


def policy_table(environment: Environment) -> str:
    """Every policy with its headline metrics; ranked ones first."""
    policies = sorted(environment.policies, key=lambda policy: policy.rank or len(environment.policies) + 1)
    order = {"rank": "ascending"} if policies[0].rank else {}
    return sortable_table(policy_columns(environment), policies, f"Policies on {environment.env_id}", **order)


def policy_columns(environment: Environment) -> list[Column[Policy]]:
    """The columns of the table of policies."""
    main, first, style = environment.main, environment.policies[0].label, styles(environment)

    def heading(policy: Policy) -> str:
        roles = {"reference": environment.reference_baseline, "strongest baseline": environment.strongest_baseline}
        tags = [element("span", role, {"class": "tag"}) for role, label in roles.items() if label == policy.label]
        swatch = tag("span", "", {"class": "swatch", "style": f"background: {style[policy.label].colour}"})
        return swatch + escape(policy.label) + tag("div", "".join(tags))

    def metric(name: str, key: str = "", title: str = "", part: str = "", hint: str = "") -> Column[Policy]:
        return Column(
            key or name, title or name, lambda policy: statistic(policy.metrics.get(name), part),
            environment.unit(name), hint or environment.meaning(name),
        )  # fmt: skip

    def latency(part: str) -> Callable[[Policy], Value]:
        return lambda policy: Value(getattr(policy.latency_ms, part, None))

    seconds = "time of one decision in one world"
    return [
        Column("policy", "policy", lambda policy: policy.label, heading=heading),
        Column("kind", "kind", lambda policy: policy.kind),
        Column("trainings", "trainings", lambda policy: len(policy.runs) or None, hint="training runs of the policy"),
        Column("rank", "rank", lambda policy: policy.rank, hint="1 is the best mean reward"),
        Column(
            "normalised", "score", lambda policy: statistic(policy.normalised),
            hint=f"0 is random, 1 is {environment.strongest_baseline}",
        ),
        metric(main),
        metric(main, "difference", "difference", "difference", f"in {main} to {first}, paired"),
        metric(main, "iqm", "IQM", "iqm", f"interquartile mean of {main} over the means by run and seed"),
        *(metric(name) for name in environment.headline if name != main),
        Column("latency_mean", "decision", latency("mean"), "ms", f"mean {seconds}"),
        Column("latency_p99", "decision p99", latency("p99"), "ms", f"99th percentile of the {seconds}"),
    ]  # fmt: skip


def statistic(found: Any, part: str = "") -> Value:
    """A statistic with its interval; without a number where `found` is None."""
    return Value(*(getattr(found, key, None) for key in interval_keys(part)))


def score_table(report: Document) -> str:
    """Normalised scores by policy and environment, the best mean first."""

    def by_environment(env_id: str) -> Callable[[Score], Value]:
        return lambda score: Value(score.by_env.get(env_id))

    columns = [
        Column[Score]("label", "policy", lambda score: score.label, heading=lambda score: escape(score.label)),
        Column[Score]("mean", "mean score", lambda score: Value(score.mean)),
        *(Column(each.env_id, each.env_id, by_environment(each.env_id)) for each in report.environments),
    ]
    scores = sorted(report.scores or [], key=lambda score: (score.mean is None, -(score.mean or 0.0)))
    return sortable_table(columns, scores, "Normalised scores", mean="descending")


def details_table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A plain table of texts and of values that JSON has; the first of each row is its heading."""
    heads = [element("th", title, {"scope": "col"}) for title in titles]
    lines = []
    for first, *rest in rows:
        cells = [element("td", value_text(value)) for value in rest]
        lines.append(element("th", first, {"scope": "row"}) + "".join(cells))
    return table(heads, lines, {"class": "details"})


def table(heads: Sequence[str], lines: Sequence[str], attributes: dict[str, str]) -> str:
    """A table of cells that are HTML."""
    body = tag("tbody", "".join(tag("tr", line, {"data-place": str(place)}) for place, line in enumerate(lines)))
    return tag("table", tag("thead", tag("tr", "".join(heads))) + body, attributes)


def element(name: str, text: str, attributes: dict[str, str] | None = None) -> str:
    """An element of HTML that contains a text."""
    return tag(name, escape(text), attributes)


def tag(name: str, inside: str, attributes: dict[str, str] | None = None) -> str:
    """An element of HTML that contains HTML; attributes that are empty are left out."""
    given = "".join(f' {key}="{escape(value)}"' for key, value in (attributes or {}).items() if value)
    return f"<{name}{given}>{inside}</{name}>"
