"""Colour, symbol and dash of every policy of a report."""

from __future__ import annotations

from typing import NamedTuple

from agents.reports.schema import Environment, Policy

COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#882255", "#117733", "#332288", "#999933",
    "#aa4499", "#44aa99",
)  # fmt: skip
"""Dark colours that colour-blind readers can distinguish on white (Okabe and Ito; Tol)."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "pentagon", "star")
DASHES = ("solid", "dash", "dot")
KINDS = ("learned", "custom", "strongest", "ablation", "baseline")
"""Order in which policies take colours."""


class Style(NamedTuple):
    """How a policy is drawn in every figure."""

    colour: str
    symbol: str = "circle"
    dash: str = "solid"


def styles(environment: Environment) -> dict[str, Style]:
    """Return the style of each policy by label: black for the reference baseline, grey for random actions.

    Agents and the strongest baseline take their colours first, in case there are more policies than colours.
    """
    found = {
        "random": Style("#767676", "x-thin-open", "dot"),
        environment.reference_baseline: Style("#000000", "diamond-wide", "dash"),
    }

    def urgency(policy: Policy) -> int:
        return KINDS.index("strongest" if policy.label == environment.strongest_baseline else policy.kind)

    others = [policy.label for policy in sorted(environment.policies, key=urgency) if policy.label not in found]
    for place, label in enumerate(others):
        dash = DASHES[place // len(COLOURS) % len(DASHES)]
        found[label] = Style(COLOURS[place % len(COLOURS)], SYMBOLS[place % len(SYMBOLS)], dash)
    return found
