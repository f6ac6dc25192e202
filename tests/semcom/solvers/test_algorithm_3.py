"""Algorithm 3 from Python: an alternation of exact subproblems, measured against P1's own bound."""

from __future__ import annotations

import numpy as np
import pytest

from edge_envs.semcom.solvers.api import algorithm_3, solve_joint, solve_p3, solve_p4
from tests.semcom.solvers.problems import random_problem
from tests.semcom.solvers.reference_solvers import evaluate


def even_start(seed: int):
    problem = random_problem(seed)
    power = problem.power_max_w / 2.0
    band = np.full(len(problem.bits), problem.bandwidth_hz / len(problem.bits))
    snr = power * problem.gain / (problem.noise_w_per_hz * band)
    return problem._replace(snr_min=np.minimum(problem.snr_min, snr)), power, band, band * np.log2(1.0 + snr)


@pytest.mark.parametrize("seed", range(30))
def test_is_what_its_subproblems_say(seed: int) -> None:
    """P4 keeps every rate, so one pass of the two exact solvers is all that ever happens."""
    problem, _, _, rates = even_start(seed)
    found, joint = algorithm_3(problem), solve_joint(problem)
    compute, link = solve_p3(problem, problem.bits / rates), solve_p4(problem, rates)
    assert found.objective == pytest.approx(compute.objective + link.objective, rel=1e-9)
    assert found.objective >= joint.objective * (1.0 - 1e-9)
    assert found.gap == pytest.approx(found.objective / joint.lower_bound - 1.0, abs=1e-12)
    evaluated = evaluate(
        problem, found.power_w, found.bandwidth_hz, found.device_frequency_hz, found.server_frequency_hz
    )  # fmt: skip
    assert evaluated.objective == pytest.approx(found.objective, rel=1e-8)
    assert found.bandwidth_hz.sum() <= problem.bandwidth_hz * (1.0 + 1e-9)


def test_the_start_decides() -> None:
    problem, power, band, _ = even_start(3)
    assert algorithm_3(problem, power, band).objective == algorithm_3(problem).objective
    other = algorithm_3(problem._replace(snr_min=0 * power), power / 4.0, band).objective
    assert other != pytest.approx(algorithm_3(problem).objective, rel=1e-6)


def test_a_start_beyond_the_limits_is_refused() -> None:
    problem, power, band, _ = even_start(3)
    with pytest.raises(ValueError, match=r"power_w\[\d\] = .* is above power_max_w"):
        algorithm_3(problem, 10.0 * power, band)
    with pytest.raises(ValueError, match="bandwidth_hz adds up to"):
        algorithm_3(problem, power, 10.0 * band)
