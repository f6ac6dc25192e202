"""Edge cases of the solvers: one user, equal and idle users, extreme scales, invariances, errors; the references."""

import math
import sys
from typing import Any

import numpy as np
import pytest

from edge_envs.dtirs.solvers import api, certificates, reference_cvxpy
from tests.dtirs.solvers import reference_phases, reference_pool, reference_power
from tests.dtirs.solvers.problems import (
    PoolProblem,
    PowerProblem,
    TwinProblem,
    complex_normal,
    random_links,
    random_pool,
    random_power,
    random_quadratic,
    random_twins,
)

SCALES = (1e-30, 1e-9, 1e9, 1e30)
CLOSE = 1e-11
NAN, INF = math.nan, math.inf


class TestOneUser:
    @pytest.mark.parametrize(("limit", "expected"), [(INF, 2.0), (5.0, 2.0), (2.0, 2.0), (0.5, 0.5)])
    def test_power(self, limit, expected):
        found = api.allocate_power([30.0], [4.0], 2.0, limit)
        assert found.power_w.tolist() == pytest.approx([expected], rel=1e-14)
        assert found.delay_s == pytest.approx(4.0 / math.log1p(30.0 * expected), rel=1e-14)
        if limit > 2.0:
            slope = 4.0 * 30.0 / (61.0 * math.log(61.0) ** 2)
            assert found.price_s_per_w == pytest.approx(slope, rel=1e-13)
        elif limit < 2.0:
            assert found.price_s_per_w == 0.0
        assert found.residual <= CLOSE

    def test_pool(self):
        """All for the twin, all for the back end, or shared by the square roots of the works."""
        twin = api.share_pool([8e9], [2e9], [True], 6e9)
        assert twin.twin_boost_flop_s.tolist() == pytest.approx([6e9])
        assert twin.delay_s == pytest.approx(1.0)
        assert twin.price == pytest.approx(8e9 / 8e9**2)
        back = api.share_pool([8e9], [2e9], [False], 6e9, [3e9])
        assert back.back_end_flop_s.tolist() == pytest.approx([6e9])
        assert back.delay_s == pytest.approx(0.5)
        both = api.share_pool([4e9], [2e9], [True], 7e9, [1e9])
        assert both.twin_boost_flop_s.tolist() == pytest.approx([4e9])
        assert both.back_end_flop_s.tolist() == pytest.approx([3e9])
        assert both.delay_s == pytest.approx(4 / 6 + 1 / 3)

    @pytest.mark.parametrize(("sync_s", "twin"), [(0.0, True), (0.74, True), (0.76, False), (5.0, False)])
    def test_twin(self, sync_s, twin):
        """A twin pays off if the upload takes less than the 0.75 s that the whole pool saves."""
        found = api.choose_twins([2e9], [2e9], [sync_s], 6e9)
        assert found.twin.tolist() == [twin]
        assert found.delay_s == pytest.approx(0.25 + sync_s if twin else 1.0)
        # With one user the bound is loose: half a twin would be better than none or one.
        assert found.bound_s <= found.delay_s * (1.0 + 1e-14)

    def test_phase(self):
        """One element: nothing to choose, and nothing to prove."""
        for method in ("sdr", "ca", "random"):
            found = api.optimise_phases(np.array([[3e-9 + 0j]]), method=method)
            assert found.phase.shape == (1,)
            assert abs(found.phase[0]) == pytest.approx(1.0, rel=1e-15)
            assert found.value == pytest.approx(3e-9, rel=1e-14)
        found = api.optimise_phases(np.array([[3e-9 + 0j]]))
        assert found.relaxed == pytest.approx(3e-9, rel=1e-14)
        assert 3e-9 * (1.0 - 1e-14) <= found.bound <= 3e-9 * (1.0 + 1e-6)


