"""Powers, the pool, twins and the printed algorithms against searches, brute force, CVXPY and their certificates."""

import functools
import math

import numpy as np
import pytest

from edge_envs.dtirs.solvers import api, reference_cvxpy
from tests.dtirs.solvers import reference_pool as pool_oracle
from tests.dtirs.solvers import reference_power as power_oracle
from tests.dtirs.solvers.problems import (
    INSTANCES,
    SIZES,
    PoolProblem,
    PowerProblem,
    random_pool,
    random_power,
    random_twins,
)

BLOCKS = 8
INF = math.inf
EXACT, CLOSE = 1e-12, 1e-11
"""Largest relative error of a delay, and of powers, speeds, prices and certificates."""
CHOICES = 400
"""Instances of the choice of twins with few enough users for brute force."""

in_blocks = pytest.mark.parametrize("seeds", [range(b, INSTANCES, BLOCKS) for b in range(BLOCKS)], ids=str)


def assert_near(value: float, expected: float, tolerance: float, label: object) -> None:
    """Relatively equal; 0 only if both are."""
    assert abs(value - expected) <= tolerance * abs(expected), (label, value, expected)


class TestPower:
    """Problem (47)-(49)."""

    @in_blocks
    def test_against_search_and_dual(self, seeds):
        for seed in seeds:
            problem = random_power(seed)
            found = api.allocate_power(*problem)
            power_w, price = power_oracle.solve(problem)
            self.assert_feasible(problem, found, seed)
            assert_near(found.delay_s, power_oracle.delay(problem, power_w), EXACT, seed)
            np.testing.assert_allclose(found.power_w, power_w, rtol=CLOSE, err_msg=str(seed))
            assert_near(found.price_s_per_w, price, CLOSE, seed)
            assert_near(found.delay_s, power_oracle.dual_bound(problem, found.price_s_per_w), CLOSE, seed)

    @staticmethod
    def assert_feasible(problem: PowerProblem, found: api.PowerAllocation, seed: int) -> None:
        """Limits hold, idle users get nothing, the delay is that of the powers, the certificate is correct."""
        assert found.power_w.shape == problem.gain_per_w.shape
        assert found.power_w.dtype == np.float64
        assert (found.power_w >= 0.0).all(), seed
        assert (found.power_w <= problem.power_max_w).all(), seed
        assert math.fsum(found.power_w) <= problem.power_total_w * (1.0 + 1e-14), seed
        assert (found.power_w[problem.unit_delay_s == 0.0] == 0.0).all(), seed
        assert_near(found.delay_s, power_oracle.delay(problem, found.power_w), 1e-14, seed)
        assert 0.0 <= found.residual <= CLOSE, seed
        assert power_oracle.kkt_residual(problem, found.power_w, found.price_s_per_w) <= CLOSE, seed

    @pytest.mark.parametrize("seed", range(40))
    def test_searches_agree(self, seed):
        """The reference search against nested searches in powers."""
        problem = random_power(seed, 3)
        problem = problem._replace(unit_delay_s=np.where(problem.unit_delay_s > 0.0, problem.unit_delay_s, 1.0))
        power_w, _ = power_oracle.solve(problem)
        np.testing.assert_allclose(power_w, power_oracle.solve_by_brentq(problem), rtol=1e-9)

    @pytest.mark.parametrize("seed", range(12))
    def test_against_slsqp(self, seed):
        rng = np.random.default_rng(seed)
        size = int(rng.integers(2, 6))
        problem = PowerProblem(
            10.0 ** rng.uniform(-1.0, 2.0, size), rng.uniform(0.2, 2.0, size), 3.0, 3.0 * rng.uniform(1.0, 3.0) / size
        )
        general = power_oracle.solve_by_slsqp(problem)
        assert math.fsum(general) <= 3.0 * (1.0 + 1e-9)
        assert_near(api.allocate_power(*problem).delay_s, power_oracle.delay(problem, general), 1e-8, seed)

    @pytest.mark.parametrize("seed", range(24))
    def test_against_cvxpy(self, seed):
        """Clarabel is not better; it can be worse by 1e-5 if users are many decades apart."""
        pytest.importorskip("cvxpy")
        problem = random_power(seed)
        power_w = np.minimum(reference_cvxpy.power(*problem), problem.power_max_w)
        power_w *= min(1.0, problem.power_total_w / max(math.fsum(power_w), 1e-300))
        general, found = power_oracle.delay(problem, power_w), api.allocate_power(*problem).delay_s
        assert found * (1.0 - EXACT) <= general <= found * (1.0 + 5e-6)

    def test_by_cvxpy_on_request(self):
        """CVXPY solves the same problem, and the certificate shows its larger error."""
        pytest.importorskip("cvxpy")
        problem = PowerProblem(np.array([3.0, 70.0, 900.0, 15.0]), np.array([1.0, 2.0, 0.5, 0.0]), 2.0, INF)
        exact, found = api.allocate_power(*problem), api.allocate_power(*problem, reference=True)
        assert found.power_w.tolist() != exact.power_w.tolist()
        assert_near(found.delay_s, exact.delay_s, 1e-7, "delay")
        assert_near(found.price_s_per_w, exact.price_s_per_w, 1e-3, "price")
        np.testing.assert_allclose(found.power_w, exact.power_w, rtol=1e-3)
        own = power_oracle.kkt_residual(problem, found.power_w, found.price_s_per_w)
        assert own / 3.0 <= found.residual <= 3.0 * own
        assert found.residual > 10.0 * exact.residual

    @pytest.mark.parametrize("seed", range(2, 44, 6))
    def test_price_is_the_derivative(self, seed):
        """The delay saved per watt, from the delays at slightly different budgets."""
        problem = random_power(seed)._replace(power_max_w=INF)
        assert (problem.unit_delay_s > 0.0).any()
        step = 1e-4
        more, less = (
            api.allocate_power(*problem._replace(power_total_w=problem.power_total_w * math.exp(sign * step)))
            for sign in (1.0, -1.0)
        )
        slope = (less.delay_s - more.delay_s) / (2.0 * step * problem.power_total_w)
        assert_near(api.allocate_power(*problem).price_s_per_w, slope, 1e-6, seed)


