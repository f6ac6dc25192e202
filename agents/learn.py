"""Training with Stable-Baselines3: one function from a run folder to saved networks."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3 import DDPG, PPO, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat
from stable_baselines3.common.noise import NormalActionNoise
from tqdm import tqdm

from agents.policies import LearnedPolicy, policy_arguments
from agents.runs import BEST, EVALUATION, LAST, Run
from agents.score import TRAINING_STREAM, VALIDATION_STREAM, make_worlds, play, stream_seeds
from agents.settings import AgentName, Settings
from agents.vec import MemberVecEnv, WorldVecEnv
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.files import write_atomically
from edge_envs.core.policy import RandomPolicy

VALIDATIONS = 20
"""Validations in a training, evenly spread."""
OFF_POLICY: dict[AgentName, type[TD3]] = {"ddpg": DDPG, "td3": TD3}


class WorldStepWriter(TensorBoardOutputFormat):
    """TensorBoard events counted in steps of a world, however many rows a world has."""

    def __init__(self, folder: str, rows_per_world: int) -> None:
        super().__init__(folder)
        self.rows_per_world = rows_per_world

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Write Stable-Baselines3's own curves."""
        super().write(key_values, key_excluded, step // self.rows_per_world)

    def scalars(self, prefix: str, values: dict[str, float], step: int) -> None:
        """Write our own curves."""
        for name, value in values.items():
            self.writer.add_scalar(f"{prefix}/{name}", value, step)
        self.writer.flush()


@dataclass(slots=True)
class Trained:
    """What a training came to."""

    steps: int
    seconds: float
    env_seconds: float
    best_reward: float
    interrupted: bool
    episodes: int
    """Training episodes that came to their end."""
    learned: bool
    """Whether the best network has been updated at all; an untrained one may be the best in validation."""


class Progress(BaseCallback):
    """Progress bar, annealed entropy, episode curves, validation, and the best network so far."""

    def __init__(self, run: Run, writer: WorldStepWriter, validation: EdgeVectorEnv, steps: int, quiet: bool) -> None:
        super().__init__()
        self._run, self._writer, self._validation = run, writer, validation
        self._steps, self._next = steps, 0
        self._bar = tqdm(total=steps, unit="step", disable=quiet, dynamic_ncols=True, desc=run.config.agent)
        self._rows: list[dict[str, float]] = []
        self.best_reward = -np.inf
        self.episodes = 0
        self.learned = False

    @property
    def worlds(self) -> WorldVecEnv:
        """The environment in training."""
        assert isinstance(self.training_env, WorldVecEnv)
        return self.training_env

    @property
    def steps_done(self) -> int:
        """Steps of a world so far, all worlds together."""
        return self.num_timesteps // self._writer.rows_per_world

    def _on_step(self) -> bool:
        worlds, settings = self.worlds, self._run.config.settings
        self._bar.update(min(self.steps_done, self._steps) - self._bar.n)
        if isinstance(self.model, PPO) and settings.anneal:
            self.model.ent_coef = settings.ent_coef * max(0.0, 1.0 - self.steps_done / self._steps)
        self.episodes += len(worlds.episodes)
        if worlds.episodes:
            means = {name: float(np.mean([e[name] for e in worlds.episodes])) for name in worlds.episodes[0]}
            self._writer.scalars("training", means, self.steps_done)
            worlds.episodes.clear()
        if self._next <= self.steps_done < self._steps:  # the last validation is of the finished network
            self.validate()
            every = max(1, self._steps // VALIDATIONS)
            self._next = (self.steps_done // every + 1) * every
        return True

    def validate(self) -> None:
        """Play validation episodes with the deterministic policy; keep the network if it is the best so far."""
        config = self._run.config
        was_training = self.model.policy.training
        policy = LearnedPolicy(self.model.policy, config.agent, config.policy, self._validation.system)
        seeds = stream_seeds(VALIDATION_STREAM, config.seed, self._validation.num_envs)
        means = {name: float(rows.mean()) for name, rows in play(self._validation, policy, seeds).items()}
        self.model.policy.set_training_mode(was_training)
        self._writer.scalars("validation", means, self.steps_done)
        self._rows.append({"step": self.steps_done, **means})
        table = io.StringIO()
        out = csv.DictWriter(table, list(self._rows[0]), lineterminator="\n")
        out.writeheader()
        out.writerows(self._rows)
        write_atomically(self._run.path / EVALUATION, table.getvalue().encode())
        if means["reward"] > self.best_reward:
            self.best_reward = means["reward"]
            self.learned = self.model._n_updates > 0
            self._run.save_network(self.model.policy, BEST)
        self._bar.set_postfix(reward=f"{means['reward']:.3g}", best=f"{self.best_reward:.3g}")

    def close(self) -> None:
        """Finish the progress bar."""
        self._bar.close()


def _schedule(settings: Settings, steps_between: int) -> float | Callable[[float], float]:
    """Learning rate over the training, for updates that lie `steps_between` steps of every world apart."""
    rate = settings.learning_rate
    if not settings.anneal:
        return rate
    # Stable-Baselines3 asks after an update's rollout; the rate is that at its start, so that the last one counts too.
    rollout = steps_between * settings.num_envs / settings.steps
    return lambda remaining: rate * min(1.0, max(0.0, remaining + rollout))


def build_model(run: Run, worlds: WorldVecEnv) -> BaseAlgorithm:
    """Stable-Baselines3's algorithm with the run's settings, seeded with the run's seed."""
    config, settings = run.config, run.config.settings
    common: dict[str, Any] = {
        "learning_rate": _schedule(settings, settings.n_steps if config.agent == "ppo" else 1),
        "gamma": settings.gamma,
        "policy_kwargs": policy_arguments(config.agent, settings),
        "seed": config.seed,
        "device": "cpu",
    }
    if config.agent in OFF_POLICY:
        noise = np.full(worlds.action_space.shape or (1,), settings.action_noise)
        starts = settings.batch_size if settings.learning_starts is None else settings.learning_starts
        return OFF_POLICY[config.agent](
            "MlpPolicy", worlds, batch_size=settings.batch_size, buffer_size=settings.buffer_size, tau=settings.tau,
            gradient_steps=settings.gradient_steps, train_freq=(1, "step"), learning_starts=starts,
            action_noise=NormalActionNoise(np.zeros_like(noise), noise), **common,
        )  # fmt: skip
    return PPO(
        "MlpPolicy", worlds, n_steps=settings.n_steps, n_epochs=settings.n_epochs, gae_lambda=settings.gae_lambda,
        batch_size=min(settings.batch_size, settings.n_steps * worlds.num_envs), ent_coef=settings.ent_coef,
        clip_range=settings.clip_range, **common,
    )  # fmt: skip


def warm_up(env: EdgeVectorEnv) -> None:
    """Step once, which compiles the kernels where that was never done on this machine."""
    observation, _ = env.reset(seed=0)
    env.step(RandomPolicy(env.system.action_space, 0).predict(observation)[0])


def train(run: Run, *, quiet: bool = False) -> Trained:
    """Train the run's agent and save its networks; Ctrl-C stops early with everything saved.

    The settings' `training_options` hold in training worlds, except for parameters that the run's options name.

    Raises:
        TypeError: an agent that cannot drive the environment's actions.
    """
    config, settings = run.config, run.config.settings
    torch.set_num_threads(1)
    options = {**settings.training_options, **config.options}
    adapter = MemberVecEnv if config.policy == "shared" else WorldVecEnv
    worlds = adapter(
        make_worlds(config.env_id, settings.num_envs, config.preset, options),
        continuous=config.agent in OFF_POLICY,
        reward_scale=settings.reward_scale,
    )
    validation = make_worlds(config.env_id, worlds.system.evaluation_episodes, config.preset, config.options)
    writer = WorldStepWriter(str(run.path), worlds.rows_per_world)
    model = build_model(run, worlds)
    # After Stable-Baselines3 has seeded everything with the run's seed, the worlds included.
    worlds.seed_worlds(stream_seeds(TRAINING_STREAM, config.seed, settings.num_envs))
    model.set_logger(Logger(str(run.path), [writer]))
    progress = Progress(run, writer, validation, settings.steps, quiet)
    started = time.perf_counter()
    interrupted = False
    try:
        warm_up(validation)
        started = time.perf_counter()
        model.learn(settings.steps * worlds.rows_per_world, callback=progress, log_interval=1)
        progress.validate()
    except KeyboardInterrupt:
        interrupted = True
    finally:
        seconds = time.perf_counter() - started
        progress.close()
        run.save_network(model.policy, LAST)
        if not (run.path / BEST).exists():
            run.save_network(model.policy, BEST)
        with suppress(OSError):
            writer.scalars("time", {"env_share": worlds.env_seconds / seconds, "seconds": seconds}, progress.steps_done)
        writer.close()
        worlds.close()
    return Trained(
        progress.steps_done, seconds, worlds.env_seconds, float(progress.best_reward), interrupted, progress.episodes,
        progress.learned,
    )  # fmt: skip
