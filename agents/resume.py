"""Exact resume: all that a training goes on from, taken between two updates and put back later."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from torch.optim import Optimizer

from agents.checkpoints import Checkpoint, Checkpoints
from agents.events import event_sizes
from agents.imitation import Lessons
from agents.progress import Progress, Record
from agents.runs import RunError
from agents.vec import WorldVecEnv
from edge_envs.core.snapshot import Arrays, check_alike, check_values, pack_generators, unpack_generators

Count = Annotated[int, Field(ge=0, le=1 << 53)]
BUFFER = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
WORLD_ROWS = ("_returns", "_row_returns", "_lengths")


class Strict(BaseModel):
    """Values from a file: known names and right types only."""

    model_config = ConfigDict(extra="forbid", strict=True)


class RecordValues(Strict):
    """Of `agents.progress.Record`."""

    rows: list[dict[str, float]]
    best_reward: float
    steps_done: Count
    episodes: Count
    learned: bool
    env_seconds: float
    seconds: float


class LearnerValues(Strict):
    """Of Stable-Baselines3's algorithm and its callback."""

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

    stage: Literal["imitation", "learning"]
    record: RecordValues
    learner: LearnerValues | None
    rounds: Count
    gauss: float | None
    numpy_position: Annotated[int, Field(ge=0, le=624)]
    numpy_has_gauss: Literal[0, 1]
    numpy_gauss: float
    events: dict[str, Count]
    """Size of each file of TensorBoard events when the checkpoint was taken [byte]."""


def with_prefix(arrays: Mapping[str, Any], prefix: str) -> Arrays:
    """The arrays under longer names."""
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def part_of(arrays: Arrays, prefix: str) -> Arrays:
    """The arrays whose names begin so, without that beginning."""
    return {name.removeprefix(f"{prefix}."): array for name, array in arrays.items() if name.startswith(f"{prefix}.")}


def network_arrays(network: BasePolicy) -> Arrays:
    """Weights of a network."""
    return {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}


def load_network(network: BasePolicy, arrays: Arrays) -> None:
    """Put weights back."""
    check_alike(arrays, network_arrays(network))
    check_values(arrays, {})
    network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})


def optimizers_of(network: BasePolicy) -> dict[str, Optimizer]:
    """The optimisers that Stable-Baselines3 keeps in a policy."""
    owners = {"policy": network, "actor": getattr(network, "actor", None), "critic": getattr(network, "critic", None)}
    found = {name: getattr(owner, "optimizer", None) for name, owner in owners.items()}
    return {name: optimizer for name, optimizer in found.items() if optimizer is not None}


def optimizer_arrays(optimizer: Optimizer) -> Arrays:
    """Moments and counts of an optimiser, by number of the parameter; none before its first step."""
    state: dict[int, dict[str, torch.Tensor]] = optimizer.state_dict()["state"]
    return {f"{number}.{name}": value.numpy() for number, part in state.items() for name, value in part.items()}


