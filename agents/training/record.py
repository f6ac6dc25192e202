"""What a training leaves behind as it goes: curves, validations, and the best network so far."""

from __future__ import annotations

import csv
import io
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from stable_baselines3.common.policies import BasePolicy
from tqdm import tqdm

from agents.evaluation.episodes import play
from agents.networks.build import network_arrays
from agents.networks.learned_policy import LearnedPolicy
from agents.runs.folder import BEST, EVALUATION, Run
from agents.runs.tensorboard import WorldStepWriter
from agents.worlds import VALIDATION_STREAM, stream_seeds
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.io.files import write_atomically
from edge_envs.core.runtime.snapshot import Arrays

if TYPE_CHECKING:
    from agents.training.checkpointing import Saver

VALIDATIONS = 20
"""Validations in a training, evenly spread."""


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
        self.validation = validation
        self._quiet = quiet
        self._bar: tqdm[Any] | None = None
        self.rows: list[dict[str, float]] = []
        """Validations so far: step and metrics."""
        self.best: Arrays | None = None
        """Weights of the best network so far."""
        self.best_reward = -np.inf
        self.steps_done = 0
        self.episodes = 0
        self.learned = False
        """Whether the best network has been updated at all."""
        self.env_seconds = 0.0
        """Time in environments other than the one that Stable-Baselines3 steps."""
        self.saver: Saver | None = None
        """Writes the checkpoints, where any are wanted."""
        self.seconds_before = 0.0
        """Time of the training before this process [s]."""
        self._started = time.perf_counter()

    def start_clock(self) -> None:
        """The training begins, or goes on, now."""
        self._started = time.perf_counter()
        self._bar = tqdm(
            total=self.steps, initial=min(self.steps_done, self.steps), unit="step", disable=self._quiet,
            dynamic_ncols=True, desc=self.run.config.agent,
        )  # fmt: skip

    @property
    def seconds(self) -> float:
        """Time of the training so far, that of earlier processes included [s]."""
        return self.seconds_before + time.perf_counter() - self._started

    def reached(self, steps: int) -> None:
        """So many steps of a world were taken so far."""
        self.steps_done = steps
        if self._bar is not None:
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
        """Write table and best network as they were when the present state was saved."""
        if self.rows:
            self._write_table()
        if self.best is not None:
            self.run.save_tensors(self.best, BEST)

    def close(self) -> None:
        """Finish the progress bar."""
        if self._bar is not None:
            self._bar.close()
