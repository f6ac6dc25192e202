"""Mutations of the solvers of `DTIRS-v0`, each with the certificate that must notice them.

The problems themselves (works, gains, the quadratic form of the phases) are not mutated, because a certificate is about
the solution of a given problem. `tests/dtirs` compares problems with plain loops.

Losses of powers and shares are relative to the optimum; losses of twins, phases and their relaxation are relative to
the same number as their gaps. Points that break a limit are first scaled back into it, so that they have a cost.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels import order
from edge_envs.dtirs.config import DTIRSConfig, Uplink
from edge_envs.dtirs.model import allocation, channels, dynamics, reward, state
from edge_envs.dtirs.model.parameters import UPLINK, Parameters, parameters_of
from edge_envs.dtirs.model.state import State
from edge_envs.dtirs.solvers import api, certificates, phases, power
from edge_envs.dtirs.solvers import compute_pool as pool
from tests.certificates.harness import Mutation, Solver
from tests.dtirs.solvers.problems import (
    PoolProblem,
    PowerProblem,
    TwinProblem,
    random_pool,
    random_power,
    random_quadratic,
    random_twins,
)

Floats = NDArray[np.float64]

ENDLESS = 1e200
"""Cost in place of an infinite one, so that losses are numbers."""

phases.SWEEPS_MAX = 60  # so that mutants that never converge terminate


def finite(cost: float) -> float:
    """The cost, at most ENDLESS; ENDLESS for NaN."""
    return min(cost, ENDLESS) if cost == cost else ENDLESS


def fitted(parts: Floats, whole: float) -> Floats:
    """Non-negative parts, scaled so that their sum is at most the whole."""
    parts = np.maximum(np.nan_to_num(parts, nan=0.0, posinf=whole), 0.0)
    return np.asarray(parts * min(1.0, whole / max(parts.sum(), 1e-300)))


# Powers


def power_cost(problem: PowerProblem, watts: Floats) -> float:
    """Sum of the downlink delays [s]."""
    busy = problem.unit_delay_s > 0.0
    watts = fitted(np.minimum(watts, problem.power_max_w), problem.power_total_w)
    return finite(float((problem.unit_delay_s[busy] / np.log1p(problem.gain_per_w * watts)[busy]).sum()))


def solve_power(problem: PowerProblem) -> tuple[Floats, float]:
    """Powers and their KKT residual."""
    found = api.allocate_power(*problem)
    return found.power_w, found.residual


POWERS = Solver(
    name="powers",
    instances=[random_power(seed, 6) for seed in (0, 1, 2, 3, 5, 8, 9, 12, 15, 20, 23, 31)],
    solve=solve_power,
    cost=power_cost,
    scale=lambda problem, _: power_cost(problem, solve_power(problem)[0]),
    mutations=[
        Mutation("half the budget", power.allocate_power,
                 "math.log(spent / power_total_w)", "math.log(2 * spent / power_total_w)"),
        Mutation("one step of Newton's method", power.allocate_power, "range(STEPS_MAX)", "range(1)"),
        Mutation("two steps of Newton's method", power.allocate_power, "range(STEPS_MAX)", "range(2)"),
        Mutation("sign of the miss", power.allocate_power, "miss > 0.0)", "miss < 0.0)"),
        Mutation("factor 2 in the exponent forgotten", power.allocate_power,
                 "min(math.expm1(2.0 * power_w[k])", "min(math.expm1(power_w[k])"),
        Mutation("limit of a device halved", power.allocate_power,
                 "power_w[k]) / gain_per_w[k], power_max_w)", "power_w[k]) / gain_per_w[k], 0.5 * power_max_w)"),
        Mutation("first device's gain for all", power.allocate_power,
                 "spent += min(grown / gain_per_w[k]", "spent += min(grown / gain_per_w[0]"),
        Mutation("all at their limit too early", power.allocate_power,
                 "active * power_max_w <= power_total_w", "active * power_max_w <= 2.0 * power_total_w"),
        Mutation("sign of the first price", power.start_halves, "0.5 * (value - mean)", "0.5 * (mean - value)"),
        Mutation("ends at a tenth of the budget off", power.allocate_power,
                 "abs(miss) <= BUDGET_TOLERANCE", "abs(miss) <= 0.1"),
        Mutation("square of the logarithm forgotten", power.log_marginal, "2.0 * math.log(t)", "math.log(t)"),
    ],
)  # fmt: skip

# The pool


class Shares(NamedTuple):
    """Boosts and back-end speeds (K,) [FLOP/s]."""

    boost: Floats
    back_end: Floats


def pool_cost(problem: PoolProblem, shares: Shares) -> float:
    """Delay of the twins' front ends and of all back ends [s]."""
    useful = np.concatenate((problem.twin & (problem.front_flop > 0.0), problem.back_flop > 0.0))
    speed = fitted(np.concatenate(shares), problem.capacity_flop_s)
    speed[: len(problem.twin)] += problem.speed_flop_s
    work = np.concatenate((problem.front_flop, problem.back_flop))
    return finite(float((work[useful] / speed[useful]).sum()))


