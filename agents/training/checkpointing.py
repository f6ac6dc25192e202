"""Exact resume: save the training state between two updates, and restore it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from agents.networks.build import check_size
from agents.runs.checkpoint_files import Checkpoint, Checkpoints
from agents.runs.folder import Run, RunError
from agents.runs.tensorboard import event_sizes
from agents.training.stopping import StopRequest
from agents.training.training_state import Part, Stage, Values, part_of
from edge_envs.core.config import first_complaint


class Saver:
    """Saves checkpoints during a training, and restores the newest one.

    Args:
        files: the checkpoint files.
        run: the run folder.
        every_s: least time between two checkpoints [s]; 0 for one before every rollout.
    """

    def __init__(self, files: Checkpoints, run: Run, every_s: float) -> None:
        self._files, self._run, self._every_s = files, run, every_s
        self._saved_at = time.monotonic()
        self.parts: Mapping[Stage, Sequence[Part]] = {}
        """What a checkpoint consists of in each stage of the training, in the order in which the parts are loaded."""
        self.stop = StopRequest()
        """Obeyed only where the state is saved."""

    def after_round(self, last: bool) -> None:
        """Save after a round of imitation; then stop if that was requested and the training is not complete.

        Raises:
            Stopped: a signal requested it.
        """
        self._save("imitation")
        if "learning" in self.parts or not last:
            self.stop.stop_if_requested()

    def before_rollout(self, started: bool) -> None:
        """Save before a rollout if a checkpoint is due and the learning has started; then stop if that was requested.

        Raises:
            Stopped: a signal requested it.
        """
        due = self.stop.number or time.monotonic() - self._saved_at >= self._every_s
        if due and started:
            self._save("learning")
        self.stop.stop_if_requested()

    def _save(self, stage: Stage) -> None:
        saved = [part.save() for part in self.parts[stage]]
        arrays = {name: array for part, _ in saved for name, array in part.items()}
        fields = {name: value for _, part in saved for name, value in part.items()}
        values = Values(stage=stage, events=event_sizes(self._run.path), **fields)
        self._files.save(Checkpoint(arrays, values.model_dump()))
        self._saved_at = time.monotonic()

    def restore(self, checkpoint: Checkpoint, values: Values) -> None:
        """Restore every part.

        Raises:
            RunError: the checkpoint does not fit the run.
        """
        try:
            if values.stage not in self.parts:
                raise ValueError("it belongs to another agent")
            for part in self.parts[values.stage]:
                part.load(checkpoint.arrays, values)
        except (ValueError, KeyError, RuntimeError, TypeError, OverflowError) as error:
            raise RunError(f"the checkpoint does not fit {self._run.path}: {error}; start a new run") from error


def values_of(checkpoint: Checkpoint, run: Run) -> Values:
    """The validated values of a checkpoint, before any network or world is built for it.

    Raises:
        RunError: they are not valid, or the checkpoint is too small for the run's network.
    """
    try:
        check_size(run.config.settings, part_of(checkpoint.arrays, "network"))
        return Values.model_validate(checkpoint.values)
    except ValidationError as error:
        problem = f"is not valid: {first_complaint(error)}"
    except ValueError as error:
        problem = f"does not fit: {error}"
    raise RunError(f"the checkpoint of {run.path} {problem}; start a new run")
