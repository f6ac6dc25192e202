"""Scores against sums done by hand, intervals against scipy, and seeds that never meet."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scipy import stats

from agents.evaluation import episodes as scoring
from agents.evaluation.bootstrap import Resampled
from agents.evaluation.episodes import Scores, play, score
from agents.evaluation.statistics import Interval, interval
from agents.worlds import (
    EVALUATION_STREAM,
    known_ids,
    make_worlds,
    stream_seeds,
)
from edge_envs.core.env import EdgeEnv, EdgeVectorEnv
from edge_envs.core.policy import ConstantPolicy, RandomPolicy, make_baseline
from tests.agents.toy import TOY_STEPS, WANTED, ToySystem, worlds

ID = "LyaPPO-v0"
SMALL = {"num_devices": 2, "num_services": 1, "max_episode_steps": 10}


class Diary:
    """A policy that notes down what it was given."""

    def __init__(self, policy: Any) -> None:
        self.policy, self.calls = policy, []  # type: ignore[var-annotated]

    def predict(self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False):
        self.calls.append((observation.copy(), state, episode_start.copy(), deterministic))
        return self.policy.predict(observation)[0], len(self.calls)


def by_hand(env_id: str, seed: int, actions: list[np.ndarray], **options: Any) -> dict[str, float]:
    """The scores of one episode from a single environment."""
    env = gym.make(env_id, **options)
    bare = env.unwrapped
    assert isinstance(bare, EdgeEnv)
    kinds = {metric.name: metric.over_episode for metric in bare.system.metrics}
    env.reset(seed=seed)
    rewards, infos, ended = [], [], False
    for action in actions:
        _, reward, terminated, truncated, info = env.step(action)
        rewards.append(float(reward))
        infos.append(info)
        ended = terminated or truncated
        if ended:
            break
    assert ended
    warm = len(actions) // 4
    result = {"return": sum(rewards), "reward": float(np.mean(rewards[warm:] or rewards))}
    for name, kind in kinds.items():
        values = [info[name] for info in infos]
        if kind == "mean":
            result[name] = float(np.mean(values[warm:] or values))
        else:
            result[name] = values[-1] if kind == "last" else max(values)
    if "tasks_arrived" in kinds:
        result["finished_over_arrived"] = sum(i["tasks_finished"] for i in infos[warm:]) / max(
            sum(i["tasks_arrived"] for i in infos[warm:]), 1e-12
        )
    return result


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_play_by_hand(steps):
    options = {**SMALL, "max_episode_steps": steps, "arrival_rate": 0.5}
    env = make_worlds(ID, 3, "default", options)
    policy = Diary(RandomPolicy(env.system.action_space, 4))
    rows = play(env, policy, [11, 5, 8])
    draws = RandomPolicy(env.system.action_space, 4)
    actions = np.array([draws.predict(np.zeros((3, 1)))[0] for _ in range(steps)])
    for row, seed in enumerate([11, 5, 8]):
        expected = by_hand(ID, seed, list(actions[:, row]), **options)
        assert rows.keys() == expected.keys()
        for name, value in expected.items():
            assert rows[name].shape == (3,)
            assert rows[name][row] == pytest.approx(value, rel=1e-9, abs=1e-15), name


@pytest.mark.parametrize(("fraction", "warmup"), [(None, 2), (0.25, 2), (0.0, 0), (0.1, 0), (0.5, 4), (0.7, 6)])
def test_play_leaves_the_warm_up_out(monkeypatch, fraction, warmup):
    """That part of the episode which the system says; a quarter where it says nothing."""
    if fraction is not None:
        monkeypatch.setattr(ToySystem, "warmup_fraction", fraction)
    env = worlds(2, end_probability=0.0, max_episode_steps=9)
    actions = iter(np.repeat([(WANTED + 1) % [3, 4]] * 3 + [WANTED] * 6, 1, axis=0).reshape(9, 1, 4).repeat(2, 1))

    class Script(ConstantPolicy):
        def predict(self, *args: Any, **kwargs: Any) -> Any:
            return next(actions), None

    rows = play(env, Script(np.zeros(4)), [0, 1])
    np.testing.assert_allclose(rows["hits"], 4 * min(6, 9 - warmup) / (9 - warmup))
    np.testing.assert_allclose(rows["clock"], 9.0)  # the last value
    clocks = np.arange(1, 10)
    rewards = 0.25 * clocks + 0.0625 + 4 * (clocks > 3)
    np.testing.assert_allclose(rows["return"], rewards.sum())
    np.testing.assert_allclose(rows["reward"], rewards[warmup:].mean())


def test_play_hands_state_and_starts_on():
    env = worlds(2, end_probability=0.0, max_episode_steps=4)
    policy = Diary(ConstantPolicy(WANTED.ravel()))
    play(env, policy, [0, 1], deterministic=False)
    observation, state, start, deterministic = zip(*policy.calls, strict=True)
    assert state == (None, 1, 2, 3)
    assert deterministic == (False,) * 4
    assert [s.tolist() for s in start] == [[True] * 2] + [[False] * 2] * 3
    assert [o.shape for o in observation] == [(2, 7)] * 4


@pytest.mark.parametrize("offset", [0.0, -5.0])
def test_play_counts_one_episode_per_row_where_rows_terminate(toy_id, offset):
    """Rows out of phase; with a negative offset the largest value is negative too."""
    options = {"end_probability": 0.12, "offset": offset}
    env = make_worlds(toy_id, 20, "default", options)
    seeds = list(range(20))
    policy = RandomPolicy(env.system.action_space, 1)
    rows = play(env, policy, seeds)
    draws = RandomPolicy(env.system.action_space, 1)
    actions = np.array([draws.predict(np.zeros((20, 1)))[0] for _ in range(TOY_STEPS)])
    lengths = rows["clock"] - offset
    assert lengths.min() <= 3  # within the warm-up
    assert lengths.max() == TOY_STEPS
    for row in seeds:
        for name, value in by_hand(toy_id, row, list(actions[:, row]), **options).items():
            assert rows[name][row] == pytest.approx(value), name


def test_play_needs_a_step_limit():
    with pytest.raises(ValueError, match="max_episode_steps"):
        play(worlds(1, max_episode_steps=None), ConstantPolicy(WANTED.ravel()), [0])


def test_scores_are_means_over_the_episodes_of_a_seed():
    table = score(lambda env: make_baseline("fixed", env), ID, "default", SMALL, seeds=3, episodes=2)
    env = make_worlds(ID, 6, "default", SMALL)
    seeds = [word for seed in range(3) for word in stream_seeds(EVALUATION_STREAM, seed, 2)]
    rows = play(env, make_baseline("fixed", env), seeds)
    assert {"return", "reward", "finished_over_arrived", "power_mw"} <= table.keys() == rows.keys()
    for name, values in table.items():
        assert values.shape == (3,)
        np.testing.assert_array_equal(values, [rows[name][2 * s : 2 * s + 2].mean() for s in range(3)])


def test_every_policy_meets_the_same_worlds(monkeypatch):
    met: list[list[int]] = []

    def note(env: EdgeVectorEnv, policy: Any, seeds: list[int]) -> Any:
        met.append(seeds)
        return play(env, policy, seeds)

    monkeypatch.setattr(scoring, "play", note)
    first = score(lambda env: make_baseline("random", env), ID, "default", SMALL, seeds=2, episodes=3)
    again = score(lambda env: make_baseline("random", env), ID, "default", SMALL, seeds=2, episodes=3)
    local = score(lambda env: make_baseline("local", env), ID, "default", SMALL, seeds=2, episodes=3)
    assert met[0] == met[1] == met[2]
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])
    # Arrivals do not depend on the policy, power does.
    np.testing.assert_array_equal(first["tasks_arrived"], local["tasks_arrived"])
    assert (first["power_mw"] != local["power_mw"]).all()


def test_fewer_seeds_and_episodes_are_the_first_ones():
    table = score(lambda env: make_baseline("fixed", env), ID, "default", SMALL, seeds=2, episodes=2)
    fewer = score(lambda env: make_baseline("fixed", env), ID, "default", SMALL, seeds=1, episodes=2)
    np.testing.assert_array_equal(table["reward"][:1], fewer["reward"])


@pytest.mark.parametrize("count", [10, 30, 60])
def test_interval_against_scipy(count):
    values = np.random.default_rng(count).exponential(size=count)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20000, method="percentile", rng=1).confidence_interval
    ours = interval(values)
    assert ours.mean == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.05 * (theirs.high - theirs.low))
    assert ours.high == pytest.approx(theirs.high, abs=0.05 * (theirs.high - theirs.low))
    assert interval(values) == ours


def test_interval_is_that_of_tables():
    """The paper's pages have values, evaluations have scores: the same numbers have the same interval."""
    values = np.random.default_rng(0).normal(size=12)
    assert interval(values) == Resampled(values.reshape(1, 3, 4)).mean()


