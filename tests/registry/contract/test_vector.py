"""Vector environments against single ones, and against Gymnasium's own over all autoreset modes."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from tests.helpers import assert_same, random_actions, rollout, row_of
from tests.registry.cases import EPISODE, every_case, every_id, reset_info

MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP]
every_mode = pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)


def single_steps(env: gym.Env[Any, Any], mode: AutoresetMode, last: Any, action: Any) -> Any:
    """What the row of a vector environment has to return, said with a single environment."""
    finished = len(last) == 5 and (last[2] or last[3])
    if mode is AutoresetMode.NEXT_STEP and finished:
        observation, info = env.reset()
        return observation, 0.0, False, False, info
    observation, reward, terminated, truncated, info = env.step(action)
    if mode is AutoresetMode.SAME_STEP and (terminated or truncated):
        final = {"final_obs": observation, "final_info": info}
        observation, info = env.reset()
        info = {**info, **final}
    return observation, reward, terminated, truncated, info


@pytest.mark.parametrize("num_envs", [1, 3, 16])
@every_mode
@every_case
def test_rows_equal_single_environments(case, mode, num_envs):
    """Bit for bit, infos too, over several episodes, and out of step after a partial reset."""
    vector = case.vector(num_envs, mode)
    singles = [case.single() for _ in range(num_envs)]
    observations, _ = vector.reset(seed=5)
    lasts: list[Any] = [env.reset(seed=5 + i) for i, env in enumerate(singles)]
    for step, actions in enumerate(random_actions(vector.action_space, 3 * EPISODE + 2)):
        assert_same(list(observations), [last[0] for last in lasts])
        if step in (2, 5, EPISODE + 1):
            mask = np.arange(num_envs) % 3 == step % 3
            if mask.any():
                seed = None if step == 5 else 100 + step
                observations, info = vector.reset(seed=seed, options={"reset_mask": mask})
                assert_same(info, reset_info(vector.system, observations, mask))
                for i in np.flatnonzero(mask).tolist():
                    lasts[i] = singles[i].reset(seed=None if seed is None else seed + i)
                assert_same(list(observations), [last[0] for last in lasts])
        observations, reward, terminated, truncated, info = vector.step(actions)
        for i, env in enumerate(singles):
            lasts[i] = single_steps(env, mode, lasts[i], actions[i])
            ours = (observations[i], float(reward[i]), bool(terminated[i]), bool(truncated[i]), row_of(info, i))
            assert_same(ours, lasts[i], f"step {step}, row {i}")


@every_mode
@every_case
def test_equals_sync_vector_env(case, mode):
    """Everything, down to keys, masks, dtypes and zeros, also when rows finish at different steps."""
    ours, theirs = case.vector(5, mode), case.sync(5, mode)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert ours.metadata["autoreset_mode"] is theirs.metadata["autoreset_mode"]
    assert_same(ours.reset(seed=[3, None, 5, 8, 9][0]), theirs.reset(seed=3))
    masks = {2: [1, 0, 0, 1, 0], 4: [0, 0, 1, 0, 0], EPISODE + 1: [1, 1, 0, 0, 0], EPISODE + 7: [1] * 5}
    for step, actions in enumerate(random_actions(ours.action_space, 4 * EPISODE)):
        if step in masks:
            mask = np.array(masks[step], dtype=bool)
            seeds = [step, step + 1, None, 4, 5]
            assert_same(
                ours.reset(seed=seeds, options={"reset_mask": mask}),
                theirs.reset(seed=seeds, options={"reset_mask": mask}),
                f"reset before step {step}",
            )
        assert_same(ours.step(actions), theirs.step(actions), f"step {step}")


@every_case
def test_equals_sync_vector_env_without_autoreset(case):
    ours, theirs = case.vector(4, AutoresetMode.DISABLED), case.sync(4, AutoresetMode.DISABLED)
    assert_same(ours.reset(seed=3), theirs.reset(seed=3))
    mask, finished = np.array([True, False, False, True]), 0
    for step, actions in enumerate(random_actions(ours.action_space, 3 * EPISODE)):
        if step == 4:
            assert_same(ours.reset(options={"reset_mask": mask}), theirs.reset(options={"reset_mask": mask}))
        result = ours.step(actions)
        assert_same(result, theirs.step(actions), f"step {step}")
        done = result[2] | result[3]
        if done.any():
            finished += int(done.sum())
            with pytest.raises(RuntimeError, match="reset_mask"):
                ours.step(actions)
            assert_same(ours.reset(options={"reset_mask": done}), theirs.reset(options={"reset_mask": done}))
    assert finished >= 4


@every_id
def test_equals_async_vector_env(case):
    """Spawned processes that find the id through the module's name."""
    ours = case.vector(2)
    theirs = gym.make_vec(
        f"edge_envs:{case.env_id}", num_envs=2, vectorization_mode="async", vector_kwargs={"context": "spawn"},
        max_episode_steps=EPISODE,
    )  # fmt: skip
    try:
        actions = random_actions(ours.action_space, EPISODE + 3)
        assert_same(rollout(ours, actions, 2), rollout(theirs, actions, 2))
    finally:
        theirs.close()


@every_case
def test_a_row_does_not_depend_on_the_actions_of_the_others(case):
    env, other = case.vector(3), case.vector(3)
    actions = random_actions(env.action_space, EPISODE)
    changed = [action.copy() for action in random_actions(env.action_space, EPISODE, seed=1)]
    for one, two in zip(actions, changed, strict=True):
        two[1] = one[1]
    env.reset(seed=0)
    other.reset(seed=0)
    differed = 0
    for one, two in zip(actions, changed, strict=True):
        ours, theirs = env.step(one), other.step(two)
        assert_same([part[1] for part in ours[:4]], [part[1] for part in theirs[:4]])
        assert_same(row_of(ours[4], 1), row_of(theirs[4], 1))
        differed += ours[1][0] != theirs[1][0]
    assert differed, "actions have an effect"
