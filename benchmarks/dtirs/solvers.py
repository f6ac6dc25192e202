"""`DTIRS-v0`: the exact solvers against CVXPY's, and the growth of the time for the IRS phases.

The problems are frames of the environment at random cuts. Repetition k of every side solves draw k, so the ratios
within a repetition are of the same problem. Every timed solution is checked. Powers and shares take microseconds, so
ours are timed as compiled kernels on allocated memory, certificate included. Phases are timed as called from Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.dtirs import kernels
from benchmarks.dtirs.problems import Powers, Problem, Shares, new_frame
from benchmarks.solvers import checked_sampler, require_cvxpy, solve_sampler
from benchmarks.timing import Number, Result, Row, Sampler, Side, exponents, interleave
from edge_envs.core.kernels.jit import FastCall
from edge_envs.dtirs.model.parameters import Parameters
from edge_envs.dtirs.model.state import State
from edge_envs.dtirs.solvers import api, reference_cvxpy
from edge_envs.dtirs.solvers.phases import REPORT

ENV_ID = "DTIRS-v0"
SIZES = (10, 100)
"""Numbers of devices at which powers and shares are compared with CVXPY's."""
PHASE_DEVICES, PHASE_ELEMENTS = 100, 32
"""The paper's sizes; the relaxation is easier with fewer devices."""
GROWTH_ELEMENTS = (8, 16, 32, 64, 128, 256)
DRAWS, PHASE_DRAWS = 8, 4
MAX_PHASE_REPETITIONS = 5
"""Few, because an interior-point solve takes seconds."""
DEVICES_PER_SAMPLE = 20_000
"""Devices per sample of powers or shares, which takes a few milliseconds."""
REPEATED_ELEMENTS = 64
"""Below this size, phases are solved several times per sample."""
MAX_GAP, MAX_RESIDUAL = 1e-6, 1e-9
"""Largest relative duality gap and KKT residual of a certified solution."""
AGREEMENT = 1e-5
"""Largest relative difference between another solver's objective and ours."""

OURS = "kernel, certificate included"
REBUILT, COMPILED = "CVXPY + Clarabel, rebuilt", "CVXPY + Clarabel, compiled before"
OUR_PHASES = "optimise_phases: relaxation, certificate, 100 draws, polish"
TARGET_SCS, TARGET_CLARABEL, TARGET_CVXPY = 80.0, 300.0, 400.0


def our_sampler(draws: Sequence[Problem], kernel: Callable[..., float], repeats: int) -> Sampler:
    """Sampler of the seconds per solve of a kernel that repeats the solve, on the next draw in each sample."""
    call = FastCall(kernel)

    def check(_: Problem, residual: float) -> None:
        if not residual <= MAX_RESIDUAL:
            raise RuntimeError(f"the timed solve has a residual of {residual:.1e}, above {MAX_RESIDUAL:g}")

    return solve_sampler(draws, lambda each: call(*each.arguments, repeats), check, repeats)


