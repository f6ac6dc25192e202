"""Verdicts on claims, from bootstrap intervals over paired samples.

A claim is broken into parts: a quantity, and the open range in which the claim places it. Quantities are functions of
means over the same seeds, such as differences and ratios, so the variation that all policies share cancels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.statistics import CONFIDENCE, RESAMPLES, UNIT_DRAWS, Interval, around, draws
from experiments.shared.common import table

VERDICT_RESAMPLES = 10 * RESAMPLES
"""Number of resamples. Claims with many parts need extreme quantiles; the intervals of tables use the first of them."""

ROUNDING = 1e-9
"""Relative difference below which two entries of a trend are equal: sums in another order differ by 1e-16."""

Estimate = NDArray[np.float64]
"""A quantity on the whole sample and on each of its resamples, (1 + resamples,); arithmetic preserves the pairing."""


class Verdict(StrEnum):
    """Result of judging a claim on a sample."""

    HOLDS = "holds"
    FAILS = "does not hold"
    PARTLY = "partly"
    UNDECIDED = "undecided"


RULES = (
    f"Verdicts are derived from {100 * CONFIDENCE:g} % percentile bootstrap intervals of paired quantities "
    f"({VERDICT_RESAMPLES:,} resamples). A claim has one or several parts, and each part states a range for a "
    "quantity. The claim **holds** if the intervals of all parts lie inside their ranges. It **does not hold** if the "
    "interval of a part lies outside its range; the confidence level of this test is raised for the number of parts "
    "(Bonferroni). Otherwise, it is **undecided** on this sample. A claim about several networks, policies or "
    "quantities holds **partly** if it holds for some of them and does not hold for others. A claim about a whole "
    "sweep does not hold if one point refutes it. In a trend, relative changes up to 1e-9 count as rounding."
)
"""The rules as text, for the pages."""


def mean_of(values: NDArray[np.float64]) -> Estimate:
    """Return the mean over seeds as an estimate; the same number of seeds gives the same resamples.

    Args:
        values: (seeds,) one value per seed.

    Raises:
        ValueError: if there are fewer than two seeds, which leave no interval.
    """
    seeds = len(values)
    if seeds < 2:
        raise ValueError(f"{seeds} seeds leave no interval; give at least 2")
    resampled = values[draws(UNIT_DRAWS, seeds, (VERDICT_RESAMPLES, seeds))].mean(axis=1)
    return np.concatenate([[values.mean()], resampled])


def spread(estimate: Estimate) -> Interval:
    """Return the value with its 95 % interval, as in tables."""
    return around(float(estimate[0]), estimate[1 : 1 + RESAMPLES])


@dataclass(frozen=True, slots=True)
class Part:
    """A quantity that a claim places above `low` and below `high`, both exclusive."""

    estimate: Estimate
    low: float = -np.inf
    high: float = np.inf

    def verdict(self, refuted_among: int = 1, confirmed_among: int = 1) -> Verdict:
        """Compare the interval with the range, at levels raised for the numbers of parts of which one decides."""
        low, high = _quantiles(self.estimate, (1.0 - CONFIDENCE) / confirmed_among)
        if self.low < low and high < self.high:
            return Verdict.HOLDS
        low, high = _quantiles(self.estimate, (1.0 - CONFIDENCE) / refuted_among)
        return Verdict.FAILS if high <= self.low or low >= self.high else Verdict.UNDECIDED


def _quantiles(estimate: Estimate, outside: float) -> tuple[float, float]:
    low, high = np.quantile(estimate[1:], (outside / 2.0, 1.0 - outside / 2.0))
    return float(low), float(high)


def every(parts: Iterable[Part], tests: int | None = None) -> Verdict:
    """Judge a claim that holds if all its parts hold.

    Args:
        parts: at least one.
        tests: total number of parts, one of which refutes the claim, if it is larger than the number of `parts`.

    Raises:
        ValueError: if there are no parts.
    """
    parts = list(parts)
    if not parts:
        raise ValueError("a claim needs at least one part")
    found = [part.verdict(refuted_among=tests or len(parts)) for part in parts]
    if Verdict.FAILS in found:
        return Verdict.FAILS
    return Verdict.UNDECIDED if Verdict.UNDECIDED in found else Verdict.HOLDS


def some(parts: Sequence[Part]) -> Verdict:
    """Judge a claim that holds if one part holds, such as "sometimes" or "up to"."""
    found = [part.verdict() for part in parts]
    if all(each == Verdict.FAILS for each in found):
        return Verdict.FAILS
    strict = [part.verdict(confirmed_among=len(parts)) for part in parts]
    return Verdict.HOLDS if Verdict.HOLDS in strict else Verdict.UNDECIDED


def across(cases: Mapping[str, Sequence[Part]], partly: bool = True) -> tuple[Verdict, str]:
    """Judge a claim about several cases; returns the verdict, and the cases by verdict if these differ.

    Args:
        cases: the parts of each case.
        partly: True if the claim can hold for some cases only; otherwise one case refutes it.
    """
    tests = sum(len(parts) for parts in cases.values())
    found = {name: every(parts, tests) for name, parts in cases.items()}
    kinds = set(found.values())
    if len(kinds) == 1:
        return kinds.pop(), ""
    if partly and kinds >= {Verdict.HOLDS, Verdict.FAILS}:
        verdict = Verdict.PARTLY
    else:
        verdict = Verdict.FAILS if Verdict.FAILS in kinds else Verdict.UNDECIDED
    groups = {kind: [name for name, each in found.items() if each == kind] for kind in Verdict if kind in kinds}
    return verdict, "; ".join(f"{kind}: {', '.join(names)}" for kind, names in groups.items())


def falling(series: Sequence[Estimate]) -> list[Part]:
    """Return the parts of a claim that a quantity falls from each entry to the next; rounding is no fall."""
    return [Part(_difference(before, after), low=0.0) for before, after in pairwise(series)]


def rising(series: Sequence[Estimate]) -> list[Part]:
    """Return the parts of a claim that a quantity rises from each entry to the next; rounding is no rise."""
    return falling(series[::-1])


def _difference(one: Estimate, other: Estimate) -> Estimate:
    found = one - other
    return np.where(np.abs(found) < ROUNDING * np.maximum(np.abs(one), np.abs(other)), 0.0, found)


def flat(series: Sequence[Estimate], tolerance: float) -> list[Part]:
    """Return the parts of a claim that every entry is within a relative `tolerance` of the mean of all entries."""
    centre = np.mean(series, axis=0)
    return [Part(entry / centre, 1.0 - tolerance, 1.0 + tolerance) for entry in series]


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement of a paper, the verdict on it, and the numbers behind the verdict."""

    text: str
    verdict: Verdict
    numbers: str


