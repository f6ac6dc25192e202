"""From an agent's action to a complete allocation: decode the action, then solve for the other variables."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.core.kernels.metrics import columns
from edge_envs.semcom.config import Decision
from edge_envs.semcom.image_quality import compression_needed, snr_needed
from edge_envs.semcom.model.parameters import DECISION, PSNR_MODE, SOLVER, Parameters
from edge_envs.semcom.model.state import State, set_problem
from edge_envs.semcom.solvers import joint
from edge_envs.semcom.solvers.paper_algorithms import alternate, compute_at_link
from edge_envs.semcom.solvers.problem import TOTAL, compute_energy, prepare, snr_of, transmit_energy
from edge_envs.semcom.solvers.spectral_efficiency import inverse_energy_ratio

POWER_EXPONENT = 3.0
"""A requested power x in [0, 1] is x^3 of the largest; chosen: resolves the low powers, which are optimal."""
BANDWIDTH_LOG_RANGE = 4.0
"""A requested bandwidth is e^(4 a) of an even share; if they exceed the total, all are scaled down; chosen."""
POWER_REQUEST_MIN, FREQUENCY_REQUEST_MIN = 0.04, 0.005
"""Smallest request x of powers (x^3 of the largest) and of frequencies (x of the largest); chosen: rounds end."""
DEADLINE_MARGIN = 0.9
"""Largest u = ln(1 + S) of a relaxed requirement, over the u that just meets the deadline at full power; chosen."""
REQUEST = columns(("power", "bandwidth", "device_frequency", "server_frequency", "compression"))
"""Columns of a device's numbers in an action with decision="joint"; "power_bandwidth" has the first two."""
REQUESTS = len(REQUEST)
VARIABLES: Mapping[str, int] = {Decision.COMPRESSION: 1, Decision.POWER_BANDWIDTH: 2, Decision.JOINT: REQUESTS}
"""Numbers per device in an action."""


@kernel_part
def set_required_snr(p: Parameters, s: State, row: int) -> None:
    """With psnr_mode="hard", set the SNR that each device's requirement needs at its compression rate."""
    s.relaxed[row] = 0
    if p.psnr_mode == PSNR_MODE.HARD:
        for n in range(p.num_devices):
            s.problem.snr_min[n] = snr_needed(p.law, s.compression[row, n], s.target_db[row, n])


@kernel_part
def relax_required_snr(p: Parameters, s: State, row: int) -> None:
    """Lower the required SNR of devices that could not meet the deadline with it; count them in `s.relaxed`."""
    prepare(s.problem, s.workspace)
    for n in range(p.num_devices):
        room = (p.deadline_s - s.workspace.compute_min_s[n]) * s.workspace.unit_snr_hz[n] / s.workspace.data_nats[n]
        most = math.expm1(DEADLINE_MARGIN * inverse_energy_ratio(room)) if room > 1.0 else 0.0
        if s.problem.snr_min[n] > most:
            s.problem.snr_min[n] = most
            s.relaxed[row] += 1


@kernel_part
def solve_round(p: Parameters, s: State, row: int) -> None:
    """Solve P1 at the row's compression rates, without required SNRs and without a deadline."""
    set_problem(p, s, row)
    joint.solve(s.problem, s.workspace, math.inf)


@kernel_part
def solve_jointly(p: Parameters, s: State, row: int) -> float:
    """Solve P1 at the row's compression rates; with psnr_mode="hard", hold the deadline if it is attainable.

    Returns the deadline that was held [s], inf for none.
    """
    set_problem(p, s, row)
    set_required_snr(p, s, row)
    if p.psnr_mode == PSNR_MODE.HARD:
        relax_required_snr(p, s, row)
    joint.solve(s.problem, s.workspace, math.inf)
    late = p.psnr_mode == PSNR_MODE.HARD and s.workspace.totals[TOTAL.delay_s] > p.deadline_s
    if late and joint.least_bandwidth(s.problem, s.workspace, p.deadline_s) < p.bandwidth_hz:
        joint.solve(s.problem, s.workspace, p.deadline_s)
        return p.deadline_s
    return math.inf


@kernel_part
def set_even_shares(p: Parameters, s: State) -> None:
    """Set p = pmax / 2 and B = B_total / N, as in the start of Algorithm 3 and in the paper's Average Allocation."""
    for n in range(p.num_devices):
        s.workspace.power_w[n] = 0.5 * p.power_max_w
        s.workspace.bandwidth_hz[n] = p.bandwidth_hz / p.num_devices


@kernel_part
def solve_alternating(p: Parameters, s: State, row: int, free: bool) -> None:
    """Run Algorithm 3 from even shares, at the row's compression rates or, with `free`, at those of (32).

    If P4 cannot meet the required SNRs, they are lowered to the SNRs of the even shares.
    """
    set_problem(p, s, row)
    set_required_snr(p, s, row)
    set_even_shares(p, s)
    for n in range(p.num_devices):
        s.rule.psnr_min_db[n] = s.target_db[row, n]
        s.rule.compression[n] = s.compression[row, n]
    if not alternate(s.problem, s.workspace, s.rule, free):
        set_even_shares(p, s)
        for n in range(p.num_devices):
            snr = snr_of(s.problem, s.workspace, n)
            if s.problem.snr_min[n] > snr:
                s.problem.snr_min[n] = snr
                s.relaxed[row] += 1
        alternate(s.problem, s.workspace, s.rule, False)
    for n in range(p.num_devices):
        s.compression[row, n] = s.rule.compression[n]


