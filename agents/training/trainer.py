"""Training of a run's agent by imitation, by Stable-Baselines3, or by both."""

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
from agents.runs.folder import BEST, CHECKPOINTS, EVALUATION, LAST, Run, RunConfig, RunError
from agents.runs.provenance import versions
from agents.runs.tensorboard import WorldStepWriter, cut_events
from agents.training.callback import Progress
from agents.training.checkpointing import NetworkState, Part, RandomState, Saver, Stage, values_of
from agents.training.dagger import Demonstrations, imitate
from agents.training.member_ppo import MemberPPO
from agents.training.record import Record
from agents.training.vec_env import WorldVecEnv
from agents.worlds import IMITATION_STREAM, TRAINING_STREAM, make_worlds, stream_seeds, system_of
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.policy import RandomPolicy

ALGORITHMS: dict[AgentName, type[BaseAlgorithm]] = {"ppo": PPO, "member-ppo": MemberPPO, "ddpg": DDPG, "td3": TD3}
"""Algorithms from Stable-Baselines3; dagger learns without one."""
CHECKPOINT_EVERY_S = 30.0


@dataclass(slots=True)
class Trained:
    """The result of a training."""

    steps: int
    seconds: float
    env_seconds: float
    best_reward: float
    interrupted: bool
    episodes: int
    """Training episodes that ended."""
    learned: bool
    """True if the best network has been updated at least once; an untrained one may have the best validation."""
    signal: int = 0
    """Number of the signal that requested a stop, 0 for none; a training in its last update finishes nevertheless."""


def _schedule(settings: Settings, steps_between: int) -> float | Callable[[float], float]:
    """Learning rate during the training, with an update after every `steps_between` steps of each world."""
    rate = settings.learning_rate
    if not settings.anneal:
        return rate
    # Stable-Baselines3 evaluates the schedule after an update's rollout. Use the rate at the rollout's start, so that
    # the rate of the last update is not zero.
    rollout = steps_between * settings.num_envs / settings.steps
    return lambda remaining: rate * min(1.0, max(0.0, remaining + rollout))


def build_model(run: Run, worlds: WorldVecEnv) -> BaseAlgorithm:
    """The algorithm from Stable-Baselines3 with the run's settings and seed."""
    config, settings = run.config, run.config.settings
    plan = blueprint(config.agent, config.policy, settings, worlds.system)
    common: dict[str, Any] = {
        "learning_rate": _schedule(settings, 1 if config.agent in OFF_POLICY else settings.n_steps),
        "gamma": settings.gamma,
        "policy_kwargs": plan.arguments,
        "seed": config.seed,
        "device": "cpu",
    }
    if config.agent in OFF_POLICY:
        noise = np.full(worlds.action_space.shape or (1,), settings.action_noise)
        starts = settings.batch_size if settings.learning_starts is None else settings.learning_starts
        common |= {
            "batch_size": settings.batch_size, "buffer_size": settings.buffer_size, "tau": settings.tau,
            "gradient_steps": settings.gradient_steps, "train_freq": (1, "step"), "learning_starts": starts,
            "action_noise": NormalActionNoise(np.zeros_like(noise), noise),
        }  # fmt: skip
    else:
        common |= settings.model_dump(include={"n_steps", "n_epochs", "gae_lambda", "ent_coef", "clip_range"})
        common["batch_size"] = min(settings.batch_size, settings.n_steps * worlds.num_envs)
    if config.agent == "member-ppo":
        common["credit"] = settings.credit
    model: BaseAlgorithm = ALGORITHMS[config.agent](plan.policy, worlds, **common)
    return model


def warm_up(env: EdgeVectorEnv) -> None:
    """Step once, so that the kernels are compiled."""
    observation, _ = env.reset(seed=0)
    env.step(RandomPolicy(env.system.action_space, 0).predict(observation)[0])


