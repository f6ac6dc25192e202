"""The package's references and those of the tests, against the exact solvers and each other; random instances."""

import sys

import numpy as np
import pytest

from edge_envs.semcom.solvers import api, reference_cvxpy, reference_slsqp
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
from tests.semcom.solvers.reference_solvers import evaluate, relative

ATTAINABLE = (0, 2, 6, 7, 10, 11, 16, 18, 26, 28)
"""Seeds of instances whose random rates can be had, and on which Clarabel meets its tolerance."""
UNATTAINABLE = (1, 3, 12, 20, 25, 27)
JOINTLY = (0, 1, 2, 5, 6, 7, 8, 10, 12, 15)


def cvxpy():
    """CVXPY, or a skipped test."""
    return pytest.importorskip("cvxpy")


@pytest.fixture(scope="module")
def compiled():
    cvxpy()
    return reference_cvxpy.CompiledReference()


class TestCompute:
    @pytest.mark.parametrize("seed", range(10))
    def test_equals_the_exact_solution(self, seed, compiled):
        problem = random_problem(seed)
        upload_s = random_upload_times(problem, seed)
        exact = api.solve_p3(problem, upload_s)
        for solve in (reference_cvxpy.solve_p3_cvxpy, compiled.solve_p3):
            found = solve(problem, upload_s)
            assert abs(relative(found.objective, exact.objective)) <= 2e-7
            finish_s = (
                upload_s + problem.device_cycles / found.device_frequency_hz
                + problem.server_cycles / found.server_frequency_hz
            )  # fmt: skip
            assert finish_s.max() <= found.delay_s * (1.0 + 1e-6)
            cost = problem.weight_time * found.delay_s + problem.weight_energy * (
                problem.device_energy_coefficient * problem.device_cycles @ found.device_frequency_hz**2
                + problem.server_energy_coefficient * problem.server_cycles @ found.server_frequency_hz**2
            )
            assert cost == pytest.approx(found.objective, rel=1e-6)


class TestLink:
    @pytest.mark.parametrize("seed", ATTAINABLE)
    def test_equals_the_exact_solution(self, seed, compiled):
        problem = random_problem(seed)
        rates = random_rates(problem, seed)
        exact = api.solve_p4(problem, rates)
        for solve in (reference_cvxpy.solve_p4_cvxpy, compiled.solve_p4):
            found = solve(problem, rates)
            assert abs(relative(found.objective, exact.objective)) <= 1e-6
            assert found.bandwidth_hz.sum() <= problem.bandwidth_hz * (1.0 + 1e-6)
            assert (found.power_w <= problem.power_max_w * (1.0 + 1e-6)).all()
            snr = found.power_w * problem.gain / (problem.noise_w_per_hz * found.bandwidth_hz)
            assert (snr >= problem.snr_min * (1.0 - 1e-6)).all()
            assert (found.bandwidth_hz * np.log2(1.0 + snr) >= rates * (1.0 - 1e-6)).all()
            energy_j = found.power_w @ (problem.bits / rates)
            assert problem.weight_energy * energy_j == pytest.approx(found.objective, rel=1e-6)

    @pytest.mark.parametrize("seed", UNATTAINABLE)
    def test_says_what_cannot_be_had(self, seed):
        cvxpy()
        problem = random_problem(seed)
        rates = random_rates(problem, seed)
        with pytest.raises(api.InfeasibleError):
            api.solve_p4(problem, rates)
        with pytest.raises(RuntimeError, match="no solution: infeasible"):
            reference_cvxpy.solve_p4_cvxpy(problem, rates)


def check_joint(seed, solve, tolerance):
    """A solver's answer is feasible and costs what the exact solution costs."""
    problem = random_problem(seed)
    exact = api.solve_joint(problem)
    found = solve(problem)
    assert abs(relative(found.objective, exact.objective)) <= tolerance
    made = evaluate(problem, found.power_w, found.bandwidth_hz, found.device_frequency_hz, found.server_frequency_hz)
    assert made.violation <= 2e-6
    assert made.delay_s == pytest.approx(found.delay_s, rel=2e-6)
    assert made.objective == pytest.approx(found.objective, rel=2e-6)


