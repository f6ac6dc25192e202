"""The references that ship with the package, which the benchmark times: they come to the exact solvers' answers."""

import sys

import numpy as np
import pytest

from edge_envs.semcom.solvers import api, reference_cvxpy, reference_slsqp
from tests.semcom.solvers.problems import random_problem, random_rates, random_upload_times
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
