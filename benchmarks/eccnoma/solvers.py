"""`ECCNOMA-v0`: the analytic gradient against autograd, the local search against Li-GD, Li-GD warm against cold.

Repetition k of every side solves draw k, so the ratios within a repetition are of the same problem. Every timed
solution is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.eccnoma import kernels
from benchmarks.eccnoma.problems import (
    LITERAL,
    DenseGradient,
    Point,
    Size,
    SortedGradient,
    TorchGradient,
    radio_problems,
)
from benchmarks.solvers import solve_sampler
from benchmarks.timing import Number, Result, Row, Sampler, interleave
from edge_envs.core.kernels.jit import FastCall
from edge_envs.eccnoma.config import ECCNOMAConfig
from edge_envs.eccnoma.model.parameters import parameters_of
from edge_envs.eccnoma.solvers import api
from edge_envs.eccnoma.solvers.api import Assignment
from edge_envs.eccnoma.solvers.problem import RadioProblem

ENV_ID = "ECCNOMA-v0"
SMALL, PAPER = Size(50, 3, 20), Size(LITERAL.num_users, LITERAL.num_aps, LITERAL.num_subchannels)
GRADIENTS: Mapping[Size, float | None] = {SMALL: None, PAPER: 3.0}
"""Sizes of the gradient problems, and smallest acceptable speed-ups over sorted sums in PyTorch."""
LARGEST_DENSE = 100
"""Largest number of users with a table of all pairs; at the paper's size it would take 3 GB."""
LINKS_PER_SAMPLE = 100_000
"""Users times subchannels per sample of gradients, which takes a few milliseconds."""
GRADIENT_DRAWS = 3


class Trial(NamedTuple):
    """Settings of the comparison of the local search with Li-GD at one size."""

    target: float | None
    """Smallest acceptable speed-up."""
    draws: int
    repetitions: int
    """Maximum number of repetitions; with 1 there is no warm-up."""


SEARCHES: Mapping[Size, Trial] = {
    Size(12, 2, 6): Trial(None, 16, 31),
    SMALL: Trial(50.0, 16, 31),
    Size(250, 5, 30): Trial(None, 5, 5),
    # One relaxed solve takes a minute.
    PAPER: Trial(100.0, 1, 1),
}
REPEATED_SEARCHES = 3
"""Local searches per sample, which is their mean."""
LI_GD_SIZE, LI_GD_NETWORK, LI_GD_DRAWS, MAX_LI_GD_REPETITIONS = Size(24, 2, 8), "nin@32", 5, 10
COST_AGREEMENT = 1e-9
"""Largest relative difference between a cost and its separate evaluation from subchannels and powers."""
CUT_AGREEMENT = 0.01
"""Largest relative difference between warm and cold costs at the best cut."""

KERNEL = "kernels: cost and gradient, users ordered before"
SORTED, DENSE = "autograd: sorted gather, running sums, ordered before", "autograd: table of all pairs, made before"
SEARCH, ONE_SWEEP, LI_GD = "local search", "local search, one sweep", "Li-GD: relaxed to 1e-5, rounded"
WARM, COLD = "Li-GD, warm", "gradient descent, cold"

Solve = Callable[[RadioProblem], Assignment]


def our_gradients(points: Sequence[Point], times: int) -> Sampler:
    """Sampler of the seconds per gradient of our kernels, on the next point in each sample."""
    call = FastCall(kernels.repeat_gradient)

    def check(point: Point, cost: float) -> None:
        point.check(KERNEL, cost, point.memory.beta_slope.T, point.memory.power_slope)

    return solve_sampler(points, lambda point: call(*point.arguments, times), check, times)


def torch_gradients(label: str, kind: type[TorchGradient], points: Sequence[Point], times: int) -> Sampler:
    """Sampler of the seconds per gradient of autograd, on the next point in each sample."""

    def solve(draw: tuple[Point, TorchGradient]) -> Any:
        for _ in range(times):
            found = draw[1].solve()
        return found

    draws = [(point, kind(point)) for point in points]
    return solve_sampler(draws, solve, lambda draw, found: draw[0].check(label, *draw[1].natural(found)), times)


