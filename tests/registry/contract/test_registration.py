"""What importing and making registers, and specifications that survive their way through JSON."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import warnings

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode

import edge_envs
from edge_envs.core.env import EdgeVectorEnv
from tests.helpers import assert_same, random_actions, rollout
from tests.registry.cases import SPECS, every_case, every_id

# Registration


def test_there_is_something_to_test():
    assert {spec.id for spec in SPECS} >= {"LyaPPO-v0"}


def test_registering_twice_changes_nothing():
    before = {spec.id: spec.to_json() for spec in SPECS}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(edge_envs)
    assert {spec_id: gym.spec(spec_id).to_json() for spec_id in before} == before


def test_import_is_light():
    heavy = ["torch", "stable_baselines3", "matplotlib", "pygame", "cvxpy", "scipy", "numba"]
    code = f"import edge_envs, sys, json; print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    assert json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout) == []


def test_making_is_light():
    heavy = ["torch", "stable_baselines3", "matplotlib", "pygame", "cvxpy", "scipy.optimize"]
    code = (
        "import gymnasium, sys, json\n"
        f"for name in {[spec.id for spec in SPECS]}: gymnasium.make('edge_envs:' + name)\n"
        f"print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    )
    assert json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout) == []


@every_id
def test_ids_are_versioned_and_have_a_clock(case):
    spec = gym.spec(case.env_id)
    assert spec.version is not None
    assert spec.max_episode_steps
    assert spec.vector_entry_point
    assert case.single(max_episode_steps=None).get_wrapper_attr("_max_episode_steps") == spec.max_episode_steps
    assert case.vector(2, max_episode_steps=spec.max_episode_steps).max_episode_steps == spec.max_episode_steps
    vector = gym.make_vec(case.env_id, num_envs=2).unwrapped
    assert isinstance(vector, EdgeVectorEnv)
    assert vector.max_episode_steps == spec.max_episode_steps
    assert vector.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP


# Specifications


@every_case
def test_specification_survives_json(case):
    env = case.single(max_episode_steps=7)
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    actions = random_actions(env.action_space, 10)
    assert_same(rollout(again, actions, 0), rollout(env, actions, 0))
    assert again.spec == env.spec
    copied = env.spec.make()
    assert_same(rollout(copied, actions, 0), rollout(env, actions, 0))


@every_case
def test_vector_specification_survives_json(case):
    env = gym.make_vec(
        case.env_id, num_envs=3, max_episode_steps=7, autoreset_mode=AutoresetMode.SAME_STEP.value, **case.options
    )
    assert env.spec is not None
    again = gym.make_vec(EnvSpec.from_json(env.spec.to_json()))
    assert (again.num_envs, again.metadata) == (3, env.metadata)
    actions = random_actions(env.action_space, 10)
    assert_same(rollout(again, actions, 0), rollout(env, actions, 0))


@every_id
def test_the_clock_can_be_set(case):
    for steps in (1, 7):
        env, vector = case.single(max_episode_steps=steps), case.vector(2, max_episode_steps=steps)
        env.reset(seed=0)
        vector.reset(seed=0)
        truncations = []
        for actions in random_actions(vector.action_space, steps):
            truncated = env.step(actions[0])[3]
            assert vector.step(actions)[3].tolist() == [truncated, truncated]
            truncations.append(truncated)
        assert truncations == [False] * (steps - 1) + [True]
    never = case.vector(1, max_episode_steps=None)
    never.reset(seed=0)
    assert not any(never.step(actions)[3].any() for actions in random_actions(never.action_space, 250))
