"""Every registered id, every preset, against the promises of the shells and of Gymnasium."""

from __future__ import annotations

import importlib
import json
import pickle
import subprocess
import sys
import warnings
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import edge_envs
from edge_envs.core.env import EdgeEnv, EdgeVectorEnv
from edge_envs.core.system import System, load_system
from tests.helpers import SILENT_INFO, arrays_in, assert_same, random_actions, rollout, row_of, scribble

EPISODE = 9
"""Steps of the short episodes in which the tests walk over the ends of several."""
MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP]
SPECS = [spec for spec in gym.registry.values() if str(spec.entry_point).startswith("edge_envs")]
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "LyaPPO-v0": [
        {"decision": "joint"},
        {"preset": "dynamic-full", "decision": "joint", "num_devices": 3},
        {"num_devices": 1, "num_services": 1, "cuts": "all"},
    ]
}
"""Options beside the presets that are worth the same tests."""


@dataclass
class Case:
    """One environment as a user would make it."""

    env_id: str
    options: dict[str, Any] = field(default_factory=dict)

    def single(self, **more: Any) -> gym.Env[Any, Any]:
        return gym.make(self.env_id, **{"max_episode_steps": EPISODE, **self.options, **more})

    def bare(self, **more: Any) -> EdgeEnv:
        env = gym.make(self.env_id, **self.options, **more).unwrapped
        assert isinstance(env, EdgeEnv)
        return env

    def vector(self, num_envs: int, mode: AutoresetMode = AutoresetMode.NEXT_STEP, **more: Any) -> EdgeVectorEnv:
        options = {"max_episode_steps": EPISODE, "autoreset_mode": mode, **self.options, **more}
        env = gym.make_vec(self.env_id, num_envs=num_envs, **options)
        assert isinstance(env, EdgeVectorEnv)
        return env

    def sync(self, num_envs: int, mode: AutoresetMode) -> Any:
        return gym.make_vec(
            self.env_id, num_envs=num_envs, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode},
            max_episode_steps=EPISODE, **self.options,
        )  # fmt: skip

    def system(self) -> System[Any]:
        return self.bare().system


def system_class(spec: EnvSpec) -> type[System[Any]]:
    return load_system(spec.kwargs["system"])


def all_cases() -> list[Any]:
    cases = []
    for spec in SPECS:
        presets = type(system_class(spec).from_options("default", {}).config).presets
        for options in [*({"preset": preset} for preset in presets), *VARIANTS.get(spec.id, [])]:
            name = "-".join([spec.id, *(str(value) for value in options.values())])
            cases.append(pytest.param(Case(spec.id, options), id=name))
    return cases


every_case = pytest.mark.parametrize("case", all_cases())
every_id = pytest.mark.parametrize("case", [pytest.param(Case(spec.id), id=spec.id) for spec in SPECS])
every_mode = pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)


# Registration


def test_there_is_something_to_test():
    assert {spec.id for spec in SPECS} >= {"LyaPPO-v0"}


def test_registering_twice_changes_nothing():
    before = {spec.id: spec.to_json() for spec in SPECS}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(edge_envs)
    assert {spec_id: gym.spec(spec_id).to_json() for spec_id in before} == before


def test_import_is_light():
    heavy = ["torch", "stable_baselines3", "matplotlib", "pygame", "cvxpy", "scipy", "numba"]
    code = f"import edge_envs, sys, json; print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    assert json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout) == []


def test_making_is_light():
    heavy = ["torch", "stable_baselines3", "matplotlib", "pygame", "cvxpy", "scipy.optimize"]
    code = (
        "import gymnasium, sys, json\n"
        f"for name in {[spec.id for spec in SPECS]}: gymnasium.make('edge_envs:' + name)\n"
        f"print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    )
    assert json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout) == []


@every_id
def test_ids_are_versioned_and_have_a_clock(case):
    spec = gym.spec(case.env_id)
    assert spec.version is not None
    assert spec.max_episode_steps
    assert spec.vector_entry_point
    assert case.single(max_episode_steps=None).get_wrapper_attr("_max_episode_steps") == spec.max_episode_steps
    assert case.vector(2, max_episode_steps=spec.max_episode_steps).max_episode_steps == spec.max_episode_steps
    vector = gym.make_vec(case.env_id, num_envs=2).unwrapped
    assert isinstance(vector, EdgeVectorEnv)
    assert vector.max_episode_steps == spec.max_episode_steps
    assert vector.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP


