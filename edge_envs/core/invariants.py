"""Invariants that `check=True` verifies: what one is, and helpers that build common ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-9
"""Relative deviation that passes for rounding; chosen: a sum over a thousand members is good to 1e-12, a backlog kept
through an episode to some 1e-11, and a mistake in the model or a solver is larger."""

LARGEST = float(np.finfo(np.float64).max)


class BrokenInvariant(RuntimeError):  # noqa: N818  (it says what happened)
    """Something that must always hold does not; the message names it, the row, the step and the numbers."""


class Invariant(NamedTuple):
    """In every entry `value` relates to `limit` as said, up to rounding.

    Both broadcast to (R, ...), an entry of the first axis per row checked; or to (1, ...) for the last row alone, where
    scratch memory knows of no other. Rounding is relative to the limit or to `scale`, whichever is larger.
    """

    name: str
    value: Any
    relation: Literal["<=", ">=", "=="]
    limit: Any
    scale: Any = 0.0

    def deviation(self) -> NDArray[Any]:
        """By how much every entry breaks it in its own unit: not above zero where it holds."""
        difference = np.asarray(self.value, dtype=np.float64) - self.limit
        if self.relation == "==":
            return np.abs(difference)  # type: ignore[no-any-return]
        return -difference if self.relation == ">=" else difference

    def size(self) -> NDArray[Any]:
        """What rounding is relative to."""
        return np.maximum(np.abs(self.limit), self.scale)  # type: ignore[no-any-return]

    def holds(self) -> bool:
        """Whether it holds in every entry; NaN never does."""
        return bool((self.deviation() <= TOLERANCE * self.size()).all())


def finite(name: str, value: NDArray[Any]) -> Iterator[Invariant]:
    """Numbers all of which are finite."""
    with np.errstate(over="ignore"):
        total = value.sum()
    # A sum is finite only if all terms are, and takes less time than a look at each.
    yield Invariant(name, np.abs(total if np.isfinite(total) else value), "<=", LARGEST)


def over(amount: NDArray[Any], rate: NDArray[Any], where: NDArray[np.bool_]) -> NDArray[Any]:
    """Time that an amount takes at a rate, 0 elsewhere; `where` broadcasts to the rates."""
    return np.divide(amount, rate, out=np.zeros(rate.shape), where=np.broadcast_to(where, rate.shape))


def within(name: str, value: Any, low: Any, high: Any) -> Iterator[Invariant]:
    """Numbers between two limits."""
    yield Invariant(name, value, ">=", low)
    yield Invariant(name, value, "<=", high)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of R rows: what was decided, what came of it, and what the state was before."""

    actions: NDArray[Any]  # (R, A)
    reward: NDArray[Any]  # (R,)
    member_reward: NDArray[Any]  # (R, M)
    metrics: Mapping[str, NDArray[Any]]  # name -> (R,)
    member: Mapping[str, NDArray[Any]]  # member metric -> (R, M)
    before: Mapping[str, NDArray[Any]]  # field of `System.remembered` -> (R, ...)
