"""Exact resume: all that a training goes on from, kept between two updates and put back later."""

from __future__ import annotations

import math
import time
from typing import Literal

from pydantic import ValidationError
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy

from agents.evaluation.episodes import score_names
from agents.networks.build import check_size, load_network, network_arrays
from agents.runs.checkpoint_files import Checkpoint, Checkpoints
from agents.runs.folder import Run, RunError
from agents.runs.tensorboard import event_sizes
from agents.training.callback import Progress
from agents.training.demonstrations import Lessons
from agents.training.record import Record
from agents.training.stopping import StopRequest
from agents.training.training_state import (
    LearnerValues,
    RecordValues,
    Values,
    generator_arrays,
    learner_arrays,
    load_learner,
    load_optimizer,
    optimizer_arrays,
    optimizers_of,
    part_of,
    set_generators,
    with_prefix,
)
from agents.training.vec_env import WorldVecEnv
from edge_envs.core.config import first_complaint
from edge_envs.core.runtime.snapshot import Arrays, check_alike, check_values


class Saver:
    """Writes checkpoints of a training as it goes, and puts the newest one back.

    Args:
        kept: the checkpoint files.
        record: of the training.
        network: that learns.
        model: Stable-Baselines3's algorithm, if any.
        worlds: that it steps.
        every_s: least time between two checkpoints [s]; 0 for one before every rollout.
    """

    def __init__(
        self,
        kept: Checkpoints,
        record: Record,
        network: BasePolicy,
        model: BaseAlgorithm | None,
        worlds: WorldVecEnv | None,
        every_s: float,
    ) -> None:
        self._kept, self._record, self._network = kept, record, network
        self._model, self._worlds, self._every_s = model, worlds, every_s
        self._last = time.monotonic()
        self.stop = StopRequest()
        """Obeyed where everything is kept."""

    def imitated(self, lessons: Lessons) -> None:
        """Keep a round of imitation; leave then, if that was asked for and there is more to come.

        Raises:
            Stopped: it was.
        """
        self._save("imitation", with_prefix(lessons.arrays(), "shown"), None, len(lessons.shown))
        if self._model is not None or len(lessons.shown) < self._record.run.config.settings.imitation_rounds:
            self.stop.obey()

    def before_rollout(self, progress: Progress) -> None:
        """Keep the state between two updates, unless the last time is not long ago; leave then, if that was asked for.

        Raises:
            Stopped: it was.
        """
        due = self.stop.number or time.monotonic() - self._last >= self._every_s
        if due and progress.num_timesteps:
            self._learned(progress)
        self.stop.obey()

    def _learned(self, progress: Progress) -> None:
        model, worlds = self._model, self._worlds
        assert model is not None
        assert worlds is not None
        assert model.ep_info_buffer is not None
        buffer = model.replay_buffer if isinstance(model, OffPolicyAlgorithm) else None
        values = LearnerValues(
            num_timesteps=model.num_timesteps,
            n_updates=model._n_updates,
            episode_num=model._episode_num,
            next_validation=progress.next_validation,
            episode_returns=[episode["r"] for episode in model.ep_info_buffer],
            episode_lengths=[episode["l"] for episode in model.ep_info_buffer],
            logged={name: float(value) for name, value in model.logger.name_to_value.items()},
            not_in_curves=[name for name, kinds in model.logger.name_to_excluded.items() if "tensorboard" in kinds],
            buffer_position=None if buffer is None else buffer.pos,
            buffer_full=buffer is not None and buffer.full,
        )
        self._save("learning", learner_arrays(model, worlds), values, 0)

    def _save(
        self, stage: Literal["imitation", "learning"], arrays: Arrays, learner: LearnerValues | None, rounds: int
    ) -> None:
        record = self._record
        generators, told = generator_arrays()
        more = with_prefix(network_arrays(self._network), "network") | generators
        if record.best is not None:
            more |= with_prefix(record.best, "best")
        for name, optimizer in optimizers_of(self._network).items():
            more |= with_prefix(optimizer_arrays(optimizer), f"optimizer.{name}")
        env_seconds = record.env_seconds + (0.0 if self._worlds is None else self._worlds.env_seconds)
        values = Values(
            stage=stage,
            record=RecordValues(
                rows=record.rows, best_reward=float(record.best_reward), steps_done=record.steps_done,
                episodes=record.episodes, learned=record.learned, env_seconds=env_seconds, seconds=record.seconds,
            ),
            learner=learner,
            rounds=rounds,
            events=event_sizes(record.run.path),
            **told,
        )  # fmt: skip
        self._kept.save(Checkpoint({**arrays, **more}, values.model_dump()))
        self._last = time.monotonic()

    def restore(self, checkpoint: Checkpoint, values: Values, progress: Progress | None) -> Lessons | None:
        """Put everything back; returns what was shown so far where imitation goes on.

        Raises:
            RunError: a checkpoint that does not fit the run.
        """
        try:
            return self._restore(checkpoint.arrays, values, progress)
        except (ValueError, KeyError, RuntimeError, TypeError, OverflowError) as error:
            raise RunError(f"the checkpoint does not fit {self._record.run.path}: {error}; start a new run") from error

    def _restore(self, arrays: Arrays, values: Values, progress: Progress | None) -> Lessons | None:
        record, model = self._record, self._model
        load_network(self._network, part_of(arrays, "network"))
        best = part_of(arrays, "best")
        if best:
            check_alike(best, network_arrays(self._network))
            check_values(best, {})
        for name, optimizer in optimizers_of(self._network).items():
            load_optimizer(optimizer, part_of(arrays, f"optimizer.{name}"))
        lessons = None
        if values.stage == "imitation":
            lessons = Lessons.restored(
                record.run.config.settings, part_of(arrays, "shown"), values.rounds, record.validation.system
            )
        else:
            if model is None or self._worlds is None or values.learner is None or progress is None:
                raise ValueError("it is of another agent")
            if values.learner.num_timesteps >= record.run.config.settings.steps * self._worlds.rows_per_world:
                raise ValueError(f"it has {values.learner.num_timesteps} steps, as many as the run or more")
            load_learner(model, self._worlds, arrays, values.learner)
            progress.next_validation = values.learner.next_validation
            for name, value in values.learner.logged.items():
                model.logger.record(name, value, "tensorboard" if name in values.learner.not_in_curves else None)
        told = values.record
        columns = {"step", *score_names(record.validation.system)}
        if any(row.keys() != columns or not math.isfinite(row["step"]) for row in told.rows):
            raise ValueError("its validations do not have the columns of this environment's")
        record.rows = [{**row, "step": int(row["step"])} for row in told.rows]
        record.best_reward = told.best_reward
        record.steps_done, record.episodes, record.learned = told.steps_done, told.episodes, told.learned
        record.env_seconds, record.seconds_before = told.env_seconds, told.seconds
        record.best = best or None
        set_generators(arrays, values)
        return lessons


def values_of(checkpoint: Checkpoint, run: Run) -> Values:
    """The validated values of a checkpoint, before anything is built for it.

    Raises:
        RunError: they are not valid, or the checkpoint is too small for the run's network.
    """
    try:
        check_size(run.config.settings, part_of(checkpoint.arrays, "network"))
        return Values.model_validate(checkpoint.values)
    except ValidationError as error:
        told = f"is not valid: {first_complaint(error)}"
    except ValueError as error:
        told = f"does not fit: {error}"
    raise RunError(f"the checkpoint of {run.path} {told}; start a new run")