class TestEqualUsers:
    """Equal users get equal shares."""

    @pytest.mark.parametrize("size", [2, 7, 100])
    @pytest.mark.parametrize("limit", [INF, 0.9, 0.3])
    def test_powers(self, size, limit):
        found = api.allocate_power(np.full(size, 50.0), np.full(size, 0.3), 0.5 * size, limit)
        np.testing.assert_allclose(found.power_w, min(0.5, limit), rtol=1e-13)
        assert found.residual <= CLOSE

    @pytest.mark.parametrize("size", [2, 7, 100])
    def test_pool(self, size):
        every = np.ones(size, dtype=bool)
        front, speed, back = np.full(size, 4e9), np.full(size, 2e9), np.full(size, 1e9)
        found = api.share_pool(front, speed, every, 7e9 * size, back)
        np.testing.assert_allclose(found.twin_boost_flop_s, 4e9, rtol=1e-13)
        np.testing.assert_allclose(found.back_end_flop_s, 3e9, rtol=1e-13)
        # A pool too small for the twins: equal back ends share it equally.
        found = api.share_pool(front, speed, every, 0.5e9 * size, back)
        assert (found.twin_boost_flop_s == 0.0).all()
        np.testing.assert_allclose(found.back_end_flop_s, 0.5e9, rtol=1e-13)

    def test_twins_share_a_pool_for_some(self):
        """Ten equal users and a pool for a few of them: the number of twins is the best one."""
        front, speed, sync = np.full(10, 2e9), np.full(10, 2e9), np.full(10, 0.5)
        found = api.choose_twins(front, speed, sync, 1.2e10)
        problem = TwinProblem(front, speed, sync, 1.2e10, np.zeros(10))
        by_number = reference_pool.delay_of_choices(problem, np.arange(10) < np.arange(11)[:, None])
        assert found.delay_s == pytest.approx(min(by_number), rel=1e-12)
        assert found.twin.sum() == int(np.argmin(by_number))
        assert 0 < found.twin.sum() < 10


class TestNothingToDo:
    def test_no_data(self):
        for limit in (INF, 0.1):
            found = api.allocate_power([1.0, 2.0], [0.0, 0.0], 1.0, limit)
            assert found.power_w.tolist() == [0.0, 0.0]
            assert found.delay_s == found.price_s_per_w == found.residual == 0.0

    def test_idle_users_leave_the_budget_to_the_others(self):
        """Their gain can be anything, including zero."""
        alone = api.allocate_power([5.0, 70.0], [1.0, 2.0], 3.0)
        found = api.allocate_power([5.0, 0.0, 70.0, 1e9], [1.0, 0.0, 2.0, 0.0], 3.0)
        np.testing.assert_allclose(found.power_w[[0, 2]], alone.power_w, rtol=1e-13)
        assert found.power_w[[1, 3]].tolist() == [0.0, 0.0]
        assert found.delay_s == pytest.approx(alone.delay_s, rel=1e-14)

    def test_limits_of_the_busy_do_not_bind_the_budget(self):
        """Two of four busy, each at its limit: the budget is slack although four limits would exceed it."""
        found = api.allocate_power([5.0, 6.0, 7.0, 8.0], [1.0, 0.0, 2.0, 0.0], 3.0, 1.4)
        assert found.power_w.tolist() == [1.4, 0.0, 1.4, 0.0]
        assert found.price_s_per_w == 0.0
        assert found.residual == 0.0

    @pytest.mark.parametrize("front", [[1e9, 2e9], [0.0, 0.0]])
    def test_nobody_asks_for_the_pool(self, front):
        """All local, or twins without work."""
        found = api.share_pool(front, [1e9, 1e9], np.array(front) == 0.0, 1e10)
        assert found.twin_boost_flop_s.tolist() == found.back_end_flop_s.tolist() == [0.0, 0.0]
        assert found.delay_s == found.price == found.residual == 0.0

    def test_no_work_needs_no_twin(self):
        found = api.choose_twins([0.0, 0.0], [1e9, 1e9], [0.0, 0.0], 1e10, [3e9, 0.0])
        assert found.twin.tolist() == [False, False]
        assert found.delay_s == pytest.approx(0.3)
        nothing = api.choose_twins([0.0], [1e9], [0.0], 1e10)
        assert nothing.delay_s == nothing.bound_s == 0.0

    def test_bisection_ends_without_twins(self):
        """The printed loop would not, because no price uses the budget."""
        for front, twin in (([1e9, 2e9], [False, False]), ([0.0, 0.0], [True, True])):
            found = api.bisect_frequency(front, [1e9, 1e9], twin, 1e10)
            assert found.twin_boost_flop_s.tolist() == found.back_end_flop_s.tolist() == [0.0, 0.0]
            assert found.delay_s == found.price == found.residual == 0.0

    def test_no_channel(self):
        """With a form of zeros all phases are optimal, and the certificate does not divide by zero."""
        found = api.optimise_phases(np.zeros((4, 4)))
        np.testing.assert_allclose(abs(found.phase), 1.0)
        assert found.value == found.relaxed == found.bound == 0.0
        assert found.gap <= 1e-6

    def test_diagonal_form(self):
        """All phases have the same value, which is proven optimal."""
        found = api.optimise_phases(np.diag([1.0, 0.0, 3.0, 5.0]))
        assert found.value == pytest.approx(9.0, rel=1e-14)
        assert found.bound == pytest.approx(9.0, rel=1e-6)


