"""The exact solutions of Problems 3, 4 and 1 at the edges: one device, equal ones, extreme scales, refusals."""

import math
from typing import Any

import numpy as np
import pytest

from edge_envs.semcom.solvers import api
from edge_envs.semcom.solvers.api import Allocation, InfeasibleError
from edge_envs.semcom.solvers.problem import Problem
from tests.semcom.solvers import reference_solvers as oracle
from tests.semcom.solvers.problems import (
    NOISE_W_PER_HZ,
    random_problem,
    random_rates,
    random_upload_times,
    shortest_computing,
    shortest_uploads,
    tight_start,
)

ARRAYS = Problem._fields[:8]
SCALARS = Problem._fields[8:]
FEASIBLE = 1e-9


def ordinary(n: int, **changes: Any) -> Problem:
    """Like devices in the middle of the ranges; no need for SNR."""
    values: dict[str, Any] = {
        "bits": np.full(n, 6.4e6), "gain": np.full(n, 1e-10), "snr_min": np.zeros(n),
        "device_cycles": np.full(n, 6.4e7), "server_cycles": np.full(n, 1.28e8), "power_max_w": np.full(n, 0.1),
        "device_frequency_max_hz": np.full(n, 1e9), "server_frequency_max_hz": np.full(n, 5e9),
        "bandwidth_hz": n * 0.4e6, "noise_w_per_hz": NOISE_W_PER_HZ, "device_energy_coefficient": 1e-28,
        "server_energy_coefficient": 1e-28, "weight_time": 0.5, "weight_energy": 0.5,
    }  # fmt: skip
    return Problem(**{**values, **changes})


def assert_optimal(problem: Problem, found: Allocation, tolerance: float = 1e-8) -> None:
    """Feasible, costed right, and proven by the dual function to be within the tolerance of the best."""
    cost = oracle.evaluate(
        problem, found.power_w, found.bandwidth_hz, found.device_frequency_hz, found.server_frequency_hz
    )
    assert cost.violation <= FEASIBLE
    assert found.objective == pytest.approx(cost.objective, rel=1e-12)
    bound = oracle.dual_bound(problem, found.time_price, found.bandwidth_price)
    assert bound * (1.0 - 1e-12) <= found.objective <= bound * (1.0 + tolerance)
    assert 0.0 <= found.gap <= tolerance


class TestOneDevice:
    """Nothing to share: one device against a search, and against what can be said without one."""

    @pytest.mark.parametrize("seed", range(0, 60, 5))
    def test_all_three_problems(self, seed):
        problem = random_problem(seed, 1)
        assert_optimal(problem, api.solve_joint(problem))
        assert api.solve_joint(problem).objective == pytest.approx(oracle.solve_joint(problem).objective, rel=1e-8)
        upload_s = random_upload_times(problem, seed)
        assert api.solve_p3(problem, upload_s).objective == pytest.approx(
            oracle.solve_p3(problem, upload_s)[0], rel=1e-12
        )

    def test_takes_the_whole_band_and_its_price_is_the_delay_s_weight(self):
        problem = ordinary(1)
        found = api.solve_joint(problem)
        assert found.bandwidth_hz[0] == pytest.approx(problem.bandwidth_hz, rel=1e-8)
        assert found.time_price[0] == pytest.approx(problem.weight_time, rel=1e-9)
        # Uncapped, both clocks run at the cube root of price over 2 w2 kappa.
        clock = (problem.weight_time / (2.0 * problem.weight_energy * 1e-28)) ** (1 / 3)
        assert clock > problem.device_frequency_max_hz[0]
        assert found.device_frequency_hz[0] == pytest.approx(1e9, rel=1e-12)
        assert found.server_frequency_hz[0] == pytest.approx(clock, rel=1e-6)

    def test_least_rate_takes_the_whole_band_and_one_power(self):
        """With one device Problem 4 has a closed form: all the band, and the power that the rate takes there."""
        problem = ordinary(1)
        found = api.solve_p4(problem, np.array([2e6]))
        assert found.bandwidth_hz[0] == pytest.approx(0.4e6, rel=1e-12)
        power = NOISE_W_PER_HZ * 0.4e6 / 1e-10 * (2.0 ** (2e6 / 0.4e6) - 1.0)
        assert found.power_w[0] == pytest.approx(power, rel=1e-9)
        assert found.objective == pytest.approx(0.5 * power * 6.4e6 / 2e6, rel=1e-9)

    def test_least_snr_leaves_band_over(self):
        """The same device with a need for SNR: the band at which the rate just meets it, and no price."""
        problem = ordinary(1, snr_min=np.array([255.0]))
        found = api.solve_p4(problem, np.array([2e6]))
        assert found.bandwidth_hz[0] == pytest.approx(2e6 / 8.0, rel=1e-12)
        assert found.power_w[0] == pytest.approx(255.0 * NOISE_W_PER_HZ * 0.25e6 / 1e-10, rel=1e-12)
        assert found.bandwidth_price == 0.0


