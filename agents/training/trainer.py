"""Training: one function from a run folder to saved networks, by Stable-Baselines3, by imitation, or by both."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from stable_baselines3 import DDPG, PPO, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.utils import set_random_seed

from agents.hyperparameters.settings import OFF_POLICY, AgentName, Settings
from agents.networks.build import blueprint, build_network
from agents.runs.checkpoint_files import Checkpoint, Checkpoints
from agents.runs.curves import curve_of
from agents.runs.folder import BEST, CHECKPOINTS, EVALUATION, LAST, Run, RunError
from agents.runs.provenance import versions
from agents.runs.tensorboard import WorldStepWriter, cut_events
from agents.training.callback import Progress
from agents.training.checkpointing import Saver, values_of
from agents.training.dagger import imitate
from agents.training.demonstrations import Lessons
from agents.training.member_ppo import MemberPPO
from agents.training.record import Record
from agents.training.training_state import Values
from agents.training.vec_env import MemberVecEnv, WorldVecEnv
from agents.worlds import TRAINING_STREAM, make_worlds, stream_seeds, system_of
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
    signal: int = 0
    """The signal that asked it to stop, 0 for none; one that was in its last update came to its end nevertheless."""


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
        self.steps = settings.demonstration_steps
        """Steps of a world that the training will take."""
        if config.agent not in ALGORITHMS:
            system = system_of(config.env_id, config.preset, options)
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
    """Train the run's agent and save its networks.

    In the main thread, the first SIGINT (Ctrl-C) or SIGTERM stops it before the next rollout, or after this round of
    imitation, with a checkpoint; a second one ends the process at once.

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
        Stopped: a signal came before the training began; nothing has changed.
    """
    with run.locked():
        if resume and run.finished:
            raise RunError(f"{run.path} has come to its end meanwhile; there is nothing to train")
        kept = Checkpoints(run.path / CHECKPOINTS)
        checkpoint = kept.newest(tell) if resume else None
        if resume and checkpoint is None:
            check_replaceable(run)
        return Training(run, kept, checkpoint, checkpoint_every_s, quiet).go(tell if resume else None)


def left_over(run: Run) -> bool:
    """Whether a training came to its end; what it left on its way goes.

    Raises:
        RunError: another process trains in the folder.
    """
    with run.locked():
        if run.finished:
            Checkpoints(run.path / CHECKPOINTS).clear()
            run.tidy()
        return run.finished


def check_replaceable(run: Run) -> None:
    """Whether a training without a whole checkpoint can begin again: what is there must come out the same.

    Raises:
        RunError: validations that other versions made, or that go to the training's end.
    """
    if not (run.path / EVALUATION).exists():
        return
    settings = run.config.settings
    whole = settings.demonstration_steps + (settings.steps if run.config.agent in ALGORITHMS else 0)
    try:
        done = curve_of(run)["steps"][-1]
        why = "its validations go to the end" if done >= whole else "; ".join(run.check_resumable()[:1])
    except ValueError as error:
        why = str(error)
    if why:
        raise RunError(
            f"{run.path} has no whole checkpoint, and beginning again could replace its networks and curves by others "
            f"({why}); evaluate it as it is, or start a new run"
        )


class Training:
    """A training in a locked run folder, from its beginning or from a checkpoint.

    Args:
        run: the run folder.
        kept: its checkpoints.
        checkpoint: the one to go on from, if any.
        every_s: least time between two checkpoints [s].
        quiet: show no progress bar.
    """

    def __init__(self, run: Run, kept: Checkpoints, checkpoint: Checkpoint | None, every_s: float, quiet: bool) -> None:
        config, settings = run.config, run.config.settings
        self.run, self._kept, self._checkpoint = run, kept, checkpoint
        self._values = None if checkpoint is None else values_of(checkpoint, run)
        self._stages = stages = Stages(run, {**settings.training_options, **config.options})
        episodes = system_of(config.env_id, config.preset, config.options).evaluation_episodes
        self._validation = make_worlds(config.env_id, episodes, config.preset, config.options)
        self._writer = WorldStepWriter(str(run.path), stages.rows_per_world, settings.demonstration_steps)
        if stages.model is not None:
            stages.model.set_logger(Logger(str(run.path), [self._writer]))
        self._record = Record(run, self._writer, self._validation, stages.steps, quiet)
        self._progress = None if stages.model is None else Progress(self._record)
        self._saver = Saver(kept, self._record, stages.network, stages.model, stages.worlds, every_s)
        self._record.saver = self._saver

    def go(self, tell: Callable[[str], None] | None) -> Trained:
        """Train to the end, or until a signal; `tell` takes what is to be said of going on, where a training does.

        Raises:
            Stopped: the signal came while kernels were compiled, before anything changed.
        """
        warm_up(self._validation)
        with self._saver.stop.heard():
            trained = self._go(tell)
            if not trained.interrupted:
                self.run.finish(asdict(trained))
                self._kept.clear()
        return replace(trained, signal=self._saver.stop.number)

    def _go(self, tell: Callable[[str], None] | None) -> Trained:
        record, values, lessons = self._record, self._values, None
        if self._checkpoint is not None and values is not None:
            lessons = self._saver.restore(self._checkpoint, values, self._progress)
        # What was saved has been accepted, so from here on the folder may change.
        if tell is not None:
            self._go_on(tell)
        self._writer.open()
        interrupted = False
        try:
            if values is None:
                describe(self._writer, self.run, self._validation)
            else:
                record.rewrite()
            record.start_clock()
            self._stages.go(record, self._progress, values, lessons)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            trained = self._leave(interrupted)
        return trained

    def _go_on(self, tell: Callable[[str], None]) -> None:
        values = self._values
        tell("no checkpoint: beginning again" if values is None else f"going on after {values.record.steps_done} steps")
        self.run.tidy()
        self.run.note_resumed()
        for name in cut_events(self.run.path, {} if values is None else values.events):
            tell(f"{name} has lost curves that were there at the checkpoint")

    def _leave(self, interrupted: bool) -> Trained:
        """Save the networks as they are, and close everything."""
        record, run, network = self._record, self.run, self._stages.network
        seconds = record.seconds
        record.close()
        run.save_network(network, LAST)
        if not (run.path / BEST).exists():
            run.save_network(network, BEST)
        env_seconds = record.env_seconds + self._stages.close()
        with suppress(OSError):
            shares = {"env_share": env_seconds / seconds, "seconds": seconds}
            self._writer.scalars("time", shares, record.steps_done)
        self._writer.close()
        best = float(record.best_reward)
        return Trained(record.steps_done, seconds, env_seconds, best, interrupted, record.episodes, record.learned)


def describe(writer: WorldStepWriter, run: Run, worlds: EdgeVectorEnv) -> None:
    """Tell TensorBoard what the run is: hyper-parameters, and its whole configuration as tables."""
    config = run.config.model_dump(mode="json", exclude={"settings"})
    settings = run.config.settings.model_dump(mode="json")
    both = {**config, **settings}
    plain = {name: value for name, value in both.items() if isinstance(value, (bool, int, float, str))}
    # Systems that are not of this package may have a configuration of any kind.
    environment: dict[str, Any] = getattr(worlds.system.config, "model_dump", dict)()
    writer.describe(plain, {"run": config, "settings": settings, "environment": environment, "versions": versions()})