def share_pool(problem: PoolProblem) -> tuple[Shares, float]:
    """Shares and their KKT residual."""
    found = api.share_pool(*problem)
    return Shares(found.twin_boost_flop_s, found.back_end_flop_s), found.residual


def bisect(problem: PoolProblem) -> tuple[Shares, float]:
    """Shares by Algorithm 3, without back ends, and their KKT residual."""
    found = api.bisect_frequency(*problem[:4])
    return Shares(found.twin_boost_flop_s, found.back_end_flop_s), found.residual


POOLS = [random_pool(seed, 6) for seed in range(40)]
POOLS = [problem for problem in POOLS if (problem.twin & (problem.front_flop > 0.0)).any()]
POOL = Solver(
    name="pool",
    instances=POOLS,
    solve=share_pool,
    cost=pool_cost,
    scale=lambda problem, _: pool_cost(problem, share_pool(problem)[0]),
    mutations=[
        Mutation("half the pool", pool.share_pool, "(capacity_flop_s + offset)", "(0.5 * capacity_flop_s + offset)"),
        Mutation("sign of the own speeds", pool.share_pool, "offset += speed_flop_s[k]", "offset -= speed_flop_s[k]"),
        Mutation("own speeds forgotten", pool.share_pool, "offset += speed_flop_s[k]", "pass"),
        Mutation("one step of Newton's method", pool.share_pool, "range(users + 2)", "range(1)"),
        Mutation("root forgotten", pool.share_pool, "slope += math.sqrt(back_flop[k])", "slope += back_flop[k]"),
        Mutation("first twin's work for all", pool.share_pool,
                 "max(s * math.sqrt(front_flop[k])", "max(s * math.sqrt(front_flop[0])"),
        Mutation("nothing for anybody", pool.share_pool, "if slope == 0.0", "if slope > 0.0"),
        Mutation("nothing for back ends", pool.share_pool, "s * math.sqrt(back_flop[k])", "0.0"),
        Mutation("boosts for all", pool.share_pool, "if twin[k]:", "if True:"),
    ],
)  # fmt: skip
BISECTION = Solver(
    name="pool by bisection",
    instances=[problem._replace(back_flop=np.zeros(6)) for problem in POOLS],
    solve=bisect,
    cost=pool_cost,
    scale=lambda problem, _: pool_cost(problem, share_pool(problem)[0]),
    mutations=[
        Mutation("half the pool", api.bisect_frequency, "used > capacity", "used > 0.5 * capacity"),
        Mutation("sign of the bisection", api.bisect_frequency, "used > capacity", "used < capacity"),
        Mutation("sign of the own speeds", api.bisect_frequency, "- speed, 0.0)", "+ speed, 0.0)"),
        Mutation("three steps", api.bisect_frequency, "range(2000)", "range(3)"),
        Mutation("ten steps", api.bisect_frequency, "range(2000)", "range(10)"),
        Mutation("largest work for all", api.bisect_frequency, "np.sqrt(front / price)",
                 "np.sqrt(front.max() / price)"),
    ],
)  # fmt: skip