class TestEqualDevices:
    """Identical devices get identical answers."""

    @pytest.mark.parametrize("n", [2, 7, 50])
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"snr_min": 1e4},
            {"power_max_w": 1e-4},
            {"power_max_w": 1e-4, "snr_min": 1e3},
            {"device_frequency_max_hz": 1e8, "server_frequency_max_hz": 3e8},
        ],
        ids=["free", "snr", "power", "power and snr", "caps"],
    )
    def test_get_the_same(self, n, changes):
        problem = ordinary(n, **{name: np.full(n, value) for name, value in changes.items()})
        found = api.solve_joint(problem)
        assert_optimal(problem, found)
        for part in (
            found.power_w, found.bandwidth_hz, found.device_frequency_hz, found.server_frequency_hz, found.upload_s
        ):  # fmt: skip
            np.testing.assert_allclose(part, part[0], rtol=1e-6)
        # One of n like devices has the n-th part of the band and of the delay's weight.
        one = ordinary(1, **{name: np.array([value]) for name, value in changes.items()})
        alone = api.solve_joint(one._replace(weight_time=0.5 / n))
        assert found.delay_s == pytest.approx(alone.delay_s, rel=1e-6)
        assert found.objective == pytest.approx(n * alone.objective, rel=1e-8)

    def test_share_the_time_s_price_where_all_set_the_delay(self):
        """Every device is at its shortest round: prices of time are not unique, but they add up and certify."""
        problem = ordinary(4, snr_min=np.full(4, 1e5), weight_time=0.999, weight_energy=0.001, bandwidth_hz=1e9)
        found = api.solve_joint(problem)
        assert found.delay_s == pytest.approx((shortest_uploads(problem) + shortest_computing(problem))[0], rel=1e-9)
        assert found.time_price.sum() == pytest.approx(0.999, rel=1e-9)
        assert_optimal(problem, found)

    def test_links_and_computing_too(self):
        problem = ordinary(6)
        link = api.solve_p4(problem, np.full(6, 1e6))
        np.testing.assert_allclose(link.bandwidth_hz, 0.4e6, rtol=1e-9)
        computing = api.solve_p3(problem, np.full(6, 0.3))
        np.testing.assert_allclose(computing.time_price, 0.5 / 6, rtol=1e-9)


