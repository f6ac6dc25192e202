"""The team of members that every system is, and its metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from edge_envs.core.env import EdgeEnv
from edge_envs.core.runtime.episodes import MASK
from edge_envs.core.system import System
from tests.helpers import random_actions, rollout
from tests.registry.cases import EPISODE, Case, every_case, every_id


@every_case
def test_members_are_the_team(case):
    system = case.system()
    view, members = system.member_view, system.members
    box = system.observation_space
    assert isinstance(box, spaces.Box)
    assert isinstance(system.member_observation_space, spaces.Box)
    assert view.shape == (members, *system.member_observation_space.shape)
    assert np.issubdtype(view.dtype, np.integer)
    # every number of the central observation is seen by somebody, and nobody sees one twice
    np.testing.assert_array_equal(np.unique(view), np.arange(box.shape[0]))
    assert all(len(set(columns)) == len(columns) for columns in view.tolist())
    assert (box.low[view] >= system.member_observation_space.low).all()
    assert (box.high[view] <= system.member_observation_space.high).all()
    central, member = system.action_space, system.member_action_space
    if isinstance(central, spaces.MultiDiscrete):
        assert isinstance(member, spaces.MultiDiscrete)
        np.testing.assert_array_equal(central.nvec, np.tile(member.nvec, members))
    else:
        assert isinstance(central, spaces.Box)
        assert isinstance(member, spaces.Box)
        np.testing.assert_array_equal(central.low, np.tile(member.low, members))
        np.testing.assert_array_equal(central.high, np.tile(member.high, members))


@every_case
def test_member_view_and_reward(case):
    env = case.vector(3)
    observation, _ = env.reset(seed=0)
    system = env.system
    for actions in random_actions(env.action_space, EPISODE):
        seen = observation[:, system.member_view]
        assert all(system.member_observation_space.contains(own) for row in seen for own in row)
        observation, reward, _, _, info = env.step(actions)
        assert info["member_reward"].shape == (3, system.members)
        np.testing.assert_allclose(info["member_reward"].sum(axis=1), reward, rtol=1e-12)
        for name, values in info.items():
            if name.startswith("member_"):
                assert values.shape == (3, system.members)


def own_part(case: Case, system: System[Any], observation: np.ndarray, info: dict[str, Any]) -> np.ndarray:
    """What each member's own part of the action decides, one row a member."""
    if getattr(system.config, "slices", None):
        return np.asarray(info["member_slice"])[:, None]
    if case.env_id in ("DTIRS-v0", "ECCNOMA-v0"):
        return np.asarray(info["member_cut"])[:, None]
    if case.env_id == "SemCom-v0":
        name = "compression" if system.config.decision == "compression" else "power_w"
        return np.asarray(info[f"member_{name}"])[:, None]
    return observation[system.member_view[:, 1:9:3]]  # the sizes at its cut of the first service


@every_case
def test_members_are_served_alike(case):
    """A member's part of the action is not another member's."""
    system = case.system()
    if system.members == 1:
        pytest.skip("one member has nobody to be mixed up with")
    env = case.bare()
    parts = system.action_space.shape[0] // system.members  # type: ignore[index]
    low, high = (bound.astype(system.action_space.dtype) for bound in system._action_bounds)
    rest = low
    if getattr(system.config, "slices", None):
        # Members compete for slices, so all but one compute alone: at index 1, or the last one of all cuts.
        rest = high = high if system.config.cuts == "all" else np.ones_like(high)
    for member in range(system.members):
        seen = []
        for bound in (low, high):
            env.reset(seed=0)
            action = rest.copy()
            action[member * parts : (member + 1) * parts] = bound[member * parts : (member + 1) * parts]
            observation, _, _, _, info = env.step(action)
            seen.append(own_part(case, system, observation, info))
        changed = (seen[0] != seen[1]).any(axis=1)
        assert np.flatnonzero(changed).tolist() == [member]


@every_id
def test_metrics_are_well_named(case):
    system = case.system()
    names = [metric.name for metric in system.metrics]
    assert len(set(names)) == len(names)
    assert all(
        name.isidentifier() and not name.startswith(("_", "member_", "final_", "episode_mean_")) for name in names
    )
    assert not {"final_obs", "final_info", MASK} & set(names)
    assert all(metric.unit and metric.meaning for metric in system.metrics)
    assert "certificate" in names
    assert system.headline
    assert set(system.headline) <= set(names)
    env = case.bare()
    env.reset(seed=0)
    info = env.step(env.action_space.sample())[4]
    members = {"member_reward", *(f"member_{name}" for name in system.member_metrics)}
    others = {f"episode_mean_{name}" for name in names} | ({MASK} if system.mask_view is not None else set())
    assert set(info) == {*names} | members | others


@every_case
def test_episode_means_sum_up_the_episode(case):
    env = case.single()
    bare = env.unwrapped
    assert isinstance(bare, EdgeEnv)
    kinds = {metric.name: metric.over_episode for metric in bare.system.metrics}
    infos: list[dict[str, Any]] = []
    for entry in rollout(env, random_actions(env.action_space, 2 * EPISODE + 4), 0):
        if len(entry) == 2:
            infos = []
            continue
        infos.append(entry[4])
        for name, kind in kinds.items():
            values = [info[name] for info in infos]
            summary = entry[4][f"episode_mean_{name}"]
            if kind == "mean":
                assert summary == pytest.approx(np.mean(values), rel=1e-12, abs=1e-300, nan_ok=True)
            else:
                np.testing.assert_equal(summary, {"last": values[-1], "max": np.max(values)}[kind])