def test_interval_of_one_and_of_equal_values():
    assert interval([2.0]) == Interval(2.0, -np.inf, np.inf)
    assert interval(np.array([2.0, 2.0, 2.0])) == Interval(2.0, 2.0, 2.0)


def test_known_ids():
    assert ID in known_ids()
    assert "CartPole-v1" not in known_ids()


@pytest.mark.parametrize(
    ("env_id", "preset", "options", "message"),
    [
        ("LyaPO-v0", "default", {}, "did you mean 'LyaPPO-v0'?"),
        ("CartPole-v1", "default", {}, "env='CartPole-v1' does not exist; known: "),
        (ID, "hrd", {}, "preset='hrd' does not exist; did you mean 'hard'?"),
        (ID, "default", {"num_device": 3}, "did you mean 'num_devices'?"),
        (ID, "default", {"num_devices": 0}, "num_devices=0 is not possible"),
        *[
            (ID, "default", {key: value}, f"{key}={value!r} is not a parameter")
            for key, value in {
                "preset": "hard", "num_envs": 3, "autoreset_mode": "NextStep", "system": "os:path", "id": "X",
                "render_mode": "rgb_array", "self": 1, "vector_kwargs": {}, "vectorization_mode": "sync",
                "wrappers": [],
            }.items()
        ],
        *[
            (ID, "default", {"max_episode_steps": value}, f"max_episode_steps={value!r} is not possible; give a whole")
            for value in (0, -1, None, 2.5, "ten", True)
        ],
    ],
)  # fmt: skip
def test_worlds_that_cannot_be(env_id, preset, options, message):
    with pytest.raises(ValueError, match=r"=|unexpected keyword") as caught:
        make_worlds(env_id, 2, preset, options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_scores_are_means_by_seed_with_the_episodes_behind_them():
    episodes = np.arange(12.0).reshape(1, 3, 4)
    other = Scores({"x": 10.0 * episodes})
    both = Scores.of_runs([Scores({"x": episodes}), other])
    np.testing.assert_array_equal(other["x"], [15.0, 55.0, 95.0])
    assert both.episodes["x"].shape == (2, 3, 4)
    np.testing.assert_array_equal(both["x"], 5.5 * np.array([1.5, 5.5, 9.5]))
    assert (list(both), len(both), "y" in both) == (["x"], 1, False)
