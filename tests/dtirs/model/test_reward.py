"""Metrics are written by name: the order of their declaration changes nothing else."""

import subprocess
import sys

from edge_envs.core.metrics import columns
from edge_envs.dtirs.model import reward

CODE = """
import sys
import numpy as np
from edge_envs.core.metrics import columns
from edge_envs.dtirs.model import reward
from edge_envs.dtirs.system import DTIRSSystem

if sys.argv[1] == "turned":
    DTIRSSystem.metrics, DTIRSSystem.member_metrics = reward.METRICS[::-1], reward.MEMBER_METRICS[::-1]
    reward.M, reward.MEMBER = columns(DTIRSSystem.metrics), columns(("reward", *DTIRSSystem.member_metrics))
small = {"num_devices": 3, "num_elements": 3, "num_antennas": 2, "phase_samples": 2, "backlog": True}
system = DTIRSSystem.from_options("default", {**small, "phase_gap": 1e-2})
system.reference_s = 1.0
state, rngs = system.allocate(2), [np.random.default_rng(row) for row in range(2)]
system.reset(state, np.arange(2), rngs)
outcome = system.step(state, np.arange(2), np.array([[0, 3, 6], [1, 2, 5]]), rngs)
found = {metric.name: outcome.metrics[:, i].tolist() for i, metric in enumerate(system.metrics)}
found |= {name: values.tolist() for name, values in outcome.member_metrics.items()}
found["reward"], found["member_reward"] = outcome.reward.tolist(), outcome.member_reward.tolist()
print(sorted(found.items()))
"""


def test_the_order_of_the_declaration_changes_nothing(monkeypatch):
    """In plain Python, where kernels read the columns at every call."""
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    as_declared, turned = (
        subprocess.run([sys.executable, "-c", CODE, order], capture_output=True, text=True, check=True).stdout
        for order in ("declared", "turned")
    )
    assert as_declared == turned
    assert "'certificate'" in as_declared


def test_columns_are_those_of_the_declaration():
    assert columns(reward.METRICS) == reward.M
    assert columns(("reward", *reward.MEMBER_METRICS)) == reward.MEMBER
