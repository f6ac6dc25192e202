"""Training: one function from a run folder to saved networks, by Stable-Baselines3, by imitation, or by both."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3 import DDPG, PPO, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.utils import set_random_seed

from agents.checkpoints import Checkpoint, Checkpoints
from agents.events import WorldStepWriter, cut_events
from agents.imitation import Lessons, imitate
from agents.member_ppo import MemberPPO
from agents.policies import blueprint, build_network
from agents.progress import Progress, Record
from agents.resume import Saver, Values, values_of
from agents.runs import BEST, CHECKPOINTS, LAST, Run, versions
from agents.score import TRAINING_STREAM, make_worlds, stream_seeds
from agents.settings import OFF_POLICY, AgentName, Settings
from agents.vec import MemberVecEnv, WorldVecEnv
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.policy import RandomPolicy

ALGORITHMS: dict[AgentName, type[BaseAlgorithm]] = {"ppo": PPO, "member-ppo": MemberPPO, "ddpg": DDPG, "td3": TD3}
"""What Stable-Baselines3 trains; the other agents learn without it."""
CHECKPOINT_EVERY_S = 30.0


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

    def go(self, record: Record, progress: Progress | None, values: Values | None, lessons: Lessons | None) -> None:
        """Imitate, then learn; with the values of a checkpoint go on from there."""
        config, settings = self.run.config, self.run.config.settings
        if settings.imitation_rounds and (values is None or values.stage == "imitation"):
            worlds = make_worlds(config.env_id, settings.imitation_worlds, config.preset, self.options)
            imitate(self.network, worlds, record, lessons)
            worlds.close()
        if self.model is not None and progress is not None:
            done = self.model.num_timesteps
            steps = settings.steps * self.rows_per_world
            self.model.learn(steps - done, callback=progress, log_interval=1, reset_num_timesteps=not done)
            progress.validate()

    def close(self) -> float:
        """Close the worlds; returns the time spent in those that Stable-Baselines3 stepped [s]."""
        if self.worlds is None:
            return 0.0
        self.worlds.close()
        return self.worlds.env_seconds


def train(
    run: Run,
    *,
    resume: bool = False,
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
    quiet: bool = False,
    tell: Callable[[str], None] = print,
) -> Trained:
    """Train the run's agent and save its networks; Ctrl-C stops early with everything saved.

    The settings' `training_options` hold in training worlds, except for parameters that the run's options name.

    Args:
        run: the run folder.
        resume: go on from its newest whole checkpoint; without one, begin again. Either ends with the same weights as a
            training that was never stopped.
        checkpoint_every_s: least time between two checkpoints [s]; 0 for one before every rollout.
        quiet: show no progress bar.
        tell: takes lines about checkpoints that cannot be used.

    Raises:
        TypeError: an agent that cannot drive the environment's actions.
        ValueError: an agent and a policy that do not go together, or an expert that does not exist.
        RunError: the folder is in use, or what is in it cannot be gone on with.
    """
    torch.set_num_threads(1)
    with run.locked():
        kept = Checkpoints(run.path / CHECKPOINTS)
        checkpoint = values = None
        if resume:
            checkpoint = kept.newest(tell)
            values = None if checkpoint is None else values_of(checkpoint, run.path)
            run.tidy()
            cut_events(run.path, {} if values is None else values.events)
            tell(f"going on after {values.record.steps_done} steps" if values else "no checkpoint: beginning again")
        return _train(run, kept, checkpoint, values, checkpoint_every_s, quiet)


def _train(
    run: Run, kept: Checkpoints, checkpoint: Checkpoint | None, values: Values | None, every_s: float, quiet: bool
) -> Trained:
    config, settings = run.config, run.config.settings
    stages = Stages(run, {**settings.training_options, **config.options})
    episodes = make_worlds(config.env_id, 1, config.preset, config.options).system.evaluation_episodes
    validation = make_worlds(config.env_id, episodes, config.preset, config.options)
    writer = WorldStepWriter(str(run.path), stages.rows_per_world, settings.shown)
    if stages.model is not None:
        stages.model.set_logger(Logger(str(run.path), [writer]))
    record = Record(run, writer, validation, stages.steps, quiet)
    progress = None if stages.model is None else Progress(record)
    record.saver = Saver(kept, record, stages.network, stages.model, stages.worlds, every_s)
    interrupted = False
    try:
        warm_up(validation)
        lessons = None
        if checkpoint is not None and values is not None:
            lessons = record.saver.restore(checkpoint, values, progress)
        else:
            describe(writer, run, validation)
        record.start_clock()
        stages.go(record, progress, values, lessons)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        seconds = record.seconds
        record.close()
        run.save_network(stages.network, LAST)
        if not (run.path / BEST).exists():
            run.save_network(stages.network, BEST)
        env_seconds = record.env_seconds + stages.close()
        with suppress(OSError):
            writer.scalars("time", {"env_share": env_seconds / seconds, "seconds": seconds}, record.steps_done)
        writer.close()
    trained = Trained(
        record.steps_done, seconds, env_seconds, float(record.best_reward), interrupted, record.episodes, record.learned
    )
    if not interrupted:
        run.finish(asdict(trained))
        kept.clear()
    return trained


def describe(writer: WorldStepWriter, run: Run, worlds: EdgeVectorEnv) -> None:
    """Tell TensorBoard what the run is: hyper-parameters, and its whole configuration as tables."""
    config = run.config.model_dump(mode="json", exclude={"settings"})
    settings = run.config.settings.model_dump(mode="json")
    both = {**config, **settings}
    plain = {name: value for name, value in both.items() if isinstance(value, (bool, int, float, str))}
    # Systems that are not of this package may have a configuration of any kind.
    environment: dict[str, Any] = getattr(worlds.system.config, "model_dump", dict)()
    writer.describe(plain, {"run": config, "settings": settings, "environment": environment, "versions": versions()})
