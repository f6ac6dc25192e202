"""`SemCom-v0`: the exact solvers against CVXPY, SLSQP and the paper's own algorithm, and the growth of their time.

The problems are draws of the paper's Table II with its bandwidth per device. Repetition k of every side solves draw k,
so the ratios within a repetition are of the same problem. Ours is timed as a compiled kernel on allocated memory, cold
start and certificate included. Every timed solution is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.semcom import kernels
from benchmarks.solvers import checked_sampler, require_cvxpy, solve_sampler
from benchmarks.timing import Number, Result, Row, Sampler, exponents, interleave
from edge_envs.core.kernels.jit import FastCall
from edge_envs.semcom.config import SemComConfig
from edge_envs.semcom.image_quality import snr_needed
from edge_envs.semcom.model.parameters import parameters_of
from edge_envs.semcom.model.state import allocate_problem
from edge_envs.semcom.solvers import reference_cvxpy, reference_slsqp
from edge_envs.semcom.solvers.paper_algorithms import unused_rule
from edge_envs.semcom.solvers.problem import TOTAL, Array, Problem, allocate_workspace, prepare

ENV_ID = "SemCom-v0"
BANDWIDTH_PER_DEVICE_HZ = 4e5
"""Table II: 20 MHz for 50 devices."""
SIZES = (10, 50)
"""Numbers of devices at which solvers are compared; SLSQP, whose time grows with the cube, gets only the first."""
GROWTH_SIZES = (10, 100, 1000, 10_000)
DRAWS = 8
DEVICES_PER_SAMPLE = 1000
"""Minimum number of devices per sample of the joint solver, which takes a few milliseconds."""
P3_REPEATS = 20
"""Factor on the number of solves per sample for P3, which is much faster."""
GAP_MAX = 1e-6
"""Largest relative duality gap of a certified solution."""
AGREEMENT = 1e-6
"""Largest relative difference between another solver's objective and ours."""

OURS = "kernel, certificate included"
REBUILT, COMPILED = "CVXPY + Clarabel, rebuilt", "CVXPY + Clarabel, compiled once"
SERIES, QUADRATURE = "geometric program", "geometric program by quadrature"
Solve = Callable[["Instance"], float]
"""Another way to solve an instance; returns its objective."""


class Instance:
    """A draw of Table II at the smallest compression rate, with memory and Algorithm 3's first subproblems."""

    def __init__(self, devices: int, seed: int) -> None:
        config = SemComConfig.from_options(
            "paper",
            {"num_devices": devices, "bandwidth_hz": BANDWIDTH_PER_DEVICE_HZ * devices, "geometry_seed": seed},
        )
        p = parameters_of(config)
        self.problem: Problem = allocate_problem(p)
        gain, device_cycles, server_cycles = p.fixed_geometry
        self.problem.bits[:] = p.compression_min * p.raw_bits
        self.problem.gain[:] = gain
        self.problem.snr_min[:] = snr_needed(p.law, p.compression_min, p.psnr_min_db)
        self.problem.device_cycles[:] = device_cycles * p.samples
        self.problem.server_cycles[:] = server_cycles * p.samples
        self.workspace = allocate_workspace(devices)
        prepare(self.problem, self.workspace)
        kernels.share_evenly(self.problem, self.workspace)
        band_hz = self.workspace.bandwidth_hz
        snr = self.workspace.power_w * self.problem.gain / (self.problem.noise_w_per_hz * band_hz)
        self.rates_bps: Array = band_hz * np.log2(1.0 + snr)
        self.upload_s: Array = self.problem.bits / self.rates_bps
        self.workspace.upload_s[:] = self.upload_s
        self.rule = unused_rule(devices)

    @property
    def objective(self) -> float:
        """Objective of the last solve."""
        return float(self.workspace.totals[TOTAL.objective])

    @property
    def gap(self) -> float:
        """Relative duality gap of the last solve."""
        return self.objective / float(self.workspace.totals[TOTAL.lower_bound]) - 1.0


