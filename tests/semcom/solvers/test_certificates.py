"""Certificates of any prices and any allocation, not only of the solvers': valid bounds, the true dual functions."""

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from edge_envs.semcom.solvers import api
from edge_envs.semcom.solvers.api import InfeasibleError
from edge_envs.semcom.solvers.certificates import bounds, dual
from edge_envs.semcom.solvers.problem import TOTAL, Problem, Workspace, allocate_workspace
from tests.semcom.solvers import reference_convex as general
from tests.semcom.solvers import reference_solvers as oracle
from tests.semcom.solvers.problems import Floats, random_problem, random_rates, random_upload_times, solved, tight_start

ODD_PRICES = (0.0, -1.0, math.nan, math.inf, 1e300, 1e-300)
ROUNDING = 1e-11
seeds = pytest.mark.parametrize("seed", range(40))


def random_prices(rng: np.random.Generator, prices: Floats) -> Floats:
    """Prices up to six decades away from given ones, at times with entries that are none."""
    moved = np.asarray(prices * 10.0 ** rng.normal(0.0, rng.choice([0.05, 0.5, 3.0]), len(prices)))
    if rng.random() < 0.3:
        moved[rng.integers(len(prices))] = rng.choice(ODD_PRICES)
    return moved


def feasible_round(problem: Problem, rng: np.random.Generator) -> Workspace:
    """Any allocation within the limits of P1, whatever it costs."""
    workspace = allocate_workspace(len(problem.bits))
    share = rng.dirichlet(np.ones(len(problem.bits))) * rng.uniform(0.1, 1.0)
    needed_hz = problem.power_max_w * problem.gain / (problem.noise_w_per_hz * np.maximum(problem.snr_min, 1e-12))
    workspace.bandwidth_hz[:] = np.minimum(share * problem.bandwidth_hz, 0.9 * needed_hz)
    least_w = problem.snr_min * problem.noise_w_per_hz * workspace.bandwidth_hz / problem.gain
    workspace.power_w[:] = least_w + (problem.power_max_w - least_w) * rng.uniform(0.01, 1.0, len(share))
    workspace.device_frequency_hz[:] = problem.device_frequency_max_hz * rng.uniform(0.05, 1.0, len(share))
    workspace.server_frequency_hz[:] = problem.server_frequency_max_hz * rng.uniform(0.05, 1.0, len(share))
    return workspace


@seeds
def test_round_at_any_prices(seed: int) -> None:
    """P1's bound is its dual function, never above the optimum, and no certificate is below an allocation's loss."""
    problem, best = solved(seed)
    rng = np.random.default_rng([17, seed])
    for _ in range(25):
        workspace = feasible_round(problem, rng)
        workspace.time_price[:] = random_prices(rng, best.time_price)
        workspace.totals[TOTAL.bandwidth_price] = random_prices(rng, np.array([best.bandwidth_price]))[0]
        workspace.u[:] = random_prices(rng, np.ones(len(workspace.u)))
        gap = bounds.certify_round(problem, workspace, math.inf)
        bound = workspace.totals[TOTAL.lower_bound]
        assert bound <= best.objective * (1.0 + ROUNDING)
        usable = np.isfinite(workspace.time_price) & (workspace.time_price > 1e-200) & (workspace.time_price < 1e200)
        price = workspace.totals[TOTAL.bandwidth_price]
        price = price if 1e-200 < price < 1e200 else 0.0
        if usable.all():
            true = oracle.dual_bound(problem, workspace.time_price, price)
            assert bound == pytest.approx(true, rel=1e-9, abs=1e-9 * (best.objective + price * problem.bandwidth_hz))
        result = oracle.evaluate(
            problem,
            workspace.power_w,
            workspace.bandwidth_hz,
            workspace.device_frequency_hz,
            workspace.server_frequency_hz,
        )
        assert result.violation <= 1e-12
        assert gap >= (result.objective / best.objective - 1.0) * (1.0 - ROUNDING) - ROUNDING


