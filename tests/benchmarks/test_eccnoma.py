"""The benchmarks of `ECCNOMA-v0`: that they time what they say. How fast anything is, no test says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tyro")
pytest.importorskip("torch")

import torch

from benchmarks import command_line
from benchmarks.eccnoma import decisions as eccnoma_decisions
from benchmarks.eccnoma import kernels
from benchmarks.eccnoma import problems as eccnoma_problems
from benchmarks.eccnoma import solvers as eccnoma_solvers
from benchmarks.eccnoma import steps as eccnoma_steps
from benchmarks.eccnoma.problems import DenseGradient, Point, Size, SortedGradient, TorchGradient, radio_problems
from benchmarks.steps import EnvWorlds, PartWorlds, SystemWorlds
from benchmarks.timing import Number, Row
from edge_envs.core.rules import copy_row
from edge_envs.eccnoma.baselines import search
from edge_envs.eccnoma.baselines.policies import SEEN_FIELDS
from edge_envs.eccnoma.model import allocation, dynamics
from edge_envs.eccnoma.model.parameters import parameters_of
from edge_envs.eccnoma.model.state import REPORT
from edge_envs.eccnoma.solvers import api
from edge_envs.eccnoma.solvers.problem import RadioProblem
from edge_envs.eccnoma.solvers.radio import RADIO_REPORT
from edge_envs.eccnoma.system import ECCNOMASystem

TINY = Size(6, 2, 4)
REPEAT_GRADIENT: Any = kernels.repeat_gradient
ONE_WORLD = np.zeros(1, dtype=np.int64)


def tied(problem: RadioProblem) -> RadioProblem:
    """The problem with gains rounded so coarsely that users tie."""
    return replace(problem, gain=10.0 ** (2.0 * np.round(0.5 * np.log10(problem.gain))))


def small_system(**options: Any) -> ECCNOMASystem:
    return ECCNOMASystem.from_options("default", {"num_users": 5, "num_subchannels": 3, **options})


@pytest.mark.parametrize("size", [TINY, Size(9, 4, 3), Size(3, 5, 1)])
@pytest.mark.parametrize("way", [0, 1])
def test_gradients_are_those_of_the_solvers(size: Size, way: int) -> None:
    """Ties and APs without users among them."""
    for seed in range(3):
        plain = radio_problems(size, seed)[way]
        for problem in (plain, tied(plain)):
            point = Point(problem, seed)
            cost = REPEAT_GRADIENT(*point.arguments, 2)
            point.check("ours", cost, point.memory.beta_slope.T, point.memory.power_slope)
            for kind in (SortedGradient, DenseGradient):
                other = kind(point)
                point.check("theirs", *other.natural(other.solve()))


def test_ties_and_empty_cells_are_among_them() -> None:
    gain = tied(radio_problems(TINY, 0)[0]).gain
    assert len(np.unique(gain)) < gain.size / 2
    assert len(np.unique(radio_problems(Size(3, 5, 1), 0)[0].ap)) < 5


def test_problems_are_those_of_the_preset() -> None:
    up, down = radio_problems(TINY, 1)
    p = parameters_of(eccnoma_problems.LITERAL)
    system = ECCNOMASystem.from_options("paper-literal", eccnoma_problems.options_of(TINY))
    s = system.allocate(1)
    dynamics.begin_episode(system.parameters, s, 0, np.random.default_rng(1))
    for problem, gain, bits, link in (
        (up, s.gain_up, 3 * 32 * 32 * 8.0, allocation.uplink),
        (down, s.gain_down, 320.0, allocation.downlink),
    ):
        np.testing.assert_array_equal(problem.gain, gain[0])
        np.testing.assert_array_equal(problem.ap, s.ap[0])
        assert (problem.bits == bits).all()
        assert problem.link == pytest.approx(link(system.parameters, TINY.subchannels))
        assert problem.link == pytest.approx(link(p, p.num_subchannels))
    balanced = radio_problems(TINY, 1, balanced=True)[0]
    assert np.bincount(balanced.ap).tolist() == [3, 3]


def test_another_gradient_is_refused() -> None:
    point = Point(radio_problems(TINY, 0)[0], 0)
    known = point.expected
    point.check("same", known.cost, known.beta, known.power_w)
    for name, changed in (
        ("cost", (known.cost * (1.0 + 1e-8), known.beta, known.power_w)),
        ("slope in the shares", (known.cost, known.beta + 1e-8 * np.abs(known.beta).max(), known.power_w)),
        ("slope in the powers", (known.cost, known.beta, known.power_w * (1.0 - 1e-8))),
        ("cost", (np.nan, known.beta, known.power_w)),
    ):
        with pytest.raises(RuntimeError, match=f"^other: {name} is off by "):
            point.check("other", *changed)


def test_gradients_that_differ_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [Point(radio_problems(TINY, seed)[0], seed) for seed in range(2)]
    assert eccnoma_solvers.our_gradients(points, 2)() > 0.0
    sample = eccnoma_solvers.torch_gradients("theirs", SortedGradient, points, 2)
    assert sample() > 0.0
    monkeypatch.setattr(TorchGradient, "natural", lambda *_: (0.0, points[1].expected.beta, points[1].expected.power_w))
    with pytest.raises(RuntimeError, match="theirs: cost is off by"):
        sample()
    points[0].memory.power_w[:] *= 0.5
    with pytest.raises(RuntimeError, match=r"kernels.*: cost is off by"):
        eccnoma_solvers.our_gradients(points, 1)()


def test_gradients_are_compared_at_every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert eccnoma_solvers.GRADIENTS[Size(1250, 5, 250)] == 3.0
    monkeypatch.setattr(eccnoma_solvers, "GRADIENTS", {TINY: None, Size(8, 2, 3): 3.0})
    monkeypatch.setattr(eccnoma_solvers, "LARGEST_DENSE", 6)
    monkeypatch.setattr(eccnoma_solvers, "LINKS_PER_SAMPLE", 50)
    rows = eccnoma_solvers.gradient(2)
    assert [row.name for row in rows[::2]] == [
        f"ECCNOMA-v0: gradient, {way}, {TINY}" for way in ("uplink", "downlink")
    ] + [f"ECCNOMA-v0: gradient, uplink, {Size(8, 2, 3)}"]
    assert [row.other.label for row in rows] == [eccnoma_solvers.SORTED, eccnoma_solvers.DENSE] * 2 + [
        eccnoma_solvers.SORTED
    ] * 2
    assert [row.target for row in rows] == [None] * 4 + [3.0] * 2
    assert {row.kind for row in rows} == {"speed-up"}


def test_assignments_that_are_wrong_are_not_timed() -> None:
    problem = replace(radio_problems(TINY, 0)[0], capacity=2)
    found = api.assign(problem)
    assert eccnoma_solvers.checked(problem, found) == found.cost
    with pytest.raises(RuntimeError, match=r"is not the .* of its subchannels and powers"):
        eccnoma_solvers.checked(problem, replace(found, cost=found.cost * (1.0 + 1e-8)))
    with pytest.raises(RuntimeError, match="is below its bound"):
        eccnoma_solvers.checked(problem, replace(found, bound=found.cost * (1.0 + 1e-8)))
    crowd = np.bincount(problem.ap * problem.subchannels + found.subchannel).max()
    assert crowd == 2
    with pytest.raises(RuntimeError, match="2 users of an AP share a subchannel, above 1"):
        eccnoma_solvers.checked(replace(problem, capacity=1), found)


def test_searches_are_compared_at_every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [trial.target for trial in eccnoma_solvers.SEARCHES.values()] == [None, 50.0, None, 100.0]
    trials = {TINY: eccnoma_solvers.Trial(2.0, 2, 9), Size(8, 2, 3): eccnoma_solvers.Trial(None, 1, 1)}
    monkeypatch.setattr(eccnoma_solvers, "SEARCHES", trials)
    rows = eccnoma_solvers.search(3)
    assert len(rows) == 8
    for at, (size, draws, repetitions, target) in enumerate([(TINY, 2, 3, 2.0), (Size(8, 2, 3), 1, 1, None)]):
        quick, quick_cost, one, one_cost = rows[4 * at : 4 * at + 4]
        problems = [radio_problems(size, seed)[0] for seed in range(draws)]
        theirs = [api.relax(problem) for problem in problems]
        costs = [
            api.round_relaxed(problem, each.beta, each.power_w).cost
            for problem, each in zip(problems, theirs, strict=True)
        ]
        for row, cost, sweeps in ((quick, quick_cost, 6), (one, one_cost, 1)):
            assert isinstance(row, Row)
            assert isinstance(cost, Number)
            assert row.name == f"ECCNOMA-v0: uplink, {size}"
            assert (row.kind, len(row.ours.seconds)) == ("speed-up", repetitions)
            assert row.target == (target if sweeps == 6 else None)
            expected = [api.assign(each, sweeps=sweeps).cost for each in problems]
            np.testing.assert_allclose(sorted(cost.values), sorted(np.divide(expected, costs)), rtol=1e-12)
            steps = np.median([each.iterations for each in theirs])
            assert f"; {draws} draws, Li-GD in " in cost.label
            assert draws > 1 or f"in {steps:.0f} steps" in cost.label


def test_common_cuts_cost_what_the_environment_says() -> None:
    """Without a pool, with one task each: what Algorithm 1 adds to the radio's cost."""
    given = eccnoma_solvers.common_cuts(TINY, "nin@32", 0)
    options = {**eccnoma_problems.options_of(TINY), "networks": ("nin@32",), "cuts": "all"}
    system = ECCNOMASystem.from_options("paper-literal", options)
    s = system.allocate(1)
    dynamics.begin_episode(system.parameters, s, 0, np.random.default_rng(0))
    assert given.bits.shape == (6, 10)
    for cut in range(10):
        s.choice[0] = cut
        allocation.solve(system.parameters, s, 0)
        report = s.workspace.report
        assert given.fixed_cost[cut] == pytest.approx(report[REPORT.device_cost] + report[REPORT.server_cost])
        uplink = replace(given.uplink, bits=given.bits[:, cut])
        np.testing.assert_array_equal(uplink.radio().delay_cost, s.workspace.up.delay_cost)
    assert (given.result_bits == 320.0).all()


