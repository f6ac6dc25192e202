"""The paper's comparison policies and the joint optimum over all rates, against independent computations."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar

import edge_envs  # noqa: F401  (registers the ids)
from edge_envs.core.policy import make_baseline
from edge_envs.semcom.config import SemComConfig
from edge_envs.semcom.system import SemComSystem
from tests.semcom.model.reference_decisions import algorithm_3, even_link, jointly, link_then_p3
from tests.semcom.model.reference_round import (
    Decision,
    World,
    account,
    finish_times,
    problem_of,
    psnr,
    snr_needed,
    snrs,
    world_of,
)
from tests.semcom.solvers import reference_solvers

PAPER = ("random", "average", "alg3", "joint", "pb-only", "pb-deadline", "fh-rho-only")
LINKS: list[dict[str, Any]] = [
    {}, {"psnr_min_db": 28.0}, {"psnr_min_db": 29.0, "extra_gain_db": -10.0}, {"power_max_dbm": 4.0},
    {"weight_time": 0.9, "device_energy_coefficient": 1e-27},
]  # fmt: skip
"""Changes of the preset "paper" for the comparison of the paper's policies; requirements bind except in the first."""


def acted(name: str, seed: int, options: dict[str, Any]) -> tuple[SemComConfig, World, dict[str, Any]]:
    """A baseline's round in the environment, in which the action sets every variable."""
    env: Any = gym.make(
        "SemCom-v0",
        preset="paper",
        **{"calibration_rounds": 20, "num_devices": 4, "bandwidth_hz": 1.6e6, "decision": "joint", **options},
    )
    observation, _ = env.reset(seed=seed)
    world = world_of(env)
    *_, info = env.step(make_baseline(name, env, seed).predict(observation)[0])
    return env.unwrapped.system.config, world, info


def average_of(config: SemComConfig, world: World) -> Decision:
    """Half of every limit, an even share of the band, the middle rate."""
    devices = len(world.gain)
    rate = 0.5 * (config.compression_min + config.compression_max)
    device, server = (
        np.full(devices, config.device_frequency_max_hz / 2),
        np.full(devices, config.server_frequency_max_hz / 2),
    )
    return Decision(np.full(devices, rate), *even_link(config, devices), device, server, np.ones(devices))


def paper_cases(*seeds: int) -> Any:
    cases = [(options, seed) for options in LINKS for seed in seeds]
    return pytest.mark.parametrize(("options", "seed"), cases, ids=str)


def assert_same_round(info: dict[str, Any], expected: dict[str, Any], tolerance: float) -> None:
    for name in ("objective", "delay_s", "energy_j", "energy_transmit_j", "energy_server_j", "psnr_mean_db"):
        assert info[name] == pytest.approx(expected[name], rel=tolerance), name
    for name in ("member_power_w", "member_bandwidth_hz", "member_device_frequency_hz", "member_compression"):
        np.testing.assert_allclose(info[name], expected[name], rtol=tolerance, err_msg=name)


@paper_cases(0, 1)
def test_average_allocation(options, seed):
    config, world, info = acted("average", seed, options)
    assert_same_round(info, account(config, world, average_of(config, world)), 1e-10)


@paper_cases(0, 1)
def test_optimised_frequencies_and_rates(options, seed):
    config, world, info = acted("fh-rho-only", seed, options)
    decision = link_then_p3(config, world, *even_link(config, len(world.gain)))
    assert_same_round(info, account(config, world, decision), 1e-8)


@paper_cases(0, 1, 2)
def test_algorithm_3(options, seed):
    """Equal to the reference, and not more expensive than its own start."""
    config, world, info = acted("alg3", seed, options)
    assert_same_round(info, account(config, world, algorithm_3(config, world, None)), 1e-6)
    _, _, start = acted("fh-rho-only", seed, options)
    assert info["objective"] <= start["objective"] * (1 + 1e-9)


def links_at(config: SemComConfig, world: World, delay_s: float) -> tuple[float, Decision]:
    """Objective and allocation of Problem 4 at a deadline, all else from the Average Allocation; inf if it cannot be.

    A requirement that the middle rate cannot meet there is lowered to what the Average Allocation meets.
    """
    average = average_of(config, world)
    start = snrs(config, world, average.power_w, average.bandwidth_hz)
    needs = [snr_needed(config, *row) for row in zip(average.compression, world.target_db, strict=True)]
    problem = problem_of(config, world, average.compression, np.minimum(needs, start))
    computing = problem.device_cycles / average.device_hz + problem.server_cycles / average.server_hz
    if delay_s <= computing.max():
        return math.inf, average
    found = reference_solvers.solve_p4(problem, problem.bits / (delay_s - computing))
    if found is None:
        return math.inf, average
    nats = problem.bits * math.log(2.0) / (found[1] * (delay_s - computing))
    power = problem.noise_w_per_hz / problem.gain * found[1] * np.expm1(nats)
    decision = average._replace(power_w=power, bandwidth_hz=found[1])
    return config.weight_time * delay_s + found[0], decision


