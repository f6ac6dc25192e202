"""The exact solutions of Problems 3, 4 and 5 against CVXPY and against independent searches."""

import math
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edge_envs  # noqa: F401  (registers the environments)
from edge_envs.core.env import EdgeEnv
from edge_envs.lyappo.solvers import certificates, drift_plus_penalty, reference_cvxpy
from edge_envs.lyappo.solvers.api import Split
from tests.lyappo.solvers import reference_solvers as oracle
from tests.lyappo.solvers.problems import SLOT_S, Floats, Options, Problem, every_problem


def assert_feasible(problem: Problem, backlog: Floats, split: Split, options: Options) -> None:
    """Every constraint of the problem, to rounding."""
    total = float(split.share.sum())
    full = backlog / options["slot_s"]
    assert (split.share >= 0).all()
    assert (split.share <= full * (1 + 1e-14) + 1e-15 * total).all()
    assert total <= problem.cap(options) * (1 + 1e-13)
    assert split.total == pytest.approx(total, rel=1e-13)
    if problem.name == "transmit":
        assert 0 <= split.power_w <= options["power_max_w"]
        assert split.power_w == pytest.approx(problem.cost(total, options) / options["weight"], rel=1e-9)


def regime(problem: Problem, backlog: Floats, split: Split, options: Options) -> str:
    """Which of the problem's regimes an allocation is in."""
    if split.total == 0.0 < backlog.max():
        return "idle"
    if split.total >= backlog.sum() / options["slot_s"] * (1 - 1e-12):
        return "emptied"
    return "capped" if split.total >= problem.cap(options) * (1 - 1e-12) else "priced"


def scale_of(problem: Problem, backlog: Floats, split: Split, options: Options) -> float:
    """Sum of the magnitudes of the objective's terms: what its rounding goes by."""
    return problem.energy(split, options) + float(backlog @ split.share)


@pytest.fixture(scope="module")
def compiled() -> reference_cvxpy.CompiledReference:
    pytest.importorskip("cvxpy")
    return reference_cvxpy.CompiledReference()


@every_problem
def test_no_worse_than_cvxpy(problem, compiled):
    """On some 300 instances of each problem: feasible, certified, and not above the objective that CVXPY reaches."""
    seen = dict.fromkeys(problem.regimes, 0)
    for backlog, options in problem.instances(20 if problem.name == "edge" else 60, seed=1):
        exact = problem.exact(backlog, options)
        cvxpy = getattr(compiled, f"solve_{problem.name}")(backlog, **options)
        assert_feasible(problem, backlog, exact, options)
        assert_feasible(problem, backlog, cvxpy, options)
        ours, theirs = (problem.objective(backlog, split, options) for split in (exact, cvxpy))
        assert ours <= theirs + 1e-13 * scale_of(problem, backlog, cvxpy, options)
        assert exact.gap <= 1e-11
        assert cvxpy.gap <= 1e-5
        seen[regime(problem, backlog, exact, options)] += 1
    assert min(seen.values()) >= 20, f"instances do not cover the problem: {seen}"


@every_problem
def test_rebuilt_problems_reach_the_same_objective(problem, compiled):
    """Problems built for one instance do as well as those that are compiled once."""
    for backlog, options in problem.instances(2, seed=2):
        exact, rebuilt = problem.exact(backlog, options), problem.rebuilt(backlog, options)
        once = getattr(compiled, f"solve_{problem.name}")(backlog, **options)
        assert_feasible(problem, backlog, rebuilt, options)
        assert rebuilt.gap <= 1e-5
        scale = scale_of(problem, backlog, exact, options)
        if scale > 0.0:
            best = problem.objective(backlog, exact, options)
            assert problem.objective(backlog, rebuilt, options) == pytest.approx(best, rel=1e-5, abs=1e-7 * scale)
            assert problem.objective(backlog, once, options) == pytest.approx(best, rel=1e-5, abs=1e-7 * scale)


@every_problem
def test_certificate_is_the_duality_gap(problem):
    """At the reported price the dual function, computed independently, meets the objective as closely as `gap` says."""
    for backlog, options in problem.instances(200, seed=3):
        split = problem.exact(backlog, options)
        removed = float(backlog @ split.share)
        value = problem.objective(backlog, split, options)
        bound = problem.dual(backlog, split.resource_price, options)
        rounding = 1e-14 * float(backlog @ backlog) / SLOT_S
        assert bound <= value + rounding + 1e-13 * removed
        assert value - bound <= (split.gap + 1e-11) * removed + rounding


