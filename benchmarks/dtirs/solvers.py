"""`DTIRS-v0`: the exact solvers against CVXPY's, and how the time for the IRS phases grows.

What is solved are frames of the environment, at random cuts. Repetition k of every side takes draw k, so that ratios
within a repetition are of the same problem; every answer that is timed is checked as well. Powers and shares take
microseconds, so ours are timed as the environment runs them: as compiled kernels on prepared memory, certificate
included. Phases are timed as one calls them from Python.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.dtirs import kernels
from benchmarks.dtirs.problems import Powers, Problem, Shares, new_frame
from benchmarks.timing import Number, Result, Row, Sampler, Side, Skipped, interleave
from edge_envs.core.io.extras import load_cvxpy
from edge_envs.core.kernels.jit import FastCall
from edge_envs.dtirs.solvers import api, reference_cvxpy

ENV_ID = "DTIRS-v0"
SIZES = (10, 100)
"""Numbers of devices at which powers and shares are compared with CVXPY's."""
PHASE_DEVICES, PHASE_ELEMENTS = 100, 32
"""The paper's sizes; fewer devices make the relaxation easier."""
GROWTH_ELEMENTS = (8, 16, 32, 64, 128, 256)
DRAWS, PHASE_DRAWS = 8, 4
MOST_PHASE_REPETITIONS = 5
"""An interior point takes seconds."""
DEVICES_PER_SAMPLE = 20_000
"""Devices that a sample of powers or shares goes through: that takes a few milliseconds."""
REPEATED_ELEMENTS = 64
"""Up to this size phases are solved several times in a sample, the smaller the more often."""
MOST_GAP, MOST_RESIDUAL = 1e-6, 1e-9
"""Relative duality gap and KKT residual up to which an answer of ours is certified."""
AGREEMENT = 1e-5
"""Relative difference of another solver's objective from ours up to which both have solved the same problem."""

OURS = "kernel, certificate included"
REBUILT, COMPILED = "CVXPY + Clarabel, rebuilt", "CVXPY + Clarabel, compiled before"
OUR_PHASES = "optimise_phases: relaxation, proof, 100 draws, polish"
TARGET_SCS, TARGET_CLARABEL, TARGET_CVXPY = 80.0, 300.0, 400.0


def our_sampler(draws: Sequence[Problem], kernel: Callable[..., float], repeats: int) -> Sampler:
    """Seconds of one solve by a kernel that repeats it, on the next draw in each sample."""
    call, upcoming = FastCall(kernel), cycle(draws)

    def sample() -> float:
        arguments = *next(upcoming).arguments, repeats
        started = time.perf_counter()
        residual = call(*arguments)
        seconds = (time.perf_counter() - started) / repeats
        if not residual <= MOST_RESIDUAL:
            raise RuntimeError(f"the solve that was timed has a residual of {residual:.1e}, above {MOST_RESIDUAL:g}")
        return seconds

    return sample


def their_sampler(solves: Sequence[Callable[[], float]], optimum: Sequence[float]) -> Sampler:
    """Seconds of one solve by another's solver, on the next draw in each sample; its objective must be `optimum`."""
    upcoming = cycle(zip(solves, optimum, strict=True))

    def sample() -> float:
        solve, best = next(upcoming)
        started = time.perf_counter()
        objective = solve()
        seconds = time.perf_counter() - started
        if not abs(objective / best - 1.0) <= AGREEMENT:
            raise RuntimeError(f"objective {objective!r} is not the certified {best!r}")
        return seconds

    return sample


def require_cvxpy() -> None:
    """Nothing, where CVXPY is installed.

    Raises:
        Skipped: it is not.
    """
    try:
        load_cvxpy()
    except ImportError as error:
        raise Skipped(str(error)) from error


def against(
    name: str, make: Callable[[int, int], Problem], kernel: Callable[..., float], repetitions: int
) -> list[Row]:
    """A kernel against CVXPY on the same draws, at all sizes; `make` takes the number of devices and a seed."""
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
            REBUILT: their_sampler([each.rebuilt for each in draws], optimum),
            COMPILED: their_sampler([each.compile() for each in draws], optimum),
        }
        own, rebuilt, compiled = interleave(samplers, repetitions).values()
        title = f"{ENV_ID}: {name}, K = {devices}"
        rows.append(Row(title, "solve", own, rebuilt, kind="speed-up", target=TARGET_CVXPY))
        rows.append(Row(title, "solve", own, compiled, kind="speed-up"))
    return rows


def powers(repetitions: int) -> list[Row]:
    """Downlink powers."""
    return against("powers", Powers, kernels.repeat_power, repetitions)


def shares(repetitions: int) -> list[Row]:
    """The twins' frequencies (32), and the pool with back ends."""
    rows = against("twin frequencies (32)", partial(Shares, True), kernels.repeat_pool, repetitions)
    return rows + against("pool of twins and back ends", partial(Shares, False), kernels.repeat_pool, repetitions)


def quadratic_form(elements: int, seed: int) -> NDArray[np.complex128]:
    """Q (N, N) of a frame, its mean diagonal one."""
    _, s = new_frame("default", seed, num_devices=PHASE_DEVICES, num_elements=elements)
    form: NDArray[np.complex128] = s.workspace.form[0] + 1j * s.workspace.form[1]
    return form


