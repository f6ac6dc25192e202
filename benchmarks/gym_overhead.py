"""What the Gymnasium shells cost, and how they compare with other environments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any

import gymnasium as gym

from benchmarks.lyappo import solvers as lyappo_solvers
from benchmarks.mobile_env import compare as mobile_env
from benchmarks.timing import Row, interleave, timed
from benchmarks.worlds import ActionMaker, EnvWorlds, SystemWorlds, sampled_actions, vector_env


@dataclass(frozen=True, slots=True)
class Case:
    """How to time an environment, and how fast it should be."""

    actions: ActionMaker
    """Actions under which the shell weighs as much as it can."""
    steps: int
    """Steps of a batch in one repetition."""
    pendulum: float | None
    """Least speed-up over Pendulum-v1; None where the physics of a step is a convex program and no pendulum's."""
    mobile_env: float | None
    """Least speed-up over mobile-env; None likewise."""
    batches: tuple[int, ...] = (256, 1024)
    """Worlds of the vector environment."""


ENVIRONMENTS: Mapping[str, Case] = {
    "LyaPPO-v0": Case(lyappo_solvers.good_partition, steps=16, pendulum=0.5, mobile_env=20.0),
    "DTIRS-v0": Case(sampled_actions, steps=2, pendulum=None, mobile_env=None, batches=(16, 64)),
    "ECCNOMA-v0": Case(sampled_actions, steps=2, pendulum=None, mobile_env=None, batches=(16, 64)),
    "SemCom-v0": Case(sampled_actions, steps=2, pendulum=None, mobile_env=None),
}
EPISODES = 5
"""Episodes of a single environment in one repetition."""


def vector(repetitions: int) -> list[Row]:
    """`EdgeVectorEnv.step` over `System.step`, on the same worlds with the same actions, without resets."""
    rows = []
    for env_id, case in ENVIRONMENTS.items():
        for batch in case.batches:
            env = vector_env(env_id, batch)
            actions = case.actions(env)
            shell, system = EnvWorlds(env, actions), SystemWorlds(env.system, batch, actions)
            work = {
                "EdgeVectorEnv.step": partial(shell.run, case.steps),
                "System.step": partial(system.run, case.steps),
            }
            samplers = {label: timed(each, case.steps * batch) for label, each in work.items()}
            ours, other = interleave(samplers, repetitions).values()
            name = f"{env_id}: vector shell, {batch} worlds"
            rows.append(Row(name, "step of a world", ours, other, kind="cost", target=1.5))
    return rows


def episodes(env_id: str) -> tuple[Callable[[], None], int]:
    """A function that plays episodes of `gym.make(env_id)` with sampled actions, and the steps that they take."""
    env: gym.Env[Any, Any] = gym.make(env_id)
    assert env.spec is not None
    assert env.spec.max_episode_steps is not None
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = cycle([env.action_space.sample() for _ in range(64)])

    def play() -> None:
        for _ in range(EPISODES):
            env.reset()
            over = False
            while not over:
                _, _, terminated, truncated, _ = env.step(next(actions))
                over = terminated or truncated

    return play, EPISODES * env.spec.max_episode_steps


def pendulum(repetitions: int) -> list[Row]:
    """A single environment against Pendulum-v1, both from `gym.make`, in whole episodes with their resets."""
    rows = []
    for env_id, case in ENVIRONMENTS.items():
        samplers = {each: timed(*episodes(each)) for each in (env_id, "Pendulum-v1")}
        ours, other = interleave(samplers, repetitions).values()
        rows.append(Row(f"{env_id}: single", "step", ours, other, kind="speed-up", target=case.pendulum))
    return rows


def against_mobile_env(repetitions: int) -> list[Row]:
    """A single environment against mobile-env's smallest, both from `gym.make`, in whole episodes with their resets."""
    rows = []
    with mobile_env.start() as worker:
        for env_id, case in ENVIRONMENTS.items():
            label = f"{mobile_env.ENV_ID} ({mobile_env.REQUIREMENT}, numpy {worker.about['numpy']})"
            ours, other = interleave({env_id: timed(*episodes(env_id)), label: worker.sample}, repetitions).values()
            rows.append(Row(f"{env_id}: single", "step", ours, other, kind="speed-up", target=case.mobile_env))
    return rows


BENCHMARKS = {"shell.vector": vector, "shell.pendulum": pendulum, "shell.mobile-env": against_mobile_env}