def judge(
    text: str, parts: Sequence[Part] | Mapping[str, Sequence[Part]], numbers: str, partly: bool = True
) -> Claim:  # fmt: skip
    """Judge a claim by its parts, or by those of several cases (see `across`), which `numbers` lists if they differ."""
    if not isinstance(parts, Mapping):
        return Claim(text, every(parts), numbers)
    verdict, where = across(parts, partly)
    return Claim(text, verdict, f"{where}. {numbers}" if where else numbers)


def counted(text: str, exceptions: int, numbers: str) -> Claim:
    """Judge a claim that something never happens: one exception refutes it."""
    return Claim(text, Verdict.FAILS if exceptions else Verdict.HOLDS, numbers)


def claims_table(claims: Sequence[Claim]) -> list[str]:
    """Return the lines of a table in Markdown."""
    verdicts = (str(each.verdict) if each.verdict == Verdict.HOLDS else f"**{each.verdict}**" for each in claims)
    rows = ([each.text, verdict, each.numbers] for each, verdict in zip(claims, verdicts, strict=True))
    return [*table(["claim", "verdict", "numbers"], rows), ""]


def as_document(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """Return claims as JSON takes them."""
    return [{"claim": each.text, "verdict": str(each.verdict), "numbers": each.numbers} for each in claims]
