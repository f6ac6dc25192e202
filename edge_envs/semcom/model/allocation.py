"""From an agent's action to a complete allocation: what is decided, and what is solved around it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.semcom.config import ALTERNATING, COMPRESSION, HARD, JOINT, POWER_BANDWIDTH, Parameters
from edge_envs.semcom.image_quality import compression_needed, snr_needed
from edge_envs.semcom.model.state import State, pose
from edge_envs.semcom.solvers import joint
from edge_envs.semcom.solvers.paper_algorithms import alternate, compute_at_link
from edge_envs.semcom.solvers.problem import DELAY, OBJECTIVE, SWEEPS, compute_energy, prepare, transmit_energy
from edge_envs.semcom.solvers.spectral_efficiency import inverse_energy_ratio

POWER_EXPONENT = 3.0
"""A requested power x in [0, 1] means x^3 of the largest, which resolves the low powers that matter; chosen."""
BAND_NATS = 4.0
"""A requested bandwidth is e^(4 a) of an even share; all are scaled down where they exceed the total; chosen."""
LEAST_POWER, LEAST_FREQUENCY = 0.04, 0.005
"""Smallest x for powers and for frequencies, which are x of the largest: with none a round would never end; chosen."""
DEADLINE_ROOM = 0.9
"""Bound on u = ln(1 + S) of a relaxed requirement, over what just makes the deadline at full power; chosen."""
VARIABLES = (1, 2, 5)
"""Numbers per device in an action, by `Parameters.decision`."""


@kernel_part
def require(p: Parameters, s: State, row: int) -> None:
    """With psnr_mode="hard": the SNR that each device's requirement asks for at its compression rate."""
    s.relaxed[row] = 0
    if p.psnr_mode == HARD:
        for n in range(p.num_devices):
            s.problem.snr_min[n] = snr_needed(p.law, s.compression[row, n], s.target_db[row, n])


@kernel_part
def relax(p: Parameters, s: State, row: int) -> None:
    """Lower the SNR required of devices that could not make the deadline with it; counts them in `s.relaxed`."""
    prepare(s.problem, s.work)
    for n in range(p.num_devices):
        room = (p.deadline_s - s.work.least_compute_s[n]) * s.work.reach_hz[n] / s.work.nats[n]
        most = math.expm1(DEADLINE_ROOM * inverse_energy_ratio(room)) if room > 1.0 else 0.0
        if s.problem.snr_min[n] > most:
            s.problem.snr_min[n] = most
            s.relaxed[row] += 1


@kernel_part
def solve_jointly(p: Parameters, s: State, row: int) -> float:
    """The joint optimum at the row's compression rates; with psnr_mode="hard" within the deadline if it can be.

    Returns the deadline that was held, inf for none [s].
    """
    pose(p, s, row)
    require(p, s, row)
    if p.psnr_mode == HARD:
        relax(p, s, row)
    joint.solve(s.problem, s.work, math.inf)
    late = p.psnr_mode == HARD and s.work.totals[DELAY] > p.deadline_s
    if late and joint.least_bandwidth(s.problem, s.work, p.deadline_s) < p.bandwidth_hz:
        joint.solve(s.problem, s.work, p.deadline_s)
        return p.deadline_s
    return math.inf


@kernel_part
def share_evenly(p: Parameters, s: State) -> None:
    """p = pmax / 2 and B = B_total / N: the start of Algorithm 3, and the links of the paper's Average."""
    for n in range(p.num_devices):
        s.work.power_w[n] = 0.5 * p.power_max_w
        s.work.bandwidth_hz[n] = p.bandwidth_hz / p.num_devices


@kernel_part
def solve_alternating(p: Parameters, s: State, row: int, free: bool) -> None:
    """Algorithm 3 from even shares, at the row's compression rates or, with `free`, at those of (32).

    Where P4 cannot give the devices the SNR they need, they are content with that of the even shares.
    """
    pose(p, s, row)
    require(p, s, row)
    share_evenly(p, s)
    for n in range(p.num_devices):
        s.goal_db[n] = s.target_db[row, n]
        s.rho[n] = s.compression[row, n]
    if not alternate(s.problem, s.work, s.rates, free, p.law, p.raw_bits, s.limits, s.goal_db, s.rho):
        share_evenly(p, s)
        for n in range(p.num_devices):
            snr = s.work.power_w[n] * s.problem.gain[n] / (p.noise_w_per_hz * s.work.bandwidth_hz[n])
            if s.problem.snr_min[n] > snr:
                s.problem.snr_min[n] = snr
                s.relaxed[row] += 1
        alternate(s.problem, s.work, s.rates, False, p.law, p.raw_bits, s.limits, s.goal_db, s.rho)
    for n in range(p.num_devices):
        s.compression[row, n] = s.rho[n]