# Twins


class Chosen(NamedTuple):
    """Who has a twin (K,), and the shares."""

    twin: NDArray[np.bool_]
    shares: Shares


def twin_cost(problem: TwinProblem, chosen: Chosen) -> float:
    """All computing and synchronisation [s]."""
    twin = chosen.twin
    pooled = PoolProblem(problem.front_flop, problem.speed_flop_s, twin, problem.capacity_flop_s, problem.back_flop)
    own = (problem.front_flop / problem.speed_flop_s)[~twin].sum()
    return finite(pool_cost(pooled, chosen.shares) + float(own + problem.sync_s[twin].sum()))


def choose_twins(problem: TwinProblem) -> tuple[Chosen, float]:
    """Twins with their shares, and the larger of the twin gap and the KKT residual of the shares.

    Only the residual shows shares that exceed the pool.
    """
    found = api.choose_twins(*problem)
    shares = Shares(found.shares.twin_boost_flop_s, found.shares.back_end_flop_s)
    gap = certificates.relative_gap(found.bound_s, found.delay_s)
    return Chosen(found.twin, shares), max(gap, found.shares.residual)


TWINS = Solver(
    name="twins",
    instances=[random_twins(seed, 7) for seed in range(40)],
    solve=choose_twins,
    cost=twin_cost,
    scale=twin_cost,
    mutations=[
        Mutation("sign of the sort", order.sort_falling, "= key[before] <", "= key[before] >"),
        Mutation("first threshold for all", pool.choose_twins, "     low = high", "     low = -minus_threshold[0]"),
        Mutation("sign of a change", pool.change_one_by_one, "if change < best", "if change > best"),
        Mutation("sides swapped", pool.change_one_by_one, "-1.0 if twin[k] else 1.0", "1.0 if twin[k] else -1.0"),
        Mutation("upload twice", pool.change_one_by_one, "side * (sync_s[k]", "side * (2.0 * sync_s[k]"),
        Mutation("upload forgotten", pool.change_one_by_one, "side * (sync_s[k] -", "side * (0.0 -"),
        Mutation("no single changes", pool.change_one_by_one, "if chosen < 0 or", "if True or"),
        Mutation("first user changes", pool.change_one_by_one, "twin[chosen] = not", "twin[0] = not"),
    ],
)  # fmt: skip

# Phases


class Frame(NamedTuple):
    """A world before a step, with cuts."""

    p: Parameters
    s: State


def begun(seed: int, **options: Any) -> Frame:
    """A frame of a small world, solved at random cuts, with random weights of its gains."""
    rng = np.random.default_rng([9, seed])
    config = DTIRSConfig.from_options("default", {
        "num_devices": 4, "num_elements": 6, "num_antennas": 3, "phase_samples": 3, **options
    })  # fmt: skip
    p = parameters_of(config)
    s = state.allocate(p, 1)
    dynamics.begin_after_warmup(p, s, 0, rng)
    s.choice[0] = rng.integers(len(p.cut_numbers), size=p.num_devices)
    allocation.solve_frame(p, s, 0)
    s.workspace.weight_down[:], s.workspace.weight_up[:] = 10.0 ** rng.uniform(-1.0, 1.0, (2, p.num_devices))
    return Frame(p, s)


def certified(world: Frame) -> dict[str, float]:
    """The certificates of the world's allocation, by name."""
    metrics = np.zeros((1, len(reward.METRICS)))
    reward.certify(world.p, world.s, 0, metrics)
    return {metric.name: float(value) for metric, value in zip(reward.METRICS, metrics[0], strict=True)}


def complex_of(parts: Floats) -> NDArray[np.complex128]:
    """Complex numbers from their real and imaginary parts (1, 2, ...)."""
    return np.asarray(parts[0, 0] + 1j * parts[0, 1])


