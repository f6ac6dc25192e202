"""A System as a Gymnasium vector environment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium.utils.seeding import np_random as seeded_generator
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.runtime.checking import world_of
from edge_envs.core.runtime.episodes import (
    MASK,
    METADATA,
    EpisodeSummary,
    Info,
    Names,
    announced,
    check_reset_options,
    entries,
    flat_masks,
    open_choices,
    replaced,
)
from edge_envs.core.runtime.snapshot import Arrays, restore_snapshot, take_snapshot
from edge_envs.core.system import BoolArray, FloatArray, IntArray, System, load_system
from edge_envs.core.validation import nearest, one_of, whole_number

RESET_MASK = "reset_mask"
"""The only option of `reset`."""


class EdgeVectorEnv(VectorEnv[NDArray[np.float32], NDArray[Any], NDArray[Any]]):
    """A batch of worlds of a System. Row i behaves exactly as an `EdgeEnv` seeded with `seed + i`.

    `info` has Gymnasium's array form: every key of `EdgeEnv`'s info, with an array over the rows, and a mask `_key`.
    All steps and resets have all keys. All masks are True, except after a reset of some rows: then those of the other
    rows are False. A row that restarts in a step (NEXT_STEP, SAME_STEP) has the info of a reset: NaN, and 0 for
    `member_reward`. With SAME_STEP, `final_info` has the last numbers of the finished episode.

    `np_random`, `np_random_seed`, `call`, `get_attr` and `set_attr` behave as those of Gymnasium's `SyncVectorEnv`.

    Args:
        system: "package.module:Class" of the System, or the class.
        num_envs: number of worlds.
        max_episode_steps: steps after which an episode is truncated; None for no limit.
        autoreset_mode: when a finished row restarts (NEXT_STEP, SAME_STEP or DISABLED), as in Gymnasium.
        render_mode: None, the only value.
        check: if True, verify every invariant of the system after each reset and step.
        preset: name of a preset of the system's configuration.
        options: parameters that override the preset.

    Raises:
        UnknownParameter: an unknown parameter; it is a ValueError and a TypeError.
        ValueError: an unknown preset or mode, or an invalid value.
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
        whole_number("num_envs", num_envs, 1)
        if max_episode_steps is not None:
            whole_number("max_episode_steps", max_episode_steps, 1)
        if not isinstance(autoreset_mode, AutoresetMode):
            one_of("autoreset_mode", autoreset_mode, [mode.value for mode in AutoresetMode])
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
        """Object that resets and steps the state: the system, or with `check=True` a `Checked` system."""
        self.state = self.system.allocate(num_envs)
        self.member_reward: FloatArray = np.zeros((num_envs, self.system.members))
        """Members' rewards in the last step, (B, M); they sum to the reward, in every autoreset mode."""
        seeded = [seeded_generator() for _ in range(num_envs)]
        self.rngs: list[Generator] = [rng for rng, _ in seeded]
        self._seeds: list[int] = [seed for _, seed in seeded]
        self._all = np.arange(num_envs)
        self._summary = EpisodeSummary(self.system, num_envs)
        self._names = Names.of(self.system)
        self._done = np.zeros(num_envs, dtype=np.bool_)
        self._started = np.zeros(num_envs, dtype=np.bool_)

    # Generators and attributes of the rows

    @property  # type: ignore[override]
    def np_random(self) -> tuple[Generator, ...]:
        """The rows' generators. After they are set, `np_random_seed` is -1 for every row.

        Raises:
            ValueError: set to anything but `num_envs` different generators.
        """
        return tuple(self.rngs)

    @np_random.setter
    def np_random(self, value: Any) -> None:
        generators = list(value) if isinstance(value, (list, tuple)) else [value]
        if len(generators) != self.num_envs or not all(isinstance(rng, Generator) for rng in generators):
            raise ValueError(f"np_random must be a list or tuple of num_envs={self.num_envs} numpy Generators")
        if len({id(rng) for rng in generators}) < self.num_envs:
            raise ValueError("np_random must be a different generator for each row")
        self.rngs = generators
        self._seeds = [-1] * self.num_envs

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seeds of the rows' generators; -1 for those that were set or restored from a snapshot."""
        return tuple(self._seeds)

    @property
    def episode_steps(self) -> IntArray:
        """Steps of each row's episode so far, shape (B,); 0 after a reset."""
        return self._summary.steps.copy()

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """An attribute of each row's single environment, or the result of its method.

        The names are `action_masks`, `action_space`, `episode_steps`, `metadata`, `np_random`, `np_random_seed`,
        `observation_space`, `render`, `render_mode`, `snapshot`, `spec` and `system`; no method takes arguments.

        Raises:
            AttributeError: another name, or `action_masks` with a Box as the action space.
            RuntimeError: `action_masks` before the first reset.
            TypeError: arguments were given.
        """
        shared = {
            "metadata": METADATA, "spec": self.spec, "action_space": self.single_action_space,
            "observation_space": self.single_observation_space, "render": None, "render_mode": None,
            "system": self.system,
        }  # fmt: skip
        own: dict[str, Callable[[], Iterable[Any]]] = {
            "action_masks": self._action_masks,
            "episode_steps": lambda: np.split(self.episode_steps, self.num_envs),
            "np_random": lambda: self.np_random,
            "np_random_seed": lambda: self.np_random_seed,
            "snapshot": self._row_snapshots,
        }
        if name not in shared.keys() | own.keys():
            raise AttributeError(f"{name!r} is not an attribute of single rows; {nearest(name, sorted(shared | own))}")
        if args or kwargs:
            raise TypeError(f"{name!r} takes no arguments")
        return tuple(own[name]()) if name in own else (shared[name],) * self.num_envs

    def _action_masks(self) -> BoolArray:
        if not self._started.all():
            raise RuntimeError("action_masks() before reset(): call reset() on all rows first")
        return flat_masks(self.system, self.system.observe(self.state))

    def _row_snapshots(self) -> Iterable[Arrays]:
        snapshot = self.snapshot()
        return ({name: array[row : row + 1].copy() for name, array in snapshot.items()} for row in self._all)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """An attribute of each row's single environment; see `call`."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set `np_random` of the rows; raise AttributeError for another name."""
        if name != "np_random":
            raise AttributeError(f"{name!r} of single rows cannot be set, as the rows share one system; only np_random")
        self.np_random = values

    # Episodes

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], Info]:
        """Start episodes in all rows, or in the rows of `options["reset_mask"]` (booleans, shape (B,)).

        Args:
            seed: row i gets the seed `seed + i`, or entry i of a list; None keeps its generator.
            options: may contain only "reset_mask"; other rows keep their state.

        Raises:
            ValueError: a wrong number of seeds, another option, or a mask of a wrong shape or without a True.
            TypeError: a mask that is not a boolean array.
        """
        seeds = [int(seed) + i for i in range(self.num_envs)] if isinstance(seed, (int, np.integer)) else seed
        if seeds is not None and len(seeds) != self.num_envs:
            raise ValueError(f"seed has {len(seeds)} entries, expected num_envs={self.num_envs}")
        check_reset_options(options, RESET_MASK)
        rows = self._rows_to_reset(options)
        if seeds is not None:
            for row in rows.tolist():
                if seeds[row] is not None:
                    self.rngs[row], self._seeds[row] = seeded_generator(seeds[row])
        self._start(rows)
        observation = self.system.observe(self.state)
        return observation, self._reset_info(rows, observation)

    def _rows_to_reset(self, options: dict[str, Any] | None) -> IntArray:
        mask = (options or {}).get(RESET_MASK)
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
        """Advance every row by one decision; with NEXT_STEP, rows that finished in the previous step restart instead.

        Raises:
            ValueError: actions of a wrong shape, dtype or value.
            RuntimeError: a row was never reset, or has finished with autoreset disabled.
        """
        if not self._started.all():
            raise RuntimeError("step() before reset(): call reset() on all rows first")
        waiting = self._done.nonzero()[0]
        if len(waiting) and self.autoreset_mode is AutoresetMode.DISABLED:
            raise RuntimeError(f"rows {waiting.tolist()} have finished; reset them with options={{'reset_mask': ...}}")
        actions = self.system.check_actions(actions, self.num_envs)
        if len(waiting) == self.num_envs:
            return self._restart_all()
        rows = (~self._done).nonzero()[0] if len(waiting) else self._all
        outcome = self.world.step(self.state, rows, actions, self.rngs)
        self.member_reward = outcome.member_reward.copy()
        info = entries(self._names, outcome, self._summary.add(rows, outcome.metrics))
        truncated = np.zeros(self.num_envs, dtype=np.bool_)
        if self.max_episode_steps is not None:
            truncated[rows] = self._summary.steps[rows] >= self.max_episode_steps
        self._done = outcome.terminated | truncated
        observation, final = outcome.observation, {}
        finished = self._done.nonzero()[0] if self.autoreset_mode is AutoresetMode.SAME_STEP else self._all[:0]
        if len(finished):
            final = self._final(finished, observation, info)
        restarting = waiting if len(waiting) else finished
        if len(restarting):
            info = replaced(info, restarting, np.nan)
            self._start(restarting)
            observation[restarting] = self.system.observe(self.state)[restarting]
        info = self._info(info, observation, self._all) | final
        return observation, outcome.reward, outcome.terminated, truncated, info

    def _restart_all(self) -> tuple[NDArray[np.float32], FloatArray, BoolArray, BoolArray, Info]:
        """The step of NEXT_STEP in which all rows restart."""
        self._start(self._all)
        self.member_reward = np.zeros_like(self.member_reward)
        observation = self.system.observe(self.state)
        terminated, truncated = np.zeros((2, self.num_envs), dtype=np.bool_)
        info = self._reset_info(self._all, observation)
        return observation, np.zeros(self.num_envs), terminated, truncated, info

    def _reset_info(self, rows: IntArray, observation: NDArray[np.float32]) -> Info:
        nothing = self.system.blank_outcome(self.num_envs)[0]
        blank = entries(self._names, nothing, nothing.metrics)
        return self._info(replaced(blank, rows, np.nan), observation, rows)

    def _info(self, info: Info, observation: NDArray[np.float32], rows: IntArray) -> Info:
        """Add masks to the info of `rows`, which is zero in all others."""
        present = np.zeros(self.num_envs, dtype=np.bool_)
        present[rows] = True
        choices = open_choices(self.system, observation)
        if choices is not None:
            choices[~present] = 0
            info[MASK] = choices
        return announced(info, present)

    def _final(self, rows: IntArray, observation: NDArray[np.float32], info: Info) -> Info:
        """`final_obs` and `final_info` of finished rows, for SAME_STEP."""
        finished = np.zeros(self.num_envs, dtype=np.bool_)
        finished[rows] = True
        final_obs = np.full(self.num_envs, None, dtype=object)
        for row in rows.tolist():
            final_obs[row] = observation[row].copy()
        final_info = self._info(replaced(info, (~finished).nonzero()[0], 0.0), observation, rows)
        return announced({"final_obs": final_obs, "final_info": final_info}, finished)

    # Snapshots

    def snapshot(self) -> Arrays:
        """Copies of all arrays that determine future steps, by name: states, clocks, summaries and generators.

        A selection of rows of these arrays is a snapshot of an environment, single or vector, with these rows only.

        Raises:
            ValueError: a generator is not a PCG64.
        """
        return take_snapshot(self.system, self.state, self._progress(), self.rngs)

    def restore(self, snapshot: Arrays) -> None:
        """Restore a snapshot of an environment with an equal configuration; all following steps are identical.

        Raises:
            ValueError: a snapshot of another configuration, or invalid values; the environment is unchanged then.
        """
        self.np_random = restore_snapshot(snapshot, self.system, self.state, self._progress())

    def _progress(self) -> Arrays:
        return {**self._summary.arrays(), "done": self._done, "started": self._started}
