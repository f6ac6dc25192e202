"""Comparison of two ways to do the same work: interleaved repetitions, medians and their ratio (`Row`).

Other results, such as rates and exponents, are a `Number`.
"""

from __future__ import annotations

import gc
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

Sampler = Callable[[], float]
"""Runs one repetition; returns seconds per unit of work."""
Bound = Literal["at least", "at most"]


class Skipped(Exception):  # noqa: N818  (an outcome, not an error)
    """A benchmark that cannot be run here; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: a label, and the seconds per unit of each repetition."""

    label: str
    seconds: NDArray[np.float64]

    @property
    def median(self) -> float:
        """Median over the repetitions [s]."""
        return float(np.median(self.seconds))

    def as_json(self) -> dict[str, Any]:
        """Label, median and quartiles [s]."""
        return {"label": self.label, "median_s": self.median, "quartiles_s": list(quartiles_of(self.seconds))}


def quartiles_of(values: NDArray[np.float64]) -> tuple[float, float]:
    """Lower and upper quartile."""
    low, high = np.quantile(values, (0.25, 0.75)).tolist()
    return low, high


def meets(value: float, bound: Bound, target: float | None) -> bool | None:
    """Return True if a value meets its target; None without a target."""
    if target is None:
        return None
    return value >= target if bound == "at least" else value <= target


@dataclass(frozen=True, slots=True)
class Row:
    """Comparison of our time with another.

    A speed-up is the other time over ours; a cost or a share is our time over the other. Small costs are good. A share
    is the time of a part of the work over that of the whole; large shares are good.
    """

    name: str
    unit: str
    """Unit of work to which the seconds refer, for example "step"."""
    ours: Side
    other: Side
    kind: Literal["speed-up", "cost", "share"]
    target: float | None = None
    """Smallest acceptable speed-up or share, or largest acceptable cost; None if there is none."""

    @property
    def bound(self) -> Bound:
        """Direction of the target."""
        return "at most" if self.kind == "cost" else "at least"

    def _ratio(self, ours: Any, other: Any) -> Any:
        return other / ours if self.kind == "speed-up" else ours / other

    @property
    def ratio(self) -> float:
        """Ratio of the medians."""
        return float(self._ratio(self.ours.median, self.other.median))

    @property
    def ratio_quartiles(self) -> tuple[float, float]:
        """Quartiles of the ratios within the repetitions."""
        return quartiles_of(self._ratio(self.ours.seconds, self.other.seconds))

    @property
    def met(self) -> bool | None:
        """Return True if the ratio of the medians meets the target; None without a target."""
        return meets(self.ratio, self.bound, self.target)

    def as_json(self) -> dict[str, Any]:
        """The row as a JSON-able dictionary."""
        return {
            "name": self.name,
            "unit": self.unit,
            "kind": self.kind,
            "ours": self.ours.as_json(),
            "other": self.other.as_json(),
            "ratio": self.ratio,
            "ratio_quartiles": list(self.ratio_quartiles),
            "target": self.target,
            "met": self.met,
            "repetitions": len(self.ours.seconds),
        }


@dataclass(frozen=True, slots=True)
class Number:
    """A number that was computed from times, such as a rate or an exponent of growth."""

    name: str
    unit: str
    label: str
    """How the number was computed."""
    values: NDArray[np.float64]
    """Value of each repetition."""
    sides: tuple[Side, ...] = ()
    """The times from which the number was computed."""
    bound: Bound = "at most"
    target: float | None = None
    """Limit in the direction of `bound`; None if there is none."""

    @property
    def value(self) -> float:
        """Median over the repetitions."""
        return float(np.median(self.values))

    @property
    def quartiles(self) -> tuple[float, float]:
        """Quartiles over the repetitions."""
        return quartiles_of(self.values)

    @property
    def met(self) -> bool | None:
        """Return True if the median meets the target; None without a target."""
        return meets(self.value, self.bound, self.target)

    def as_json(self) -> dict[str, Any]:
        """The number as a JSON-able dictionary."""
        return {
            "name": self.name,
            "unit": self.unit,
            "kind": "number",
            "label": self.label,
            "value": self.value,
            "quartiles": list(self.quartiles),
            "sides": [side.as_json() for side in self.sides],
            "target": self.target,
            "met": self.met,
            "repetitions": len(self.values),
        }


Result = Row | Number


def exponents(sizes: Sequence[int], sides: Sequence[Side]) -> NDArray[np.float64]:
    """Exponent of the power of the size that fits the times best, in each repetition."""
    log_seconds = np.log([side.seconds for side in sides])
    return np.asarray(np.polyfit(np.log(sizes), log_seconds, 1)[0], dtype=np.float64)


def per_second(name: str, unit: str, side: Side, target: float | None = None) -> Number:
    """Units of work per second."""
    return Number(name, f"{unit}s/s", side.label, 1.0 / side.seconds, (side,), "at least", target)


def timed(work: Callable[[], object], units: int) -> Sampler:
    """Make a sampler that calls `work`, which does `units` units of work."""

    def sample() -> float:
        started = time.perf_counter()
        work()
        return (time.perf_counter() - started) / units

    return sample


def interleave(samplers: Mapping[str, Sampler], repetitions: int, warm_up: int = 1) -> dict[str, Side]:
    """Sample all samplers in turn, in alternating order, so that changes of the machine's speed affect all alike.

    Args:
        samplers: samplers by label.
        repetitions: samples of each.
        warm_up: additional rounds at the start that are not counted.
    """
    labels = list(samplers)
    seconds = {label: np.empty(repetitions) for label in labels}
    gc.collect()
    for repetition in range(-warm_up, repetitions):
        for label in labels if repetition % 2 == 0 else reversed(labels):
            sample = samplers[label]()
            if repetition >= 0:
                seconds[label][repetition] = sample
    return {label: Side(label, seconds[label]) for label in labels}


class Worker:
    """A sampler in another process, for software in a separate Python environment; use it as a context manager.

    The process prints one JSON object when it is ready, then answers each line on its standard input with the seconds
    per unit of one repetition.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed with the process; a pipe could fill up)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        self.about: dict[str, Any] = {}

    def __enter__(self) -> Self:
        try:
            self.about = json.loads(self._answer())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        return line

    def _ended(self) -> Skipped:
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines() or ["no message"]
        return Skipped(f"the worker process ended with status {status}: {lines[-1]}")

    def sample(self) -> float:
        """Run one repetition in the process; returns seconds per unit.

        Raises:
            Skipped: the process has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        return float(self._answer())
