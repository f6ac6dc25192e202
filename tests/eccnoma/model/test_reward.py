"""The order in which metrics are declared."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import edge_envs

STEPS = """
import json
import gymnasium as gym
import edge_envs
env = gym.make("ECCNOMA-v0", num_users=3, num_aps=1, num_subchannels=2, sweeps=1).unwrapped
env.reset(seed=0)
infos = [env.step([step % 2, 0, 0])[4] for step in range(3)]
print(json.dumps([[[key, str(value)] for key, value in info.items()] for info in infos]))
"""


def played(tree: Path) -> list[list[tuple[str, str]]]:
    """Names and values of `info` in three steps with the package of a source tree, in plain Python."""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(tree)}
    run = subprocess.run([sys.executable, "-c", STEPS], cwd=tree, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    found: Any = json.loads(run.stdout)
    return [[(key, value) for key, value in info] for info in found]


def test_reversed_declarations_change_only_the_order(tmp_path):
    """Metrics and member metrics are written by name, so that no value depends on their positions."""
    package = Path(edge_envs.__file__).parent
    shutil.copytree(package, tmp_path / "edge_envs", ignore=shutil.ignore_patterns("__pycache__"))
    reward = tmp_path / "edge_envs" / "eccnoma" / "model" / "reward.py"
    line = "M, MEMBER = columns("
    text = reward.read_text()
    assert text.count(line) == 1
    reward.write_text(text.replace(line, f"METRICS, MEMBER_METRICS = METRICS[::-1], MEMBER_METRICS[::-1]\n{line}"))
    for ours, theirs in zip(played(package.parent), played(tmp_path), strict=True):
        assert dict(ours) == dict(theirs)
        assert [key for key, _ in ours] != [key for key, _ in theirs]
