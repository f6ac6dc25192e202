"""What Gymnasium and the frameworks around it rely on: infos, generators, attributes of rows, masks and snapshots."""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit

import edge_envs  # noqa: F401  (registers the environments)
from edge_envs.core.env import EdgeEnv, EdgeVectorEnv
from edge_envs.core.invariants import BrokenInvariant
from edge_envs.core.system import Outcome
from tests.core.test_env import MODES, STEPS, Toy, sync, vector
from tests.core.test_masks import MaskedToy
from tests.helpers import arrays_in, assert_same, random_actions

ALL_MODES = [*MODES, AutoresetMode.DISABLED]
every_mode = pytest.mark.parametrize("mode", ALL_MODES, ids=lambda mode: mode.value)


def masked_sync(num_envs: int) -> SyncVectorEnv:
    return SyncVectorEnv([lambda: TimeLimit(EdgeEnv(MaskedToy), STEPS)] * num_envs)


# Infos


def test_a_metric_with_an_unknown_summary_is_refused():
    assert replace(Toy.metrics[0], over_episode="last").over_episode == "last"
    with pytest.raises(ValueError, match="'median'"):
        replace(Toy.metrics[0], over_episode="median")


@pytest.mark.parametrize("system", [Toy, MaskedToy])
def test_infos_of_reset_and_step_are_flat_numpy_and_alike(system):
    env = EdgeEnv(system)
    infos = [env.reset(seed=0)[1], *(env.step(action)[4] for action in random_actions(env.action_space, 3))]
    kinds = [{key: (type(value), value.dtype, value.shape) for key, value in info.items()} for info in infos]
    assert kinds[0] == kinds[1] == kinds[2]
    assert all(kind in (np.float64, np.ndarray) for kind, _, _ in kinds[0].values())
    assert np.isnan(infos[0]["noise"])
    assert np.isfinite(infos[1]["noise"])


@every_mode
def test_member_rewards_are_there_in_every_step_and_sum_to_the_reward(mode):
    """In `info` the row of a new episode holds 0; `envs.member_reward` has the last step's in all modes."""
    env = vector(3, mode, max_episode_steps=3, preset="far")
    env.reset(seed=0)
    if mode is AutoresetMode.NEXT_STEP:  # rows out of step with each other, and then all waiting together
        env.step(np.zeros((3, 2), dtype=int))
        env.reset(options={"reset_mask": np.array([True, False, False])})
    keys, ends = set(), 0
    for actions in random_actions(env.action_space, 30):
        _, reward, terminated, truncated, info = env.step(actions)
        keys.add(tuple(sorted(info.keys() - {"final_obs", "_final_obs", "final_info", "_final_info"})))
        np.testing.assert_allclose(env.member_reward.sum(axis=1), reward, rtol=1e-14)
        done = terminated | truncated
        ends += int(done.sum())
        expected = np.where(done, 0.0, reward) if mode is AutoresetMode.SAME_STEP else reward
        np.testing.assert_allclose(info["member_reward"].sum(axis=1), expected, rtol=1e-14)
        assert info["_member_reward"].all()
        if mode is AutoresetMode.SAME_STEP and done.any():
            final = info["final_info"]
            np.testing.assert_allclose(final["member_reward"].sum(axis=1), np.where(done, reward, 0.0), rtol=1e-14)
            assert np.isnan(info["way"][done]).all()
            assert (final["way"][done] > 0.0).all()
        if mode is AutoresetMode.DISABLED and done.any():
            env.reset(options={"reset_mask": done})
    assert len(keys) == 1
    assert ends > 10


@every_mode
def test_no_two_arrays_of_an_info_share_memory(mode):
    env = EdgeVectorEnv(MaskedToy, 3, max_episode_steps=2, autoreset_mode=mode)
    result: tuple[Any, ...] = env.reset(seed=0)
    for actions in random_actions(env.action_space, 7):
        arrays = [array for array in arrays_in(result[-1]) if array.dtype != object]
        masks = [array for array in arrays if array.dtype == np.bool_]
        assert len(masks) >= 9
        for mask in masks:
            assert not any(np.shares_memory(mask, other) for other in arrays if other is not mask)
        result = env.step(actions)
        if mode is AutoresetMode.DISABLED and (done := result[2] | result[3]).any():
            env.reset(options={"reset_mask": done})


def test_member_metrics_that_are_not_declared_are_found_by_the_checks():
    class Silent(Toy):
        member_metrics = ()  # type: ignore[assignment]

    env = EdgeEnv(Silent, check=True)
    env.reset(seed=0)
    with pytest.raises(BrokenInvariant, match="member_metrics_declared"):
        env.step([1, 1])