# The checkers of others


@every_case
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
    trace = rollout(env, random_actions(env.action_space, 3 * EPISODE), 0)
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
            numbers = [value for value in info.values() if not isinstance(value, dict)]
            assert all(np.isfinite(value).all() for value in numbers)
        else:
            assert rest == [SILENT_INFO]


@every_case
def test_vector_types(case):
    env = case.vector(3)
    observation, info = env.reset(seed=0)
    assert info == SILENT_INFO
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


def expected_twins(case: Case) -> list[tuple[int, int]]:
    """Entries that always show the same number, and why."""
    system = case.system()
    if case.env_id == "LyaPPO-v0" and system.config.num_devices * system.config.num_services == 1:
        # the server's total backlog is that of the only service
        return [(6, system.observation_space.shape[0] - 1)]  # type: ignore[index]
    return []


@every_case
def test_no_entry_is_constant_and_none_appears_twice(case):
    table = observed(case)
    assert np.flatnonzero((table == table[0]).all(axis=0)).tolist() == []
    twins = [
        (one, other)
        for one in range(table.shape[1])
        for other in range(one + 1, table.shape[1])
        if np.array_equal(table[:, one], table[:, other])
    ]
    assert twins == expected_twins(case)


@every_case
def test_no_entry_is_stuck_at_a_bound(case):
    """Clipped most of the time, an entry tells nothing."""
    box = case.system().observation_space
    assert isinstance(box, spaces.Box)
    table = observed(case)
    clipped = ((table <= box.low) | (table >= box.high)).mean(axis=0)
    assert clipped.max() < 0.5


# Seeds


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


# Vector environments


def single_steps(env: gym.Env[Any, Any], mode: AutoresetMode, last: Any, action: Any) -> Any:
    """What the row of a vector environment has to return, said with a single environment."""
    finished = len(last) == 5 and (last[2] or last[3])
    if mode is AutoresetMode.NEXT_STEP and finished:
        observation, info = env.reset()
        return observation, 0.0, False, False, info
    observation, reward, terminated, truncated, info = env.step(action)
    if mode is AutoresetMode.SAME_STEP and (terminated or truncated):
        info = {"final_obs": observation, "final_info": info}
        observation, _ = env.reset()
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
                assert info == SILENT_INFO
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
    for one, two in zip(actions, changed, strict=True):
        ours, theirs = env.step(one), other.step(two)
        assert_same([part[1] for part in ours[:4]], [part[1] for part in theirs[:4]])
        assert_same(row_of(ours[4], 1), row_of(theirs[4], 1))
        assert not np.array_equal(ours[0][0], theirs[0][0])


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


# Specifications


@every_case
def test_specification_survives_json(case):
    env = case.single(max_episode_steps=7)
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    actions = random_actions(env.action_space, 10)
    assert_same(rollout(again, actions, 0), rollout(env, actions, 0))
    assert again.spec == env.spec
    copied = env.spec.make()
    assert_same(rollout(copied, actions, 0), rollout(env, actions, 0))


@every_case
def test_vector_specification_survives_json(case):
    env = gym.make_vec(
        case.env_id, num_envs=3, max_episode_steps=7, autoreset_mode=AutoresetMode.SAME_STEP.value, **case.options
    )
    assert env.spec is not None
    again = gym.make_vec(EnvSpec.from_json(env.spec.to_json()))
    assert (again.num_envs, again.metadata) == (3, env.metadata)
    actions = random_actions(env.action_space, 10)
    assert_same(rollout(again, actions, 0), rollout(env, actions, 0))


@every_id
def test_the_clock_can_be_set(case):
    for steps in (1, 7):
        env, vector = case.single(max_episode_steps=steps), case.vector(2, max_episode_steps=steps)
        env.reset(seed=0)
        vector.reset(seed=0)
        truncations = []
        for actions in random_actions(vector.action_space, steps):
            truncated = env.step(actions[0])[3]
            assert vector.step(actions)[3].tolist() == [truncated, truncated]
            truncations.append(truncated)
        assert truncations == [False] * (steps - 1) + [True]
    never = case.vector(1, max_episode_steps=None)
    never.reset(seed=0)
    assert not any(never.step(actions)[3].any() for actions in random_actions(never.action_space, 250))


# Members and metrics


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


