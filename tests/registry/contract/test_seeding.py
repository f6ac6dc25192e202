"""Same seed, same episode; other seeds, other episodes."""

from __future__ import annotations

import numpy as np

from tests.helpers import assert_same, random_actions, rollout
from tests.registry.cases import EPISODE, every_case, every_id


@every_case
def test_twins_are_equal(case):
    actions = random_actions(case.single().action_space, 2 * EPISODE)
    one, other = rollout(case.single(), actions, 7), rollout(case.single(), actions, 7)
    assert_same(one, other)


@every_case
def test_the_same_seed_again(case):
    env = case.single()
    actions = random_actions(env.action_space, EPISODE + 4)
    first = rollout(env, actions, 11)
    assert_same(rollout(env, actions, 11), first)
    vector = case.vector(3)
    batches = random_actions(vector.action_space, EPISODE + 4)
    first = rollout(vector, batches, 11)
    assert_same(rollout(vector, batches, 11), first)


@every_case
def test_other_seeds_and_episodes_differ(case):
    env = case.single()
    actions = random_actions(env.action_space, EPISODE - 1)
    traces = [rollout(env, actions, seed) for seed in (0, 1, None, None)]
    rewards = {tuple(step[1] for step in trace[1:]) for trace in traces}
    assert len(rewards) == len(traces)


@every_id
def test_unseeded_environments_differ(case):
    actions = random_actions(case.single().action_space, 4)
    rewards = {tuple(step[1] for step in rollout(case.single(), actions)[1:]) for _ in range(3)}
    assert len(rewards) == 3
    vector = case.vector(3)
    vector.reset()
    assert len(set(vector.step(np.stack([actions[0]] * 3))[1].tolist())) == 3
