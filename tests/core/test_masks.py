"""Action masks: both Gymnasium classes report them in info, in line with the observation returned with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from numpy.typing import NDArray

from edge_envs.core.env import EdgeEnv, EdgeVectorEnv
from edge_envs.core.system import System
from edge_envs.dtirs.config import DTIRSConfig
from edge_envs.dtirs.system import DTIRSSystem
from tests.core.test_env import MODES, Toy, ToyConfig, ToyState, every_mode
from tests.helpers import arrays_in, assert_same, random_actions, row_of, scribble, steps_like

STEPS = 4
CHOICES = 3


class MaskedToy(Toy):
    """The walkers, of whom one may take a choice when its place allows it; the first choice is always open."""

    mask_view = np.array([[3, 4, 5], [6, 7, 8]])

    def __init__(self, config: ToyConfig) -> None:
        super().__init__(config)
        self.observation_space = spaces.Box(-1e3, 1e3, (9,), np.float32)

    def observe(self, state: ToyState) -> NDArray[np.float32]:
        open_choices = np.floor(4 * state.place)[:, :, None] % [1, 2, 3] == 0
        return np.hstack([super().observe(state), open_choices.reshape(len(state.place), -1)]).astype(np.float32)


def vector(num_envs: int, mode: AutoresetMode) -> EdgeVectorEnv:
    return EdgeVectorEnv(MaskedToy, num_envs, max_episode_steps=STEPS, autoreset_mode=mode)


def sync(num_envs: int, mode: AutoresetMode) -> SyncVectorEnv:
    return SyncVectorEnv([lambda: TimeLimit(EdgeEnv(MaskedToy), STEPS)] * num_envs, autoreset_mode=mode)


def mask_in(observation: NDArray[Any]) -> NDArray[np.int8]:
    """The mask, computed from the observation here."""
    return observation[..., 3:].reshape(*observation.shape[:-1], 2, CHOICES).astype(np.int8)


# The contract


def test_the_mask_is_read_off_the_observation():
    system = MaskedToy(ToyConfig())
    observation = np.zeros((5, 9), np.float32)
    observation[2, [3, 7]] = 1.0
    mask = system.action_mask(observation)
    assert mask is not None
    assert mask.shape == (5, 2, CHOICES)
    assert mask.dtype == np.bool_
    assert np.argwhere(mask).tolist() == [[2, 0, 0], [2, 1, 1]]
    single = system.action_mask(observation[2])
    assert single is not None
    np.testing.assert_array_equal(single, mask[2])


def test_a_system_closes_nothing_and_groups_nobody_unless_it_says_so():
    system: System[Any] = Toy(ToyConfig())
    assert system.mask_view is None
    assert system.group_view is None
    assert system.action_mask(np.zeros((2, 3), np.float32)) is None
    assert system.own_view is system.member_view


def test_own_facts_of_a_wing_whose_members_see_each_other():
    """DTIRS: the member view includes the others' facts, `own_view` does not."""
    system = DTIRSSystem(DTIRSConfig.from_options("default", {"num_devices": 3}))
    facts, size = system.own_view.shape[1], len(system.observation_space.sample())
    assert facts < system.member_view.shape[1]
    np.testing.assert_array_equal(system.own_view, system.member_view[:, :facts])
    everything = np.unique(system.own_view)
    np.testing.assert_array_equal(everything, np.arange(size))  # nothing is lost when all members are seen
    shared = set.intersection(*(set(columns) for columns in system.own_view.tolist()))
    assert 3 * (facts - len(shared)) + len(shared) == size


# The single environment


def test_infos_of_reset_and_step_hold_the_mask_of_their_observation():
    env = EdgeEnv(MaskedToy)
    seen = set()
    for episode in range(20):
        observation, info = env.reset(seed=episode)
        assert list(info)[-1] == "action_mask"
        for _ in range(STEPS):
            mask = info["action_mask"]
            assert (mask.dtype, mask.shape) == (np.dtype(np.int8), (2, CHOICES))
            np.testing.assert_array_equal(mask, mask_in(observation))
            seen.add(mask.tobytes())
            env.action_space.seed(episode)
            action = env.action_space.sample(mask=tuple(mask))
            assert mask[[0, 1], action].all()
            observation, _, _, _, info = env.step(action)
    assert len(seen) > 5  # of 16


def test_a_mask_is_the_callers_own():
    env, twin = EdgeEnv(MaskedToy), EdgeEnv(MaskedToy)
    _, info = env.reset(seed=0)
    twin.reset(seed=0)
    for _ in range(STEPS):
        scribble(info)
        result, expected = env.step([1, 1]), twin.step([1, 1])
        assert_same(result, expected)
        info = result[4]


# The vector environment


@pytest.mark.parametrize("num_envs", [1, 2, 3])
@every_mode
def test_masks_as_in_sync_vector_env(mode, num_envs):
    """Rows end alone and together, and some are reset in between; keys, zeros and dtypes are Gymnasium's own."""
    ours, theirs = vector(num_envs, mode), sync(num_envs, mode)
    ends = {int((result[2] | result[3]).sum()) for result in steps_like(ours, theirs, 150)}
    assert ends == set(range(num_envs + 1))


def test_masks_without_autoreset_as_in_sync_vector_env():
    ours, theirs = vector(4, AutoresetMode.DISABLED), sync(4, AutoresetMode.DISABLED)
    assert_same(ours.reset(seed=1), theirs.reset(seed=1))
    for actions in random_actions(ours.action_space, 60):
        result = ours.step(actions)
        assert_same(result, theirs.step(actions))
        done = result[2] | result[3]
        if done.any():
            assert_same(ours.reset(options={"reset_mask": done}), theirs.reset(options={"reset_mask": done.copy()}))


@every_mode
def test_the_mask_beside_every_observation_is_its_own(mode):
    env = vector(5, mode)
    observation, info = env.reset(seed=3)
    finals = 0
    for actions in random_actions(env.action_space, 60):
        np.testing.assert_array_equal(info["action_mask"], mask_in(observation))
        assert info["_action_mask"].all()
        observation, _, terminated, truncated, info = env.step(actions)
        if mode is AutoresetMode.SAME_STEP:
            for row in np.flatnonzero(terminated | truncated).tolist():
                final = row_of(info, row)["final_info"]["action_mask"]
                np.testing.assert_array_equal(final, mask_in(info["final_obs"][row]))
                finals += (final != info["action_mask"][row]).any()
    assert finals > 5 or mode is AutoresetMode.NEXT_STEP


def test_arrays_of_an_info_are_the_callers_own():
    for mode in MODES:
        env, twin = vector(3, mode), vector(3, mode)
        result: tuple[Any, ...] = env.reset(seed=0)
        expected: tuple[Any, ...] = twin.reset(seed=0)
        for actions in random_actions(env.action_space, 3 * STEPS):
            assert_same(result, expected)
            arrays = list(arrays_in(result))
            masks = [array for array in arrays if array.dtype == np.int8]
            assert masks
            assert not any(np.shares_memory(mask, other) for mask in masks for other in arrays if mask is not other)
            scribble(result[-1])
            result, expected = env.step(actions), twin.step(actions)
