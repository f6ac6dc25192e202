"""The only Gymnasium classes: a System as a single environment, and as a vector environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.seeding import np_random as seeded_generator
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.checking import Checked
from edge_envs.core.compiled import kernel
from edge_envs.core.snapshot import (
    COUNT_MAX,
    Arrays,
    arrays_of,
    check_alike,
    check_values,
    pack_generators,
    unpack_generators,
)
from edge_envs.core.system import BoolArray, FloatArray, IntArray, Outcome, System, load_system

Info = dict[str, Any]
MASK = "action_mask"
"""Entry of an info with the choices that are open in the observation returned with it."""


def world_of(system: System[Any], batch: int, check: bool) -> System[Any] | Checked:
    """What resets and steps a batch: the system, or the system with its invariants verified.

    Raises:
        ValueError: `check` is neither True nor False.
    """
    if not isinstance(check, bool):
        raise ValueError(f"check={check!r} is neither True nor False")
    return Checked(system, batch) if check else system


def whole(value: object) -> bool:
    """Whether a value is an integer, of Python or numpy, and no truth value."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


class EpisodeSummary:
    """Running summary of the metrics over the steps of each row's episode: mean, last or largest value."""

    def __init__(self, system: System[Any], batch: int) -> None:
        self.names = tuple(metric.name for metric in system.metrics)
        self.steps = np.zeros(batch, dtype=np.int64)
        self._kinds = np.array([("mean", "last", "max").index(metric.over_episode) for metric in system.metrics])
        self.totals = np.zeros((batch, len(self.names)))

    def restart(self, rows: IntArray) -> None:
        """Forget the episodes of `rows`."""
        self.steps[rows] = 0
        self.totals[rows] = 0.0

    def add(self, rows: IntArray, metrics: FloatArray) -> FloatArray:
        """Take in one step of `rows`; returns their summaries so far, of the shape of `metrics`, zero elsewhere."""
        summary = np.zeros_like(metrics)
        accumulate(rows, metrics, self._kinds, self.steps, self.totals, summary)
        return summary


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


