"""Every environment against the checkers of others, and what it shows: pictures, spaces and types."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils import env_checker
from gymnasium.utils.env_checker import check_env, data_equivalence

from edge_envs.core.system import System
from tests.helpers import assert_same, random_actions, rollout
from tests.registry.cases import EPISODE, VARIANTS, Case, every_case, every_heavy_case, every_id, reset_info

# The checkers of others


@pytest.fixture
def known_infos(monkeypatch):
    """Gymnasium's checker compares infos of equal steps with ==, which NaN (nothing is certified) never passes."""

    def known(data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {key: known(each) for key, each in data.items() if isinstance(each, dict) or np.all(each == each)}

    def equivalent(data_1: Any, data_2: Any, exact: bool = False) -> bool:
        return data_equivalence(known(data_1), known(data_2), exact)

    monkeypatch.setattr(env_checker, "data_equivalence", equivalent)


@every_case
@pytest.mark.usefixtures("known_infos")
def test_gymnasium_checker(case):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(case.bare(), skip_render_check=True)


@every_id
def test_gymnasium_checker_with_rendering(case):
    pytest.importorskip("matplotlib")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(case.bare())


@every_case
def test_stable_baselines_checker(case):
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checker.check_env(case.bare(), warn=True, skip_render_check=True)


@every_id
def test_rendering(case):
    pytest.importorskip("matplotlib")
    assert case.single().render_mode is None
    env = case.single(render_mode="rgb_array")
    env.reset(seed=0)
    pictures = [env.render()]
    for action in random_actions(env.action_space, 3):
        env.step(action)
    pictures.append(env.render())
    env.reset()
    pictures.append(env.render())
    assert all(picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3 for picture in pictures)
    assert pictures[0].shape == pictures[1].shape
    assert (pictures[0] != pictures[1]).any()
    # a new episode starts on a clean sheet
    np.testing.assert_array_equal(pictures[0], pictures[2])


@every_id
def test_rendering_changes_nothing(case):
    plain, drawn = case.single(), case.single(render_mode="rgb_array")
    actions = random_actions(plain.action_space, EPISODE + 3)
    assert_same(rollout(plain, actions, 4), rollout(drawn, actions, 4))


# Spaces and types


@every_case
def test_observations_and_types(case):
    env = case.single()
    assert isinstance(env.observation_space, spaces.Box)
    for space in (env.observation_space, env.action_space):
        if isinstance(space, spaces.Box):
            assert np.isfinite([space.low, space.high]).all()
            assert space.dtype == np.float32
    trace, system = rollout(env, random_actions(env.action_space, 3 * EPISODE), 0), case.system()
    for observation, *rest in trace:
        assert type(observation) is np.ndarray
        assert observation.dtype == np.float32
        assert env.observation_space.contains(observation)
        assert np.isfinite(observation).all()
        if len(rest) > 1:
            reward, terminated, truncated, info = rest
            assert type(reward) is float
            assert np.isfinite(reward)
            assert type(terminated) is bool
            assert type(truncated) is bool
            uncertain = [metric.name for metric in system.metrics if metric.certifies]
            numbers = [value for key, value in info.items() if key.removeprefix("episode_mean_") not in uncertain]
            assert all(np.isfinite(value).all() for value in numbers)
            assert not any(np.isinf(info[name]) for name in uncertain)
        else:
            assert_same(rest, [reset_info(system, observation)])


@every_case
def test_vector_types(case):
    env = case.vector(3)
    observation, info = env.reset(seed=0)
    assert_same(info, reset_info(env.system, observation))
    for action in random_actions(env.action_space, 3):
        assert observation.dtype == np.float32
        assert observation in env.observation_space
        observation, reward, terminated, truncated, _ = env.step(action)
        assert (reward.dtype, reward.shape) == (np.float64, (3,))
        for flag in (terminated, truncated):
            assert (flag.dtype, flag.shape) == (np.bool_, (3,))


def observed(case: Case, rows: int = 16, steps: int = 60) -> np.ndarray:
    """Observations (steps, entries) of several worlds: random actions, and each bound held for an episode.

    Random actions alone leave some queues empty in a system under load.
    """
    env = case.vector(rows, max_episode_steps=steps)
    bounds = [np.tile(bound, (rows, 1)) for bound in env.system._action_bounds]
    actions = [*random_actions(env.action_space, steps), *[bounds[0]] * (steps + 1), *[bounds[1]] * (steps + 1)]
    return np.concatenate([entry[0] for entry in rollout(env, actions, 0)])


def structural(system: System[Any]) -> np.ndarray:
    """Entries that say which choices are open and who belongs to which group: some of these never change."""
    views = [view.reshape(-1) for view in (system.mask_view, system.group_view) if view is not None]
    return np.concatenate([np.zeros(0, dtype=np.int64), *views])


def expected_constants(case: Case) -> list[int]:
    """Entries that never change, and why."""
    system = case.system()
    if case.env_id != "ECCNOMA-v0":
        return []
    config = system.config
    facts = []
    if config.arrivals == "one":  # backlog, its logarithm, arrivals, whether there are tasks
        facts += [0, 1, 2, 3]
    if config.speed_min_flop_s == config.speed_max_flop_s:
        facts += [5]
    if config.num_aps == 1:  # no other access point to compare with
        facts += [8]
    if len(config.background_levels) == 1:
        facts += [9]
    if config.arrivals == "one" and config.placement == "balanced":  # users of the cell
        facts += [16]
    return sorted(system.member_view[:, facts].reshape(-1).tolist())


def expected_twins(case: Case) -> list[tuple[int, int]]:
    """Entries that always show the same number, and why."""
    system = case.system()
    if case.env_id == "LyaPPO-v0" and system.config.num_devices * system.config.num_services == 1:
        # the server's total backlog is that of the only service
        return [(6, system.observation_space.shape[0] - 1)]  # type: ignore[index]
    if case.env_id == "ECCNOMA-v0" and system.config.num_subchannels == 1:
        # the best subchannel is the only one
        return [(row[6], row[7]) for row in system.member_view.tolist()]
    if case.env_id == "ECCNOMA-v0" and system.config.placement == "balanced":
        # users of the same number modulo the access points share a cell, and with it the sum of its work,
        # where they vary its other tenants and its busy users, and with slices what they can save and the free ones
        config, shared = system.config, [15]
        if len(config.background_levels) > 1:
            shared += [9]
        if config.arrivals == "bursty":
            shared += [16]
        if config.slices:
            shared += [23, 25]
        columns, aps = [system.member_view[:, column].tolist() for column in shared], config.num_aps
        return sorted((one, other) for each in columns for i, one in enumerate(each) for other in each[i + aps :: aps])
    return []


@every_case
def test_no_entry_is_constant_and_none_appears_twice(case):
    table = observed(case)
    informative = np.setdiff1d(np.arange(table.shape[1]), structural(case.system()))
    constant = informative[(table == table[0]).all(axis=0)[informative]]
    assert constant.tolist() == expected_constants(case)
    informative = np.setdiff1d(informative, constant)
    twins = [
        (one, other)
        for i, one in enumerate(informative.tolist())
        for other in informative[i + 1 :].tolist()
        if np.array_equal(table[:, one], table[:, other])
    ]
    assert twins == expected_twins(case)


@every_case
def test_no_entry_is_stuck_at_a_bound(case):
    """An entry that is clipped most of the time carries no information."""
    box = case.system().observation_space
    assert isinstance(box, spaces.Box)
    table = observed(case)
    clipped = ((table <= box.low) | (table >= box.high)).mean(axis=0)
    assert clipped.max() < 0.5


# Presets with many members


@every_heavy_case
def test_presets_of_many_members_work_and_have_a_small_variant(case):
    """The other tests see them with fewer members."""
    assert any(options.get("preset") == case.options["preset"] for options in VARIANTS[case.env_id])
    env, twin = case.single(), case.single()
    actions = random_actions(env.action_space, 2)
    trace = rollout(env, actions, 0)
    assert_same(trace, rollout(twin, actions, 0))
    assert all(env.observation_space.contains(entry[0]) for entry in trace)
    assert all(np.isfinite(entry[1]) for entry in trace[1:])