class TestExtremes:
    @pytest.mark.parametrize("gain", [1e-100, 1e-25, 1e-12, 1e12, 1e25, 1e100])
    def test_snr_out_of_this_world(self, gain):
        """Where 1 + SNR rounds to one, powers are proportional to square roots; far above, nearly to the data."""
        problem = PowerProblem(np.array([1.0, 3.0]) * gain, np.array([1.0, 2.0]), 1.0, INF)
        found = api.allocate_power(*problem)
        assert reference_power.kkt_residual(problem, found.power_w, found.price_s_per_w) <= 1e-10
        assert found.residual <= 1e-10
        if gain < 1e-10:
            roots = np.sqrt(problem.unit_delay_s / problem.gain_per_w)
            np.testing.assert_allclose(found.power_w, roots / roots.sum(), rtol=1e-9)

    @pytest.mark.parametrize("factor", [1e-14, 1e-10, 1e10, 1e14])
    def test_one_user_dwarfs_the_others(self, factor):
        problem = PowerProblem(np.array([2.0, 1e8, 30.0]), np.array([1.0, factor, 1.0]), 1.0, INF)
        found = api.allocate_power(*problem)
        assert reference_power.kkt_residual(problem, found.power_w, found.price_s_per_w) <= 1e-10
        pool = PoolProblem(
            np.array([1e9, factor * 1e9]), np.array([1e9, 2e9]), np.array([True, True]), 1e11, np.array([1e9, 0.0])
        )
        shares = api.share_pool(*pool)
        bound = reference_pool.dual_bound(pool, shares.price)
        assert bound == pytest.approx(shares.delay_s, rel=1e-12)
        assert shares.delay_s == pytest.approx(
            reference_pool.delay(pool, shares.twin_boost_flop_s, shares.back_end_flop_s), rel=1e-13
        )

    @pytest.mark.parametrize("capacity", [1e-3, 1e3, 1e16, 1e22])
    def test_pools_next_to_nothing_and_without_end(self, capacity):
        problem = random_pool(23, 5)._replace(capacity_flop_s=capacity, twin=np.ones(5, dtype=bool))
        problem = problem._replace(back_flop=np.array([1e9, 0.0, 2e9, 0.0, 0.0]))
        found = api.share_pool(*problem)
        assert reference_pool.dual_bound(problem, found.price) == pytest.approx(found.delay_s, rel=1e-12)
        spent = math.fsum((*found.twin_boost_flop_s, *found.back_end_flop_s))
        assert spent <= capacity * (1.0 + 1e-6)

    @pytest.mark.parametrize("size", [1000, 20_000])
    def test_many_users(self, size):
        power = random_power(5, size)
        found = api.allocate_power(*power)
        assert reference_power.dual_bound(power, found.price_s_per_w) == pytest.approx(found.delay_s, rel=1e-11)
        pool = random_pool(9, size)
        shares = api.share_pool(*pool)
        assert reference_pool.dual_bound(pool, shares.price) == pytest.approx(shares.delay_s, rel=1e-11)

    def test_forms_that_are_not_positive(self):
        """Gains never give such forms; certificates hold for them nevertheless."""
        assert api.optimise_phases(np.array([[0.0, 1.0], [1.0, 0.0]])).value == pytest.approx(2.0, rel=1e-12)
        for seed in range(30):
            rng = np.random.default_rng(seed)
            matrix = complex_normal(rng, 9, 9)
            quadratic = matrix + matrix.conj().T
            quadratic -= np.eye(9) * (np.trace(quadratic).real / 9.0 - 10.0 ** rng.uniform(-9.0, 1.0))
            found = api.optimise_phases(quadratic)
            assert reference_phases.dual_bound(quadratic, found.factor) <= found.bound * (1.0 + 1e-12)
            assert found.value <= found.bound
            assert found.gap <= 1e-6
        with pytest.raises(ValueError, match="quadratic"):
            api.optimise_phases(-np.eye(4) - np.ones((4, 4)))

    @pytest.mark.parametrize("scale", SCALES)
    def test_units_of_power(self, scale):
        """In other units of power, time and speed the solution is the same."""
        for seed in range(1, 40, 3):
            problem = random_power(seed)
            base = api.allocate_power(*problem)
            watts = api.allocate_power(
                problem.gain_per_w / scale, problem.unit_delay_s, problem.power_total_w * scale,
                problem.power_max_w * scale,
            )  # fmt: skip
            np.testing.assert_allclose(watts.power_w, base.power_w * scale, rtol=CLOSE)
            assert watts.delay_s == pytest.approx(base.delay_s, rel=CLOSE)
            assert watts.price_s_per_w * scale == pytest.approx(base.price_s_per_w, rel=CLOSE)
            seconds = api.allocate_power(problem.gain_per_w, problem.unit_delay_s * scale, *problem[2:])
            np.testing.assert_allclose(seconds.power_w, base.power_w, rtol=CLOSE)
            assert seconds.delay_s == pytest.approx(base.delay_s * scale, rel=CLOSE)

    @pytest.mark.parametrize("scale", SCALES)
    def test_units_of_speed_and_gain(self, scale):
        for seed in range(1, 40, 3):
            problem = random_pool(seed)
            base = api.share_pool(*problem)
            scaled = api.share_pool(
                problem.front_flop * scale, problem.speed_flop_s * scale, problem.twin,
                problem.capacity_flop_s * scale, problem.back_flop * scale,
            )  # fmt: skip
            assert scaled.delay_s == pytest.approx(base.delay_s, rel=CLOSE)
            assert scaled.price * scale == pytest.approx(base.price, rel=CLOSE)
            twins = random_twins(seed, 6)
            choice, other = (
                api.choose_twins(
                    twins.front_flop * s, twins.speed_flop_s * s, twins.sync_s, twins.capacity_flop_s * s,
                    twins.back_flop * s,
                )
                for s in (1.0, scale)
            )  # fmt: skip
            assert other.twin.tolist() == choice.twin.tolist()
            assert other.bound_s == pytest.approx(choice.bound_s, rel=CLOSE)
        quadratic = random_quadratic(1, 16)
        plain, scaled_phases = api.optimise_phases(quadratic), api.optimise_phases(quadratic * scale)
        assert scaled_phases.value == pytest.approx(plain.value * scale, rel=1e-9)
        assert scaled_phases.bound == pytest.approx(plain.bound * scale, rel=1e-6)