def gradient(repetitions: int) -> list[Row]:
    """Compare our kernels with PyTorch's autograd, for cost and gradient at random shares and powers, in one thread.

    The orders of cancellation and the tables that depend on the gains alone are computed before, on both sides.
    """
    rows = []
    for size, target in GRADIENTS.items():
        pairs = [radio_problems(size, seed) for seed in range(GRADIENT_DRAWS)]
        for way, direction in enumerate(("uplink", "downlink")):
            points = [Point(pair[way], seed) for seed, pair in enumerate(pairs)]
            times = max(1, LINKS_PER_SAMPLE // (size.users * size.subchannels))
            kinds: dict[str, type[TorchGradient]] = {SORTED: SortedGradient}
            if size.users <= LARGEST_DENSE:
                kinds[DENSE] = DenseGradient
            samplers = {KERNEL: our_gradients(points, times)}
            samplers |= {label: torch_gradients(label, kind, points, times) for label, kind in kinds.items()}
            own, *others = interleave(samplers, repetitions).values()
            name = f"{ENV_ID}: gradient, {direction}, {size}"
            for other in others:
                wanted = target if other.label == SORTED else None
                rows.append(Row(name, "gradient", own, other, kind="speed-up", target=wanted))
    return rows


def checked(problem: RadioProblem, found: Assignment) -> float:
    """Return the cost of an assignment.

    Raises:
        RuntimeError: the cost differs from that of the subchannels and powers or is below its bound, or a subchannel
            has more users than its capacity.
    """
    beta = np.zeros((problem.users, problem.subchannels))
    beta[np.arange(problem.users), found.subchannel] = 1.0
    cost = api.radio_cost(problem, beta, found.power_w)
    if not abs(found.cost / cost - 1.0) <= COST_AGREEMENT:
        raise RuntimeError(f"cost {found.cost!r} is not the {cost!r} of its subchannels and powers")
    if not found.cost >= found.bound * (1.0 - COST_AGREEMENT):
        raise RuntimeError(f"cost {found.cost!r} is below its bound {found.bound!r}")
    load = np.zeros((problem.gain.shape[2], problem.subchannels), dtype=np.int64)
    np.add.at(load, (problem.ap, found.subchannel), 1)
    if load.max() > problem.capacity:
        raise RuntimeError(f"{load.max()} users of an AP share a subchannel, above {problem.capacity}")
    return found.cost


def search_sampler(
    problems: Sequence[RadioProblem], solve: Solve, costs: dict[int, float], times: int = 1
) -> Sampler:  # fmt: skip
    """Sampler of the seconds per solve, on the next problem in each sample; stores the costs by number of the problem.

    Args:
        problems: problems to solve.
        solve: returns the assignment.
        costs: receives the costs.
        times: solves per sample.
    """

    def repeated(draw: tuple[int, RadioProblem]) -> Assignment:
        for _ in range(times):
            found = solve(draw[1])
        return found

    def check(draw: tuple[int, RadioProblem], found: Assignment) -> None:
        costs[draw[0]] = checked(draw[1], found)

    return solve_sampler(list(enumerate(problems)), repeated, check, times)


def descended(steps: list[int], problem: RadioProblem) -> Assignment:
    """Mirror descent with the defaults, then rounding; the number of steps is appended to `steps`."""
    relaxed = api.relax(problem)
    steps.append(relaxed.iterations)
    return api.round_relaxed(problem, relaxed.beta, relaxed.power_w)


def search(repetitions: int) -> list[Result]:
    """Compare the local search with Li-GD for uplink subchannels and powers, from Python: times and costs."""
    rows: list[Result] = []
    for size, trial in SEARCHES.items():
        problems = [radio_problems(size, seed)[0] for seed in range(trial.draws)]
        steps: list[int] = []
        costs: dict[str, dict[int, float]] = {SEARCH: {}, ONE_SWEEP: {}, LI_GD: {}}
        samplers = {
            SEARCH: search_sampler(problems, api.assign, costs[SEARCH], REPEATED_SEARCHES),
            ONE_SWEEP: search_sampler(problems, partial(api.assign, sweeps=1), costs[ONE_SWEEP], REPEATED_SEARCHES),
            LI_GD: search_sampler(problems, partial(descended, steps), costs[LI_GD]),
        }
        repeats = min(repetitions, trial.repetitions)
        timed = interleave(samplers, repeats, warm_up=0 if trial.repetitions == 1 else 1)
        name = f"{ENV_ID}: uplink, {size}"
        for label, target in ((SEARCH, trial.target), (ONE_SWEEP, None)):
            rows.append(Row(name, "solve", timed[label], timed[LI_GD], kind="speed-up", target=target))
            ratios = np.array([cost / costs[LI_GD][draw] for draw, cost in costs[label].items()])
            about = f"{label}; {len(ratios)} draws, Li-GD in {np.median(steps):.0f} steps"
            rows.append(Number(f"{name}, cost", "of Li-GD's", about, ratios))
    return rows


class CommonCuts(NamedTuple):
    """Arguments of Algorithm 1 for users that all have the same network."""

    uplink: RadioProblem
    downlink: RadioProblem
    bits: NDArray[np.float64]  # (U, L)
    result_bits: NDArray[np.float64]  # (U,)
    fixed_cost: NDArray[np.float64]  # (L,)


def common_cuts(size: Size, network: str, seed: int) -> CommonCuts:
    """A frame of the environment at all cuts of a network, with each user's best number of server units."""
    up, down = radio_problems(size, seed)
    p = parameters_of(ECCNOMAConfig.from_options("paper-literal", {"networks": (network,), "cuts": "all"}))
    energy = p.weight_energy * p.server_energy_coefficient
    slowest, fastest = (float(api.cores_speed(r, p.unit_speed_flop_s)) for r in (p.units_min, p.units_max))
    speed = api.server_speed(p.weight_delay, energy, speed_min=slowest, speed_max=fastest)
    device = p.device_flop[0] * (p.weight_delay / LITERAL.speed_min_flop_s + p.weight_energy * p.device_j_per_flop)
    server = p.server_flop[0] * (p.weight_delay / speed + energy * speed * speed)
    bits = np.tile(p.bits_up[0], (size.users, 1))
    return CommonCuts(up, down, bits, np.full(size.users, p.result_bits), size.users * (device + server))


def li_gd(repetitions: int) -> list[Result]:
    """Compare Algorithm 1 over all cuts of a network, warm-started from the previous cut, with equal-share starts."""
    draws = [common_cuts(LI_GD_SIZE, LI_GD_NETWORK, seed) for seed in range(LI_GD_DRAWS)]
    results: dict[bool, dict[int, api.LiGD]] = {True: {}, False: {}}

    def runs(warm: bool) -> Sampler:
        def store(draw: tuple[int, CommonCuts], found: api.LiGD) -> None:
            results[warm][draw[0]] = found

        return solve_sampler(list(enumerate(draws)), lambda draw: api.li_gd(*draw[1], warm=warm), store)

    own, other = interleave({WARM: runs(True), COLD: runs(False)}, min(repetitions, MAX_LI_GD_REPETITIONS)).values()
    steps, costs = [], []
    for draw, ours in results[True].items():
        theirs = results[False][draw]
        costs.append(ours.costs[ours.best] / theirs.costs[theirs.best])
        steps.append(theirs.iterations.sum() / ours.iterations.sum())
        if not abs(costs[-1] - 1.0) <= CUT_AGREEMENT:
            raise RuntimeError(f"warm costs {costs[-1]!r} of cold at cuts {ours.best} and {theirs.best}")
    name = f"{ENV_ID}: {len(draws[0].fixed_cost)} common cuts of {LI_GD_NETWORK}, {LI_GD_SIZE}"
    return [
        Row(name, "run", own, other, kind="speed-up"),
        Number(f"{name}, steps", "cold steps per warm one", "both directions, all cuts", np.array(steps)),
        Number(f"{name}, cost", "of the cold one's", "warm, at the best cut", np.array(costs)),
    ]


BENCHMARKS: Mapping[str, Callable[[int], Sequence[Result]]] = {
    "eccnoma.gradient": gradient,
    "eccnoma.search": search,
    "eccnoma.li-gd": li_gd,
}
