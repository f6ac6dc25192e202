"""The exact solutions of Problems 3, 4 and 5 against CVXPY, against independent searches, and at the edges."""

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import reference as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import edge_envs  # noqa: F401  (registers the environments)
from edge_envs.core.env import EdgeEnv
from edge_envs.lyappo import reference, solvers
from edge_envs.lyappo.solvers import Split

Floats = NDArray[np.float64]
Options = dict[str, float]

SLOT_S = 0.01
LOCAL = {"slot_s": SLOT_S, "weight": 3e17, "energy_coefficient": 1e-28, "frequency_max_hz": 1.5e9}
TRANSMIT = {
    "slot_s": SLOT_S, "weight": 3e11, "gain": 6e-11, "power_max_w": 0.3, "bandwidth_hz": 2.5e5,
    "noise_w_per_hz": 4e-21,
}  # fmt: skip
EDGE = {"slot_s": SLOT_S, "frequency_max_hz": 20e9}


@dataclass(frozen=True)
class Problem:
    """One of the three problems: its exact solver, how to draw instances, and what its solution must satisfy."""

    name: str
    options: Options
    queue_counts: range
    backlog_decades: tuple[float, float]
    option_decades: dict[str, tuple[float, float]]
    """Decades around `options` from which instances are drawn"""
    cap: Callable[[Options], float]
    cost: Callable[[float, Options], float]
    """Energy term of the objective over tau, from the total"""
    best_total: Callable[[float, Options], float]
    """Total at which the marginal cost meets a price, were there no cap"""
    regimes: tuple[str, ...]
    """What can end the service: no more backlog, the cap, the price, or a price above any backlog"""

    def exact(self, backlog: Any, options: Options) -> Split:
        return getattr(solvers, f"solve_{self.name}")(backlog, **options)  # type: ignore[no-any-return]

    def rebuilt(self, backlog: Any, options: Options) -> Split:
        return getattr(reference, f"solve_{self.name}_cvxpy")(backlog, **options)  # type: ignore[no-any-return]

    def instances(self, per_count: int, seed: int) -> Iterator[tuple[Floats, Options]]:
        """Unequal backlogs over two decades, a fifth with an empty queue and a fifth with a tie, at a random scale."""
        rng = np.random.default_rng(seed)
        for count in self.queue_counts:
            for _ in range(per_count):
                backlog = 10.0 ** (rng.uniform(*self.backlog_decades) + rng.uniform(-2, 0, count))
                kind = rng.random()
                if kind < 0.2 and count > 1:
                    backlog[rng.integers(count)] = 0.0
                elif kind < 0.4:
                    backlog[rng.integers(count)] = backlog[rng.integers(count)]
                drawn = {key: 10.0 ** rng.uniform(*decades) for key, decades in self.option_decades.items()}
                yield backlog, {key: value * drawn.get(key, 1.0) for key, value in self.options.items()}

    def objective(self, backlog: Floats, split: Split, options: Options) -> float:
        """Objective over tau at an allocation."""
        return self.energy(split, options) - float(backlog @ split.share)

    def energy(self, split: Split, options: Options) -> float:
        """Energy term of the objective at an allocation, at the power that it reports."""
        if self.name == "transmit":
            return options["weight"] * split.power_w
        return self.cost(float(split.share.sum()), options)

    def dual(self, backlog: Floats, price: float, options: Options) -> float:
        """Dual function over tau: no allocation has an objective below it, at any price."""
        total = min(self.cap(options), self.best_total(price, options))
        left = np.maximum(backlog - price, 0.0) @ backlog / options["slot_s"]
        return self.cost(total, options) - price * total - float(left)


def first_bit(o: Options) -> float:
    return o["weight"] * o["noise_w_per_hz"] * math.log(2) / o["gain"]


def full_rate(o: Options) -> float:
    return oracle.full_power_rate(o["power_max_w"], o["bandwidth_hz"], o["noise_w_per_hz"], o["gain"])


PROBLEMS = [
    Problem(
        "local", LOCAL, range(1, 7), (4, 9), {"weight": (-2.5, 2.5), "frequency_max_hz": (-1, 1)},
        cap=lambda o: o["frequency_max_hz"],
        cost=lambda total, o: o["weight"] * o["energy_coefficient"] * total**3,
        best_total=lambda price, o: math.sqrt(price / (3 * o["weight"] * o["energy_coefficient"])),
        regimes=("emptied", "capped", "priced"),
    ),
    Problem(
        "transmit", TRANSMIT, range(1, 7), (2, 7), {"weight": (-2.5, 2.5), "gain": (-3, 2), "power_max_w": (-2, 0)},
        cap=full_rate,
        cost=lambda total, o: o["weight"] * oracle.power_for_rate(
            total, o["bandwidth_hz"], o["noise_w_per_hz"], o["gain"]
        ),
        best_total=lambda price, o: o["bandwidth_hz"] * math.log2(max(1.0, price / first_bit(o))),
        regimes=("emptied", "capped", "priced", "idle"),
    ),
    Problem(
        "edge", EDGE, range(1, 17), (6, 11), {"frequency_max_hz": (-2, 1)},
        cap=lambda o: o["frequency_max_hz"],
        cost=lambda total, o: 0.0,
        best_total=lambda price, o: math.inf if price > 0 else 0.0,
        regimes=("emptied", "capped"),
    ),
]  # fmt: skip
BY_NAME = {problem.name: problem for problem in PROBLEMS}
every_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)


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
def compiled() -> reference.CompiledReference:
    pytest.importorskip("cvxpy")
    return reference.CompiledReference()


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
    """At the reported price the dual function, written down anew, meets the objective as closely as `gap` says."""
    for backlog, options in problem.instances(200, seed=3):
        split = problem.exact(backlog, options)
        removed = float(backlog @ split.share)
        value = problem.objective(backlog, split, options)
        bound = problem.dual(backlog, split.price, options)
        rounding = 1e-14 * float(backlog @ backlog) / SLOT_S
        assert bound <= value + rounding + 1e-13 * removed
        assert value - bound <= (split.gap + 1e-11) * removed + rounding


