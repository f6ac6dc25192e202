"""Metrics reported by a step, and the names of columns and codes in kernels."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """One number that a step reports for each world.

    `over_episode` is the summary of an episode: the mean of its steps, the last value (for totals since the start of
    the episode) or the largest. A metric that `certifies` is NaN if nothing was certified, and otherwise at least 0;
    after one NaN, the mean and the largest value of the episode are NaN.
    """

    name: str
    unit: str
    meaning: str
    over_episode: Literal["mean", "last", "max"] = "mean"
    certifies: bool = False


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