class TestPool:
    """Problem (32) with and without back ends."""

    @in_blocks
    def test_against_search_and_dual(self, seeds):
        for seed in seeds:
            problem = random_pool(seed)
            found = api.share_pool(*problem)
            boost, back_end, price = pool_oracle.solve(problem)
            self.assert_feasible(problem, found, seed)
            assert_near(found.delay_s, pool_oracle.delay(problem, boost, back_end), EXACT, seed)
            # In a small pool, the rounding of much faster devices is visible.
            slack = CLOSE * problem.capacity_flop_s
            np.testing.assert_allclose(found.twin_boost_flop_s, boost, rtol=CLOSE, atol=slack, err_msg=str(seed))
            np.testing.assert_allclose(found.back_end_flop_s, back_end, rtol=CLOSE, atol=slack, err_msg=str(seed))
            assert_near(found.price, price, CLOSE, seed)
            assert_near(found.delay_s, pool_oracle.dual_bound(problem, found.price), EXACT, seed)

    @staticmethod
    def assert_feasible(problem: PoolProblem, found: api.PoolShares, seed: int) -> None:
        """The pool is used exactly, only twins and back ends get shares, the certificate is small and correct."""
        boost, back_end = found.twin_boost_flop_s, found.back_end_flop_s
        assert boost.shape == back_end.shape == problem.front_flop.shape
        assert (boost >= 0.0).all(), seed
        assert (back_end >= 0.0).all(), seed
        assert (boost[~problem.twin | (problem.front_flop == 0.0)] == 0.0).all(), seed
        assert (back_end[problem.back_flop == 0.0] == 0.0).all(), seed
        assert_near(found.delay_s, pool_oracle.delay(problem, boost, back_end), 1e-14, seed)
        assert 0.0 <= found.residual <= CLOSE, seed
        if pool_oracle.no_demand(problem):
            assert found.price == found.delay_s == found.residual == 0.0, seed
            return
        assert_near(math.fsum((*boost, *back_end)), problem.capacity_flop_s, CLOSE, seed)
        assert pool_oracle.kkt_residual(problem, boost, back_end, found.price) <= CLOSE, seed

    def test_no_back_ends_by_default(self):
        for seed in range(0, INSTANCES, 5):
            problem = random_pool(seed)
            ours = api.share_pool(*problem[:4])
            same = api.share_pool(*problem[:4], np.zeros_like(problem.front_flop))
            assert ours.delay_s == same.delay_s
            np.testing.assert_array_equal(ours.twin_boost_flop_s, same.twin_boost_flop_s)

    @pytest.mark.parametrize("seed", range(16))
    def test_against_slsqp(self, seed):
        rng = np.random.default_rng([8, seed])
        size = int(rng.integers(1, 4))
        problem = PoolProblem(
            rng.uniform(1e9, 4e9, size), rng.uniform(5e9, 12e9, size), rng.random(size) < 0.7,
            1e10 * size * rng.uniform(0.2, 3.0), rng.uniform(1e9, 4e9, size),
        )  # fmt: skip
        assert_near(api.share_pool(*problem).delay_s, pool_oracle.solve_by_slsqp(problem), 1e-7, seed)

    @pytest.mark.parametrize("seed", range(24))
    def test_against_cvxpy(self, seed):
        pytest.importorskip("cvxpy")
        problem = random_pool(seed)
        boost, back_end = reference_cvxpy.pool(*problem)
        part = min(1.0, problem.capacity_flop_s / max(math.fsum((*boost, *back_end)), 1e-300))
        found = api.share_pool(*problem).delay_s
        if pool_oracle.no_demand(problem):
            assert not boost.any()
            assert not back_end.any()
            return
        general = pool_oracle.delay(problem, boost * part, back_end * part)
        assert found * (1.0 - EXACT) <= general <= found * (1.0 + 2e-6)

    def test_by_cvxpy_on_request(self):
        pytest.importorskip("cvxpy")
        front, speed = np.array([4e9, 6e9, 1e9]), np.array([5e9, 6e9, 7e9])
        problem = PoolProblem(front, speed, np.array([True, True, False]), 6e10, np.array([2e9, 0.0, 9e9]))
        exact, found = api.share_pool(*problem), api.share_pool(*problem, reference=True)
        assert found.twin_boost_flop_s.tolist() != exact.twin_boost_flop_s.tolist()
        assert_near(found.delay_s, exact.delay_s, 1e-7, "delay")
        assert_near(found.price, exact.price, 1e-3, "price")
        np.testing.assert_allclose(found.twin_boost_flop_s, exact.twin_boost_flop_s, rtol=1e-3)
        np.testing.assert_allclose(found.back_end_flop_s, exact.back_end_flop_s, rtol=1e-3)
        own = pool_oracle.kkt_residual(problem, found.twin_boost_flop_s, found.back_end_flop_s, found.price)
        assert own / 4.0 <= found.residual <= 4.0 * own
        assert found.residual > 10.0 * exact.residual

    @pytest.mark.parametrize("seed", range(4, 60, 8))
    def test_price_is_the_derivative(self, seed):
        problem = random_pool(seed)
        step = 1e-4
        more, less = (
            api.share_pool(*problem._replace(capacity_flop_s=problem.capacity_flop_s * math.exp(sign * step)))
            for sign in (1.0, -1.0)
        )
        slope = (less.delay_s - more.delay_s) / (2.0 * step * problem.capacity_flop_s)
        # A tiny pool saves little of a long delay, so the difference has few digits.
        digits = 1e-13 * more.delay_s / (step * problem.capacity_flop_s)
        assert abs(api.share_pool(*problem).price - slope) <= 1e-6 * abs(slope) + digits