def build_learner(run: Run, options: dict[str, Any]) -> tuple[Any, BaseAlgorithm | None, WorldVecEnv | None]:
    """The network to train, and the algorithm from Stable-Baselines3 with its worlds, which dagger does not have.

    Args:
        run: the run folder.
        options: of the training worlds.
    """
    config, settings = run.config, run.config.settings
    if config.agent not in ALGORITHMS:
        system = system_of(config.env_id, config.preset, options)
        set_random_seed(config.seed)
        return build_network(config.agent, config.policy, settings, system), None, None
    worlds = WorldVecEnv(
        make_worlds(config.env_id, settings.num_envs, config.preset, options), shared=config.policy == "shared",
        continuous=config.agent in OFF_POLICY, reward_scale=settings.reward_scale,
    )  # fmt: skip
    model = build_model(run, worlds)
    # Stable-Baselines3 has seeded the worlds with the run's seed; replace that by the training stream's seeds.
    worlds.seed_worlds(stream_seeds(TRAINING_STREAM, config.seed, settings.num_envs))
    return model.policy, model, worlds


def total_steps(config: RunConfig) -> int:
    """Steps that a training takes at least, summed over all worlds and stages."""
    return config.settings.demonstration_steps + (config.settings.steps if config.agent in ALGORITHMS else 0)


def train(
    run: Run,
    *,
    resume: bool = False,
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
    quiet: bool = False,
    notify: Callable[[str], None] = print,
) -> Trained:
    """Train the run's agent and save its networks.

    In the main thread, the first SIGINT (Ctrl-C) or SIGTERM saves a checkpoint before the next rollout, or after the
    current round of imitation, and stops the training. A second signal ends the process at once.

    The settings' `training_options` apply to the training worlds, except for parameters that the run's options set.

    Args:
        run: the run folder.
        resume: continue from the newest complete checkpoint, or start again if there is none. Either way the final
            weights equal those of a training that was never stopped.
        checkpoint_every_s: least time between two checkpoints [s]; 0 for one before every rollout.
        quiet: show no progress bar.
        notify: receives messages about resuming and about checkpoints that cannot be used.

    Raises:
        TypeError: the agent cannot control the environment's actions.
        ValueError: the agent and the policy do not go together, or the expert does not exist.
        RunError: the folder is in use, or its training cannot be resumed.
        Stopped: a signal came before the training began; nothing has changed.
    """
    with run.locked():
        if resume and run.finished:
            raise RunError(f"{run.path} was finished by another process; there is nothing to train")
        files = Checkpoints(run.path / CHECKPOINTS)
        checkpoint = files.newest(notify) if resume else None
        if resume and checkpoint is None:
            check_replaceable(run)
        return Training(run, files, checkpoint, checkpoint_every_s, quiet).run_to_end(notify if resume else None)


def is_finished(run: Run) -> bool:
    """Return True if the training is finished; temporary files that it left are removed then.

    Raises:
        RunError: another process trains in the folder.
    """
    with run.locked():
        if run.finished:
            Checkpoints(run.path / CHECKPOINTS).clear()
            run.tidy()
        return run.finished


def check_replaceable(run: Run) -> None:
    """Raise RunError if a training without a complete checkpoint must not start again.

    It may if there are no validations yet, or if this program would reproduce them.
    """
    if not (run.path / EVALUATION).exists():
        return
    try:
        done = curve_of(run)["steps"][-1]
        complete = done >= total_steps(run.config)
        why = "its validations reach the end of the training" if complete else "; ".join(run.check_resumable()[:1])
    except ValueError as error:
        why = str(error)
    if why:
        raise RunError(
            f"{run.path} has no complete checkpoint, and starting again could replace its networks and curves by "
            f"different ones ({why}); evaluate the run as it is, or start a new run"
        )