@seeds
def test_deadline_at_any_prices(seed: int) -> None:
    """With a deadline prices of time may add up to more than omega_1, and the bound holds still."""
    problem, free = solved(seed)
    shortest_s = oracle.least_delay(problem)
    deadline_s = shortest_s + 0.5 * (free.delay_s - shortest_s)
    if not shortest_s * (1.0 + 1e-6) < deadline_s < free.delay_s * (1.0 - 1e-6):
        pytest.skip("no delay to choose")
    best = api.solve_joint(problem, deadline_s)
    rng = np.random.default_rng([19, seed])
    for _ in range(25):
        prices = random_prices(rng, best.time_price)
        price = random_prices(rng, np.array([best.bandwidth_price]))[0]
        bound = dual.round_bound(problem, prices, price, np.zeros(len(prices)), deadline_s)
        assert bound <= best.objective * (1.0 + 1e-10)
    exact = dual.round_bound(problem, best.time_price, best.bandwidth_price, np.zeros(len(prices)), deadline_s)
    assert exact == pytest.approx(best.objective, rel=1e-8)


@seeds
def test_computing_at_any_prices(seed: int) -> None:
    """The same of P3."""
    problem = random_problem(seed)
    upload_s = random_upload_times(problem, seed)
    best, *_ = oracle.solve_p3(problem, upload_s)
    prices = api.solve_p3(problem, upload_s).time_price
    rng = np.random.default_rng([23, seed])
    for _ in range(25):
        workspace = feasible_round(problem, rng)
        workspace.upload_s[:] = upload_s
        workspace.time_price[:] = random_prices(rng, prices)
        gap = bounds.certify_compute(problem, workspace, False)
        assert workspace.totals[TOTAL.lower_bound] <= best * (1.0 + 1e-9)
        if (np.isfinite(workspace.time_price) & (workspace.time_price > 1e-200) & (workspace.time_price < 1e200)).all():
            true = oracle.dual_bound_p3(problem, upload_s, workspace.time_price)
            assert workspace.totals[TOTAL.lower_bound] == pytest.approx(true, rel=1e-11)
        device, server = workspace.device_frequency_hz, workspace.server_frequency_hz
        delay_s = (upload_s + problem.device_cycles / device + problem.server_cycles / server).max()
        joules = problem.device_energy_coefficient * problem.device_cycles @ device**2
        joules += problem.server_energy_coefficient * problem.server_cycles @ server**2
        cost = problem.weight_time * delay_s + problem.weight_energy * joules
        assert gap >= (cost / best - 1.0) * (1.0 - ROUNDING) - 1e-9


def links(problem: Problem, rates: Floats, rng: np.random.Generator) -> Workspace:
    """Powers and bandwidths that meet the rates with something to spare, from those that just do."""
    workspace = allocate_workspace(len(rates))
    found = api.solve_p4(problem, rates)
    workspace.bandwidth_hz[:] = found.bandwidth_hz
    workspace.power_w[:] = found.power_w + (problem.power_max_w - found.power_w) * rng.uniform(0.0, 1.0, len(rates))
    return workspace


@seeds
def test_links_at_any_price(seed: int) -> None:
    """The same of P4, whose gap once was that of a point with itself."""
    problem, *_, rates = tight_start(random_problem(seed), seed)
    searched = oracle.solve_p4(problem, rates)
    assert searched is not None
    best, _, price = searched
    rng = np.random.default_rng([29, seed])
    for _ in range(25):
        workspace = links(problem, rates, rng)
        workspace.totals[TOTAL.bandwidth_price] = zeta = random_prices(rng, np.array([price]))[0]
        workspace.u[:] = random_prices(rng, np.ones(len(rates)))
        gap = bounds.certify_link(problem, workspace, rates)
        assert workspace.totals[TOTAL.lower_bound] <= best * (1.0 + 1e-9)
        zeta = zeta if 1e-200 < zeta < 1e200 else 0.0
        true = oracle.dual_bound_p4(problem, rates, zeta)
        size = best + zeta * problem.bandwidth_hz
        assert workspace.totals[TOTAL.lower_bound] == pytest.approx(true, rel=1e-9, abs=1e-9 * size)
        caps = problem.device_frequency_max_hz, problem.server_frequency_max_hz
        result = oracle.evaluate(problem, workspace.power_w, workspace.bandwidth_hz, *caps)
        cost = problem.weight_energy * result.transmit_energy_j
        assert gap >= (cost / best - 1.0) * (1.0 - ROUNDING) - 1e-9