def test_warm_and_cold_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eccnoma_solvers, "LI_GD_SIZE", TINY)
    monkeypatch.setattr(eccnoma_solvers, "LI_GD_DRAWS", 2)
    speed, steps, cost = eccnoma_solvers.li_gd(3)
    assert isinstance(speed, Row)
    assert isinstance(steps, Number)
    assert isinstance(cost, Number)
    assert (speed.name, speed.kind) == (f"ECCNOMA-v0: 10 common cuts of nin@32, {TINY}", "speed-up")
    assert (speed.ours.label, speed.other.label) == (eccnoma_solvers.WARM, eccnoma_solvers.COLD)
    for found, ratio, relative in zip((0, 1), sorted(steps.values), sorted(cost.values), strict=True):
        draws = [eccnoma_solvers.common_cuts(TINY, "nin@32", seed) for seed in range(2)]
        warm, cold = ([api.li_gd(*each, warm=way) for each in draws] for way in (True, False))
        pairs = list(zip(warm, cold, strict=True))
        assert ratio == sorted(b.iterations.sum() / a.iterations.sum() for a, b in pairs)[found]
        assert relative == sorted(a.costs.min() / b.costs.min() for a, b in pairs)[found]
    assert (steps.values > 1.5).all()
    monkeypatch.setattr(eccnoma_solvers, "CUT_AGREEMENT", -1.0)
    with pytest.raises(RuntimeError, match=r"warm costs .* of cold at cuts \d and \d"):
        eccnoma_solvers.li_gd(1)