def certificate(problem: Problem, backlog: Floats, options: Options, share: Floats, price: float) -> float:
    """The certificate of any shares at any price, with the total and the power that these shares need."""
    where = (backlog.reshape(1, 1, -1), 0, 0, 0, len(backlog), SLOT_S)
    shares, total = share.reshape(1, 1, -1), float(share.sum())
    if problem.name == "local":
        cost = (options["weight"], options["energy_coefficient"], options["frequency_max_hz"])
        return certificates.local_gap(*where, *cost, shares, price)
    if problem.name == "edge":
        return certificates.edge_gap(*where, options["frequency_max_hz"], shares, price)
    radio = (options["bandwidth_hz"], options["noise_w_per_hz"])
    power_w = drift_plus_penalty.power_for_rate(total, options["gain"], *radio)
    channel = (options["weight"], options["gain"], options["power_max_w"], *radio)
    return certificates.transmit_gap(*where, *channel, shares, power_w, price)


@every_problem
def test_certificate_of_any_shares_at_any_price_is_the_duality_gap(problem):
    """Feasible shares that solve nothing, at prices that belong to nothing, or next to the marginal cost."""
    rng = np.random.default_rng(4)
    for backlog, options in problem.instances(60, seed=4):
        share = backlog / SLOT_S * rng.uniform(size=len(backlog))
        share *= min(1.0, problem.cap(options) * rng.choice([1e-3, 0.3, 1.0]) / max(share.sum(), 1e-300))
        total, removed = float(share.sum()), float(backlog @ share)
        if removed == 0.0:
            continue
        step = 1e-4 * total
        marginal = (problem.cost(total + step, options) - problem.cost(total - step, options)) / (2.0 * step)
        split = Split(share, total, 0.0, 0.0)
        value = problem.cost(total, options) - removed
        for price in (0.0, marginal, float(backlog.max()), float(backlog.max()) * 10.0 ** rng.uniform(-3, 1)):
            expected = value - problem.dual(backlog, price, options)
            size = removed + abs(value) + price * (total + problem.cap(options)) + float(backlog @ backlog) / SLOT_S
            assert certificate(problem, backlog, options, share, price) * removed == pytest.approx(
                expected, rel=1e-5, abs=1e-12 * size
            ), (split, price)


@every_problem
def test_certificate_counts_what_exceeds_a_limit(problem):
    """Twice the capacity is no solution, however little it seems to cost."""
    tested = 0
    for backlog, options in problem.instances(60, seed=5):
        split = problem.exact(backlog, options)
        if split.total < problem.cap(options) * (1.0 - 1e-12):
            continue
        assert certificate(problem, backlog, options, 2.0 * split.share, split.resource_price) > 1e-3
        tested += 1
    assert tested >= 20


def lazy_reference(problem: Problem, backlog: Floats, options: Options, share: Floats) -> tuple[Split, float]:
    """What the reference makes of a solver that answers `share`, and what its certificate is relative to."""
    units = [0.0]

    def answer(form: Any, numbers: dict[str, Any]) -> Floats:
        resource, worth = problem.cap(options) / numbers["cap"], backlog.max() / numbers["queue"].max()
        units.append(resource * worth)
        return share / resource

    split = getattr(reference_cvxpy, f"solve_{problem.name}_cvxpy")(backlog, **options, solve=answer)
    return split, max(float(backlog @ split.share), *units)


@every_problem
def test_reference_certificate_tells_a_wrong_total(problem):
    """The certificate of the reference includes the cost: a tenth less than the optimum cannot hide its loss."""
    tested = 0
    for backlog, options in problem.instances(10, seed=5):
        exact = problem.exact(backlog, options)
        if exact.total > 0.0:
            split, relative_to = lazy_reference(problem, backlog, options, 0.9 * exact.share)
            loss = problem.objective(backlog, split, options) - problem.objective(backlog, exact, options)
            assert loss > 0.0
            # The objectives' difference is rounded in their units.
            assert split.gap * relative_to >= loss - 1e-12 * scale_of(problem, backlog, exact, options)
            tested += 1
    assert tested >= 40


