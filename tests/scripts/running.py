"""Running `train.py` and `evaluate.py`, in a process of their own or in this one, and reading what they print."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.hyperparameters.settings import Settings
from agents.runs.folder import BEST, Run, RunConfig

ROOT = Path(__file__).parents[2]
ID = "LyaPPO-v0"
SMALL = ("num_devices=2", "num_services=1", "max_episode_steps=10")
QUICK = ("--steps", "512", "--num-envs", "16", "--seeds", "2", "--episodes", "2")
ENV = ("--env", ID)
EVALUATE = (*ENV, "--seeds", "1", "--episodes", "1", "--policies")
OTHERS = ("random", "fixed", "local", "edge", "price")


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "TERM": "dumb"}


def execute(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a script as a user does, from another folder."""
    return subprocess.run(
        [sys.executable, str(ROOT / script), *arguments],
        cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def call(monkeypatch: pytest.MonkeyPatch, module: Any, *arguments: str) -> int:
    """Run a script's `main` in this process."""
    monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *arguments])
    monkeypatch.setenv("COLUMNS", "200")
    status = module.main()
    assert isinstance(status, int)
    return status


def table_rows(out: str) -> list[str]:
    """First words of the lines between the table's rule and the empty line that ends it."""
    body = out.split("───", 1)[1].split("\n", 1)[1]
    return [line.split()[0] for line in body.split("\n")[: [not x.strip() for x in body.split("\n")].index(True)]]


def policies(out: str) -> list[str]:
    """Those of a training's table; a last network with a row of its own counts with the best one."""
    return list(dict.fromkeys(table_rows(out)))


def make_run(path: Path, env_id: str = ID, **more: Any) -> Run:
    """A run folder with an untrained network."""
    options = {"num_devices": 2, "num_services": 1, **more.pop("options", {})}
    run = Run.create(RunConfig(env_id=env_id, options=options, settings=Settings(hidden=(8,)), **more), path)
    if env_id == ID:
        from agents.networks.build import build_network
        from agents.worlds import make_worlds

        system = make_worlds(ID, 1, "default", options).system
        run.save_network(build_network(run.config.agent, run.config.policy, run.config.settings, system), BEST)
    return run