def test_monitor_writes_summaries_to_its_table(tmp_path):
    """Stable-Baselines3's `Monitor` writes what it finds under a key of the last info into a table."""
    monitor = pytest.importorskip("stable_baselines3.common.monitor")
    env = monitor.Monitor(
        TimeLimit(EdgeEnv(Toy, preset="far"), 3), str(tmp_path / "log"), info_keywords=("episode_mean_noise", "way")
    )
    lasts = []
    for episode in range(2):
        env.reset(seed=episode)
        for _ in range(3):
            info = env.step([1, 1])[4]
        lasts.append((info["episode_mean_noise"], info["way"]))
    env.close()
    lines = (tmp_path / "log.monitor.csv").read_text().splitlines()[1:]
    rows = [(float(row["episode_mean_noise"]), float(row["way"])) for row in csv.DictReader(lines)]
    assert rows == lasts


# Generators


def test_seeds_are_those_of_sync_vector_env():
    ours, theirs = vector(3), sync(3, AutoresetMode.NEXT_STEP)
    both: tuple[Any, ...] = (ours, theirs)
    assert len(set(ours.np_random_seed)) == 3  # drawn, before any reset
    mask = np.array([True, False, True])
    for seed, options in ((7, None), (None, None), ([3, None, 5], None), (20, {"reset_mask": mask})):
        for env in both:
            env.reset(seed=seed, options=None if options is None else dict(options))
        assert_same(ours.np_random_seed, theirs.np_random_seed, f"after seed={seed}")
        states = [[rng.bit_generator.state for rng in env.np_random] for env in both]
        assert states[0] == states[1]


@pytest.mark.parametrize("through", ["attribute", "set_attr"])
def test_generators_that_are_set_are_used(through):
    ours, theirs = vector(3), sync(3, AutoresetMode.NEXT_STEP)
    for env in (ours, theirs):
        env.reset(seed=0)  # type: ignore[attr-defined]
    fresh = [tuple(np.random.default_rng(5 + row) for row in range(3)) for _ in range(2)]
    if through == "attribute":
        ours.np_random = fresh[0]
    else:
        ours.set_attr("np_random", list(fresh[0]))
    theirs.set_attr("np_random", fresh[1])
    assert ours.np_random == fresh[0]
    assert_same(ours.np_random_seed, theirs.np_random_seed)
    assert ours.np_random_seed == (-1, -1, -1)
    for seed in (None, [None, 9, None], None):
        assert_same(ours.reset(seed=seed), theirs.reset(seed=seed))
        assert_same(ours.np_random_seed, theirs.np_random_seed)
        for actions in random_actions(ours.action_space, 5):
            assert_same(ours.step(actions), theirs.step(actions))


def test_generators_that_cannot_be():
    env = vector(2)
    env.reset(seed=3)
    one = np.random.default_rng(0)
    for value, words in (
        (one, "num_envs=2 numpy Generators"),
        ((one,), "num_envs=2 numpy Generators"),
        ((one, 7), "num_envs=2 numpy Generators"),
        ((one, one), "a different generator for each row"),
    ):
        with pytest.raises(ValueError, match=words):
            env.np_random = value
    assert env.np_random_seed == (3, 4)
    with pytest.raises(AttributeError):
        env.np_random_seed = (1, 2)  # type: ignore[misc]


# Attributes of rows


def test_rows_answer_as_those_of_sync_vector_env():
    ours, theirs = EdgeVectorEnv(MaskedToy, 3, max_episode_steps=STEPS), masked_sync(3)
    both: tuple[Any, ...] = (ours, theirs)
    with pytest.raises(RuntimeError, match=r"action_masks\(\) before reset"):
        ours.call("action_masks")
    assert_same(ours.reset(seed=4), theirs.reset(seed=4))
    for actions in random_actions(ours.action_space, 3 * STEPS):
        for name in ("np_random_seed", "render_mode", "episode_steps"):
            assert_same(ours.get_attr(name), theirs.get_attr(name), name)
        for name in ("action_masks", "render"):
            assert_same(ours.call(name), theirs.call(name), name)
        # Only the vector environment knows that a row has finished: Gymnasium's clock stands outside the single one.
        known = [[row | {"done": None} for row in env.call("snapshot")] for env in both]
        assert_same(known[0], known[1])
        for name in ("action_space", "observation_space"):
            assert ours.get_attr(name) == theirs.get_attr(name)
        assert_same(ours.step(actions), theirs.step(actions))
    assert [type(system) for system in ours.get_attr("system")] == [MaskedToy] * 3
    for env in (ours, theirs):
        with pytest.raises(AttributeError, match="nothing"):
            env.get_attr("nothing")  # type: ignore[attr-defined]


def test_what_rows_cannot_do_is_said():
    env = vector(2)
    with pytest.raises(
        AttributeError, match=r"'np_randm' is not an attribute of single rows; did you mean 'np_random'"
    ):
        env.call("np_randm")
    with pytest.raises(AttributeError, match="'goal' of single rows cannot be set"):
        env.set_attr("goal", 3)
    with pytest.raises(TypeError, match="'render' takes no arguments"):
        env.call("render", "rgb_array")


