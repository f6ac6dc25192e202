"""The record of a training: curves, validations, and the best network so far."""

from __future__ import annotations

import csv
import io
import math
import time
from typing import Any

import numpy as np
from stable_baselines3.common.policies import BasePolicy
from tqdm import tqdm

from agents.evaluation.episodes import play, score_names
from agents.networks.build import network_arrays
from agents.networks.learned_policy import LearnedPolicy
from agents.runs.folder import BEST, EVALUATION, Run
from agents.runs.tensorboard import WorldStepWriter
from agents.training.checkpointing import RecordValues, Values, part_of, with_prefix
from agents.worlds import VALIDATION_STREAM, stream_seeds
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.io.files import write_atomically
from edge_envs.core.runtime.snapshot import Arrays, check_alike, check_values

VALIDATIONS = 20
"""Validations in a training, at even intervals."""


class Record:
    """Progress bar, curves, table of validations and best network of a training; a `Part` of a checkpoint.

    Args:
        run: the run folder.
        writer: of the curves.
        validation: worlds for validation.
        steps: that the training will take, summed over all worlds.
        quiet: show no progress bar.
    """

    def __init__(self, run: Run, writer: WorldStepWriter, validation: EdgeVectorEnv, steps: int, quiet: bool) -> None:
        self.run, self.writer, self.steps = run, writer, steps
        self.validation = validation
        self._quiet = quiet
        self._bar: tqdm[Any] | None = None
        self.rows: list[dict[str, float]] = []
        """Step and scores of every validation so far."""
        self.best: Arrays | None = None
        """Weights of the best network so far."""
        self.best_reward = -np.inf
        self.steps_done = 0
        self.episodes = 0
        self.learned = False
        """True if the best network has been updated at least once."""
        self.env_seconds = 0.0
        """Time spent in the steps of the training worlds [s]."""
        self._seconds_before = 0.0
        self._started = time.perf_counter()

    def start_clock(self) -> None:
        """Start the clock and the progress bar."""
        self._started = time.perf_counter()
        self._bar = tqdm(
            total=self.steps, initial=min(self.steps_done, self.steps), unit="step", disable=self._quiet,
            dynamic_ncols=True, desc=self.run.config.agent,
        )  # fmt: skip

    @property
    def seconds(self) -> float:
        """Duration of the training so far, including earlier processes [s]."""
        return self._seconds_before + time.perf_counter() - self._started

    def advance_to(self, steps: int) -> None:
        """Set the number of steps taken so far, summed over all worlds."""
        self.steps_done = steps
        if self._bar is not None:
            self._bar.update(min(steps, self.steps) - self._bar.n)

    def add_episodes(self, episodes: list[dict[str, float]]) -> None:
        """Count training episodes that ended, and write the means of their summaries to the curves."""
        self.episodes += len(episodes)
        if episodes:
            means = {name: float(np.mean([each[name] for each in episodes])) for name in episodes[0]}
            self.writer.scalars("training", means, self.steps_done)

    def validate(self, network: BasePolicy, *, learned: bool) -> None:
        """Run validation episodes with the deterministic policy, and save the network if it is the best so far."""
        config = self.run.config
        was_training = network.training
        policy = LearnedPolicy(network, config.agent, config.policy, self.validation.system)
        seeds = stream_seeds(VALIDATION_STREAM, config.seed, self.validation.num_envs)
        means = {name: float(rows.mean()) for name, rows in play(self.validation, policy, seeds).items()}
        network.set_training_mode(was_training)
        self.writer.scalars("validation", means, self.steps_done)
        self.rows.append({"step": self.steps_done, **means})
        self._write_table()
        if means["reward"] > self.best_reward:
            self.best_reward = means["reward"]
            self.learned = learned
            self.best = {name: value.copy() for name, value in network_arrays(network).items()}
            self.run.save_tensors(self.best, BEST)
        if self._bar is not None:
            self._bar.set_postfix(reward=f"{means['reward']:.3g}", best=f"{self.best_reward:.3g}")

    def _write_table(self) -> None:
        table = io.StringIO()
        out = csv.DictWriter(table, list(self.rows[0]), lineterminator="\n")
        out.writeheader()
        out.writerows(self.rows)
        write_atomically(self.run.path / EVALUATION, table.getvalue().encode())

    def rewrite(self) -> None:
        """Write the restored table and best network to the run folder, which may hold later ones."""
        if self.rows:
            self._write_table()
        if self.best is not None:
            self.run.save_tensors(self.best, BEST)

    def close(self) -> None:
        """Finish the progress bar."""
        if self._bar is not None:
            self._bar.close()

    def save(self) -> tuple[Arrays, dict[str, Any]]:
        values = RecordValues(
            rows=self.rows, best_reward=float(self.best_reward), steps_done=self.steps_done, episodes=self.episodes,
            learned=self.learned, env_seconds=self.env_seconds, seconds=self.seconds,
        )  # fmt: skip
        return with_prefix(self.best or {}, "best"), {"record": values}

    def load(self, arrays: Arrays, values: Values) -> None:
        """See `agents.training.checkpointing.Part`; the network's own arrays have been checked before."""
        record, best = values.record, part_of(arrays, "best")
        if best:
            check_alike(best, part_of(arrays, "network"))
            check_values(best, {})
        columns = {"step", *score_names(self.validation.system)}
        if any(row.keys() != columns or not math.isfinite(row["step"]) for row in record.rows):
            raise ValueError("its validations do not have the columns of this environment")
        self.rows = [{**row, "step": int(row["step"])} for row in record.rows]
        self.best, self.best_reward, self.learned = best or None, record.best_reward, record.learned
        self.steps_done, self.episodes = record.steps_done, record.episodes
        self.env_seconds, self._seconds_before = record.env_seconds, record.seconds
