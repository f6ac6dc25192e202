"""What the Gymnasium classes report of an episode: running summaries of the metrics, and the entries of `info`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel
from edge_envs.core.system import BoolArray, FloatArray, IntArray, Outcome, System

Info = dict[str, Any]
METADATA: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}
"""`metadata` of a single environment."""
MASK = "action_mask"
"""Entry of an info with the choices that are open in the observation returned with it."""
EPISODE_MEAN = "episode_mean_"
"""What the name of a metric's summary over the episode begins with."""


class EpisodeSummary:
    """Running summary of the metrics over the steps of each row's episode: mean, last or largest value."""

    def __init__(self, system: System[Any], batch: int) -> None:
        self.steps = np.zeros(batch, dtype=np.int64)
        self._kinds = np.array([("mean", "last", "max").index(metric.over_episode) for metric in system.metrics])
        self.totals = np.zeros((batch, len(system.metrics)))

    def restart(self, rows: IntArray) -> None:
        """Forget the episodes of `rows`."""
        self.steps[rows] = 0
        self.totals[rows] = 0.0

    def add(self, rows: IntArray, metrics: FloatArray) -> FloatArray:
        """Take in one step of `rows`; returns their summaries so far, of the shape of `metrics`, zero elsewhere."""
        summary = np.zeros(metrics.shape)
        accumulate(rows, metrics, self._kinds, self.steps, self.totals, summary)
        return summary

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the summaries go on from, by the names that snapshots use."""
        return {"summary.steps": self.steps, "summary.totals": self.totals}


@kernel
def accumulate(
    rows: IntArray, metrics: FloatArray, kinds: IntArray, steps: IntArray, totals: FloatArray, summary: FloatArray
) -> None:
    """Add one step of `rows` to the running totals, in place; kind 0 is a mean, 1 the last value, 2 the largest."""
    for i in range(len(rows)):
        row = rows[i]
        steps[row] += 1
        for column in range(len(kinds)):
            value = metrics[row, column]
            if kinds[column] == 0:
                totals[row, column] += value
                summary[row, column] = totals[row, column] / steps[row]
            else:
                # NaN, which stands for "not certified", is larger than any number here, and stays.
                if kinds[column] == 1 or steps[row] == 1 or value > totals[row, column] or value != value:
                    totals[row, column] = value
                summary[row, column] = totals[row, column]


class Names(NamedTuple):
    """Keys of an info, in the order in which they stand there."""

    metrics: tuple[str, ...]
    summaries: tuple[str, ...]
    members: tuple[tuple[str, str], ...]
    """Key and name of each member metric."""

    @classmethod
    def of(cls, system: System[Any]) -> Names:
        """The keys of a system's infos, but for the open choices."""
        metrics = tuple(metric.name for metric in system.metrics)
        members = tuple(("member_" + name, name) for name in system.member_metrics)
        return cls(metrics, tuple(EPISODE_MEAN + name for name in metrics), members)


class Report(NamedTuple):
    """Numbers of an info for a batch of B rows."""

    metrics: FloatArray  # (B, K)
    summaries: FloatArray  # (B, K)
    member_reward: FloatArray  # (B, M)
    members: Mapping[str, FloatArray]  # member metric -> (B, M)

    @classmethod
    def of_step(cls, outcome: Outcome, summaries: FloatArray) -> Report:
        """Numbers of a step; rows that were not stepped hold zeros."""
        return cls(outcome.metrics, summaries, outcome.member_reward, outcome.member_metrics)

    @classmethod
    def of_reset(cls, system: System[Any], batch: int, rows: IntArray) -> Report:
        """Numbers of a reset of `rows`, zero elsewhere."""
        metrics, members = np.zeros((batch, len(system.metrics))), (batch, system.members)
        named = {name: np.zeros(members) for name in system.member_metrics}
        return cls(metrics, metrics.copy(), np.zeros(members), named).restarted(rows)

    def restarted(self, rows: IntArray) -> Report:
        """A copy in which `rows` say that no step has happened: NaN, and members' rewards of 0."""
        return self._filled(rows, np.nan)

    def without(self, rows: IntArray) -> Report:
        """A copy in which `rows` hold zeros."""
        return self._filled(rows, 0.0)

    def _filled(self, rows: IntArray, value: float) -> Report:
        return Report(
            _with(self.metrics, rows, value),
            _with(self.summaries, rows, value),
            _with(self.member_reward, rows, 0.0),
            {name: _with(values, rows, value) for name, values in self.members.items()},
        )

    def entries(self, names: Names) -> Info:
        """Every number by its key, as arrays over the rows."""
        info: Info = dict(zip(names.metrics, self.metrics.T, strict=True))
        info["member_reward"] = self.member_reward
        for key, name in names.members:
            info[key] = self.members[name]
        info.update(zip(names.summaries, self.summaries.T, strict=True))
        return info


def _with(array: FloatArray, rows: IntArray, value: float) -> FloatArray:
    result = array.copy()
    result[rows] = value
    return result


def announced(info: Info, present: BoolArray) -> Info:
    """Add Gymnasium's `_key` masks: for every key an array of its own that says in which rows the entry is present."""
    masks = np.empty((len(info), len(present)), dtype=np.bool_)
    masks[:] = present
    info.update(zip(["_" + key for key in info], masks, strict=True))
    return info


def open_choices(system: System[Any], observation: NDArray[np.float32]) -> NDArray[np.int8] | None:
    """Which choices are open, (..., M, C), as `spaces.MultiDiscrete.sample` takes it; None where all always are."""
    mask = system.action_mask(observation)
    return None if mask is None else mask.astype(np.int8)


def flat_masks(system: System[Any], observation: NDArray[np.float32]) -> BoolArray:
    """Which choices are open in observations (B, n), as masked agents want it: (B, sum of the choices), one by one.

    Raises:
        AttributeError: the action is a Box, of which no choice can be closed.
    """
    space = system.action_space
    if not isinstance(space, spaces.MultiDiscrete):
        raise AttributeError(f"there is no action_masks() for {space}: only choices can be closed")
    mask = system.action_mask(observation)
    if mask is None:
        return np.ones((len(observation), int(space.nvec.sum())), dtype=np.bool_)
    return mask.reshape(len(observation), -1)


def check_reset_options(options: Mapping[str, Any] | None, known: str | None) -> None:
    """Refuse what `reset(options=...)` does not know.

    Raises:
        ValueError: another key than the known one; the message names that.
    """
    for key in options or ():
        if key != known:
            those = "there is none" if known is None else f"the only one is {known!r}"
            raise ValueError(f"reset option {key!r} does not exist: {those}; parameters are arguments of gym.make")
