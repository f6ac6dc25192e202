"""The baselines: what they choose, what they may see, and how they rank."""

from functools import partial

import gymnasium as gym
import numpy as np
import pytest

import edge_envs  # noqa: F401  (registers the ids)
from agents.evaluation.episodes import score
from edge_envs.core.policy import baselines_of, edge_env_of, make_baseline
from edge_envs.lyappo.baselines.search import best_stable, shared_partitions, simulate_fixed
from edge_envs.lyappo.system import LyaPPOSystem
from tests.helpers import assert_same


@pytest.fixture(scope="module")
def power():
    """Mean mW and finished over arrived of each baseline of the default preset."""
    env = gym.make_vec("LyaPPO-v0", num_envs=1)
    table = {}
    for name in baselines_of(env):
        scores = score(partial(make_baseline, name), "LyaPPO-v0", "default", {}, seeds=2, episodes=8)
        table[name] = scores["power_mw"].mean(), scores["finished_over_arrived"].mean()
    return table


def test_ranking_of_the_default_preset(power):
    order = sorted(power, key=lambda name: power[name][0])
    assert order == ["best-fixed", "price", "fixed", "local", "random", "edge"]
    assert power["edge"][1] < 0.6, "sending everything is more than the link carries"
    assert all(power[name][1] > 0.98 for name in order[:-1])


def test_dynamic_preset_adds_the_regime_table_which_beats_fixed_cuts():
    names = baselines_of(gym.make_vec("LyaPPO-v0", num_envs=1, preset="dynamic"))
    assert "regime-table" in names
    found = {
        name: score(partial(make_baseline, name), "LyaPPO-v0", "dynamic", {}, seeds=2, episodes=8)
        for name in ("best-fixed", "regime-table")
    }
    assert found["regime-table"]["power_mw"].mean() < 0.85 * found["best-fixed"]["power_mw"].mean()


@pytest.mark.parametrize("kind", [gym.make, gym.make_vec])
@pytest.mark.parametrize("preset", ["default", "dynamic-full"])
def test_every_baseline_acts_in_single_and_vector_environments(kind, preset):
    env = kind("LyaPPO-v0", preset=preset, num_devices=2)
    for name in baselines_of(env):
        policy = make_baseline(name, env, seed=1)
        observation, _ = env.reset(seed=0)
        state = None
        for _ in range(3):
            action, state = policy.predict(observation, state, np.zeros(np.shape(observation)[:-1], bool))
            assert env.action_space.contains(action), name
            observation, *_ = env.step(action)


def test_fixed_choices():
    env = edge_env_of(gym.make("LyaPPO-v0", k_min=1))
    last = env.system.config.last_cut
    cut = {name: make_baseline(name, env).predict(np.zeros(1))[0] + 1 for name in ("fixed", "local", "edge")}
    np.testing.assert_array_equal(cut["fixed"], np.tile((last + 1) // 2, 4))
    np.testing.assert_array_equal(cut["local"], np.tile(last, 4))
    np.testing.assert_array_equal(cut["edge"], 1)


def test_joint_decision_offers_random_only():
    assert list(baselines_of(gym.make("LyaPPO-v0", decision="joint"))) == ["random"]


def test_unknown_baseline_names_the_nearest():
    env = edge_env_of(gym.make("LyaPPO-v0"))
    with pytest.raises(ValueError, match=r"policy='prize' does not exist.*did you mean 'price'"):
        make_baseline("prize", env)


def test_price_waits_for_the_backlog():
    """Without a backlog the middle cut; with expensive transmission everything local."""
    env = edge_env_of(gym.make("LyaPPO-v0"))
    env.reset(seed=0)
    assert isinstance(env.system, LyaPPOSystem)
    policy = make_baseline("price", env)
    observation = np.zeros(env.observation_space.shape or ())
    np.testing.assert_array_equal(policy.predict(observation)[0], env.system.config.initial_cut)
    env.state.queues.backlog[0, 1] = 1e9
    np.testing.assert_array_equal(policy.predict(observation)[0], np.tile(env.system.config.choices - 1, 4))


def play_price(kind, explicit, **options):
    """Actions and prices of the drift-price heuristic over three episodes, its memory passed explicitly or not."""
    env = kind("LyaPPO-v0", max_episode_steps=12, **options)
    policy = make_baseline("price", env)
    observation, _ = env.reset(seed=3)
    start, state, seen = np.ones(np.shape(observation)[:-1], bool), None, []
    for _ in range(38):
        action, new = policy.predict(observation, state, start) if explicit else policy.predict(observation)
        state = new if explicit else None
        seen.append((action, new))
        observation, _, terminated, truncated, _ = env.step(action)
        start = np.asarray(terminated | truncated)
        if not start.ndim and start:
            observation, _ = env.reset()
    return seen


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (gym.make, {}),
        (gym.make_vec, {"num_envs": 2, "autoreset_mode": "SameStep"}),
        (gym.make_vec, {"num_envs": 2, "autoreset_mode": "NextStep"}),
    ],
)
def test_price_remembers_by_itself(kind, options):
    """`action, _ = policy.predict(observation)` in every step does what passing the state does, episode by episode."""
    passed, alone = (play_price(kind, explicit, **options) for explicit in (True, False))
    for step, (one, other) in enumerate(zip(passed, alone, strict=True)):
        if options.get("autoreset_mode") == "NextStep" and step % 13 == 12:
            continue  # the action of a row that restarts is not used, and its memory not either
        assert_same(one, other, f"step {step}")