@kernel
def requested(action: float, least: float) -> float:
    """Map an action in [-1, 1] to a fraction x of the largest value, at least `least`."""
    return min(max(0.5 * (action + 1.0), least), 1.0)


@kernel_part
def decode_link(p: Parameters, s: State, row: int, actions: NDArray[np.float64], stride: int) -> None:
    """Decode powers and bandwidths, the first two of each device's `stride` numbers, into the workspace."""
    total = 0.0
    for n in range(p.num_devices):
        request = requested(actions[row, stride * n + REQUEST.power], POWER_REQUEST_MIN)
        s.workspace.power_w[n] = p.power_max_w * request**POWER_EXPONENT
        log_ratio = BANDWIDTH_LOG_RANGE * actions[row, stride * n + REQUEST.bandwidth]
        s.workspace.bandwidth_hz[n] = p.bandwidth_hz / p.num_devices * math.exp(log_ratio)
        total += s.workspace.bandwidth_hz[n]
    if total > p.bandwidth_hz:
        for n in range(p.num_devices):
            s.workspace.bandwidth_hz[n] *= p.bandwidth_hz / total


@kernel_part
def set_compression(p: Parameters, s: State, row: int) -> None:
    """Set the compression rates of (32) for the powers and bandwidths in the workspace."""
    for n in range(p.num_devices):
        snr = s.workspace.power_w[n] * s.gain[row, n] / (p.noise_w_per_hz * s.workspace.bandwidth_hz[n])
        needed = compression_needed(p.law, snr, s.target_db[row, n])
        s.compression[row, n] = min(max(needed, p.compression_min), p.compression_max)


@kernel_part
def decode_rate(p: Parameters, action: float) -> float:
    """The compression rate of an action: the middle of the range plus half of its width times the action."""
    middle, half = 0.5 * (p.compression_min + p.compression_max), 0.5 * (p.compression_max - p.compression_min)
    return min(max(middle + half * action, p.compression_min), p.compression_max)


@kernel_part
def decode_everything(p: Parameters, s: State, row: int, actions: NDArray[np.float64]) -> None:
    """With decision="joint", decode power, bandwidth, both frequencies and compression rate of each device.

    As nothing is solved, the device that finishes last gets the whole time price, a subgradient of the objective.
    """
    decode_link(p, s, row, actions, REQUESTS)
    for n in range(p.num_devices):
        s.compression[row, n] = decode_rate(p, actions[row, REQUESTS * n + REQUEST.compression])
    set_problem(p, s, row)
    prepare(s.problem, s.workspace)
    delay, last, cost = 0.0, 0, 0.0
    for n in range(p.num_devices):
        first = REQUESTS * n
        of_device, of_server = (
            actions[row, first + REQUEST.device_frequency],
            actions[row, first + REQUEST.server_frequency],
        )
        device = p.device_frequency_max_hz * requested(of_device, FREQUENCY_REQUEST_MIN)
        server = p.server_frequency_max_hz * requested(of_server, FREQUENCY_REQUEST_MIN)
        s.workspace.device_frequency_hz[n], s.workspace.server_frequency_hz[n] = device, server
        s.workspace.u[n] = math.log1p(snr_of(s.problem, s.workspace, n))
        s.workspace.upload_s[n] = s.workspace.data_nats[n] / (s.workspace.bandwidth_hz[n] * s.workspace.u[n])
        s.workspace.compute_s[n] = s.problem.device_cycles[n] / device + s.problem.server_cycles[n] / server
        s.workspace.time_price[n] = 0.0
        finish = s.workspace.upload_s[n] + s.workspace.compute_s[n]
        if finish > delay:
            delay, last = finish, n
        cost += p.weight_energy * (transmit_energy(s.workspace, n) + compute_energy(s.problem, s.workspace, n))
    s.workspace.time_price[last] = p.weight_time
    s.workspace.totals[TOTAL.delay_s] = delay
    s.workspace.totals[TOTAL.objective] = p.weight_time * delay + cost
    s.workspace.totals[TOTAL.sweeps] = 0.0


@kernel_part
def allocate_round(p: Parameters, s: State, row: int, actions: NDArray[np.float64]) -> float:
    """Decode the row's action and solve for the other variables; the allocation is in the workspace.

    Returns the deadline that the joint solver held [s], inf for none.
    """
    deadline_s = math.inf
    s.relaxed[row] = 0
    if p.decision == DECISION.COMPRESSION:
        for n in range(p.num_devices):
            s.compression[row, n] = decode_rate(p, actions[row, n])
        if p.solver == SOLVER.JOINT:
            deadline_s = solve_jointly(p, s, row)
        elif p.solver == SOLVER.ALG3:
            solve_alternating(p, s, row, False)
        else:
            set_problem(p, s, row)
            set_even_shares(p, s)
            compute_at_link(s.problem, s.workspace)
            s.workspace.totals[TOTAL.sweeps] = 1.0
    elif p.decision == DECISION.POWER_BANDWIDTH:
        decode_link(p, s, row, actions, 2)
        set_compression(p, s, row)
        set_problem(p, s, row)
        compute_at_link(s.problem, s.workspace)
        s.workspace.totals[TOTAL.sweeps] = 1.0
    else:
        decode_everything(p, s, row, actions)
    return deadline_s
