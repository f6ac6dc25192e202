"""The System around the kernel: golden trajectory, observations, members, prices, queues, rounds that cannot be met."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import edge_envs  # noqa: F401  (registers the ids)
from edge_envs.semcom.config import PsnrMode, SemComConfig
from edge_envs.semcom.system import SemComSystem
from tests.semcom.model.reference_decisions import optimum
from tests.semcom.model.reference_round import certified, problem_of, psnr, world_of

GOLDEN: dict[str, list[float]] = {
    "default": [
        -0.408898806110834,
        -0.5018163054355669,
        -0.9322326795153942,
        -0.7915820978900292,
        -1.230407472064681,
    ],
    "paper": [
        -1.6529754009370816,
        -1.661749131012577,
        -1.6824965479312153,
        -1.6956867030252645,
        -1.6894039228062734,
    ],
}
"""Rewards of the first five rounds with seed 123 and the actions of `cycle`. A change here means a new version of the
id."""


def make(preset: str = "default", **options: Any) -> Any:
    return gym.make("SemCom-v0", preset=preset, **{"calibration_rounds": 20, **options})


def cycle(size: int, step: int) -> np.ndarray:
    return np.asarray(np.sin(1.0 + step + 2.0 * np.arange(size)))


@pytest.mark.parametrize("preset", GOLDEN)
def test_golden_trajectory(preset):
    env = gym.make("SemCom-v0", preset=preset)
    env.reset(seed=123)
    (size,) = env.action_space.shape or ()
    rewards = [float(env.step(cycle(size, step))[1]) for step in range(5)]
    # Looser than rounding by what the solver's own tolerance leaves open.
    np.testing.assert_allclose(rewards, GOLDEN[preset], rtol=3e-9)


# What is seen


def columns(env: Any, observation: np.ndarray) -> np.ndarray:
    """The observation as one row per device."""
    return np.asarray(observation[env.unwrapped.system.member_view], dtype=np.float64)


@pytest.mark.parametrize("at", [0, 3])
def test_observation_by_hand(at):
    """Fade, virtual queue, price of compression by an independent solve, mean gain and cycles of each device."""
    env = make(num_devices=3, observe_geometry=True, initial_queue_max_db=10.0)
    observation, _ = env.reset(seed=4)
    for step in range(at):
        observation, *_ = env.step(cycle(3, step))
    config, world, state = env.unwrapped.system.config, world_of(env), env.unwrapped.state
    problem = problem_of(config, world, np.full(3, 0.2))
    found = optimum(problem, np.full(3, 0.2), np.inf, 0)
    snr = found.power_w * world.gain / (problem.noise_w_per_hz * found.bandwidth_hz)
    upload_s = problem.bits / (found.bandwidth_hz * np.log2(1.0 + snr))
    # A unit of the rate is 1 / 0.2 times what the logarithm moves by one.
    price = (0.5 * found.power_w + found.time_price) * upload_s / 0.2 / world.cost_scale
    mean = state.mean_gain[0]
    expected = [
        0.5 * np.log(world.gain / mean), np.tanh(world.queue_db / 10.0), 0.5 * np.log10(price + 1e-4),
        np.log10(mean) + 12.5, (world.device_cycles - 2e6) / 1e6, (world.server_cycles - 4e6) / 1e6,
    ]  # fmt: skip
    np.testing.assert_allclose(columns(env, observation), np.stack(expected, axis=1), atol=1e-5)


@pytest.mark.parametrize(
    ("preset", "options", "facts"),
    [
        ("default", {}, 3), ("default", {"observe_price": False}, 2), ("default", {"observe_geometry": True}, 6),
        ("default", {"fading": False}, 5), ("default", {"psnr_mode": "utility", "observe_price": False}, 1),
        ("random", {}, 6), ("random", {"observe_geometry": False}, 3), ("paper", {}, 4),
        ("paper", {"observe_price": False}, 3), ("paper", {"observe_geometry": False}, 1),
    ],
)  # fmt: skip
def test_size_of_the_observation(preset, options, facts):
    env = make(preset, num_devices=4, **options)
    observation, _ = env.reset(seed=0)
    assert observation.shape == (4 * facts,)
    seen = [columns(env, observation)]
    for step in range(5):
        observation, *_ = env.step(cycle(env.action_space.shape[0], step))
        seen.append(columns(env, observation))
        assert env.observation_space.contains(observation)
    assert np.asarray(seen).reshape(-1, facts).std(axis=0).min() > 0.0, "a fact that never changes is none"


def test_price_is_that_of_the_round_to_come_whatever_was_decided():
    """Two actions lead to the same price, as the fading does not depend on them; nor does seeing it change a round."""
    one, other, blind = make(), make(), make(observe_price=False)
    starts = [env.reset(seed=3)[0] for env in (one, other, blind)]
    np.testing.assert_array_equal(starts[0], starts[1])
    for step in range(4):
        low, high, same = one.step(np.full(10, -1.0)), other.step(cycle(10, step)), blind.step(np.full(10, -1.0))
        np.testing.assert_array_equal(columns(one, low[0])[:, 2], columns(other, high[0])[:, 2])
        assert low[1] == same[1]
        np.testing.assert_array_equal(columns(one, low[0])[:, :2], columns(blind, same[0]))


# Members, prices, queues


@pytest.mark.parametrize(
    "options",
    [
        {}, {"solver": "alg3"}, {"solver": "p3_only"}, {"psnr_mode": "hard", "psnr_min_db": 28.0, "deadline_s": 3.0},
        {"psnr_mode": "utility"}, {"decision": "joint"}, {"decision": "power_bandwidth"}, {"num_devices": 1},
    ],
    ids=str,
)  # fmt: skip
def test_members_rewards_add_up(options):
    env = make("mild", **options)
    env.reset(seed=2)
    for step in range(10):
        _, reward, _, _, info = env.step(cycle(env.action_space.shape[0], step))
        assert info["member_reward"].sum() == pytest.approx(reward, rel=1e-12)
        assert info["member_compression"].mean() == pytest.approx(info["compression"], rel=1e-12)
        assert info["member_psnr_db"].mean() == pytest.approx(info["psnr_mean_db"], rel=1e-12)
        assert info["member_delay_s"].max() == pytest.approx(info["delay_s"], rel=1e-9)


@pytest.mark.parametrize(
    ("preset", "options", "tight"),
    [
        ("default", {}, 1e-5), ("table2", {}, 1e-5), ("mild", {"solver": "alg3"}, 1e-5),
        ("mild", {"solver": "p3_only"}, 1e-5), ("default", {"psnr_mode": "utility", "num_devices": 1}, 1e-5),
        ("default", {"decision": "joint"}, 1e-6), ("table2", {"device_energy_coefficient": 1e-26}, 1e-5),
    ],
    ids=str,
)  # fmt: skip
def test_sensitivity_is_the_slope_of_the_objective(preset, options, tight):
    """d objective / d ln rho against a finite difference: the same round again with one rate a little changed."""
    env = make(preset, **options)
    env.reset(seed=8)
    base, (size,) = env.unwrapped, env.action_space.shape
    variables = size // base.system.members
    chooser = np.random.default_rng(5)

    def objective(action: np.ndarray) -> float:
        state = copy.deepcopy(base.state)
        rng = np.random.default_rng(0)
        return float(base.system.step(state, np.zeros(1, dtype=np.int64), action[None], (rng,)).metrics[0, 0])

    for _ in range(2):
        action = chooser.uniform(-0.9, 0.9, size)
        slopes = []
        for n in range(0, size, variables):
            at, step = n + variables - 1, 1e-4
            up, down = action.copy(), action.copy()
            up[at], down[at] = action[at] + step, action[at] - step
            # The rate is 0.2 + 0.1 a, so its logarithm moves by 0.1 / rho for each unit of a.
            slopes.append((objective(up) - objective(down)) / (2 * step) * (0.2 + 0.1 * action[at]) / 0.1)
        _, _, _, _, info = env.step(action)
        np.testing.assert_allclose(info["member_sensitivity"], slopes, rtol=tight, atol=tight * info["objective"])


@pytest.mark.parametrize("weight", [100.0, 3.0])
@pytest.mark.parametrize("start", [0.0, 10.0])
def test_reward_telescopes(weight, start):
    """What an episode earns is minus its cost, and what its virtual queues grew by: (Z_T^2 - Z_0^2) / 2V."""
    env = make(num_devices=4, queue_weight=weight, initial_queue_max_db=start)
    env.reset(seed=6)
    before = env.unwrapped.state.queue_db[0].copy()
    earned, cost = 0.0, 0.0
    for step in range(60):
        _, reward, _, _, info = env.step(cycle(4, step) - 0.2 * (step < 40) * np.sign(cycle(4, step)))
        earned, cost = earned + reward, cost + info["cost"]
    grown = float((info["member_queue_db"] ** 2).sum() - (before**2).sum()) / (2.0 * weight)
    assert earned == pytest.approx(-cost - grown, rel=1e-11)
    assert abs(grown) > 1e-3, "the queues moved"


def test_shortfalls_count_from_the_reset():
    """Mean PSNRs, what they are below the requirements, and how many meet them, kept beside the environment."""
    env = make("mild", num_devices=5, psnr_target_fraction=0.3)
    met = set()
    for seed in range(3):
        env.reset(seed=seed)
        target, seen = env.unwrapped.state.target_db[0].copy(), []
        for step in range(12):
            _, _, _, _, info = env.step(np.clip(cycle(5, step) - 0.5, -1.0, 1.0))
            seen.append(info["member_psnr_db"])
            short = np.maximum(target - np.mean(seen, axis=0), 0.0)
            assert info["shortfall_db"] == pytest.approx(short.mean(), abs=1e-12)
            assert info["targets_met"] == pytest.approx((short <= 0.05).mean())
            np.testing.assert_allclose(info["member_shortfall_db"], np.maximum(target - seen[-1], 0.0), atol=1e-12)
            met.add(info["targets_met"])
    assert len(met) > 2


def test_virtual_queue_is_what_was_short_so_far():
    """Rates that meet no requirement: queues add up what is missing. Rates beyond all: they empty and stay empty."""
    env = make("table2", num_devices=3, fading=False, psnr_target_fraction=0.5)
    env.reset(seed=0)
    _, _, _, _, first = env.step(np.full(3, -1.0))
    assert (first["member_shortfall_db"] > 0.1).all()
    for step in range(2, 6):
        _, _, _, _, info = env.step(np.full(3, -1.0))
        np.testing.assert_allclose(info["member_queue_db"], step * first["member_shortfall_db"], rtol=1e-9)
    for _ in range(8):
        _, reward, _, _, info = env.step(np.full(3, 1.0))
    assert not info["member_queue_db"].any()
    assert reward == pytest.approx(-info["cost"], rel=1e-12), "an empty queue that stays empty earns nothing"


def test_utility_pays_for_quality():
    env = make("default", psnr_mode="utility", psnr_weight_per_db=0.4, psnr_min_db=21.0)
    env.reset(seed=0)
    for step in range(4):
        _, reward, _, _, info = env.step(cycle(10, step))
        assert reward == pytest.approx(-info["cost"] + 0.4 * (info["psnr_mean_db"] - 21.0), rel=1e-12)


def test_hard_mode_punishes_relative_shortfall():
    env = make("default", psnr_mode="hard", psnr_min_db=40.0, shortfall_penalty=7.0, deadline_s=2.0)
    env.reset(seed=0)
    _, reward, _, _, info = env.step(np.zeros(10))
    assert info["round_shortfall_db"] > 5.0
    assert reward == pytest.approx(-info["cost"] - 7.0 * info["round_shortfall_db"] / 40.0, rel=1e-12)


# Rounds that cannot be as they should


def finite(info: dict[str, Any], reward: float, observation: np.ndarray) -> bool:
    numbers = [value for name, value in info.items() if name not in ("certificate", "episode_mean_certificate")]
    return all(np.isfinite(value).all() for value in [*numbers, reward, observation])


EXTREMES: list[dict[str, Any]] = [
    {"psnr_min_db": 28.0}, {"psnr_min_db": 100.0}, {"psnr_min_db": 0.0}, {"psnr_min_db": 28.0, "deadline_s": 1e-9},
    {"psnr_min_db": 28.0, "deadline_s": 1.0}, {"psnr_min_db": 45.0, "deadline_s": 1e9},
    {"psnr_min_db": 40.0, "snr_clip_db": (0.0, 20.0)}, {"psnr_min_db": 40.0, "snr_clip_db": (-5.0, -5.0)},
    {"psnr_min_db": 40.0, "snr_clip_db": (0.0, 20.0), "deadline_s": 1e9},
    {"psnr_min_db": 29.0, "snr_clip_db": (0.0, 20.0), "deadline_s": 20.0, "snr_unit": "linear"},
]  # fmt: skip


@pytest.mark.parametrize("devices", [1, 3, 10])
@pytest.mark.parametrize("solver", ["joint", "alg3"])
@pytest.mark.parametrize("options", EXTREMES, ids=str)
@pytest.mark.filterwarnings("error")
def test_requirements_beyond_reach_never_break_a_round(devices, solver, options):
    """Weak links, random actions, over many rounds: finite numbers, true counts, and certificates."""
    env = make(num_devices=devices, psnr_mode="hard", solver=solver, extra_gain_db=-40.0, **options)
    config = env.unwrapped.system.config
    chooser = np.random.default_rng(1)
    env.reset(seed=1)
    for _ in range(25):
        world = world_of(env)
        observation, reward, _, _, info = env.step(chooser.uniform(-1.0, 1.0, devices))
        assert finite(info, reward, observation)
        assert certified(config, info["certificate"])
        late = info["member_delay_s"] > config.deadline_s * (1 + 1e-9)
        assert info["missed_deadlines"] == late.sum()
        short = info["member_shortfall_db"] > 1e-6
        assert short.sum() <= info["relaxed_devices"] <= devices, "nobody falls short who was not relaxed"
        snr = info["member_power_w"] * world.gain / (10**-20.4 * info["member_bandwidth_hz"])
        quality = [psnr(config, *row) for row in zip(info["member_compression"], snr, strict=True)]
        np.testing.assert_allclose(info["member_psnr_db"], quality, rtol=1e-12)
    if options["psnr_min_db"] == 40.0:
        assert info["relaxed_devices"] == devices, "no SNR is enough for this"
        assert short.all()


@pytest.mark.parametrize(
    "options",
    [
        {"extra_gain_db": -40.0}, {"extra_gain_db": -40.0, "solver": "p3_only"}, {"extra_gain_db": 60.0},
        {"extra_gain_db": -40.0, "decision": "power_bandwidth", "psnr_mode": "hard"},
        {"extra_gain_db": -40.0, "decision": "joint"}, {"extra_gain_db": -40.0, "psnr_mode": "utility"},
        {"bandwidth_hz": 1e9}, {"bandwidth_hz": 1e3}, {"power_max_dbm": -20.0}, {"weight_time": 1e-6},
        {"weight_time": 1 - 1e-6}, {"compression_min": 0.3}, {"samples": 1}, {"fade_floor": 1e-6},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_extreme_rounds_are_finite(options):
    env = make(observe_geometry=True, **options)
    env.reset(seed=3)
    chooser = np.random.default_rng(2)
    for step in range(20):
        action = chooser.uniform(-1.0, 1.0, env.action_space.shape)
        observation, reward, _, _, info = env.step(np.sign(action) if step % 4 == 3 else action)
        assert finite(info, reward, observation)
        assert env.observation_space.contains(observation)
        assert certified(env.unwrapped.system.config, info["certificate"])


def test_deadline_holds_where_it_can():
    """With a strict deadline rounds end by it unless a device is relaxed to nothing; without it they take longer."""
    strict, easy = (make("paper", num_devices=5, psnr_min_db=26.0, weight_time=0.05, deadline_s=s) for s in (0.6, 9.0))
    kept = 0
    for seed in range(12):
        for env in (strict, easy):
            env.reset(seed=seed)
        (*_, tight), (*_, loose) = (env.step(np.full(5, -1.0)) for env in (strict, easy))
        assert loose["missed_deadlines"] == loose["relaxed_devices"] == 0
        if loose["delay_s"] > 0.6 and not tight["missed_deadlines"]:
            kept += 1
            assert tight["delay_s"] <= 0.6 * (1 + 1e-12)
            assert tight["relaxed_devices"] or tight["objective"] >= loose["objective"] * (1 - 1e-9)
            assert tight["member_delay_s"].max() == pytest.approx(0.6, rel=1e-9)
    assert kept >= 3


# The class itself


@pytest.mark.parametrize(("decision", "variables"), [("compression", 1), ("power_bandwidth", 2), ("joint", 5)])
def test_spaces(decision, variables):
    system = SemComSystem(SemComConfig(decision=decision, num_devices=7, calibration_rounds=1))
    assert system.action_space.shape == (7 * variables,)
    assert system.member_action_space.shape == (variables,)
    assert system.observation_space.shape == (21,)
    assert system.member_observation_space.shape == (3,)
    np.testing.assert_array_equal(np.sort(system.member_view.ravel()), np.arange(21))


def test_headlines_are_metrics():
    for mode in PsnrMode:
        system = SemComSystem(SemComConfig(psnr_mode=mode, calibration_rounds=1))
        assert set(system.headline) <= {metric.name for metric in system.metrics}
    assert len({metric.name for metric in system.metrics}) == len(system.metrics)


def test_larger_rates_cost_more_and_look_better():
    """With nothing else changed: in each round the cost and every PSNR rise with the rates."""
    costs, qualities = [], []
    for action in (-1.0, -0.3, 0.4, 1.0):
        env = make(num_devices=4)
        env.reset(seed=9)
        infos = [env.step(np.full(4, action))[4] for _ in range(6)]
        costs.append([info["cost"] for info in infos])
        qualities.append([info["member_psnr_db"] for info in infos])
    for (less, more), (worse, better) in zip(itertools.pairwise(costs), itertools.pairwise(qualities), strict=True):
        assert (np.array(more) > np.array(less)).all()
        assert np.mean(better) > np.mean(worse)


def test_joint_optimum_is_below_what_else_solves_the_round():
    """At the same rates and channel: joint <= Algorithm 3 <= Problem 3 alone, and below 200 random allocations."""
    objective = {}
    for solver in ("joint", "alg3", "p3_only"):
        env = make("table2", num_devices=4, solver=solver)
        env.reset(seed=11)
        objective[solver] = env.step(np.full(4, -0.5))[4]["objective"]
    assert objective["joint"] <= objective["alg3"] * (1 + 1e-9) <= objective["p3_only"] * (1 + 2e-9)
    assert objective["joint"] < 0.95 * objective["alg3"]
    chooser = np.random.default_rng(0)
    env = make("table2", num_devices=4, decision="joint", fading_correlation=1.0)
    env.reset(seed=11)
    best = np.inf
    for _ in range(200):
        action = chooser.uniform(-1.0, 1.0, (4, 5))
        action[:, 4] = -0.5
        best = min(best, env.step(action.ravel())[4]["objective"])
    assert objective["joint"] < best