class TestOrder:
    """The order of users and elements does not matter."""

    def test_users(self):
        for seed in range(3, 40, 6):
            order = np.random.default_rng(seed).permutation(10)
            power = random_power(seed, 10)
            turned = api.allocate_power(power.gain_per_w[order], power.unit_delay_s[order], *power[2:])
            np.testing.assert_allclose(turned.power_w, api.allocate_power(*power).power_w[order], rtol=CLOSE)
            pool = random_pool(seed, 10)
            mixed = api.share_pool(
                pool.front_flop[order], pool.speed_flop_s[order], pool.twin[order], pool.capacity_flop_s,
                pool.back_flop[order],
            )  # fmt: skip
            expected = api.share_pool(*pool)
            slack = CLOSE * pool.capacity_flop_s
            for ours, theirs in (
                (mixed.twin_boost_flop_s, expected.twin_boost_flop_s), (mixed.back_end_flop_s, expected.back_end_flop_s)
            ):  # fmt: skip
                np.testing.assert_allclose(ours, theirs[order], rtol=CLOSE, atol=slack)

    def test_elements(self):
        for seed in range(6):
            order = np.random.default_rng(seed).permutation(12)
            quadratic = random_quadratic(seed, 12)
            turned = api.optimise_phases(quadratic[np.ix_(order, order)])
            assert turned.relaxed == pytest.approx(api.optimise_phases(quadratic).relaxed, rel=3e-7)

    def test_arguments_stay_as_they_are(self):
        """Read-only arrays, strided arrays and lists are accepted, too."""
        power, pool, twins = random_power(9), random_pool(11), random_twins(3, 5)
        quadratic, links = random_quadratic(2, 9), random_links(1, 4, 3, 2)
        before = [np.array(each) for each in (*power[:2], *pool[:3], pool.back_flop, *twins[:3], quadratic)]
        arrays = [*power[:2], *pool[:3], pool.back_flop, *twins[:3], quadratic, links.ap_irs, links.irs_ud]
        for each in arrays:
            each.setflags(write=False)
        api.allocate_power(*power)
        api.share_pool(*pool)
        api.choose_twins(*twins)
        api.phase_quadratic(links.ap_irs, links.irs_ud)
        ours = api.optimise_phases(quadratic)
        for array, copy in zip(arrays, before, strict=False):
            np.testing.assert_array_equal(array, copy)
        strided = np.zeros((18, 9), dtype=complex)
        strided[::2] = quadratic
        assert api.optimise_phases(strided[::2]).value == ours.value
        assert api.optimise_phases(quadratic.tolist()).value == ours.value
        listed = api.allocate_power(power.gain_per_w.tolist(), power.unit_delay_s.tolist(), *power[2:])
        assert listed.delay_s == api.allocate_power(*power).delay_s


