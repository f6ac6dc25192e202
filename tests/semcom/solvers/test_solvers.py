"""The exact solutions of Problems 3, 4 and 1 against searches, general solvers and their own certificates."""

import math

import numpy as np
import pytest

from edge_envs.semcom.solvers import api
from edge_envs.semcom.solvers.api import Allocation, InfeasibleError
from edge_envs.semcom.solvers.problem import Problem
from tests.semcom.solvers import reference_convex as general
from tests.semcom.solvers import reference_solvers as oracle
from tests.semcom.solvers.problems import (
    BLOCKS,
    INSTANCES,
    LENGTH,
    RARE,
    Floats,
    block,
    random_problem,
    random_rates,
    random_upload_times,
    shortest_computing,
    shortest_uploads,
    solved,
    tight_start,
)
from tests.semcom.solvers.reference_convex import near
from tests.semcom.solvers.reference_solvers import relative

FEASIBLE = 1e-9
REFERENCE = 1e-11
"""How far the searches' own two bounds may be apart"""
GAP, MOSTLY = 1e-8, 1e-9
"""Largest duality gap on these instances and that of 99 in 100; what is promised for any is 1e-6"""

in_blocks = pytest.mark.parametrize("number", range(BLOCKS))


def evaluated(problem: Problem, found: Allocation) -> oracle.Evaluation:
    """What an allocation costs, worked out device by device."""
    return oracle.evaluate(
        problem, found.power_w, found.bandwidth_hz, found.device_frequency_hz, found.server_frequency_hz
    )


class TestComputing:
    """Problem 3: frequencies and delay at given upload times."""

    @in_blocks
    def test_against_search_and_dual(self, number):
        for seed, problem in block(number, LENGTH):
            upload_s = random_upload_times(problem, seed)
            found = api.solve_p3(problem, upload_s)
            value, delay_s, _, _ = oracle.solve_p3(problem, upload_s)
            assert abs(relative(found.objective, value)) <= 1e-12, seed
            # Where the cost is flat around the best delay, the search sees the delay less well than the cost.
            assert found.delay_s == pytest.approx(delay_s, rel=1e-6), seed
            self.assert_feasible(problem, upload_s, found, seed)
            bound = oracle.dual_bound_p3(problem, upload_s, found.time_price)
            assert 0.0 <= found.gap <= GAP, seed
            assert found.gap == pytest.approx(abs(relative(found.objective, found.lower_bound)), abs=1e-12), seed
            assert found.lower_bound == pytest.approx(bound, rel=1e-12), seed
            assert (found.time_price >= 0.0).all(), seed
            assert found.time_price.sum() == pytest.approx(problem.weight_time, rel=1e-9), seed

    @staticmethod
    def assert_feasible(problem: Problem, upload_s: Floats, found: api.ComputeAllocation, seed: int) -> None:
        """Caps hold, everybody is done at the delay exactly, and the objective is what all this costs."""
        device, server = found.device_frequency_hz, found.server_frequency_hz
        assert (device <= problem.device_frequency_max_hz * (1.0 + FEASIBLE)).all(), seed
        assert (server <= problem.server_frequency_max_hz * (1.0 + FEASIBLE)).all(), seed
        finish_s = upload_s + problem.device_cycles / device + problem.server_cycles / server
        np.testing.assert_allclose(finish_s, found.delay_s, rtol=FEASIBLE, err_msg=str(seed))
        joules = problem.device_energy_coefficient * problem.device_cycles @ device**2
        joules += problem.server_energy_coefficient * problem.server_cycles @ server**2
        cost = problem.weight_time * found.delay_s + problem.weight_energy * joules
        assert found.objective == pytest.approx(cost, rel=1e-12), seed

    @pytest.mark.parametrize("seed", range(41, 60, 3))
    def test_against_cvxpy(self, seed):
        pytest.importorskip("cvxpy")
        problem = random_problem(seed)
        upload_s = random_upload_times(problem, seed)
        found = api.solve_p3(problem, upload_s)
        assert abs(relative(found.objective, general.p3_by_cvxpy(problem, upload_s))) <= 1e-8


