"""Invariants, which `check=True` verifies, and helpers that build common ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-9
"""Relative deviation that counts as rounding; chosen: rounding of a sum over a thousand members is about 1e-12, of a
backlog over an episode 1e-11, and errors in a model or a solver are larger."""

LARGEST = float(np.finfo(np.float64).max)


class BrokenInvariant(RuntimeError):  # noqa: N818  (published name)
    """An invariant does not hold; the message has its name, the row, the step and the numbers."""


class Invariant(NamedTuple):
    """A relation between `value` and `limit` that holds in every entry, up to rounding.

    Both broadcast to (R, ...), where the first axis is the row. Numbers from scratch memory only describe the last row
    and broadcast to (1, ...). Rounding is relative to the limit or to `scale`, whichever is larger.
    """

    name: str
    value: Any
    relation: Literal["<=", ">=", "=="]
    limit: Any
    scale: Any = 0.0

    def deviation(self) -> NDArray[Any]:
        """Violation of each entry, in its unit; it is at most zero if the relation holds exactly."""
        difference = np.asarray(self.value, dtype=np.float64) - self.limit
        if self.relation == "==":
            return np.abs(difference)  # type: ignore[no-any-return]
        return -difference if self.relation == ">=" else difference

    def size(self) -> NDArray[Any]:
        """The numbers to which rounding is relative."""
        return np.maximum(np.abs(self.limit), self.scale)  # type: ignore[no-any-return]

    def holds(self) -> bool:
        """Return True if the relation holds in every entry; NaN violates it."""
        return bool((self.deviation() <= TOLERANCE * self.size()).all())


def finite(name: str, value: NDArray[Any]) -> Iterator[Invariant]:
    """All numbers are finite."""
    with np.errstate(over="ignore"):
        total = value.sum()
    # A finite sum has finite terms only, and takes less time than a check of each term.
    yield Invariant(name, np.abs(total if np.isfinite(total) else value), "<=", LARGEST)


def over(amount: NDArray[Any], rate: NDArray[Any], where: NDArray[np.bool_]) -> NDArray[Any]:
    """Time amount / rate; 0 where `where` (which broadcasts to the rates) is False."""
    return np.divide(amount, rate, out=np.zeros(rate.shape), where=np.broadcast_to(where, rate.shape))


def within(name: str, value: Any, low: Any, high: Any) -> Iterator[Invariant]:
    """All numbers are between two limits."""
    yield Invariant(name, value, ">=", low)
    yield Invariant(name, value, "<=", high)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of R rows: actions, results, and parts of the state before it."""

    actions: NDArray[Any]  # (R, A)
    reward: NDArray[Any]  # (R,)
    member_reward: NDArray[Any]  # (R, M)
    metrics: Mapping[str, NDArray[Any]]  # name -> (R,)
    member: Mapping[str, NDArray[Any]]  # member metric -> (R, M)
    before: Mapping[str, NDArray[Any]]  # field of `System.remembered` -> (R, ...)
