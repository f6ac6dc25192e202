"""Metrics are written by name: the order of their declaration changes nothing else."""

import json
import os
import subprocess
import sys

PLAY = """
import inspect, json, sys
import numpy as np
from edge_envs.lyappo.model import reward

if sys.argv[1] == "reversed":
    source = inspect.getsource(reward)
    assert source.count("\\nM, MEMBER =") == 1
    reverse = "\\nMETRICS, MEMBER_METRICS = METRICS[::-1], MEMBER_METRICS[::-1]"
    source = source.replace("\\nM, MEMBER =", reverse + "\\nM, MEMBER =")
    exec(compile(source, reward.__file__, "exec"), reward.__dict__)

from edge_envs.lyappo.system import LyaPPOSystem

system = LyaPPOSystem.from_options("default", {"num_devices": 2, "arrival_rate": 1.0, "queue_capacity": 2})
state, rows, rngs = system.allocate(2), np.arange(2), [np.random.default_rng(seed) for seed in range(2)]
system.reset(state, rows, rngs)
for _ in range(3):
    outcome = system.step(state, rows, np.full((2, 4), 2), rngs)
named = {metric.name: outcome.metrics[:, i].tolist() for i, metric in enumerate(system.metrics)}
members = {name: values.tolist() for name, values in outcome.member_metrics.items()}
print(json.dumps([list(named), named, members, outcome.reward.tolist(), outcome.member_reward.tolist()]))
"""


def played(order: str) -> list:
    """Names, metrics, member metrics and rewards of a few steps, with the metrics declared in the given order."""
    done = subprocess.run(
        [sys.executable, "-c", PLAY, order],
        capture_output=True, text=True, check=True, env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )  # fmt: skip
    return list(json.loads(done.stdout))


def test_the_order_of_the_metrics_does_not_matter():
    usual, other = played("usual"), played("reversed")
    assert other[0] == usual[0][::-1]
    assert other[1:] == usual[1:]
    assert all(value > 0 for name in ("tasks_dropped", "backlog_local_cycles") for value in usual[1][name])
