"""Metrics reported by a step, and the names of columns and codes in kernels."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any


class OverEpisode(StrEnum):
    """Summary of a metric over an episode: mean of the steps, last value (for totals since the reset), or largest."""

    MEAN = "mean"
    LAST = "last"
    MAX = "max"


@dataclass(frozen=True, slots=True)
class Metric:
    """One number that a step reports for each world.

    `over_episode` is the summary over an episode, a value of `OverEpisode`. A metric that `certifies` is NaN if nothing
    was certified, and otherwise at least 0; after one NaN, the mean and the largest value of the episode are NaN.

    Raises:
        ValueError: `over_episode` is not a value of `OverEpisode`.
    """

    name: str
    unit: str
    meaning: str
    over_episode: str = OverEpisode.MEAN
    certifies: bool = False

    def __post_init__(self) -> None:
        OverEpisode(self.over_episode)


def columns(declared: Iterable[Metric | str]) -> Any:
    """Column indices by name: a named tuple with the values 0, 1, 2, ... in the declared order.

    Kernels index arrays with it, as in `metrics[row, M.delay_s]`; for numba the indices are constants.
    """
    names = [each.name if isinstance(each, Metric) else each for each in declared]
    return namedtuple("Columns", names)(*range(len(names)))  # type: ignore[misc]


def codes(options: type[Enum]) -> Any:
    """Codes of an option's values: a named tuple with the values 0, 1, 2, ... and the names of the enum's members.

    A kernel compares a parameter with them, as in `p.decision == DECISION.JOINT`.
    """
    return namedtuple("Codes", options.__members__)(*range(len(options)))  # type: ignore[misc]