class TestCertificates:
    """Certificates detect wrong solutions, which replace those of CVXPY here."""

    @pytest.mark.parametrize("shift", [
        [1e-4, 0.0, 0.0, 0.0], [-1e-4, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, -3e-3], [1e-3, 1e-3, 1e-3, 1e-3],
        [-2e-2, -2e-2, -2e-2, -2e-2], [0.0, 1e-6, -1e-6, 0.0],
    ])  # fmt: skip
    def test_power(self, shift, monkeypatch):
        problem = PowerProblem(np.array([3.0, 70.0, 900.0, 15.0]), np.array([1.0, 2.0, 0.5, 0.7]), 2.0, INF)
        wrong = api.allocate_power(*problem).power_w * (1.0 + np.array(shift))
        monkeypatch.setattr(reference_cvxpy, "power", lambda *_: wrong)
        found = api.allocate_power(*problem, reference=True)
        np.testing.assert_array_equal(found.power_w, wrong)
        own = reference_power.kkt_residual(problem, wrong, found.price_s_per_w)
        assert own > 1e-7
        assert found.residual == pytest.approx(own, rel=0.05)
        assert found.delay_s == pytest.approx(reference_power.delay(problem, wrong), rel=1e-14)

    def test_power_left_over_or_below_the_limit(self, monkeypatch):
        """A slack budget is optimal only if all users are at their limits; powers above the limits are not feasible."""
        arguments = ([3.0, 70.0], [1.0, 2.0], 5.0, 2.0)
        assert api.allocate_power(*arguments).residual == 0.0
        for wrong in ([2.0, 1.0], [1.0, 1.0], [2.5, 2.0], [2.5, 2.5]):
            monkeypatch.setattr(reference_cvxpy, "power", lambda *_, answer=wrong: np.array(answer))
            assert api.allocate_power(*arguments, reference=True).residual > 0.2, wrong

    @pytest.mark.parametrize(("watts", "least"), [
        ([0.0, 0.0, 0.0], math.inf), ([NAN, 1.0, 0.0], math.inf), ([-1.0, 2.0, 0.0], math.inf),
        ([1e-200, 2.0, 0.0], 1e100), ([0.5, 0.6, 1.0], 0.4),
    ])  # fmt: skip
    def test_power_for_nobody_or_for_those_without_data(self, watts, least):
        """No power for a user with data, NaN, and power for a user without data."""
        gain, delay = np.array([3.0, 70.0, 5.0]), np.array([1.0, 2.0, 0.0])
        log_price = math.log(api.allocate_power(gain, delay, 2.0).price_s_per_w)
        for price in (log_price, -INF):
            assert certificates.power_residual(gain, delay, 2.0, INF, np.array(watts), price) >= least
        for price in (NAN, INF):
            assert certificates.power_residual(gain, delay, 2.0, INF, np.array(watts), price) == INF

    @pytest.mark.parametrize(("boost", "back_end", "s", "least"), [
        ([0.0, 0.0], [0.0, 0.0], 0.0, math.inf), ([0.0, 0.0], [0.0, 0.0], 1e5, math.inf),
        ([4e9, 0.0], [6e9, 0.0], 0.0, math.inf), ([4e9, 0.0], [6e9, 0.0], NAN, math.inf),
        ([4e9, NAN], [6e9, 0.0], 1e5, math.inf), ([4e9, -1e9], [7e9, 0.0], 1e5, math.inf),
        ([4e9, 2e9], [4e9, 0.0], 9e4, 0.2), ([4e9, 0.0], [4e9, 2e9], 9e4, 0.2),
    ])  # fmt: skip
    def test_pool_for_nobody_or_for_those_without_work(self, boost, back_end, s, least):
        """The first user has a twin and a back end, the other one neither."""
        front, back, speed = np.array([4e9, 4e9]), np.array([2e9, 0.0]), np.array([2e9, 2e9])
        residual = certificates.pool_residual(
            front, back, speed, np.array([True, False]), 1e10, np.array(boost), np.array(back_end), s
        )
        assert residual >= least

    def test_pool_shares_that_nobody_asks_for(self):
        none = np.zeros(2)
        for boost, expected in (([0.0, 0.0], 0.0), ([0.0, 5e9], 0.5)):
            residual = certificates.pool_residual(
                np.array([4e9, 4e9]), none, np.array([2e9, 2e9]), np.array([False, False]), 1e10, np.array(boost),
                none, 0.0,
            )  # fmt: skip
            assert residual == expected

    def test_bound_of_computing_holds_at_every_price(self):
        """The bound is the best one at the price that the solver returns."""
        for seed in range(40):
            problem = random_twins(seed, 6)
            best = reference_pool.best_choice(problem)[1]
            found = api.choose_twins(*problem)
            front, speed, sync, capacity, back = problem
            for root_price in (0.0, *10.0 ** np.linspace(-12.0, 0.0, 49)):
                bound = certificates.computing_bound(front, back, speed, sync, capacity, root_price)
                assert 0.0 <= bound <= best * (1.0 + 1e-12)
                assert bound <= found.bound_s * (1.0 + 1e-12)
            for root_price in (NAN, INF, -1.0):
                assert certificates.computing_bound(front, back, speed, sync, capacity, root_price) == 0.0

    @pytest.mark.parametrize(("lower", "upper", "gap"), [
        (1.0, 2.0, 0.5), (2.0, 2.0, 0.0), (3.0, 2.0, 0.5), (0.0, 0.0, 0.0), (0.0, 2.0, 1.0), (1.0, INF, 1.0),
        (1.0, 0.0, INF), (-1.0, -2.0, INF), (NAN, 1.0, INF), (1.0, NAN, INF), (NAN, NAN, INF), (INF, INF, INF),
    ])  # fmt: skip
    def test_relative_gap(self, lower, upper, gap):
        assert certificates.relative_gap(lower, upper) == gap

    @pytest.mark.parametrize("shift", [
        [1e-4, 0.0, 0.0, 0.0], [-1e-4, 0.0, 0.0, 0.0], [0.0, 0.0, 1e-3, 0.0], [0.0, 0.0, 0.0, -1e-3],
        [1e-3, 1e-3, 1e-3, 1e-3], [0.0, 1e-6, -1e-6, 0.0],
    ])  # fmt: skip
    def test_pool(self, shift, monkeypatch):
        front, speed = np.array([4e9, 6e9, 1e9]), np.array([5e9, 6e9, 7e9])
        problem = PoolProblem(front, speed, np.array([True, True, False]), 6e10, np.array([2e9, 0.0, 9e9]))
        exact = api.share_pool(*problem)
        boost = exact.twin_boost_flop_s * (1.0 + np.array([*shift[:2], 0.0]))
        back_end = exact.back_end_flop_s * (1.0 + np.array([shift[2], 0.0, shift[3]]))
        monkeypatch.setattr(reference_cvxpy, "pool", lambda *_: (boost, back_end))
        found = api.share_pool(*problem, reference=True)
        np.testing.assert_array_equal(found.twin_boost_flop_s, boost)
        own = reference_pool.kkt_residual(problem, boost, back_end, found.price)
        assert own > 1e-7
        assert found.residual == pytest.approx(own, rel=0.05)
        assert found.delay_s == pytest.approx(reference_pool.delay(problem, boost, back_end), rel=1e-14)

    @pytest.mark.parametrize("part", [1e-6, 1e-3, 0.1])
    def test_relaxation(self, part, monkeypatch):
        """A relaxed solution mixed with the identity: the bound stays valid, and the gap shows the error."""
        for seed in range(5):
            quadratic = random_quadratic(seed, 12, users=10, antennas=4, decades=1.0)
            exact = api.optimise_phases(quadratic, gap=1e-9)
            mixed = (1.0 - part) * exact.factor @ exact.factor.conj().T + part * np.eye(12)
            monkeypatch.setattr(reference_cvxpy, "phases", lambda *_, answer=mixed: answer)
            found = api.optimise_phases(quadratic, reference="SCS")
            assert found.relaxed <= exact.bound
            assert exact.relaxed * (1.0 - 1e-8) <= found.bound
            assert found.bound >= reference_phases.dual_bound(quadratic, found.factor) * (1.0 - 1e-9)
            assert found.gap >= exact.relaxed / found.relaxed - 1.0 - 1e-9
            assert found.gap >= 0.1 * part * (1.0 - np.trace(quadratic).real / exact.relaxed)


