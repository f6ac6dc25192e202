"""The solvers of one training round for use from Python: checked input, frozen results, certificates.

The compiled kernels behind them (`joint`, `subproblems`, `alternating`) are what the environment calls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edge_envs.semcom.config import PSNR_LAWS
from edge_envs.semcom.image_quality import PsnrLaw
from edge_envs.semcom.solvers import joint, subproblems
from edge_envs.semcom.solvers.certificates.bounds import (
    certificate_of,
    certify_compute,
    certify_link,
    certify_round,
    link_cost,
    round_cost,
)
from edge_envs.semcom.solvers.feasibility import (
    Infeasibility,
    InfeasibleError,
    check,
    diagnose,
    diagnose_rates,
    per_device,
)
from edge_envs.semcom.solvers.paper_algorithms import alternate, refine
from edge_envs.semcom.solvers.problem import (
    BAND_PRICE,
    BOUND,
    DELAY,
    OBJECTIVE,
    SWEEPS,
    Array,
    Problem,
    Workspace,
    allocate_workspace,
    prepare,
)

__all__ = [
    "Allocation", "ComputeAllocation", "Infeasibility", "InfeasibleError", "LinkAllocation", "Problem",
    "RefinedLink",
    "algorithm_2", "algorithm_3", "diagnose", "solve_joint", "solve_p3", "solve_p4",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Allocation:
    """A solution of P1 at given compression rates; arrays of shape (N,)."""

    power_w: Array
    """Transmit powers p_n [W]."""
    bandwidth_hz: Array
    """Bandwidths B_n [Hz]."""
    device_frequency_hz: Array
    """Device frequencies f_n [cycles/s]."""
    server_frequency_hz: Array
    """Frequencies h_n for the devices at the base station [cycles/s]."""
    upload_s: Array
    """Upload times T_n^up [s]."""
    delay_s: float
    """Duration of the round T; every device finishes at it [s]."""
    objective: float
    """omega_1 T + omega_2 sum of all energies, eq. (16)."""
    lower_bound: float
    """Value of the Lagrangian dual function at these prices: no allocation costs less."""
    gap: float
    """The certificate: |cost / lower_bound - 1| plus the largest relative violation of a limit, both worked out from
    the allocation. No feasible allocation is worse than the optimum by more."""
    time_price: Array
    """Multipliers beta_n of the devices' deadlines; they add up to omega_1, or to more where a deadline binds."""
    bandwidth_price: float
    """Multiplier zeta of the total bandwidth [1/Hz]."""
    sensitivity: Array
    """d objective / d ln rho_n = omega_2 E_n^up + beta_n T_n^up, at the `snr_min` given."""
    sweeps: int
    """Passes over the devices that the solver took."""


@dataclass(frozen=True, slots=True)
class ComputeAllocation:
    """A solution of P3 at given compression rates; arrays of shape (N,)."""

    device_frequency_hz: Array
    """f_n [cycles/s]."""
    server_frequency_hz: Array
    """h_n [cycles/s]."""
    delay_s: float
    """T [s]."""
    time_price: Array
    """beta_n, adding up to omega_1."""
    objective: float
    """omega_1 T + omega_2 sum of the computing energies, eq. (18)."""
    lower_bound: float
    """Value of the dual function at this price."""
    gap: float
    """As `Allocation.gap`."""


@dataclass(frozen=True, slots=True)
class LinkAllocation:
    """A solution of P4; arrays of shape (N,)."""

    power_w: Array
    """p_n [W]."""
    bandwidth_hz: Array
    """B_n [Hz]."""
    bandwidth_price: float
    """zeta [1/Hz]."""
    objective: float
    """omega_2 times the transmit energies, eq. (19)."""
    lower_bound: float
    """Value of the dual function at this price."""
    gap: float
    """As `Allocation.gap`."""


@dataclass(frozen=True, slots=True)
class RefinedLink(LinkAllocation):
    """What Algorithm 2 came to; `bandwidth_price` and `lower_bound` are those of the exact solution."""

    iterations: int
    """Newton iterations."""
    residual: float
    """Norm of phi, eq. (38), scaled to be free of units."""
    converged: bool
    """Whether the residual fell below the tolerance."""


