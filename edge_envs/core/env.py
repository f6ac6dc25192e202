"""A System with one world as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from edge_envs.core.runtime.checking import world_of
from edge_envs.core.runtime.episodes import (
    MASK,
    METADATA,
    EpisodeSummary,
    Info,
    Names,
    check_reset_options,
    choices_of,
    flat_masks,
    open_choices,
)
from edge_envs.core.runtime.snapshot import Arrays, restore_snapshot, take_snapshot
from edge_envs.core.system import BoolArray, IntArray, Outcome, System, load_system
from edge_envs.core.vector_env import EdgeVectorEnv

__all__ = ["EdgeEnv", "EdgeVectorEnv"]


class EdgeEnv(gym.Env[NDArray[np.float32], NDArray[Any]]):
    """One world of a System.

    `info` is flat and contains only numpy scalars and arrays: every metric of the system by name; `member_reward` and
    the other `member_*` arrays with one entry per member; and `episode_mean_<metric>`, the summary of a metric over the
    episode so far (its mean, or the last or largest value; see `Metric.over_episode`). If the system can close choices,
    `action_mask` marks the open ones at the returned observation: int8, shape (M, C), 1 if a choice is open. Pass it to
    `action_space.sample(mask=tuple(action_mask))`.

    The info of `reset` has the same keys. Before the first step, metrics are NaN and `member_reward` is 0.

    Gymnasium's `TimeLimit`, a wrapper that `gym.make` adds, truncates the episodes.

    Args:
        system: "package.module:Class" of the System, or the class.
        render_mode: None or "rgb_array".
        check: if True, verify every invariant of the system after each reset and step.
        preset: name of a preset of the system's configuration.
        options: parameters that override the preset.

    Raises:
        UnknownParameter: an unknown parameter; it is a ValueError and a TypeError.
        ValueError: an unknown preset or an invalid value.
    """

    metadata = METADATA

    def __init__(
        self,
        system: str | type[System[Any]],
        *,
        render_mode: str | None = None,
        check: bool = False,
        preset: str = "default",
        **options: Any,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode={render_mode!r} does not exist; use None or 'rgb_array'")
        self.system = load_system(system).from_options(preset, options)
        self.render_mode = render_mode
        self.action_space = self.system.action_space
        self.observation_space = self.system.observation_space
        self.world = world_of(self.system, 1, check)
        """Object that resets and steps the state: the system, or with `check=True` a `Checked` system."""
        self.state = self.system.allocate(1)
        self._rows = np.zeros(1, dtype=np.int64)
        self._summary = EpisodeSummary(self.system, 1)
        self._names = names = Names.of(self.system)
        self._blank: Info = dict.fromkeys((*names.metrics, *names.summaries), np.float64(np.nan))
        self._history: list[Outcome] = []
        self._started = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], Info]:
        """Start an episode, with a new generator if `seed` is given.

        Raises:
            ValueError: `options` is not empty.
        """
        check_reset_options(options, None)
        super().reset(seed=seed)
        self.world.reset(self.state, self._rows, (self.np_random,))
        self._summary.restart(self._rows)
        self._history.clear()
        self._started = True
        observation = self.system.observe(self.state)[0]
        info = self._blank.copy()
        for key, _ in self._names.members:
            info[key] = np.full(self.system.members, np.nan)
        info["member_reward"] = np.zeros(self.system.members)
        return observation, self._with_mask(info, observation)

    def _with_mask(self, info: Info, observation: NDArray[np.float32]) -> Info:
        choices = open_choices(self.system, observation)
        if choices is not None:
            info[MASK] = choices
        return info

    def _info(self, outcome: Outcome) -> Info:
        names, summaries = self._names, self._summary.add(self._rows, outcome.metrics)
        # Iterating over `flat` creates numpy scalars three times as fast as iterating over a row.
        info: Info = dict(zip(names.metrics, outcome.metrics.flat, strict=True))
        info["member_reward"] = outcome.member_reward[0]
        for key, name in names.members:
            info[key] = outcome.member_metrics[name][0]
        info.update(zip(names.summaries, summaries.flat, strict=True))
        return self._with_mask(info, outcome.observation[0])

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, Info]:
        """Advance the world by one decision.

        Raises:
            ValueError: an action of a wrong shape, dtype or value.
            RuntimeError: `reset` was not called before.
        """
        if not self._started:
            raise RuntimeError("step() before reset(): call reset() first")
        actions = self.system.check_actions(np.asarray(action)[None], 1)
        outcome = self.world.step(self.state, self._rows, actions, (self.np_random,))
        if self.render_mode is not None:
            self._history.append(outcome)
        info = self._info(outcome)
        return outcome.observation[0], float(outcome.reward[0]), bool(outcome.terminated[0]), False, info

    @property
    def episode_steps(self) -> IntArray:
        """Steps of the episode so far, shape (1,); 0 after a reset."""
        return self._summary.steps.copy()

    @property
    def action_masks(self) -> Callable[[], BoolArray]:
        """`action_masks()` returns the open choices of all members as booleans of shape (sum of the choices,).

        sb3-contrib's MaskablePPO calls it. All are True if the system never closes choices.

        Raises:
            AttributeError: the action space is a Box; `hasattr` returns False then.
        """
        choices_of(self.action_space)
        return self._action_masks

    def _action_masks(self) -> BoolArray:
        if not self._started:
            raise RuntimeError("action_masks() before reset(): call reset() first")
        return flat_masks(self.system, self.system.observe(self.state))[0]

    def snapshot(self) -> Arrays:
        """Copies of all arrays that determine future steps, by name: state, clock, summaries and generator.

        The form is that of `EdgeVectorEnv.snapshot` with one row. The clock of `TimeLimit` is not included.

        Raises:
            ValueError: the generator is not a PCG64.
        """
        return take_snapshot(self.system, self.state, self._progress(), (self.np_random,))

    def restore(self, snapshot: Arrays) -> None:
        """Restore a snapshot of an environment with an equal configuration; all following steps are identical.

        `render` only draws the steps after this call. The state of wrappers is not restored: call `reset` of the
        wrapped environment before, so that `TimeLimit` has a clock.

        Raises:
            ValueError: a snapshot of another configuration, or invalid values; the environment is unchanged then.
        """
        progress = self._progress()
        self.np_random = restore_snapshot(snapshot, self.system, self.state, progress)[0]
        self._started = bool(progress["started"][0])
        self._history.clear()

    def _progress(self) -> Arrays:
        done, started = np.zeros(1, dtype=np.bool_), np.array([self._started])
        return {**self._summary.arrays(), "done": done, "started": started}

    def render(self) -> Any:
        """The episode so far as an RGB image (needs matplotlib, extra `train`); None if `render_mode` is None."""
        if self.render_mode is None:
            return None
        from edge_envs.core.runtime.rendering import draw_episode

        return draw_episode(self.system, self._history)