def test_half_of_the_actions_are_the_edge() -> None:
    system = small_system()
    actions = np.array(eccnoma_steps.edge_actions(system, 3, count=200))
    assert actions.shape == (200, 3, 5)
    chances = np.bincount(actions.ravel(), minlength=5) / actions.size
    np.testing.assert_allclose(chances, [0.6, 0.1, 0.1, 0.1, 0.1], atol=0.03)
    assert (system.parameters.cut_number[:, 0] == 0).all()
    again = eccnoma_steps.edge_actions(system, 3, count=200)
    np.testing.assert_array_equal(actions, again)


def test_the_warm_up_of_worlds_has_the_given_length() -> None:
    system = small_system()
    actions = eccnoma_steps.edge_actions(system, 1)
    short, stepped = (SystemWorlds(system, 1, actions, warm_up) for warm_up in (2, 5))
    short.run(3)
    np.testing.assert_array_equal(system.observe(short.state), system.observe(stepped.state))
    default = ECCNOMASystem.from_options("default", {})
    actions = eccnoma_steps.edge_actions(default, 1)
    single, worlds = EnvWorlds("ECCNOMA-v0", 1, actions, "default", 2), SystemWorlds(default, 1, actions, 2)
    single.run(3)
    worlds.run(3)
    env: Any = single.env.unwrapped
    np.testing.assert_array_equal(default.observe(env.state), default.observe(worlds.state))


