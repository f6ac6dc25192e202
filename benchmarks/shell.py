"""What the Gymnasium shells cost, and how they compare with other environments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import cycle
from typing import Any

import gymnasium as gym

from benchmarks import lyappo, mobile_env
from benchmarks.timing import Row, interleave, timed
from benchmarks.worlds import ActionMaker, ShellWorlds, SystemWorlds, vector_env

ENVIRONMENTS: Mapping[str, ActionMaker] = {"LyaPPO-v0": lyappo.good_partition}
"""Ids to compare, each with actions that keep its queues short: there the shell weighs most."""
BATCHES = (256, 1024)
STEPS = 16
"""Steps of a batch in one repetition."""
EPISODES = 5
"""Episodes of a single environment in one repetition."""


def vector(repetitions: int) -> list[Row]:
    """`EdgeVectorEnv.step` over `System.step`, on the same worlds with the same actions, without resets."""
    rows = []
    for env_id, make_actions in ENVIRONMENTS.items():
        for batch in BATCHES:
            env = vector_env(env_id, batch)
            actions = make_actions(env)
            shell, system = ShellWorlds(env, actions), SystemWorlds(env.system, batch, actions)
            work = {"EdgeVectorEnv.step": partial(shell.run, STEPS), "System.step": partial(system.run, STEPS)}
            samplers = {label: timed(each, STEPS * batch) for label, each in work.items()}
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
    for env_id in ENVIRONMENTS:
        samplers = {each: timed(*episodes(each)) for each in (env_id, "Pendulum-v1")}
        ours, other = interleave(samplers, repetitions).values()
        rows.append(Row(f"{env_id}: single", "step", ours, other, kind="speed-up", target=0.5))
    return rows


def against_mobile_env(repetitions: int) -> list[Row]:
    """A single environment against mobile-env's smallest, both from `gym.make`, in whole episodes with their resets."""
    rows = []
    with mobile_env.start() as worker:
        for env_id in ENVIRONMENTS:
            label = f"{mobile_env.ENV_ID} ({mobile_env.REQUIREMENT}, numpy {worker.about['numpy']})"
            ours, other = interleave({env_id: timed(*episodes(env_id)), label: worker.sample}, repetitions).values()
            rows.append(Row(f"{env_id}: single", "step", ours, other, kind="speed-up", target=20.0))
    return rows


BENCHMARKS = {"shell.vector": vector, "shell.pendulum": pendulum, "shell.mobile-env": against_mobile_env}
