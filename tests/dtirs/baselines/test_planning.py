"""Planners, one-step optima and two-cut rules: their expectations, their searches and their ranking."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import edge_envs  # noqa: F401  (registers the ids)
from agents.worlds import EVALUATION_STREAM, IMITATION_STREAM, TRAINING_STREAM, VALIDATION_STREAM, stream_seeds
from edge_envs.core.policy import ablations_of, baselines_of, make_baseline
from edge_envs.dtirs.baselines import hysteresis, planning
from edge_envs.dtirs.baselines.outlook import expected_problem
from edge_envs.dtirs.bounds import frame_of
from edge_envs.dtirs.solvers import cut_paths
from edge_envs.dtirs.system import DTIRSSystem

SMALL: dict[str, Any] = {"preset": "planning", "num_devices": 4, "num_elements": 6, "num_antennas": 16, "shadow_db": 12}
NEW = ["threshold", "hysteresis", "one-step", "planner-selfish", "planner", "threshold-forecast", "hysteresis-forecast"]


@pytest.fixture(autouse=True)
def short_searches(monkeypatch):
    """Searched rules need not be good here."""
    monkeypatch.setattr(planning, "SEARCH_EPISODES", 2)
    monkeypatch.setattr(planning, "SEARCH_FRAMES", 30)
    monkeypatch.setattr(hysteresis, "TRIES", 100)
    monkeypatch.setattr(hysteresis, "REFINEMENTS", 60)
    monkeypatch.setattr(planning, "_TRACES", {})


def make(**options: Any) -> Any:
    return gym.make("DTIRS-v0", **{**SMALL, **options}).unwrapped


def mean_costs(names: list[str], episodes: int, frames: int, **options: Any) -> dict[str, float]:
    found = {}
    for name in names:
        env: Any = gym.make_vec("DTIRS-v0", num_envs=episodes, **{**SMALL, **options})
        policy, total = make_baseline(name, env), 0.0
        observation, _ = env.reset(seed=40)
        for _ in range(frames):
            observation, _, _, _, info = env.step(policy.predict(observation)[0])
            total += info["objective_s"].mean() / frames
        found[name] = total
    return found


# Names


def test_planners_exist_where_their_model_holds():
    assert set(NEW) <= set(baselines_of(make()))
    blind = set(baselines_of(make(preset="planning-blind")))
    assert blind & set(NEW) == set(NEW) - {"threshold-forecast", "hysteresis-forecast"}
    others: list[dict[str, Any]] = [
        {"preset": "default"}, {"migration": False}, {"power": "optimal"}, {"backlog": True}, {"phase_passes": 1},
    ]  # fmt: skip
    for options in others:
        assert not set(NEW) & set(baselines_of(make(**options))), options


@pytest.mark.parametrize("name", NEW)
def test_a_row_is_served_like_a_single_environment(name):
    vector: Any = gym.make_vec("DTIRS-v0", num_envs=3, **SMALL)
    singles = [make() for _ in range(3)]
    policies = [make_baseline(name, env, seed=2) for env in (vector, *singles)]
    seen = [vector.reset(seed=7)[0], *(env.reset(seed=7 + row)[0] for row, env in enumerate(singles))]
    for _ in range(4):
        actions = [policy.predict(obs)[0] for policy, obs in zip(policies, seen, strict=True)]
        np.testing.assert_array_equal(actions[0], actions[1:])
        seen = [env.step(action)[0] for env, action in zip((vector, *singles), actions, strict=True)]


# Expectations


def test_expected_times_are_the_means_of_the_environments_own_future():
    """Many copies of one world with different random numbers, against the planner's tables.

    Without fading and with random phases, gains still vary, so times per bit are compared at the mean gain.
    """
    options = {key: value for key, value in SMALL.items() if key != "preset"} | {"stop_probability": 0.2}
    system = DTIRSSystem.from_options("planning", {**options, "phase": "random"})
    p, worlds, frames = system.parameters, 4000, 7
    state, one = system.allocate(worlds), system.allocate(1)
    system.reset(one, np.zeros(1, dtype=np.int64), [np.random.default_rng(4)])
    outlook = expected_problem(p, one, 0, frames)
    for name in state._fields:
        if name != "workspace":
            getattr(state, name)[:] = getattr(one, name)
    rngs, rows = [np.random.default_rng([5, row]) for row in range(worlds)], np.arange(worlds)
    np.testing.assert_array_equal(outlook.first, one.held[0])
    for h in range(frames):
        own, root, pool, up, down, *_ = frame_of(p, state)
        np.testing.assert_allclose(outlook.root[h], root[0], rtol=1e-12)
        assert outlook.pool_s[h] == pytest.approx(pool.mean(), rel=0.03)
        slowness = (1.0 / state.speed_flop_s).mean(axis=0)
        compute = own - p.bits_up * up[:, :, None] - p.bits_down * down[:, :, None]
        ours = outlook.own_s[h] - p.bits_up * outlook.up_s[h][:, None] - p.bits_down * outlook.down_s[h][:, None]
        np.testing.assert_allclose(ours, compute.mean(axis=0), rtol=0.03)
        np.testing.assert_allclose(ours, one.front_flop[0] * slowness[:, None], rtol=0.03)
        if h == 0:
            np.testing.assert_allclose(outlook.up_s[0], up[0], rtol=1e-12)
            np.testing.assert_allclose(outlook.down_s[0], down[0], rtol=1e-12)
        else:
            # The mean gain at the places of all copies, which the planner does not know.
            loss = np.where((state.lap - state.shadow_start) % 1.0 < state.shadow_share, p.shadow_gain, 1.0)
            path = p.reference_gain * state.distance_m**-p.irs_ud_exponent * p.ap_irs_gain * loss
            gains = path * p.num_antennas * p.num_elements
            for watts, found in ((p.power_uplink_w, outlook.up_s[h]), (p.power_total_w / 4, outlook.down_s[h])):
                per_bit = np.log(2.0) / (p.device_bandwidth_hz * np.log1p(watts * gains / p.noise_w))
                np.testing.assert_allclose(found, per_bit.mean(axis=0), rtol=0.06)
            np.testing.assert_allclose(state.gain_down.mean(axis=0), gains.mean(axis=0), rtol=0.08)
        system.step(state, rows, np.zeros((worlds, 4), dtype=np.int64), rngs)


# Decisions


def test_one_step_with_the_real_cost_is_the_best_of_all_cuts():
    """Compared with all combinations of three devices' cuts, in most frames exactly."""
    env = make(num_devices=3, cuts="useful")
    policy = planning.PlanningPolicy(env, 1, 1.0, True)
    grid = np.stack(np.meshgrid(*[np.arange(7)] * 3), axis=-1).reshape(-1, 3)
    exact = 0
    for seed in range(12):
        env.reset(seed=seed)
        env.step(np.random.default_rng(seed).integers(0, 7, size=3))
        q = expected_problem(env.system.parameters, env.state, 0, 1)
        every = [cut_paths.paths_cost(q, cuts[None]) for cuts in grid]
        chosen = cut_paths.paths_cost(q, policy.action(0)[None])
        assert chosen <= 1.05 * min(every)
        exact += chosen <= min(every) * (1.0 + 1e-12)
        objective = env.step(policy.action(0))[4]["objective_s"]
        assert objective == pytest.approx(chosen + env.system.parameters.loss_s, rel=1e-10)
    assert exact >= 10


