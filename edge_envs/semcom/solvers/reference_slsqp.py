"""P1 at given compression rates by SciPy's SLSQP, a general-purpose solver without a modelling language.

The problem is convex in the logarithms of bandwidths, upload times, frequencies and the delay, so a point at which
SLSQP converges is the optimum. SLSQP gets exact derivatives, numbers of order one, and even shares at full power as the
start. Each step solves a dense least-squares problem in 4 N + 1 unknowns.

Needs SciPy, as in the extra `reference`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from edge_envs.semcom.solvers.problem import Array, Problem
from edge_envs.semcom.solvers.reference_cvxpy import Answer, Numbers, joint_answer, joint_numbers

ACCURACY = 1e-10
"""Change of the scaled objective at which SLSQP stops."""
STEPS_MAX = 500
FEASIBLE = 1e-7
"""Largest relative excess over a limit of an accepted solution."""
U_MAX = 100.0
"""Larger v = ln(1 + SNR) are clipped to this in the search, so that no exponential overflows."""
LOG_MAX = 15.0
"""Largest logarithm of a scaled bandwidth or upload time."""


def solve_joint_slsqp(problem: Problem) -> Answer:
    """P1 at given compression rates, as `solvers.solve_joint` without a deadline.

    Raises:
        ImportError: SciPy is not installed.
        RuntimeError: SLSQP ended at a point that is not feasible.
    """
    from scipy.optimize import minimize

    numbers, units = joint_numbers(problem)
    size = len(problem.bits)
    # The start: even shares of bandwidth, and their upload times at full power.
    snr = problem.power_max_w * problem.gain / (problem.noise_w_per_hz * units.band_hz)
    start = np.zeros(4 * size + 1)
    start[size : 2 * size] = np.log(numbers["load"] / np.log1p(snr))
    reach = (-LOG_MAX, LOG_MAX)
    found = minimize(
        partial(cost, numbers), start, jac=True, method="SLSQP",
        bounds=[reach] * (2 * size) + [(-LOG_MAX, 0.0)] * (2 * size) + [reach],
        constraints={"type": "ineq", "fun": partial(room, numbers), "jac": partial(room_slopes, numbers)},
        options={"maxiter": STEPS_MAX, "ftol": ACCURACY},
    )  # fmt: skip
    excess = -float(room(numbers, found.x).min())
    if not excess <= FEASIBLE:
        raise RuntimeError(f"SLSQP ended {excess:.1e} outside of a limit: {found.message}")
    band, upload, device, server = np.exp(found.x[:-1]).reshape(4, size)
    parts = {"band": band, "upload": upload, "device": device, "server": server, "delay": np.exp(found.x[-1])}
    return joint_answer(problem, units, float(found.fun), parts)


def _energy(numbers: Numbers, z: Array) -> tuple[Array, Array]:
    """Transmit energies over their infimum, phi(v) = (e^v - 1) / v, and their derivatives by ln v."""
    size = len(numbers["load"])
    v = np.minimum(numbers["load"] * np.exp(-z[:size] - z[size : 2 * size]), U_MAX)
    energy = np.expm1(v) / v
    return energy, np.exp(v) - energy


def cost(numbers: Numbers, z: Array) -> tuple[float, Array]:
    """Objective (16), scaled, and its gradient."""
    energy, by_log_v = _energy(numbers, z)
    device, server = np.exp(2.0 * z[:-1]).reshape(4, -1)[2:]
    device, server = numbers["device_cost"] * device, numbers["server_cost"] * server
    delay = np.exp(z[-1])
    total = delay + numbers["energy_cost"] @ energy + device.sum() + server.sum()
    by_link = -numbers["energy_cost"] * by_log_v
    return float(total), np.concatenate([by_link, by_link, 2.0 * device, 2.0 * server, [delay]])


def room(numbers: Numbers, z: Array) -> Array:
    """Slack of each constraint, in logarithms where this makes it convex: bandwidth, power, SNR and time."""
    energy, _ = _energy(numbers, z)
    x, y, device, server = z[:-1].reshape(4, -1)
    finish = np.exp(y) + numbers["device_s"] * np.exp(-device) + numbers["server_s"] * np.exp(-server)
    return np.concatenate([
        [-np.log(np.exp(x).mean())], y - np.log(numbers["power"] * energy), np.log(numbers["longest"]) - x - y,
        z[-1] - np.log(finish),
    ])  # fmt: skip


def room_slopes(numbers: Numbers, z: Array) -> Any:
    """Jacobian of `room`, shape (3 N + 1, 4 N + 1)."""
    energy, by_log_v = _energy(numbers, z)
    x, y, device, server = z[:-1].reshape(4, -1)
    size = len(x)
    times = np.exp(y), numbers["device_s"] * np.exp(-device), numbers["server_s"] * np.exp(-server)
    finish = sum(times)
    slopes = np.zeros((3 * size + 1, 4 * size + 1))
    slopes[0, :size] = -np.exp(x) / np.exp(x).sum()
    power, snr, time = (slopes[1 + k * size : 1 + (k + 1) * size] for k in range(3))
    own = np.arange(size)
    power[own, own] = by_log_v / energy
    power[own, size + own] = 1.0 + by_log_v / energy
    snr[own, own] = snr[own, size + own] = -1.0
    time[own, size + own] = -times[0] / finish
    time[own, 2 * size + own] = times[1] / finish
    time[own, 3 * size + own] = times[2] / finish
    time[:, -1] = 1.0
    return slopes
