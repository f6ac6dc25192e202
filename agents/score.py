"""Episodes to scores: the same seeds for every policy; and bootstrap intervals of means of independent values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

import edge_envs
from edge_envs.core.config import nearest
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.policy import Policy
from edge_envs.core.system import System

EVALUATION_STREAM, VALIDATION_STREAM, TRAINING_STREAM, IMITATION_STREAM = 1, 2, 3, 4
CONFIDENCE, RESAMPLES = 0.95, 2000
ABSENT = "n/a"
"""In tables, what does not exist or is not defined: NaN."""
UNIT_DRAWS = 1
"""Stream of the resamples of what all policies have in common: episodes, seeds, draws."""
LOG, SMALLEST = "log_", 1e-12
"""What the name of a metric's logarithm begins with, and what it takes in place of anything smaller."""
RATIO = "finished_over_arrived"
NOT_OPTIONS = {
    "autoreset_mode", "check", "id", "num_envs", "preset", "render_mode", "self", "system", "vector_kwargs",
    "vectorization_mode", "wrappers",
}  # fmt: skip
"""Arguments of `gym.make_vec` and of the shells that no option of an environment may reach."""

PolicyFactory = Callable[[EdgeVectorEnv], Policy]
Table = Mapping[str, NDArray[np.float64]]
"""Metric name -> one value per evaluation seed, the mean over its episodes."""


@dataclass(frozen=True, eq=False)
class Scores(Table):
    """What a policy scored: as a mapping one mean per evaluation seed, and behind it every episode.

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
        """Scores of several training runs as those of one policy."""
        return cls({name: np.concatenate([run.episodes[name] for run in runs]) for name in runs[0]})


def known_ids() -> list[str]:
    """Ids that this package registers."""
    return [name for name, spec in gym.registry.items() if str(spec.entry_point).startswith(edge_envs.__name__)]


def make_worlds(env_id: str, num_envs: int, preset: str, options: Mapping[str, Any]) -> EdgeVectorEnv:
    """A vector environment with autoreset in the same step.

    Raises:
        ValueError: unknown id, preset or parameter, or an impossible value.
    """
    if env_id not in known_ids():
        raise ValueError(f"env={env_id!r} does not exist; {nearest(env_id, known_ids())}")
    for key in sorted(NOT_OPTIONS & options.keys()):
        raise ValueError(f"{key}={options[key]!r} is not a parameter of the environment; it is set in another way")
    steps = options.get("max_episode_steps", 1)
    if type(steps) is not int or steps < 1:
        raise ValueError(f"max_episode_steps={steps!r} must be a whole number of at least 1")
    env = gym.make_vec(env_id, num_envs, preset=preset, autoreset_mode=AutoresetMode.SAME_STEP, **options)
    assert isinstance(env, EdgeVectorEnv)
    return env


def system_of(env_id: str, preset: str, options: Mapping[str, Any]) -> System[Any]:
    """The system behind an environment's configuration.

    Raises:
        ValueError: unknown id, preset or parameter, or an impossible value.
    """
    return make_worlds(env_id, 1, preset, options).system


def stream_seeds(stream: int, seed: int, count: int) -> list[int]:
    """Seeds of `count` worlds: the streams (training, imitation, validation, evaluation) never meet."""
    return [int(word) for word in np.random.SeedSequence([stream, seed]).generate_state(count, np.uint64)]


def of_step(info: Mapping[str, Any], name: str, done: NDArray[np.bool_]) -> NDArray[Any]:
    """An entry of a SAME_STEP `info` for all rows, also for those that finished in the step."""
    if not done.any():
        entry = info[name]
    elif done.all():
        entry = info["final_info"][name]
    else:
        final, going_on = info["final_info"][name], info[name]
        entry = np.where(done.reshape(-1, *[1] * (final.ndim - 1)), final, going_on)
    return np.asarray(entry)


def play(env: EdgeVectorEnv, policy: Policy, seeds: list[int], *, deterministic: bool = True) -> Table:
    """One episode in every row, seeded one by one; returns metric -> one value per row.

    The warm-up is the part of an episode that the system calls `settling`. Every metric of the system is averaged over
    the steps after it (quantities that count from the reset are taken at the end, certificates at their largest);
    logarithms of those that the system calls `logged` are of an episode's value, so differences are mean log ratios;
    `return` is the sum of all rewards, `reward` their mean after the warm-up, and `finished_over_arrived` compares the
    tasks after the warm-up where the system counts tasks. An episode that terminates within the warm-up is averaged
    over all its steps.
    """
    steps = env.max_episode_steps
    if steps is None:
        raise ValueError("the environment has no step limit; give max_episode_steps")
    warmup = int(steps * env.system.settling)
    observation, _ = env.reset(seed=seeds)
    state: Any = None
    start = np.ones(env.num_envs, dtype=np.bool_)
    alive = start.copy()
    averaged = [metric.name for metric in env.system.metrics if metric.over_episode == "mean"]
    counted, total, settled = np.zeros((3, env.num_envs))
    sums = {
        metric.name: np.full(env.num_envs, -np.inf if metric.over_episode == "max" else 0.0)
        for metric in env.system.metrics
    }
    for step in range(steps):
        actions, state = policy.predict(observation, state, start, deterministic=deterministic)
        observation, reward, terminated, truncated, info = env.step(actions)
        start = terminated | truncated
        if step == warmup:
            for part in (counted, settled, *(sums[name] for name in averaged)):
                part[alive] = 0.0
        counted += alive
        total += np.where(alive, reward, 0.0)
        settled += np.where(alive, reward, 0.0)
        for metric in env.system.metrics:
            value, so_far = of_step(info, metric.name, start), sums[metric.name]
            if metric.over_episode == "last":
                sums[metric.name] = np.where(alive, value, so_far)
            elif metric.over_episode == "max":
                sums[metric.name] = np.where(alive, np.maximum(so_far, value), so_far)
            else:
                sums[metric.name] = so_far + np.where(alive, value, 0.0)
        alive &= ~start
        if not alive.any():
            break
    for name in averaged:
        sums[name] /= counted
    result = {"return": total, "reward": settled / counted, **sums}
    for name in env.system.logged:
        result[LOG + name] = np.log(np.maximum(sums[name], SMALLEST))
    if counts_tasks(env.system):
        result[RATIO] = sums["tasks_finished"] / np.maximum(sums["tasks_arrived"], 1e-12)
    return result


def score_names(system: System[Any]) -> list[str]:
    """Names of what `play` measures."""
    names = [metric.name for metric in system.metrics]
    logs = [LOG + name for name in system.logged]
    return ["return", "reward", *names, *logs, *([RATIO] if counts_tasks(system) else [])]


def counts_tasks(system: System[Any]) -> bool:
    """Whether the system counts the tasks that arrive and those that finish."""
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


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % confidence interval."""

    mean: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2.0