@pytest.mark.parametrize("seed", [35, 36, 40, 41, 42, 43, 45, 46, 47, 50])
def test_bounds_of_links_against_cvxpy(seed: int) -> None:
    """At the price it came with the bound is the optimum of a general solver; at any other it is below."""
    pytest.importorskip("cvxpy")
    problem = random_problem(seed)
    rates = random_rates(problem, seed)
    value, _ = general.p4_by_cvxpy(problem, rates)
    found = api.solve_p4(problem, rates)
    assert found.lower_bound == pytest.approx(value, rel=1e-7)
    for factor in (0.0, 0.1, 0.9, 1.1, 10.0):
        bound = dual.link_bound(problem, rates, factor * found.bandwidth_price, np.zeros(len(rates)))
        assert bound <= value * (1.0 + 1e-7)
        if found.bandwidth_price > 0.0:
            assert bound < found.lower_bound


@seeds
def test_an_inexact_root_gives_a_bound_as_well(seed: int) -> None:
    """`below_tangents` at any u is below a convex function's minimum, and close to it where u is close."""
    rng = np.random.default_rng([31, seed])
    worth, spread, least = 10.0 ** rng.uniform(-2.0, 2.0, 3)

    def parts(u: Any) -> tuple[Any, Any]:
        return worth * np.expm1(u) / u, spread / u

    grid = least * np.geomspace(1.0, 1e4, 400_001)
    with np.errstate(over="ignore"):
        values = np.add(*parts(grid))
    minimum, at = float(values.min()), float(grid[values.argmin()])
    for u in (*np.minimum(least * 10.0 ** rng.uniform(0.0, 1.0, 30), 300.0), at):
        energy, band = parts(u)
        rise = worth * math.exp(u) - energy
        bound = dual.below_tangents(energy + band, rise - band, energy, rise, least / u)
        assert bound <= minimum * (1.0 + 1e-12)
    assert bound == pytest.approx(minimum, rel=1e-4)


def exceed(problem: Problem, workspace: Workspace, name: str) -> None:
    """Take an allocation a fifth beyond one of its limits."""
    if name == "bandwidth_hz":
        workspace.bandwidth_hz[:] *= 1.2 * problem.bandwidth_hz / workspace.bandwidth_hz.sum()
    else:
        limit = {"power_w": "power_max_w"}.get(name, name.replace("_hz", "_max_hz"))
        getattr(workspace, name)[0] = 1.2 * getattr(problem, limit)[0]


ALLOCATED = ("power_w", "bandwidth_hz", "device_frequency_hz", "server_frequency_hz")


def optimal(problem: Problem) -> Workspace:
    """The joint optimum with its prices."""
    best = api.solve_joint(problem)
    workspace = allocate_workspace(len(problem.bits))
    for name in (*ALLOCATED, "upload_s", "time_price"):
        getattr(workspace, name)[:] = getattr(best, name)
    workspace.totals[TOTAL.bandwidth_price] = best.bandwidth_price
    assert bounds.certify_round(problem, workspace, math.inf) <= 1e-8
    return workspace


