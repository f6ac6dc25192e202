"""Exact resume: the training state saved in a checkpoint between two updates, its parts, and when it is saved."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from stable_baselines3.common.policies import BasePolicy
from torch.optim import Optimizer

from agents.networks.build import check_size, load_network, network_arrays
from agents.runs.checkpoint_files import Checkpoint, Checkpoints
from agents.runs.folder import Run, RunError
from agents.runs.tensorboard import event_sizes
from agents.training.stopping import StopRequest
from edge_envs.core.config import first_complaint
from edge_envs.core.runtime.snapshot import FINITE_MAX, Arrays, check_alike, check_values

Count = Annotated[int, Field(ge=0, le=1 << 53)]

Seconds = Annotated[float, Field(ge=0, lt=math.inf)]

Stage = Literal["imitation", "learning"]

ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")
"""What Adam keeps for every parameter."""


class Strict(BaseModel):
    """Values from a file: only known names, no type conversion."""

    model_config = ConfigDict(extra="forbid", strict=True)


class RecordValues(Strict):
    """Values of `agents.training.record.Record`."""

    rows: list[dict[str, float]]
    best_reward: Annotated[float, Field(lt=math.inf)]
    steps_done: Count
    episodes: Count
    learned: bool
    env_seconds: Seconds
    seconds: Seconds


class LearnerValues(Strict):
    """Values of `agents.training.callback.Progress` and of its algorithm from Stable-Baselines3."""

    num_timesteps: Count
    n_updates: Count
    episode_num: Count
    next_validation: Count
    episode_returns: list[float]
    episode_lengths: list[Count]
    logged: dict[str, float]
    not_in_curves: list[str]
    buffer_position: Count | None
    buffer_full: bool


class Values(Strict):
    """Everything in a checkpoint that is not an array."""

    stage: Stage
    record: RecordValues
    learner: LearnerValues | None = None
    rounds: Count = 0
    """Rounds of imitation in the checkpoint."""
    gauss: float | None
    numpy_position: Annotated[int, Field(ge=0, le=624)]
    numpy_has_gauss: Literal[0, 1]
    numpy_gauss: float
    events: dict[str, Count]
    """Size of each TensorBoard event file when the checkpoint was saved [byte]."""


class Part(Protocol):
    """A part of the training state. No two parts use the same names of arrays or values."""

    def save(self) -> tuple[Arrays, dict[str, Any]]:
        """The part's arrays, and its fields of `Values`."""

    def load(self, arrays: Arrays, values: Values) -> None:
        """Restore the part from all arrays and values of a checkpoint.

        Raises:
            ValueError: they do not fit, or are not finite or within their limits.
        """


def with_prefix(arrays: Mapping[str, Any], prefix: str) -> Arrays:
    """The arrays, with `prefix` and a dot before their names."""
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def part_of(arrays: Arrays, prefix: str) -> Arrays:
    """The arrays whose names start with `prefix` and a dot, without that start."""
    return {name.removeprefix(f"{prefix}."): array for name, array in arrays.items() if name.startswith(f"{prefix}.")}


class NetworkState:
    """The weights of a network and the state of its optimizers, as a `Part`."""

    def __init__(self, network: BasePolicy) -> None:
        self._network = network
        owners = {"policy": network, **{name: getattr(network, name, None) for name in ("actor", "critic")}}
        found = {name: getattr(owner, "optimizer", None) for name, owner in owners.items()}
        self._optimizers = {name: optimizer for name, optimizer in found.items() if optimizer is not None}

    def save(self) -> tuple[Arrays, dict[str, Any]]:
        arrays = with_prefix(network_arrays(self._network), "network")
        for owner, optimizer in self._optimizers.items():
            state: dict[int, dict[str, torch.Tensor]] = optimizer.state_dict()["state"]
            for number, part in state.items():
                for name, value in part.items():
                    arrays[f"optimizer.{owner}.{number}.{name}"] = value.numpy()
        return arrays, {}

    def load(self, arrays: Arrays, values: Values) -> None:
        del values
        load_network(self._network, part_of(arrays, "network"))
        for owner, optimizer in self._optimizers.items():
            load_optimizer(optimizer, part_of(arrays, f"optimizer.{owner}"))


def load_optimizer(optimizer: Optimizer, arrays: Arrays) -> None:
    """Restore Adam's state from arrays with names "<number of the parameter>.<name>".

    Raises:
        ValueError: the arrays do not fit the parameters, or hold impossible values.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    # There is no state before the first step, nor for a parameter that no loss depends on.
    shapes = {
        f"{number}.{name}": () if name == "step" else tuple(parameter.shape)
        for number, parameter in enumerate(parameters)
        if any(key.startswith(f"{number}.") for key in arrays)
        for name in ADAM_STATE
    }
    check_alike(arrays, {key: np.zeros(shape, dtype=np.float32) for key, shape in shapes.items()})
    check_values(arrays, {key: (0.0, FINITE_MAX) for key in shapes if not key.endswith("exp_avg")})
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, array in arrays.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = torch.from_numpy(array)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


class RandomState:
    """The global random generators of Python, NumPy and PyTorch, as a `Part`."""

    def save(self) -> tuple[Arrays, dict[str, Any]]:
        _, words, gauss = random.getstate()
        legacy: Any = np.random.get_state()  # noqa: NPY002  (the generator that Stable-Baselines3 uses)
        arrays = {
            "random.python": np.array(words, dtype=np.uint32),
            "random.numpy": legacy[1],
            "random.torch": torch.get_rng_state().numpy(),
        }
        numpy_values = dict(zip(("numpy_position", "numpy_has_gauss", "numpy_gauss"), legacy[2:], strict=True))
        return arrays, {"gauss": gauss, **numpy_values}

    def load(self, arrays: Arrays, values: Values) -> None:
        check_alike(part_of(arrays, "random"), part_of(self.save()[0], "random"))
        random.setstate((3, tuple(arrays["random.python"].tolist()), values.gauss))
        legacy = (arrays["random.numpy"], values.numpy_position, values.numpy_has_gauss, values.numpy_gauss)
        np.random.set_state(("MT19937", *legacy))  # noqa: NPY002
        torch.set_rng_state(torch.from_numpy(arrays["random.torch"]))


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
        """The parts of a checkpoint in each stage of the training, in the order in which they are loaded."""
        self.stop = StopRequest()
        """Request to stop; the training only stops after it has saved its state."""

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