@pytest.mark.parametrize("batch", [1, 2])
def test_parts_are_those_of_the_same_steps(batch: int) -> None:
    """Beside every step a part of it is done again, and no world notices."""
    system = small_system()
    actions = eccnoma_steps.edge_actions(system, batch)
    stepped = SystemWorlds(system, batch, actions, 2)
    stepped.run(3)
    for part in eccnoma_steps.parts_of(system, batch).values():
        worlds = PartWorlds(system, batch, actions, 2)
        assert worlds.sampler(3, part)() > 0.0
        for name, value in stepped.state._asdict().items():
            if name != "workspace":
                np.testing.assert_array_equal(getattr(worlds.state, name), value, err_msg=name)


def test_parts_do_their_work() -> None:
    system = small_system()
    world = SystemWorlds(system, 1, eccnoma_steps.edge_actions(system, 1), 5)
    parts = eccnoma_steps.parts_of(system, 1)
    p, s, actions = system.parameters, world.state, np.array([[0, 0, 1, 0, 2]])
    s.queue[:] = 2.0
    for part in ("uplink search", "downlink search", "loads and servers"):
        parts[part](p, s, actions, 2)
    w = s.workspace
    found = w.up.report[RADIO_REPORT.cost], w.down.report[RADIO_REPORT.cost], w.report[REPORT.server_cost]
    assert min(found) > 0.0
    np.testing.assert_array_equal(s.choice, actions)
    allocation.solve(p, s, 0)
    assert (w.up.report[RADIO_REPORT.cost], w.down.report[RADIO_REPORT.cost], w.report[REPORT.server_cost]) == found
    s.choice[:] = 1
    parts["uplink search"](p, s, actions, 1)
    assert w.up.report[RADIO_REPORT.cost] == found[0]


def test_draws_and_channels_are_those_of_a_step() -> None:
    system = small_system()
    draws = eccnoma_steps.Draws(system, 2)
    p, scratch = system.parameters, draws.scratch
    other = system.allocate(2)
    rngs = [np.random.default_rng(row) for row in range(2)]
    system.reset(other, np.arange(2), rngs)
    before = scratch.gain_up.copy()
    draws.draw(p, other, np.zeros((2, 5), dtype=np.int64), 1)
    draws.renew(p, other, np.zeros((2, 5), dtype=np.int64), 1)
    system.step(other, np.arange(2), np.zeros((2, 5), dtype=np.int64), rngs)
    for name in ("normals", "uniforms", "gain_up", "gain_down", "seen_up", "fading_down"):
        np.testing.assert_array_equal(getattr(scratch, name), getattr(other, name), err_msg=name)
    np.testing.assert_array_equal(scratch.seen_up, before)


def test_the_observation_timed_is_that_of_the_frame() -> None:
    system = small_system()
    world = SystemWorlds(system, 2, eccnoma_steps.edge_actions(system, 2), 5)
    observation = np.zeros_like(system.observe(world.state))
    kernels.encode(system.parameters, world.state, observation, 2)
    np.testing.assert_array_equal(observation, system.observe(world.state))


