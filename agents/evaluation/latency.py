"""Measurements in a single world: the time of a decision, and one episode step by step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from agents.evaluation.contestants import Entry
from agents.evaluation.custom_agent import CheckedPolicy
from agents.worlds import EVALUATION_STREAM, make_worlds, step_values, stream_seeds

WARM_UP = 3
"""Decisions that are not timed: they load kernels, fill caches and search for an episode's actions."""
TIMED_STEPS, TIMED_SECONDS = 200, 2.0
"""A timing ends at the first of these limits; the seconds include those of the environment."""
DIGITS = 6
"""Significant digits of a time series."""


class Latency(NamedTuple):
    """Time of one decision [ms], and the number of decisions that were timed."""

    mean: float
    p99: float
    steps: int


def first_world() -> list[int]:
    """Seed of the first evaluation world."""
    return stream_seeds(EVALUATION_STREAM, 0, 1)


def latency(entry: Entry, env_id: str, preset: str, options: Mapping[str, Any]) -> Latency:
    """Time of one `predict` in one world, after a warm-up; for several training runs that of the first.

    The checks of a custom agent's actions are not timed.

    Raises:
        ValueError: a custom agent fails.
    """
    env = make_worlds(env_id, 1, preset, entry.options(options))
    policy = entry.factories()[0](env)
    decide = policy.ask if isinstance(policy, CheckedPolicy) else policy.predict
    observation, _ = env.reset(seed=first_world())
    state: Any = None
    start = np.ones(1, dtype=np.bool_)
    taken: list[float] = []
    ends = np.inf
    while len(taken) < WARM_UP + TIMED_STEPS and time.perf_counter() < ends:
        began = time.perf_counter()
        answer = decide(observation, state, start, deterministic=True)
        taken.append(1000.0 * (time.perf_counter() - began))
        actions, state = policy.checked(answer) if isinstance(policy, CheckedPolicy) else answer
        observation, _, terminated, truncated, _ = env.step(actions)
        start = terminated | truncated
        if len(taken) == WARM_UP:
            ends = time.perf_counter() + TIMED_SECONDS
    env.close()
    timed = taken[WARM_UP:]
    return Latency(float(np.mean(timed)), float(np.percentile(timed, 99)), len(timed))


def episode(entry: Entry, env_id: str, preset: str, options: Mapping[str, Any]) -> dict[str, list[float]]:
    """One episode in the first evaluation world: the system's metrics, `reward` and `action_mean` of every step.

    `action_mean` is the mean over the members' actions.
    """
    env = make_worlds(env_id, 1, preset, entry.options(options))
    policy = entry.factories()[0](env)
    observation, _ = env.reset(seed=first_world())
    state: Any = None
    start = np.ones(1, dtype=np.bool_)
    names = [metric.name for metric in env.system.metrics]
    series: dict[str, list[float]] = {name: [] for name in (*names, "reward", "action_mean")}
    for _ in range(env.max_episode_steps or 0):
        actions, state = policy.predict(observation, state, start, deterministic=True)
        observation, reward, terminated, truncated, info = env.step(actions)
        start = terminated | truncated
        values = {name: step_values(info, name, start)[0] for name in names}
        for name, value in {**values, "reward": reward[0], "action_mean": np.mean(actions)}.items():
            series[name].append(float(f"{value:.{DIGITS}g}"))
        if start[0]:
            break
    env.close()
    return series
