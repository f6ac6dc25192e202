"""The exact solutions of Problems 3, 4 and 5 at the edges: empty, equal, dead, full and refused."""

import math
from typing import Any

import numpy as np
import pytest

from edge_envs.lyappo.solvers import api, drift_plus_penalty, reference_cvxpy
from tests.lyappo.solvers.problems import BY_NAME, PROBLEMS, SLOT_S, TRANSMIT, every_problem, full_rate


@every_problem
@pytest.mark.parametrize("count", [1, 5])
def test_empty_queues_get_nothing(problem, count):
    """No backlog at all: nothing served, nothing left to certify."""
    split = problem.exact(np.zeros(count), problem.options)
    assert (split.total, split.gap, split.power_w) == (0.0, 0.0, 0.0)
    np.testing.assert_array_equal(split.share, np.zeros(count))


@every_problem
def test_equal_queues_are_served_by_index(problem):
    """Ties: the total of the one queue they add up to, the first ones first."""
    backlog = np.full(5, 1e7 if problem.name != "transmit" else 4e4)
    options = {**problem.options, **({"frequency_max_hz": 2.5e9} if problem.name == "edge" else {})}
    split = problem.exact(backlog, options)
    assert split.gap <= 1e-14
    assert 0 < split.total < backlog.sum() / SLOT_S
    assert (np.diff(split.share) <= 0).all()
    price = backlog[0]
    wanted = min(problem.cap(options), problem.best_total(price, options))
    assert split.total == pytest.approx(wanted, rel=1e-14)


@pytest.mark.parametrize("gain", [0.0, 5e-324, 1e-310, 1e-30])
@pytest.mark.parametrize("weight", [3e11, 1e300])
def test_dead_channel_sends_nothing(gain, weight):
    """A bit costs more than any backlog is worth; the certificate stays a number."""
    split = api.solve_transmit([1e5, 0.0, 3e4], **{**TRANSMIT, "gain": gain, "weight": weight})
    assert (split.total, split.power_w, split.gap) == (0.0, 0.0, 0.0)
    assert math.isfinite(split.resource_price)


def test_dead_channel_at_any_price():
    """With power all but free a channel of gain 1e-30 is used in full, for a ten-billionth of a bit per second."""
    options = {**TRANSMIT, "gain": 1e-30, "weight": 1e-30}
    split = api.solve_transmit([1e5, 3e4], **options)
    assert split.total == pytest.approx(full_rate(options), rel=1e-14)
    assert split.power_w == pytest.approx(options["power_max_w"], rel=1e-14)
    assert split.gap <= 1e-12


@pytest.mark.parametrize(
    ("backlog", "cap"), [([8.0, 4.0, 2.0], 28.0), ([8.0, 4.0, 2.0], 24.0), ([4.0, 4.0], 16.0), ([8.0, 0.0], 16.0)]
)
def test_total_exactly_at_the_cap(backlog, cap):
    """Queues (of half a second) that fill the capacity to the last bit, or whose first ones do."""
    expected = [min(2 * queue, max(0.0, cap - 2 * sum(backlog[:i]))) for i, queue in enumerate(backlog)]
    free = {"weight": 1e-6, "energy_coefficient": 1e-6}
    for split in (
        api.solve_local(backlog, slot_s=0.5, frequency_max_hz=cap, **free),
        api.solve_edge(backlog, slot_s=0.5, frequency_max_hz=cap),
    ):
        np.testing.assert_array_equal(split.share, expected)
        assert (split.total, split.gap) == (cap, 0.0)


def test_rate_exactly_at_full_power():
    """One queue that the slot empties at exactly the full-power rate."""
    options = {**TRANSMIT, "slot_s": 1.0, "weight": 1e-3}
    rate_max = drift_plus_penalty.full_power_rate(
        *(options[key] for key in ("gain", "power_max_w", "bandwidth_hz", "noise_w_per_hz"))
    )
    split = api.solve_transmit([rate_max], **options)
    assert split.total == rate_max
    assert 0.0 <= split.gap <= 1e-15
    assert split.power_w == pytest.approx(options["power_max_w"], rel=1e-14)


every_solver = pytest.mark.parametrize("name", [f"{p.name}{way}" for p in PROBLEMS for way in ("", "_cvxpy")])


def solve(name: str, backlog: Any, options: dict[str, Any]) -> Any:
    """Solve a problem exactly or by CVXPY."""
    return getattr(reference_cvxpy if name.endswith("cvxpy") else api, f"solve_{name}")(backlog, **options)


@every_solver
@pytest.mark.parametrize(
    "backlog", [[-1.0], [1.0, math.nan], [math.inf], [], [[1.0, 2.0]], 3.0], ids=lambda backlog: str(backlog)
)
def test_bad_backlog_is_refused(name, backlog):
    """Neither the exact solvers nor the references guess what was meant."""
    with pytest.raises(ValueError, match=r"^backlog_(cycles|bits)"):
        solve(name, backlog, BY_NAME[name.split("_")[0]].options)


@every_solver
@pytest.mark.parametrize("value", [-1.0, 0.0, math.nan, math.inf])
def test_bad_numbers_are_refused_by_name(name, value):
    """Every number must be positive and finite; only the gain may be 0."""
    options = BY_NAME[name.split("_")[0]].options
    for key in options:
        if (key, value) != ("gain", 0.0):
            with pytest.raises(ValueError, match=rf"^{key}={value!r} is not possible; give "):
                solve(name, [1e5, 2e5], {**options, key: value})