class TestInvariance:
    """What the problem does not depend on, the solution must not either."""

    @pytest.mark.parametrize("seed", range(3, 40, 6))
    def test_order_of_devices(self, seed):
        problem = random_problem(seed, 5)
        order = np.random.default_rng(seed).permutation(5)
        turned = api.solve_joint(problem._replace(**{name: getattr(problem, name)[order] for name in ARRAYS}))
        found = api.solve_joint(problem)
        assert turned.objective == pytest.approx(found.objective, rel=1e-9)
        np.testing.assert_allclose(turned.sensitivity, found.sensitivity[order], rtol=1e-5)

    @pytest.mark.parametrize("factor", [1e-6, 1e-2, 1e3, 1e6])
    @pytest.mark.parametrize("seed", [2, 8, 16, 24])
    def test_unit_of_cost(self, seed, factor):
        """Both weights times a factor: the same allocation, and cost and prices times it."""
        problem = random_problem(seed)
        scaled = problem._replace(
            weight_time=factor * problem.weight_time, weight_energy=factor * problem.weight_energy
        )
        found, other = api.solve_joint(problem), api.solve_joint(scaled)
        assert other.objective == pytest.approx(factor * found.objective, rel=1e-9)
        assert other.delay_s == pytest.approx(found.delay_s, rel=1e-7)
        assert other.bandwidth_price == pytest.approx(factor * found.bandwidth_price, rel=1e-6)

    @pytest.mark.parametrize("factor", [1e-9, 1e-3, 1e3, 1e9])
    @pytest.mark.parametrize("seed", [2, 8, 16, 24])
    def test_unit_of_bandwidth(self, seed, factor):
        """Bits and hertz counted in another unit, noise to match: the same times, powers and cost."""
        problem = random_problem(seed)
        scaled = problem._replace(
            bits=factor * problem.bits,
            bandwidth_hz=factor * problem.bandwidth_hz,
            noise_w_per_hz=problem.noise_w_per_hz / factor,
        )
        found, other = api.solve_joint(problem), api.solve_joint(scaled)
        assert other.objective == pytest.approx(found.objective, rel=1e-9)
        assert other.bandwidth_price * factor == pytest.approx(found.bandwidth_price, rel=1e-6)

    def test_entries_may_be_lists_or_integers(self):
        problem = ordinary(3)
        numbers: dict[str, Any] = {"bits": [6_400_000] * 3, "device_cycles": np.full(3, 64_000_000)}
        given = problem._replace(**numbers)
        assert api.solve_joint(given).objective == api.solve_joint(problem).objective

    def test_inputs_stay_as_they_were(self):
        problem = random_problem(4)
        before = [np.copy(part) for part in problem]
        rates = random_rates(problem, 4)
        api.solve_joint(problem)
        api.solve_p3(problem, np.ones(len(problem.bits)))
        api.solve_p4(problem, rates)
        for part, kept in zip(problem, before, strict=True):
            np.testing.assert_array_equal(part, kept)


class TestNoNeedForSnr:
    """A least SNR of zero is no limit."""

    @pytest.mark.parametrize("seed", range(1, 30, 4))
    def test_like_a_tiny_one(self, seed):
        problem = random_problem(seed)
        n = len(problem.bits)
        without = api.solve_joint(problem._replace(snr_min=np.zeros(n)))
        tiny = api.solve_joint(problem._replace(snr_min=np.full(n, 1e-9)))
        assert without.objective == pytest.approx(tiny.objective, rel=1e-8)
        assert without.bandwidth_price > 0.0
        # Somebody always has a use for more band.
        assert without.bandwidth_hz.sum() == pytest.approx(problem.bandwidth_hz, rel=1e-7)


class TestScales:
    """Gains over many decades at once, and sizes far from the paper's."""

    @pytest.mark.parametrize("decades", [4, 8, 12])
    @pytest.mark.parametrize("need", [0.0, 3.0, 1e4])
    def test_gains_over_decades(self, decades, need):
        n = 9
        problem = ordinary(n, gain=10.0 ** np.linspace(-15.0, -15.0 + decades, n), snr_min=np.full(n, need))
        found = api.solve_joint(problem)
        assert_optimal(problem, found)
        assert (np.diff(found.sensitivity) <= 1e-9 * found.objective).all()

    @pytest.mark.parametrize(
        "changes",
        [
            {"bandwidth_hz": 1.0},
            {"bandwidth_hz": 1e13},
            {"bits": np.array([1.0, 1e3, 1e12])},
            {"device_cycles": np.array([1.0, 1e7, 1e13])},
            {"power_max_w": np.array([1e-9, 1e-3, 1e4])},
            {"server_frequency_max_hz": np.array([1e3, 1e9, 1e13])},
            {"device_energy_coefficient": 1e-40},
            {"server_energy_coefficient": 1e-18},
            {"snr_min": np.array([1e-12, 1e12, 0.0])},
            {"noise_w_per_hz": 1e-12},
        ],
        ids=lambda changes: next(iter(changes)),
    )
    def test_sizes_far_off(self, changes):
        problem = ordinary(3, gain=np.array([1e-8, 1e-10, 1e-12]), **changes)
        assert_optimal(problem, api.solve_joint(problem), tolerance=1e-6)

    @pytest.mark.parametrize("weight_time", [1e-9, 1e-6, 1e-3, 1.0 - 1e-3, 1.0 - 1e-6, 1.0 - 1e-9])
    @pytest.mark.parametrize("seed", [2, 7, 16, 18, 24])
    def test_one_sided_weights(self, weight_time, seed):
        """Next to no weight on one side: still certified, and on the right side of the even weights' answer."""
        problem = random_problem(seed, weight_time=weight_time, weight_energy=1.0 - weight_time)
        found = api.solve_joint(problem)
        assert_optimal(problem, found)
        even = api.solve_joint(problem._replace(weight_time=0.5, weight_energy=0.5))
        if weight_time < 0.5:
            assert found.delay_s >= even.delay_s * (1.0 - 1e-9)
        else:
            assert found.delay_s <= even.delay_s * (1.0 + 1e-9)

    def test_time_alone_ends_at_the_shortest_delay(self):
        problem = random_problem(14, weight_time=1.0, weight_energy=1e-12)
        assert api.solve_joint(problem).delay_s == pytest.approx(oracle.least_delay(problem), rel=1e-6)


