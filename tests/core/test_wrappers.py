"""Continuous actions for partition choices: the mapping, its errors, and both wrappers around real environments."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import edge_envs  # noqa: F401  (registers the ids)
from edge_envs.core.wrappers import ContinuousPartition, ContinuousPartitionVector, partition_box, to_index
from tests.helpers import assert_same, random_actions, rollout

ENV_ID = "LyaPPO-v0"


def single(**options: Any) -> ContinuousPartition:
    return ContinuousPartition(gym.make(ENV_ID, **options))


def vector(num_envs: int, **options: Any) -> ContinuousPartitionVector:
    return ContinuousPartitionVector(gym.make_vec(ENV_ID, num_envs=num_envs, **options))


# The mapping


@pytest.mark.parametrize("choices", [1, 2, 3, 6, 7, 49])
def test_each_index_has_an_equal_part(choices):
    points = 1000 * choices
    grid = -1.0 + 2.0 * (np.arange(points) + 0.5) / points
    index = to_index(grid[:, None], np.array([choices]))
    assert index.dtype == np.int64
    assert np.bincount(index[:, 0], minlength=choices).tolist() == [1000] * choices
    assert (np.diff(index[:, 0]) >= 0).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, int])
def test_endpoints(dtype):
    choices = np.array([1, 2, 6, 101])
    assert to_index(np.full(4, -1, dtype=dtype), choices).tolist() == [0, 0, 0, 0]
    assert to_index(np.full(4, 1, dtype=dtype), choices).tolist() == [0, 1, 5, 100]


def test_next_to_the_endpoints_and_borders():
    choices = np.array([2, 2, 5, 5])
    below = np.nextafter(np.float32(0.0), np.float32(-1.0))
    assert to_index(np.array([0.0, below, np.nextafter(1.0, 0.0), np.nextafter(-1.0, 0.0)]), choices).tolist() in (
        [1, 0, 4, 0],
        [1, 1, 4, 0],  # (a + 1) / 2 rounds to a half
    )


def test_every_index_can_be_reached_from_float32():
    choices = np.arange(1, 300)
    for which in range(299):
        middle = np.minimum((2.0 * which + 1.0) / choices - 1.0, 1.0).astype(np.float32)
        np.testing.assert_array_equal(to_index(middle, choices), np.minimum(which, choices - 1))


def test_shapes():
    choices = np.array([2, 3])
    assert to_index([0.9, 0.9], choices).tolist() == [1, 2]
    assert to_index([[0.9, 0.9]] * 4, choices).shape == (4, 2)
    assert to_index(np.zeros((0, 2)), choices).shape == (0, 2)


@pytest.mark.parametrize("action", [0.5, [0.5], [0.1] * 3, [[0.1]], [[0.1], [0.2]], [], np.zeros((3, 1))])
def test_no_silent_broadcasting(action):
    with pytest.raises(ValueError, match=r"action has shape .*, expected \(\.\.\., 2\)"):
        to_index(action, np.array([2, 3]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1.0000001, -1.0000001, 7.0])
def test_outside_or_nan(bad):
    with pytest.raises(ValueError, match=r"action\[1\] = .* is outside \[-1, 1\]") as caught:
        to_index(np.array([0.0, bad]), np.array([2, 3]))
    assert repr(float(bad)) in str(caught.value)
    assert ("gymnasium.wrappers.ClipAction" in str(caught.value)) == (not np.isnan(bad))
    with pytest.raises(ValueError, match=r"action\[1\] = .* of row 2 is outside"):
        to_index(np.array([[0.0, 0.0], [0.0, 0.0], [0.0, bad]]), np.array([2, 3]))


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1.0, 1.0, (3,), np.float32),
        spaces.Discrete(3),
        spaces.MultiBinary(3),
        spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])),
        spaces.MultiDiscrete([2, 3], start=[1, 0]),
    ],
)
def test_spaces_without_a_partition(space):
    with pytest.raises(TypeError, match="needs a one-dimensional MultiDiscrete action space, got"):
        partition_box(space)


def test_the_box():
    box = partition_box(spaces.MultiDiscrete([2, 3]))
    assert box == spaces.Box(-1.0, 1.0, (2,), np.float32)


# Around environments


@pytest.mark.parametrize("wrap", [lambda **options: single(**options), lambda **options: vector(2, **options)])
def test_joint_decisions_are_continuous_already(wrap):
    with pytest.raises(TypeError, match="MultiDiscrete"):
        wrap(decision="joint")


def test_checkers():
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checker.check_env(single(), warn=True, skip_render_check=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version.*")
        check_env(single(), skip_render_check=True)


def test_same_as_the_indices_themselves():
    env, plain = single(max_episode_steps=7), gym.make(ENV_ID, max_episode_steps=7)
    assert isinstance(plain.action_space, spaces.MultiDiscrete)
    assert env.action_space.shape == plain.action_space.shape
    boxes = random_actions(env.action_space, 10)
    indices = [to_index(box, plain.action_space.nvec) for box in boxes]
    assert all(index in plain.action_space for index in indices)
    assert_same(rollout(env, boxes, 0), rollout(plain, indices, 0))


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP], ids=lambda mode: mode.value)
def test_vector_equals_single(mode):
    many = vector(3, max_episode_steps=5, autoreset_mode=mode)
    assert many.action_space == spaces.Box(-1.0, 1.0, (3, *many.single_action_space.shape), np.float32)  # type: ignore[misc]
    one = single(max_episode_steps=5)
    assert one.action_space == many.single_action_space
    assert many.metadata["autoreset_mode"] is mode
    observations, _ = many.reset(seed=3)
    observation, _ = one.reset(seed=5)
    np.testing.assert_array_equal(observations[2], observation)
    for actions in random_actions(many.action_space, 4):
        observations, reward, *_ = many.step(actions)
        observation, alone, *_ = one.step(actions[2])
        np.testing.assert_array_equal(observations[2], observation)
        assert reward[2] == alone


@pytest.mark.parametrize("shape", [(), (1,), (2,), (8, 1), (1, 8), (3, 8)])
def test_single_refuses_other_shapes(shape):
    env = single()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="shape"):
        env.step(np.zeros(shape, dtype=np.float32))


@pytest.mark.parametrize("shape", [(), (8,), (3, 1), (1, 8), (2, 8), (3, 8, 1), (3, 3, 8)])
def test_vector_refuses_other_shapes(shape):
    env = vector(3)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="shape"):
        env.step(np.zeros(shape, dtype=np.float32))


def test_errors_reach_the_user():
    env, many = single(), vector(2)
    env.reset(seed=0)
    many.reset(seed=0)
    for bad in (1.5, np.nan):
        with pytest.raises(ValueError, match=r"action\[0\] = .* is outside \[-1, 1\]"):
            env.step(np.full(8, bad, dtype=np.float32))
        with pytest.raises(ValueError, match=r"action\[0\] = .* of row 0 is outside \[-1, 1\]"):
            many.step(np.full((2, 8), bad, dtype=np.float32))


def test_specification_names_the_wrapper():
    env = single(max_episode_steps=5)
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert isinstance(again, ContinuousPartition)
    actions = random_actions(env.action_space, 7)
    assert_same(rollout(again, actions, 0), rollout(env, actions, 0))


def test_pickle():
    env = single(max_episode_steps=5)
    actions = random_actions(env.action_space, 7)
    env.reset(seed=1)
    env.step(actions[0])
    copied = pickle.loads(pickle.dumps(env))
    assert_same([copied.step(action) for action in actions[1:4]], [env.step(action) for action in actions[1:4]])


def test_wrapped_in_gymnasiums_own_vector_environments():
    theirs = gym.make_vec(ENV_ID, 2, vectorization_mode="sync", wrappers=[ContinuousPartition], max_episode_steps=5)
    ours = vector(2, max_episode_steps=5)
    actions = random_actions(ours.action_space, 12)
    assert_same(rollout(ours, actions, 0), rollout(theirs, actions, 0))