def test_selfish_plans_ignore_what_the_others_lose():
    """In one frame, a device takes the cut with its own least delay while the others keep theirs."""
    env = make(pool_per_device_flop_s=3e9)
    policy, together = planning.PlanningPolicy(env, 1, 1.0, False), planning.PlanningPolicy(env, 1, 1.0, True)
    differs = 0
    for seed in range(8):
        env.reset(seed=seed)
        q = expected_problem(env.system.parameters, env.state, 0, 1)
        cuts = policy.action(0)
        for k in range(4):
            others = sum(q.root[0, j, q.first[j]] for j in range(4) if j != k)
            own = [
                q.own_s[0, k, c] + q.pool_s[0] * q.root[0, k, c] * (others + q.root[0, k, c])
                + cut_paths.move_cost(q, 0, k, q.first[k], c)
                for c in range(7)
            ]  # fmt: skip
            assert own[cuts[k]] == pytest.approx(min(own), rel=1e-12)
        differs += not np.array_equal(cuts, together.action(0))
    assert differs


def test_two_cut_rules_keep_their_cut_within_the_band():
    assert hysteresis.two_cuts(1, -85.0, 1, 6, -90.0, -80.0) == 1
    assert hysteresis.two_cuts(6, -85.0, 1, 6, -90.0, -80.0) == 6
    assert hysteresis.two_cuts(6, -79.0, 1, 6, -90.0, -80.0) == 1
    assert hysteresis.two_cuts(1, -91.0, 1, 6, -90.0, -80.0) == 6
    assert hysteresis.two_cuts(3, -84.0, 1, 6, -90.0, -80.0) == 1, "another cut: middle of the band"
    assert hysteresis.two_cuts(3, -86.0, 1, 6, -90.0, -80.0) == 6


