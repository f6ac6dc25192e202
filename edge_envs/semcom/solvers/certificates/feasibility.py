"""Checks of a problem's numbers, and the reasons why a problem has no solution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_envs.core.physics.units import linear_to_db
from edge_envs.core.validation import finite_array, positive_number
from edge_envs.semcom.solvers.joint import least_bandwidth
from edge_envs.semcom.solvers.problem import LN2, Array, Problem, allocate_workspace, prepare
from edge_envs.semcom.solvers.spectral_efficiency import U_MAX, inverse_energy_ratio

ARRAYS = Problem._fields[:8]
ROUNDING = 1e-12
REASONS_MAX = 10
"""Largest number of reasons in an error message."""


@dataclass(frozen=True, slots=True)
class Infeasibility:
    """One reason why a problem has no solution."""

    device: int | None
    """Index of the device; None if the devices cannot meet the constraint together."""
    constraint: str
    """Constraint that cannot be met: "snr_min", "deadline_s", "rate_min_bps" or "bandwidth_hz"."""
    message: str
    """The reason in words, and the fix."""


class InfeasibleError(ValueError):
    """No allocation meets all constraints. `infeasibilities` holds every reason found."""

    def __init__(self, infeasibilities: tuple[Infeasibility, ...]) -> None:
        more = len(infeasibilities) - REASONS_MAX
        reasons = [each.message for each in infeasibilities[:REASONS_MAX]] + ([f"and {more} more"] if more > 0 else [])
        super().__init__("; ".join(reasons))
        self.infeasibilities = infeasibilities


def check(problem: Problem) -> Problem:
    """The problem with contiguous float64 arrays.

    Raises:
        ValueError: a wrong shape, or a number that is not finite or not positive; names the field and the device.
    """
    devices = int(np.size(problem.bits))
    if devices == 0:
        raise ValueError("bits has no entry; give at least one device")
    changed: dict[str, Any] = {
        name: finite_array(name, getattr(problem, name), (devices,), strict=True)
        for name in ARRAYS
        if name != "snr_min"
    }
    # An infinite entry is an infeasible requirement, not a wrong argument.
    snr_min = np.array(problem.snr_min, dtype=np.float64)
    finite_array("snr_min", np.where(np.isposinf(snr_min), 0.0, snr_min), (devices,))
    changed["snr_min"] = snr_min
    for name in Problem._fields[len(ARRAYS) :]:
        changed[name] = positive_number(name, float(getattr(problem, name)))
    return problem._replace(**changed)


def diagnose(problem: Problem, deadline_s: float = math.inf) -> tuple[Infeasibility, ...]:
    """Reasons why P1 at given compression rates has no solution; empty if it has one.

    Without a deadline, less bandwidth and more time reach every finite SNR. A deadline can be too short for one device
    with the whole band, or for all devices together.

    Raises:
        ValueError: bad input, naming the field and the device.
    """
    problem = check(problem)
    positive_number("deadline_s", deadline_s, infinite=True)
    found = [
        Infeasibility(
            n, "snr_min", f"device {n} needs an SNR of {linear_to_db(float(problem.snr_min[n])):.4g} dB, more than any "
            "link has; raise its compression rate or lower its PSNR requirement",
        )
        for n in range(len(problem.bits)) if not math.log1p(problem.snr_min[n]) < U_MAX
    ]  # fmt: skip
    if found or math.isinf(deadline_s):
        return tuple(found)
    alone = delays_alone(problem)
    found = [
        Infeasibility(
            n, "deadline_s", f"device {n} needs {alone[n]:.6g} s even with the whole band to itself, more than "
            f"deadline_s={deadline_s:g}; lower its compression rate or PSNR requirement, or raise deadline_s",
        )
        for n in np.flatnonzero(alone > deadline_s * (1.0 + ROUNDING)).tolist()
    ]  # fmt: skip
    if found:
        return tuple(found)
    workspace = allocate_workspace(len(problem.bits))
    prepare(problem, workspace)
    need = least_bandwidth(problem, workspace, deadline_s)
    if need <= problem.bandwidth_hz:
        return ()
    ratios = (deadline_s - workspace.compute_min_s) * workspace.unit_snr_hz / workspace.data_nats
    shares = [q / math.expm1(inverse_energy_ratio(r)) for q, r in zip(workspace.unit_snr_hz, ratios, strict=True)]
    message = (
        f"the devices need {need:.6g} Hz to finish within deadline_s={deadline_s:g} and share "
        f"{problem.bandwidth_hz:.6g} Hz, of which device {int(np.argmax(shares))} needs most; raise deadline_s or "
        "lower compression rates"
    )
    return (Infeasibility(None, "bandwidth_hz", message),)


def delays_alone(problem: Problem) -> Array:
    """Shortest possible delay of each device with the whole band to itself, shape (N,) [s]."""
    workspace = allocate_workspace(len(problem.bits))
    prepare(problem, workspace)
    by_band = workspace.data_nats / (problem.bandwidth_hz * np.log1p(workspace.unit_snr_hz / problem.bandwidth_hz))
    return np.asarray(workspace.compute_min_s + np.maximum(workspace.upload_min_s, by_band))


def diagnose_rates(problem: Problem, rate_min_bps: Array) -> tuple[Infeasibility, ...]:
    """Reasons why P4 has no solution at the required rates (N,) [bit/s]; empty if it has one."""
    workspace = allocate_workspace(len(problem.bits))
    prepare(problem, workspace)
    found: list[Infeasibility] = []
    need = 0.0
    for n, rate in enumerate(np.asarray(rate_min_bps).tolist()):
        if workspace.unit_snr_hz[n] <= rate * LN2:
            message = f"device {n} cannot send {rate:.6g} bit/s at full power over any bandwidth; "
            found.append(Infeasibility(n, "rate_min_bps", message + "give it more time or fewer bits"))
            continue
        most = inverse_energy_ratio(workspace.unit_snr_hz[n] / (rate * LN2))
        if most < workspace.u_min[n]:
            message = f"device {n} cannot send {rate:.6g} bit/s with an SNR of {float(problem.snr_min[n]):.4g} or more "
            found.append(Infeasibility(n, "snr_min", message + "at full power; lower its rate or its PSNR requirement"))
            continue
        need += rate * LN2 / most
    if not found and need > problem.bandwidth_hz:
        message = f"the rates need {need:.6g} Hz at full power, more than {problem.bandwidth_hz:.6g}; lower the rates"
        found.append(Infeasibility(None, "bandwidth_hz", message))
    return tuple(found)