def instances(devices: int) -> list[Instance]:
    """The draws of a size."""
    return [Instance(devices, seed) for seed in range(DRAWS)]


def certified(instance: Instance) -> float:
    """Return the objective of the last solve, or raise RuntimeError if its duality gap is too large."""
    if not abs(instance.gap) <= GAP_MAX:
        raise RuntimeError(f"the timed solve has a duality gap of {instance.gap:.1e}, above {GAP_MAX:g}")
    return instance.objective


def our_sampler(draws: Sequence[Instance], kernel: Callable[..., Any], more: Callable[[Instance], tuple[Any, ...]],
                repeats: int, optimal: bool = True) -> Sampler:  # fmt: skip
    """Sampler of the seconds per solve of a kernel that repeats the solve, on the next draw in each sample.

    Args:
        draws: instances to solve.
        kernel: takes problem, workspace, `more(instance)` and the number of solves.
        more: further arguments for an instance.
        repeats: solves per sample.
        optimal: True if the kernel certifies the problem's optimum.
    """
    call = FastCall(kernel)

    def solve(instance: Instance) -> None:
        # Another kernel may have overwritten the upload times.
        instance.workspace.upload_s[:] = instance.upload_s
        call(instance.problem, instance.workspace, *more(instance), repeats)

    return solve_sampler(draws, solve, lambda each, _: certified(each) if optimal else None, repeats)


