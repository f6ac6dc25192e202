"""Overhead of the Gymnasium classes, and speed compared with other environments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import gymnasium as gym

from benchmarks.lyappo import solvers as lyappo_solvers
from benchmarks.mobile_env import compare as mobile_env
from benchmarks.steps import ActionMaker, overhead, sampled_actions, step_sides, vector_env
from benchmarks.timing import Row, Sampler, interleave, timed


@dataclass(frozen=True, slots=True)
class Case:
    """Settings and targets of an environment."""

    actions: ActionMaker
    """Actions under which `System.step` is fast, so that the overhead is as visible as possible."""
    steps: int
    """Steps of a batch in one repetition."""
    pendulum: float | None
    """Smallest acceptable speed-up over Pendulum-v1; None where a step solves a convex program."""
    mobile_env: float | None
    """Smallest acceptable speed-up over mobile-env; None where a step solves a convex program."""
    batches: tuple[int, ...] = (256, 1024)
    """Numbers of worlds of the vector environment."""


ENVIRONMENTS: Mapping[str, Case] = {
    "LyaPPO-v0": Case(lyappo_solvers.good_partition, steps=16, pendulum=0.5, mobile_env=20.0),
    "DTIRS-v0": Case(sampled_actions, steps=2, pendulum=None, mobile_env=None, batches=(16, 64)),
    "ECCNOMA-v0": Case(sampled_actions, steps=2, pendulum=None, mobile_env=None, batches=(16, 64)),
    "SemCom-v0": Case(sampled_actions, steps=2, pendulum=None, mobile_env=None),
}
EPISODES = 5
"""Episodes of a single environment in one repetition."""


def vector(repetitions: int) -> list[Row]:
    """Time of `EdgeVectorEnv.step` over `System.step`, on the same worlds with the same actions, without resets."""
    rows = []
    for env_id, case in ENVIRONMENTS.items():
        for batch in case.batches:
            env = vector_env(env_id, batch)
            outer, inner = step_sides(env_id, env.system, case.actions(env), {}, case.steps, repetitions)
            rows.append(overhead(f"{env_id}: {batch} worlds", outer, inner))
    return rows


def episodes(env_id: str) -> tuple[Callable[[], None], int]:
    """A function that plays episodes of `gym.make(env_id)` with sampled actions, and its number of steps."""
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


def single(env_id: str, label: str, other: Sampler, repetitions: int, target: float | None) -> Row:
    """Speed-up of a single environment over another one."""
    ours, theirs = interleave({env_id: timed(*episodes(env_id)), label: other}, repetitions).values()
    return Row(f"{env_id}: single", "step", ours, theirs, kind="speed-up", target=target)


def pendulum(repetitions: int) -> list[Row]:
    """Speed-up of a single environment over Pendulum-v1, both from `gym.make`, in whole episodes with resets."""
    return [
        single(env_id, "Pendulum-v1", timed(*episodes("Pendulum-v1")), repetitions, case.pendulum)
        for env_id, case in ENVIRONMENTS.items()
    ]


def against_mobile_env(repetitions: int) -> list[Row]:
    """Speed-up of a single environment over mobile-env's smallest one, in whole episodes with resets."""
    with mobile_env.start() as worker:
        label = f"{mobile_env.ENV_ID} ({mobile_env.REQUIREMENT}, numpy {worker.about['numpy']})"
        return [
            single(env_id, label, worker.sample, repetitions, case.mobile_env) for env_id, case in ENVIRONMENTS.items()
        ]


BENCHMARKS = {
    "gym_overhead.vector": vector,
    "gym_overhead.pendulum": pendulum,
    "gym_overhead.mobile-env": against_mobile_env,
}
