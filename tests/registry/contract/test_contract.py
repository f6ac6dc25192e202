"""The contract of a `System`: rows apart, resets complete, copies equal."""

from __future__ import annotations

import pickle
from copy import deepcopy

import numpy as np

from tests.helpers import arrays_in, random_actions
from tests.registry.cases import every_case


@every_case
def test_a_step_of_some_rows_leaves_the_others_alone(case):
    system = case.system()
    batch, rows = 5, np.array([1, 4])
    state, twin = system.allocate(batch), system.allocate(batch)
    # scratch memory may happen to be as long as the batch; rows are what grows with it
    larger = [array.shape for array in arrays_in(tuple(system.allocate(batch + 1)))]
    rngs = [[np.random.default_rng(seed) for seed in range(batch)] for _ in range(2)]
    for one, own in zip((state, twin), rngs, strict=True):
        system.reset(one, np.arange(batch), own)
    actions = random_actions(case.vector(batch).action_space, 6)
    for round_, action in enumerate(actions):
        action = system.check_actions(action, batch)
        before = deepcopy(state)
        draws = [rng.bit_generator.state for rng in rngs[0]]
        part = system.step(state, rows, action, rngs[0])
        if round_ == 0:
            full = system.step(twin, np.arange(batch), action, rngs[1])
        others = np.setdiff1d(np.arange(batch), rows)
        for name in ("observation", "reward", "terminated", "member_reward", "metrics"):
            ours = getattr(part, name)
            assert not ours[others].any(), f"{name} of rows that were not stepped"
            if round_ == 0:
                np.testing.assert_array_equal(ours[rows], getattr(full, name)[rows], err_msg=name)
        assert all(not values[others].any() for values in part.member_metrics.values())
        for old, new, shape in zip(arrays_in(tuple(before)), arrays_in(tuple(state)), larger, strict=True):
            if new.shape != shape:
                np.testing.assert_array_equal(new[others], old[others])
        assert all(rngs[0][row].bit_generator.state == draws[row] for row in others)
        np.testing.assert_array_equal(system.observe(state)[rows], part.observation[rows])


@every_case
def test_a_reset_forgets_everything(case):
    """A used and reset world equals a fresh one with the same generator."""
    system = case.system()
    used, fresh = system.allocate(2), system.allocate(2)
    rows, actions = np.arange(2), random_actions(case.vector(2).action_space, 30)
    rngs = [np.random.default_rng(seed) for seed in (8, 9)]
    system.reset(used, rows, rngs)
    for action in actions:
        system.step(used, rows, system.check_actions(action, 2), rngs)
    own = [deepcopy(rngs), deepcopy(rngs)]
    system.reset(used, rows, own[0])
    system.reset(fresh, rows, own[1])
    np.testing.assert_array_equal(system.observe(used), system.observe(fresh))
    for action in actions:
        action = system.check_actions(action, 2)
        ours, theirs = system.step(used, rows, action, own[0]), system.step(fresh, rows, action, own[1])
        for name in ("observation", "reward", "terminated", "member_reward", "metrics"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)


@every_case
def test_systems_are_copied_as_what_they_are_built_from(case):
    system = case.system()
    copied = pickle.loads(pickle.dumps(system))
    assert copied.config == system.config
    assert copied.observation_space == system.observation_space
    state, other = system.allocate(1), copied.allocate(1)
    rows = np.arange(1)
    for one, its in ((system, state), (copied, other)):
        one.reset(its, rows, [np.random.default_rng(0)])
    np.testing.assert_array_equal(system.observe(state), copied.observe(other))