@paper_cases(0, 1)
def test_optimised_links_at_the_average_s_delay(options, seed):
    config, world, info = acted("pb-only", seed, options)
    average = average_of(config, world)
    delay = finish_times(problem_of(config, world, average.compression), average).max()
    _, decision = links_at(config, world, delay)
    assert_same_round(info, account(config, world, decision), 1e-6)
    assert info["delay_s"] == pytest.approx(delay, rel=1e-9)


@paper_cases(0, 1)
def test_optimised_links_at_their_own_delay(options, seed):
    config, world, info = acted("pb-deadline", seed, options)
    _, _, fixed = acted("pb-only", seed, options)
    assert info["objective"] <= fixed["objective"] * (1 + 1e-9)
    best = minimize_scalar(
        lambda log_s: min(links_at(config, world, math.exp(log_s))[0], 1e9),
        bounds=(math.log(fixed["delay_s"]) - 3.0, math.log(fixed["delay_s"]) + 3.0), method="bounded",
        options={"xatol": 1e-7},
    )  # fmt: skip
    expected = account(config, world, links_at(config, world, math.exp(best.x))[1])
    assert info["objective"] <= expected["objective"] * (1 + 1e-7)
    assert info["delay_s"] == pytest.approx(expected["delay_s"], rel=1e-3)