@every_problem
def test_certificate_tells_a_wrong_split(problem):
    """A hundredth of the total moved from the largest to the smallest queue shows in `relative_gap` as it must."""
    tested = 0
    for backlog, options in problem.instances(100, seed=4):
        split = problem.exact(backlog, options)
        largest, smallest = int(backlog.argmax()), int(backlog.argmin())
        moved = 0.01 * split.total
        room = backlog[smallest] / SLOT_S - split.share[smallest]
        if moved == 0.0 or moved > min(room, split.share[largest]) or backlog[smallest] > 0.9 * backlog[largest]:
            continue
        share = split.share.copy()
        share[largest] -= moved
        share[smallest] += moved
        queues, shares = backlog.reshape(1, 1, -1), share.reshape(1, 1, -1)
        gap = solvers.relative_gap(queues, 0, 0, 0, len(backlog), SLOT_S, shares, split.price)
        # Each unit moved loses the difference of the two backlogs, and no unit removes more than the largest one.
        assert gap >= 0.0099 * (1 - backlog[smallest] / backlog[largest])
        assert gap > 1e6 * split.gap
        tested += 1
    assert tested >= 50


def lazy_reference(problem: Problem, backlog: Floats, options: Options, share: Floats) -> tuple[Split, float]:
    """What the reference makes of a solver that answers `share`, and what its certificate is relative to."""
    units = [0.0]

    def answer(form: Any, numbers: dict[str, Any]) -> Floats:
        resource, worth = problem.cap(options) / numbers["cap"], backlog.max() / numbers["queue"].max()
        units.append(resource * worth)
        return share / resource

    split = getattr(reference, f"solve_{problem.name}_cvxpy")(backlog, **options, solve=answer)
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
    rounding = 1e-14 * split.price * backlog.sum() / options["slot_s"]
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
    split = solvers.solve_transmit([1e5, 0.0, 3e4], **{**TRANSMIT, "gain": gain, "weight": weight})
    assert (split.total, split.power_w, split.gap) == (0.0, 0.0, 0.0)
    assert math.isfinite(split.price)


def test_dead_channel_at_any_price():
    """With power all but free a channel of gain 1e-30 is used in full, for a ten-billionth of a bit per second."""
    options = {**TRANSMIT, "gain": 1e-30, "weight": 1e-30}
    split = solvers.solve_transmit([1e5, 3e4], **options)
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
        solvers.solve_local(backlog, slot_s=0.5, frequency_max_hz=cap, **free),
        solvers.solve_edge(backlog, slot_s=0.5, frequency_max_hz=cap),
    ):
        np.testing.assert_array_equal(split.share, expected)
        assert (split.total, split.gap) == (cap, 0.0)


def test_rate_exactly_at_full_power():
    """One queue that the slot empties at exactly the full-power rate."""
    options = {**TRANSMIT, "slot_s": 1.0, "weight": 1e-3}
    rate_max = solvers.full_power_rate(
        *(options[key] for key in ("gain", "power_max_w", "bandwidth_hz", "noise_w_per_hz"))
    )
    split = solvers.solve_transmit([rate_max], **options)
    assert (split.total, split.gap) == (rate_max, 0.0)
    assert split.power_w == pytest.approx(options["power_max_w"], rel=1e-14)


@pytest.mark.parametrize("name", [f"{p.name}{way}" for p in PROBLEMS for way in ("", "_cvxpy")])
@pytest.mark.parametrize(
    "backlog", [[-1.0], [1.0, math.nan], [math.inf], [], [[1.0, 2.0]], 3.0], ids=lambda backlog: str(backlog)
)
def test_bad_backlog_is_refused(name, backlog):
    """Neither the exact solvers nor the references guess what was meant."""
    module = reference if name.endswith("cvxpy") else solvers
    with pytest.raises(ValueError, match="backlog"):
        getattr(module, f"solve_{name}")(backlog, **BY_NAME[name.split("_")[0]].options)


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
        reference.solve_edge_cvxpy([1.0], slot_s=SLOT_S, frequency_max_hz=1e9)
    assert make("exact").system.config.solver == "exact"