def searched(name: str, backlog: list[float], o: Options) -> tuple[list[float], float]:
    """Shares and power by the bisections and fractions of the plain model."""
    slot_s = o["slot_s"]
    if name == "local":
        return oracle.solve_local(backlog, slot_s, o["frequency_max_hz"], o["energy_coefficient"], o["weight"]), 0.0
    if name == "edge":
        return oracle.solve_edge(backlog, slot_s, o["frequency_max_hz"]), 0.0
    radio = (o["power_max_w"], o["bandwidth_hz"], o["noise_w_per_hz"], o["gain"], o["weight"])
    return oracle.solve_transmit(backlog, slot_s, *radio)


def assert_as_searched(problem: Problem, backlog: Floats, options: Options) -> None:
    """Feasible, certified, and share by share what the independent search finds."""
    split = problem.exact(backlog, options)
    share, power = searched(problem.name, backlog.tolist(), options)
    total = math.fsum(share)
    # Near the first bit that is worth its power the total is a small difference, known to rounding of the bandwidth.
    known = 1e-14 * options.get("bandwidth_hz", 0.0)
    assert split.total == pytest.approx(total, rel=1e-10, abs=known)
    np.testing.assert_allclose(split.share, share, rtol=0, atol=1e-10 * total + known)
    assert split.power_w == pytest.approx(power, rel=1e-9, abs=1e-13 * options.get("power_max_w", 0.0))
    # The price is known to rounding; where hardly any of the backlog can be served, that is much beside what is served.
    removed = float(backlog @ split.share)
    rounding = 1e-14 * split.resource_price * backlog.sum() / options["slot_s"]
    assert split.gap * removed <= 1e-12 * removed + rounding if removed > 0.0 else split.gap == 0.0
    assert_feasible(problem, backlog, split, options)


@every_problem
def test_as_independent_search(problem):
    """Totals to 1e-10, and the same queues served: both break ties by index."""
    for backlog, options in problem.instances(60, seed=6):
        assert_as_searched(problem, backlog, options)


@every_problem
@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_any_backlog(problem, data):
    """Whatever mix of empty, equal, tiny (1e-6) and huge (1e15) backlogs, and any weight."""
    level = st.floats(-6, 15).map(lambda exponent: 10.0**exponent)
    entry = st.one_of(st.just(0.0), st.sampled_from([1e-6, 1.0, 1e5, 1e9, 1e15]), level)
    backlog = data.draw(st.lists(entry, min_size=1, max_size=6))
    options = dict(problem.options)
    if "weight" in options:
        options["weight"] *= 10.0 ** data.draw(st.integers(-25, 25))
    assert_as_searched(problem, np.array(backlog), options)


def make(solver: str) -> EdgeEnv:
    env = gym.make("LyaPPO-v0", num_devices=2, solver=solver).unwrapped
    assert isinstance(env, EdgeEnv)
    return env


def test_environment_with_cvxpy():
    """Same seed and actions: the same tasks, and rewards and backlogs within the accuracy of the solver."""
    pytest.importorskip("cvxpy")
    exact, cvxpy = make("exact"), make("cvxpy")
    exact.reset(seed=3)
    cvxpy.reset(seed=3)
    exact.action_space.seed(4)
    for _ in range(3):
        action = exact.action_space.sample()
        observation, reward, _, _, info = exact.step(action)
        observation_2, reward_2, _, _, info_2 = cvxpy.step(action)
        assert reward_2 == pytest.approx(reward, rel=1e-5)
        np.testing.assert_allclose(observation_2, observation, atol=1e-4)
        np.testing.assert_array_equal(cvxpy.state.queues.size, exact.state.queues.size)
        scale = np.array([1e7, 1e4, 1e7])[:, None]
        np.testing.assert_allclose(
            cvxpy.state.queues.backlog / scale, exact.state.queues.backlog / scale, rtol=1e-5, atol=1e-5
        )
        for key in ("tasks_arrived", "tasks_finished", "tasks_dropped", "finished_ratio"):
            assert info_2[key] == info[key]
        assert info["tasks_arrived"] > 0
        assert 0 < info_2["certificate"] <= 1e-6
        assert info["certificate"] <= 1e-11


def test_missing_cvxpy_names_the_extra(monkeypatch):
    """Without the optional dependency the exact solvers work and the reference says what to install."""
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    with pytest.raises(ImportError, match=r"edge-envs\[reference\]"):
        make("cvxpy")
    with pytest.raises(ImportError, match=r"edge-envs\[reference\]"):
        reference_cvxpy.solve_edge_cvxpy([1.0], slot_s=SLOT_S, frequency_max_hz=1e9)
    assert make("exact").system.config.solver == "exact"