POWER: dict[str, Any] = {"gain_per_w": [1.0, 2.0], "unit_delay_s": [1.0, 1.0], "power_total_w": 1.0}
POOL: dict[str, Any] = {
    "front_flop": [1e9, 2e9], "speed_flop_s": [1e9, 1e9], "twin": [True, False], "capacity_flop_s": 1e10,
    "back_flop": [1e9, 1e9],
}  # fmt: skip
CHOICE = {name: value for name, value in POOL.items() if name != "twin"} | {"sync_s": [0.1, 0.1]}
LINKS: dict[str, Any] = {"ap_irs": np.ones((3, 2)), "irs_ud": np.ones((4, 3))}


class TestErrors:
    """Errors for bad arguments name them."""

    @pytest.mark.parametrize(("name", "value"), [
        ("gain_per_w", [0.0, 1.0]), ("gain_per_w", [-1.0, 1.0]), ("gain_per_w", [NAN, 1.0]), ("gain_per_w", [INF, 1.0]),
        ("gain_per_w", [1.0]), ("gain_per_w", [[1.0, 2.0]]), ("unit_delay_s", [-1.0, 1.0]),
        ("unit_delay_s", [NAN, 1.0]), ("unit_delay_s", [INF, 1.0]), ("power_total_w", 0.0), ("power_total_w", -1.0),
        ("power_total_w", NAN), ("power_total_w", INF), ("power_max_w", 0.0), ("power_max_w", -1.0),
        ("power_max_w", NAN),
    ])  # fmt: skip
    def test_power(self, name, value):
        with pytest.raises(ValueError, match=name):
            api.allocate_power(**{**POWER, name: value})

    @pytest.mark.parametrize(("name", "value"), [
        ("front_flop", [-1.0, 1.0]), ("front_flop", [NAN, 1.0]), ("front_flop", [INF, 1.0]),
        ("speed_flop_s", [0.0, 1.0]), ("speed_flop_s", [-1.0, 1.0]), ("speed_flop_s", [NAN, 1.0]),
        ("speed_flop_s", [1.0]), ("capacity_flop_s", 0.0), ("capacity_flop_s", -1.0), ("capacity_flop_s", NAN),
        ("back_flop", [-1.0, 1.0]), ("back_flop", [NAN, 1.0]), ("back_flop", [1.0]),
    ])  # fmt: skip
    def test_pool_and_twins(self, name, value):
        with pytest.raises(ValueError, match=name):
            api.share_pool(**{**POOL, name: value})
        with pytest.raises(ValueError, match=name):
            api.choose_twins(**{**CHOICE, name: value})

    @pytest.mark.parametrize("twin", [[True], [0.5, 1.0], [0, 2], [[True, False]]])
    def test_who_has_a_twin(self, twin):
        with pytest.raises(ValueError, match="twin"):
            api.share_pool(**{**POOL, "twin": twin})
        with pytest.raises(ValueError, match="twin"):
            api.bisect_frequency([1e9, 2e9], [1e9, 1e9], twin, 1e10)
        with pytest.raises(ValueError, match="twin"):
            api.search_cuts([[1e9], [2e9]], [1e9, 1e9], twin, [0.0, 0.0])

    @pytest.mark.parametrize("sync_s", [[-1.0, 1.0], [NAN, 1.0], [1.0]])
    def test_synchronisation(self, sync_s):
        with pytest.raises(ValueError, match="sync_s"):
            api.choose_twins(**{**CHOICE, "sync_s": sync_s})

    @pytest.mark.parametrize("limit", [NAN, -1.0, [NAN, 1.0], [1.0, 1.0, 1.0]])
    def test_threshold(self, limit):
        with pytest.raises(ValueError, match="compute_delay_max_s"):
            api.threshold_twins([1e9, 2e9], [1e9, 1e9], limit)

    @pytest.mark.parametrize(("name", "value"), [
        ("front_flop", [1e9, 2e9]), ("front_flop", np.zeros((2, 0))), ("front_flop", [[NAN], [1.0]]),
        ("speed_flop_s", [1e9]), ("speed_flop_s", [0.0, 1e9]), ("twin_boost_flop_s", [-1.0, 0.0]),
        ("twin_boost_flop_s", [NAN, 0.0]),
    ])  # fmt: skip
    def test_cuts(self, name, value):
        arguments: dict[str, Any] = {
            "front_flop": [[1e9, 2e9], [1e9, 3e9]], "speed_flop_s": [1e9, 1e9], "twin": [True, False],
            "twin_boost_flop_s": [0.0, 0.0],
        }  # fmt: skip
        assert api.search_cuts(**arguments).tolist() == [1, 1]
        with pytest.raises(ValueError, match=name):
            api.search_cuts(**{**arguments, name: value})

    @pytest.mark.parametrize(
        "quadratic",
        [np.zeros((2, 3)), np.zeros(4), np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 1j], [1j, 1.0]]),
         np.full((2, 2), NAN), np.diag([INF, 1.0])],
        ids=["not square", "flat", "not symmetric", "not Hermitian", "NaN", "infinite"],
    )  # fmt: skip
    @pytest.mark.parametrize("method", ["sdr", "ca", "random"])
    def test_quadratic(self, quadratic, method):
        with pytest.raises(ValueError, match="quadratic"):
            api.optimise_phases(quadratic, method=method)

    @pytest.mark.parametrize(("name", "value"), [
        ("method", "best"), ("samples", 0), ("samples", 1.5), ("gap", 0.0), ("gap", -1e-3), ("gap", NAN),
        ("reference", "GUROBI"), ("seed", -1), ("seed", 0.5),
    ])  # fmt: skip
    def test_ways(self, name, value):
        with pytest.raises(ValueError, match=name):
            api.optimise_phases(np.eye(3), **{name: value})

    @pytest.mark.parametrize(("name", "value"), [
        ("ap_irs", np.ones(3)), ("ap_irs", np.ones((2, 3))), ("ap_irs", np.full((3, 2), NAN)),
        ("irs_ud", np.full((4, 3), NAN)), ("irs_ud", np.ones((4, 2))), ("uplink", "sideways"),
    ])  # fmt: skip
    def test_links(self, name, value):
        with pytest.raises(ValueError, match=name):
            api.phase_quadratic(**{**LINKS, name: value})
        with pytest.raises(ValueError, match=name):
            api.link_gains(np.ones(3), **{**LINKS, name: value})

    def test_weights_phases_and_ways_back(self):
        for weights in ([1.0], [NAN] * 4, np.ones((4, 1))):
            for name in ("weight_dl", "weight_ul"):
                with pytest.raises(ValueError, match=name):
                    api.phase_quadratic(**{**LINKS, name: weights})
        for phase in (np.ones(2), np.ones((3, 1)), np.full(3, NAN)):
            with pytest.raises(ValueError, match="phase"):
                api.link_gains(phase, **LINKS)
        for irs_ap in (None, np.ones((3, 2))):
            with pytest.raises(ValueError, match="irs_ap"):
                api.phase_quadratic(**LINKS, uplink="independent", irs_ap=irs_ap)
            with pytest.raises(ValueError, match="irs_ap"):
                api.link_gains(np.ones(3), **LINKS, uplink="independent", irs_ap=irs_ap)