def solve_joint(problem: Problem, deadline_s: float = math.inf) -> Allocation:
    """Global optimum of P1, eq. (16), at given compression rates, over power, bandwidth, frequencies and deadline.

    Args:
        problem: the round; `snr_min` holds what the PSNR requirement asks at these rates.
        deadline_s: upper limit of T [s], none by default.

    Raises:
        ValueError: bad input, naming the field and the device.
        InfeasibleError: no allocation meets an infinite `snr_min` or the deadline; names the device or the band.
    """
    problem = check(problem)
    found = diagnose(problem, deadline_s)
    if found:
        raise InfeasibleError(found)
    work = allocate_workspace(len(problem.bits))
    joint.solve(problem, work, float(deadline_s))
    return allocation(problem, work, certify_round(problem, work, float(deadline_s)))


def allocation(problem: Problem, work: Workspace, gap: float) -> Allocation:
    """What a solve of the whole round left in its workspace, with its certificate."""
    totals = work.totals
    transmit = work.power_w * work.upload_s
    return Allocation(
        power_w=work.power_w, bandwidth_hz=work.bandwidth_hz, device_frequency_hz=work.device_frequency_hz,
        server_frequency_hz=work.server_frequency_hz, upload_s=work.upload_s, delay_s=float(totals[DELAY]),
        objective=float(totals[OBJECTIVE]), lower_bound=float(totals[BOUND]),
        gap=float(gap), time_price=work.time_price,
        bandwidth_price=float(totals[BAND_PRICE]),
        sensitivity=problem.weight_energy * transmit + work.time_price * work.upload_s, sweeps=int(totals[SWEEPS]),
    )  # fmt: skip


def algorithm_3(problem: Problem, power_w: Array | None = None, bandwidth_hz: Array | None = None) -> Allocation:
    """The paper's Algorithm 3 at given compression rates: P3 and P4 in turn, both solved exactly, from a given start.

    Args:
        problem: the round.
        power_w: starting powers (N,) [W]; half of the largest by default, as in the Average Allocation.
        bandwidth_hz: starting bandwidths (N,) [Hz]; even shares by default.

    Returns:
        An allocation whose `lower_bound` and `gap` are those of P1, so the gap is the true distance to the optimum;
        prices are those of the last P3 and P4, and `sweeps` counts the passes.

    Raises:
        ValueError: bad input, naming the field and the device, or a start beyond the limits.
        InfeasibleError: P4 has no solution at the rates of the start.
    """
    problem = check(problem)
    devices = len(problem.bits)
    even = np.full(devices, problem.bandwidth_hz / devices)
    work = allocate_workspace(devices)
    work.power_w[:] = per_device("power_w", problem.power_max_w / 2.0 if power_w is None else power_w, devices)
    work.bandwidth_hz[:] = per_device("bandwidth_hz", even if bandwidth_hz is None else bandwidth_hz, devices)
    if (work.power_w > problem.power_max_w * (1.0 + 1e-9)).any():
        n = int(np.argmax(work.power_w / problem.power_max_w))
        raise ValueError(f"power_w[{n}] = {work.power_w[n]} is above power_max_w[{n}] = {problem.power_max_w[n]}")
    total = work.bandwidth_hz.sum()
    if total > problem.bandwidth_hz * (1.0 + 1e-9):
        raise ValueError(f"bandwidth_hz adds up to {total:.6g}, more than the {problem.bandwidth_hz:.6g} Hz there are")
    # The law, limits and requirements matter with free compression rates only.
    law = PsnrLaw(*PSNR_LAWS["unscaled"], decibel=True, snr_low_db=-math.inf, snr_high_db=math.inf)
    rates, unused = np.zeros(devices), np.ones(devices)
    if not alternate(problem, work, rates, False, law, 1.0, np.array([0.0, 1.0]), unused, unused):
        raise InfeasibleError(diagnose_rates(problem, rates))
    work.totals[BOUND] = solve_joint(problem).lower_bound
    cost, violation = round_cost(
        problem, work.power_w, work.bandwidth_hz, work.device_frequency_hz, work.server_frequency_hz, math.inf
    )
    return allocation(problem, work, certificate_of(cost, work.totals[BOUND], violation))