@functools.cache
def brute_force(seed: int) -> tuple[api.TwinChoice, float]:
    """The solver's choice of twins for instance `seed`, and the best delay of all choices."""
    problem = random_twins(seed, 2 + seed % 7)
    return api.choose_twins(*problem), pool_oracle.best_choice(problem)[1]


class TestTwins:
    """Who computes on a twin, up to eight users against all choices."""

    def test_against_all_choices(self):
        """The choice is not exact: it misses 3 of 3400 instances, at worst by 0.1 %."""
        losses = np.array([found.delay_s / best - 1.0 for found, best in map(brute_force, range(CHOICES))])
        assert losses.min() >= -EXACT
        assert (losses > 1e-9).mean() <= 0.01
        assert losses.max() <= 0.005

    def test_delays_and_shares_are_those_of_the_choice(self):
        for seed in range(CHOICES):
            problem, found = random_twins(seed, 2 + seed % 7), brute_force(seed)[0]
            assert found.twin.dtype == np.bool_
            assert_near(found.delay_s, pool_oracle.delay_of_choices(problem, found.twin[None])[0], EXACT, seed)
            whole = PoolProblem(*problem[:2], found.twin, *problem[3:])
            TestPool.assert_feasible(whole, found.shares, seed)
            local = (problem.front_flop / problem.speed_flop_s)[~found.twin]
            parts = [found.shares.delay_s, *local, *problem.sync_s[found.twin]]
            assert_near(found.delay_s, math.fsum(parts), EXACT, seed)

    def test_bound_is_one_and_the_best_there_is(self):
        gaps = []
        for seed in range(CHOICES):
            found, best = brute_force(seed)
            problem = random_twins(seed, 2 + seed % 7)
            assert found.bound_s <= best * (1.0 + EXACT), seed
            assert_near(found.bound_s, pool_oracle.best_choice_bound(problem), 1e-10, seed)
            gaps.append(1.0 - found.bound_s / best)
        # It proves most choices optimal; it cannot where half a twin would be better.
        assert np.median(gaps) <= 1e-9
        assert max(gaps) >= 1e-3

    @pytest.mark.parametrize("seed", range(20))
    def test_many_users_within_a_thousandth_of_the_bound(self, seed):
        problem = random_twins(seed, 100)
        found = api.choose_twins(*problem)
        assert found.bound_s * (1.0 - EXACT) <= found.delay_s <= found.bound_s * 1.001
        assert_near(found.bound_s, pool_oracle.best_choice_bound(problem), 1e-10, seed)

    def test_users_without_gain_have_no_twin(self):
        """Users without work or with an upload longer than their computing have no twin; every twin has a boost."""
        for seed in range(CHOICES):
            problem, found = random_twins(seed, 2 + seed % 7), brute_force(seed)[0]
            hopeless = problem.sync_s >= problem.front_flop / problem.speed_flop_s
            assert not found.twin[hopeless].any(), seed
            assert (found.shares.twin_boost_flop_s[found.twin] > 0.0).all(), seed

    def test_instances_are_of_all_kinds(self):
        shares = np.array([found.twin.mean() for found, _ in map(brute_force, range(CHOICES))])
        assert (shares == 0.0).sum() >= 30
        assert (shares == 1.0).sum() >= 10
        assert ((shares > 0.0) & (shares < 1.0)).sum() >= 100


