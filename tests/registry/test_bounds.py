"""A system's bound, where there is one, is below the cost of every baseline and above its return."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from edge_envs.core.policy import baselines_of, make_baseline
from tests.registry.cases import EPISODE, every_case

SEEDS = [11, 12]


@every_case
def test_no_baseline_passes_the_bound(case):
    env = case.vector(len(SEEDS), AutoresetMode.DISABLED)
    try:
        bound = env.system.bound(SEEDS, EPISODE)
    except NotImplementedError as error:
        pytest.skip(f"no bound: {error}")
    assert bound.metric in [metric.name for metric in env.system.metrics]
    assert bound.least.shape == bound.reward.shape == (len(SEEDS),)
    for name in baselines_of(env):
        observation, info = env.reset(seed=SEEDS)
        policy, total = make_baseline(name, env), np.zeros(len(SEEDS))
        for _ in range(EPISODE):
            observation, reward, _, _, info = env.step(policy.predict(observation)[0])
            total += reward
        least = info[f"episode_mean_{bound.metric}"]
        assert (least >= bound.least - 1e-9 * np.abs(bound.least)).all(), name
        assert (total <= bound.reward + 1e-9 * np.abs(bound.reward)).all(), name
