"""Training: one function from a run folder to saved networks, by Stable-Baselines3, by imitation, or by both."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3 import DDPG, PPO, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.utils import set_random_seed

from agents.imitation import imitate
from agents.member_ppo import MemberPPO
from agents.policies import blueprint, build_network
from agents.progress import Progress, Record, WorldStepWriter
from agents.runs import BEST, LAST, Run
from agents.score import TRAINING_STREAM, make_worlds, stream_seeds
from agents.settings import OFF_POLICY, AgentName, Settings
from agents.vec import MemberVecEnv, WorldVecEnv
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.policy import RandomPolicy

ALGORITHMS: dict[AgentName, type[BaseAlgorithm]] = {"ppo": PPO, "member-ppo": MemberPPO, "ddpg": DDPG, "td3": TD3}
"""What Stable-Baselines3 trains; the other agents learn without it."""


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
    plan = blueprint(config.agent, config.policy, settings, worlds.system)
    make: Any = ALGORITHMS[config.agent]
    common: dict[str, Any] = {
        "learning_rate": _schedule(settings, 1 if config.agent in OFF_POLICY else settings.n_steps),
        "gamma": settings.gamma,
        "policy_kwargs": plan.arguments,
        "seed": config.seed,
        "device": "cpu",
    }
    model: BaseAlgorithm
    if config.agent in OFF_POLICY:
        noise = np.full(worlds.action_space.shape or (1,), settings.action_noise)
        starts = settings.batch_size if settings.learning_starts is None else settings.learning_starts
        model = make(
            plan.policy, worlds, batch_size=settings.batch_size, buffer_size=settings.buffer_size, tau=settings.tau,
            gradient_steps=settings.gradient_steps, train_freq=(1, "step"), learning_starts=starts,
            action_noise=NormalActionNoise(np.zeros_like(noise), noise), **common,
        )  # fmt: skip
        return model
    if config.agent == "member-ppo":
        common["credit"] = settings.credit
    model = make(
        plan.policy, worlds, n_steps=settings.n_steps, n_epochs=settings.n_epochs, gae_lambda=settings.gae_lambda,
        batch_size=min(settings.batch_size, settings.n_steps * worlds.num_envs), ent_coef=settings.ent_coef,
        clip_range=settings.clip_range, **common,
    )  # fmt: skip
    return model


def warm_up(env: EdgeVectorEnv) -> None:
    """Step once, which compiles the kernels where that was never done on this machine."""
    observation, _ = env.reset(seed=0)
    env.step(RandomPolicy(env.system.action_space, 0).predict(observation)[0])


class Stages:
    """The parts of a training: imitation where the settings want it, then Stable-Baselines3's algorithm if any.

    Args:
        run: the run folder.
        options: of the training worlds.
    """

    def __init__(self, run: Run, options: dict[str, Any]) -> None:
        config, settings = run.config, run.config.settings
        self.run, self.options = run, options
        self.model: BaseAlgorithm | None = None
        self.worlds: WorldVecEnv | None = None
        self.steps = settings.shown
        """Steps of a world that the training will take."""
        if config.agent not in ALGORITHMS:
            system = make_worlds(config.env_id, 1, config.preset, options).system
            set_random_seed(config.seed)
            self.network: Any = build_network(config.agent, config.policy, settings, system)
            return
        adapter = MemberVecEnv if config.policy == "shared" else WorldVecEnv
        self.worlds = adapter(
            make_worlds(config.env_id, settings.num_envs, config.preset, options),
            continuous=config.agent in OFF_POLICY,
            reward_scale=settings.reward_scale,
        )
        self.model = build_model(run, self.worlds)
        # After Stable-Baselines3 has seeded everything with the run's seed, the worlds included.
        self.worlds.seed_worlds(stream_seeds(TRAINING_STREAM, config.seed, settings.num_envs))
        self.network = self.model.policy
        self.steps += settings.steps

    @property
    def rows_per_world(self) -> int:
        """Rows that Stable-Baselines3 counts per world."""
        return 1 if self.worlds is None else self.worlds.rows_per_world

    def go(self, record: Record) -> None:
        """Imitate, then learn."""
        config, settings = self.run.config, self.run.config.settings
        if settings.imitation_rounds:
            worlds = make_worlds(config.env_id, settings.imitation_worlds, config.preset, self.options)
            imitate(self.network, worlds, record)
            worlds.close()
        if self.model is not None and self.worlds is not None:
            progress = Progress(record)
            self.model.learn(settings.steps * self.rows_per_world, callback=progress, log_interval=1)
            progress.validate()

    def close(self) -> float:
        """Close the worlds; returns the time spent in those that Stable-Baselines3 stepped [s]."""
        if self.worlds is None:
            return 0.0
        self.worlds.close()
        return self.worlds.env_seconds


def train(run: Run, *, quiet: bool = False) -> Trained:
    """Train the run's agent and save its networks; Ctrl-C stops early with everything saved.

    The settings' `training_options` hold in training worlds, except for parameters that the run's options name.

    Raises:
        TypeError: an agent that cannot drive the environment's actions.
        ValueError: an agent and a policy that do not go together, or an expert that does not exist.
    """
    config, settings = run.config, run.config.settings
    torch.set_num_threads(1)
    stages = Stages(run, {**settings.training_options, **config.options})
    episodes = make_worlds(config.env_id, 1, config.preset, config.options).system.evaluation_episodes
    validation = make_worlds(config.env_id, episodes, config.preset, config.options)
    writer = WorldStepWriter(str(run.path), stages.rows_per_world, settings.shown)
    if stages.model is not None:
        stages.model.set_logger(Logger(str(run.path), [writer]))
    record = Record(run, writer, validation, stages.steps, quiet)
    started = time.perf_counter()
    interrupted = False
    try:
        warm_up(validation)
        started = time.perf_counter()
        stages.go(record)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        seconds = time.perf_counter() - started
        record.close()
        run.save_network(stages.network, LAST)
        if not (run.path / BEST).exists():
            run.save_network(stages.network, BEST)
        env_seconds = record.env_seconds + stages.close()
        with suppress(OSError):
            writer.scalars("time", {"env_share": env_seconds / seconds, "seconds": seconds}, record.steps_done)
        writer.close()
    return Trained(
        record.steps_done, seconds, env_seconds, float(record.best_reward), interrupted, record.episodes, record.learned
    )
