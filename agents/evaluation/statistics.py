"""Bootstrap intervals of means and of paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

CONFIDENCE, RESAMPLES = 0.95, 2000

ABSENT = "n/a"
"""Text of a value in tables that does not exist or is not defined (NaN)."""

UNIT_DRAWS = 1
"""Random stream that resamples what all policies share: episodes, seeds, draws."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % confidence interval."""

    mean: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2.0


def interval_keys(name: str = "") -> tuple[str, str, str]:
    """Keys of a statistic and of the ends of its interval in the evaluation document; by default those of the mean."""
    return (name, f"{name}_low", f"{name}_high") if name else ("mean", "low", "high")


@lru_cache(maxsize=4)
def draws(stream: int, count: int, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Random indices below `count`, read-only; the same for every call with the same arguments."""
    indices = np.random.default_rng([stream, count]).integers(count, size=shape, dtype=np.int32)
    indices.flags.writeable = False
    return indices


def around(value: float, resampled: NDArray[np.float64], shown: bool = True) -> Interval:
    """An estimate with the percentile interval of its resamples (n,).

    The interval is infinite unless `shown`, and NaN if a resample is not finite.
    """
    if not shown:
        return Interval(value, -np.inf, np.inf)
    if not np.isfinite(resampled).all():
        return Interval(value, np.nan, np.nan)
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(resampled, (tail, 1.0 - tail))
    return Interval(value, float(low), float(high))


def interval(values: Sequence[float] | NDArray[np.float64]) -> Interval:
    """Percentile bootstrap interval of the mean of independent values; infinite for a single value."""
    values = np.asarray(values, dtype=np.float64)
    count = len(values)
    resampled = values[draws(UNIT_DRAWS, count, (RESAMPLES, count))].mean(axis=1)
    return around(float(values.mean()), resampled, count > 1)


def plus_minus(units: str, trainings: bool = False) -> str:
    """Define ± in one sentence.

    Args:
        units: what is resampled, with its number: "80 episodes".
        trainings: True if some rows are means over several trainings.
    """
    together = " and, in rows with several trainings, of the trainings" if trainings else ""
    return (
        f"± is half the width of the {100 * CONFIDENCE:g} % percentile bootstrap interval of the mean, from "
        f"{RESAMPLES:,} resamples of the {units}{together}"
    )