class TestLambert:
    """W of exp(log z)."""

    def test_to_the_last_digits(self):
        rng = np.random.default_rng(0)
        log_z = np.concatenate((
            np.linspace(-700.0, 1e4, 500), np.linspace(-40.0, 40.0, 1600), rng.uniform(-60.0, 60.0, 300),
            np.array([-708.0, -18.0, -1.0, 0.0, 1.0, 1.5, 709.0, 1e6]),
        ))  # fmt: skip
        expected = np.array([power_oracle.lambert_w_of_exp(x) for x in log_z])
        np.testing.assert_allclose(api.lambert_w_of_exp(log_z), expected, rtol=1e-15)

    def test_against_scipy(self):
        special = pytest.importorskip("scipy.special")
        log_z = np.linspace(-700.0, 700.0, 999)
        ours = api.lambert_w_of_exp(log_z)
        np.testing.assert_allclose(ours, special.lambertw(np.exp(log_z)).real, rtol=1e-14)

    def test_below_the_smallest_number(self):
        found = api.lambert_w_of_exp(np.array([-2000.0, -800.0]))
        assert found.tolist() == [0.0, 0.0]
        assert api.lambert_w_of_exp([-INF, INF]).tolist() == [0.0, INF]
        assert api.lambert_w_of_exp(-740.0) == pytest.approx(math.exp(-740.0), rel=0.05)

    def test_any_shape(self):
        log_z = np.linspace(-30.0, 30.0, 24).reshape(2, 3, 4)
        found = api.lambert_w_of_exp(log_z)
        assert found.shape == (2, 3, 4)
        np.testing.assert_array_equal(found.ravel(), api.lambert_w_of_exp(log_z.ravel()))
        assert float(api.lambert_w_of_exp(1.0)) == pytest.approx(1.0, rel=1e-15)


