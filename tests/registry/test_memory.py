"""Returned arrays are the user's, and copies continue alike."""

from __future__ import annotations

import pickle
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from tests.helpers import arrays_in, assert_same, random_actions, rollout, scribble
from tests.registry.cases import EPISODE, every_case, every_id

# Memory


@pytest.mark.parametrize("num_envs", [0, 1, 3])
@every_case
def test_returned_arrays_are_the_users(case, num_envs):
    """No array of a step shares memory with that of another step or with the state, and actions are not kept."""
    env, twin = (
        case.vector(num_envs, AutoresetMode.SAME_STEP) if num_envs else case.single() for _ in range(2)
    )  # fmt: skip
    actions = random_actions(env.action_space, 2 * EPISODE + 1)
    trace = rollout(env, actions, 3, spoil=True)
    assert_same(trace, rollout(twin, actions, 3))
    taken = list(arrays_in(tuple(env.unwrapped.state)))
    for entry in trace:
        arrays = list(arrays_in(entry))
        for array in arrays:
            assert array.flags.writeable
            assert not any(np.may_share_memory(array, other) for other in taken)
        taken += arrays


@pytest.mark.parametrize("num_envs", [0, 3])
@every_id
def test_scribbling_over_returned_arrays_harms_nobody(case, num_envs):
    make = (lambda: case.vector(num_envs)) if num_envs else case.single
    env = make()
    actions = random_actions(env.action_space, 2 * EPISODE + 1)
    expected = rollout(make(), actions, 3)
    returned: Any = env.reset(seed=3)
    for entry in expected[1:]:
        scribble(returned)
        returned = env.reset() if len(entry) == 2 else env.step(actions.pop(0))
        assert_same(returned, entry)


# Copies


@pytest.mark.parametrize("copier", [deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("num_envs", [0, 3])
@every_case
def test_copies_continue_alike(case, num_envs, copier):
    env = case.vector(num_envs) if num_envs else case.single()
    actions = random_actions(env.action_space, 2 * EPISODE + 5)
    env.reset(seed=1)
    for action in actions[:5]:
        env.step(action)
    copied = copier(env)
    assert copied.action_space == env.action_space

    def go_on(one: Any) -> list[Any]:
        rest = [one.step(action) for action in actions[5:EPISODE]]
        return [*rest, *rollout(one, actions[EPISODE:])]

    theirs = go_on(copied)
    assert_same(go_on(env), theirs)


@every_case
def test_a_fresh_environment_can_be_pickled(case):
    env = case.single()
    actions = random_actions(env.action_space, 3)
    copied = pickle.loads(pickle.dumps(env))
    assert_same(rollout(copied, actions, 0), rollout(env, actions, 0))
