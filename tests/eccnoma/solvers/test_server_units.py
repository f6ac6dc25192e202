"""Speeds of the server against grids, searches and an independent convex optimum with its own proof."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from edge_envs.eccnoma.solvers import api
from tests.eccnoma import reference_server as oracle
from tests.eccnoma.solvers.problems import Pool, random_pool

EXACT = 1e-12
POOLS = 200
BLOCKS = 4
UNIT = 2.3e9


class TestServerSpeed:
    @pytest.mark.parametrize("seed", range(40))
    def test_against_grid(self, seed):
        rng = np.random.default_rng(seed)
        weight, energy = 10.0 ** rng.uniform(-3.0, 3.0), 10.0 ** rng.uniform(-32.0, -26.0)
        low = 10.0 ** rng.uniform(8.0, 10.0)
        high = low * 10.0 ** rng.uniform(0.0, 2.0)
        found = api.server_speed(weight, energy, speed_min=low, speed_max=high)
        assert low <= found <= high

        def cost(x: float) -> float:
            return float(weight / x + energy * x**2)

        grid = np.geomspace(low, high, 20_001)
        assert cost(found) <= min(cost(x) for x in grid) * (1.0 + EXACT)
        if low < found < high:
            assert weight / found**2 == pytest.approx(2.0 * energy * found, rel=EXACT)
        else:
            assert (weight / found**2 - 2.0 * energy * found) * (1.0 if found == high else -1.0) >= 0.0

    def test_paper(self):
        """8.59 GFLOP/s with 0.95, 0.05 and 1.5e-29, and its three limits."""
        assert api.server_speed(0.95, 0.05 * 1.5e-29, speed_min=2.3e9, speed_max=2e10) == pytest.approx(
            8.5878e9, rel=1e-4
        )
        assert api.server_speed(0.95, 0.0, speed_min=2.3e9, speed_max=2e10) == 2e10
        assert api.server_speed(0.0, 1e-29, speed_min=2.3e9, speed_max=2e10) == 2.3e9
        assert api.server_speed(1.0, 1e-29, speed_min=4e9, speed_max=4e9) == 4e9


class TestCores:
    def test_speed(self):
        """Parts of a core are as fast as they are large; more cores lose to each other."""
        assert api.cores_speed(0.4, UNIT) == pytest.approx(0.4 * UNIT, rel=EXACT)
        assert api.cores_speed(1.0, UNIT) == pytest.approx(UNIT, rel=EXACT)
        assert api.cores_speed(6.0, UNIT) == pytest.approx(6.0 / 1.25 * UNIT, rel=EXACT)
        assert api.cores_speed(16.0, UNIT) / UNIT == pytest.approx(16.0 / 1.75, rel=EXACT)
        assert api.cores_speed(3.0, UNIT, 0.5) == pytest.approx(1.5 * UNIT, rel=EXACT)
        assert api.cores_speed(3.0, UNIT, 0.0) == pytest.approx(3.0 * UNIT, rel=EXACT)
        assert api.cores_speed(0.0, UNIT) == 0.0

    @pytest.mark.parametrize("overhead", [0.0, 0.05, 0.4])
    def test_inverse(self, overhead):
        units = np.array([0.01, 0.5, 1.0, 1.01, 2.0, 6.0, 40.0])
        speed = api.cores_speed(units, UNIT, overhead)
        assert np.shape(speed) == (7,)
        expected = oracle.speed(Pool(units, units, units, 1.0, 1.0, UNIT, overhead), units)
        np.testing.assert_allclose(speed, expected, rtol=EXACT)
        back = [api.cores_for(float(x), UNIT, overhead) for x in np.asarray(speed)]
        np.testing.assert_allclose(back, units, rtol=1e-11)


class TestShareUnits:
    @pytest.mark.parametrize("block", range(BLOCKS))
    def test_against_optimum(self, block):
        """Within budget and caps, never below the optimum, and above it by no more than the certificate says."""
        largest = loosest = 0.0
        for seed in range(block, POOLS, BLOCKS):
            pool = random_pool(seed)
            found = api.share_units(
                pool.work_flop,
                pool.delay_weight,
                pool.energy_coefficient,
                pool.units,
                units_max=pool.units_max,
                unit_speed_flop_s=pool.unit_speed_flop_s,
                overhead=pool.overhead,
            )
            assert (found.units >= 0.0).all()
            assert math.fsum(found.units) <= pool.units * (1.0 + EXACT), seed
            assert (found.units <= pool.units_max * (1.0 + EXACT)).all(), seed
            assert (found.units[pool.work_flop == 0.0] == 0.0).all()
            np.testing.assert_allclose(found.speed_flop_s, oracle.speed(pool, found.units), rtol=EXACT)
            assert found.cost == pytest.approx(oracle.cost(pool, found.units), rel=1e-11), seed
            best = oracle.solve(pool)
            assert best.cost == pytest.approx(best.bound, rel=1e-11)
            if best.cost == 0.0:
                assert found.cost == 0.0
                continue
            gap = found.cost / best.bound - 1.0
            assert gap >= -1e-11, seed
            assert found.cost * (1.0 - found.gap) <= best.cost * (1.0 + 1e-9), (seed, gap, found.gap)
            largest, loosest = max(largest, gap), max(loosest, found.gap)
        assert largest <= 0.045
        assert loosest <= 0.055

    def test_roots_of_the_work(self):
        """Below one core each and far from all limits the shares go by the roots of weight times work."""
        work, weight = np.array([1e8, 4e8, 9e8]), np.array([1.0, 4.0, 1.0])
        found = api.share_units(work, weight, np.zeros(3), 0.8, units_max=6.0, unit_speed_flop_s=UNIT, overhead=0.05)
        np.testing.assert_allclose(found.units, 0.8 * np.array([1.0, 4.0, 3.0]) / 8.0, rtol=EXACT)
        assert found.gap <= 1e-9

    def test_cap_is_shared_again(self):
        """What a user cannot use goes to the others."""
        found = api.share_units(
            np.array([1e10, 1e8, 1e8]),
            np.ones(3),
            np.zeros(3),
            3.0,
            units_max=2.0,
            unit_speed_flop_s=UNIT,
            overhead=0.05,
        )
        np.testing.assert_allclose(found.units, [2.0, 0.5, 0.5], rtol=EXACT)

    def test_plenty(self):
        """A pool beyond all needs leaves each at its own best speed."""
        pool = random_pool(3)._replace(units=1e6, units_max=1e3)
        energy = np.maximum(pool.energy_coefficient, 1e-3 * pool.delay_weight / pool.unit_speed_flop_s**3)
        found = api.share_units(
            pool.work_flop,
            pool.delay_weight,
            energy,
            pool.units,
            units_max=pool.units_max,
            unit_speed_flop_s=pool.unit_speed_flop_s,
            overhead=pool.overhead,
        )
        for i in np.flatnonzero(pool.work_flop > 0.0):
            alone = api.server_speed(
                float(pool.delay_weight[i]), float(energy[i]), speed_min=1.0, speed_max=1e3 * pool.unit_speed_flop_s
            )
            assert found.speed_flop_s[i] == pytest.approx(alone, rel=1e-9)
        assert found.gap <= 1e-9

    @pytest.mark.parametrize("seed", range(6))
    def test_reference_against_slsqp(self, seed):
        """The optimum that all is measured by, against a general solver."""
        rng = np.random.default_rng(seed)
        pool = Pool(
            rng.uniform(1e8, 1e9, 4),
            rng.uniform(0.5, 2.0, 4),
            np.full(4, 1e-30),
            rng.uniform(1.0, 8.0),
            3.0,
            UNIT,
            0.05,
        )
        best = oracle.solve(pool)
        general = minimize(
            lambda r: oracle.cost(pool, r) / best.cost,
            np.full(4, min(pool.units / 4.0, 3.0)),
            bounds=[(1e-3, 3.0)] * 4,
            constraints={"type": "ineq", "fun": lambda r: pool.units - r.sum()},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert general.fun == pytest.approx(1.0, rel=1e-7)

    def test_nothing_to_do(self):
        found = api.share_units(
            np.zeros(2), np.ones(2), np.zeros(2), 3.0, units_max=2.0, unit_speed_flop_s=UNIT, overhead=0.05
        )
        assert found.units.tolist() == [0.0, 0.0]
        assert (found.cost, found.gap) == (0.0, 0.0)