class TestLinks:
    """Problem 4: powers and bandwidths at given least rates."""

    @in_blocks
    def test_against_search_and_dual(self, number):
        for seed, problem in block(number, LENGTH):
            rates = random_rates(problem, seed)
            searched = oracle.solve_p4(problem, rates)
            if searched is None:
                self.assert_refused(problem, rates, seed)
                continue
            found = api.solve_p4(problem, rates)
            self.assert_feasible(problem, rates, found, seed)
            assert abs(relative(found.objective, searched[0])) <= 1e-10, seed
            bound = oracle.dual_bound_p4(problem, rates, found.bandwidth_price)
            assert 0.0 <= found.gap <= GAP, seed
            assert found.gap == pytest.approx(abs(relative(found.objective, found.lower_bound)), abs=1e-12), seed
            assert found.lower_bound == pytest.approx(bound, rel=1e-11), seed
            assert found.bandwidth_price >= 0.0, seed

    @staticmethod
    def assert_feasible(problem: Problem, rates: Floats, found: api.LinkAllocation, seed: int) -> None:
        """Rates, SNRs, power and band hold to rounding, and the objective is the energy that this takes."""
        caps = problem.device_frequency_max_hz, problem.server_frequency_max_hz
        cost = oracle.evaluate(problem, found.power_w, found.bandwidth_hz, *caps)
        assert cost.violation <= FEASIBLE, seed
        assert (cost.upload_s <= problem.bits / rates * (1.0 + FEASIBLE)).all(), seed
        assert found.objective == pytest.approx(problem.weight_energy * cost.transmit_energy_j, rel=1e-9), seed

    @staticmethod
    def assert_refused(problem: Problem, rates: Floats, seed: int) -> None:
        """The devices that cannot send so fast on their own are named, or else the shared band is."""
        alone: list[int | None] = []
        for n in range(len(rates)):
            one = problem._replace(**{name: getattr(problem, name)[n : n + 1] for name in problem._fields[:8]})
            if math.isinf(oracle.least_band(one, one.bits / rates[n : n + 1])):
                alone.append(n)
        with pytest.raises(InfeasibleError) as refusal:
            api.solve_p4(problem, rates)
        named = [cause.device for cause in refusal.value.infeasibilities]
        assert named == (alone if alone else [None]), seed
        for cause in refusal.value.infeasibilities:
            assert cause.message in str(refusal.value), seed

    @pytest.mark.parametrize("seed", [35, 36, 40, 41, 42, 43, 45, 46, 47, 50])
    def test_against_cvxpy(self, seed):
        pytest.importorskip("cvxpy")
        problem = random_problem(seed)
        rates = random_rates(problem, seed)
        value, _ = general.p4_by_cvxpy(problem, rates)
        assert abs(relative(api.solve_p4(problem, rates).objective, value)) <= 1e-7

    @in_blocks
    def test_algorithm_2_ends_there_too(self, number):
        """From a start whose rates are just those asked for, the paper's iteration ends at the exact optimum."""
        for seed in range(number * LENGTH, (number + 1) * LENGTH):
            problem, power_w, bandwidth_hz, rates = tight_start(random_problem(seed), seed)
            exact = api.solve_p4(problem, rates)
            refined = api.algorithm_2(problem, rates, power_w, bandwidth_hz)
            self.assert_feasible(problem, rates, refined, seed)
            assert refined.objective >= exact.objective * (1.0 - 1e-10), seed
            assert refined.objective == pytest.approx(exact.objective, rel=1e-6), seed
            assert refined.converged, seed
            assert refined.residual <= 1e-9, seed
            assert refined.iterations <= 60, seed

    @pytest.mark.parametrize("iterations", [1, 2])
    def test_algorithm_2_says_when_it_was_cut_short(self, iterations):
        """With fewer iterations than it takes, some starts are not there yet; all answers are feasible still."""
        converged = []
        for seed in range(30):
            problem, power_w, bandwidth_hz, rates = tight_start(random_problem(seed), seed)
            cut = api.algorithm_2(problem, rates, power_w, bandwidth_hz, iterations=iterations)
            self.assert_feasible(problem, rates, cut, seed)
            assert cut.iterations <= iterations, seed
            assert cut.converged == (cut.residual <= 1e-9), seed
            converged.append(cut.converged)
        assert 0 < sum(converged) < len(converged)


