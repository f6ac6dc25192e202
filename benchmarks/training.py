"""How much of a training is spent in the environment."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from benchmarks.timing import Row, Side

ENVIRONMENTS = ("LyaPPO-v0",)
STEPS = 40_960
"""Steps of a world in one training: ten updates."""
MOST_REPETITIONS = 3
TARGET = 0.10


def share(repetitions: int) -> list[Row]:
    """Time in `EdgeVectorEnv.step` over the whole of `train.py`'s PPO training, compilation left out.

    The whole includes the validations, whose own environment steps (a few per cent of all) are not counted.
    """
    from agents.learn import train
    from agents.runs import Run, RunConfig
    from agents.settings import settings_for

    rows = []
    for env_id in ENVIRONMENTS:
        settings = settings_for(env_id, "ppo", "shared", "partition").model_copy(update={"steps": STEPS})
        seconds = []
        with tempfile.TemporaryDirectory() as folder:
            for seed in range(min(repetitions, MOST_REPETITIONS)):
                config = RunConfig(env_id=env_id, settings=settings, seed=seed)
                result = train(Run.create(config, Path(folder) / str(seed)), quiet=True)
                seconds.append((result.env_seconds / result.steps, result.seconds / result.steps))
        env, whole = np.array(seconds).T
        name = f"{env_id}: PPO training, share of the environment"
        rows.append(Row(name, "step", Side("environment", env), Side("whole training", whole), "cost", TARGET))
    return rows


BENCHMARKS: Mapping[str, Callable[[int], list[Row]]] = {"training.share": share}
