"""What a training leaves behind as it goes: curves, validations, and the best network so far."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import TensorBoardOutputFormat
from stable_baselines3.common.policies import BasePolicy
from tqdm import tqdm

from agents.policies import LearnedPolicy
from agents.runs import BEST, EVALUATION, Run
from agents.score import VALIDATION_STREAM, play, stream_seeds
from agents.vec import WorldVecEnv
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.files import write_atomically

VALIDATIONS = 20
"""Validations in a training, evenly spread."""


class WorldStepWriter(TensorBoardOutputFormat):
    """TensorBoard events counted in steps of a world, however many rows a world has.

    Args:
        folder: where they go.
        rows_per_world: rows that Stable-Baselines3 counts per world.
        before: steps of a world that were taken before Stable-Baselines3 began to count.
    """

    def __init__(self, folder: str, rows_per_world: int, before: int = 0) -> None:
        super().__init__(folder)
        self.rows_per_world, self.before = rows_per_world, before

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Write Stable-Baselines3's own curves."""
        super().write(key_values, key_excluded, self.world_steps(step))

    def world_steps(self, rows: int) -> int:
        """Steps of a world so far, all worlds together, from the rows that Stable-Baselines3 counted."""
        return self.before + rows // self.rows_per_world

    def scalars(self, prefix: str, values: dict[str, float], step: int) -> None:
        """Write our own curves."""
        for name, value in values.items():
            self.writer.add_scalar(f"{prefix}/{name}", value, step)
        self.writer.flush()


class Record:
    """Progress bar, curves, table of validations and best network of a training.

    Args:
        run: the run folder.
        writer: of the curves.
        validation: worlds for validation.
        steps: of a world that the training will take, all worlds together.
        quiet: show no progress bar.
    """

    def __init__(self, run: Run, writer: WorldStepWriter, validation: EdgeVectorEnv, steps: int, quiet: bool) -> None:
        self.run, self.writer, self.steps = run, writer, steps
        self._validation = validation
        self._bar = tqdm(total=steps, unit="step", disable=quiet, dynamic_ncols=True, desc=run.config.agent)
        self._rows: list[dict[str, float]] = []
        self.best_reward = -np.inf
        self.steps_done = 0
        self.episodes = 0
        self.learned = False
        """Whether the best network has been updated at all."""
        self.env_seconds = 0.0
        """Time in environments other than the one that Stable-Baselines3 steps."""

    def reached(self, steps: int) -> None:
        """So many steps of a world were taken so far."""
        self.steps_done = steps
        self._bar.update(min(steps, self.steps) - self._bar.n)

    def ended(self, episodes: list[dict[str, float]]) -> None:
        """These training episodes came to their end."""
        self.episodes += len(episodes)
        if episodes:
            means = {name: float(np.mean([each[name] for each in episodes])) for name in episodes[0]}
            self.writer.scalars("training", means, self.steps_done)

    def validate(self, network: BasePolicy, *, learned: bool) -> None:
        """Play validation episodes with the deterministic policy; keep the network if it is the best so far."""
        config = self.run.config
        was_training = network.training
        policy = LearnedPolicy(network, config.agent, config.policy, self._validation.system)
        seeds = stream_seeds(VALIDATION_STREAM, config.seed, self._validation.num_envs)
        means = {name: float(rows.mean()) for name, rows in play(self._validation, policy, seeds).items()}
        network.set_training_mode(was_training)
        self.writer.scalars("validation", means, self.steps_done)
        self._rows.append({"step": self.steps_done, **means})
        table = io.StringIO()
        out = csv.DictWriter(table, list(self._rows[0]), lineterminator="\n")
        out.writeheader()
        out.writerows(self._rows)
        write_atomically(self.run.path / EVALUATION, table.getvalue().encode())
        if means["reward"] > self.best_reward:
            self.best_reward = means["reward"]
            self.learned = learned
            self.run.save_network(network, BEST)
        self._bar.set_postfix(reward=f"{means['reward']:.3g}", best=f"{self.best_reward:.3g}")

    def close(self) -> None:
        """Finish the progress bar."""
        self._bar.close()


class Progress(BaseCallback):
    """Tells a record how Stable-Baselines3 gets on, validates evenly spread, and anneals the entropy bonus."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self._record = record
        self._first = self._next = record.writer.before
        self._imitated = self._first > 0

    @property
    def worlds(self) -> WorldVecEnv:
        """The environment in training."""
        assert isinstance(self.training_env, WorldVecEnv)
        return self.training_env

    def _on_step(self) -> bool:
        record, settings, worlds = self._record, self._record.run.config.settings, self.worlds
        record.reached(record.writer.world_steps(self.num_timesteps))
        steps = record.steps_done
        if isinstance(self.model, PPO) and settings.anneal:
            done = (steps - self._first) / (record.steps - self._first)
            self.model.ent_coef = settings.ent_coef * max(0.0, 1.0 - done)
        record.ended(worlds.episodes)
        worlds.episodes.clear()
        if self._next <= steps < record.steps:  # the last validation is of the finished network
            self.validate()
            every = max(1, (record.steps - self._first) // VALIDATIONS)
            self._next = self._first + ((steps - self._first) // every + 1) * every
        return True

    def validate(self) -> None:
        """Validate the model's present network."""
        self._record.validate(self.model.policy, learned=self._imitated or self.model._n_updates > 0)
