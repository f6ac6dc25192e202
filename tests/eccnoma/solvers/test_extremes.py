"""Links beyond all use: numbers stay numbers, and nobody is put where there is no seat."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import edge_envs  # noqa: F401  (registers the ids)
from edge_envs.eccnoma.solvers import api
from edge_envs.eccnoma.solvers.problem import RadioProblem


@pytest.mark.parametrize("gain", [1e-100, 1e-200, 1e-300, 5e-324])
def test_hopeless_links_leave_everybody_a_seat(gain):
    users, aps, subchannels = 40, 2, 7
    problem = RadioProblem(
        gain=np.full((subchannels, users, aps), gain), ap=np.arange(users) % aps, bits=np.full(users, 1e5),
        delay_weight=np.full(users, 1.0), energy_weight=np.full(users, 0.1), bandwidth_hz=1e4, noise_w=1e-16,
        power_min_w=1e-3, power_max_w=0.3, capacity=3,
    )  # fmt: skip
    found = api.assign(problem)
    crowd = np.zeros((aps, subchannels), dtype=np.int64)
    np.add.at(crowd, (problem.ap, found.subchannel), 1)
    assert crowd.sum() == users
    assert crowd.max() <= 3
    assert found.cost > 1e80
    assert not np.isnan(found.cost)


@pytest.mark.parametrize(
    "options",
    [
        {"path_loss_exponent": 10.0, "side_m": 1e6},
        {"path_loss_exponent": 10.0, "side_m": 1e30, "reference_gain_db": -300.0, "num_users": 40},
        {"unit_speed_flop_s": 1.0, "speed_min_flop_s": 1.0, "speed_max_flop_s": 1.0},
        {"bandwidth_up_hz": 1.0, "bandwidth_down_hz": 1.0, "power_up_min_dbm": -300.0, "power_up_max_dbm": -300.0},
        {"bandwidth_up_hz": 1e15, "noise_dbm_per_hz": 300.0},
        {"reference_gain_db": 300.0, "noise_dbm_per_hz": -300.0},
    ],
)  # fmt: skip
def test_extreme_systems_have_finite_rewards(options: dict[str, Any]):
    env: Any = gym.make("ECCNOMA-v0", **options).unwrapped
    observation, _ = env.reset(seed=0)
    for step in range(6):
        action = np.full(env.system.members, step % 2)
        observation, reward, _, _, info = env.step(action)
        assert np.isfinite(reward)
        assert np.isfinite(observation).all()
        assert all(np.isfinite(value).all() for key, value in info.items() if not isinstance(value, dict)), step
        assert reward == pytest.approx(info["member_reward"].sum(), rel=1e-12)
