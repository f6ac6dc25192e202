"""One training round as an optimisation problem, the solvers' workspace, and the costs of a device."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.core.kernels.metrics import columns
from edge_envs.semcom.solvers.spectral_efficiency import U_MAX, energy_ratio

Array = NDArray[np.float64]
LN2 = math.log(2.0)


class Problem(NamedTuple):
    """Problem P1, eq. (16), of one round of N devices at given compression rates; arrays have shape (N,)."""

    bits: Array  # w_n = rho_n d_n D_n, the bits to send [bit]
    gain: Array  # g_n [-]
    snr_min: Array  # S_n^min, the SNR that the PSNR requirement needs [-]; may be inf
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
    """Scratch memory and results of the solvers; arrays have shape (N,), except `totals`.

    Server cycles and frequencies are scaled so that both processors have the device's energy coefficient. One price of
    time then gives both processors the same frequency, up to their limits.
    """

    data_nats: Array  # c = w ln 2, the data to send in nats
    energy_min_j: Array  # e0 = N0 c / g, the infimum of the transmit energy
    unit_snr_hz: Array  # q = pmax g / N0, the bandwidth at which full power gives an SNR of one
    u_min: Array  # ln(1 + S_min)
    u_max: Array  # P4: u at full power and the required rate
    server_cycles: Array  # scaled
    server_max_hz: Array  # scaled
    compute_min_s: Array  # compute time with both processors at their limits
    upload_min_s: Array  # upload time at full power and the smallest SNR
    time_price_at_limits: Array  # at higher time prices both processors run at their limits
    rate_min_bps: Array  # Algorithm 3: rates that P4 must meet
    u: Array  # result: ln(1 + S), the spectral efficiency in nat/s/Hz
    upload_s: Array  # result: t
    compute_s: Array  # result: T - t
    bandwidth_hz: Array  # result: B
    time_price: Array  # result: beta
    device_frequency_hz: Array  # result: f
    server_frequency_hz: Array  # result: h, not scaled
    power_w: Array  # result: p
    totals: Array  # (len(TOTAL),) numbers of the whole round; columns are in `TOTAL`


TOTAL = columns(("delay_s", "objective", "lower_bound", "bandwidth_price", "sweeps", "delay_min_s"))
"""Columns of `Workspace.totals`: T [s], cost, lower bound, zeta [1/Hz], passes over the devices, and the largest of the
devices' shortest possible delays [s]."""


def allocate_workspace(devices: int) -> Workspace:
    """A workspace of zeros for problems with `devices` devices."""
    arrays = {name: np.zeros(devices) for name in Workspace._fields[:-1]}
    return Workspace(**arrays, totals=np.zeros(len(TOTAL)))


@kernel
def prepare(problem: Problem, workspace: Workspace) -> None:
    """Compute what is constant during a solve and store it in the workspace."""
    ratio = (problem.device_energy_coefficient / problem.server_energy_coefficient) ** (1.0 / 3.0)
    for n in range(len(problem.bits)):
        nats = problem.bits[n] * LN2
        workspace.data_nats[n] = nats
        workspace.energy_min_j[n] = problem.noise_w_per_hz * nats / problem.gain[n]
        workspace.unit_snr_hz[n] = problem.power_max_w[n] * problem.gain[n] / problem.noise_w_per_hz
        workspace.u_min[n] = min(math.log1p(problem.snr_min[n]), U_MAX)
        workspace.server_cycles[n] = problem.server_cycles[n] / ratio
        workspace.server_max_hz[n] = problem.server_frequency_max_hz[n] / ratio
        workspace.compute_min_s[n] = (
            problem.device_cycles[n] / problem.device_frequency_max_hz[n]
            + problem.server_cycles[n] / problem.server_frequency_max_hz[n]
        )
        workspace.upload_min_s[n] = nats / workspace.unit_snr_hz[n] * energy_ratio(workspace.u_min[n])
        cap = max(problem.device_frequency_max_hz[n], workspace.server_max_hz[n])
        workspace.time_price_at_limits[n] = time_price_factor(problem) * cap * cap * cap


@kernel
def time_price_factor(problem: Problem) -> float:
    """2 omega_2 kappa, the ratio of a time price to the cube of the optimal frequency, eqs. (26)-(27)."""
    return 2.0 * problem.weight_energy * problem.device_energy_coefficient


@kernel_part
def compute_phase(problem: Problem, workspace: Workspace, n: int, compute_s: float) -> tuple[float, float, float]:
    """Cheapest frequencies (f, scaled h) of device n for a compute time, and -d ln(time price) / d(compute_s).

    Without limits both are (c1 + c2) D / tau. If one of them exceeds its limit, it is set to the limit and the other
    one becomes faster. `compute_s` must not be below the compute time with both processors at their limits.
    """
    device_cycles, server_cycles = problem.device_cycles[n], workspace.server_cycles[n]
    device_max_hz, server_max_hz = problem.device_frequency_max_hz[n], workspace.server_max_hz[n]
    common = (device_cycles + server_cycles) / compute_s
    if common <= min(device_max_hz, server_max_hz):
        return common, common, 3.0 / compute_s
    if device_max_hz <= server_max_hz:
        rest = compute_s - device_cycles / device_max_hz
        return device_max_hz, min(server_cycles / rest, server_max_hz), 3.0 / rest
    rest = compute_s - server_cycles / server_max_hz
    return min(device_cycles / rest, device_max_hz), server_max_hz, 3.0 / rest


@kernel
def set_frequencies(problem: Problem, workspace: Workspace, n: int, compute_s: float) -> None:
    """Store the cheapest frequencies of device n for a compute time, without the scaling."""
    ratio = (problem.device_energy_coefficient / problem.server_energy_coefficient) ** (1.0 / 3.0)
    device, server, _ = compute_phase(problem, workspace, n, max(compute_s, workspace.compute_min_s[n]))
    workspace.device_frequency_hz[n] = device
    workspace.server_frequency_hz[n] = server * ratio


@kernel
def compute_energy(problem: Problem, workspace: Workspace, n: int) -> float:
    """E_cmp + E_S of device n at the stored frequencies, eqs. (10) and (13) [J]."""
    device, server = workspace.device_frequency_hz[n], workspace.server_frequency_hz[n]
    return (
        problem.device_energy_coefficient * problem.device_cycles[n] * device * device
        + problem.server_energy_coefficient * problem.server_cycles[n] * server * server
    )


@kernel
def snr_of(problem: Problem, workspace: Workspace, n: int) -> float:
    """SNR of device n at the stored power and bandwidth."""
    return workspace.power_w[n] * problem.gain[n] / (problem.noise_w_per_hz * workspace.bandwidth_hz[n])


@kernel
def upload_sensitivity(problem: Problem, workspace: Workspace, n: int) -> float:
    """d objective / d ln(bits) of device n in a solved round: omega_2 E_up + beta T_up."""
    return problem.weight_energy * transmit_energy(workspace, n) + workspace.time_price[n] * workspace.upload_s[n]


@kernel
def transmit_energy(workspace: Workspace, n: int) -> float:
    """E_up of device n at the stored SNR, eq. (11) [J]."""
    return workspace.energy_min_j[n] * energy_ratio(workspace.u[n])


@kernel
def time_price_of(problem: Problem, workspace: Workspace, n: int, compute_s: float) -> tuple[float, float]:
    """Time price at which `compute_s` is optimal for device n, and its decay, -d ln(price) / d(compute_s)."""
    device, server, decay = compute_phase(problem, workspace, n, compute_s)
    fast = max(device, server)
    return time_price_factor(problem) * fast * fast * fast, decay