def relaxed_value(form: NDArray[np.complex128], matrix: NDArray[np.complex128]) -> float:
    """Re tr(Q V), the diagonal of V brought to exactly one first."""
    root = np.sqrt(np.diag(matrix).real)
    return float(np.sum(form * (matrix / np.outer(root, root)).conj()).real)


def certified(found: api.Phases) -> api.Phases:
    """The answer.

    Raises:
        RuntimeError: its duality gap is too large for a proof.
    """
    if not found.gap <= MOST_GAP:
        raise RuntimeError(f"the phases that were timed have a duality gap of {found.gap:.1e}, above {MOST_GAP:g}")
    return found


class Relaxation:
    """The semidefinite relaxation by another solver: its times, and its values over ours."""

    def __init__(self, forms: Sequence[NDArray[np.complex128]], best: Sequence[float], solver: Any, form: Any) -> None:
        self._upcoming = cycle(zip(forms, best, strict=True))
        self._solver, self._form = solver, form
        self.ratios: list[float] = []

    def sample(self) -> float:
        """Seconds of one solve, on the next draw."""
        quadratic, best = next(self._upcoming)
        started = time.perf_counter()
        matrix = reference_cvxpy.phases(quadratic, self._solver, self._form)
        seconds = time.perf_counter() - started
        self.ratios.append(relaxed_value(quadratic, matrix) / best)
        if not abs(self.ratios[-1] - 1.0) <= AGREEMENT:
            raise RuntimeError(f"the relaxed value is {self.ratios[-1]!r} times the certified one")
        return seconds


def phases(repetitions: int) -> list[Row]:
    """All of Algorithm 4, from Python, against CVXPY's relaxation alone; the labels say how the relaxed values differ.

    CVXPY gets the program as the paper has it and its dual, which suits some solvers better. At least three quarters of
    the time are the solvers', so nothing is compiled before.
    """
    require_cvxpy()
    forms = [quadratic_form(PHASE_ELEMENTS, seed) for seed in range(PHASE_DRAWS)]
    best = [certified(api.optimise_phases(form)).relaxed for form in forms]
    upcoming = cycle(forms)

    def ours() -> float:
        form = next(upcoming)
        started = time.perf_counter()
        found = api.optimise_phases(form)
        seconds = time.perf_counter() - started
        certified(found)
        return seconds

    others = {
        f"CVXPY + {label}, {form} form": (Relaxation(forms, best, solver, form), target)
        for label, solver, target in (("SCS", "SCS", TARGET_SCS), ("Clarabel", "CLARABEL", TARGET_CLARABEL))
        for form in ("primal", "dual")
    }
    samplers: dict[str, Sampler] = {OUR_PHASES: ours, **{label: other.sample for label, (other, _) in others.items()}}
    sides = interleave(samplers, min(repetitions, MOST_PHASE_REPETITIONS))
    own = sides.pop(OUR_PHASES)
    name = f"{ENV_ID}: IRS phases, N = {PHASE_ELEMENTS}"
    rows = []
    for label, side in sides.items():
        other, target = others[label]
        told = f"{label}: relaxed value {float(np.median(other.ratios)) - 1.0:+.0e} to ours"
        rows.append(Row(name, "solve", own, Side(told, side.seconds), kind="speed-up", target=target))
    return rows


def phase_sampler(elements: int) -> Sampler:
    """Seconds of the environment's whole solution for the phases, as a kernel, on the next draw in each sample."""
    options = {"num_devices": PHASE_DEVICES, "num_elements": elements, "phase": "sdr"}
    upcoming = cycle([new_frame("default", seed, **options) for seed in range(PHASE_DRAWS)])
    call, repeats = FastCall(kernels.repeat_phases), max(1, (REPEATED_ELEMENTS // elements) ** 2)

    def sample() -> float:
        p, s = next(upcoming)
        started = time.perf_counter()
        call(p, s, 0, repeats)
        seconds = (time.perf_counter() - started) / repeats
        if not s.relaxation[0, 1] <= MOST_GAP:
            raise RuntimeError(f"N = {elements}: duality gap {s.relaxation[0, 1]:.1e} is above {MOST_GAP:g}")
        return seconds

    return sample


def growth(repetitions: int) -> list[Number]:
    """How the time for the phases grows with the elements of the IRS: slope of its logarithm over that of N."""
    sizes = GROWTH_ELEMENTS
    samplers = {f"N = {elements}": phase_sampler(elements) for elements in sizes}
    sides = tuple(interleave(samplers, repetitions).values())
    name = f"{ENV_ID}: IRS phases, growth with N"
    label = "fit to times of form, relaxation, proof, draws, polish and gains"
    return [Number(name, "exponent", label, exponents(sizes, sides), sides)]


def exponents(sizes: Sequence[int], sides: Sequence[Side]) -> NDArray[np.float64]:
    """Of the power of the size that fits the times best, in each repetition."""
    log_seconds = np.log([side.seconds for side in sides])
    return np.asarray(np.polyfit(np.log(sizes), log_seconds, 1)[0], dtype=np.float64)


BENCHMARKS: Mapping[str, Callable[[int], Sequence[Result]]] = {
    "dtirs.phases": phases,
    "dtirs.growth": growth,
    "dtirs.powers": powers,
    "dtirs.shares": shares,
}
