"""Other frameworks on the environments, where they are installed; none is a dependency."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tests.registry.cases import every_id


@every_id
def test_torchrl(case):
    """`GymEnv` passes a keyword of its own, and retries without it on TypeError; infos become tensors."""
    envs: Any = pytest.importorskip("torchrl.envs")
    env = envs.GymEnv(case.env_id).auto_register_info_dict()
    steps = env.rollout(3)
    assert steps.batch_size[0] == 3
    assert {"certificate", "member_reward", "episode_mean_certificate"} <= set(steps["next"].keys())


def test_torchrl_in_a_batch():
    """Its workers are processes of their own, which register the ids by the module that the id names."""
    envs: Any = pytest.importorskip("torchrl.envs")
    assert envs.GymEnv("edge_envs:LyaPPO-v0", num_envs=2).rollout(3).batch_size[:2] == (2, 3)


@every_id
def test_minari(case, tmp_path, monkeypatch):
    """A recorder needs the same keys in all infos, and arrays."""
    minari: Any = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = minari.DataCollector(gym.make(case.env_id, max_episode_steps=3), record_infos=True)
    for _ in range(2):
        env.reset(seed=0)
        for _ in range(3):
            env.step(env.action_space.sample())
    data = env.create_dataset("edge/test-v0", algorithm_name="random")
    assert data.total_steps == 6
    assert next(iter(data)).infos["certificate"].shape == (4,)


def test_maskable_ppo(tmp_path: Path):
    """Trains on the environment as it is, and takes no closed choice."""
    contrib: Any = pytest.importorskip("sb3_contrib")
    env: Any = gym.make("ECCNOMA-v0", max_episode_steps=20)
    model = contrib.MaskablePPO("MlpPolicy", env, n_steps=32, batch_size=32, seed=0).learn(64)
    observation, info = env.reset(seed=1)
    for _ in range(10):
        action, _ = model.predict(observation, action_masks=env.unwrapped.action_masks())
        assert info["action_mask"][np.arange(len(action)), action].all()
        observation, *_, info = env.step(action)
