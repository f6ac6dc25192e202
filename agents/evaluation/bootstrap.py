"""Means, paired differences and interquartile means of scored episodes, with percentile bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from agents.evaluation.episodes import Scores
from agents.evaluation.statistics import RESAMPLES, UNIT_DRAWS, Interval, around, draws

CUT = 0.25
"""Fraction of the sorted values that an interquartile mean leaves out at either end."""
CHUNK = 1 << 21
"""Resampled scores in memory at a time."""
RUN_DRAWS, REFERENCE_DRAWS = 2, 3
"""Random streams that resample the runs of a policy and of a reference; all policies share one stream for episodes."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Summary:
    """Statistics of one metric of one policy."""

    mean: Interval
    iqm: Interval
    difference: Interval
    """Paired difference to the first policy, on the same episodes."""


class Resampled:
    """Bootstrap resamples of one metric of one policy; runs and episodes are resampled together.

    The resampled episodes depend only on the number of episodes, so resamples of two policies on the same worlds are
    paired. Runs of different policies are independent, so those of a reference are drawn from another stream.

    Args:
        values: scores, shape (runs, seeds, episodes).
        runs_from: random stream that resamples the runs.
    """

    def __init__(self, values: FloatArray, runs_from: int = RUN_DRAWS) -> None:
        self.values = values
        runs, seeds, episodes = values.shape
        self._episodes = draws(UNIT_DRAWS, seeds * episodes, (RESAMPLES, 1, seeds * episodes))
        self._runs = draws(runs_from, runs, (RESAMPLES, runs, 1))

    @property
    def shown(self) -> bool:
        """True if there are intervals; a single episode has none."""
        return self._episodes.shape[-1] > 1

    @cached_property
    def by_seed(self) -> FloatArray:
        """Resampled means by run and evaluation seed, shape (RESAMPLES, runs x seeds)."""
        runs, seeds, episodes = self.values.shape
        scores = self.values.reshape(runs, -1)
        means = np.empty((RESAMPLES, runs * seeds))
        size = max(1, CHUNK // scores.size)
        for begin in range(0, RESAMPLES, size):
            part = slice(begin, begin + size)
            drawn = scores[self._runs[part], self._episodes[part]]
            means[part] = drawn.reshape(-1, runs * seeds, episodes).mean(axis=2)
        return means

    @cached_property
    def means(self) -> FloatArray:
        """Resampled means, shape (RESAMPLES,)."""
        return self.by_seed.mean(axis=1)

    def mean(self) -> Interval:
        """Mean over all episodes and runs."""
        return around(float(self.values.mean()), self.means, self.shown)

    def iqm(self) -> Interval:
        """Interquartile mean over the means by run and evaluation seed."""
        seeds = self.values.mean(axis=2).ravel()
        return around(float(middle(seeds)), middle(self.by_seed), self.shown)


def middle(values: FloatArray) -> FloatArray:
    """Interquartile means of values (..., n): int(n / 4) of the sorted values are left out at either end.

    The same definition as in rliable and `scipy.stats.trim_mean`. NaN if any value is NaN.
    """
    with np.errstate(invalid="ignore"):
        means = stats.trim_mean(values, CUT, axis=-1)
    return np.where(np.isnan(values).any(axis=-1), np.nan, means)


def difference(own: Resampled, reference: Resampled) -> Interval:
    """Interval of the difference of two means on the same episodes."""
    with np.errstate(invalid="ignore"):
        gap = float(own.values.mean() - reference.values.mean())
        return around(gap, own.means - reference.means, own.shown)


def summarise(results: Mapping[str, Scores], name: str) -> dict[str, Summary]:
    """Summarise a metric of every policy that has it; differences are to the first policy, which must have it."""
    first = next(iter(results))
    reference = Resampled(results[first].episodes[name], REFERENCE_DRAWS)
    found = {}
    for label, scores in results.items():
        if name in scores:
            own = Resampled(scores.episodes[name])
            gap = Interval(0.0, 0.0, 0.0) if label == first else difference(own, reference)
            found[label] = Summary(own.mean(), own.iqm(), gap)
    return found


def normalised(results: Mapping[str, Scores], name: str, floor: str, ceiling: str) -> dict[str, Interval] | None:
    """Scale a metric of every policy so that `floor` has 0 and `ceiling` has 1; all three are resampled together.

    None if `ceiling` is not better than `floor`; no interval if it is not better in some resample.
    """
    bottom, top = (Resampled(results[label].episodes[name], REFERENCE_DRAWS) for label in (floor, ceiling))
    low, high = float(bottom.values.mean()), float(top.values.mean())
    if not high > low:
        return None
    with np.errstate(invalid="ignore"):
        scale = top.means - bottom.means
    scale[~(scale > 0.0)] = np.nan
    found = {floor: Interval(0.0, 0.0, 0.0), ceiling: Interval(1.0, 1.0, 1.0)}
    for label in results.keys() - found.keys():
        own = Resampled(results[label].episodes[name])
        with np.errstate(invalid="ignore"):
            resampled = (own.means - bottom.means) / scale
        found[label] = around((float(own.values.mean()) - low) / (high - low), resampled, own.shown)
    return found


def ranks(means: Mapping[str, float]) -> dict[str, int]:
    """Rank by a metric that is better when larger: 1 for the largest; equal values share the better rank."""
    values = [-value for value in means.values()]
    return {label: int(place) for label, place in zip(means, stats.rankdata(values, method="min"), strict=True)}
