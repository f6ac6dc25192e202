"""What evaluations of this environment report beside its metrics."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from agents.evaluation.comparison import headline_of
from agents.evaluation.episodes import play, score
from agents.worlds import EVALUATION_STREAM, make_worlds, stream_seeds, system_of
from edge_envs.core.policy import make_baseline

ENV = "ECCNOMA-v0"
SMALL: dict[str, Any] = {"num_users": 4, "max_episode_steps": 6}


def test_the_mean_log_ratio_is_of_episodes():
    names = ("iterated-best-response", "device-only")
    makers = [partial(make_baseline, name) for name in names]
    scored = [score(make, ENV, "default", SMALL, seeds=2, episodes=3) for make in makers]
    costs = []
    for name in names:
        env = make_worlds(ENV, 6, "default", SMALL)
        seeds = [word for seed in range(2) for word in stream_seeds(EVALUATION_STREAM, seed, 3)]
        costs.append(play(env, make_baseline(name, env, 0), seeds)["relative_cost"])
    ours = np.mean(scored[0]["log_relative_cost"] - scored[1]["log_relative_cost"])
    assert ours == pytest.approx(np.mean(np.log(costs[0] / costs[1])), rel=1e-12)
    assert ours < 0.0


def test_a_cost_of_nothing_has_a_logarithm():
    options = {**SMALL, "num_users": 1, "num_aps": 1, "burst_rate": 0.0, "quiet_rate": 1e-9}
    found = score(lambda env: make_baseline("device-only", env, 0), ENV, "default", options, seeds=1, episodes=2)
    assert found["relative_cost"].tolist() == [0.0]
    assert found["log_relative_cost"].tolist() == [pytest.approx(np.log(1e-12))]


def test_the_table_shows_it_beside_the_cost():
    assert headline_of(system_of(ENV, "default", {}))[:2] == ("relative_cost", "log_relative_cost")
    assert "log_relative_cost" in headline_of(system_of(ENV, "paper", {"num_users": 10}))
