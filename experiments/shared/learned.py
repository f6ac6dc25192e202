"""Common parts of the experiments with learned agents: options, stored trainings, and scores over training seeds."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.evaluation.bootstrap import Resampled
from agents.evaluation.comparison import compare
from agents.evaluation.contestants import Entry
from agents.evaluation.episodes import Scores
from agents.runs.folder import BEST, CONFIG, LAST, Run, RunConfig
from agents.training.trainer import train
from edge_envs.core.io.command import Stopped

NETWORKS_NOTE = (
    "Learned policies act deterministically; plain rows are the networks at the end of training, `best validated` "
    "those with the best validation reward"
)
"""Explanation of the rows of learned policies."""


@dataclass(frozen=True)
class LearnedArguments:
    """Options of all experiments with learned agents."""

    training_seeds: int = 5
    """Trainings per agent, with seeds 1, 2, ..."""
    agents: tuple[str, ...] = ()
    """Labels of the agents to train and evaluate (default: all); other rows are kept from the JSON file."""
    seeds: int = 5
    """Number of evaluation seeds."""
    episodes: int = 4
    """Episodes per evaluation seed."""
    out: Path = Path("docs/results")
    """Folder for the results."""

    @property
    def units(self) -> str:
        """Number of evaluation episodes, as text for captions."""
        return f"{self.seeds * self.episodes} episodes ({self.seeds} seeds x {self.episodes})"


def trained(config: RunConfig, path: Path) -> Run:
    """Open the finished run in a folder, or train it to its end first.

    Raises:
        ValueError: the folder contains a run with another configuration, or one that cannot be resumed.
        Stopped: a signal arrived; the run is finished if it arrived in the last update.
    """
    resume = (path / CONFIG).exists()
    run = Run.open(path) if resume else Run.create(config, path)
    if run.config != config:
        raise ValueError(f"{path} is a run with another configuration; remove it, or name another folder with --runs")
    if run.finished:
        return run
    for note in run.check_resumable() if resume else ():
        print(f"{path.name}: {note}", flush=True)
    result = train(run, resume=resume, quiet=True)
    if result.interrupted or result.signal:
        raise Stopped(result.signal or signal.SIGINT)
    share = result.env_seconds / result.seconds
    print(f"{path.name}: {result.steps} steps, {result.seconds:.0f} s, {share:.1%} in the environment", flush=True)
    return run


def by_model(
    runs: Sequence[Run], preset: str, options: Mapping[str, Any], seeds: int, episodes: int,
    models: Sequence[str] = (LAST, BEST),
) -> dict[str, Scores]:  # fmt: skip
    """Scores of all runs' last networks and of their best validated networks, by model file."""
    found: dict[str, Scores] = {}
    for model in models:
        entries = [Entry(f"{number}", run, model) for number, run in enumerate(runs)]
        scores = compare(entries, runs[0].config.env_id, preset, options, seeds=seeds, episodes=episodes)
        found[model] = Scores.of_runs(list(scores.values()))
    return found


def summary(scores: Scores, names: Sequence[str]) -> dict[str, Any]:
    """Means over trainings and episodes with the half widths of their intervals, and the mean of each training."""
    result: dict[str, Any] = {}
    for name in names:
        spread = Resampled(scores.episodes[name]).mean()
        result[name] = {
            "mean": spread.mean,
            "half_width": spread.half_width,
            "by_training_seed": scores.episodes[name].mean(axis=(1, 2)).tolist(),
        }
    return result
