"""Is there any allocation at all? Checked input, and named reasons where there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_envs.core.physics.units import linear_to_db
from edge_envs.semcom.solvers.joint import least_bandwidth
from edge_envs.semcom.solvers.problem import LN2, Array, Problem, allocate_workspace, prepare
from edge_envs.semcom.solvers.spectral_efficiency import LARGEST_U, inverse_energy_ratio

ARRAYS = Problem._fields[:8]
ROUNDING = 1e-12
MOST_REASONS = 10
"""Reasons that an error message spells out."""


@dataclass(frozen=True, slots=True)
class Infeasibility:
    """One reason why a problem has no solution."""

    device: int | None
    """Index of the device, None where no single one is to blame."""
    constraint: str
    """What cannot be met: "snr_min", "deadline_s", "rate_min_bps" or "bandwidth_hz"."""
    message: str
    """The reason in words, with the mend."""


class InfeasibleError(ValueError):
    """No allocation meets all constraints; `infeasibilities` holds every reason found."""

    def __init__(self, infeasibilities: tuple[Infeasibility, ...]) -> None:
        more = len(infeasibilities) - MOST_REASONS
        reasons = [each.message for each in infeasibilities[:MOST_REASONS]] + ([f"and {more} more"] if more > 0 else [])
        super().__init__("; ".join(reasons))
        self.infeasibilities = infeasibilities


def per_device(name: str, values: Array, devices: int, *, zero: bool = False) -> Array:
    """A positive number per device as a float64 array of shape (N,).

    Raises:
        ValueError: another shape, or an entry that is not finite or not positive (or negative, with `zero`).
    """
    try:
        array = np.ascontiguousarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} = {values!r} is not possible: give a number per device") from error
    if array.shape != (devices,):
        raise ValueError(f"{name} has shape {array.shape}, expected ({devices},), one entry per device")
    wrong = ~(np.isfinite(array) & ((array >= 0.0) if zero else (array > 0.0)))
    if wrong.any():
        n = int(np.flatnonzero(wrong)[0])
        raise ValueError(f"{name}[{n}] = {array[n]} is not possible: give a finite number {'>=' if zero else '>'} 0")
    return array


def check(problem: Problem) -> Problem:
    """The problem with contiguous float64 arrays.

    Raises:
        ValueError: a wrong shape, or a number that is not finite or not positive; names the field and the device.
    """
    devices = int(np.size(problem.bits))
    if devices == 0:
        raise ValueError("bits has no entry; a problem needs at least one device")
    changed: dict[str, Any] = {}
    for name in ARRAYS:
        values = getattr(problem, name)
        if name == "snr_min":
            changed[name] = _least_snr(values, devices)
        else:
            changed[name] = per_device(name, values, devices)
    for name in Problem._fields[len(ARRAYS) :]:
        value = float(getattr(problem, name))
        if not (math.isfinite(value) and value > 0.0):
            raise ValueError(f"{name} = {value} is not possible: give a finite number > 0")
        changed[name] = value
    return problem._replace(**changed)


def _least_snr(values: Array, devices: int) -> Array:
    """`snr_min` as an array; infinite entries are no bad input but an infeasible requirement."""
    array = np.ascontiguousarray(values, dtype=np.float64)
    per_device("snr_min", np.where(np.isposinf(array), 0.0, array), devices, zero=True)
    return array


def diagnose(problem: Problem, deadline_s: float = math.inf) -> tuple[Infeasibility, ...]:
    """Reasons why P1 at given compression rates has no solution; empty if it has one.

    Without a deadline every finite SNR can be reached, by less bandwidth and more time. A deadline can be too short for
    one device with the whole band, or for all of them together.

    Raises:
        ValueError: bad input, naming the field and the device.
    """
    problem = check(problem)
    if not deadline_s > 0.0:
        raise ValueError(f"deadline_s = {deadline_s} is not possible: give a time > 0, or inf for none")
    found = [
        Infeasibility(
            n, "snr_min", f"device {n} needs an SNR of {linear_to_db(float(problem.snr_min[n])):.4g} dB, more than any "
            "link has: raise its compression rate or lower its PSNR requirement",
        )
        for n in range(len(problem.bits)) if not math.log1p(problem.snr_min[n]) < LARGEST_U
    ]  # fmt: skip
    if found or math.isinf(deadline_s):
        return tuple(found)
    alone = delays_alone(problem)
    if alone.max() > deadline_s * (1.0 + ROUNDING):
        return tuple(
            Infeasibility(
                n,
                "deadline_s",
                f"device {n} needs {alone[n]:.6g} s even with the whole band to itself, more than "
                f"deadline_s = {deadline_s:g}: lower its compression rate or PSNR requirement, or move the deadline",
            )
            for n in np.flatnonzero(alone > deadline_s * (1.0 + ROUNDING)).tolist()
        )
    work = allocate_workspace(len(problem.bits))
    prepare(problem, work)
    need = least_bandwidth(problem, work, deadline_s)
    if need > problem.bandwidth_hz:
        worst = int(np.argmax(_bandwidth_shares(problem, deadline_s)))
        return (
            Infeasibility(
                None,
                "bandwidth_hz",
                f"the devices need {need:.6g} Hz to finish within deadline_s = {deadline_s:g} and "
                f"share {problem.bandwidth_hz:.6g} Hz, of which device {worst} needs most: move the deadline or lower "
                "compression rates",
            ),
        )
    return ()


def delays_alone(problem: Problem) -> Array:
    """Shortest possible delay of each device with the whole band to itself, shape (N,) [s]."""
    work = allocate_workspace(len(problem.bits))
    prepare(problem, work)
    by_band = work.nats / (problem.bandwidth_hz * np.log1p(work.reach_hz / problem.bandwidth_hz))
    return np.asarray(work.least_compute_s + np.maximum(work.least_upload_s, by_band))


def _bandwidth_shares(problem: Problem, deadline_s: float) -> Array:
    """Least bandwidth of each device to finish by the deadline, shape (N,) [Hz]."""
    work = allocate_workspace(len(problem.bits))
    prepare(problem, work)
    ratios = (deadline_s - work.least_compute_s) * work.reach_hz / work.nats
    return np.array([q / math.expm1(inverse_energy_ratio(r)) for q, r in zip(work.reach_hz, ratios, strict=True)])


def diagnose_rates(problem: Problem, rate_min_bps: Array) -> tuple[Infeasibility, ...]:
    """Reasons why P4 has no solution at the required rates (N,) [bit/s]; empty if it has one."""
    work = allocate_workspace(len(problem.bits))
    prepare(problem, work)
    found: list[Infeasibility] = []
    need = 0.0
    for n, rate in enumerate(np.asarray(rate_min_bps).tolist()):
        if work.reach_hz[n] <= rate * LN2:
            found.append(
                Infeasibility(
                    n,
                    "rate_min_bps",
                    f"device {n} cannot send {rate:.6g} bit/s at full power over any bandwidth: give "
                    "it more time or fewer bits",
                )
            )
            continue
        most = inverse_energy_ratio(work.reach_hz[n] / (rate * LN2))
        if most < work.u_min[n]:
            found.append(
                Infeasibility(
                    n,
                    "snr_min",
                    f"device {n} cannot send {rate:.6g} bit/s with an SNR of {float(problem.snr_min[n]):.4g} "
                    "or more at full power: lower its rate or its PSNR requirement",
                )
            )
            continue
        need += rate * LN2 / most
    if not found and need > problem.bandwidth_hz:
        found.append(
            Infeasibility(
                None,
                "bandwidth_hz",
                f"the rates need {need:.6g} Hz at full power, more than {problem.bandwidth_hz:.6g}: lower the rates",
            )
        )
    return tuple(found)