class EdgeEnv(gym.Env[NDArray[np.float32], NDArray[Any]]):
    """One world of a System.

    `info` of a step holds every metric of the system by name, `member_reward` and the other `member_*` arrays (one
    entry per member), and `episode_means`: the metrics over the episode so far, so at its end those of the episode.
    Where the system closes choices, the infos of `reset` and `step` hold `action_mask`: int8, shape (M, C), 1 where a
    choice is open in the observation returned with it, as `action_space.sample(mask=tuple(action_mask))` takes it.
    The episode clock is Gymnasium's `TimeLimit`, which `gym.make` puts around this class.

    Args:
        system: "package.module:Class" of the System, or the class.
        render_mode: None or "rgb_array".
        check: whether to verify every invariant of the system after each reset and step.
        preset: named configuration of the system.
        options: overrides of single parameters.

    Raises:
        ValueError: unknown preset or parameter, or an impossible value.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  (Gymnasium's own spelling)

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
        self._history: list[Outcome] = []
        self._started = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], Info]:
        """Start an episode; with `seed` from a fresh generator, else from the current one."""
        super().reset(seed=seed)
        self.world.reset(self.state, self._rows, (self.np_random,))
        self._summary.restart(self._rows)
        self._history.clear()
        self._started = True
        observation = self.system.observe(self.state)[0]
        return observation, self._with_mask({}, observation)

    def _with_mask(self, info: Info, observation: NDArray[np.float32]) -> Info:
        mask = self.system.action_mask(observation)
        return info if mask is None else {**info, MASK: mask.astype(np.int8)}

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
        summary = self._summary.add(self._rows, outcome.metrics)
        names = self._summary.names
        info: Info = dict(zip(names, outcome.metrics[0].tolist(), strict=True))
        info["member_reward"] = outcome.member_reward[0]
        for name, values in outcome.member_metrics.items():
            info["member_" + name] = values[0]
        info["episode_means"] = dict(zip(names, summary[0].tolist(), strict=True))
        if self.render_mode is not None:
            self._history.append(outcome)
        observation = outcome.observation[0]
        info = self._with_mask(info, observation)
        return observation, float(outcome.reward[0]), bool(outcome.terminated[0]), False, info

    def render(self) -> Any:
        """The episode so far as an RGB picture (needs matplotlib, extra `train`); None without a render mode."""
        if self.render_mode is None:
            return None
        from edge_envs.core.rendering import draw_episode

        return draw_episode(self.system, self._history)


class EdgeVectorEnv(VectorEnv[NDArray[np.float32], NDArray[Any], NDArray[Any]]):
    """A batch of worlds of a System, stepped together: row i equals `EdgeEnv` seeded with `seed + i`, bit for bit.

    `info` has Gymnasium's array form: every key of `EdgeEnv`'s info as an array over the rows, with a mask `_key`.

    Args:
        system: "package.module:Class" of the System, or the class.
        num_envs: number of worlds.
        max_episode_steps: steps after which an episode is truncated, None for never.
        autoreset_mode: when a finished row starts anew (NEXT_STEP, SAME_STEP or DISABLED), as in Gymnasium.
        render_mode: only None.
        check: whether to verify every invariant of the system after each reset and step.
        preset: named configuration of the system.
        options: overrides of single parameters.

    Raises:
        ValueError: unknown preset, mode or parameter, or an impossible value.
    """

    def __init__(
        self,
        system: str | type[System[Any]],
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        check: bool = False,
        preset: str = "default",
        **options: Any,
    ) -> None:
        if render_mode is not None:
            raise ValueError(f"render_mode={render_mode!r} is not possible for a vector environment; use gym.make")
        if not whole(num_envs) or num_envs < 1:
            raise ValueError(f"num_envs={num_envs!r} must be a whole number of at least 1")
        if max_episode_steps is not None and (not whole(max_episode_steps) or max_episode_steps < 1):
            raise ValueError(
                f"max_episode_steps={max_episode_steps!r} must be a whole number of at least 1, or None for no limit"
            )
        modes = [mode.value for mode in AutoresetMode]
        if not isinstance(autoreset_mode, AutoresetMode) and autoreset_mode not in modes:
            raise ValueError(f"autoreset_mode={autoreset_mode!r} does not exist; known: {', '.join(modes)}")
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {"render_modes": [], "autoreset_mode": self.autoreset_mode}
        self.system = load_system(system).from_options(preset, options)
        self.num_envs = num_envs
        self.max_episode_steps = max_episode_steps
        self.single_action_space = self.system.action_space
        self.single_observation_space = self.system.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.world = world_of(self.system, num_envs, check)
        """What resets and steps the state: the system, or the system with its checks."""
        self.state = self.system.allocate(num_envs)
        self.rngs: list[Generator] = [seeded_generator()[0] for _ in range(num_envs)]
        self._all = np.arange(num_envs)
        self._summary = EpisodeSummary(self.system, num_envs)
        self._done = np.zeros(num_envs, dtype=np.bool_)
        self._started = np.zeros(num_envs, dtype=np.bool_)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], Info]:
        """Start episodes in all rows, or where `options["reset_mask"]` (boolean array) says so.

        Args:
            seed: row i gets `seed + i`, or its entry of a list; None keeps a row's generator.
            options: may hold "reset_mask"; rows outside it keep their state.

        Raises:
            ValueError: a wrong number of seeds, or a mask of the wrong shape or without a True.
            TypeError: a mask that is not a boolean array.
        """
        seeds = [int(seed) + i for i in range(self.num_envs)] if isinstance(seed, (int, np.integer)) else seed
        if seeds is not None and len(seeds) != self.num_envs:
            raise ValueError(f"seed has {len(seeds)} entries, expected num_envs={self.num_envs}")
        rows = self._rows_to_reset(options)
        if seeds is not None:
            for row in rows.tolist():
                if seeds[row] is not None:
                    self.rngs[row] = seeded_generator(seeds[row])[0]
        self._start(rows)
        observation = self.system.observe(self.state)
        return observation, self._with_masks({}, observation, rows)

    def _with_masks(self, info: Info, observation: NDArray[np.float32], rows: IntArray) -> Info:
        """Add the open choices of `rows`, zero elsewhere, where the system closes any."""
        open_choices = self.system.action_mask(observation)
        if open_choices is None:
            return info
        mask = np.zeros(open_choices.shape, dtype=np.int8)
        mask[rows] = open_choices[rows]
        announced = np.zeros(self.num_envs, dtype=np.bool_)
        announced[rows] = True
        return {**info, MASK: mask, "_" + MASK: announced}

    def _rows_to_reset(self, options: dict[str, Any] | None) -> IntArray:
        mask = (options or {}).get("reset_mask")
        if mask is None:
            return self._all
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError(f"options['reset_mask'] must be a numpy array of booleans, got {mask!r}")
        if mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(f"options['reset_mask'] must have shape ({self.num_envs},) and a True, got {mask!r}")
        return np.flatnonzero(mask)

    def _start(self, rows: IntArray) -> None:
        self.world.reset(self.state, rows, self.rngs)
        self._summary.restart(rows)
        self._done[rows] = False
        self._started[rows] = True

    def step(self, actions: Any) -> tuple[NDArray[np.float32], FloatArray, BoolArray, BoolArray, Info]:
        """One decision in every row; a row that finished in the step before starts anew instead (NEXT_STEP).

        Raises:
            ValueError: actions of the wrong shape, dtype or range.
            RuntimeError: a row that was never reset, or a finished row with autoreset disabled.
        """
        if not self._started.all():
            raise RuntimeError("step() before reset(): call reset() on all rows first")
        waiting = self._done.copy()
        if self.autoreset_mode is AutoresetMode.DISABLED and waiting.any():
            raise RuntimeError(
                f"rows {np.flatnonzero(waiting).tolist()} have finished; reset them with options={{'reset_mask': ...}}"
            )
        actions = self.system.check_actions(actions, self.num_envs)
        if waiting.all():
            self._start(self._all)
            unmoved = np.zeros(self.num_envs, dtype=np.bool_)
            observation = self.system.observe(self.state)
            info = self._with_masks({}, observation, self._all)
            return observation, np.zeros(self.num_envs), unmoved, unmoved.copy(), info
        rows = np.flatnonzero(~waiting) if waiting.any() else self._all
        outcome = self.world.step(self.state, rows, actions, self.rngs)
        info = self._info(rows, outcome)
        truncated = np.zeros(self.num_envs, dtype=np.bool_)
        if self.max_episode_steps is not None:
            truncated[rows] = self._summary.steps[rows] >= self.max_episode_steps
        self._done = outcome.terminated | truncated
        observation = outcome.observation
        if waiting.any():
            self._restart(np.flatnonzero(waiting), observation)
        elif self.autoreset_mode is AutoresetMode.SAME_STEP and self._done.any():
            done = self._done.copy()
            info = self._final(done, observation, info)
            self._restart(np.flatnonzero(done), observation)
        info = self._with_masks(info, observation, self._all)
        return observation, outcome.reward, outcome.terminated, truncated, info

    def snapshot(self) -> Arrays:
        """Copies of everything that coming steps depend on, by name: states, clocks, summaries and generators."""
        return {
            **{f"state.{name}": array.copy() for name, array in arrays_of(self.state, self.system.scratch)},
            **{name: array.copy() for name, array in self._progress().items()},
            "generators": pack_generators(self.rngs),
        }

    def restore(self, snapshot: Arrays) -> None:
        """Go on from a snapshot of an environment made alike, bit for bit.

        Raises:
            ValueError: a snapshot of another configuration, or values that cannot be; nothing has changed then.
        """
        check_alike(snapshot, self.snapshot())
        state = dict(arrays_of(self.state, self.system.scratch))
        check_values({name: snapshot[f"state.{name}"] for name in state}, self.system.limits)
        progress = self._progress()
        check_values({name: snapshot[name] for name in progress}, {"summary.steps": (0, COUNT_MAX)})
        self.rngs = unpack_generators(snapshot["generators"])
        for name, array in {**{f"state.{name}": array for name, array in state.items()}, **progress}.items():
            array[...] = snapshot[name]

    def _progress(self) -> Arrays:
        summary = self._summary
        return {
            "summary.steps": summary.steps, "summary.totals": summary.totals, "done": self._done,
            "started": self._started,
        }  # fmt: skip

    def _restart(self, rows: IntArray, observation: NDArray[np.float32]) -> None:
        self._start(rows)
        observation[rows] = self.system.observe(self.state)[rows]

    def _info(self, rows: IntArray, outcome: Outcome) -> Info:
        summary = self._summary.add(rows, outcome.metrics)
        mask = np.zeros(self.num_envs, dtype=np.bool_)
        mask[rows] = True
        names = self._summary.names
        info: Info = dict(zip(names, outcome.metrics.T, strict=True))
        info["member_reward"] = outcome.member_reward
        for name, values in outcome.member_metrics.items():
            info["member_" + name] = values
        info["episode_means"] = dict(zip(names, summary.T, strict=True))
        return _masked(info, mask)

    def _final(self, done: BoolArray, observation: NDArray[np.float32], info: Info) -> Info:
        """Move what belongs to finished rows to `final_obs` and `final_info`, as SAME_STEP has it."""
        final_obs = np.full(self.num_envs, None, dtype=object)
        for row in np.flatnonzero(done).tolist():
            final_obs[row] = observation[row].copy()
        result: Info = {"final_obs": final_obs, "_final_obs": done.copy()}
        final_info = self._with_masks(_restrict(info, done), observation, np.flatnonzero(done))
        result["final_info"], result["_final_info"] = final_info, done.copy()
        return result if done.all() else {**result, **_restrict(info, ~done)}


def _masked(info: Info, mask: BoolArray) -> Info:
    """Add Gymnasium's `_key` masks, in nested dictionaries too."""
    for key in list(info):
        if isinstance(info[key], dict):
            info[key] = _masked(info[key], mask)
        info["_" + key] = mask
    return info


def _restrict(info: Info, rows: BoolArray) -> Info:
    """The same info with zeros outside `rows`, and masks to match."""
    result: Info = {}
    for key, value in info.items():
        if isinstance(value, dict):
            result[key] = _restrict(value, rows)
        elif key.startswith("_"):
            result[key] = value & rows
        else:
            result[key] = np.where(rows.reshape(-1, *[1] * (value.ndim - 1)), value, 0)
    return result