class TestPrinted:
    """Algorithms 1 to 3 as the paper prints them."""

    def test_twins_by_threshold(self):
        """(29): a twin if the device exceeds its limit; a device exactly at its limit stays local."""
        rng = np.random.default_rng(3)
        for size in SIZES:
            front, speed = rng.uniform(0.0, 2e9, size), rng.uniform(5e9, 12e9, size)
            limit = rng.uniform(0.0, 0.3, size)
            twin = api.threshold_twins(front, speed, limit)
            assert twin.dtype == np.bool_
            assert twin.tolist() == [bool(front[k] / speed[k] > limit[k]) for k in range(size)]
            common = api.threshold_twins(front, speed, 0.1)
            assert common.tolist() == [bool(front[k] / speed[k] > 0.1) for k in range(size)]
        assert api.threshold_twins([3e9, 3e9], [6e9, 6e9], [0.5, 0.4999]).tolist() == [False, True]

    @pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9])
    def test_frequency_by_bisection(self, tolerance):
        for seed in range(INSTANCES):
            problem = random_pool(seed)
            shares = api.bisect_frequency(*problem[:4], tolerance)
            assert 0.0 <= shares.residual <= 1.01 * tolerance, seed
            found, exact = shares.twin_boost_flop_s, api.share_pool(*problem[:4]).twin_boost_flop_s
            scale = problem.capacity_flop_s
            np.testing.assert_allclose(found / scale, exact / scale, rtol=0.0, atol=tolerance, err_msg=str(seed))
            assert (found >= 0.0).all()
            assert (found[~problem.twin] == 0.0).all()
            assert math.fsum(found) <= scale * (1.0 + tolerance), seed

    def test_frequency_is_exact_by_default(self):
        problem = random_pool(9)
        found, exact = api.bisect_frequency(*problem[:4]), api.share_pool(*problem[:4])
        np.testing.assert_allclose(found.twin_boost_flop_s, exact.twin_boost_flop_s, rtol=1e-6)
        assert not found.back_end_flop_s.any()
        assert found.delay_s == pytest.approx(exact.delay_s, rel=1e-9)
        assert found.price == pytest.approx(exact.price, rel=1e-6)

    def test_cuts_by_search(self):
        """Algorithm 1 user by user, with works that do not grow with the cut."""
        rng = np.random.default_rng(4)
        for size in SIZES:
            front = rng.uniform(1e8, 2e9, (size, 12))
            speed, boost = rng.uniform(5e9, 12e9, size), rng.uniform(0.0, 5e10, size)
            twin = rng.random(size) < 0.5
            expected = []
            for k in range(size):
                total = speed[k] + (boost[k] if twin[k] else 0.0)
                delays = [front[k, m] / total for m in range(12)]
                expected.append(1 + delays.index(min(delays)))
            found = api.search_cuts(front, speed, twin, boost)
            assert found.tolist() == expected
            assert np.issubdtype(found.dtype, np.integer)

    def test_first_cut_is_always_best_in_the_printed_model(self):
        rng = np.random.default_rng(5)
        front = np.cumsum(rng.uniform(0.5e9, 1.5e9, (40, 12)), axis=1)
        found = api.search_cuts(front, rng.uniform(5e9, 12e9, 40), np.arange(40) % 2 == 0, np.full(40, 1e10))
        assert (found == 1).all()


class TestInstances:
    """The random instances cover all cases."""

    def test_powers(self):
        seen = dict.fromkeys(("idle", "all idle", "all at limit", "some at limit", "none at limit", "wide", "equal"), 0)
        for seed in range(INSTANCES):
            problem = random_power(seed)
            busy = problem.unit_delay_s > 0.0
            seen["idle"] += not busy.all()
            seen["all idle"] += not busy.any()
            if not busy.any():
                continue
            at_limit = power_oracle.solve(problem)[0][busy] >= problem.power_max_w
            kind = "all at limit" if at_limit.all() else "some at limit" if at_limit.any() else "none at limit"
            seen[kind] += 1
            seen["wide"] += bool(np.ptp(np.log10(problem.gain_per_w)) > 7.0)
            seen["equal"] += bool(len(problem.gain_per_w) > 1 and np.ptp(problem.gain_per_w) == 0.0)
        wanted = {
            "idle": 40, "all idle": 3, "all at limit": 50, "some at limit": 30, "none at limit": 60, "wide": 20,
            "equal": 30,
        }  # fmt: skip
        assert not {name: seen[name] for name, least in wanted.items() if seen[name] < least}, seen

    def test_pools(self):
        seen = dict.fromkeys(("nothing asked", "no twins", "no back ends", "twins without boost", "all boosted"), 0)
        for seed in range(INSTANCES):
            problem = random_pool(seed)
            boost, _, _ = pool_oracle.solve(problem)
            twins = problem.twin & (problem.front_flop > 0.0)
            seen["nothing asked"] += pool_oracle.no_demand(problem)
            seen["no twins"] += not problem.twin.any()
            seen["no back ends"] += not problem.back_flop.any()
            seen["twins without boost"] += bool((boost[twins] == 0.0).any())
            seen["all boosted"] += bool(twins.any() and (boost[twins] > 0.0).all())
        wanted = dict.fromkeys(seen, 20) | {"twins without boost": 60, "all boosted": 60}
        assert not {name: seen[name] for name, least in wanted.items() if seen[name] < least}, seen