class TestJoint:
    """Problem 1 at given compression: everything at once."""

    @in_blocks
    def test_against_search(self, number):
        """The objective is the search's to the digits that the search has."""
        for seed in range(number * LENGTH, (number + 1) * LENGTH):
            problem, found = solved(seed)
            searched = oracle.solve_joint(problem)
            assert abs(relative(searched.objective, searched.lower_bound)) <= REFERENCE, seed
            assert -2 * REFERENCE <= relative(found.objective, searched.objective) <= GAP, seed
            assert found.lower_bound <= searched.objective * (1.0 + REFERENCE), seed

    @in_blocks
    def test_certificate(self, number):
        """Feasible, priced consistently, everybody done at the delay, and the bound is the dual function's value."""
        for seed in (*range(number * LENGTH, (number + 1) * LENGTH), *RARE):
            self.assert_certified(*solved(seed), label=str(seed))

    def test_gaps_are_mostly_smaller_yet(self):
        """The bound by itself leaves room for a solver that is good on easy instances only."""
        gaps = [solved(seed)[1].gap for seed in range(INSTANCES)]
        assert np.quantile(gaps, 0.99) <= MOSTLY
        assert np.median(gaps) <= 1e-11

    @staticmethod
    def assert_certified(problem: Problem, found: Allocation, label: str, deadline_s: float = math.inf) -> None:
        cost = evaluated(problem, found)
        assert cost.violation <= FEASIBLE, label
        assert found.objective == pytest.approx(cost.objective, rel=1e-12), label
        assert found.delay_s == pytest.approx(cost.delay_s, rel=1e-12), label
        assert found.delay_s <= deadline_s * (1.0 + 1e-12), label
        np.testing.assert_allclose(cost.finish_s, found.delay_s, rtol=FEASIBLE, err_msg=label)
        np.testing.assert_allclose(found.upload_s, cost.upload_s, rtol=FEASIBLE, err_msg=label)
        # The rounding of the delay counts with its price, which a tight deadline may drive up a thousandfold.
        rounding = 1e-12 * max(1.0, float(found.time_price.sum()) * found.delay_s / found.objective)
        assert 0.0 <= found.gap <= GAP, label
        assert found.gap == pytest.approx(abs(relative(found.objective, found.lower_bound)), abs=rounding), label
        bound = oracle.dual_bound(problem, found.time_price, found.bandwidth_price, deadline_s)
        assert found.lower_bound == pytest.approx(bound, rel=1e-11), label
        assert found.bandwidth_price >= 0.0, label
        assert (found.time_price >= 0.0).all(), label
        if math.isinf(deadline_s):
            assert found.time_price.sum() == pytest.approx(problem.weight_time, rel=1e-9), label
        energy_j = found.power_w * found.upload_s
        wanted = problem.weight_energy * energy_j + found.time_price * found.upload_s
        np.testing.assert_allclose(found.sensitivity, wanted, rtol=1e-9, err_msg=label)

    @pytest.mark.parametrize("seed", [60, 61, 62, 63, 67, 332, 813])
    def test_against_general_solvers(self, seed):
        pytest.importorskip("cvxpy")
        problem, found = solved(seed)
        searched = oracle.solve_joint(problem)
        conic = general.joint_by_cvxpy(problem, near(searched, seed, 0.5))
        assert abs(relative(found.objective, conic.objective)) <= 1e-6
        if len(problem.bits) <= 4:
            best = general.joint_by_slsqp(problem, [near(searched, 3 * seed + k, 1.0) for k in range(3)])
            assert abs(relative(found.objective, best.objective)) <= 1e-8

    @in_blocks
    def test_sensitivity_is_the_derivative(self, number):
        """Each device's entry is how the objective, solved again, changes with the logarithm of its number of bits."""
        step = 1e-3
        for seed in range(number * LENGTH, number * LENGTH + 12):
            problem, found = solved(seed)
            for n in range(len(problem.bits)):
                values = []
                for sign in (1.0, -1.0):
                    bits = problem.bits.copy()
                    bits[n] *= math.exp(sign * step)
                    values.append(api.solve_joint(problem._replace(bits=bits)).objective)
                slope = (values[0] - values[1]) / (2.0 * step)
                assert slope == pytest.approx(found.sensitivity[n], rel=1e-4, abs=1e-6 * found.objective), (seed, n)

    def test_never_above_the_paper_s_alternation(self):
        """Algorithm 3 with exact parts, from half the power and equal bands: never better, and mostly far worse."""
        excess = []
        for seed in range(INSTANCES):
            problem = random_problem(seed)
            power = 0.5 * problem.power_max_w
            band = np.full(len(power), problem.bandwidth_hz / len(power))
            snr = power * problem.gain / (problem.noise_w_per_hz * band)
            if (snr < problem.snr_min).any():
                continue
            excess.append(relative(self.alternated(problem, power, band), solved(seed)[1].objective))
        assert len(excess) >= 100
        assert min(excess) >= -GAP
        assert np.median(excess) >= 0.05

    @staticmethod
    def alternated(problem: Problem, power: Floats, band: Floats) -> float:
        """Objective after two passes over Problems 3 and 4."""
        for _ in range(2):
            snr = power * problem.gain / (problem.noise_w_per_hz * band)
            upload_s = problem.bits / (band * np.log1p(snr) / math.log(2.0))
            computing = api.solve_p3(problem, upload_s)
            device, server = computing.device_frequency_hz, computing.server_frequency_hz
            left_s = computing.delay_s - problem.device_cycles / device - problem.server_cycles / server
            # A second pass starts where the first has ended, on limits that its rounding may have crossed.
            link = api.solve_p4(problem, problem.bits / (left_s * (1.0 + 1e-12)))
            power, band = link.power_w, link.bandwidth_hz
        return oracle.evaluate(problem, power, band, device, server).objective

    @pytest.mark.parametrize(("size", "seed"), [(1000, 1), (1000, 2), (10_000, 4)])
    def test_many_devices(self, size, seed):
        problem = random_problem(seed, size)
        self.assert_certified(problem, api.solve_joint(problem), label=f"{size} devices")


