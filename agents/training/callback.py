"""Stable-Baselines3's algorithm during training: what it reports, and its state in a checkpoint."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from agents.training.checkpointing import LearnerValues, Values, part_of, with_prefix
from agents.training.record import VALIDATIONS, Record
from agents.training.vec_env import WorldVecEnv
from edge_envs.core.runtime.snapshot import Arrays, check_alike, check_values, pack_generators, unpack_generators

BUFFER = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


class Progress(BaseCallback):
    """Updates the record, validates at even intervals, and anneals the entropy bonus; a `Part` of a checkpoint.

    Args:
        model: the algorithm.
        record: of the training.
        before_rollout: called before every rollout, with True after the first step; may raise to end the training.
    """

    def __init__(self, model: BaseAlgorithm, record: Record, before_rollout: Callable[[bool], None]) -> None:
        super().__init__()
        self.model = model
        self._record, self._before_rollout = record, before_rollout
        self._first = self.next_validation = record.writer.before
        """Step from which on the next validation is due, summed over all worlds."""
        self._imitated = self._first > 0

    @property
    def worlds(self) -> WorldVecEnv:
        """The training environment."""
        assert isinstance(self.training_env, WorldVecEnv)
        return self.training_env

    def _on_rollout_start(self) -> None:
        self._before_rollout(self.num_timesteps > 0)

    def _on_step(self) -> bool:
        record, settings, worlds = self._record, self._record.run.config.settings, self.worlds
        record.advance_to(record.writer.world_steps(self.num_timesteps))
        steps = record.steps_done
        if isinstance(self.model, PPO) and settings.anneal:
            done = (steps - self._first) / (record.steps - self._first)
            self.model.ent_coef = settings.ent_coef * max(0.0, 1.0 - done / settings.ent_until)
        record.add_episodes(worlds.episodes)
        worlds.episodes.clear()
        record.env_seconds += worlds.env_seconds
        worlds.env_seconds = 0.0
        if self.next_validation <= steps < record.steps:  # the last validation is of the finished network
            self.validate()
            every = max(1, (record.steps - self._first) // VALIDATIONS)
            self.next_validation = self._first + ((steps - self._first) // every + 1) * every
        return True

    def learn(self) -> None:
        """Run the algorithm for the steps that are left, then validate the final network."""
        done = self.model.num_timesteps
        steps = self._record.run.config.settings.steps * self._record.writer.rows_per_world
        self.model.learn(steps - done, callback=self, log_interval=1, reset_num_timesteps=not done)
        self.validate()

    def validate(self) -> None:
        """Validate the current network."""
        self._record.validate(self.model.policy, learned=self._imitated or self.model._n_updates > 0)

    def save(self) -> tuple[Arrays, dict[str, Any]]:
        model = self.model
        assert isinstance(model._last_obs, np.ndarray)
        assert model._last_episode_starts is not None
        assert model.ep_info_buffer is not None
        arrays: Arrays = {"last.observation": model._last_obs, "last.starts": model._last_episode_starts}
        buffer = model.replay_buffer if isinstance(model, OffPolicyAlgorithm) else None
        if buffer is not None:
            filled = buffer.buffer_size if buffer.full else buffer.pos
            arrays |= with_prefix({name: getattr(buffer, name)[:filled] for name in BUFFER}, "buffer")
            arrays["action_generator"] = pack_generators([model.action_space.np_random])
        values = LearnerValues(
            num_timesteps=model.num_timesteps,
            n_updates=model._n_updates,
            episode_num=model._episode_num,
            next_validation=self.next_validation,
            episode_returns=[episode["r"] for episode in model.ep_info_buffer],
            episode_lengths=[episode["l"] for episode in model.ep_info_buffer],
            logged={name: float(value) for name, value in model.logger.name_to_value.items()},
            not_in_curves=[name for name, kinds in model.logger.name_to_excluded.items() if "tensorboard" in kinds],
            buffer_position=None if buffer is None else buffer.pos,
            buffer_full=buffer is not None and buffer.full,
        )
        return arrays, {"learner": values}

    def load(self, arrays: Arrays, values: Values) -> None:
        model, worlds, learner = self.model, self.worlds, values.learner
        if learner is None:
            raise ValueError("it belongs to another agent")
        if learner.num_timesteps >= self._record.run.config.settings.steps * worlds.rows_per_world:
            raise ValueError(f"it has {learner.num_timesteps} steps, at least as many as the run")
        space = worlds.observation_space
        assert isinstance(space, spaces.Box)
        last = {"observation": np.zeros((worlds.num_envs, *space.shape), dtype=np.float32)}
        check_alike(part_of(arrays, "last"), {**last, "starts": np.zeros(worlds.num_envs, dtype=np.bool_)})
        check_values({"last.observation": arrays["last.observation"]}, {})
        model._last_obs, model._last_episode_starts = arrays["last.observation"], arrays["last.starts"]
        model.num_timesteps, model._n_updates = learner.num_timesteps, learner.n_updates
        model._episode_num, self.next_validation = learner.episode_num, learner.next_validation
        pairs = zip(learner.episode_returns, learner.episode_lengths, strict=True)
        model.ep_info_buffer = deque(({"r": r, "l": length, "t": 0.0} for r, length in pairs), maxlen=100)
        model.ep_success_buffer = deque(maxlen=100)
        for name, value in learner.logged.items():
            model.logger.record(name, value, "tensorboard" if name in learner.not_in_curves else None)
        if isinstance(model, OffPolicyAlgorithm):
            load_buffer(model, arrays, learner)


def load_buffer(model: OffPolicyAlgorithm, arrays: Arrays, values: LearnerValues) -> None:
    """Restore the replay buffer and the generator of random actions.

    Raises:
        ValueError: the arrays or the position do not fit.
    """
    buffer, position, full = model.replay_buffer, values.buffer_position, values.buffer_full
    assert buffer is not None
    if position is None or position >= buffer.buffer_size:
        raise ValueError(f"the buffer's position {position} is not below {buffer.buffer_size}")
    filled = buffer.buffer_size if full else position
    found = part_of(arrays, "buffer")
    check_alike(found, {name: getattr(buffer, name)[:filled] for name in BUFFER})
    check_alike({"generator": arrays["action_generator"]}, {"generator": np.zeros((1, 6), dtype=np.uint64)})
    for name in BUFFER:
        getattr(buffer, name)[:filled] = found[name]
    buffer.pos, buffer.full = position, full
    model.action_space._np_random = unpack_generators(arrays["action_generator"])[0]