def phase_cost(world: Frame, phase: NDArray[np.complex128]) -> float:
    """Weighted sum of the gains, from the channels, with the sign of a cost."""
    s, h = world.s, complex_of(world.s.channel)
    size = np.abs(phase)
    v = np.divide(phase, size, out=np.ones_like(phase), where=size > 0.0)
    down = h.conj() * v @ complex_of(s.ap_irs).T
    up = h * v @ (complex_of(s.irs_ap) if world.p.uplink == UPLINK.INDEPENDENT else complex_of(s.ap_irs)).T.conj()
    if world.p.uplink == UPLINK.RECIPROCAL:
        up = down
    gains = [(np.abs(each) ** 2).sum(axis=1) for each in (down, up)]
    return -float(s.workspace.weight_down @ gains[0] + s.workspace.weight_up @ gains[1])


def solve_phases(world: Frame) -> tuple[NDArray[np.complex128], float]:
    """Phases for weighted gains, and their gap to the relaxation's bound."""
    world.s.workspace.phase[:] = 0.0
    channels.solve_phases(world.p, world.s, 0)
    return complex_of(world.s.phase), certified(world)["phase_gap"]


PHASES = Solver(
    name="phases",
    instances=[
        begun(seed, uplink=uplink, phase_polish=polish, num_elements=12, num_devices=8)
        for seed, (uplink, polish) in enumerate(itertools.product(Uplink, (False, True)))
    ],
    solve=solve_phases,
    cost=phase_cost,
    scale=lambda world, _: -phase_cost(world, solve_phases(world)[0]),
    mutations=[
        Mutation("keeps no draw", phases.randomise, "if value > best", "if value < best"),
        Mutation("one draw", phases.randomise, "range(samples)", "range(1)"),
        Mutation("sign in the draws", phases.randomise, "- x[1, i, c] * b", "+ x[1, i, c] * b"),
        Mutation("draws in half of the circle", phases.unit, "(re / size, im / size)", "(re / size, abs(im) / size)"),
        Mutation("draws not of unit modulus", phases.unit, "(re / size, im / size)", "(re, im)"),
        Mutation("sign of the ascent", phases.polish, "re / size, im / size", "-re / size, im / size"),
        Mutation("one sweep of the ascent", phases.polish, "range(SWEEPS_MAX)", "range(1)"),
        Mutation("phases turned the other way", channels.solve_phases,
                 "w.phase[0, n], w.phase[1, n]", "w.phase[0, n], -w.phase[1, n]"),
        Mutation("own term of the ascent", phases.polish, "y[1, i] - q[0, i, i] * v[1, i]", "y[1, i]"),
        Mutation("half of the rows", phases.row_product, "if j != i", "if j < i"),
        Mutation("first row for all", phases.row_product, "q[0, i, j], q[1, i, j]", "q[0, 0, j], q[1, 0, j]"),
    ],
)  # fmt: skip


class Factor(NamedTuple):
    """A factor (N, R) of the relaxed matrix."""

    rows: NDArray[np.complex128]


def relax(quadratic: NDArray[np.complex128]) -> tuple[NDArray[np.complex128], float]:
    """Factor (N, R) of the relaxed matrix, and its proven gap."""
    found = api.optimise_phases(quadratic, samples=1, polish=False)
    return found.factor, found.gap


def relaxed_cost(quadratic: NDArray[np.complex128], factor: NDArray[np.complex128]) -> float:
    """Value of the relaxation (43) at the factor with rows of unit length, with the sign of a cost."""
    rows = factor / np.maximum(np.linalg.norm(factor, axis=1, keepdims=True), 1e-300)
    return -float(np.einsum("ij,jr,ir->", quadratic, rows, rows.conj()).real)


