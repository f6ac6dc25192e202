"""Reward, metrics and member metrics of a step."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel_part
from edge_envs.core.metrics import Metric
from edge_envs.semcom.config import COMPRESSION, JOINT, LONG_TERM, POWER_BANDWIDTH, UTILITY, Parameters
from edge_envs.semcom.image_quality import psnr_db
from edge_envs.semcom.model.state import State
from edge_envs.semcom.solvers.certificates.bounds import certify_compute, certify_round
from edge_envs.semcom.solvers.problem import DELAY, SWEEPS

METRICS = (
    Metric("objective", "-", "omega_1 T + omega_2 E of the round, eq. (16)"),
    Metric("cost", "-", "objective over the geometry's mean at the smallest compression rates"),
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
    Metric("round_shortfall_db", "dB", "mean over the devices of what the round's PSNR is below the requirement"),
    Metric("shortfall_db", "dB", "mean over the devices of what their mean PSNR since the reset is below it", "last"),
    Metric("targets_met", "-", "part of the devices whose mean PSNR since the reset is within 0.05 dB of it", "last"),
    Metric("queue_db", "dB", "mean virtual queue"),
    Metric("compression", "-", "mean compression rate"),
    Metric("missed_deadlines", "devices", "devices that finish after deadline_s"),
    Metric("relaxed_devices", "devices", "devices whose required SNR was lowered, as they could not reach it in time"),
    Metric("sweeps", "-", "passes of the solver over the devices"),
    Metric(
        "certificate", "-", "relative excess of the cost over a dual bound, plus the largest relative violation of a "
        "limit: of P1 with the joint solver, of P3 if powers and bandwidths are the action, else NaN", "max",
        certifies=True,
    ),
)  # fmt: skip

(
    OBJECTIVE_OF, COST, DELAY_S, DELAY_DEVICE, DELAY_SERVER, ENERGY, ENERGY_DEVICE, ENERGY_SERVER, ENERGY_COMPUTE,
    ENERGY_TRANSMIT, PSNR_MEAN, PSNR_MIN, PSNR_MAX, ROUND_SHORTFALL, SHORTFALL, TARGETS_MET, QUEUE, COMPRESSION_MEAN,
    MISSED, RELAXED, SWEEPS_OF, CERTIFICATE,
) = range(len(METRICS))  # fmt: skip

MEMBER_METRICS = (
    "compression", "psnr_db", "shortfall_db", "queue_db", "sensitivity", "power_w", "bandwidth_hz",
    "device_frequency_hz", "server_frequency_hz", "upload_s", "delay_s",
)  # fmt: skip
"""Numbers per device of a step; the layers of the kernel's member array after the reward."""

TOLERANCE_DB = 0.05
"""How far below its requirement a mean PSNR still counts as meeting it."""