@pytest.mark.parametrize("name", ALLOCATED)
@pytest.mark.parametrize("seed", range(5, 15))
def test_what_is_beyond_a_limit_is_not_certified(seed: int, name: str) -> None:
    """Twenty per cent over a limit is a certificate of 0.2 at least, however little the allocation costs."""
    problem = random_problem(seed)
    problem = problem._replace(snr_min=np.zeros(len(problem.bits)))
    workspace = optimal(problem)
    exceed(problem, workspace, name)
    assert bounds.certify_round(problem, workspace, math.inf) >= 0.2 * (1.0 - 1e-12)
    if "frequency" in name:
        assert bounds.certify_compute(problem, workspace, False) >= 0.2 * (1.0 - 1e-12)


def test_too_little_snr_rate_or_time_is_not_certified() -> None:
    problem, power, band, rates = tight_start(random_problem(7), 7)
    found = api.solve_p4(problem, rates)
    workspace = allocate_workspace(len(rates))
    workspace.power_w[:], workspace.bandwidth_hz[:], workspace.totals[TOTAL.bandwidth_price] = (
        power,
        band,
        found.bandwidth_price,
    )
    within = bounds.certify_link(problem, workspace, rates)
    result = oracle.evaluate(problem, power, band, problem.device_frequency_max_hz, problem.server_frequency_max_hz)
    cost = problem.weight_energy * result.transmit_energy_j
    assert within == pytest.approx(cost / found.lower_bound - 1.0, rel=1e-9)
    assert bounds.certify_link(problem, workspace, rates * 1.5) >= 0.5 * (1.0 - 1e-9)
    snr = power * problem.gain / (problem.noise_w_per_hz * band)
    assert bounds.certify_link(problem._replace(snr_min=1.5 * snr), workspace, rates) >= 0.5 * (1.0 - 1e-9)
    best = api.solve_joint(problem)
    cost, late = bounds.round_cost(problem, optimal(problem), best.delay_s / 1.5)
    assert cost == pytest.approx(best.objective, rel=1e-12)
    assert late == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
@pytest.mark.parametrize("name", ALLOCATED)
def test_what_is_no_allocation_is_not_certified(name: str, bad: float) -> None:
    problem = random_problem(3)
    workspace = optimal(problem)
    getattr(workspace, name)[1] = bad
    assert bounds.certify_round(problem, workspace, math.inf) == math.inf


def test_a_bound_above_the_cost_counts_as_much_as_one_below() -> None:
    assert bounds.certificate_of(1.0, 1.25, 0.0) == pytest.approx(0.2)
    assert bounds.certificate_of(1.25, 1.0, 0.5) == pytest.approx(0.75)
    for bound in (0.0, -1.0, math.nan, math.inf):
        assert bounds.certificate_of(1.0, bound, 0.0) == math.inf


@pytest.mark.parametrize(
    ("options", "certifies"),
    [
        ({}, True), ({"psnr_mode": "hard", "deadline_s": 1.0}, True), ({"decision": "power_bandwidth"}, True),
        ({"solver": "alg3"}, False), ({"solver": "p3_only"}, False), ({"decision": "joint"}, False),
    ],
    ids=str,
)  # fmt: skip
def test_the_environment_is_not_certified_where_nothing_is_proven(options: dict[str, Any], certifies: bool) -> None:
    env = gym.make("SemCom-v0", num_devices=3, calibration_rounds=5, check=True, **options)
    env.reset(seed=1)
    chooser = np.random.default_rng(1)
    assert env.action_space.shape is not None
    for _ in range(5):
        *_, info = env.step(chooser.uniform(-1.0, 1.0, env.action_space.shape).astype(np.float32))
        if certifies:
            assert 0.0 <= info["certificate"] <= 1e-6
        else:
            assert math.isnan(info["certificate"])


def test_the_start_of_algorithm_2_is_certified_at_its_distance() -> None:
    """Cut short, Algorithm 2 reports what it is short of."""
    for seed in range(30):
        problem, power, band, rates = tight_start(random_problem(seed), seed)
        try:
            cut = api.algorithm_2(problem, rates, power, band, iterations=0)
        except InfeasibleError:
            continue
        best = oracle.solve_p4(problem, rates)
        assert best is not None
        assert cut.gap >= cut.objective / best[0] - 1.0 - 1e-9