def against(
    name: str, make: Callable[[int, int], Problem], kernel: Callable[..., float], repetitions: int
) -> list[Row]:
    """Compare a kernel with CVXPY on the same draws, at all sizes; `make` takes the number of devices and a seed."""
    require_cvxpy()
    rows = []
    for devices in SIZES:
        draws = [make(devices, seed) for seed in range(DRAWS)]
        ours = our_sampler(draws, kernel, max(1, DEVICES_PER_SAMPLE // devices))
        for _ in draws:
            ours()
        optimum = [each.objective for each in draws]
        samplers = {
            OURS: ours,
            REBUILT: checked_sampler([each.rebuilt for each in draws], optimum, AGREEMENT),
            COMPILED: checked_sampler([each.compile() for each in draws], optimum, AGREEMENT),
        }
        own, rebuilt, compiled = interleave(samplers, repetitions).values()
        title = f"{ENV_ID}: {name}, K = {devices}"
        rows.append(Row(title, "solve", own, rebuilt, kind="speed-up", target=TARGET_CVXPY))
        rows.append(Row(title, "solve", own, compiled, kind="speed-up"))
    return rows


def powers(repetitions: int) -> list[Row]:
    """Compare the solvers for downlink powers."""
    return against("powers", Powers, kernels.repeat_power, repetitions)


def shares(repetitions: int) -> list[Row]:
    """Compare the solvers for the twins' frequencies (32), and for the pool of twins and back ends."""
    rows = against("twin frequencies (32)", partial(Shares, True), kernels.repeat_pool, repetitions)
    return rows + against("pool of twins and back ends", partial(Shares, False), kernels.repeat_pool, repetitions)


def quadratic_form(elements: int, seed: int) -> NDArray[np.complex128]:
    """Q (N, N) of a frame, scaled to a mean diagonal of 1."""
    _, s = new_frame("default", seed, num_devices=PHASE_DEVICES, num_elements=elements)
    form: NDArray[np.complex128] = s.workspace.form[0] + 1j * s.workspace.form[1]
    return form


def relaxed_value(form: NDArray[np.complex128], matrix: NDArray[np.complex128]) -> float:
    """Re tr(Q V), after V has been scaled to a diagonal of exactly 1."""
    root = np.sqrt(np.diag(matrix).real)
    return float(np.sum(form * (matrix / np.outer(root, root)).conj()).real)


def certified(found: api.Phases) -> api.Phases:
    """Return the solution, or raise RuntimeError if its duality gap is too large."""
    if not found.gap <= MAX_GAP:
        raise RuntimeError(f"the timed phases have a duality gap of {found.gap:.1e}, above {MAX_GAP:g}")
    return found


def relaxation_sampler(
    draws: Sequence[tuple[NDArray[np.complex128], float]], solver: Any, form: Any, ratios: list[float]
) -> Sampler:
    """Sampler of the seconds per semidefinite relaxation by another solver.

    Args:
        draws: quadratic forms with our relaxed values.
        solver: solver of CVXPY.
        form: "primal" or "dual".
        ratios: the solver's relaxed values over ours are appended to it.
    """

    def check(draw: tuple[NDArray[np.complex128], float], matrix: NDArray[np.complex128]) -> None:
        ratios.append(relaxed_value(draw[0], matrix) / draw[1])
        if not abs(ratios[-1] - 1.0) <= AGREEMENT:
            raise RuntimeError(f"the relaxed value is {ratios[-1]!r} times the certified one")

    return solve_sampler(draws, lambda draw: reference_cvxpy.phases(draw[0], solver, form), check)


def phases(repetitions: int) -> list[Row]:
    """Compare all of Algorithm 4, from Python, with CVXPY's relaxation alone.

    CVXPY solves the paper's program and its dual, which is easier for some solvers. The solvers take at least three
    quarters of the time, so the programs are not compiled before. The labels contain the relaxed values' difference.
    """
    require_cvxpy()
    forms = [quadratic_form(PHASE_ELEMENTS, seed) for seed in range(PHASE_DRAWS)]
    draws = [(form, certified(api.optimise_phases(form)).relaxed) for form in forms]
    samplers = {OUR_PHASES: solve_sampler(forms, api.optimise_phases, lambda _, found: certified(found))}
    others: dict[str, tuple[list[float], float]] = {}
    for label, solver, target in (("SCS", "SCS", TARGET_SCS), ("Clarabel", "CLARABEL", TARGET_CLARABEL)):
        for form in ("primal", "dual"):
            name = f"CVXPY + {label}, {form} form"
            others[name] = [], target
            samplers[name] = relaxation_sampler(draws, solver, form, others[name][0])
    own, *sides = interleave(samplers, min(repetitions, MAX_PHASE_REPETITIONS)).values()
    rows = []
    for side, (ratios, target) in zip(sides, others.values(), strict=True):
        about = Side(f"{side.label}: relaxed value {float(np.median(ratios)) - 1.0:+.0e} to ours", side.seconds)
        title = f"{ENV_ID}: IRS phases, N = {PHASE_ELEMENTS}"
        rows.append(Row(title, "solve", own, about, kind="speed-up", target=target))
    return rows


def phase_sampler(elements: int) -> Sampler:
    """Sampler of the seconds per run of the environment's kernel for the phases, on the next draw in each sample."""
    options = {"num_devices": PHASE_DEVICES, "num_elements": elements, "phase": "sdr"}
    draws = [new_frame("default", seed, **options) for seed in range(PHASE_DRAWS)]
    call, repeats = FastCall(kernels.repeat_phases), max(1, (REPEATED_ELEMENTS // elements) ** 2)

    def check(draw: tuple[Parameters, State], _: object) -> None:
        gap = draw[1].relaxation[0, REPORT.gap]
        if not gap <= MAX_GAP:
            raise RuntimeError(f"N = {elements}: duality gap {gap:.1e} is above {MAX_GAP:g}")

    return solve_sampler(draws, lambda draw: call(*draw, 0, repeats), check, repeats)


def growth(repetitions: int) -> list[Number]:
    """Growth of the time for the phases with the number of elements N: slope of log time over log N."""
    sizes = GROWTH_ELEMENTS
    samplers = {f"N = {elements}": phase_sampler(elements) for elements in sizes}
    sides = tuple(interleave(samplers, repetitions).values())
    name = f"{ENV_ID}: IRS phases, growth with N"
    label = "fit to times of form, relaxation, certificate, draws, polish and gains"
    return [Number(name, "exponent", label, exponents(sizes, sides), sides)]


BENCHMARKS: Mapping[str, Callable[[int], Sequence[Result]]] = {
    "dtirs.phases": phases,
    "dtirs.growth": growth,
    "dtirs.powers": powers,
    "dtirs.shares": shares,
}