# Masks of choices


def test_flat_masks_are_those_of_the_info():
    env, seen = EdgeEnv(MaskedToy), set()
    with pytest.raises(RuntimeError, match=r"action_masks\(\) before reset"):
        env.action_masks()
    for seed in range(9):
        info = env.reset(seed=seed)[1]
        for action in random_actions(env.action_space, STEPS):
            masks = env.action_masks()
            assert masks.dtype == np.bool_
            np.testing.assert_array_equal(masks, info["action_mask"].ravel() == 1)
            seen.add(masks.tobytes())
            info = env.step(action)[4]
    assert len(seen) > 5


def test_where_nothing_is_closed_all_is_open_and_a_box_has_no_masks():
    """Masked agents ask `hasattr`; in a Box there is nothing to mask."""
    env = EdgeEnv(Toy)
    env.reset(seed=0)
    np.testing.assert_array_equal(env.action_masks(), np.ones(6, dtype=bool))
    box, boxes = EdgeEnv(Toy, continuous=True), vector(2, continuous=True)
    assert not hasattr(box, "action_masks")
    assert not TimeLimit(box, 3).has_wrapper_attr("action_masks")
    boxes.reset(seed=0)
    with pytest.raises(AttributeError, match=r"no action_masks\(\) for Box"):
        boxes.call("action_masks")


# Snapshots


def test_a_single_environment_goes_on_from_a_row_of_many_and_back():
    many, one = vector(3, max_episode_steps=None, preset="far"), EdgeEnv(Toy, preset="far", render_mode="rgb_array")
    actions = random_actions(many.action_space, 12)
    many.reset(seed=1)
    for action in actions[:5]:
        many.step(action)
    taken = many.snapshot()
    one.restore({name: array[1:2] for name, array in taken.items()})
    assert_same(one.snapshot(), many.call("snapshot")[1])
    assert one.episode_steps.tolist() == [5]
    back = vector(1, max_episode_steps=None, preset="far")
    back.restore(one.snapshot())
    for action in actions[5:]:
        observation, reward, *_, info = many.step(action)
        ours = one.step(action[1])
        assert_same(ours[:2], (observation[1], float(reward[1])))
        assert info["episode_mean_noise"][1] == ours[4]["episode_mean_noise"]
        assert_same(back.step(action[1:2])[0], observation[1:2])
    assert back.np_random_seed == (-1,)
    assert one.np_random_seed == -1


def test_a_restored_single_environment_repeats_itself():
    env = EdgeEnv(Toy)
    env.reset(seed=1)
    env.step([1, 1])
    taken = env.snapshot()
    first = [env.step([1, 0]) for _ in range(3)] + [env.reset()]
    env.restore(taken)
    assert_same([env.step([1, 0]) for _ in range(3)] + [env.reset()], first)
    fresh = EdgeEnv(Toy)
    fresh.restore(taken)  # no reset is needed first
    assert_same(fresh.step([1, 0]), first[0])
    with pytest.raises(ValueError, match="'generators' is missing"):
        env.restore({name: array for name, array in taken.items() if name != "generators"})
    never = EdgeEnv(Toy).snapshot()
    assert not never["started"].any()


def test_snapshots_know_one_kind_of_generator():
    env = vector(1)
    env.reset(seed=0)
    taken = env.snapshot()
    env.np_random = [np.random.Generator(np.random.MT19937(0))]
    with pytest.raises(ValueError, match="PCG64 generators only, not MT19937"):
        env.snapshot()
    env.restore(taken)
    assert_same(env.snapshot(), taken)


def test_an_episode_without_a_certificate_can_be_restored():
    """Its summary is NaN; a NaN in another summary is refused."""

    class Unsure(Toy):
        metrics = tuple(  # type: ignore[assignment]
            type(metric)(metric.name, metric.unit, metric.meaning, metric.over_episode, metric.name == "worst")
            for metric in Toy.metrics
        )

        def step(self, *arguments: Any) -> Outcome:
            outcome = super().step(*arguments)
            outcome.metrics[:, 2] = np.nan
            return outcome

    env = EdgeEnv(Unsure)
    env.reset(seed=0)
    assert np.isnan(env.step([1, 1])[4]["episode_mean_worst"])
    taken = env.snapshot()
    env.restore(taken)
    taken["summary.totals"][0, 0] = np.nan
    with pytest.raises(ValueError, match=r"'summary.totals' holds values that are not finite"):
        env.restore(taken)


@pytest.mark.parametrize(("given", "meant"), [("presett", "preset"), ("chek", "check"), ("num_device", "num_devices")])
def test_a_misspelt_option_of_any_kind_gets_a_suggestion(given, meant):
    options: dict[str, Any] = {given: 1}
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{given}'; did you mean '{meant}'"):
        gym.make("LyaPPO-v0", **options)