@lru_cache(maxsize=4)
def draws(stream: int, count: int, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Indices below `count`, the same for every call with the same arguments; not to be written to."""
    indices = np.random.default_rng([stream, count]).integers(count, size=shape, dtype=np.int32)
    indices.flags.writeable = False
    return indices


def around(value: float, resampled: NDArray[np.float64], shown: bool = True) -> Interval:
    """An estimate with the percentile interval of its resamples (n,); an infinite one where none is shown.

    Where a resample is not finite the interval is NaN.
    """
    if not shown:
        return Interval(value, -np.inf, np.inf)
    if not np.isfinite(resampled).all():
        return Interval(value, np.nan, np.nan)
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(resampled, (tail, 1.0 - tail))
    return Interval(value, float(low), float(high))


def interval(values: Sequence[float] | NDArray[np.float64]) -> Interval:
    """Percentile bootstrap interval of the mean of independent values; one value gives an infinite one."""
    values = np.asarray(values, dtype=np.float64)
    count = len(values)
    resampled = values[draws(UNIT_DRAWS, count, (RESAMPLES, count))].mean(axis=1)
    return around(float(values.mean()), resampled, count > 1)


def paired_difference(values: NDArray[np.float64], reference: NDArray[np.float64]) -> Interval:
    """Interval of the difference to another policy on the same seeds."""
    return interval(values - reference)


def plus_minus(units: str, trainings: bool = False) -> str:
    """What ± is, in one sentence; the same on every page and in every row.

    Args:
        units: what was drawn independently, with its number: "80 episodes".
        trainings: some rows are means over several trainings.
    """
    together = ", together with the trainings of a row that has several" if trainings else ""
    return (
        f"± is half the width of the {100 * CONFIDENCE:g} % percentile bootstrap interval of the mean: {RESAMPLES:,} "
        f"resamples of the {units}{together}"
    )