class Training:
    """A training in a locked run folder, from its start or from a checkpoint.

    Args:
        run: the run folder.
        files: its checkpoint files.
        checkpoint: the one to continue from, if any.
        every_s: least time between two checkpoints [s].
        quiet: show no progress bar.
    """

    def __init__(
        self, run: Run, files: Checkpoints, checkpoint: Checkpoint | None, every_s: float, quiet: bool
    ) -> None:
        config, settings = run.config, run.config.settings
        self.run, self._files, self._checkpoint = run, files, checkpoint
        self._values = None if checkpoint is None else values_of(checkpoint, run)
        self._options = {**settings.training_options, **config.options}
        self._network, model, self._worlds = build_learner(run, self._options)
        system = system_of(config.env_id, config.preset, config.options)
        self._validation = make_worlds(config.env_id, system.evaluation_episodes, config.preset, config.options)
        rows_per_world = 1 if self._worlds is None else self._worlds.rows_per_world
        self._writer = WorldStepWriter(str(run.path), rows_per_world, settings.demonstration_steps)
        self._record = Record(run, self._writer, self._validation, total_steps(config), quiet)
        self._demonstrations = Demonstrations(settings, system, np.random.default_rng([IMITATION_STREAM, config.seed]))
        self._progress: Progress | None = None
        self._saver = Saver(files, run, every_s)
        network, generators = NetworkState(self._network), RandomState()
        parts: dict[Stage, list[Part]] = {"imitation": [network, self._demonstrations, self._record, generators]}
        if model is not None and self._worlds is not None:
            model.set_logger(Logger(str(run.path), [self._writer]))
            self._progress = Progress(model, self._record, self._saver.before_rollout)
            parts["learning"] = [network, self._worlds, self._progress, self._record, generators]
        self._saver.parts = parts

    def run_to_end(self, notify: Callable[[str], None] | None) -> Trained:
        """Train until the end or a signal; `notify` receives messages about resuming, None for a new training.

        Raises:
            Stopped: the signal came while kernels were compiled; nothing has changed.
        """
        warm_up(self._validation)
        with self._saver.stop.listening():
            trained = self._run(notify)
            if not trained.interrupted:
                self.run.finish(asdict(trained))
                self._files.clear()
        return replace(trained, signal=self._saver.stop.number)

    def _run(self, notify: Callable[[str], None] | None) -> Trained:
        record, values, settings = self._record, self._values, self.run.config.settings
        if self._checkpoint is not None and values is not None:
            self._saver.restore(self._checkpoint, values)
        # The checkpoint has been accepted, so the folder may change from here on.
        if notify is not None:
            self._prepare_folder(notify)
        self._writer.open()
        interrupted = False
        try:
            if values is None:
                describe(self._writer, self.run, self._validation)
            else:
                record.rewrite()
            record.start_clock()
            if settings.imitation_rounds and (values is None or values.stage == "imitation"):
                self._imitate()
            if self._progress is not None:
                self._progress.learn()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            trained = self._save_and_close(interrupted)
        return trained

    def _imitate(self) -> None:
        """Run the rounds of imitation that are left."""
        config, saver = self.run.config, self._saver
        worlds = make_worlds(config.env_id, config.settings.imitation_worlds, config.preset, self._options)
        imitate(
            self._network, worlds, self._record, self._demonstrations, check_stop=saver.stop.stop_if_requested,
            after_round=saver.after_round,
        )  # fmt: skip
        worlds.close()

    def _prepare_folder(self, notify: Callable[[str], None]) -> None:
        """Bring the folder of a resumed training back to its checkpoint."""
        values = self._values
        notify(
            "no checkpoint: starting again" if values is None else f"resuming after {values.record.steps_done} steps"
        )
        self.run.tidy()
        self.run.note_resumed()
        for name in cut_events(self.run.path, {} if values is None else values.events):
            notify(f"{name} has lost curves that it had at the checkpoint")

    def _save_and_close(self, interrupted: bool) -> Trained:
        """Save the current networks, and close everything."""
        record, run, network = self._record, self.run, self._network
        seconds = record.seconds
        record.close()
        run.save_network(network, LAST)
        if not (run.path / BEST).exists():
            run.save_network(network, BEST)
        if self._worlds is not None:
            self._worlds.close()
        with suppress(OSError):
            shares = {"env_share": record.env_seconds / seconds, "seconds": seconds}
            self._writer.scalars("time", shares, record.steps_done)
        self._writer.close()
        return Trained(
            record.steps_done, seconds, record.env_seconds, float(record.best_reward), interrupted, record.episodes,
            record.learned,
        )  # fmt: skip


def describe(writer: WorldStepWriter, run: Run, worlds: EdgeVectorEnv) -> None:
    """Write hyper-parameters and the whole configuration to TensorBoard."""
    config = run.config.model_dump(mode="json", exclude={"settings"})
    settings = run.config.settings.model_dump(mode="json")
    both = {**config, **settings}
    plain = {name: value for name, value in both.items() if isinstance(value, (bool, int, float, str))}
    # The configuration of a user's own system may be of any type.
    environment: dict[str, Any] = getattr(worlds.system.config, "model_dump", dict)()
    writer.describe(plain, {"run": config, "settings": settings, "environment": environment, "versions": versions()})