@kernel_part
def account(
    p: Parameters, s: State, row: int, reward: NDArray[np.float64], member: NDArray[np.float64],
    metrics: NDArray[np.float64],
) -> None:  # fmt: skip
    """Energies, delays and PSNRs of the round just allocated; moves the virtual queues and sums up the reward.

    A device pays for its energy and for its part of the round's time by its price of time, as those prices add up to
    omega_1.
    """
    w, q = s.work, s.problem
    delay = w.totals[DELAY]
    scale = s.cost_scale[row]
    s.rounds[row] += 1
    metrics[row, PSNR_MIN], metrics[row, PSNR_MAX] = math.inf, -math.inf
    price = 0.0
    for n in range(p.num_devices):
        price += w.time_price[n]
    for n in range(p.num_devices):
        compute = q.device_energy_coefficient * q.device_cycles[n] * w.device_frequency_hz[n] ** 2
        server = q.server_energy_coefficient * q.server_cycles[n] * w.server_frequency_hz[n] ** 2
        transmit = w.power_w[n] * w.upload_s[n]
        server_s = q.server_cycles[n] / w.server_frequency_hz[n]
        device_s = q.device_cycles[n] / w.device_frequency_hz[n] + w.upload_s[n]
        quality = psnr_db(p.law, s.compression[row, n], math.expm1(w.u[n]))
        metrics[row, ENERGY_COMPUTE] += compute
        metrics[row, ENERGY_SERVER] += server
        metrics[row, ENERGY_TRANSMIT] += transmit
        metrics[row, DELAY_DEVICE] += device_s / p.num_devices
        metrics[row, DELAY_SERVER] += server_s / p.num_devices
        metrics[row, PSNR_MEAN] += quality / p.num_devices
        metrics[row, PSNR_MIN] = min(metrics[row, PSNR_MIN], quality)
        metrics[row, PSNR_MAX] = max(metrics[row, PSNR_MAX], quality)
        metrics[row, COMPRESSION_MEAN] += s.compression[row, n] / p.num_devices
        metrics[row, MISSED] += device_s + server_s > p.deadline_s * (1.0 + 1e-9)
        s.psnr_db[row, n] = quality
        s.psnr_sum_db[row, n] += quality
        s.sensitivity[row, n] = p.weight_energy * transmit + w.time_price[n] * w.upload_s[n]
        short = max(s.target_db[row, n] - quality, 0.0)
        metrics[row, ROUND_SHORTFALL] += short / p.num_devices
        lasting = max(s.target_db[row, n] - s.psnr_sum_db[row, n] / s.rounds[row], 0.0)
        metrics[row, SHORTFALL] += lasting / p.num_devices
        metrics[row, TARGETS_MET] += (lasting <= TOLERANCE_DB) / p.num_devices
        share = w.time_price[n] / price * p.weight_time * delay
        gain = -(share + p.weight_energy * (compute + server + transmit)) / scale
        gain += quality_reward(p, s, row, n, quality)
        member[0, row, n] = gain
        reward[row] += gain
        metrics[row, QUEUE] += s.queue_db[row, n] / p.num_devices
        report_member(s, row, n, short, device_s + server_s, member)
    metrics[row, ENERGY_DEVICE] = metrics[row, ENERGY_COMPUTE] + metrics[row, ENERGY_TRANSMIT]
    metrics[row, ENERGY] = metrics[row, ENERGY_DEVICE] + metrics[row, ENERGY_SERVER]
    metrics[row, DELAY_S] = delay
    metrics[row, OBJECTIVE_OF] = p.weight_time * delay + p.weight_energy * metrics[row, ENERGY]
    metrics[row, COST] = metrics[row, OBJECTIVE_OF] / scale
    metrics[row, RELAXED] = s.relaxed[row]
    metrics[row, SWEEPS_OF] = w.totals[SWEEPS]


@kernel_part
def certify(p: Parameters, s: State, row: int, deadline_s: float, metrics: NDArray[np.float64]) -> None:
    """Certificate of what was solved in the round just allocated, NaN where that is not a problem's optimum."""
    metrics[row, CERTIFICATE] = math.nan
    if p.decision == COMPRESSION and p.solver == JOINT:
        metrics[row, CERTIFICATE] = certify_round(s.problem, s.work, deadline_s)
    elif p.decision == POWER_BANDWIDTH:
        metrics[row, CERTIFICATE] = certify_compute(s.problem, s.work, True)


@kernel_part
def quality_reward(p: Parameters, s: State, row: int, n: int, quality: float) -> float:
    """One device's reward for its PSNR; moves its virtual queue Z <- max(Z + P_min - P, 0) in the long-term mode."""
    if p.psnr_mode == LONG_TERM:
        before = s.queue_db[row, n]
        after = max(before + s.target_db[row, n] - quality, 0.0)
        s.queue_db[row, n] = after
        return (before * before - after * after) / (2.0 * p.queue_weight)
    if p.psnr_mode == UTILITY:
        return p.psnr_weight_per_db * (quality - p.psnr_min_db) / p.num_devices
    short = max(s.target_db[row, n] - quality, 0.0)
    return -p.shortfall_penalty * short / max(s.target_db[row, n], 1.0) / p.num_devices


@kernel_part
def report_member(s: State, row: int, n: int, short: float, finish_s: float, member: NDArray[np.float64]) -> None:
    """One device's numbers, in the order of `MEMBER_METRICS`, after its reward."""
    w = s.work
    member[1, row, n] = s.compression[row, n]
    member[2, row, n] = s.psnr_db[row, n]
    member[3, row, n] = short
    member[4, row, n] = s.queue_db[row, n]
    member[5, row, n] = s.sensitivity[row, n]
    member[6, row, n] = w.power_w[n]
    member[7, row, n] = w.bandwidth_hz[n]
    member[8, row, n] = w.device_frequency_hz[n]
    member[9, row, n] = w.server_frequency_hz[n]
    member[10, row, n] = w.upload_s[n]
    member[11, row, n] = finish_s
