"""Snapshots of the vector environment: a restored one continues bit for bit, and impossible values are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.policy import RandomPolicy
from edge_envs.core.runtime.snapshot import arrays_of, pack_generators, unpack_generators
from tests.registry.cases import EPISODE, Case, every_case, every_id

ROWS = 3


def walk(env: EdgeVectorEnv, policy: RandomPolicy, steps: int) -> list[Any]:
    """Everything that some steps return, as nested lists."""
    return [flat(env.step(policy.predict(np.zeros((ROWS, 1)))[0])) for _ in range(steps)]


def flat(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: flat(entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return [flat(entry) for entry in value]
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [flat(entry) for entry in value.tolist()]
    return np.asarray(value).tobytes()


@every_case
@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_a_restored_environment_goes_on_bit_for_bit(case: Case, mode):
    env = case.vector(ROWS, mode)
    policy = RandomPolicy(env.single_action_space, 3)
    env.reset(seed=5)
    walk(env, policy, EPISODE + 2)
    taken = env.snapshot()
    saved = policy._rng.bit_generator.state
    went_on = walk(env, policy, 2 * EPISODE)
    other = case.vector(ROWS, mode)
    other.restore(taken)
    policy._rng.bit_generator.state = saved
    assert walk(other, policy, 2 * EPISODE) == went_on
    env.restore(taken)
    policy._rng.bit_generator.state = saved
    assert walk(env, policy, 2 * EPISODE) == went_on


@every_id
def test_a_single_environment_goes_on_from_a_row_of_many(case: Case):
    env, single = case.vector(ROWS, max_episode_steps=None), case.bare()
    policy = RandomPolicy(env.single_action_space, 3)
    env.reset(seed=5)
    walk(env, policy, 3)
    single.restore({name: array[1:2] for name, array in env.snapshot().items()})
    assert single.episode_steps.tolist() == [3]
    for _ in range(EPISODE):
        action = policy.predict(np.zeros((ROWS, 1)))[0]
        observation, reward, *_ = env.step(action)
        ours = single.step(action[1])
        np.testing.assert_array_equal(ours[0], observation[1])
        assert ours[1] == reward[1]


@every_case
def test_the_states_that_occur_are_within_their_limits(case: Case):
    env = case.vector(ROWS)
    policy = RandomPolicy(env.single_action_space, 3)
    env.reset(seed=5)
    for _ in range(20):
        env.step(policy.predict(np.zeros((ROWS, 1)))[0])
        env.restore(env.snapshot())


@every_case
def test_every_whole_number_of_a_state_has_limits(case: Case):
    env = case.vector(ROWS)
    system = env.system
    arrays = dict(arrays_of(env.state, system.scratch))
    whole = {name for name, array in arrays.items() if array.dtype.kind in "iu"}
    assert whole <= set(system.limits) <= set(arrays)
    assert all(len(array) == ROWS for array in arrays.values()), "all but scratch has a row per world"


@every_id
def test_values_beyond_the_limits_are_refused_and_change_nothing(case: Case):
    env = case.vector(ROWS)
    env.reset(seed=5)
    before = env.snapshot()
    for name, (low, high) in env.system.limits.items():
        if np.isinf(high):
            continue
        for beyond in (low - 1, 2 * high + 1):
            taken = env.snapshot()
            array = taken[f"state.{name}"]
            if array.dtype.kind == "u" and not 0 <= beyond <= 255:
                continue
            array.flat[-1] = beyond
            with pytest.raises(ValueError, match=f"'{name}' holds values that are not within"):
                env.restore(taken)
    assert flat(env.snapshot()) == flat(before)


@every_id
def test_snapshots_of_other_environments_are_refused(case: Case):
    env = case.vector(ROWS)
    env.reset(seed=5)
    with pytest.raises(ValueError, match=f"has shape .* expected \\({ROWS}"):
        env.restore(case.vector(ROWS + 1).snapshot())
    taken = env.snapshot()
    del taken["generators"]
    with pytest.raises(ValueError, match="'generators' is missing"):
        env.restore(taken)
    with pytest.raises(ValueError, match="'more' is unknown"):
        env.restore({**env.snapshot(), "more": np.zeros(1)})
    taken = env.snapshot()
    name = next(key for key, array in taken.items() if key.startswith("state.") and array.dtype.kind == "f")
    taken[name].flat[0] = np.nan
    with pytest.raises(ValueError, match="holds values that are not"):
        env.restore(taken)


def test_generators_go_on_where_they_were():
    rngs = [np.random.default_rng(seed) for seed in range(4)]
    rngs[1].integers(10, dtype=np.uint32)  # leaves half of a word for the next one
    words = pack_generators(rngs)
    assert words.shape == (4, 6)
    for ours, theirs in zip(unpack_generators(words), rngs, strict=True):
        assert ours.bit_generator.state == theirs.bit_generator.state
        assert ours.integers(10, dtype=np.uint32) == theirs.integers(10, dtype=np.uint32)
        assert ours.random() == theirs.random()