def test_steps_are_split_in_every_case(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [(case.preset, case.batch) for case in eccnoma_steps.CASES] == [
        ("default", 1), ("default", 16), ("large", 1), ("paper", 1), ("paper-literal", 1),
    ]  # fmt: skip
    cases = (eccnoma_steps.Case("default", 1, 2, 1, 9), eccnoma_steps.Case("large", 2, 1, 1, 1))
    monkeypatch.setattr(eccnoma_steps, "CASES", cases)
    rows = eccnoma_steps.env(2)
    assert len(rows) == 2 * 9
    for start, name, repetitions in (
        (0, "default (U = 12): one world", 2),
        (9, "large (U = 30): 2 worlds", 1),
    ):
        rate, *shares, rest, overhead = rows[start : start + 9]
        assert rate.name == f"ECCNOMA-v0, {name}"
        assert isinstance(rate, Number)
        assert isinstance(rest, Number)
        assert isinstance(overhead, Row)
        assert (rate.unit, len(rate.values)) == ("steps/s", repetitions)
        ratios: list[Any] = [each.ratio for each in shares if isinstance(each, Row) and each.kind == "share"]
        assert len(ratios) == 6
        if repetitions == 1:
            assert rest.value == pytest.approx(1.0 - sum(ratios))
        assert (overhead.kind, overhead.target) == ("cost", 1.5)


def test_growth_is_fitted_to_both(monkeypatch: pytest.MonkeyPatch) -> None:
    for users in eccnoma_steps.GROWTH_USERS:
        assert users % eccnoma_steps.USERS_PER_AP == users % eccnoma_steps.USERS_PER_SUBCHANNEL == 0
    monkeypatch.setattr(eccnoma_steps, "GROWTH_USERS", (12, 24))
    monkeypatch.setattr(eccnoma_steps, "USERS_PER_AP", 6)
    monkeypatch.setattr(eccnoma_steps, "USERS_PER_SUBCHANNEL", 3)
    rows = eccnoma_steps.growth(2)
    assert [row.name.partition(": ")[2] for row in rows] == ["search, growth with U", "step, growth with U"]
    for row in rows:
        assert [side.label for side in row.sides] == ["U = 12, N = 2, M = 4", "U = 24, N = 4, M = 8"]
        slope = np.log(row.sides[1].seconds / row.sides[0].seconds) / np.log(2.0)
        np.testing.assert_allclose(row.values, slope)


def test_counted_descent_is_the_real_one() -> None:
    system = small_system()
    world = SystemWorlds(system, 1, eccnoma_steps.edge_actions(system, 1), 20)
    sketch = system.allocate(1)
    passes = []
    for _ in range(10):
        calls = 0

        def value(p: Any, s: Any, row: int) -> float:
            nonlocal calls
            calls += 1
            return float(search.FAST_VALUE(p, s, row))

        copy_row(world.state, 0, sketch, SEEN_FIELDS)
        cuts = eccnoma_decisions.descend_counted(system, sketch, value)
        copy_row(world.state, 0, sketch, SEEN_FIELDS)
        np.testing.assert_array_equal(cuts, search.coordinate_descent(system.parameters, sketch))
        busy = world.state.queue[0] > 0.0
        per_pass = int((system.parameters.choices[world.state.network[0, busy]] - 1).sum())
        assert (calls - 1) % per_pass == 0
        passes.append((calls - 1) // per_pass)
        world.run(1)
    assert min(passes) == 1 < max(passes) <= search.PASSES


def test_decisions_are_compared_in_every_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PRESETS": ("default",), "FRAMES": 2, "WARM_UP_FRAMES": 3, "BATCH": 4}.items():
        monkeypatch.setattr(eccnoma_decisions, name, value)
    rows = eccnoma_decisions.decisions(2)
    name = "ECCNOMA-v0, default (U = 12): decision"
    speeds, counts, cost = rows[:3], rows[3:5], rows[5]
    assert [row.name for row in speeds] == [name] * 3
    assert all(isinstance(row, Row) and len(row.ours.seconds) == 2 for row in speeds)
    iterated, descended = (row.value for row in counts if isinstance(row, Number))
    assert 2.0 <= iterated <= search.ITERATIONS + 1
    assert descended > iterated
    assert isinstance(cost, Number)
    assert (cost.values <= 1.0).all()


def test_decisions_that_are_wrong_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eccnoma_decisions, "WARM_UP_FRAMES", 20)
    frames = eccnoma_decisions.Frames("default")
    frames.begin(0)
    frames.measure()
    queue = frames._env.state.queue[0]
    assert (queue > 0.0).any()
    edge = np.zeros(12, dtype=np.int64)
    with pytest.raises(RuntimeError, match="iterated best response: the timed decision"):
        frames._compare(edge + 1, edge)
    system = frames.system
    mask = system.action_mask(frames._observation[None])
    assert mask is not None
    closed = np.argwhere(~mask[0])
    action = np.ones(12, dtype=np.int64)
    frames._check_open("all on the device", frames._observation[None], action[None])
    user, choice = closed[0]
    action[user] = choice
    with pytest.raises(RuntimeError, match="other: takes a closed choice"):
        frames._check_open("other", frames._observation[None], action[None])


def test_the_network_timed_is_untrained_and_always_the_same() -> None:
    system = ECCNOMASystem.from_options("default", {})
    first = eccnoma_decisions.untrained(system).network.state_dict()
    torch.rand(1)
    second = eccnoma_decisions.untrained(system).network.state_dict()
    assert all((first[key] == second[key]).all() for key in first)
    assert type(eccnoma_decisions.untrained(system).network).__name__ == "PooledPolicy"


def test_selection() -> None:
    names = [*eccnoma_solvers.BENCHMARKS, *eccnoma_steps.BENCHMARKS, *eccnoma_decisions.BENCHMARKS]
    assert list(command_line.select(("eccnoma",))) == names
    assert len(names) == len(set(names)) == 6
