"""Run folders with untrained networks, for what only reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agents.hyperparameters.settings import Settings
from agents.networks.build import build_network
from agents.runs.folder import BEST, EVALUATION, LAST, Run, RunConfig
from agents.worlds import make_worlds
from tests.agents.toy import TOY

CURVE = "step,return,reward\n0,1.5,-2.0\n64,2.5,-1.0\n"


def toy_run(path: Path, env_id: str = TOY, **more: Any) -> Run:
    """A finished run; `more` is of its configuration."""
    config = RunConfig(env_id=env_id, **{"settings": Settings(hidden=(8,)), **more})
    run = Run.create(config, path)
    system = make_worlds(env_id, 1, config.preset, config.options).system
    network = build_network(config.agent, config.policy, config.settings, system)
    for name in (BEST, LAST):
        run.save_network(network, name)
    (path / EVALUATION).write_text(CURVE)
    run.finish({})
    return run
