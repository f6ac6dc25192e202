"""Verification of invariants after every reset and step (`check=True`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.invariants import TOLERANCE, BrokenInvariant, Invariant, Step, finite, within
from edge_envs.core.runtime.snapshot import ANYTHING, arrays_of, fields_of
from edge_envs.core.system import Outcome, System

COUNTED = ("devices", "users", "tasks", "requests")
"""Units of metrics that are counts, which are never negative."""

MEMBERS = ("devices", "users")
"""Units of metrics that count members: whole numbers, at most the number of members."""


class Checked:
    """`System.reset` and `System.step` of one batch, followed by a verification of all invariants.

    Args:
        system: the system.
        batch: number of worlds.
    """

    def __init__(self, system: System[Any], batch: int) -> None:
        self.verified = 0
        """Number of invariants verified so far; an invariant counts once per step or reset, for all rows together."""
        self._system = system
        self._steps = np.zeros(batch, dtype=np.int64)

    def reset(self, state: Any, rows: NDArray[np.int64], rngs: Sequence[Generator]) -> None:
        """Call `System.reset`.

        Raises:
            BrokenInvariant: an invariant does not hold.
        """
        system, at = self._system, self._selection(rows)
        system.reset(state, rows, rngs)
        self._steps[rows] = 0
        self.verify(rows, observed(system, system.observe(state)[at]))
        self.verify(rows, stored(system, selected(state, at, system.scratch), None))

    def step(self, state: Any, rows: NDArray[np.int64], actions: NDArray[Any], rngs: Sequence[Generator]) -> Outcome:
        """Call `System.step`.

        Raises:
            BrokenInvariant: an invariant does not hold.
        """
        system, at = self._system, self._selection(rows)
        before = {name: attrgetter(name)(state)[at].copy() for name in system.remembered}
        outcome = system.step(state, rows, actions, rngs)
        self._steps[rows] += 1
        step = Step(
            actions=actions[at],
            reward=outcome.reward[at],
            member_reward=outcome.member_reward[at],
            metrics={metric.name: outcome.metrics[at, i] for i, metric in enumerate(system.metrics)},
            member={name: values[at] for name, values in outcome.member_metrics.items()},
            before=before,
        )
        self.verify(rows, observed(system, outcome.observation[at]))
        self.verify(rows, reported(system, step))
        self.verify(rows, stored(system, selected(state, at, system.scratch), step))
        return outcome

    def _selection(self, rows: NDArray[np.int64]) -> NDArray[np.int64] | slice:
        """An index that selects `rows`: a slice, which avoids a copy, if these are all rows."""
        return slice(None) if len(rows) == len(self._steps) else rows

    def verify(self, rows: NDArray[np.int64], invariants: Iterable[Invariant]) -> None:
        """Raise BrokenInvariant for the first invariant that does not hold."""
        with np.errstate(all="ignore"):  # invalid values may overflow
            for invariant in invariants:
                self.verified += 1
                if not invariant.holds():
                    raise BrokenInvariant(self._complaint(rows, invariant))

    def _complaint(self, rows: NDArray[np.int64], invariant: Invariant) -> str:
        deviation = invariant.deviation()
        excess = np.nan_to_num(deviation - TOLERANCE * invariant.size(), nan=np.inf)
        worst = np.unravel_index(int(excess.argmax()), excess.shape)
        row = int(rows[worst[0]] if len(excess) == len(rows) else rows[-1])
        value, limit, size = (
            float(np.broadcast_to(each, excess.shape)[worst])
            for each in (invariant.value, invariant.limit, invariant.size())
        )
        entry = f", entry {', '.join(map(str, worst[1:]))}," if len(worst) > 1 else ""
        when = f"at step {self._steps[row]} of its episode" if self._steps[row] else "after its reset"
        off = float(deviation[worst])
        relative = f", {off / size:.3g} of its scale" if size > 0.0 else ""
        return (
            f"invariant {invariant.name!r} is broken in row {row}{entry} {when}: {value!r} should be "
            f"{invariant.relation} {limit!r} and misses it by {off:.3g}{relative}"
        )


def world_of(system: System[Any], batch: int, check: bool) -> System[Any] | Checked:
    """The system, or with `check=True` a `Checked` system, to reset and step a batch.

    Raises:
        ValueError: `check` is not a boolean.
    """
    if not isinstance(check, bool):
        raise ValueError(f"check={check!r} is neither True nor False")
    return Checked(system, batch) if check else system


def selected(state: Any, at: NDArray[np.int64] | slice, scratch: Sequence[str] = ()) -> Any:
    """A state with the rows `at` of all arrays, including those in nested NamedTuples; scratch memory is kept whole."""
    parts = {
        name: value if name in scratch else selected(value, at) if isinstance(value, tuple) else value[at]
        for name, value in fields_of(state).items()
    }
    return type(state)(**parts)


def observed(system: System[Any], observation: NDArray[Any]) -> Iterator[Invariant]:
    """Observations (R, n) are finite and in their space; every member has an open choice and belongs to one group."""
    space = system.observation_space
    assert isinstance(space, spaces.Box)
    yield from within("observation_space", observation, space.low, space.high)
    mask = system.action_mask(observation)
    if mask is not None:
        yield Invariant("open_choice", mask.any(axis=-1), "==", True)
        yield Invariant("mask_entries", observation[:, system.mask_view], "==", mask, 1.0)
    if system.group_view is not None:
        yield Invariant("one_group", observation[:, system.group_view].sum(axis=-1), "==", 1.0)


def reported(system: System[Any], step: Step) -> Iterator[Invariant]:
    """Rewards and metrics are finite, members' rewards sum to the reward, and counts are valid."""
    yield from finite("reward_finite", step.reward)
    yield from finite("member_reward_finite", step.member_reward)
    total, size = step.member_reward.sum(axis=1), np.abs(step.member_reward).sum(axis=1)
    yield Invariant("member_rewards_add_up", total, "==", step.reward, size)
    for metric in system.metrics:
        value = step.metrics[metric.name]
        if metric.certifies:
            yield Invariant(f"{metric.name}_certifies", np.where(np.isnan(value), 0.0, value), ">=", 0.0)
            value = value[~np.isnan(value)]
        yield from finite(f"{metric.name}_finite", value)
        if metric.unit in COUNTED:
            yield Invariant(f"{metric.name}_counts", value, ">=", 0.0)
        if metric.unit in MEMBERS:
            yield Invariant(f"{metric.name}_counts", value, "<=", system.members)
            yield Invariant(f"{metric.name}_counts", value, "==", np.round(value))
    declared = set(step.member) == set(system.member_metrics)
    yield Invariant("member_metrics_declared", np.array([declared]), "==", True)
    for name, values in step.member.items():
        yield from finite(f"member_{name}_finite", values)


def stored(system: System[Any], state: Any, step: Step | None) -> Iterator[Invariant]:
    """The state is finite and within its limits, and the invariants of the system hold."""
    for name, array in arrays_of(state, system.scratch):
        limits = system.limits.get(name)
        if limits == ANYTHING:
            continue
        if array.dtype.kind == "f":
            yield from finite(f"state_{name}_finite", array)
        if limits is not None:
            low, high = limits
            # For large arrays of small integers, minimum and maximum take less time than a conversion to float.
            kept = array.size == 0 or (float(array.min()) >= low and float(array.max()) <= high)
            yield from within(f"state_{name}_limits", np.array([low]) if kept else array, low, high)
    yield from system.invariants(state, step)