RELAXATION = Solver(
    name="relaxation",
    instances=[random_quadratic(seed, 8, decades=1.0) for seed in range(6)],
    solve=relax,
    cost=relaxed_cost,
    scale=lambda quadratic, factor: -relaxed_cost(quadratic, factor),
    mutations=[
        Mutation("half of the rows", phases.row_product, "if j != i", "if j < i"),
        Mutation("first row for all", phases.row_product, "q[0, i, j], q[1, i, j]", "q[0, 0, j], q[1, 0, j]"),
        Mutation("sign in the product", phases.row_product, "re * x[1, j, c] + im", "re * x[1, j, c] - im"),
        Mutation("rows not of unit length", phases.sweep_factor, "z[0, c] / norm", "z[0, c]"),
        Mutation("one row left out", phases.sweep_factor, "range(x.shape[1])", "range(1, x.shape[1])"),
        Mutation("ends without a proof", phases.relax, "small = 0, 10", "small = SWEEPS_MAX, 10"),
        Mutation("sign of a sweep", phases.sweep_factor, "x[1, i, c] = z[1, c]", "x[1, i, c] = -z[1, c]"),
    ],
)  # fmt: skip

# The frame


def frame_cost(world: Frame, work: Any) -> float:
    """The objective of an allocation without its constants, from its powers, twins and shares [s]."""
    p, s = world.p, world.s
    c = s.choice[0]
    problem = PowerProblem(
        s.gain_down[0] / p.noise_w,
        p.bits_down[c] * math.log(2.0) / p.device_bandwidth_hz,
        p.power_total_w,
        p.power_max_w,
    )
    every = np.arange(p.num_devices)
    up_s = 1.0 / (p.device_bandwidth_hz * np.log2(1.0 + p.power_uplink_w * s.gain_up[0] / p.noise_w))
    computing = TwinProblem(
        s.front_flop[0, every, c], s.speed_flop_s[0], p.sync_bits[c] * up_s, float(s.capacity_flop_s[0]),
        s.back_flop[0, every, c],
    )  # fmt: skip
    chosen = Chosen(work.twin, Shares(work.boost_flop_s, work.back_end_flop_s))
    return power_cost(problem, work.power_w) + twin_cost(computing, chosen) + float((p.bits_up[c] * up_s).sum())


def solve_frame(world: Frame) -> tuple[Any, float]:
    """The allocation at a frame's cuts, and the larger of its `certificate` and its `twin_gap`."""
    allocation.solve_frame(world.p, world.s, 0)
    found, work = certified(world), world.s.workspace
    return work._replace(**{
        name: getattr(work, name).copy() for name in ("power_w", "twin", "boost_flop_s", "back_end_flop_s")
    }), max(found["certificate"], found["twin_gap"])  # fmt: skip


FRAME = Solver(
    name="frame",
    instances=[begun(seed, phase="ca", pool_per_device_flop_s=1e10 * 10.0 ** (seed % 3 - 1)) for seed in range(12)],
    solve=solve_frame,
    cost=frame_cost,
    scale=frame_cost,
    mutations=[
        Mutation("half the power", allocation.solve_power, "w.unit_delay_s, p.power_total_w",
                 "w.unit_delay_s, 0.5 * p.power_total_w"),
        Mutation("limit of a device halved", allocation.solve_power, "p.power_max_w, w.power_w",
                 "0.02 * p.power_max_w, w.power_w"),
        Mutation("a tenth of the pool for the choice", allocation.choose_twins, "s.capacity_flop_s[row]",
                 "0.1 * s.capacity_flop_s[row]"),
        Mutation("upload of the weights forgotten", allocation.choose_twins, "w.twin_cost_s", "w.up_s"),
        Mutation("half the pool", allocation.share_pool, "s.capacity_flop_s[row]", "0.5 * s.capacity_flop_s[row]"),
        Mutation("front ends for back ends", allocation.share_pool, "w.back_flop, w.speed", "w.front_flop, w.speed"),
        Mutation("seconds taken for gains", allocation.solve_power, "w.gain_per_w, w.unit_delay_s",
                 "w.sync_s, w.unit_delay_s"),
    ],
)  # fmt: skip

SOLVERS = (POWERS, POOL, BISECTION, TWINS, PHASES, RELAXATION, FRAME)
