"""Metrics that a step reports, and columns by name for the kernels that write them."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """One number that a step reports for each world.

    `over_episode` says how an episode summarises its steps: by their mean, their last value (for quantities that
    already count from the start of the episode) or their largest. A metric that `certifies` is NaN where nothing was
    certified, and at least 0 elsewhere; one NaN makes the episode's mean or largest value NaN.
    """

    name: str
    unit: str
    meaning: str
    over_episode: Literal["mean", "last", "max"] = "mean"
    certifies: bool = False


def columns(declared: Iterable[Metric | str]) -> Any:
    """Columns by name: a named tuple with 0, 1, 2, ... under the names of metrics, in the declared order.

    Kernels index arrays with it, as in `metrics[row, M.delay_s]`; numba compiles the columns as constants.
    """
    names = [each.name if isinstance(each, Metric) else each for each in declared]
    return namedtuple("Columns", names)(*range(len(names)))  # type: ignore[misc]


def codes(options: type[Enum]) -> Any:
    """Codes of an option's values: a named tuple with 0, 1, 2, ... under the names of the enum's members.

    A kernel compares a parameter with them, as in `p.decision == DECISION.JOINT`.
    """
    return namedtuple("Codes", options.__members__)(*range(len(options)))  # type: ignore[misc]