def test_price_smooths_within_an_episode_and_begins_afresh_in_the_next():
    env = edge_env_of(gym.make("LyaPPO-v0"))
    policy, observation = make_baseline("price", env), np.zeros(1)
    env.reset(seed=0)
    fixed = env.system.config.initial_cut  # type: ignore[attr-defined]

    def price(**options):
        return policy.predict(observation, **options)[1]

    np.testing.assert_array_equal(price(), 0.0)
    env.step(fixed)
    env.state.queues.backlog[0, :2] = 7.0
    raw = make_baseline("price", env).predict(observation)[1]
    assert raw.min() > 0.0
    first = price()
    np.testing.assert_allclose(first, 0.02 * raw, rtol=1e-12)
    np.testing.assert_allclose(price(), 0.98 * first + 0.02 * raw, rtol=1e-12)
    np.testing.assert_allclose(price(state=2.0 * raw), 1.98 * raw, rtol=1e-12)
    np.testing.assert_allclose(price(), 0.98 * 1.98 * raw + 0.02 * raw, rtol=1e-12)
    np.testing.assert_array_equal(price(episode_start=np.array([True])), raw)
    np.testing.assert_array_equal(price(episode_start=np.array([False])), raw)
    env.reset(seed=1)
    env.state.queues.backlog[0, :2] = 3.0
    np.testing.assert_allclose(price(), raw * 3.0 / 7.0, rtol=1e-12)
    with pytest.raises(ValueError, match=r"state has shape \(3,\), expected \(1, 2, 4\)"):
        price(state=np.zeros(3))
    with pytest.raises(ValueError, match=r"episode_start has shape \(2,\), expected \(1,\)"):
        price(episode_start=[True, False])


def test_search_discards_unstable_partitions():
    """All-edge is the cheapest in energy weights alone but starves; the search must not return it."""
    reward = np.array([[-1.0], [-3.0], [-2.0]])
    ratio = np.array([[0.5], [1.0], [0.99]])
    assert best_stable(reward, ratio) == [2]
    assert best_stable(reward, np.array([[0.5], [0.3], [0.2]])) == [0], "none stable: the one that finishes most"


def test_search_is_reproducible_and_apart_from_environment_seeds():
    system = LyaPPOSystem.from_options("default", {"num_devices": 2})
    candidates = shared_partitions(system)
    assert candidates.shape == (36, 4)
    first = simulate_fixed(system, candidates[:5], steps=40, worlds=2, seed=0)
    again = simulate_fixed(system, candidates[:5], steps=40, worlds=2, seed=0)
    other = simulate_fixed(system, candidates[:5], steps=40, worlds=2, seed=1)
    np.testing.assert_array_equal(first.reward, again.reward)
    assert not np.array_equal(first.reward, other.reward)


def test_partitions_stay_few_with_many_services():
    system = LyaPPOSystem.from_options("default", {"num_services": 4, "cuts": "all"})
    candidates = shared_partitions(system)
    assert len(candidates) <= 4096
    assert {0, *(system.config.choices - 1).tolist()} <= set(candidates.ravel().tolist())
