"""Batches of worlds to be timed, their steps per second, and the shares of the parts of a step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.seeding import np_random
from numpy.typing import NDArray

from benchmarks.timing import Number, Result, Row, Sampler, Side, interleave, per_second, timed
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.system import System

WARM_UP_STEPS = 64
"""Steps after which the queues, which start empty, are in their steady state."""
NEVER = 10**9
"""An episode length with which no episode ends while it is timed."""

Actions = list[NDArray[Any]]
"""Actions of a whole batch, taken in turn repeatedly."""
ActionMaker = Callable[[EdgeVectorEnv], Actions]

OVERHEAD_TARGET = 1.5
"""Largest time of the Gymnasium class over that of `System.step`."""
PART_REPEATS, FEW_MEMBERS = 4, 100
"""Repetitions of a part in a world, and the largest number of members for which it is repeated: the call from Python
would otherwise be a large share of its time."""

Part = Callable[[Any, Any, Any, int], object]
"""A part of a step of all worlds, given parameters, state, actions and a number of repetitions.

Each repetition must give the same result and leave the worlds unchanged.
"""


def vector_env(env_id: str, batch: int, preset: str = "default") -> EdgeVectorEnv:
    """The vector environment as `gym.make_vec` makes it, with episodes that do not end."""
    env = gym.make_vec(env_id, num_envs=batch, preset=preset, max_episode_steps=NEVER)
    assert isinstance(env, EdgeVectorEnv)
    return env


def sampled_actions(env: EdgeVectorEnv, count: int = 64) -> Actions:
    """Draw actions from the action space with a fixed seed."""
    env.action_space.seed(0)
    return [env.action_space.sample() for _ in range(count)]


class SystemWorlds:
    """Worlds stepped by `System.step` alone; row i is seeded with i."""

    def __init__(self, system: System[Any], batch: int, actions: Actions, warm_up: int = WARM_UP_STEPS) -> None:
        self.system = system
        self.state = system.allocate(batch)
        self.actions = cycle([system.check_actions(each, batch) for each in actions])
        self.rows = np.arange(batch)
        self._rngs = [np_random(row)[0] for row in range(batch)]
        system.reset(self.state, self.rows, self._rngs)
        self.run(warm_up)

    def step(self, actions: NDArray[Any]) -> None:
        """Step all worlds once; the actions are not checked."""
        self.system.step(self.state, self.rows, actions, self._rngs)

    def run(self, steps: int) -> None:
        """Step all worlds."""
        for _ in range(steps):
            self.step(next(self.actions))


class EnvWorlds:
    """The same worlds, stepped by the Gymnasium class; a single world as `gym.make` makes it."""

    def __init__(
        self, env_id: str, batch: int, actions: Actions, preset: str = "default", warm_up: int = WARM_UP_STEPS
    ) -> None:
        self.env: Any
        if batch == 1:
            self.env = gym.make(env_id, preset=preset, max_episode_steps=NEVER)
            actions = [each[0] for each in actions]
        else:
            self.env = vector_env(env_id, batch, preset)
        self._actions = cycle(actions)
        self.env.reset(seed=0)
        self.run(warm_up)

    def run(self, steps: int) -> None:
        """Step all worlds."""
        for _ in range(steps):
            self.env.step(next(self._actions))


class PartWorlds(SystemWorlds):
    """Worlds in which parts of every step are run a second time, outside the step; only these runs are timed."""

    def sampler(self, steps: int, before: Part | None, after: Part | None = None) -> Sampler:
        """Sampler of the parts' seconds per step of a world.

        Args:
            steps: steps of each world per sample.
            before: part to run before each step.
            after: part to run after each step.
        """
        system: Any = self.system
        batch = len(self.rows)
        repeats = PART_REPEATS if batch == 1 and system.members <= FEW_MEMBERS else 1

        def seconds(part: Part | None, actions: NDArray[Any]) -> float:
            if part is None:
                return 0.0
            started = time.perf_counter()
            part(system.parameters, self.state, actions, repeats)
            return (time.perf_counter() - started) / repeats

        def sample() -> float:
            total = 0.0
            for _ in range(steps):
                actions = next(self.actions)
                total += seconds(before, actions)
                self.step(actions)
                total += seconds(after, actions)
            return total / (steps * batch)

        return sample


def rest(name: str, whole: Side, parts: Sequence[Side]) -> Number:
    """Share of a step that none of the parts accounts for."""
    left = 1.0 - sum(side.seconds for side in parts) / whole.seconds
    return Number(f"{name}, the rest", "of a step", "1 less all the shares", np.asarray(left), (whole, *parts))


def worlds_text(batch: int) -> str:
    """A number of worlds as it appears in the names of rows."""
    return "one world" if batch == 1 else f"{batch} worlds"


def step_sides(
    env_id: str, system: System[Any], actions: Actions, parts: Mapping[str, Sampler], steps: int, repetitions: int,
    preset: str = "default", warm_up: int = WARM_UP_STEPS,
) -> list[Side]:  # fmt: skip
    """Times per step of a world: of the Gymnasium class, of `System.step`, and of each part.

    All sides play the same steps of the same worlds with the same actions, without resets.
    """
    batch = len(actions[0])
    label = "EdgeEnv.step" if batch == 1 else "EdgeVectorEnv.step"
    worlds: dict[str, EnvWorlds | SystemWorlds] = {
        label: EnvWorlds(env_id, batch, actions, preset, warm_up),
        "System.step": SystemWorlds(system, batch, actions, warm_up),
    }
    samplers = {name: timed(partial(each.run, steps), steps * batch) for name, each in worlds.items()}
    return list(interleave({**samplers, **parts}, repetitions).values())


def overhead(name: str, outer: Side, inner: Side) -> Row:
    """Time of the Gymnasium class over that of `System.step`."""
    return Row(f"{name}, overhead", "step of a world", outer, inner, kind="cost", target=OVERHEAD_TARGET)


def split_rows(name: str, sides: Sequence[Side]) -> list[Result]:
    """Rows for the result of `step_sides`: steps per second, share of each part, the rest, and the overhead."""
    outer, inner, *parts = sides
    return [
        per_second(name, "step", outer),
        *(Row(f"{name}, share", "step of a world", part, inner, kind="share") for part in parts),
        rest(name, inner, parts),
        overhead(name, outer, inner),
    ]