class TestReference:
    """The reference solutions with CVXPY."""

    def test_missing_cvxpy_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "cvxpy", None)
        message = r"pip install 'edge-envs\[reference\]'"
        with pytest.raises(ImportError, match=message):
            reference_cvxpy.power(*random_power(1))
        with pytest.raises(ImportError, match=message):
            reference_cvxpy.pool(*random_pool(1))
        with pytest.raises(ImportError, match=message):
            reference_cvxpy.phases(random_quadratic(1, 3))
        with pytest.raises(ImportError, match=message):
            api.allocate_power(**POWER, reference=True)
        with pytest.raises(ImportError, match=message):
            api.share_pool(**POOL, reference=True)
        with pytest.raises(ImportError, match=message):
            api.optimise_phases(np.eye(3), reference="SCS")

    def test_a_solver_that_fails_says_so(self):
        cp = pytest.importorskip("cvxpy")
        x = cp.Variable()
        with pytest.raises(RuntimeError, match="CLARABEL found no solution: infeasible"):
            reference_cvxpy._solve(cp.Problem(cp.Minimize(x), [x >= 1.0, x <= 0.0]), "CLARABEL")
        with pytest.raises(RuntimeError, match="SCS found no solution: infeasible"):
            reference_cvxpy._solve(cp.Problem(cp.Minimize(x), [cp.norm(cp.vstack([x, 1.0])) <= 0.5]), "SCS")

    def test_nothing_to_solve(self):
        pytest.importorskip("cvxpy")
        none = np.zeros(2)
        assert reference_cvxpy.power(np.ones(2), none, 1.0, INF).tolist() == [0.0, 0.0]
        boost, back_end = reference_cvxpy.pool(np.ones(2), np.ones(2), np.array([False, False]), 1.0, none)
        assert boost.tolist() == back_end.tolist() == [0.0, 0.0]
        assert reference_cvxpy.phases(np.array([[2.0 + 0j]])).tolist() == [[1.0]]

    @pytest.mark.parametrize("solver", ["SCS", "CLARABEL"])
    @pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
    def test_both_forms_of_the_relaxation(self, solver, scale):
        """Primal and dual have the same solution, at any scale."""
        pytest.importorskip("cvxpy")
        quadratic = scale * random_quadratic(3, 6, users=10, antennas=4, decades=1.0)
        values = [
            reference_phases.feasible_value(quadratic, reference_cvxpy.phases(quadratic, solver, form))
            for form in ("primal", "dual")
        ]
        assert values[0] == pytest.approx(values[1], rel=1e-6)
        assert values[0] == pytest.approx(api.optimise_phases(quadratic).relaxed, rel=1e-6)
