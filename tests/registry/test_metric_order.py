"""The order in which metrics are declared matters to nothing but the order of the columns."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import edge_envs

PAPERS = {
    "lyappo": ("LyaPPO-v0", {"num_devices": 2}),
    "dtirs": ("DTIRS-v0", {"num_devices": 2, "num_elements": 4}),
    "eccnoma": ("ECCNOMA-v0", {"num_users": 2, "num_aps": 1, "num_subchannels": 1}),
    "semcom": ("SemCom-v0", {"num_devices": 2, "calibration_rounds": 3}),
}
EPISODE = """
import json, sys
import gymnasium as gym
import edge_envs
from numpy import array_repr, float64, ndarray, set_printoptions
set_printoptions(floatmode="unique", threshold=sys.maxsize)
env = gym.make(sys.argv[1], check=True, **json.loads(sys.argv[2]))
env.reset(seed=5)
env.action_space.seed(5)
reported = []
for _ in range(3):
    *_, info = env.step(env.action_space.sample())
    reported.append({name: repr(value.tolist()) for name, value in info.items()})
print(json.dumps(reported))
"""


def reversed_declarations(source: str) -> str:
    """The source with the entries of METRICS and MEMBER_METRICS in reversed order."""
    lines = source.splitlines(keepends=True)
    tuples = [
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("METRICS", "MEMBER_METRICS")
    ]
    assert tuples
    for found in sorted(tuples, key=lambda node: -node.lineno):
        assert isinstance(found, ast.Tuple)
        text = ", ".join(ast.unparse(each) for each in reversed(found.elts))
        first, last = found.lineno - 1, (found.end_lineno or 0) - 1
        lines[first : last + 1] = [f"{lines[first][: found.col_offset]}({text},){lines[last][found.end_col_offset :]}"]
    return "".join(lines)


def played(folder: Path, paper: str) -> list[dict[str, str]]:
    """What three checked steps report, in Python without compilation, with the package in `folder`."""
    env_id, options = PAPERS[paper]
    environment = {**os.environ, "PYTHONPATH": str(folder), "NUMBA_DISABLE_JIT": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", EPISODE, env_id, json.dumps(options)],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    reported: list[dict[str, str]] = json.loads(ran.stdout)
    return reported


@pytest.mark.parametrize("paper", PAPERS)
def test_reversed_declarations_change_nothing(paper, tmp_path):
    package = Path(edge_envs.__file__).parent
    shutil.copytree(package, tmp_path / "edge_envs", ignore=shutil.ignore_patterns("__pycache__"))
    expected = played(tmp_path, paper)
    reward = tmp_path / "edge_envs" / paper / "model" / "reward.py"
    source = reward.read_text()
    changed = reversed_declarations(source)
    assert changed != source
    reward.write_text(changed)
    found = played(tmp_path, paper)
    assert found == expected
    assert [list(each) for each in found] != [list(each) for each in expected]
