"""What the baselines of all papers share: copies of rows, rules applied world by world, constants searched once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_envs.core.rules import BestConstantPolicy, RulePolicy, beginning, copy_row


def state_of(values: list[float]) -> Any:
    return SimpleNamespace(queue=np.array(values), seen=-np.array(values))


def env_of(values: list[float]) -> Any:
    system = SimpleNamespace(parameters="p", allocate=lambda batch: state_of([0.0] * batch))
    return SimpleNamespace(system=system, state=state_of(values), episode_steps=np.arange(len(values)))


def test_copy_row_by_name_and_by_mapping():
    source, target = state_of([1.0, 2.0]), state_of([0.0])
    copy_row(source, 1, target, ("queue",))
    assert (target.queue[0], target.seen[0]) == (2.0, 0.0)
    copy_row(source, 0, target, {"queue": "seen"})
    assert target.queue[0] == -1.0


def test_a_rule_sees_a_copy_and_draws_per_world():
    drawn: list[float] = []

    def rule(parameters: str, sketch: Any, rng: np.random.Generator) -> NDArray[np.float64]:
        assert parameters == "p"
        drawn.append(rng.random())
        sketch.queue[0] *= 10.0
        return sketch.queue

    env = env_of([1.0, 2.0, 3.0])
    policy = RulePolicy(rule, ("queue",), env, seed=4)
    actions, state = policy.predict(np.zeros((3, 1)), "kept")
    np.testing.assert_array_equal(actions, [[10.0], [20.0], [30.0]])
    assert state == "kept"
    np.testing.assert_array_equal(env.state.queue, [1.0, 2.0, 3.0])
    assert drawn == [np.random.default_rng([4, row]).random() for row in range(3)]
    single = RulePolicy(rule, ("queue",), env_of([1.0]), seed=4)
    np.testing.assert_array_equal(single.predict(np.zeros(1))[0], [10.0])


def test_a_constant_is_searched_once_per_key():
    searched: list[int] = []

    class Constant(BestConstantPolicy):
        def key(self, row: int) -> bytes:
            return bytes([int(self.env.state.queue[row])])

        def search(self, row: int) -> NDArray[np.float64]:
            searched.append(row)
            return np.array([float(row)])

    policy = Constant(env_of([5.0, 6.0, 5.0]))
    for _ in range(2):
        np.testing.assert_array_equal(policy.predict(np.zeros((3, 1)))[0], [[0.0], [1.0], [0.0]])
    assert searched == [0, 1]


def test_memory_begins_at_resets_and_where_it_is_said():
    env = env_of([0.0, 0.0, 0.0])
    np.testing.assert_array_equal(beginning(env), [True, False, False])
    np.testing.assert_array_equal(beginning(env, [False, False, True]), [True, False, True])
    with pytest.raises(ValueError, match=r"episode_start has shape \(1,\), expected \(3,\)"):
        beginning(env, [True])