class TestAtTheBrink:
    """Just this side of what can be had, and just the other side."""

    @pytest.mark.parametrize("seed", [1, 2, 5, 6, 11, 15, 17])
    def test_rates_that_take_all_power_and_band(self, seed):
        """Rates of all devices at full power on a split of the whole band: had, and a little more refused."""
        problem = random_problem(seed)
        n = len(problem.bits)
        share = np.random.default_rng(seed).dirichlet(np.full(n, 4.0)) * problem.bandwidth_hz
        snr = problem.power_max_w * problem.gain / (problem.noise_w_per_hz * share)
        problem = problem._replace(snr_min=np.minimum(problem.snr_min, 0.5 * snr))
        rates = share * np.log1p(snr) / math.log(2.0)
        found = api.solve_p4(problem, rates * (1.0 - 1e-9))
        np.testing.assert_allclose(found.bandwidth_hz, share, rtol=1e-3)
        np.testing.assert_allclose(found.power_w, problem.power_max_w, rtol=1e-3)
        assert (found.power_w <= problem.power_max_w * (1.0 + FEASIBLE)).all()
        assert found.bandwidth_hz.sum() <= problem.bandwidth_hz * (1.0 + FEASIBLE)
        with pytest.raises(InfeasibleError, match="Hz"):
            api.solve_p4(problem, rates * (1.0 + 1e-9))

    def test_band_just_enough_to_be_free(self):
        """The band that all want at no price, to the last hertz, a little less of it, and a little more."""
        problem = ordinary(3, gain=np.array([1e-12, 1.1e-12, 1.2e-12]), snr_min=np.full(3, 1e4))
        wanted = float((problem.power_max_w * problem.gain / (NOISE_W_PER_HZ * problem.snr_min)).sum())
        objectives = []
        for factor in (0.7, 1.0 - 1e-9, 1.0, 1.0 + 1e-9, 2.0):
            tried = problem._replace(bandwidth_hz=wanted * factor)
            found = api.solve_joint(tried)
            assert_optimal(tried, found)
            objectives.append(found.objective)
            assert (found.bandwidth_price == 0.0) == (factor > 1.0) or factor == 1.0
        assert objectives[0] > objectives[1] * (1.0 + 1e-3)
        np.testing.assert_allclose(objectives[1:], objectives[-1], rtol=1e-8)

    def test_no_time_left_for_uploads(self):
        """Problem 3 with uploads of no length at all: the computing is all there is."""
        problem = ordinary(2)
        found = api.solve_p3(problem, np.zeros(2))
        assert found.objective == pytest.approx(oracle.solve_p3(problem, np.zeros(2))[0], rel=1e-12)

    def test_one_upload_far_longer_than_the_rest(self):
        """The slow one runs as fast as it may, the others all but stand still, and the prices say so."""
        problem = ordinary(3, weight_time=0.99, weight_energy=0.01)
        found = api.solve_p3(problem, np.array([1e-3, 1e6, 1e-3]))
        assert found.time_price[1] == pytest.approx(0.99, rel=1e-9)
        assert found.device_frequency_hz[0] < 1e3 < 0.9e9 < found.device_frequency_hz[1]
        assert 0.0 <= found.gap <= 1e-12


