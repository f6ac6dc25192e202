"""Play episodes on fixed seeds and reduce each to its scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.worlds import EVALUATION_STREAM, PolicyFactory, make_worlds, step_values, stream_seeds
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.kernels.metrics import OverEpisode
from edge_envs.core.policy import Policy
from edge_envs.core.system import System

LOG, SMALLEST = "log_", 1e-12
"""Prefix of the name of a metric's logarithm, and lower limit of the values whose logarithm is taken."""

RATIO = "finished_over_arrived"

Table = Mapping[str, NDArray[np.float64]]
"""Metric name -> one value per evaluation seed, the mean over its episodes."""


@dataclass(frozen=True, eq=False)
class Scores(Table):
    """Scores of a policy: every episode, and as a mapping one mean per evaluation seed.

    Args:
        episodes: metric name -> values of shape (training runs, evaluation seeds, episodes of a seed).
    """

    episodes: Table

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        means: NDArray[np.float64] = self.episodes[name].mean(axis=2).mean(axis=0)
        return means

    def __iter__(self) -> Iterator[str]:
        return iter(self.episodes)

    def __len__(self) -> int:
        return len(self.episodes)

    @classmethod
    def of_runs(cls, runs: Sequence[Scores]) -> Scores:
        """Combine the scores of several training runs of one policy."""
        return cls({name: np.concatenate([run.episodes[name] for run in runs]) for name in runs[0]})


def play(env: EdgeVectorEnv, policy: Policy, seeds: list[int], *, deterministic: bool = True) -> Table:
    """Play one episode in every row; returns metric -> one value per row.

    The warm-up is the first `warmup_fraction` of an episode. Metrics are averaged over the steps after it; metrics
    that count from the reset are taken at the last step, certificates at their maximum. For metrics that the system
    lists as `logged` there is also the logarithm of an episode's value, so differences are mean log ratios. `return`
    is the sum of all rewards, `reward` their mean after the warm-up, `finished_over_arrived` the ratio of the tasks
    after the warm-up if the system counts tasks. An episode that terminates within the warm-up is averaged over all
    its steps.

    Raises:
        ValueError: the environment has no step limit.
    """
    steps = env.max_episode_steps
    if steps is None:
        raise ValueError("the environment has no step limit; give max_episode_steps")
    warmup = int(steps * env.system.warmup_fraction)
    observation, _ = env.reset(seed=seeds)
    state: Any = None
    start = np.ones(env.num_envs, dtype=np.bool_)
    alive = start.copy()
    averaged = [metric.name for metric in env.system.metrics if metric.over_episode == OverEpisode.MEAN]
    counted, returns, rewards = np.zeros((3, env.num_envs))
    sums = {
        metric.name: np.full(env.num_envs, -np.inf if metric.over_episode == OverEpisode.MAX else 0.0)
        for metric in env.system.metrics
    }
    for step in range(steps):
        actions, state = policy.predict(observation, state, start, deterministic=deterministic)
        observation, reward, terminated, truncated, info = env.step(actions)
        start = terminated | truncated
        if step == warmup:
            for part in (counted, rewards, *(sums[name] for name in averaged)):
                part[alive] = 0.0
        counted += alive
        returns += np.where(alive, reward, 0.0)
        rewards += np.where(alive, reward, 0.0)
        for metric in env.system.metrics:
            value, so_far = step_values(info, metric.name, start), sums[metric.name]
            if metric.over_episode == OverEpisode.LAST:
                sums[metric.name] = np.where(alive, value, so_far)
            elif metric.over_episode == OverEpisode.MAX:
                sums[metric.name] = np.where(alive, np.maximum(so_far, value), so_far)
            else:
                sums[metric.name] = so_far + np.where(alive, value, 0.0)
        alive &= ~start
        if not alive.any():
            break
    for name in averaged:
        sums[name] /= counted
    result = {"return": returns, "reward": rewards / counted, **sums}
    for name in env.system.logged:
        result[LOG + name] = np.log(np.maximum(sums[name], SMALLEST))
    if has_task_counts(env.system):
        result[RATIO] = sums["tasks_finished"] / np.maximum(sums["tasks_arrived"], 1e-12)
    return result


def score_names(system: System[Any]) -> list[str]:
    """Names of the metrics that `play` returns."""
    names = [metric.name for metric in system.metrics]
    logs = [LOG + name for name in system.logged]
    return ["return", "reward", *names, *logs, *([RATIO] if has_task_counts(system) else [])]


def has_task_counts(system: System[Any]) -> bool:
    """Return True if the system counts the tasks that arrive and those that finish."""
    return {"tasks_arrived", "tasks_finished"} <= {metric.name for metric in system.metrics}


def score(
    factory: PolicyFactory, env_id: str, preset: str, options: Mapping[str, Any], *, seeds: int, episodes: int
) -> Scores:
    """Evaluate one policy on `seeds` evaluation seeds of `episodes` episodes each; the same for every policy."""
    env = make_worlds(env_id, seeds * episodes, preset, options)
    world_seeds = [word for seed in range(seeds) for word in stream_seeds(EVALUATION_STREAM, seed, episodes)]
    rows = play(env, factory(env), world_seeds)
    env.close()
    return Scores({name: values.reshape(1, seeds, episodes) for name, values in rows.items()})
