"""Planners and rankings for slices: their values, what they know, their searches and their ranking."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import edge_envs  # noqa: F401  (registers the ids)
from agents.worlds import EVALUATION_STREAM, IMITATION_STREAM, TRAINING_STREAM, VALIDATION_STREAM, stream_seeds
from edge_envs.core.policy import ablations_of, baselines_of, make_baseline
from edge_envs.eccnoma.baselines import planning
from edge_envs.eccnoma.bounds import slice_paths
from edge_envs.eccnoma.bounds.slice_paths import Costs

SMALL: dict[str, Any] = {"preset": "planning", "num_users": 6, "num_subchannels": 4}
NEW = ["one-step", "rank", "planner-selfish", "planner"]


@pytest.fixture(autouse=True)
def short_searches(monkeypatch):
    """Searched rules need not be good here."""
    monkeypatch.setattr(planning, "SEARCH_EPISODES", 2)
    monkeypatch.setattr(planning, "SEARCH_FRAMES", 10)
    monkeypatch.setattr(planning, "_RANKINGS", {})


def make(**options: Any) -> Any:
    return gym.make("ECCNOMA-v0", **{**SMALL, **options}).unwrapped


def test_planners_exist_with_slices_only():
    assert set(NEW) <= set(baselines_of(make()))
    assert not ablations_of(make())
    assert (make().system.reference_baseline, make().system.strongest_baseline) == ("rank", "planner")
    assert not set(NEW) & set(baselines_of(make(slices=None)))


@pytest.mark.parametrize("name", NEW)
def test_a_row_is_served_like_a_single_environment(name):
    vector: Any = gym.make_vec("ECCNOMA-v0", num_envs=3, **SMALL)
    singles = [make() for _ in range(3)]
    policies = [make_baseline(name, env, seed=2) for env in (vector, *singles)]
    for episode in range(2):
        seeds = [7 + episode + row for row in range(3)]
        seen = [vector.reset(seed=seeds)[0], *(e.reset(seed=s)[0] for e, s in zip(singles, seeds, strict=True))]
        for _ in range(4):
            actions = [policy.predict(obs)[0] for policy, obs in zip(policies, seen, strict=True)]
            np.testing.assert_array_equal(actions[0], actions[1:])
            seen = [env.step(action)[0] for env, action in zip((vector, *singles), actions, strict=True)]


@pytest.mark.parametrize("name", NEW)
def test_nothing_of_the_true_channels_or_loads_is_used(name):
    env = make()
    observation, _ = env.reset(seed=1)
    for _ in range(6):
        observation = env.step(make_baseline(name, env).predict(observation)[0])[0]
    before = make_baseline(name, env).predict(observation)[0]
    env.state.gain_up[:] *= 1e-3
    env.state.gain_down[:] *= 1e-3
    env.state.level[:] = (env.state.level + 1) % 3
    np.testing.assert_array_equal(make_baseline(name, env).predict(observation)[0], before)
    env.state.seen_up[:] *= 1e-9
    assert (make_baseline(name, env).predict(observation)[0] != before).any()


@pytest.mark.parametrize("name", ["one-step", "rank", "planner"])
def test_no_more_users_ask_than_there_are_slices(name):
    env = make(num_users=8)
    observation, _ = env.reset(seed=1)
    policy, asked = make_baseline(name, env), 0
    for _ in range(8):
        action = policy.predict(observation)[0]
        wants = action != env.system.parameters.last_choice[env.state.network[0]]
        per_ap = np.bincount(env.state.ap[0][wants], minlength=2)
        assert per_ap.max() <= 2
        asked += per_ap.sum()
        observation = env.step(action)[0]
        np.testing.assert_array_equal(env.state.holds[0] == 1, wants)
    assert asked > 8


def test_planning_beats_rules_and_selfishness():
    means = {}
    for name in (*NEW, "random", "device-only"):
        env: Any = gym.make_vec("ECCNOMA-v0", num_envs=40, **SMALL)
        policy, total = make_baseline(name, env), 0.0
        observation, _ = env.reset(seed=40)
        for _ in range(40):
            observation, _, _, _, info = env.step(policy.predict(observation)[0])
            total += info["relative_cost"].mean() / 40
        means[name] = total
    order = sorted(means, key=lambda name: means[name])
    assert order[0] == "planner"
    assert set(order[-2:]) <= {"random", "device-only", "planner-selfish"}
    assert means["planner"] < 0.97 * means["one-step"]


def test_values_of_a_chain_are_expectations_over_all_its_futures():
    """Against enumeration of phases and arrivals, with backlogs between whole numbers avoided."""
    k = Costs(weight_delay=0.9, weight_energy=0.1, frame_s=1.0, queue_max=3.0, drop_s=4.0)
    delay, energy, load = np.array([0.5, 1.0]), np.array([1.0, 2.0]), np.array([1, 0])
    probability = np.array([[0.7, 0.3], [0.4, 0.6]])
    arrival = np.array([[0.8, 0.2, 0.0], [0.1, 0.4, 0.5]])
    price = 0.3

    def frame(queue: int, each: float, joules: float) -> tuple[float, int]:
        served = min(queue, round(1.0 / each))
        waited = each * served * (served + 1) / 2 + (queue - served)
        return 0.9 * waited + 0.1 * served * joules, queue - served

    def ahead(frames: int, phase: int, loaded: int, left: int) -> float:
        total = 0.0
        for z in range(2):
            for a in range(3):
                chance = probability[phase, z] * arrival[z, a]
                dropped = max(left + a - 3, 0)
                total += chance * (0.9 * 4.0 * dropped + best(frames, z, loaded, min(left + a, 3)))
        return total

    def best(frames: int, phase: int, loaded: int, queue: int) -> float:
        if frames == 0:
            return 0.0
        cost, left = frame(queue, 1.0, 2.0)
        tried = [cost + ahead(frames - 1, phase, 0, left)]
        if loaded == 0:
            tried.append(cost + price + ahead(frames - 1, phase, 1, left))
        else:
            cost, left = frame(queue, 0.5, 1.0)
            tried.append(cost + price + ahead(frames - 1, phase, 1, left))
        return min(tried)

    after = np.zeros((2, 2, 4))
    mean = slice_paths.chain_values(k, 3, price, delay, energy, load, 2, 1, probability, arrival, after)
    for z in range(2):
        for loaded in range(2):
            for left in range(4):
                assert after[z, loaded, left] == pytest.approx(ahead(3, z, loaded, left), rel=1e-12)
    burst = 0.3 / 0.7
    assert mean == pytest.approx((1.0 - burst) * after[0, 0, 0] + burst * after[1, 0, 0], rel=1e-12)


def test_the_searched_rule_is_the_best_of_those_tried():
    system = make().system
    rule = planning.searched_ranking(system, 0)
    assert rule.burst_tasks in planning.BURST_TASKS
    assert rule.stay_factor in planning.STAY_FACTORS
    found = planning.simulated_cost(system, 0, rule)
    for other in (planning.Ranking(0.0, 1.0), planning.Ranking(2.0, 1.5), planning.Ranking(32.0, 5.0)):
        assert found <= planning.simulated_cost(system, 0, other)


def test_searches_use_no_stream_of_trainings_or_evaluations():
    for stream in (TRAINING_STREAM, VALIDATION_STREAM, EVALUATION_STREAM, IMITATION_STREAM):
        others = {np.random.default_rng(seed).random() for seed in stream_seeds(stream, 0, 50)}
        own = {np.random.default_rng([planning.SEARCH_STREAM, 0, row]).random() for row in range(24)}
        assert not own & others


def test_probabilities_of_arrivals():
    for mean in (0.0, 0.3, 3.0, 60.0):
        found = planning.poisson_probabilities(mean)
        assert found.sum() == pytest.approx(1.0, abs=1e-12)
        if mean < 5.0:
            assert (found * np.arange(len(found))).sum() == pytest.approx(mean, abs=1e-6)