class TestRefusals:
    """What is no problem at all is refused with the field, and the device where there is one."""

    # A required SNR may be zero. One that no link can reach is infeasible, not a wrong argument.
    @pytest.mark.parametrize(
        ("name", "bad"),
        [(name, bad) for name in ARRAYS for bad in (0.0, -1.0, math.nan, math.inf)
         if name != "snr_min" or bad not in (0.0, math.inf)],
    )  # fmt: skip
    def test_bad_entry(self, name, bad):
        problem = random_problem(3)
        entries = getattr(problem, name).copy()
        entries[2] = bad
        problem = problem._replace(**{name: entries})
        n = len(entries)
        for solve in (
            lambda: api.solve_joint(problem),
            lambda: api.solve_p3(problem, np.ones(n)),
            lambda: api.solve_p4(problem, np.ones(n)),
            lambda: api.diagnose(problem),
        ):
            with pytest.raises(ValueError, match=rf"{name}\[2\]") as refusal:
                solve()
            assert not isinstance(refusal.value, InfeasibleError)

    @pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
    @pytest.mark.parametrize("name", SCALARS)
    def test_bad_number(self, name, bad):
        with pytest.raises(ValueError, match=name):
            api.solve_joint(random_problem(3)._replace(**{name: bad}))

    @pytest.mark.parametrize("name", ARRAYS[1:])
    def test_wrong_length(self, name):
        problem = random_problem(3)
        with pytest.raises(ValueError, match=rf"{name} has shape \(4,\), expected \(5,\)"):
            api.solve_joint(problem._replace(**{name: getattr(problem, name)[:4]}))

    def test_no_devices(self):
        empty = ordinary(1, **{name: np.empty(0) for name in ARRAYS})
        with pytest.raises(ValueError, match="bits"):
            api.solve_joint(empty)

    @pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
    def test_bad_times_and_rates(self, bad):
        problem, entries = ordinary(3), np.array([1.0, bad, 1.0])
        with pytest.raises(ValueError, match=r"upload_s\[1\]"):
            api.solve_p3(problem, entries)
        with pytest.raises(ValueError, match=r"rate_min_bps\[1\]"):
            api.solve_p4(problem, entries)
        with pytest.raises(ValueError, match="upload_s"):
            api.solve_p3(problem, np.ones(2))
        with pytest.raises(ValueError, match="rate_min_bps"):
            api.solve_p4(problem, np.ones(4))

    @pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
    def test_bad_deadline(self, bad):
        for call in (api.solve_joint, api.diagnose):
            with pytest.raises(ValueError, match="deadline_s"):
                call(ordinary(2), bad)

    @pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
    def test_bad_start(self, bad):
        problem, power, band, rates = tight_start(random_problem(3), 3)
        second = np.arange(5) == 1
        with pytest.raises(ValueError, match=r"power_w\[1\]"):
            api.algorithm_2(problem, rates, np.where(second, bad, power), band)
        with pytest.raises(ValueError, match=r"bandwidth_hz\[1\]"):
            api.algorithm_2(problem, rates, power, np.where(second, bad, band))

    @pytest.mark.parametrize("need", [math.inf, 1e300])
    def test_snr_that_no_link_has(self, need):
        """Named by device, in the error and in the diagnosis alike, with and without a deadline."""
        problem = random_problem(4, snr_min=np.array([0.0, 1.0, need, 1.0, need, 0.0, 0.0, 0.0, 0.0, 0.0]))
        for deadline_s in (math.inf, 10.0):
            causes = api.diagnose(problem, deadline_s)
            assert {(cause.device, cause.constraint) for cause in causes} >= {(2, "snr_min"), (4, "snr_min")}
            with pytest.raises(InfeasibleError, match="device 2 needs an SNR") as refusal:
                api.solve_joint(problem, deadline_s)
            assert refusal.value.infeasibilities == causes
        with pytest.raises(InfeasibleError) as refusal:
            api.solve_p4(problem, np.ones(10))
        assert [cause.device for cause in refusal.value.infeasibilities] == [2, 4]
        assert math.isfinite(api.solve_p3(problem, np.ones(10)).objective)

    def test_feasible_means_no_diagnosis(self):
        for seed in range(20):
            assert api.diagnose(random_problem(seed)) == ()