@every_case
def test_members_are_served_alike(case):
    """What a member sees of itself moves with its own action: its part of the action is not another member's."""
    system = case.system()
    if system.members == 1:
        pytest.skip("one member has nobody to be mixed up with")
    if case.env_id != "LyaPPO-v0":
        pytest.skip("needs to know what a member sees of its own action")
    env = case.bare()
    parts = system.action_space.shape[0] // system.members  # type: ignore[index]
    low, high = system._action_bounds
    for member in range(system.members):
        seen = []
        for bound in (low, high):
            env.reset(seed=0)
            action = low.copy()
            action[member * parts : (member + 1) * parts] = bound[member * parts : (member + 1) * parts]
            observation = env.step(action)[0]
            seen.append(observation[system.member_view[:, 1:9:3]])  # the sizes at its cut of the first service
        changed = (seen[0] != seen[1]).any(axis=1)
        assert np.flatnonzero(changed).tolist() == [member]


@every_id
def test_metrics_are_well_named(case):
    system = case.system()
    names = [metric.name for metric in system.metrics]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and not name.startswith(("_", "member_", "final_")) for name in names)
    assert not {"episode_means", "final_obs", "final_info"} & set(names)
    assert all(metric.unit and metric.meaning for metric in system.metrics)
    assert "certificate" in names
    assert system.headline
    assert set(system.headline) <= set(names)
    env = case.bare()
    env.reset(seed=0)
    info = env.step(env.action_space.sample())[4]
    assert set(info["episode_means"]) == set(names)
    assert set(info) >= {*names, "member_reward", "episode_means"}
    assert all(name in names or name.startswith("member_") or name == "episode_means" for name in info)


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
            summary = entry[4]["episode_means"][name]
            if kind == "mean":
                assert summary == pytest.approx(np.mean(values), rel=1e-12, abs=1e-300)
            else:
                assert summary == {"last": values[-1], "max": max(values)}[kind]


# The contract of a System


@every_case
def test_a_step_of_some_rows_leaves_the_others_alone(case):
    system = case.system()
    batch, rows = 5, np.array([1, 4])
    state, twin = system.allocate(batch), system.allocate(batch)
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
        for old, new in zip(arrays_in(tuple(before)), arrays_in(tuple(state)), strict=True):
            if new.shape[:1] == (batch,):
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


# Errors


def bad_actions(space: spaces.Space[Any]) -> list[tuple[Any, str]]:
    """Actions that must be refused, and what the message has to say."""

    assert isinstance(space, (spaces.MultiDiscrete, spaces.Box))
    size = space.shape[0]

    def spoilt(value: Any, dtype: type) -> np.ndarray:
        action: np.ndarray = np.zeros(size, dtype=dtype)
        action[-1] = value
        return action

    good = np.zeros(size, dtype=space.dtype)
    entry = f"action[{size - 1}] = "
    if isinstance(space, spaces.MultiDiscrete):
        high, lowest = int(space.nvec[-1]), np.iinfo(np.int64).min
        special: list[tuple[Any, str]] = [
            (spoilt(high, np.int64), f"{entry}{high}"),
            (spoilt(high, np.int8), f"{entry}{high}"),
            (spoilt(-1, np.int64), f"{entry}-1"),
            (spoilt(lowest, np.int64), f"{entry}{lowest}"),
            (spoilt(2**64 - 1, np.uint64), entry),
            (good.astype(np.float32), "dtype float32"),
            (spoilt(np.nan, np.float64), "dtype float64"),
        ]
    else:
        special = [
            (spoilt(np.nan, np.float32), f"{entry}nan"),
            (spoilt(-np.inf, np.float32), f"{entry}-inf"),
            (spoilt(1.0 + 1e-9, np.float64), f"{entry}1.000000001"),
            (spoilt(-1.0000001, np.float32), f"{entry}-1.0000001"),
            (spoilt(2, np.int64), f"{entry}2"),
            (good.astype(np.complex64), "dtype complex64"),
        ]
    return [
        *special,
        (good[:-1], "shape"),
        (np.append(good, good[:1]), "shape"),
        (good[None], "shape"),
        (good[0], "shape"),
        (None, "shape"),
        ([], "shape"),
        (good > 1, "dtype bool"),
        (good.astype(str), "dtype <U"),
        (good.astype(object), "dtype object"),
        ([None] * size, "dtype object"),
    ]


