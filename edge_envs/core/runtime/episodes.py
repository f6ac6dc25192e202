"""Summaries of metrics over an episode, and the entries of `info`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel
from edge_envs.core.kernels.metrics import OverEpisode, codes
from edge_envs.core.system import BoolArray, FloatArray, IntArray, Outcome, System

Info = dict[str, Any]
SUMMARY = codes(OverEpisode)
"""Codes of the summaries of metrics over an episode."""
METADATA: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}
"""`metadata` of a single environment."""
MASK = "action_mask"
"""Key of the open choices in an info."""
EPISODE_MEAN = "episode_mean_"
"""Prefix of the key of a metric's summary over the episode."""


class EpisodeSummary:
    """Running summary of the metrics over each row's episode: mean, last or largest value."""

    def __init__(self, system: System[Any], batch: int) -> None:
        self.steps = np.zeros(batch, dtype=np.int64)
        kinds = list(OverEpisode)
        self._kinds = np.array([kinds.index(OverEpisode(metric.over_episode)) for metric in system.metrics])
        self.totals = np.zeros((batch, len(system.metrics)))

    def restart(self, rows: IntArray) -> None:
        """Start new episodes in `rows`."""
        self.steps[rows] = 0
        self.totals[rows] = 0.0

    def add(self, rows: IntArray, metrics: FloatArray) -> FloatArray:
        """Add one step of `rows`; returns their summaries so far, shaped as `metrics`, with zeros in other rows."""
        summary = np.zeros(metrics.shape)
        accumulate(rows, metrics, self._kinds, self.steps, self.totals, summary)
        return summary

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of the running summaries, by their names in snapshots."""
        return {"summary.steps": self.steps, "summary.totals": self.totals}


@kernel
def accumulate(
    rows: IntArray, metrics: FloatArray, kinds: IntArray, steps: IntArray, totals: FloatArray, summary: FloatArray
) -> None:
    """Add one step of `rows` to the totals, in place, by the codes of the summaries in `kinds`."""
    for i in range(len(rows)):
        row = rows[i]
        steps[row] += 1
        for column in range(len(kinds)):
            value = metrics[row, column]
            if kinds[column] == SUMMARY.MEAN:
                totals[row, column] += value
                summary[row, column] = totals[row, column] / steps[row]
            else:
                # NaN means "not certified"; it counts as the largest value, so the summary stays NaN.
                if kinds[column] == SUMMARY.LAST or steps[row] == 1 or value > totals[row, column] or value != value:
                    totals[row, column] = value
                summary[row, column] = totals[row, column]


class Names(NamedTuple):
    """Keys of an info, in its order."""

    metrics: tuple[str, ...]
    summaries: tuple[str, ...]
    members: tuple[tuple[str, str], ...]
    """Key and name of each member metric."""

    @classmethod
    def of(cls, system: System[Any]) -> Names:
        """The keys of a system's infos, without that of the open choices."""
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
        """Numbers of a step; rows that were not stepped have zeros."""
        return cls(outcome.metrics, summaries, outcome.member_reward, outcome.member_metrics)

    @classmethod
    def of_reset(cls, system: System[Any], batch: int, rows: IntArray) -> Report:
        """Numbers of a reset of `rows`; other rows have zeros."""
        metrics, members = np.zeros((batch, len(system.metrics))), (batch, system.members)
        named = {name: np.zeros(members) for name in system.member_metrics}
        return cls(metrics, metrics.copy(), np.zeros(members), named).restarted(rows)

    def restarted(self, rows: IntArray) -> Report:
        """A copy with the numbers before a first step in `rows`: NaN, and 0 for members' rewards."""
        return self._filled(rows, np.nan)

    def without(self, rows: IntArray) -> Report:
        """A copy with zeros in `rows`."""
        return self._filled(rows, 0.0)

    def _filled(self, rows: IntArray, value: float) -> Report:
        return Report(
            _with(self.metrics, rows, value),
            _with(self.summaries, rows, value),
            _with(self.member_reward, rows, 0.0),
            {name: _with(values, rows, value) for name, values in self.members.items()},
        )

    def entries(self, names: Names) -> Info:
        """Arrays over the rows, by key."""
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
    """Add Gymnasium's `_key` masks: for every key a copy of `present`, which is True in rows with the entry."""
    masks = np.empty((len(info), len(present)), dtype=np.bool_)
    masks[:] = present
    info.update(zip(["_" + key for key in info], masks, strict=True))
    return info


def open_choices(system: System[Any], observation: NDArray[np.float32]) -> NDArray[np.int8] | None:
    """Open choices (..., M, C) as a mask for `spaces.MultiDiscrete.sample`; None if all choices always are."""
    mask = system.action_mask(observation)
    return None if mask is None else mask.astype(np.int8)


def choices_of(space: spaces.Space[Any]) -> spaces.MultiDiscrete:
    """The action space, if it has choices.

    Raises:
        AttributeError: it has none, so that `hasattr` finds no `action_masks`.
    """
    if not isinstance(space, spaces.MultiDiscrete):
        raise AttributeError(f"there is no action_masks() for {space}: only choices can be closed")
    return space


def flat_masks(system: System[Any], observation: NDArray[np.float32]) -> BoolArray:
    """Open choices in observations (B, n), one member after the other, shape (B, sum of the choices).

    Raises:
        AttributeError: the action space is a Box, which has no choices.
    """
    space = choices_of(system.action_space)
    mask = system.action_mask(observation)
    if mask is None:
        return np.ones((len(observation), int(space.nvec.sum())), dtype=np.bool_)
    return mask.reshape(len(observation), -1)


def check_reset_options(options: Mapping[str, Any] | None, known: str | None) -> None:
    """Raise ValueError if `options` of `reset` has an unknown key."""
    for key in options or ():
        if key != known:
            those = "there is none" if known is None else f"the only one is {known!r}"
            raise ValueError(f"reset option {key!r} does not exist: {those}; parameters are arguments of gym.make")