@kernel
def requested(action: float, least: float) -> float:
    """An action on [-1, 1] as a part x of the largest value, not below `least`."""
    return min(max(0.5 * (action + 1.0), least), 1.0)


@kernel_part
def decode_link(p: Parameters, s: State, row: int, actions: NDArray[np.float64], stride: int) -> None:
    """Powers and bandwidths from the first two numbers of each device's `stride`, into the work space."""
    total = 0.0
    for n in range(p.num_devices):
        request = requested(actions[row, stride * n], LEAST_POWER)
        s.work.power_w[n] = p.power_max_w * request**POWER_EXPONENT
        s.work.bandwidth_hz[n] = p.bandwidth_hz / p.num_devices * math.exp(BAND_NATS * actions[row, stride * n + 1])
        total += s.work.bandwidth_hz[n]
    if total > p.bandwidth_hz:
        for n in range(p.num_devices):
            s.work.bandwidth_hz[n] *= p.bandwidth_hz / total


@kernel_part
def compress_for_link(p: Parameters, s: State, row: int) -> None:
    """Compression rates of (32) for the powers and bandwidths in the work space."""
    for n in range(p.num_devices):
        snr = s.work.power_w[n] * s.gain[row, n] / (p.noise_w_per_hz * s.work.bandwidth_hz[n])
        needed = compression_needed(p.law, snr, s.target_db[row, n])
        s.compression[row, n] = min(max(needed, p.compression_min), p.compression_max)


@kernel_part
def decode_rate(p: Parameters, action: float) -> float:
    """Compression rate: the middle of its range plus half the range times the action."""
    middle, half = 0.5 * (p.compression_min + p.compression_max), 0.5 * (p.compression_max - p.compression_min)
    return min(max(middle + half * action, p.compression_min), p.compression_max)


@kernel_part
def take_everything(p: Parameters, s: State, row: int, actions: NDArray[np.float64]) -> None:
    """decision="joint": power, bandwidth, both frequencies and compression of each device are the action.

    The whole price of time goes to the device that finishes last: a subgradient, as nothing is solved.
    """
    decode_link(p, s, row, actions, 5)
    for n in range(p.num_devices):
        s.compression[row, n] = decode_rate(p, actions[row, 5 * n + 4])
    pose(p, s, row)
    prepare(s.problem, s.work)
    delay, last, cost = 0.0, 0, 0.0
    for n in range(p.num_devices):
        device = p.device_frequency_max_hz * requested(actions[row, 5 * n + 2], LEAST_FREQUENCY)
        server = p.server_frequency_max_hz * requested(actions[row, 5 * n + 3], LEAST_FREQUENCY)
        s.work.device_frequency_hz[n], s.work.server_frequency_hz[n] = device, server
        snr = s.work.power_w[n] * s.problem.gain[n] / (p.noise_w_per_hz * s.work.bandwidth_hz[n])
        s.work.u[n] = math.log1p(snr)
        s.work.upload_s[n] = s.work.nats[n] / (s.work.bandwidth_hz[n] * s.work.u[n])
        s.work.compute_s[n] = s.problem.device_cycles[n] / device + s.problem.server_cycles[n] / server
        s.work.time_price[n] = 0.0
        finish = s.work.upload_s[n] + s.work.compute_s[n]
        if finish > delay:
            delay, last = finish, n
        cost += p.weight_energy * (transmit_energy(s.work, n) + compute_energy(s.problem, s.work, n))
    s.work.time_price[last] = p.weight_time
    s.work.totals[DELAY] = delay
    s.work.totals[OBJECTIVE] = p.weight_time * delay + cost
    s.work.totals[SWEEPS] = 0.0
    s.relaxed[row] = 0


@kernel_part
def allocate_round(p: Parameters, s: State, row: int, actions: NDArray[np.float64]) -> float:
    """Decode the row's action and solve for everything that it leaves open; fills the work space.

    Returns the deadline that the joint solver held, inf for none [s].
    """
    deadline_s = math.inf
    if p.decision == COMPRESSION:
        for n in range(p.num_devices):
            s.compression[row, n] = decode_rate(p, actions[row, n])
        if p.solver == JOINT:
            deadline_s = solve_jointly(p, s, row)
        elif p.solver == ALTERNATING:
            solve_alternating(p, s, row, False)
        else:
            pose(p, s, row)
            s.relaxed[row] = 0
            share_evenly(p, s)
            compute_at_link(s.problem, s.work)
            s.work.totals[SWEEPS] = 1.0
    elif p.decision == POWER_BANDWIDTH:
        decode_link(p, s, row, actions, 2)
        compress_for_link(p, s, row)
        pose(p, s, row)
        s.relaxed[row] = 0
        compute_at_link(s.problem, s.work)
        s.work.totals[SWEEPS] = 1.0
    else:
        take_everything(p, s, row, actions)
    return deadline_s