def test_a_searched_rule_plays_what_the_search_valued():
    env = make()
    traces = planning.search_traces(env.system, 0)
    for kind in ((False, False), (True, True)):
        policy = hysteresis.two_cut_rule(*kind, env, 0)
        if not kind[0]:
            assert policy.rule.low_db == policy.rule.high_db
        assert (policy.rule.ahead > 0) == kind[1]
        rng = np.random.default_rng([planning.SEARCH_STREAM, 0, 1])
        rows = np.zeros(1, dtype=np.int64)
        env.system.reset(env.state, rows, [rng])
        total = 0.0
        for _ in range(planning.SEARCH_FRAMES):
            action = policy.action(0)[None]
            outcome = env.system.step(env.state, rows, action, [rng])
            total += outcome.metrics[0, 0]
        expected = hysteresis.value_of(policy.rule, [traces[1]]) + traces[1].constant_s
        assert total == pytest.approx(expected, rel=1e-9)


def test_searches_use_streams_of_their_own():
    """No world of training, imitation, validation or evaluation has the random numbers of a search."""

    def first_numbers(rng: np.random.Generator) -> bytes:
        return rng.standard_normal(4).tobytes()

    searched = {
        first_numbers(np.random.default_rng([planning.SEARCH_STREAM, seed, row]))
        for seed in range(20) for row in range(8)
    }  # fmt: skip
    streams = (EVALUATION_STREAM, VALIDATION_STREAM, TRAINING_STREAM, IMITATION_STREAM)
    others = {
        first_numbers(np.random.default_rng(word))
        for stream in streams for seed in range(20) for word in stream_seeds(stream, seed, 32)
    }  # fmt: skip
    others |= {first_numbers(np.random.default_rng(seed)) for seed in range(2000)}
    assert len(searched) == 160
    assert not searched & others


def test_search_traces_are_kept_for_the_last_systems():
    system = make().system
    first = planning.search_traces(system, 0)
    assert planning.search_traces(make().system, 0) is first
    for seed in range(1, planning.TRACES_KEPT + 1):
        planning.search_traces(system, seed)
    assert len(planning._TRACES) == planning.TRACES_KEPT
    assert planning.search_traces(system, 0) is not first


def test_looking_ahead_pays():
    """On the preset's own size: planner, forecast rule, own-signal rule and one-step optimum in their order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "SEARCH_FRAMES", 120)
        patch.setattr(planning, "SEARCH_EPISODES", 4)
        patch.setattr(hysteresis, "TRIES", 600)
        patch.setattr(planning, "_TRACES", {})
        full = {"num_devices": 10, "num_elements": 32, "num_antennas": 32, "shadow_db": 20.0}
        cost = mean_costs(
            ["planner", "planner-selfish", "hysteresis-forecast", "one-step", "best-common"], 6, 100, **full
        )
    assert cost["planner"] < cost["planner-selfish"]
    assert cost["planner"] < 0.95 * cost["hysteresis-forecast"] < 0.95 * cost["one-step"]
    assert cost["one-step"] < cost["best-common"]


@pytest.mark.parametrize("preset", ["planning", "planning-blind"])
def test_every_ablation_can_be_played(preset):
    played = []
    for name, ablation in ablations_of(make(preset=preset)).items():
        env = make(preset=preset, **ablation.options)
        observation, _ = env.reset(seed=1)
        info = env.step(make_baseline(ablation.policy, env).predict(observation)[0])[4]
        assert np.isfinite(info["objective_s"]), name
        played.append(name)
    assert played == ["no-irs", "no-dt", "random-phase", "admm-equal", "full-local", "full-offload"]
