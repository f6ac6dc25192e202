"""A System as a Gymnasium environment: one world. `EdgeVectorEnv` is the same for many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from edge_envs.core.runtime.checking import world_of
from edge_envs.core.runtime.episodes import (
    MASK,
    METADATA,
    EpisodeSummary,
    Info,
    Names,
    Report,
    check_reset_options,
    flat_masks,
    open_choices,
)
from edge_envs.core.runtime.snapshot import Arrays, restore_snapshot, take_snapshot
from edge_envs.core.system import BoolArray, IntArray, Outcome, System, load_system
from edge_envs.core.vector_env import EdgeVectorEnv

__all__ = ["EdgeEnv", "EdgeVectorEnv"]


class EdgeEnv(gym.Env[NDArray[np.float32], NDArray[Any]]):
    """One world of a System.

    `info` is flat and holds numpy scalars and arrays only: every metric of the system by name; `member_reward` and the
    other `member_*` arrays, one entry per member; and `episode_mean_<metric>`, the metric over the episode so far (its
    mean, or the last or largest value where the metric says so), so at its end that of the episode. Where the system
    closes choices there is `action_mask`: int8, shape (M, C), 1 where a choice is open in the observation returned
    with it, as `action_space.sample(mask=tuple(action_mask))` takes it.

    The info of `reset` has the same keys, and NaN where a step would report: no step has happened. `member_reward` is
    0 there, as it sums to the reward, which is 0 in a step of a vector environment that restarts a row.

    The episode clock is Gymnasium's `TimeLimit`, which `gym.make` puts around this class.

    Args:
        system: "package.module:Class" of the System, or the class.
        render_mode: None or "rgb_array".
        check: whether to verify every invariant of the system after each reset and step.
        preset: named configuration of the system.
        options: overrides of single parameters.

    Raises:
        UnknownParameter: an unknown parameter; it is a ValueError and a TypeError.
        ValueError: unknown preset, or an impossible value.
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
        """What resets and steps the state: the system, or the system with its checks."""
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
        """Start an episode; with `seed` from a fresh generator, else from the current one.

        Raises:
            ValueError: an option, as there is none.
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

    def _info(self, report: Report, observation: NDArray[np.float32]) -> Info:
        names = self._names
        # Iterating over `flat` makes numpy scalars in a third of the time that a row takes.
        info: Info = dict(zip(names.metrics, report.metrics.flat, strict=True))
        info["member_reward"] = report.member_reward[0]
        for key, name in names.members:
            info[key] = report.members[name][0]
        info.update(zip(names.summaries, report.summaries.flat, strict=True))
        return self._with_mask(info, observation)

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, Info]:
        """One decision.

        Raises:
            ValueError: an action of the wrong shape, dtype or range.
            RuntimeError: there was no reset before.
        """
        if not self._started:
            raise RuntimeError("step() before reset(): call reset() first")
        actions = self.system.check_actions(np.asarray(action)[None], 1)
        outcome = self.world.step(self.state, self._rows, actions, (self.np_random,))
        report = Report.of_step(outcome, self._summary.add(self._rows, outcome.metrics))
        if self.render_mode is not None:
            self._history.append(outcome)
        observation = outcome.observation[0]
        info = self._info(report, observation)
        return observation, float(outcome.reward[0]), bool(outcome.terminated[0]), False, info

    @property
    def episode_steps(self) -> IntArray:
        """Steps of the episode so far, shape (1,); 0 after a reset."""
        return self._summary.steps.copy()

    @property
    def action_masks(self) -> Callable[[], BoolArray]:
        """`action_masks()`: which choices are open now, one member's after the other's, shape (sum of the choices,).

        Masked agents (sb3-contrib's MaskablePPO) ask for it. All True where the system closes none.

        Raises:
            AttributeError: the action is a Box, so `hasattr` says no.
        """
        if not isinstance(self.action_space, spaces.MultiDiscrete):
            raise AttributeError(f"there is no action_masks() for {self.action_space}: only choices can be closed")
        return self._action_masks

    def _action_masks(self) -> BoolArray:
        if not self._started:
            raise RuntimeError("action_masks() before reset(): call reset() first")
        return flat_masks(self.system, self.system.observe(self.state))[0]

    def snapshot(self) -> Arrays:
        """Copies of everything that coming steps depend on, by name: state, clock, summaries and generator.

        It has the form of a snapshot of `EdgeVectorEnv` with one row. The clock of `TimeLimit` is not in it.

        Raises:
            ValueError: a generator was set that is no PCG64.
        """
        return take_snapshot(self.system, self.state, self._progress(), (self.np_random,))

    def restore(self, snapshot: Arrays) -> None:
        """Go on from a snapshot of an environment made alike, bit for bit; `render` begins anew.

        Wrappers know nothing of it: call `reset` of the wrapped environment before, so that `TimeLimit` has a clock.

        Raises:
            ValueError: a snapshot of another configuration, or values that cannot be; nothing has changed then.
        """
        progress = self._progress()
        self.np_random = restore_snapshot(snapshot, self.system, self.state, progress)[0]
        self._started = bool(progress["started"][0])
        self._history.clear()

    def _progress(self) -> Arrays:
        done, started = np.zeros(1, dtype=np.bool_), np.array([self._started])
        return {**self._summary.arrays(), "done": done, "started": started}

    def render(self) -> Any:
        """The episode so far as an RGB picture (needs matplotlib, extra `train`); None without a render mode."""
        if self.render_mode is None:
            return None
        from edge_envs.core.runtime.rendering import draw_episode

        return draw_episode(self.system, self._history)
