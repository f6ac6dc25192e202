"""The solvers of one training round for use from Python: checked arguments, frozen results with certificates.

The environment calls the compiled kernels (`joint`, `subproblems`, `paper_algorithms`) directly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_envs.core.validation import finite_array, positive_number, whole_number
from edge_envs.semcom.solvers import joint, subproblems
from edge_envs.semcom.solvers.certificates.bounds import (
    certificate_of,
    certify_compute,
    certify_link,
    certify_round,
    link_cost,
    round_cost,
)
from edge_envs.semcom.solvers.certificates.feasibility import (
    Infeasibility,
    InfeasibleError,
    check,
    diagnose,
    diagnose_rates,
)
from edge_envs.semcom.solvers.paper_algorithms import alternate, refine, unused_rule
from edge_envs.semcom.solvers.problem import TOTAL, Array, Problem, Workspace, allocate_workspace, prepare

__all__ = [
    "Allocation", "ComputeAllocation", "Infeasibility", "InfeasibleError", "LinkAllocation", "Problem", "RefinedLink",
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
    """Duration of the round T, at which every device finishes [s]."""
    objective: float
    """omega_1 T + omega_2 sum of all energies, eq. (16)."""
    lower_bound: float
    """Value of the Lagrangian dual function at the prices below; no allocation costs less."""
    gap: float
    """The certificate: |cost / lower_bound - 1| plus the largest relative violation of a limit, both computed from the
    allocation. A feasible allocation costs at most this much more than the optimum, relatively."""
    time_price: Array
    """Multipliers beta_n of the devices' deadlines; they add up to omega_1, or to more if `deadline_s` binds."""
    bandwidth_price: float
    """Multiplier zeta of the total bandwidth [1/Hz]."""
    sensitivity: Array
    """d objective / d ln rho_n = omega_2 E_n^up + beta_n T_n^up, at the given `snr_min`."""
    sweeps: int
    """Passes of the solver over the devices."""


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
    """The result of Algorithm 2; `bandwidth_price` and `lower_bound` are those of the exact solution."""

    iterations: int
    """Newton iterations."""
    residual: float
    """Norm of phi, eq. (38), scaled to be dimensionless."""
    converged: bool
    """True if the residual fell below the tolerance."""


def solve_joint(problem: Problem, deadline_s: float = math.inf) -> Allocation:
    """Global optimum of P1, eq. (16), at given compression rates, over power, bandwidth, frequencies and deadline.

    Args:
        problem: the round; `snr_min` holds the SNRs that the PSNR requirements need at these rates.
        deadline_s: upper limit of T [s]; none by default.

    Raises:
        ValueError: bad input, naming the field and the device.
        InfeasibleError: an infinite `snr_min`, or a deadline that no allocation meets; names the device or the band.
    """
    problem = check(problem)
    found = diagnose(problem, deadline_s)
    if found:
        raise InfeasibleError(found)
    workspace = allocate_workspace(len(problem.bits))
    joint.solve(problem, workspace, float(deadline_s))
    return allocation(problem, workspace, certify_round(problem, workspace, float(deadline_s)))


def allocation(problem: Problem, workspace: Workspace, gap: float) -> Allocation:
    """The solution of a whole round that is stored in a workspace, with its certificate."""
    transmit = workspace.power_w * workspace.upload_s
    return Allocation(
        **fields(workspace, "power_w", "bandwidth_hz", "device_frequency_hz", "server_frequency_hz", "upload_s"),
        **fields(workspace, "time_price", "delay_s", "objective", "lower_bound", "bandwidth_price"),
        gap=float(gap), sweeps=int(workspace.totals[TOTAL.sweeps]),
        sensitivity=problem.weight_energy * transmit + workspace.time_price * workspace.upload_s,
    )  # fmt: skip


def fields(workspace: Workspace, *names: str) -> dict[str, Any]:
    """Arrays and totals of a workspace by name."""
    return {
        name: float(workspace.totals[getattr(TOTAL, name)]) if name in TOTAL._fields else getattr(workspace, name)
        for name in names
    }


