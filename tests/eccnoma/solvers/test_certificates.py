"""Certificates of any solution, good or bad, against independent optima: they bound what is lost, and break loudly."""

import math

import numpy as np
import pytest

from edge_envs.eccnoma.solvers import api, certificates
from edge_envs.eccnoma.solvers.radio import RADIO_REPORT
from tests.eccnoma import reference_server
from tests.eccnoma.solvers import reference_radio as oracle
from tests.eccnoma.solvers.problems import (
    DIRECTIONS,
    Floats,
    Ints,
    Pool,
    Radio,
    one_hot,
    random_pool,
    random_powers,
    random_radio,
)

in_directions = pytest.mark.parametrize("direction", DIRECTIONS)


def certify(radio: Radio, subchannel: Ints, power_w: Floats) -> tuple[float, float]:
    """Gaps of the powers and of the assignment of a solution that no solver made."""
    problem = api.RadioProblem(**radio._asdict())
    w = problem.radio()
    w.band[:], w.power_w[:] = np.where(w.active, subchannel, -1), np.where(w.active, power_w, 0.0)
    certificates.certify_radio(problem.link, w, problem.gain[None], 0, problem.subchannels)
    return float(w.report[RADIO_REPORT.power_gap]), float(w.report[RADIO_REPORT.assignment_gap])


@in_directions
def test_cost_is_convex_in_the_log_powers(direction):
    """On segments between any two points, which is what the certificate of the powers rests on."""
    rng = np.random.default_rng(0)
    bent = 0.0
    for seed in range(100):
        radio = random_radio(seed, direction)
        beta = one_hot(radio, rng.integers(0, len(radio.gain), len(radio.ap)))
        one, other, part = random_powers(radio, rng), random_powers(radio, rng), rng.random()
        between = one**part * other ** (1.0 - part)
        costs = [oracle.cost(radio, beta, power_w) for power_w in (one, between, other)]
        chord = part * costs[0] + (1.0 - part) * costs[2]
        assert costs[1] <= chord * (1.0 + 1e-12), seed
        bent = max(bent, 1.0 - costs[1] / chord if chord > 0.0 else 0.0)
    assert bent > 0.1


@in_directions
def test_gap_of_any_powers(direction):
    """What automatic derivatives say, and never less than what L-BFGS-B saves."""
    pytest.importorskip("torch")
    losses = []
    for seed in range(30):
        radio = random_radio(seed, direction, silent=bool(seed % 2))
        rng = np.random.default_rng(seed)
        subchannel, power_w = rng.integers(0, len(radio.gain), len(radio.ap)), random_powers(radio, rng)
        gap, _ = certify(radio, subchannel, power_w)
        assert gap == pytest.approx(oracle.assigned_gap(radio, subchannel, power_w), rel=1e-9, abs=1e-12), seed
        cost = oracle.cost(radio, one_hot(radio, subchannel), power_w)
        if cost > 0.0:
            losses.append(1.0 - oracle.descend(radio, subchannel, power_w)[0] / cost)
            assert gap >= losses[-1] - 1e-12, seed
    assert max(losses) > 0.5


@in_directions
def test_gap_of_any_assignment(direction):
    for seed in range(30):
        radio = random_radio(seed, direction, silent=bool(seed % 2))
        rng = np.random.default_rng(seed)
        subchannel, power_w = rng.integers(0, len(radio.gain), len(radio.ap)), random_powers(radio, rng)
        _, gap = certify(radio, subchannel, power_w)
        cost = oracle.cost(radio, one_hot(radio, subchannel), power_w)
        expected = cost / oracle.bound(radio) - 1.0 if cost > 0.0 else 0.0
        assert gap == pytest.approx(expected, rel=1e-7, abs=1e-7), seed


@pytest.mark.parametrize("broken", ["no band", "band too high", "weak", "loud", "nan"])
def test_gaps_of_what_is_not_allowed(broken):
    for seed in (1, 3, 4):
        radio = random_radio(seed, silent=False)
        subchannel, power_w = np.zeros(len(radio.ap), dtype=np.int64), np.full(len(radio.ap), radio.power_max_w)
        assert np.isfinite(certify(radio, subchannel, power_w)).all()
        if broken == "no band":
            subchannel[-1] = -1
        elif broken == "band too high":
            subchannel[-1] = len(radio.gain)
        else:
            power_w[-1] = {"weak": radio.power_min_w * 0.999, "loud": radio.power_max_w * 1.001, "nan": np.nan}[broken]
        assert certify(radio, subchannel, power_w) == (math.inf, math.inf)


def certify_pool(pool: Pool, units: Floats) -> tuple[float, float]:
    """Cost of units, and by how much it may be above the least."""
    one = np.zeros(len(units), dtype=np.int64)
    cost, above = certificates.certify_pool(
        one, 0, pool.work_flop, pool.delay_weight, pool.energy_coefficient, pool.units, pool.units_max,
        pool.unit_speed_flop_s, pool.overhead, units,
    )  # fmt: skip
    return float(cost), float(above)


def test_gap_of_any_units():
    """Of random units within the limits, never less than what the optimum saves; nothing at nearly all optima.

    Where an optimum has a user at the kink of one unit, the mean saving is not the price.
    """
    losses, left = [], []
    for seed in range(100):
        pool, rng = random_pool(seed), np.random.default_rng(seed)
        busy = pool.work_flop > 0.0
        if not busy.any():
            continue
        units = np.minimum(rng.dirichlet(np.ones(len(busy))) * pool.units * rng.choice([0.5, 1.0]), pool.units_max)
        cost, above = certify_pool(pool, units)
        best = reference_server.solve(pool)
        assert cost == pytest.approx(reference_server.cost(pool, units), rel=1e-12), seed
        assert above >= (cost - best.cost) - 1e-9 * cost, seed
        losses.append((cost - best.cost) / cost)
        left.append(certify_pool(pool, best.units)[1] / best.cost)
    assert max(losses) > 0.5
    assert np.mean(np.array(left) <= 1e-12) > 0.9
    assert max(left) < 0.2


def test_gap_of_units_that_are_not_allowed():
    pool = Pool(np.array([1e8, 2e8]), np.ones(2), np.full(2, 1e-30), 3.0, 2.0, 2e9, 0.05)
    assert np.isfinite(certify_pool(pool, np.array([1.0, 2.0]))).all()
    for units in ([1.0, 2.1], [2.0, 1.001], [0.0, 1.0], [1.0, np.nan]):
        assert certify_pool(pool, np.array(units)) == (math.inf, math.inf), units


def test_gap_of_any_speed():
    """Never less than what the best speed saves, and nothing at that; inf beyond the limits."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        weight, energy = 10.0 ** rng.uniform(-2.0, 2.0), float(rng.choice([0.0, 10.0 ** rng.uniform(-31.0, -27.0)]))
        low, high = np.sort(10.0 ** rng.uniform(8.0, 11.0, 2)).tolist()
        best = api.server_speed(weight, energy, speed_min=low, speed_max=high)
        least, none = certificates.certify_speed(1e9, weight, energy, low, high, best)
        assert none <= 1e-12 * least
        for speed in np.geomspace(low, high, 7).tolist():
            cost, above = certificates.certify_speed(1e9, weight, energy, low, high, speed)
            assert cost == pytest.approx(1e9 * (weight / speed + energy * speed**2), rel=1e-12)
            assert above >= (cost - least) * (1.0 - 1e-9) - 1e-12 * cost
        for speed in (low * 0.999, high * 1.001, math.nan):
            assert certificates.certify_speed(1e9, weight, energy, low, high, speed) == (math.inf, math.inf)
