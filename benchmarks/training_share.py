"""Share of a training's time that is spent in the environment."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from agents.hyperparameters.lookup import default_policy, settings_for
from agents.runs.folder import Run, RunConfig
from agents.training.trainer import train
from agents.worlds import system_of
from benchmarks.timing import Row, Side
from edge_envs.core.io.command import Stopped

ENVIRONMENTS: Mapping[str, float | None] = {"LyaPPO-v0": 0.10, "DTIRS-v0": None, "ECCNOMA-v0": None, "SemCom-v0": None}
"""Ids with the largest acceptable share of the environment; None where every step solves a convex program."""
STEPS = 40_960
"""Steps of one training, summed over all worlds: ten updates for LyaPPO-v0."""
MAX_REPETITIONS = 3


def usual_run(env_id: str, seed: int) -> RunConfig:
    """Configuration of `train.py --env env_id`, except the number of steps."""
    policy = default_policy(env_id, "ppo")
    decision = str(getattr(system_of(env_id, "default", {}).config, "decision", ""))
    settings = settings_for(env_id, "ppo", policy, decision).model_copy(update={"steps": STEPS})
    return RunConfig(env_id=env_id, policy=policy, settings=settings, seed=seed)


def share(repetitions: int) -> list[Row]:
    """Time in `EdgeVectorEnv.step` over that of the whole PPO training of `train.py`, without compilation.

    The whole includes the validations, whose own environment steps are not counted. They take a few per cent for
    LyaPPO-v0, and more for SemCom-v0, whose validations have the usual length in this short training.
    """
    rows = []
    for env_id, target in ENVIRONMENTS.items():
        seconds = []
        with tempfile.TemporaryDirectory() as folder:
            for seed in range(min(repetitions, MAX_REPETITIONS)):
                result = train(Run.create(usual_run(env_id, seed), Path(folder) / str(seed)), quiet=True)
                if result.interrupted or result.signal:
                    raise Stopped(result.signal or signal.SIGINT)
                seconds.append((result.env_seconds / result.steps, result.seconds / result.steps))
        env, whole = np.array(seconds).T
        name = f"{env_id}: PPO training, share of the environment"
        rows.append(Row(name, "step", Side("environment", env), Side("whole training", whole), "cost", target))
    return rows


BENCHMARKS: Mapping[str, Callable[[int], list[Row]]] = {"training.share": share}
