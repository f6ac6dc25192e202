"""Metrics and member metrics are written by name."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import edge_envs  # noqa: F401  (registers the ids)
from edge_envs.core.kernels.metrics import columns
from edge_envs.semcom.model import reward

WRITERS = ("account", "account_cost", "account_quality", "quality_reward", "report_member", "certify")


def accounted(monkeypatch: pytest.MonkeyPatch, order: int) -> tuple[dict[str, float], dict[str, np.ndarray], float]:
    """Metrics, member metrics and reward of a round by name, written in Python with the declarations in an order."""
    env: Any = gym.make("SemCom-v0", num_devices=3, calibration_rounds=2)
    env.reset(seed=0)
    env.step(np.array([-0.5, 0.0, 0.5]))
    p, state = env.unwrapped.system.parameters, env.unwrapped.state
    declared, layers = reward.METRICS[::order], ("reward", *reward.MEMBER_METRICS)[::order]
    monkeypatch.setattr(reward, "M", columns(declared))
    monkeypatch.setattr(reward, "MEMBER", columns(layers))
    for name in WRITERS:
        monkeypatch.setattr(reward, name, getattr(getattr(reward, name), "py_func", getattr(reward, name)))
    total, member, metrics = np.zeros(1), np.zeros((len(layers), 1, 3)), np.zeros((1, len(declared)))
    reward.account(p, state, 0, total, member, metrics)
    reward.certify(p, state, 0, np.inf, metrics)
    monkeypatch.undo()
    names = [metric.name for metric in declared]
    return dict(zip(names, metrics[0].tolist(), strict=True)), dict(zip(layers, member[:, 0], strict=True)), total[0]


def test_the_order_of_declarations_changes_nothing(monkeypatch):
    """Reversed declarations give the same value of every metric and member metric."""
    metrics, members, total = accounted(monkeypatch, 1)
    reversed_metrics, reversed_members, reversed_total = accounted(monkeypatch, -1)
    assert list(metrics) == list(reversed(reversed_metrics))
    assert metrics == reversed_metrics
    assert total == reversed_total
    for name, values in members.items():
        np.testing.assert_array_equal(values, reversed_members[name], err_msg=name)
    # Values that a wrong column would change.
    assert len({*metrics.values()}) > 15
    assert len({values.tobytes() for values in members.values()}) > 10