def solve_p3(problem: Problem, upload_s: Array) -> ComputeAllocation:
    """P5, eq. (21), that is P3 at given compression rates: frequencies and deadline at given upload times [s].

    Raises:
        ValueError: bad input, naming the field and the device.
    """
    problem = check(problem)
    work = allocate_workspace(len(problem.bits))
    work.upload_s[:] = per_device("upload_s", upload_s, len(problem.bits), zero=True)
    prepare(problem, work)
    subproblems.solve_compute(problem, work)
    gap = certify_compute(problem, work, False)
    return ComputeAllocation(
        device_frequency_hz=work.device_frequency_hz, server_frequency_hz=work.server_frequency_hz,
        delay_s=float(work.totals[DELAY]), time_price=work.time_price,
        objective=float(work.totals[OBJECTIVE]), lower_bound=float(work.totals[BOUND]), gap=float(gap),
    )  # fmt: skip


def solve_p4(problem: Problem, rate_min_bps: Array) -> LinkAllocation:
    """P4, eq. (19): power and bandwidth of least transmit energy at required rates and SNRs.

    Raises:
        ValueError: bad input, naming the field and the device.
        InfeasibleError: a device cannot meet its rate and SNR, or all of them not within the band.
    """
    problem = check(problem)
    rates = per_device("rate_min_bps", rate_min_bps, len(problem.bits))
    work = allocate_workspace(len(problem.bits))
    prepare(problem, work)
    if not subproblems.solve_link(problem, work, rates):
        raise InfeasibleError(diagnose_rates(problem, rates))
    gap = certify_link(problem, work, rates)
    return LinkAllocation(
        power_w=work.power_w, bandwidth_hz=work.bandwidth_hz, bandwidth_price=float(work.totals[BAND_PRICE]),
        objective=float(work.totals[OBJECTIVE]), lower_bound=float(work.totals[BOUND]), gap=float(gap),
    )  # fmt: skip


def algorithm_2(
    problem: Problem, rate_min_bps: Array, power_w: Array, bandwidth_hz: Array, iterations: int = 60,
    tolerance: float = 1e-9,
) -> RefinedLink:  # fmt: skip
    """The paper's Algorithm 2 for P4: modified Newton steps on (gamma, delta), P7 solved in each.

    Kept for comparison with `solve_p4`, with which it agrees where rates are tight. phi, eq. (38), is scaled to be free
    of units; where P7 has many solutions (a device at a flat price) the band that is left over decides.

    Args:
        problem: the round.
        rate_min_bps: required rates (N,) [bit/s].
        power_w: starting powers (N,) [W].
        bandwidth_hz: starting bandwidths (N,) [Hz].
        iterations: at most so many.
        tolerance: on the scaled residual.

    Raises:
        ValueError: bad input, naming the field and the device.
        InfeasibleError: as `solve_p4`.
    """
    if not (isinstance(iterations, int) and iterations >= 0):
        raise ValueError(f"iterations = {iterations!r} is not possible: give a whole number >= 0")
    if not 0.0 < tolerance < math.inf:
        raise ValueError(f"tolerance = {tolerance!r} is not possible: give a finite number > 0")
    exact = solve_p4(problem, rate_min_bps)
    problem = check(problem)
    devices = len(problem.bits)
    power = per_device("power_w", power_w, devices).copy()
    band = per_device("bandwidth_hz", bandwidth_hz, devices).copy()
    rates = per_device("rate_min_bps", rate_min_bps, devices)
    done, residual = refine(problem, rates, power, band, iterations, tolerance)
    objective, violation = link_cost(problem, rates, power, band)
    return RefinedLink(
        power_w=power, bandwidth_hz=band, bandwidth_price=exact.bandwidth_price, objective=float(objective),
        lower_bound=exact.lower_bound, gap=float(certificate_of(objective, exact.lower_bound, violation)),
        iterations=int(done), residual=float(residual), converged=bool(residual <= tolerance),
    )  # fmt: skip