def repeats_of(devices: int) -> int:
    """Solves per sample."""
    return max(1, DEVICES_PER_SAMPLE // devices)


def against(
    name: str, devices: int, kernel: Callable[..., Any], more: Callable[[Instance], tuple[Any, ...]],
    others: Mapping[str, Solve], targets: Mapping[str, float], repetitions: int, factor: int = 1,
) -> list[Row]:  # fmt: skip
    """Compare a kernel with other solvers on the same draws.

    Args:
        name: name of the problem.
        devices: number of devices.
        kernel: see `our_sampler`.
        more: see `our_sampler`.
        others: other solvers by label.
        targets: smallest acceptable speed-ups by label.
        repetitions: samples of each side.
        factor: factor on the number of solves of the kernel per sample.
    """
    draws = instances(devices)
    ours = our_sampler(draws, kernel, more, factor * repeats_of(devices))
    optimum = []
    for instance in draws:
        ours()
        optimum.append(certified(instance))
    samplers = {OURS: ours}
    for label, solve in others.items():
        samplers[label] = checked_sampler([partial(solve, each) for each in draws], optimum, AGREEMENT)
    sides = interleave(samplers, repetitions)
    own = sides.pop(OURS)
    return [
        Row(f"{ENV_ID}: {name}, N = {devices}", "solve", own, side, kind="speed-up", target=targets.get(label))
        for label, side in sides.items()
    ]


def p3(repetitions: int) -> list[Row]:
    """Compare solvers of P3 at the upload times of equal shares."""
    require_cvxpy()
    compiled = reference_cvxpy.CompiledReference()
    others: dict[str, Solve] = {
        REBUILT: lambda each: reference_cvxpy.solve_p3_cvxpy(each.problem, each.upload_s).objective,
        COMPILED: lambda each: compiled.solve_p3(each.problem, each.upload_s).objective,
    }
    compare = partial(against, "P3", kernel=kernels.repeat_p3, more=lambda _: (), others=others)
    targets = {REBUILT: 1000.0}
    return [row for n in SIZES for row in compare(n, targets=targets, repetitions=repetitions, factor=P3_REPEATS)]


def p4(repetitions: int) -> list[Row]:
    """Compare solvers of P4 at the rates of equal shares."""
    require_cvxpy()
    compiled = reference_cvxpy.CompiledReference()
    others: dict[str, Solve] = {
        REBUILT: lambda each: reference_cvxpy.solve_p4_cvxpy(each.problem, each.rates_bps).objective,
        COMPILED: lambda each: compiled.solve_p4(each.problem, each.rates_bps).objective,
    }
    compare = partial(against, "P4", kernel=kernels.repeat_p4, more=lambda each: (each.rates_bps,), others=others)
    return [row for n in SIZES for row in compare(n, targets={REBUILT: 80.0}, repetitions=repetitions)]


def joint_solvers(devices: int) -> dict[str, Solve]:
    """Other solvers of the joint problem: CVXPY's geometric program, with a power series and by quadrature, and SLSQP.

    Raises:
        Skipped: CVXPY is not installed.
    """
    require_cvxpy()
    compiled = reference_cvxpy.CompiledReference()
    series, quadrature = reference_cvxpy.joint_form, reference_cvxpy.quadrature_form
    others: dict[str, Solve] = {
        f"{SERIES}, {REBUILT}": lambda each: reference_cvxpy.solve_joint_cvxpy(each.problem).objective,
        f"{SERIES}, {COMPILED}": lambda each: compiled.solve_joint(each.problem, form=series).objective,
        f"{QUADRATURE}, {REBUILT}": (
            lambda each: reference_cvxpy.solve_joint_cvxpy(each.problem, form=quadrature).objective
        ),
        f"{QUADRATURE}, {COMPILED}": (lambda each: compiled.solve_joint(each.problem, form=quadrature).objective),
    }
    if devices == SIZES[0]:
        others["SciPy's SLSQP, exact derivatives"] = lambda each: (
            reference_slsqp.solve_joint_slsqp(each.problem).objective
        )
    return others


def joint(repetitions: int) -> list[Row]:
    """Compare the joint solver with general solvers, and with Algorithm 3, which does not reach the optimum."""
    rows = []
    for devices in SIZES:
        targets = {f"{SERIES}, {REBUILT}": 10_000.0}
        rows += against(
            "joint optimum", devices, kernels.repeat_joint, lambda _: (), joint_solvers(devices), targets, repetitions
        )
        rows.append(against_algorithm_3(devices, repetitions))
    return rows


def against_algorithm_3(devices: int, repetitions: int) -> Row:
    """Compare both as compiled kernels; the label contains the excess of Algorithm 3's objective over the optimum."""
    draws, repeats = instances(devices), repeats_of(devices)
    ours = our_sampler(draws, kernels.repeat_joint, lambda _: (), repeats)
    theirs = our_sampler(draws, kernels.repeat_alternating, lambda each: (each.rule,), repeats, optimal=False)
    objectives = []
    for solve in (ours, theirs):
        for _ in draws:
            solve()
        objectives.append([each.objective for each in draws])
    excess = float(np.median(np.divide(objectives[1], objectives[0]))) - 1.0
    own, other = interleave({OURS: ours, f"Algorithm 3, kernel: costs {excess:.0%} more": theirs}, repetitions).values()
    return Row(f"{ENV_ID}: joint optimum, N = {devices}", "solve", own, other, kind="speed-up", target=1.0)


def growth(repetitions: int) -> list[Number]:
    """Growth of the joint solver's time with the number of devices N: slope of log time over log N."""
    samplers = {
        f"N = {devices:,}": our_sampler(instances(devices), kernels.repeat_joint, lambda _: (), repeats_of(devices))
        for devices in GROWTH_SIZES
    }
    sides = tuple(interleave(samplers, repetitions).values())
    name = f"{ENV_ID}: joint optimum, growth with N"
    return [Number(name, "exponent", "fit to times of a solve", exponents(GROWTH_SIZES, sides), sides, "at most", 1.1)]


BENCHMARKS: Mapping[str, Callable[[int], Sequence[Result]]] = {
    "semcom.p3": p3,
    "semcom.p4": p4,
    "semcom.joint": joint,
    "semcom.growth": growth,
}
