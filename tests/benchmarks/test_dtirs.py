"""The benchmarks of `DTIRS-v0`: that they time what they say. How fast anything is, no test says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tyro")
pytest.importorskip("torch")

from benchmarks import command_line
from benchmarks.dtirs import kernels
from benchmarks.dtirs import problems as dtirs_problems
from benchmarks.dtirs import solvers as dtirs_solvers
from benchmarks.dtirs import steps as dtirs_steps
from benchmarks.solvers import checked_sampler
from benchmarks.steps import PartWorlds, SystemWorlds, rest, sampled_actions, vector_env
from benchmarks.timing import Number, Row, Side, Skipped, exponents
from edge_envs.dtirs.model import reward
from edge_envs.dtirs.model.state import SOLUTION
from edge_envs.dtirs.solvers import api
from edge_envs.dtirs.system import DTIRSSystem

MAKERS: list[Callable[[int, int], dtirs_problems.Problem]] = [
    dtirs_problems.Powers,
    lambda devices, seed: dtirs_problems.Shares(True, devices, seed),
    lambda devices, seed: dtirs_problems.Shares(False, devices, seed),
]
NAMES = ["powers", "twin frequencies", "pool"]
REPEAT_POWER: Any = kernels.repeat_power
REPEAT_POOL: Any = kernels.repeat_pool


def small_system() -> DTIRSSystem:
    return DTIRSSystem.from_options("default", {"num_devices": 3, "num_elements": 4, "num_antennas": 2})


@pytest.mark.parametrize("devices", [2, 30])
def test_kernels_solve_what_the_solvers_solve(devices: int) -> None:
    powers = dtirs_problems.Powers(devices, 0)
    assert REPEAT_POWER(*powers.arguments, 2) < 1e-12
    known = api.allocate_power(powers.gain_per_w, powers.unit_delay_s, powers.total_w, powers.most_w)
    np.testing.assert_array_equal(powers.power_w, known.power_w)
    assert powers.objective == pytest.approx(known.delay_s, rel=1e-12)
    for printed in (True, False):
        shares = dtirs_problems.Shares(printed, devices, 0)
        assert (shares.back_flop == 0.0).all() == printed
        assert REPEAT_POOL(*shares.arguments, 2) < 1e-12
        found = api.share_pool(
            shares.front_flop, shares.speed_flop_s, shares.twin, shares.capacity_flop_s, shares.back_flop
        )
        np.testing.assert_array_equal(shares.boost_flop_s, found.twin_boost_flop_s)
        np.testing.assert_array_equal(shares.back_end_flop_s, found.back_end_flop_s)
        assert shares.objective == pytest.approx(found.delay_s, rel=1e-12)


def test_problems_are_worth_timing() -> None:
    """Powers are scarce, users differ, and there are twins to boost."""
    for devices in dtirs_solvers.SIZES:
        for seed in range(dtirs_solvers.DRAWS):
            powers = dtirs_problems.Powers(devices, seed)
            REPEAT_POWER(*powers.arguments, 1)
            assert powers.power_w.sum() == pytest.approx(powers.total_w)
            busy = powers.unit_delay_s > 0.0
            assert busy.sum() > devices / 2
            assert len(np.unique(powers.power_w[busy])) == busy.sum()
            printed = dtirs_problems.Shares(True, devices, seed)
            REPEAT_POOL(*printed.arguments, 1)
            assert printed.twin.sum() > devices / 4
            assert printed.boost_flop_s.sum() == pytest.approx(printed.capacity_flop_s)


@pytest.mark.parametrize("make", MAKERS, ids=NAMES)
def test_cvxpy_solves_the_same_problem(make: Callable[[int, int], dtirs_problems.Problem]) -> None:
    pytest.importorskip("cvxpy")
    for seed in range(2):
        problem = make(6, seed)
        kernel = REPEAT_POWER if isinstance(problem, dtirs_problems.Powers) else REPEAT_POOL
        kernel(*problem.arguments, 1)
        solve = problem.compile()
        for objective in (problem.rebuilt(), solve(), solve()):
            assert objective == pytest.approx(problem.objective, rel=1e-6)


def test_what_is_not_certified_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = dtirs_solvers.our_sampler([dtirs_problems.Powers(3, 0)], kernels.repeat_power, 2)
    assert sample() > 0.0
    monkeypatch.setattr(dtirs_solvers, "MAX_RESIDUAL", -1.0)
    with pytest.raises(RuntimeError, match=r"has a residual of .*, above -1"):
        sample()
    monkeypatch.setattr(dtirs_solvers, "MAX_GAP", 1e-9)
    with pytest.raises(RuntimeError, match=r"gap of 1\.0e-07, above 1e-09"):
        dtirs_solvers.certified(api.optimise_phases(dtirs_solvers.quadratic_form(4, 0)))


def test_others_must_come_to_the_same_optimum() -> None:
    answers = iter([1.0, 2.0, 1.0 + 2e-5])
    sample = checked_sampler([lambda: next(answers)] * 2, [1.0, 2.0], dtirs_solvers.AGREEMENT)
    assert sample() > 0.0
    assert sample() > 0.0
    with pytest.raises(RuntimeError, match=r"is not the certified 1\.0"):
        sample()


def test_a_relaxed_value_has_a_unit_diagonal() -> None:
    form = dtirs_solvers.quadratic_form(5, 0)
    assert np.trace(form).real == pytest.approx(5.0)
    rng = np.random.default_rng(0)
    phase = np.exp(2j * np.pi * rng.random(5))
    size = rng.uniform(0.5, 2.0, 5)
    expected = (phase.conj() @ form @ phase).real
    vector = size * phase
    assert dtirs_solvers.relaxed_value(form, np.outer(vector, vector.conj())) == pytest.approx(expected)


def test_another_relaxed_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    form = dtirs_solvers.quadratic_form(3, 0)
    monkeypatch.setattr("edge_envs.dtirs.solvers.reference_cvxpy.phases", lambda *_: np.eye(3))
    ratios: list[float] = []
    assert dtirs_solvers.relaxation_sampler([(form, 3.0)], "SCS", "primal", ratios)() > 0.0
    assert ratios == [pytest.approx(1.0)]
    with pytest.raises(RuntimeError, match=r"is 0\.99\d* times the certified one"):
        dtirs_solvers.relaxation_sampler([(form, 3.003)], "SCS", "primal", [])()


def test_everything_is_compared_at_every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cvxpy")
    small = {"SIZES": (8, 10), "DRAWS": 2, "DEVICES_PER_SAMPLE": 4, "PHASE_DEVICES": 3, "PHASE_ELEMENTS": 4,
             "PHASE_DRAWS": 2, "GROWTH_ELEMENTS": (4, 8)}  # fmt: skip
    for name, value in small.items():
        monkeypatch.setattr(dtirs_solvers, name, value)
    rows = [*dtirs_solvers.powers(1), *dtirs_solvers.shares(1)]
    kinds = ["powers", "twin frequencies (32)", "pool of twins and back ends"]
    titles = [f"DTIRS-v0: {kind}, K = {devices}" for kind in kinds for devices in (8, 10)]
    assert [each.name for each in rows] == [title for title in titles for _ in range(2)]
    assert [each.target for each in rows] == [400.0, None] * 6
    rows = dtirs_solvers.phases(1)
    assert [each.target for each in rows] == [80.0, 80.0, 300.0, 300.0]
    assert all("form: relaxed value " in each.other.label for each in rows)
    assert {each.ours.label for each in rows} == {dtirs_solvers.OUR_PHASES}
    (growth,) = dtirs_solvers.growth(2)
    assert (len(growth.sides), len(growth.values), growth.target) == (2, 2, None)


def test_cvxpy_is_needed_only_to_be_compared_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    for benchmark in (dtirs_solvers.powers, dtirs_solvers.shares, dtirs_solvers.phases):
        with pytest.raises(Skipped, match="edge-envs"):
            benchmark(1)
    monkeypatch.setattr(dtirs_solvers, "GROWTH_ELEMENTS", (4, 8))
    monkeypatch.setattr(dtirs_solvers, "PHASE_DEVICES", 2)
    assert dtirs_solvers.growth(1)


def test_exponent_of_growth() -> None:
    sides = [Side("", np.array([2e-6, 3e-6]) * size ** np.array([2.0, 2.5])) for size in (8, 64, 256)]
    np.testing.assert_allclose(exponents((8, 64, 256), sides), [2.0, 2.5])


@pytest.mark.parametrize("batch", [1, 2])
def test_parts_are_those_of_the_same_steps(batch: int) -> None:
    """Beside every step a part of it is done again, on the same numbers, and changes nothing."""
    system = small_system()
    rng = np.random.default_rng(0)
    actions = [rng.integers(len(system.cut_numbers), size=(batch, 3)) for _ in range(5)]
    stepped = SystemWorlds(system, batch, actions)
    stepped.run(3)
    parts = dtirs_steps.parts_of(system, batch)
    assert [after is None for _, after in parts.values()] == [True, False, False, True]
    for before, after in parts.values():
        worlds = PartWorlds(system, batch, actions)
        assert worlds.sampler(3, before, after)() > 0.0
        for name, value in stepped.state._asdict().items():
            if name != "workspace":
                np.testing.assert_array_equal(getattr(worlds.state, name), value, err_msg=name)


def test_parts_do_their_work() -> None:
    system = small_system()
    world = SystemWorlds(system, 1, [np.zeros((1, 3), dtype=np.int64)])
    parts: dict[str, Any] = {name: before or after for name, (before, after) in dtirs_steps.parts_of(system, 1).items()}
    p, s, actions = system.parameters, world.state, np.array([[1, 0, 2]])
    for name, spoilt in (
        ("channels and Gram matrices", ("channel", "gram_down", "ap_irs", "irs_ud")),
        ("IRS phases and gains", ("phase", "gain_down", "gain_up", "relaxation")),
    ):
        kept = {field: getattr(s, field).copy() for field in spoilt}
        for field in spoilt:
            getattr(s, field)[:] = -1.0
        parts[name](p, s, actions, 2)
        for field in spoilt:
            np.testing.assert_array_equal(getattr(s, field), kept[field], err_msg=field)
    parts["twins, shares and powers"](p, s, actions, 2)
    objective = s.workspace.solution[SOLUTION.objective_s]
    outcome = system.step(s, np.arange(1), actions, [np.random.default_rng(0)])
    assert outcome.metrics[0, reward.M.objective_s] == objective
    draws = parts["numpy's draws"]
    assert isinstance(draws, dtirs_steps.Draws)
    draws(p, s, actions, 1)
    first = draws._scratch.normals.copy()
    draws(p, s, actions, 1)
    assert (draws._scratch.normals != first).all()


def test_the_rest_is_what_is_left() -> None:
    whole = Side("whole", np.array([1.0, 2.0, 4.0]))
    parts = [Side("a", np.array([0.25, 1.0, 1.0])), Side("b", np.array([0.25, 0.5, 1.0]))]
    found = rest("name", whole, parts)
    np.testing.assert_allclose(found.values, [0.5, 0.25, 0.5])
    assert found.sides == (whole, *parts)


def test_steps_are_split_at_both_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PRESETS": ("default",), "BATCHES": (1, 2), "STEPS_OF_A_WORLD": 2}.items():
        monkeypatch.setattr(dtirs_steps, name, value)
    rows = dtirs_steps.env(1)
    assert len(rows) == 2 * 7
    for start, worlds in ((0, "one world"), (7, "2 worlds")):
        rate, *shares, left, overhead = rows[start : start + 7]
        assert rate.name == f"DTIRS-v0, default (K = 10): {worlds}"
        assert isinstance(rate, Number)
        assert isinstance(left, Number)
        assert isinstance(overhead, Row)
        assert all(isinstance(each, Row) and each.kind == "share" for each in shares)
        assert (overhead.kind, overhead.target) == ("cost", 1.5)
        ratios: list[Any] = [each.ratio for each in shares if isinstance(each, Row)]
        assert left.value == pytest.approx(1.0 - sum(ratios))


def test_presets_are_timed_as_such() -> None:
    env = vector_env("DTIRS-v0", 2, "dense")
    assert env.system.members == 100
    assert sampled_actions(env, 1)[0].shape == (2, 100)


def test_selection() -> None:
    assert list(command_line.select(("dtirs",))) == [*dtirs_solvers.BENCHMARKS, *dtirs_steps.BENCHMARKS]
