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


def entries(names: Names, outcome: Outcome, summaries: FloatArray) -> Info:
    """Arrays over the rows, by key, of a step; `summaries` are those of its metrics. Rows not stepped have zeros."""
    info: Info = dict(zip(names.metrics, outcome.metrics.T, strict=True))
    info["member_reward"] = outcome.member_reward
    for key, name in names.members:
        info[key] = outcome.member_metrics[name]
    info.update(zip(names.summaries, summaries.T, strict=True))
    return info


def replaced(info: Info, rows: IntArray, value: float) -> Info:
    """A copy with `value` in `rows`, and 0 for members' rewards."""
    result = {key: array.copy() for key, array in info.items()}
    for key, array in result.items():
        array[rows] = 0.0 if key == "member_reward" else value
    return result


def announced(info: Info, present: BoolArray) -> Info:
    """Add Gymnasium's `_key` masks: for every key a copy of `present`, which is True in rows with the entry."""
    masks = np.empty((len(info), len(present)), dtype=np.bool_)
    masks[:] = present
    info.update(zip(["_" + key for key in info], masks, strict=True))
    return info


def open_choices(system: System[Any], observation: NDArray[np.float32]) -> NDArray[np.int8] | None:
    """Open choices (..., M, C) as a mask for `spaces.MultiDiscrete.sample`; None if all choices are always open."""
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