class TestJoint:
    @pytest.mark.parametrize("seed", JOINTLY)
    @pytest.mark.parametrize(
        "form", [reference_cvxpy.joint_form, reference_cvxpy.quadrature_form], ids=["series", "quadrature"]
    )
    def test_cvxpy_equals_the_exact_solution(self, seed, form):
        cvxpy()
        check_joint(seed, lambda problem: reference_cvxpy.solve_joint_cvxpy(problem, form=form), 2e-7)

    @pytest.mark.parametrize("seed", JOINTLY)
    def test_cvxpy_compiled_once_equals_the_exact_solution(self, seed, compiled):
        check_joint(seed, compiled.solve_joint, 2e-7)

    @pytest.mark.parametrize("seed", JOINTLY)
    def test_slsqp_equals_the_exact_solution(self, seed):
        pytest.importorskip("scipy")
        check_joint(seed, reference_slsqp.solve_joint_slsqp, 2e-7)

    def test_slsqp_that_does_not_get_there_says_so(self, monkeypatch):
        pytest.importorskip("scipy")
        monkeypatch.setattr(reference_slsqp, "STEPS_MAX", 1)
        with pytest.raises(RuntimeError, match="outside of a limit"):
            reference_slsqp.solve_joint_slsqp(random_problem(1))

    @pytest.mark.parametrize("seed", [1, 2, 7])
    def test_slsqp_has_the_right_derivatives(self, seed):
        optimize = pytest.importorskip("scipy.optimize")
        numbers, _ = reference_cvxpy.joint_numbers(random_problem(seed))
        size = len(numbers["load"])
        point = np.random.default_rng(seed).normal(0.0, 0.2, 4 * size + 1)
        point[:size] += np.log(numbers["load"])
        slopes = reference_slsqp.cost(numbers, point)[1]
        np.testing.assert_allclose(
            optimize.approx_fprime(point, lambda z: reference_slsqp.cost(numbers, z)[0], 1e-7), slopes,
            rtol=1e-4, atol=1e-6 * abs(slopes).max(),
        )  # fmt: skip
        np.testing.assert_allclose(
            optimize.approx_fprime(point, lambda z: reference_slsqp.room(numbers, z), 1e-7),
            reference_slsqp.room_slopes(numbers, point), rtol=1e-4, atol=1e-5,
        )  # fmt: skip


@pytest.mark.parametrize("energy_ratio", [reference_cvxpy.by_series, reference_cvxpy.by_quadrature])
def test_transmit_energies_are_exact_up_to_80_db(energy_ratio):
    v = np.array([1e-3, 0.5, 3.0, 10.0, np.log1p(1e8)])
    np.testing.assert_allclose(energy_ratio(cvxpy().Constant(v)).value, np.expm1(v) / v, rtol=1e-9)


@pytest.mark.parametrize("energy_ratio", [reference_cvxpy.by_series, reference_cvxpy.by_quadrature])
def test_transmit_energies_are_never_too_large(energy_ratio):
    """Beyond that range they fall short, so that the optimum is below the true one, never above."""
    v = np.array([40.0])
    assert energy_ratio(cvxpy().Constant(v)).value <= np.expm1(v) / v * (1.0 - 1e-6)


def test_compiled_once_per_number_of_devices(monkeypatch, compiled):
    built = []
    form = reference_cvxpy.compute_form

    def counted(**numbers):
        built.append(numbers["upload"].size)
        return form(**numbers)

    monkeypatch.setattr(reference_cvxpy, "compute_form", counted)
    for seed in (1, 6, 2, 7):
        problem = random_problem(seed)
        compiled.solve_p3(problem, random_upload_times(problem, seed))
    assert built == [2, 3]


def test_missing_cvxpy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    with pytest.raises(ImportError, match=r"pip install 'edge-envs\[reference\]'"):
        reference_cvxpy.CompiledReference()
    problem = random_problem(0)
    with pytest.raises(ImportError, match=r"pip install 'edge-envs\[reference\]'"):
        reference_cvxpy.solve_joint_cvxpy(problem)


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