def load_optimizer(optimizer: Optimizer, arrays: Arrays) -> None:
    """Put moments and counts back."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, array in arrays.items():
        number, _, name = key.partition(".")
        if not number.isdecimal() or int(number) >= len(parameters) or name not in ("step", "exp_avg", "exp_avg_sq"):
            raise ValueError(f"the optimiser has no {key!r}")
        if array.dtype != np.float32 or array.shape not in ((), tuple(parameters[int(number)].shape)):
            raise ValueError(f"the optimiser's {key!r} has shape {array.shape} and type {array.dtype}")
        state.setdefault(int(number), {})[name] = torch.from_numpy(array)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def generator_arrays() -> tuple[Arrays, dict[str, Any]]:
    """The global generators of Python, numpy and torch."""
    _, words, gauss = random.getstate()
    told: Any = np.random.get_state()  # noqa: NPY002  (the generator that Stable-Baselines3 uses)
    arrays = {
        "random.python": np.array(words, dtype=np.uint32),
        "random.numpy": told[1],
        "random.torch": torch.get_rng_state().numpy(),
    }
    values = {"gauss": gauss, "numpy_position": told[2], "numpy_has_gauss": told[3], "numpy_gauss": told[4]}
    return arrays, values


def set_generators(arrays: Arrays, values: Values) -> None:
    """Put the global generators back."""
    check_alike(part_of(arrays, "random"), part_of(generator_arrays()[0], "random"))
    random.setstate((3, tuple(arrays["random.python"].tolist()), values.gauss))
    legacy = (arrays["random.numpy"], values.numpy_position, values.numpy_has_gauss, values.numpy_gauss)
    np.random.set_state(("MT19937", *legacy))  # noqa: NPY002
    torch.set_rng_state(torch.from_numpy(arrays["random.torch"]))


def learner_arrays(model: BaseAlgorithm, worlds: WorldVecEnv) -> Arrays:
    """Worlds, last observations and stored transitions of a Stable-Baselines3 algorithm, before a rollout."""
    assert isinstance(model._last_obs, np.ndarray)
    assert model._last_episode_starts is not None
    arrays = {
        **with_prefix(worlds.env.snapshot(), "worlds"),
        **with_prefix({name: getattr(worlds, name) for name in WORLD_ROWS}, "rows"),
        "last.observation": model._last_obs,
        "last.starts": model._last_episode_starts,
    }
    if isinstance(model, OffPolicyAlgorithm):
        buffer = model.replay_buffer
        assert buffer is not None
        filled = buffer.buffer_size if buffer.full else buffer.pos
        arrays |= {f"buffer.{name}": getattr(buffer, name)[:filled] for name in BUFFER}
        arrays["action_generator"] = pack_generators([model.action_space.np_random])
    return arrays


def load_learner(model: BaseAlgorithm, worlds: WorldVecEnv, arrays: Arrays, values: LearnerValues) -> None:
    """Put worlds, last observations, stored transitions and counters back."""
    if not arrays["worlds.started"].all():
        raise ValueError("it has worlds that never began")
    worlds.env.restore(part_of(arrays, "worlds"))
    rows: Arrays = {name: getattr(worlds, name) for name in WORLD_ROWS}
    check_alike(part_of(arrays, "rows"), rows)
    for name, array in rows.items():
        array[...] = arrays[f"rows.{name}"]
    space = worlds.observation_space
    assert isinstance(space, spaces.Box)
    last = {"observation": np.zeros((worlds.num_envs, *space.shape), dtype=np.float32)}
    check_alike(part_of(arrays, "last"), {**last, "starts": np.zeros(worlds.num_envs, dtype=np.bool_)})
    model._last_obs, model._last_episode_starts = arrays["last.observation"], arrays["last.starts"]
    model.num_timesteps, model._n_updates = values.num_timesteps, values.n_updates
    model._episode_num = values.episode_num
    pairs = zip(values.episode_returns, values.episode_lengths, strict=True)
    model.ep_info_buffer = deque(({"r": r, "l": length, "t": 0.0} for r, length in pairs), maxlen=100)
    model.ep_success_buffer = deque(maxlen=100)
    if isinstance(model, OffPolicyAlgorithm):
        _load_buffer(model, part_of(arrays, "buffer"), values)
        check_alike({"generator": arrays["action_generator"]}, {"generator": np.zeros((1, 6), dtype=np.uint64)})
        model.action_space._np_random = unpack_generators(arrays["action_generator"])[0]


def _load_buffer(model: OffPolicyAlgorithm, arrays: Arrays, values: LearnerValues) -> None:
    buffer, position, full = model.replay_buffer, values.buffer_position, values.buffer_full
    assert buffer is not None
    if position is None or position >= buffer.buffer_size:
        raise ValueError(f"the buffer's position {position} is not below {buffer.buffer_size}")
    filled = buffer.buffer_size if full else position
    check_alike(arrays, {name: getattr(buffer, name)[:filled] for name in BUFFER})
    for name in BUFFER:
        getattr(buffer, name)[:filled] = arrays[name]
    buffer.pos, buffer.full = position, full


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

    def imitated(self, lessons: Lessons) -> None:
        """Keep a round of imitation."""
        self._save("imitation", with_prefix(lessons.arrays(), "shown"), None, len(lessons.shown))

    def before_rollout(self, progress: Progress) -> None:
        """Keep the state between two updates, unless the last time is not long ago."""
        if time.monotonic() - self._last < self._every_s or not progress.num_timesteps:
            return
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
        record.rows = [{**row, "step": int(row["step"])} for row in told.rows]
        record.best_reward = told.best_reward
        record.steps_done, record.episodes, record.learned = told.steps_done, told.episodes, told.learned
        record.env_seconds, record.seconds_before = told.env_seconds, told.seconds
        record.best = best or None
        set_generators(arrays, values)
        return lessons


def values_of(checkpoint: Checkpoint, path: Path) -> Values:
    """The validated values of a checkpoint.

    Raises:
        RunError: they are not valid.
    """
    try:
        return Values.model_validate(checkpoint.values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RunError(f"the checkpoint of {path} is not valid: {where}: {first['msg']}; start a new run") from error