class TestDeadline:
    """Problem 1 with an upper limit on the delay."""

    @in_blocks
    def test_binding(self, number):
        """Between the shortest possible delay and the best one the deadline is met exactly, at certified cost."""
        tested = 0
        for seed in range(number * LENGTH, number * LENGTH + 12):
            problem, free = solved(seed)
            shortest_s = oracle.least_delay(problem)
            for part in (0.05, 0.5, 0.95):
                deadline_s = shortest_s + part * (free.delay_s - shortest_s)
                if not shortest_s * (1.0 + 1e-6) < deadline_s < free.delay_s * (1.0 - 1e-6):
                    continue
                found = api.solve_joint(problem, deadline_s)
                label = f"{seed}, {part}"
                assert found.delay_s == pytest.approx(deadline_s, rel=1e-12), label
                TestJoint.assert_certified(problem, found, label, deadline_s)
                assert found.time_price.sum() >= problem.weight_time * (1.0 + 1e-9), label
                assert found.objective >= free.objective * (1.0 - GAP), label
                if len(problem.bits) <= 3:
                    searched = oracle.solve_joint(problem, deadline_s)
                    assert abs(relative(found.objective, searched.objective)) <= GAP, label
                tested += 1
        assert tested >= 10

    @pytest.mark.parametrize("seed", range(20, 32))
    def test_slack(self, seed):
        """A deadline that nobody feels changes nothing, and the prices of time add up to the delay's weight."""
        problem, free = solved(seed)
        found = api.solve_joint(problem, 1.01 * free.delay_s)
        assert found.objective == pytest.approx(free.objective, rel=GAP)
        assert found.time_price.sum() == pytest.approx(problem.weight_time, rel=1e-9)
        assert api.diagnose(problem, 1.01 * free.delay_s) == ()

    @in_blocks
    def test_out_of_reach(self, number):
        """Just below the shortest delay it is refused, just above it is not; who misses it alone is named."""
        for seed, problem in block(number, LENGTH):
            shortest_s = oracle.least_delay(problem)
            assert api.diagnose(problem, shortest_s * (1.0 + 1e-6)) == (), seed
            for factor in (1.0 - 1e-6, 0.7):
                self.assert_refused(problem, shortest_s * factor, seed)

    @staticmethod
    def assert_refused(problem: Problem, deadline_s: float, seed: int) -> None:
        """The devices that miss the deadline even with the whole band are named, or else the shared band is."""
        alone: list[int | None] = []
        for n in range(len(problem.bits)):
            one = problem._replace(**{name: getattr(problem, name)[n : n + 1] for name in problem._fields[:8]})
            if oracle.least_delay(one) > deadline_s:
                alone.append(n)
        with pytest.raises(InfeasibleError) as refusal:
            api.solve_joint(problem, deadline_s)
        causes = refusal.value.infeasibilities
        assert [cause.device for cause in causes] == (alone if alone else [None]), seed
        assert causes == api.diagnose(problem, deadline_s), seed
        for cause in causes:
            assert cause.message in str(refusal.value), seed

    @pytest.mark.parametrize("seed", [1, 3, 16, 22])
    def test_exactly_the_shortest_delay(self, seed):
        """A deadline that leaves the device that sets it nothing to choose: full power, least SNR and top speed."""
        problem = random_problem(seed)
        alone_s = shortest_uploads(problem) + shortest_computing(problem)
        last = int(alone_s.argmax())
        assert oracle.least_delay(problem) == pytest.approx(alone_s[last], rel=1e-9)
        found = api.solve_joint(problem, float(alone_s[last]) * (1.0 + 1e-9))
        assert found.delay_s == pytest.approx(alone_s[last], rel=2e-9)
        assert evaluated(problem, found).violation <= FEASIBLE
        assert found.power_w[last] == pytest.approx(problem.power_max_w[last], rel=1e-6)
        assert found.device_frequency_hz[last] == pytest.approx(problem.device_frequency_max_hz[last], rel=1e-3)
