"""One training round as an optimisation problem, and the memory its solvers work in."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel
from edge_envs.semcom.solvers.spectral_efficiency import LARGEST_U, energy_ratio

Array = NDArray[np.float64]
LN2 = math.log(2.0)


class Problem(NamedTuple):
    """Problem P1, eq. (16), of one round of N devices at given compression rates; arrays have shape (N,)."""

    bits: Array  # w_n = rho_n d_n D_n to send [bit]
    gain: Array  # g_n [-]
    snr_min: Array  # S_n^min, what the PSNR requirement asks of the link [-]; may be inf
    device_cycles: Array  # c_1n D_n [cycles]
    server_cycles: Array  # c_2n D_n [cycles]
    power_max_w: Array  # p_n^max [W]
    device_frequency_max_hz: Array  # f_n^max [cycles/s]
    server_frequency_max_hz: Array  # h_n^max [cycles/s]
    bandwidth_hz: float  # B_total [Hz]
    noise_w_per_hz: float  # N_0 [W/Hz]
    device_energy_coefficient: float  # kappa of eq. (10) [J s^2 / cycle^3]
    server_energy_coefficient: float  # kappa of eq. (13) [J s^2 / cycle^3]
    weight_time: float  # omega_1 [1/s]
    weight_energy: float  # omega_2 [1/J]


class Workspace(NamedTuple):
    """What the solvers derive from a problem, and their answer; arrays of shape (N,) but for the last.

    Server frequencies are scaled so that both processors have the device's energy coefficient: then a price of time
    gives both the same frequency, up to their limits.
    """

    nats: Array  # c = w ln 2
    energy_j: Array  # e0 = N0 c / g, the least transmit energy
    reach_hz: Array  # q = pmax g / N0, the bandwidth with an SNR of one at full power
    u_min: Array  # ln(1 + S_min)
    u_max: Array  # in P4: u at full power and the required rate
    server_cycles: Array  # scaled
    server_cap_hz: Array  # scaled
    least_compute_s: Array  # compute time with both processors at their limits
    least_upload_s: Array  # upload time at full power and the least SNR
    cap_price: Array  # price of time from which on both processors run at their limits
    u: Array  # ln(1 + S), answer
    upload_s: Array  # t, answer
    compute_s: Array  # T - t, answer
    bandwidth_hz: Array  # B, answer
    time_price: Array  # beta, answer
    device_frequency_hz: Array  # f, answer
    server_frequency_hz: Array  # h, answer, not scaled
    power_w: Array  # p, answer
    totals: Array  # (6,) numbers of the whole round, indexed by the constants below


DELAY, OBJECTIVE, BOUND, BAND_PRICE, SWEEPS, LEAST_DELAY = range(6)
"""Entries of `Workspace.totals`: T [s], cost, lower bound, zeta [1/Hz], passes over the devices, and max_n of the
shortest possible delay [s]."""


def allocate_workspace(devices: int) -> Workspace:
    """Zeroed memory for problems of `devices` devices."""
    arrays = {name: np.zeros(devices) for name in Workspace._fields[:-1]}
    return Workspace(**arrays, totals=np.zeros(6))


@kernel
def prepare(problem: Problem, work: Workspace) -> None:
    """Fill in what does not change during a solve."""
    ratio = (problem.device_energy_coefficient / problem.server_energy_coefficient) ** (1.0 / 3.0)
    for n in range(len(problem.bits)):
        nats = problem.bits[n] * LN2
        work.nats[n] = nats
        work.energy_j[n] = problem.noise_w_per_hz * nats / problem.gain[n]
        work.reach_hz[n] = problem.power_max_w[n] * problem.gain[n] / problem.noise_w_per_hz
        work.u_min[n] = min(math.log1p(problem.snr_min[n]), LARGEST_U)
        work.server_cycles[n] = problem.server_cycles[n] / ratio
        work.server_cap_hz[n] = problem.server_frequency_max_hz[n] / ratio
        work.least_compute_s[n] = (
            problem.device_cycles[n] / problem.device_frequency_max_hz[n]
            + problem.server_cycles[n] / problem.server_frequency_max_hz[n]
        )
        work.least_upload_s[n] = nats / work.reach_hz[n] * energy_ratio(work.u_min[n])
        cap = max(problem.device_frequency_max_hz[n], work.server_cap_hz[n])
        work.cap_price[n] = energy_price(problem) * cap * cap * cap


@kernel
def energy_price(problem: Problem) -> float:
    """2 omega_2 kappa: price of time over the cube of the frequency it pays for, eqs. (26)-(27)."""
    return 2.0 * problem.weight_energy * problem.device_energy_coefficient


@kernel
def compute_phase(
    device_cycles: float, server_cycles: float, device_cap_hz: float, server_cap_hz: float, compute_s: float
) -> tuple[float, float, float]:
    """Cheapest frequencies (f, h) that compute in `compute_s`, and -d ln(price of time) / d(compute_s).

    Uncapped both are (c1 + c2) D / tau; a frequency above its limit stays there and the other one makes up for it.
    `compute_s` must not be below the time with both at their limits.
    """
    common = (device_cycles + server_cycles) / compute_s
    if common <= min(device_cap_hz, server_cap_hz):
        return common, common, 3.0 / compute_s
    if device_cap_hz <= server_cap_hz:
        rest = compute_s - device_cycles / device_cap_hz
        return device_cap_hz, min(server_cycles / rest, server_cap_hz), 3.0 / rest
    rest = compute_s - server_cycles / server_cap_hz
    return min(device_cycles / rest, device_cap_hz), server_cap_hz, 3.0 / rest


@kernel
def set_frequencies(problem: Problem, work: Workspace, n: int, compute_s: float) -> None:
    """Store the cheapest frequencies of device n for a compute time, the server's in its own units."""
    ratio = (problem.device_energy_coefficient / problem.server_energy_coefficient) ** (1.0 / 3.0)
    device, server, _ = compute_phase(
        problem.device_cycles[n], work.server_cycles[n], problem.device_frequency_max_hz[n], work.server_cap_hz[n],
        max(compute_s, work.least_compute_s[n]),
    )  # fmt: skip
    work.device_frequency_hz[n] = device
    work.server_frequency_hz[n] = server * ratio


@kernel
def compute_energy(problem: Problem, work: Workspace, n: int) -> float:
    """E_cmp + E_S of device n at the stored frequencies, eqs. (10) and (13) [J]."""
    device, server = work.device_frequency_hz[n], work.server_frequency_hz[n]
    return (
        problem.device_energy_coefficient * problem.device_cycles[n] * device * device
        + problem.server_energy_coefficient * problem.server_cycles[n] * server * server
    )


@kernel
def transmit_energy(work: Workspace, n: int) -> float:
    """E_up of device n at the stored SNR, eq. (11) [J]."""
    return work.energy_j[n] * energy_ratio(work.u[n])


@kernel
def time_price_of(problem: Problem, work: Workspace, n: int, compute_s: float) -> tuple[float, float]:
    """Price of time at which device n computes for `compute_s`, and -d ln(price) / d(compute_s)."""
    device, server, slope = compute_phase(
        problem.device_cycles[n], work.server_cycles[n], problem.device_frequency_max_hz[n], work.server_cap_hz[n],
        compute_s,
    )  # fmt: skip
    fast = max(device, server)
    return energy_price(problem) * fast * fast * fast, slope