def algorithm_3(problem: Problem, power_w: Array | None = None, bandwidth_hz: Array | None = None) -> Allocation:
    """The paper's Algorithm 3 at given compression rates: P3 and P4 in turn, both solved exactly, from a given start.

    Args:
        problem: the round.
        power_w: starting powers (N,) [W]; half of the largest by default, as in the Average Allocation.
        bandwidth_hz: starting bandwidths (N,) [Hz]; even shares by default.

    Returns:
        An allocation with the `lower_bound` of P1, so that `gap` is the distance to the optimum. Prices are those of
        the last P3 and P4, and `sweeps` is the number of passes.

    Raises:
        ValueError: bad input, naming the field and the device, or a start beyond the limits.
        InfeasibleError: P4 has no solution at the rates of the start.
    """
    problem = check(problem)
    devices = len(problem.bits)
    power = problem.power_max_w / 2.0 if power_w is None else power_w
    band = np.full(devices, problem.bandwidth_hz / devices) if bandwidth_hz is None else bandwidth_hz
    workspace = allocate_workspace(devices)
    workspace.power_w[:] = finite_array("power_w", power, (devices,), strict=True)
    workspace.bandwidth_hz[:] = finite_array("bandwidth_hz", band, (devices,), strict=True)
    if (workspace.power_w > problem.power_max_w * (1.0 + 1e-9)).any():
        n = int(np.argmax(workspace.power_w / problem.power_max_w))
        raise ValueError(f"power_w[{n}] = {workspace.power_w[n]} is above power_max_w[{n}] = {problem.power_max_w[n]}")
    total = workspace.bandwidth_hz.sum()
    if total > problem.bandwidth_hz * (1.0 + 1e-9):
        raise ValueError(f"bandwidth_hz adds up to {total:.6g} Hz; give at most {problem.bandwidth_hz:.6g} Hz in total")
    if not alternate(problem, workspace, unused_rule(devices), False):
        raise InfeasibleError(diagnose_rates(problem, workspace.rate_min_bps))
    workspace.totals[TOTAL.lower_bound] = solve_joint(problem).lower_bound
    cost, violation = round_cost(problem, workspace, math.inf)
    return allocation(problem, workspace, certificate_of(cost, workspace.totals[TOTAL.lower_bound], violation))


def solve_p3(problem: Problem, upload_s: Array) -> ComputeAllocation:
    """P5, eq. (21), which is P3 at given compression rates: frequencies and deadline at given upload times (N,) [s].

    Raises:
        ValueError: bad input, naming the field and the device.
    """
    problem = check(problem)
    workspace = allocate_workspace(len(problem.bits))
    workspace.upload_s[:] = finite_array("upload_s", upload_s, (len(problem.bits),))
    prepare(problem, workspace)
    subproblems.solve_compute(problem, workspace)
    gap = certify_compute(problem, workspace, False)
    names = ("device_frequency_hz", "server_frequency_hz", "time_price", "delay_s", "objective", "lower_bound")
    return ComputeAllocation(**fields(workspace, *names), gap=float(gap))


def solve_p4(problem: Problem, rate_min_bps: Array) -> LinkAllocation:
    """P4, eq. (19): powers and bandwidths of least transmit energy at required rates (N,) [bit/s] and SNRs.

    Raises:
        ValueError: bad input, naming the field and the device.
        InfeasibleError: a device cannot meet its rate and SNR, or the devices together exceed the band.
    """
    problem = check(problem)
    rates = finite_array("rate_min_bps", rate_min_bps, (len(problem.bits),), strict=True)
    workspace = allocate_workspace(len(problem.bits))
    prepare(problem, workspace)
    if not subproblems.solve_link(problem, workspace, rates):
        raise InfeasibleError(diagnose_rates(problem, rates))
    gap = certify_link(problem, workspace, rates)
    names = ("power_w", "bandwidth_hz", "bandwidth_price", "objective", "lower_bound")
    return LinkAllocation(**fields(workspace, *names), gap=float(gap))


def algorithm_2(
    problem: Problem, rate_min_bps: Array, power_w: Array, bandwidth_hz: Array, iterations: int = 60,
    tolerance: float = 1e-9,
) -> RefinedLink:  # fmt: skip
    """The paper's Algorithm 2 for P4: modified Newton steps on (gamma, delta), each of which solves P7.

    For comparison with `solve_p4`, whose solution it reaches if all rate constraints are active. phi, eq. (38), is
    scaled to be dimensionless. If P7 has several solutions, the one that uses the remaining bandwidth is chosen.

    Args:
        problem: the round.
        rate_min_bps: required rates (N,) [bit/s].
        power_w: starting powers (N,) [W].
        bandwidth_hz: starting bandwidths (N,) [Hz].
        iterations: largest number of Newton iterations.
        tolerance: of the scaled residual.

    Raises:
        ValueError: bad input, naming the field and the device.
        InfeasibleError: as `solve_p4`.
    """
    whole_number("iterations", iterations, 0)
    positive_number("tolerance", tolerance)
    exact = solve_p4(problem, rate_min_bps)
    problem = check(problem)
    devices = len(problem.bits)
    power = finite_array("power_w", power_w, (devices,), strict=True)
    band = finite_array("bandwidth_hz", bandwidth_hz, (devices,), strict=True)
    rates = finite_array("rate_min_bps", rate_min_bps, (devices,), strict=True)
    done, residual = refine(problem, rates, power, band, iterations, tolerance)
    objective, violation = link_cost(problem, rates, power, band)
    return RefinedLink(
        power_w=power, bandwidth_hz=band, bandwidth_price=exact.bandwidth_price, objective=float(objective),
        lower_bound=exact.lower_bound, gap=float(certificate_of(objective, exact.lower_bound, violation)),
        iterations=int(done), residual=float(residual), converged=bool(residual <= tolerance),
    )  # fmt: skip
