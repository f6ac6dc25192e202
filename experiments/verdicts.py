"""Verdicts on claims, from confidence intervals over paired samples.

A claim is broken into parts: a quantity with one value per seed, and the open range in which the claim places its mean.
Quantities are differences or ratios of schemes on the same seeds, so what all schemes share cancels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from agents.score import CONFIDENCE, Interval, interval

Values = NDArray[np.float64]


class Verdict(StrEnum):
    """What a sample says about a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    PARTLY = "partly"
    UNDECIDED = "undecided"


RULES = (
    f"Verdicts come from {100 * CONFIDENCE:.0f} % confidence intervals over seeds. A claim **holds** where the "
    "intervals of all its parts lie inside the range that it states, and **does not hold** where one lies outside, at "
    f"{100 * CONFIDENCE:.0f} % for all parts together (Bonferroni). Otherwise it is **undecided** at this sample. "
    "**Partly**: it holds in some cases and does not hold in others."
)
"""The rules in words, for the pages."""


@dataclass(frozen=True, slots=True)
class Part:
    """A quantity whose mean a claim places above `low` and below `high`.

    Args:
        values: (seeds,) one value per seed; at least two.
        low: exclusive lower limit.
        high: exclusive upper limit.
    """

    values: Values
    low: float = -np.inf
    high: float = np.inf

    def verdict(self, tests: int = 1) -> Verdict:
        """Compare the interval with the range; rejecting is made as strict as `tests` rejections together need."""
        inside = interval(self.values)
        if self.low < inside.low and inside.high < self.high:
            return Verdict.HOLDS
        wide = interval(self.values, 1.0 - (1.0 - CONFIDENCE) / tests)
        return Verdict.FAILS if wide.high <= self.low or wide.low >= self.high else Verdict.UNDECIDED


def every(parts: Iterable[Part]) -> Verdict:
    """Judge a claim that all its parts must support.

    Raises:
        ValueError: if there are no parts.
    """
    parts = list(parts)
    if not parts:
        raise ValueError("a claim needs at least one part")
    found = [part.verdict(len(parts)) for part in parts]
    if Verdict.FAILS in found:
        return Verdict.FAILS
    return Verdict.UNDECIDED if Verdict.UNDECIDED in found else Verdict.HOLDS


def across(cases: Mapping[str, Sequence[Part]]) -> tuple[Verdict, str]:
    """Judge a claim about several cases, for example networks; returns the verdict, and the cases where they differ."""
    found = {name: every(parts) for name, parts in cases.items()}
    kinds = set(found.values())
    if len(kinds) == 1:
        return kinds.pop(), ""
    if kinds >= {Verdict.HOLDS, Verdict.FAILS}:
        verdict = Verdict.PARTLY
    else:
        verdict = Verdict.FAILS if Verdict.FAILS in kinds else Verdict.UNDECIDED
    return verdict, "; ".join(f"{name}: {each}" for name, each in found.items())


def never(exceptions: int) -> Verdict:
    """Judge a claim that something never happens, by the number of times that it did: one exception refutes it."""
    return Verdict.FAILS if exceptions else Verdict.HOLDS


def ratio_values(numerator: Values, denominator: Values) -> Values:
    """Values per seed whose mean is the ratio of the two means, and whose spread is that of the ratio.

    The ratio of means linearised about the sample's means (delta method); differences and sums of such values are
    those of the ratios.

    Args:
        numerator: (seeds,).
        denominator: (seeds,) on the same seeds, with a mean other than 0.
    """
    ratio = numerator.mean() / denominator.mean()
    values: Values = ratio + (numerator - ratio * denominator) / denominator.mean()
    return values


def ratio_of_means(numerator: Values, denominator: Values) -> Interval:
    """Return the ratio of two means over the same seeds, with its 95 % confidence interval."""
    return interval(ratio_values(numerator, denominator))


def falling(series: Sequence[Values], margin: float = 0.0) -> list[Part]:
    """Return the parts of a claim that means fall from each entry to the next, by more than `margin`."""
    return [Part(before - after, low=margin) for before, after in zip(series, series[1:], strict=False)]


def rising(series: Sequence[Values], margin: float = 0.0) -> list[Part]:
    """Return the parts of a claim that means rise from each entry to the next, by more than `margin`."""
    return falling(series[::-1], margin)


def flat(series: Sequence[Values], tolerance: float) -> list[Part]:
    """Return the parts of a claim that every mean is within a relative `tolerance` of the mean of all."""
    centre = np.mean(series, axis=0)
    parts = []
    for values in series:
        parts += [Part(values - (1.0 - tolerance) * centre, low=0.0), Part((1.0 + tolerance) * centre - values, low=0.0)]
    return parts
