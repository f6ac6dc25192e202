"""Reward, metrics and member metrics of a step."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel_part
from edge_envs.core.kernels.metrics import Metric, columns
from edge_envs.semcom.image_quality import psnr_db
from edge_envs.semcom.model.parameters import DECISION, PSNR_MODE, SOLVER, Parameters
from edge_envs.semcom.model.state import State
from edge_envs.semcom.solvers.certificates.bounds import certify_compute, certify_round
from edge_envs.semcom.solvers.problem import TOTAL

METRICS = (
    Metric("objective", "-", "omega_1 T + omega_2 E of the round, eq. (16)"),
    Metric("cost", "-", "objective over the geometry's mean objective at the smallest compression rates"),
    Metric("delay_s", "s", "duration of the round T"),
    Metric("delay_device_s", "s", "mean time of the devices, computing and uploading, eq. (8)"),
    Metric("delay_server_s", "s", "mean time of the base station per device, eq. (9)"),
    Metric("energy_j", "J", "energy of all devices and of the base station E"),
    Metric("energy_device_j", "J", "energy of all devices, eq. (12)"),
    Metric("energy_server_j", "J", "energy of the base station, eq. (13)"),
    Metric("energy_compute_j", "J", "computing energy of all devices, eq. (10)"),
    Metric("energy_transmit_j", "J", "transmit energy of all devices, eq. (11)"),
    Metric("psnr_mean_db", "dB", "mean PSNR over the devices"),
    Metric("psnr_min_db", "dB", "smallest PSNR of a device"),
    Metric("psnr_max_db", "dB", "largest PSNR of a device"),
    Metric("round_shortfall_db", "dB", "mean over the devices of the round's shortfall below the required PSNR"),
    Metric("shortfall_db", "dB", "mean over the devices of the shortfall of their mean PSNR since the reset", "last"),
    Metric("targets_met", "-", "fraction of devices whose mean PSNR since the reset meets it up to 0.05 dB", "last"),
    Metric("queue_db", "dB", "mean virtual queue"),
    Metric("compression", "-", "mean compression rate"),
    Metric("missed_deadlines", "devices", "devices that finish after deadline_s"),
    Metric("relaxed_devices", "devices", "devices whose required SNR was lowered as they could not meet it in time"),
    Metric("sweeps", "-", "passes of the solver over the devices"),
    Metric(
        "certificate", "-", "relative excess of the cost over a dual bound, plus the largest relative violation of a "
        "limit: of P1 with the joint solver, of P3 if powers and bandwidths are the action, else NaN", "max",
        certifies=True,
    ),
)  # fmt: skip

MEMBER_METRICS = (
    "compression", "psnr_db", "shortfall_db", "queue_db", "sensitivity", "power_w", "bandwidth_hz",
    "device_frequency_hz", "server_frequency_hz", "upload_s", "delay_s",
)  # fmt: skip
"""Numbers per device of a step, beside the reward."""

TOLERANCE_DB = 0.05
"""A mean PSNR meets its requirement if it is at most this much below it."""

M = columns(METRICS)
"""Columns of a row of metrics."""
MEMBER = columns(("reward", *MEMBER_METRICS))
"""Layers of the member array."""


@kernel_part
def account(
    p: Parameters, s: State, row: int, reward: NDArray[np.float64], member: NDArray[np.float64],
    metrics: NDArray[np.float64],
) -> None:  # fmt: skip
    """Write reward, metrics and member metrics of the round in the workspace; update PSNRs and virtual queues.

    A device's reward has minus its energy, and its share of minus the round's duration: its time price over the sum
    of these prices.
    """
    workspace = s.workspace
    s.rounds[row] += 1
    metrics[row, M.psnr_min_db], metrics[row, M.psnr_max_db] = math.inf, -math.inf
    time_prices = 0.0
    for n in range(p.num_devices):
        time_prices += workspace.time_price[n]
    for n in range(p.num_devices):
        quality = psnr_db(p.law, s.compression[row, n], math.expm1(workspace.u[n]))
        energy = account_cost(p, s, row, n, member, metrics)
        short = account_quality(p, s, row, n, quality, metrics)
        share = workspace.time_price[n] / time_prices * p.weight_time * workspace.totals[TOTAL.delay_s]
        member_reward = -(share + p.weight_energy * energy) / s.cost_scale[row]
        member_reward += quality_reward(p, s, row, n, quality)
        member[MEMBER.reward, row, n] = member_reward
        reward[row] += member_reward
        metrics[row, M.queue_db] += s.queue_db[row, n] / p.num_devices
        report_member(s, row, n, short, member)
    metrics[row, M.energy_device_j] = metrics[row, M.energy_compute_j] + metrics[row, M.energy_transmit_j]
    metrics[row, M.energy_j] = metrics[row, M.energy_device_j] + metrics[row, M.energy_server_j]
    metrics[row, M.delay_s] = workspace.totals[TOTAL.delay_s]
    metrics[row, M.objective] = p.weight_time * metrics[row, M.delay_s] + p.weight_energy * metrics[row, M.energy_j]
    metrics[row, M.cost] = metrics[row, M.objective] / s.cost_scale[row]
    metrics[row, M.relaxed_devices] = s.relaxed[row]
    metrics[row, M.sweeps] = workspace.totals[TOTAL.sweeps]


@kernel_part
def account_cost(
    p: Parameters, s: State, row: int, n: int, member: NDArray[np.float64], metrics: NDArray[np.float64]
) -> float:
    """Add the energies and delays of device n to the metrics; returns its energy [J]."""
    w, q = s.workspace, s.problem
    compute = q.device_energy_coefficient * q.device_cycles[n] * w.device_frequency_hz[n] ** 2
    server = q.server_energy_coefficient * q.server_cycles[n] * w.server_frequency_hz[n] ** 2
    transmit = w.power_w[n] * w.upload_s[n]
    server_s = q.server_cycles[n] / w.server_frequency_hz[n]
    device_s = q.device_cycles[n] / w.device_frequency_hz[n] + w.upload_s[n]
    metrics[row, M.energy_compute_j] += compute
    metrics[row, M.energy_server_j] += server
    metrics[row, M.energy_transmit_j] += transmit
    metrics[row, M.delay_device_s] += device_s / p.num_devices
    metrics[row, M.delay_server_s] += server_s / p.num_devices
    metrics[row, M.missed_deadlines] += device_s + server_s > p.deadline_s * (1.0 + 1e-9)
    s.sensitivity[row, n] = p.weight_energy * transmit + w.time_price[n] * w.upload_s[n]
    member[MEMBER.delay_s, row, n] = device_s + server_s
    return compute + server + transmit


@kernel_part
def account_quality(p: Parameters, s: State, row: int, n: int, quality: float, metrics: NDArray[np.float64]) -> float:
    """Add the PSNR of device n to its mean and to the metrics; returns its shortfall in this round [dB]."""
    metrics[row, M.psnr_mean_db] += quality / p.num_devices
    metrics[row, M.psnr_min_db] = min(metrics[row, M.psnr_min_db], quality)
    metrics[row, M.psnr_max_db] = max(metrics[row, M.psnr_max_db], quality)
    metrics[row, M.compression] += s.compression[row, n] / p.num_devices
    s.psnr_db[row, n] = quality
    s.psnr_sum_db[row, n] += quality
    short = max(s.target_db[row, n] - quality, 0.0)
    metrics[row, M.round_shortfall_db] += short / p.num_devices
    lasting = max(s.target_db[row, n] - s.psnr_sum_db[row, n] / s.rounds[row], 0.0)
    metrics[row, M.shortfall_db] += lasting / p.num_devices
    metrics[row, M.targets_met] += (lasting <= TOLERANCE_DB) / p.num_devices
    return short


@kernel_part
def quality_reward(p: Parameters, s: State, row: int, n: int, quality: float) -> float:
    """Reward of device n for its PSNR; with long-term requirements also updates its virtual queue.

    The queue becomes max(Z + P_min - P, 0), and its reward is the decrease of Z^2 / (2 V).
    """
    if p.psnr_mode == PSNR_MODE.LONG_TERM:
        before = s.queue_db[row, n]
        after = max(before + s.target_db[row, n] - quality, 0.0)
        s.queue_db[row, n] = after
        return (before * before - after * after) / (2.0 * p.queue_weight)
    if p.psnr_mode == PSNR_MODE.UTILITY:
        return p.psnr_weight_per_db * (quality - p.psnr_min_db) / p.num_devices
    short = max(s.target_db[row, n] - quality, 0.0)
    return -p.shortfall_penalty * short / max(s.target_db[row, n], 1.0) / p.num_devices


@kernel_part
def report_member(s: State, row: int, n: int, short: float, member: NDArray[np.float64]) -> None:
    """Write the member metrics of device n, except its delay."""
    w = s.workspace
    member[MEMBER.compression, row, n] = s.compression[row, n]
    member[MEMBER.psnr_db, row, n] = s.psnr_db[row, n]
    member[MEMBER.shortfall_db, row, n] = short
    member[MEMBER.queue_db, row, n] = s.queue_db[row, n]
    member[MEMBER.sensitivity, row, n] = s.sensitivity[row, n]
    member[MEMBER.power_w, row, n] = w.power_w[n]
    member[MEMBER.bandwidth_hz, row, n] = w.bandwidth_hz[n]
    member[MEMBER.device_frequency_hz, row, n] = w.device_frequency_hz[n]
    member[MEMBER.server_frequency_hz, row, n] = w.server_frequency_hz[n]
    member[MEMBER.upload_s, row, n] = w.upload_s[n]


@kernel_part
def certify(p: Parameters, s: State, row: int, deadline_s: float, metrics: NDArray[np.float64]) -> None:
    """Write the certificate of the round in the workspace, NaN where no optimisation problem was solved exactly."""
    metrics[row, M.certificate] = math.nan
    if p.decision == DECISION.COMPRESSION and p.solver == SOLVER.JOINT:
        metrics[row, M.certificate] = certify_round(s.problem, s.workspace, deadline_s)
    elif p.decision == DECISION.POWER_BANDWIDTH:
        metrics[row, M.certificate] = certify_compute(s.problem, s.workspace, True)