@every_case
def test_bad_actions_are_refused_and_leave_no_trace(case):
    env, twin = case.bare(), case.bare()
    actions = random_actions(env.action_space, 40)
    env.reset(seed=0)
    twin.reset(seed=0)
    for (bad, words), action in zip(bad_actions(env.action_space), actions, strict=False):
        with pytest.raises(ValueError, match="action") as caught:
            env.step(bad)
        assert words in str(caught.value)
        assert_same(env.step(action), twin.step(action))
    with pytest.raises(ValueError, match=r"inhomogeneous|actions have shape"):
        env.step([[0], [0, 1]])
    assert_same(env.step(actions[-1]), twin.step(actions[-1]))


@every_case
def test_bad_actions_of_a_row_are_refused(case):
    env, twin = case.vector(3), case.vector(3)
    space = env.single_action_space
    assert space.shape is not None
    actions = random_actions(env.action_space, 40)
    env.reset(seed=0)
    twin.reset(seed=0)
    for (bad, words), action in zip(bad_actions(space), actions, strict=False):
        batch = [np.zeros_like(bad)] * 2 + [bad]
        with pytest.raises(ValueError, match="action") as caught:
            env.step(batch)
        assert words in str(caught.value)
        assert ("of row 2 " in str(caught.value)) == words.startswith("action[")
        assert_same(env.step(action), twin.step(action))
    for shape in ((2,), (4,), (3, 1), ()):
        with pytest.raises(ValueError, match="actions have shape"):
            env.step(np.zeros((*shape, *space.shape), dtype=space.dtype))
    with pytest.raises(ValueError, match="inhomogeneous"):
        env.step([[0], [0, 1], [0]])


@every_case
def test_actions_may_come_in_other_clothes(case):
    """Lists, narrow, unsigned, swapped, strided and read-only arrays mean the same."""
    env, twin = case.bare(), case.bare()
    env.reset(seed=0)
    twin.reset(seed=0)
    discrete = isinstance(env.action_space, spaces.MultiDiscrete)
    forms = [
        lambda a: a.tolist(),
        lambda a: tuple(a),
        lambda a: np.repeat(a, 2)[::2],
        lambda a: np.asfortranarray(a),
        lambda a: a.astype(a.dtype.newbyteorder()),
        lambda a: np.frombuffer(a.tobytes(), dtype=a.dtype),  # read-only
        *([lambda a: a.astype(np.int8), lambda a: a.astype(np.uint64)] if discrete else [lambda a: a.astype(float)]),
    ]
    for form, action in zip(forms, random_actions(env.action_space, len(forms)), strict=True):
        assert_same(env.step(form(action)), twin.step(action))


@every_case
def test_the_corners_of_the_action_space_are_allowed(case):
    env = case.bare()
    low, high = env.system._action_bounds
    env.reset(seed=0)
    for bound in (low, high):
        env.step(bound.astype(env.action_space.dtype))


@pytest.mark.parametrize("make", [gym.make, gym.make_vec])
@every_id
def test_bad_options_are_refused(case, make):
    config = case.system().config
    field_name = next(iter(type(config).model_fields))
    with pytest.raises(ValueError, match=rf"'{field_name}x' is not a parameter.*did you mean '{field_name}'\?"):
        make(case.env_id, **{field_name + "x": 1})
    with pytest.raises(ValueError, match=rf"{field_name}='many' is not possible"):
        make(case.env_id, **{field_name: "many"})
    with pytest.raises(ValueError, match=r"preset='papr' does not exist; known: .*did you mean 'paper'\?"):
        make(case.env_id, preset="papr")
    presets: list[Any] = [None, 3, ["paper"], {}]
    for preset in presets:
        with pytest.raises(ValueError, match=r"preset=.* does not exist"):
            make(case.env_id, preset=preset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gymnasium's own
        with pytest.raises(ValueError, match="render_mode='ansi'"):
            make(case.env_id, render_mode="ansi")


@every_id
def test_bad_vector_options_are_refused(case):
    for num_envs in (0, -1):
        with pytest.raises(ValueError, match=f"num_envs={num_envs}"):
            case.vector(num_envs)
    for steps in (0, -3):
        with pytest.raises(ValueError, match=f"max_episode_steps={steps}"):
            case.vector(1, max_episode_steps=steps)
    with pytest.raises(ValueError, match=r"autoreset_mode='Sometimes'.*NextStep.*SameStep.*Disabled"):
        case.vector(1, autoreset_mode="Sometimes")
    for mode in AutoresetMode:
        assert case.vector(1, autoreset_mode=mode.value).metadata["autoreset_mode"] is mode
