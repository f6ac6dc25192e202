"""The references of the solvers' tests against each other, and the random instances against what they are to cover."""

import numpy as np
import pytest

from tests.semcom.solvers import reference_convex as general
from tests.semcom.solvers import reference_solvers as oracle
from tests.semcom.solvers.problems import (
    INSTANCES,
    RARE,
    activity,
    block,
    random_problem,
    random_rates,
    random_upload_times,
    solved,
)
from tests.semcom.solvers.reference_convex import near
from tests.semcom.solvers.reference_solvers import relative


class TestReferences:
    """The searches and the general solvers against each other, before anything is held against them."""

    @pytest.mark.parametrize("seed", range(0, 40, 2))
    def test_search_and_cvxpy_agree_on_computing(self, seed):
        pytest.importorskip("cvxpy")
        problem = random_problem(seed)
        upload_s = random_upload_times(problem, seed)
        value = oracle.solve_p3(problem, upload_s)[0]
        assert abs(relative(general.p3_by_cvxpy(problem, upload_s), value)) <= 1e-8

    @pytest.mark.parametrize("seed", [0, 2, 4, 5, 6, 7, 10, 11, 13, 15, 16, 17, 18, 19, 21, 22, 23, 26, 28, 30])
    def test_search_and_cvxpy_agree_on_links(self, seed):
        pytest.importorskip("cvxpy")
        problem = random_problem(seed)
        rates = random_rates(problem, seed)
        found = oracle.solve_p4(problem, rates)
        assert found is not None
        value, band = general.p4_by_cvxpy(problem, rates)
        assert abs(relative(value, found[0])) <= 1e-8
        assert band.sum() <= problem.bandwidth_hz * (1.0 + 1e-8)

    @pytest.mark.parametrize("seed", [1, 3, 12, 20, 25, 27, 34, 37])
    def test_search_and_cvxpy_agree_that_links_cannot(self, seed):
        pytest.importorskip("cvxpy")
        problem = random_problem(seed)
        rates = random_rates(problem, seed)
        assert oracle.solve_p4(problem, rates) is None
        with pytest.raises(RuntimeError, match="infeasible"):
            general.p4_by_cvxpy(problem, rates)

    @pytest.mark.parametrize("seed", range(1, 24))
    def test_search_and_cvxpy_agree_jointly(self, seed):
        """The search's two bounds meet, and Clarabel ends there too (it meets its own tolerance on most only)."""
        pytest.importorskip("cvxpy")
        problem = random_problem(seed)
        searched = oracle.solve_joint(problem)
        assert -1e-11 <= relative(searched.objective, searched.lower_bound) <= 1e-11
        conic = general.joint_by_cvxpy(problem, near(searched, seed, 0.5))
        assert abs(relative(conic.objective, searched.objective)) <= 1e-6

    @pytest.mark.parametrize("seed", [seed for seed in range(40) if seed % 5 < 3])
    def test_search_and_slsqp_agree_jointly(self, seed):
        problem = random_problem(seed)
        searched = oracle.solve_joint(problem)
        starts = [near(searched, 3 * seed + k, spread) for k, spread in enumerate((0.5, 1.0, 1.0))]
        best = general.joint_by_slsqp(problem, starts)
        assert abs(relative(best.objective, searched.objective)) <= 1e-8

    @pytest.mark.parametrize("seed", range(0, 30, 2))
    def test_dual_bound_tells_wrong_prices(self, seed):
        """Any prices bound the objective from below; prices a tenth off do so visibly less well."""
        problem, found = solved(seed)
        best = oracle.dual_bound(problem, found.time_price, found.bandwidth_price)
        rng = np.random.default_rng(seed)
        moved = found.time_price * np.exp(rng.uniform(-0.3, 0.3, len(found.time_price)))
        for time_price, band_price in ((moved, found.bandwidth_price), (found.time_price, 1.2 * found.bandwidth_price)):
            assert oracle.dual_bound(problem, time_price, band_price) <= best * (1.0 + 1e-13)
        if found.bandwidth_price * problem.bandwidth_hz > 0.01 * best:
            assert oracle.dual_bound(problem, found.time_price, 1.5 * found.bandwidth_price) < best * (1.0 - 1e-6)


class TestInstances:
    """What the random instances are worth."""

    def test_everything_that_can_bind_does(self):
        seen: dict[str, int] = {}
        for seed in (*range(INSTANCES), *RARE):
            problem, found = solved(seed)
            for name in activity(
                problem, found.power_w, found.bandwidth_hz, found.device_frequency_hz, found.server_frequency_hz
            ):
                seen[name] = seen.get(name, 0) + 1
        wanted = {
            "band slack": 15, "shortest delay": 25,
            "free / no cap": 60, "free / device cap": 40, "free / both caps": 5, "free / server cap": 2,
            "snr / no cap": 60, "snr / device cap": 3, "snr / both caps": 2, "snr / server cap": 1,
            "power / no cap": 10, "power / device cap": 80, "power / both caps": 40,
            "power and snr / no cap": 30, "power and snr / device cap": 40, "power and snr / both caps": 20,
        }  # fmt: skip
        short = {name: (seen.get(name, 0), least) for name, least in wanted.items() if seen.get(name, 0) < least}
        assert not short, seen

    def test_a_third_of_the_rates_cannot_be_had(self):
        """Enough of both kinds for the feasibility flag to be tested."""
        refused = sum(
            oracle.solve_p4(problem, random_rates(problem, seed)) is None for seed, problem in block(0, INSTANCES)
        )
        assert INSTANCES / 10 <= refused <= INSTANCES / 2
