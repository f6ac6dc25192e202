"""The training callback that feeds the record."""

from __future__ import annotations

from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from agents.training.record import VALIDATIONS, Record
from agents.training.vec_env import WorldVecEnv


class Progress(BaseCallback):
    """Tells a record how Stable-Baselines3 gets on, validates evenly spread, and anneals the entropy bonus."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self._record = record
        self._first = self.next_validation = record.writer.before
        """Step of a world from which on the next validation is due."""
        self._imitated = self._first > 0

    @property
    def worlds(self) -> WorldVecEnv:
        """The environment in training."""
        assert isinstance(self.training_env, WorldVecEnv)
        return self.training_env

    def _on_rollout_start(self) -> None:
        if self._record.saver is not None:
            self._record.saver.before_rollout(self)

    def _on_step(self) -> bool:
        record, settings, worlds = self._record, self._record.run.config.settings, self.worlds
        record.reached(record.writer.world_steps(self.num_timesteps))
        steps = record.steps_done
        if isinstance(self.model, PPO) and settings.anneal:
            done = (steps - self._first) / (record.steps - self._first)
            self.model.ent_coef = settings.ent_coef * max(0.0, 1.0 - done / settings.ent_until)
        record.ended(worlds.episodes)
        worlds.episodes.clear()
        if self.next_validation <= steps < record.steps:  # the last validation is of the finished network
            self.validate()
            every = max(1, (record.steps - self._first) // VALIDATIONS)
            self.next_validation = self._first + ((steps - self._first) // every + 1) * every
        return True

    def validate(self) -> None:
        """Validate the model's present network."""
        self._record.validate(self.model.policy, learned=self._imitated or self.model._n_updates > 0)
