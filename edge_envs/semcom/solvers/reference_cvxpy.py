"""Slow reference solutions of P3, P4 and the joint problem with CVXPY, for tests and benchmarks of the exact solvers.

P3 and P4 are convex in their own variables. P1 at given compression rates is a geometric program except for the
transmit energy, which is a power series with positive coefficients (here truncated) or an integral over exponentials
(here a quadrature). Both are accurate to 1e-9 up to an SNR of 80 dB.

All numbers are scaled to order one: bandwidths by an even share, times by that of a simple allocation, frequencies and
powers by a typical value. Solutions are feasible and optimal to the tolerances of Clarabel, about 1e-8.

Needs the extra `reference`. The solvers raise ImportError where CVXPY is not installed, and RuntimeError where Clarabel
finds no solution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from edge_envs.core.io.extras import CompiledForms, Form, load_cvxpy, solve_by_clarabel
from edge_envs.semcom.solvers.problem import LN2, Array, Problem

SERIES_TERMS = 50
"""Terms of the power series of (e^v - 1) / v; the remainder is below 1e-9 up to v = 18.4, an SNR of 80 dB."""
QUADRATURE_NODES = 12
"""Gauss-Legendre nodes for the mean of e^(s v) over s in [0, 1], the same function, with the same accuracy."""
STEPS = (0.99, 0.9)
"""Values of Clarabel's `max_step_fraction`: the default, then one that solves some problems on which it fails. It fails
or stops early on P4 where SNRs are far below one or the devices differ by many decades."""
U_MIN = 1e-9
"""Smallest ln(1 + S_min); used for a device without a required SNR, so that its constraint never binds."""

Numbers = dict[str, Array]
Solve = Callable[[Form, Numbers], tuple[float, Numbers]]
"""Returns the optimal value and the solution of a form for the given numbers."""


class Answer(NamedTuple):
    """A solution of P1, P3 or P4 at given compression rates; arrays of shape (N,), empty for what P3 or P4 lacks."""

    objective: float  # P1: omega_1 T + omega_2 all energies; P3: without, P4: only the transmit energies
    delay_s: float = math.nan
    power_w: Array = np.empty(0)
    bandwidth_hz: Array = np.empty(0)
    device_frequency_hz: Array = np.empty(0)
    server_frequency_hz: Array = np.empty(0)


def compute_form(
    upload: Any, device_work: Any, server_work: Any, device_cost: Any, server_cost: Any, device_cap: Any,
    server_cap: Any,
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """P5, eq. (21): min T + energies, subject to upload + work / f + work / h <= T and the caps."""
    cp = load_cvxpy()
    device, server = cp.Variable(upload.size, pos=True), cp.Variable(upload.size, pos=True)
    delay = cp.Variable()
    computing = cp.multiply(device_work, cp.inv_pos(device)) + cp.multiply(server_work, cp.inv_pos(server))
    cost = delay + device_cost @ cp.square(device) + server_cost @ cp.square(server)
    limits = [upload + computing <= delay, device <= device_cap, server <= server_cap]
    return cp.Problem(cp.Minimize(cost), limits), {"device": device, "server": server, "delay": delay}


def link_form(
    cost: Any, share: Any, level: Any, floor: Any, ratio: Any, snr_min: Any, power_cap: Any
) -> tuple[Any, dict[str, Any]]:
    """P4, eq. (19), with every rate met exactly, which makes it convex: r = -rel_entr(B, B + p g / N_0) / ln 2.

    Subtracting a `level` from both sides of ln(1 + S), with `floor` = e^-level, keeps all numbers far below the SNR.
    """
    cp = load_cvxpy()
    band, power = cp.Variable(cost.size, pos=True), cp.Variable(cost.size, pos=True)
    received = cp.multiply(floor, band) + cp.multiply(ratio, power)
    limits = [
        -cp.rel_entr(band, received) + cp.multiply(level, band) >= 1.0,
        cp.multiply(snr_min, band) <= power,
        power <= power_cap,
        share @ band <= 1.0,
    ]
    return cp.Problem(cp.Minimize(cost @ power), limits), {"band": band, "power": power}


def by_series(v: Any) -> Any:
    """(e^v - 1) / v by its power series, as a posynomial."""
    cp = load_cvxpy()
    return np.ones(v.size) + sum(cp.power(v, k) / math.factorial(k + 1) for k in range(1, SERIES_TERMS))


def by_quadrature(v: Any) -> Any:
    """(e^v - 1) / v as a mean of exponentials, which are log-log convex."""
    cp = load_cvxpy()
    nodes, weights = np.polynomial.legendre.leggauss(QUADRATURE_NODES)
    return sum(0.5 * weight * cp.exp((0.5 + 0.5 * node) * v) for node, weight in zip(nodes, weights, strict=True))


def joint_form(
    load: Any, longest: Any, power: Any, energy_cost: Any, device_s: Any, server_s: Any, device_cost: Any,
    server_cost: Any, energy_ratio: Callable[[Any], Any] = by_series,
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """P1, eq. (16), at given compression rates as a geometric program in B, t, f, h, T and the transmit energies."""
    cp = load_cvxpy()
    band, upload, device, server, energy = (cp.Variable(load.size, pos=True) for _ in range(5))
    delay = cp.Variable(pos=True)
    product = cp.multiply(band, upload)
    computing = cp.multiply(device_s, device**-1) + cp.multiply(server_s, server**-1)
    limits = [
        energy_ratio(cp.multiply(load, product**-1)) <= energy,
        cp.multiply(power, energy) <= upload,
        product <= longest,
        upload + computing <= delay,
        device <= 1.0,
        server <= 1.0,
        cp.sum(band) <= load.size,
    ]
    cost = cp.sum(cp.multiply(device_cost, device**2)) + cp.sum(cp.multiply(server_cost, server**2))
    cost = delay + cp.sum(cp.multiply(energy_cost, energy)) + cost
    variables = {"band": band, "upload": upload, "device": device, "server": server, "delay": delay}
    return cp.Problem(cp.Minimize(cost), limits), variables


quadrature_form = partial(joint_form, energy_ratio=by_quadrature)
"""`joint_form` with exponentials instead of the power series."""


def optimum(problem: Any, variables: dict[str, Any]) -> tuple[float, Numbers]:
    """Solve a CVXPY problem with Clarabel at its own tolerances.

    Raises:
        RuntimeError: the solver found no solution; the message has its status.
    """
    solve_by_clarabel(problem, STEPS, gp=not problem.is_dcp())
    return float(problem.value), {name: np.asarray(each.value) for name, each in variables.items()}


def rebuild(form: Form, numbers: Numbers) -> tuple[float, Numbers]:
    """Build and solve a CVXPY problem for these numbers."""
    return optimum(*form(**numbers))


def _compute_costs(problem: Problem, device_hz: Array, server_hz: Array) -> tuple[Array, Array]:
    """Weighted computing energies of devices and base station at given frequencies, eqs. (10) and (13)."""
    weight = problem.weight_energy
    return (
        weight * problem.device_energy_coefficient * problem.device_cycles * device_hz**2,
        weight * problem.server_energy_coefficient * problem.server_cycles * server_hz**2,
    )


def solve_p3_cvxpy(problem: Problem, upload_s: Array, *, solve: Solve = rebuild) -> Answer:
    """P3 at given compression rates and upload times (N,) [s] by CVXPY, as `solvers.solve_p3`."""
    device_cap, server_cap = problem.device_frequency_max_hz, problem.server_frequency_max_hz
    unit_s = float((upload_s + problem.device_cycles / device_cap + problem.server_cycles / server_cap).max())
    device_hz = np.minimum(device_cap, 2.0 * problem.device_cycles / unit_s)
    server_hz = np.minimum(server_cap, 2.0 * problem.server_cycles / unit_s)
    device_cost, server_cost = _compute_costs(problem, device_hz, server_hz)
    unit = problem.weight_time * unit_s
    numbers = {
        "upload": upload_s / unit_s, "device_work": problem.device_cycles / (device_hz * unit_s),
        "server_work": problem.server_cycles / (server_hz * unit_s), "device_cost": device_cost / unit,
        "server_cost": server_cost / unit, "device_cap": device_cap / device_hz, "server_cap": server_cap / server_hz,
    }  # fmt: skip
    value, found = solve(compute_form, numbers)
    return Answer(
        value * unit, float(found["delay"]) * unit_s, device_frequency_hz=found["device"] * device_hz,
        server_frequency_hz=found["server"] * server_hz,
    )  # fmt: skip


def solve_p4_cvxpy(problem: Problem, rate_min_bps: Array, *, solve: Solve = rebuild) -> Answer:
    """P4 at required rates (N,) [bit/s] by CVXPY, as `solvers.solve_p4`."""
    even_hz = problem.bandwidth_hz / len(problem.bits)
    # With a bandwidth unit equal to the rate in nat/s, every scaled rate is one.
    band_hz = rate_min_bps * LN2
    # The SNR that the rate needs at an even share of the band; power is limited below.
    snr = np.maximum(np.expm1(np.minimum(band_hz / even_hz, 40.0)), problem.snr_min)
    power_w = np.minimum(problem.power_max_w, snr * problem.noise_w_per_hz * even_hz / problem.gain)
    ratio = power_w * problem.gain / (problem.noise_w_per_hz * band_hz)
    level = np.log1p(power_w * problem.gain / (problem.noise_w_per_hz * even_hz))
    cost = problem.weight_energy * power_w * problem.bits / rate_min_bps
    unit = float(cost.sum())
    numbers = {
        "cost": cost / unit, "share": band_hz / problem.bandwidth_hz, "level": level, "floor": np.exp(-level),
        "ratio": ratio * np.exp(-level), "snr_min": problem.snr_min / ratio,
        "power_cap": problem.power_max_w / power_w,
    }  # fmt: skip
    value, found = solve(link_form, numbers)
    return Answer(value * unit, power_w=found["power"] * power_w, bandwidth_hz=found["band"] * band_hz)


class Units(NamedTuple):
    """Units of the scaled joint problem; frequencies are scaled by their limits."""

    band_hz: float
    time_s: float
    cost: float


def joint_numbers(problem: Problem) -> tuple[Numbers, Units]:
    """The joint problem scaled to numbers of order one, and the units."""
    device_s = problem.device_cycles / problem.device_frequency_max_hz
    server_s = problem.server_cycles / problem.server_frequency_max_hz
    nats = problem.bits * LN2
    band_hz = problem.bandwidth_hz / len(nats)
    least_energy_j = problem.noise_w_per_hz * nats / problem.gain
    snr = problem.power_max_w * problem.gain / (problem.noise_w_per_hz * band_hz)
    time_s = float((nats / (band_hz * np.log1p(snr)) + device_s + server_s).max())
    unit = problem.weight_time * time_s
    load = nats / (band_hz * time_s)
    device_cost, server_cost = _compute_costs(problem, problem.device_frequency_max_hz, problem.server_frequency_max_hz)
    numbers = {
        "load": load, "longest": load / np.maximum(np.log1p(problem.snr_min), U_MIN),
        "power": least_energy_j / (problem.power_max_w * time_s),
        "energy_cost": problem.weight_energy * least_energy_j / unit, "device_s": device_s / time_s,
        "server_s": server_s / time_s, "device_cost": device_cost / unit, "server_cost": server_cost / unit,
    }  # fmt: skip
    return numbers, Units(band_hz, time_s, unit)


def joint_answer(problem: Problem, units: Units, value: float, found: Numbers) -> Answer:
    """A solution in SI units; powers follow from the bandwidths and upload times."""
    band_hz, upload_s = found["band"] * units.band_hz, found["upload"] * units.time_s
    snr = np.expm1(problem.bits * LN2 / (band_hz * upload_s))
    return Answer(
        value * units.cost, float(found["delay"]) * units.time_s, snr * problem.noise_w_per_hz * band_hz / problem.gain,
        band_hz, found["device"] * problem.device_frequency_max_hz, found["server"] * problem.server_frequency_max_hz,
    )  # fmt: skip


def solve_joint_cvxpy(problem: Problem, *, form: Form = joint_form, solve: Solve = rebuild) -> Answer:
    """P1 at given compression rates as CVXPY's geometric program, as `solvers.solve_joint` without a deadline.

    The form is `joint_form` with the power series, or `quadrature_form`.
    """
    numbers, units = joint_numbers(problem)
    return joint_answer(problem, units, *solve(form, numbers))


class CompiledReference:
    """The CVXPY solutions with problems that are compiled once per number of devices; later calls only set parameters.

    The methods have the interface of the functions above without the time that CVXPY needs to build a problem.

    Raises:
        ImportError: CVXPY is not installed.
    """

    def __init__(self) -> None:
        self._forms = CompiledForms()
        self.solve_p3 = partial(solve_p3_cvxpy, solve=self._solve)
        self.solve_p4 = partial(solve_p4_cvxpy, solve=self._solve)
        self.solve_joint = partial(solve_joint_cvxpy, solve=self._solve)

    def _solve(self, form: Form, numbers: Numbers) -> tuple[float, Numbers]:
        # A geometric program needs positive parameters; those of the convex problems may be zero.
        sign = {"nonneg": True} if form in (compute_form, link_form) else {"pos": True}
        return optimum(*self._forms.build(form, numbers, lambda name: sign))