@pytest.mark.parametrize("options", [{"num_devices": 50, "bandwidth_hz": 20e6}, {"num_devices": 1}], ids=str)
def test_random_allocation(options):
    """Truncated normals in the middle of each range, bandwidths within a factor of the mean, nothing left over."""
    env: Any = gym.make("SemCom-v0", preset="paper", decision="joint", calibration_rounds=20, **options)
    config = env.unwrapped.system.config
    observation, _ = env.reset(seed=0)
    policy = make_baseline("random", env, seed=5)
    seen: dict[str, list[float]] = {"power": [], "device": [], "server": [], "rate": []}
    for _ in range(4000 // config.num_devices):
        *_, info = env.step(policy.predict(observation)[0])
        seen["power"] += list(info["member_power_w"] / 0.1)
        seen["device"] += list(info["member_device_frequency_hz"] / 1e9)
        seen["server"] += list(info["member_server_frequency_hz"] / 5e9)
        seen["rate"] += list((info["member_compression"] - 0.1) / 0.2)
        band = info["member_bandwidth_hz"]
        assert band.sum() == pytest.approx(config.bandwidth_hz, rel=1e-12)
        assert band.max() <= 1.25 / 0.8 * band.min() * (1 + 1e-12)
        assert (band.max() > 1.4 * band.min()) == (config.num_devices == 50)
    for name, values in seen.items():
        assert np.mean(values) == pytest.approx(0.5, abs=0.006), name
        assert np.std(values) == pytest.approx(0.1, abs=0.006), name
        assert 0.0 <= min(values) < 0.25 < 0.75 < max(values) <= 1.0, name
    again = make_baseline("random", env, seed=5).predict(observation)[0]
    np.testing.assert_array_equal(again, make_baseline("random", env, seed=5).predict(observation)[0])
    assert not np.array_equal(again, make_baseline("random", env, seed=6).predict(observation)[0])


@paper_cases(0, 1, 2, 3)
def test_joint_is_the_cheapest_of_all_that_meet_the_requirements(options, seed):
    _, _, best = acted("joint", seed, options)
    assert best["round_shortfall_db"] <= 1e-6
    ratios = []
    for name in PAPER:
        _, _, info = acted(name, seed, options)
        if info["round_shortfall_db"] <= 1e-6:
            assert best["objective"] <= info["objective"] * (1 + 1e-8), name
            ratios.append(info["objective"] / best["objective"])
    if not options:
        assert len(ratios) == len(PAPER)
        assert max(ratios) > 1.2


@pytest.mark.parametrize("decision", ["compression", "joint"])
@pytest.mark.parametrize(
    ("options", "seed"),
    [
        ({"psnr_min_db": 28.6, "extra_gain_db": -10.0}, 0), ({"psnr_min_db": 29.0, "extra_gain_db": -15.0}, 3),
    ],
    ids=str,
)  # fmt: skip
def test_joint_is_the_optimum_over_all_rates(decision, options, seed):
    """Two devices whose requirements bind: against a grid of rates with the independent solver, then a search."""
    two = {"num_devices": 2, "bandwidth_hz": 0.8e6, "decision": decision}
    config, _, info = acted("joint", seed, {**two, **options})
    assert config.psnr_mode == "hard"
    value, where, decided = searched(tuple(options.items()), seed)
    assert info["round_shortfall_db"] <= 1e-6
    assert decided["round_shortfall_db"] <= 1e-6
    assert info["objective"] == pytest.approx(value, rel=3e-4)
    np.testing.assert_allclose(info["member_compression"], where, atol=0.005)
    assert (where > config.compression_min + 0.01).any(), "the smallest rates are not the answer"


@cache
def searched(options: tuple[tuple[str, float], ...], seed: int) -> tuple[float, np.ndarray, dict[str, Any]]:
    """Least objective over the rates of two devices, its rates, and the whole account of that round."""
    config, world, _ = acted(
        "average", seed, {"num_devices": 2, "bandwidth_hz": 0.8e6, "decision": "compression", **dict(options)}
    )

    def cost(rates: np.ndarray) -> float:
        within = np.clip(rates, config.compression_min, config.compression_max)
        found = account(config, world, jointly(config, world, within))
        # A requirement that had to be relaxed is not met, so the round does not count.
        outside = float(np.abs(rates - within).sum())
        return math.inf if found["relaxed_devices"] else found["objective"] * (1.0 + outside)

    grid = np.linspace(config.compression_min, config.compression_max, 7)
    start = min(((one, other) for one in grid for other in grid), key=lambda rates: cost(np.array(rates)))
    simplex = np.array([start, (start[0] + 0.02, start[1]), (start[0], start[1] + 0.02)])
    found = minimize(
        cost, start, method="Nelder-Mead", options={"initial_simplex": simplex, "maxfev": 60, "xatol": 1e-4, "fatol": 0}
    )
    rates = np.clip(found.x, config.compression_min, config.compression_max)
    return float(found.fun), rates, account(config, world, jointly(config, world, rates))


@pytest.mark.parametrize(("psnr_min_db", "extra_gain_db"), [(28.6, -10.0), (29.0, -15.0), (29.5, 0.0)])
def test_joint_is_the_optimum_over_all_rates_of_many_draws(psnr_min_db, extra_gain_db):
    """Against every pair of 41 rates, the round solved at each by the environment; no valley is missed."""
    env: Any = gym.make(
        "SemCom-v0",
        preset="paper",
        calibration_rounds=20,
        num_devices=2,
        bandwidth_hz=0.8e6,
        psnr_min_db=psnr_min_db,
        extra_gain_db=extra_gain_db,
    )
    system: SemComSystem = env.unwrapped.system
    grid = np.stack(np.meshgrid(*[np.linspace(-1.0, 1.0, 41)] * 2), axis=-1).reshape(-1, 2)
    rows = np.arange(len(grid))
    batch, rngs = system.allocate(len(grid)), [np.random.default_rng(0)] * len(grid)
    for seed in range(12):
        observation, _ = env.reset(seed=seed)
        action, _ = make_baseline("joint", env).predict(observation)
        for name in ("mean_gain", "gain", "device_cycles", "server_cycles", "target_db", "cost_scale"):
            getattr(batch, name)[:] = getattr(env.unwrapped.state, name)[0]
        reward = system.step(batch, rows, grid, rngs).reward
        assert env.step(action)[1] >= reward.max() * (1 + 1e-4), "costs are negative rewards"


@pytest.mark.parametrize("name", ["alg3", "joint", "average"])
def test_baselines_that_set_the_link_only(name):
    """With decision="power_bandwidth", the action sets powers and bandwidths, and Problem 3 the other variables."""
    config, world, info = acted(name, 3, {"decision": "power_bandwidth", "psnr_min_db": 28.0})
    decision = {
        "average": lambda: average_of(config, world), "alg3": lambda: algorithm_3(config, world, None),
        "joint": lambda: jointly(config, world, info["member_compression"]),
    }[name]()  # fmt: skip
    np.testing.assert_allclose(info["member_power_w"], decision.power_w, rtol=2e-3)
    np.testing.assert_allclose(info["member_bandwidth_hz"], decision.bandwidth_hz, rtol=2e-3)
    expected = account(config, world, link_then_p3(config, world, info["member_power_w"], info["member_bandwidth_hz"]))
    assert info["objective"] == pytest.approx(expected["objective"], rel=1e-9)
    qualities = [
        psnr(config, *row)
        for row in zip(info["member_compression"], snrs(config, world, decision.power_w, decision.bandwidth_hz),
                       strict=True)
    ]  # fmt: skip
    assert info["psnr_min_db"] == pytest.approx(min(qualities), abs=0.05)
