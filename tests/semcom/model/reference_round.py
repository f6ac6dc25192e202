"""One training round and the virtual queues in plain Python: slow, device by device, from the paper's equations.

`account` says what an allocation costs, how good the images are and what becomes of the virtual queues;
`reference_decisions` finds the allocations. Both take the configuration's fields as a user writes them and share no
formula with the package.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from edge_envs.semcom.config import SemComConfig
from edge_envs.semcom.solvers.problem import Problem

Floats = NDArray[np.float64]

COEFFICIENTS = {
    "printed": (18.67, 3.35, 5.11, 1.52, 0.03),
    "offset": (18.67, 3.35, 3.05, 1.52, 0.03),
    "stretch": (18.67, 0.882, 3.721, 1.52, 0.03),
    "unscaled": (18.67, 1.0, 3.689, 1.52, 0.03),
}
"""a, l, b, c_rho, c_s of (57): as printed in (58), and the three ways to meet the measured values"""
FAINT_DB, LOUD_DB = -300.0, 3000.0
"""Levels of SNR beyond which a requirement counts as none, or as one that no link can meet"""


class World(NamedTuple):
    """What a round starts from; arrays of shape (N,)."""

    gain: Floats
    device_cycles: Floats
    """Per image, like those of the server"""
    server_cycles: Floats
    target_db: Floats
    queue_db: Floats
    psnr_sum_db: Floats
    rounds: int
    cost_scale: float


class Decision(NamedTuple):
    """A whole allocation, and each device's price of time; arrays of shape (N,)."""

    compression: Floats
    power_w: Floats
    bandwidth_hz: Floats
    device_hz: Floats
    server_hz: Floats
    time_price: Floats
    relaxed: int = 0
    """Devices whose requirement of SNR was lowered"""


def world_of(env: Any) -> World:
    """Copy of what the (single) environment's next round starts from."""
    state = env.unwrapped.state
    names = ("gain", "device_cycles", "server_cycles", "target_db", "queue_db", "psnr_sum_db")
    arrays = {name: getattr(state, name)[0].copy() for name in names}
    return World(**arrays, rounds=int(state.rounds[0]), cost_scale=float(state.cost_scale[0]))


# Image quality


def psnr_at_level(config: SemComConfig, rate: float, level_db: float) -> float:
    """P of (57) in dB, at an SNR in dB."""
    scale, stretch, offset, by_rate, by_snr = (
        COEFFICIENTS[config.psnr_law] if isinstance(config.psnr_law, str) else config.psnr_law
    )
    if config.snr_clip_db is not None:
        level_db = sorted((config.snr_clip_db[0], level_db, config.snr_clip_db[1]))[1]
    snr = level_db if config.snr_unit == "db" else 10.0 ** (level_db / 10.0)
    inside = stretch * (by_rate * rate + by_snr * snr) + offset
    return scale * math.log(inside) if inside > 1.0 else 0.0


def psnr(config: SemComConfig, rate: float, snr: float) -> float:
    """P of (57) in dB, at an SNR as a ratio."""
    return psnr_at_level(config, rate, 10.0 * math.log10(snr))


def snr_needed(config: SemComConfig, rate: float, target_db: float) -> float:
    """Least SNR that meets a requirement at a rate: 0 if any does, inf if none does."""
    low, high = config.snr_clip_db or (FAINT_DB, LOUD_DB)
    if psnr_at_level(config, rate, high) < target_db:
        return math.inf
    if psnr_at_level(config, rate, low) >= target_db:
        return 0.0
    level = brentq(lambda db: psnr_at_level(config, rate, db) - target_db, low, high, xtol=1e-13, rtol=1e-15)
    return float(10.0 ** (level / 10.0))


def rate_needed(config: SemComConfig, snr: float, target_db: float) -> float:
    """Least rate within its limits that meets a requirement at an SNR, the largest if none does: (20) and (32)."""
    low, high = config.compression_min, config.compression_max
    if psnr(config, low, snr) >= target_db:
        return low
    if psnr(config, high, snr) <= target_db:
        return high
    return float(brentq(lambda rate: psnr(config, rate, snr) - target_db, low, high, xtol=1e-15, rtol=1e-15))


def problem_of(config: SemComConfig, world: World, compression: Floats, snr_min: Floats | float = 0.0) -> Problem:
    """The round as `reference_solvers` wants it."""
    devices = len(world.gain)
    return Problem(
        bits=compression * config.bits_per_sample * config.samples,
        gain=world.gain,
        snr_min=np.broadcast_to(snr_min, devices).astype(float),
        device_cycles=world.device_cycles * config.samples,
        server_cycles=world.server_cycles * config.samples,
        power_max_w=np.full(devices, 10.0 ** (config.power_max_dbm / 10.0) / 1e3),
        device_frequency_max_hz=np.full(devices, config.device_frequency_max_hz),
        server_frequency_max_hz=np.full(devices, config.server_frequency_max_hz),
        bandwidth_hz=config.bandwidth_hz,
        noise_w_per_hz=10.0 ** (config.noise_dbm_per_hz / 10.0) / 1e3,
        device_energy_coefficient=config.device_energy_coefficient,
        server_energy_coefficient=config.server_energy_coefficient,
        weight_time=config.weight_time,
        weight_energy=1.0 - config.weight_time,
    )


def upload_times(problem: Problem, power_w: Floats, bandwidth_hz: Floats) -> Floats:
    """T_up of (6) and (7)."""
    snr = power_w * problem.gain / (problem.noise_w_per_hz * bandwidth_hz)
    return np.asarray(problem.bits / (bandwidth_hz * np.log1p(snr) / math.log(2.0)))


def snrs(config: SemComConfig, world: World, power_w: Floats, bandwidth_hz: Floats) -> Floats:
    """S_n as ratios."""
    noise = 10.0 ** (config.noise_dbm_per_hz / 10.0) / 1e3
    rows = zip(power_w, world.gain, bandwidth_hz, strict=True)
    return np.array([power * gain / (noise * band) for power, gain, band in rows])


def finish_times(problem: Problem, decision: Decision) -> Floats:
    """Time at which the base station is done with each device."""
    compute = problem.device_cycles / decision.device_hz + problem.server_cycles / decision.server_hz
    return np.asarray(upload_times(problem, decision.power_w, decision.bandwidth_hz) + compute)


# What an allocation costs


def account(config: SemComConfig, world: World, decision: Decision) -> dict[str, Any]:
    """Every number of a step's info that does not depend on how the allocation was found, and the reward."""
    devices = len(world.gain)
    problem = problem_of(config, world, decision.compression)
    finish = finish_times(problem, decision)
    delay = float(finish.max())
    rows: list[dict[str, float]] = []
    for n in range(devices):
        rows.append(one_device(config, world, decision, problem, n))
        rows[-1]["delay_s"] = float(finish[n])

    def column(name: str) -> list[float]:
        return [row[name] for row in rows]

    energy = math.fsum(column("compute_j")) + math.fsum(column("transmit_j")) + math.fsum(column("server_j"))
    objective = config.weight_time * delay + (1.0 - config.weight_time) * energy
    share = decision.time_price / decision.time_price.sum()
    reward = []
    for n, row in enumerate(rows):
        own = row["compute_j"] + row["transmit_j"] + row["server_j"]
        spent = share[n] * config.weight_time * delay + (1.0 - config.weight_time) * own
        reward.append(row["quality_reward"] - spent / world.cost_scale)
    lasting = [max(world.target_db[n] - row["mean_psnr_db"], 0.0) for n, row in enumerate(rows)]
    return {
        "objective": objective, "cost": objective / world.cost_scale, "delay_s": delay,
        "delay_device_s": mean(column("device_s")), "delay_server_s": mean(column("server_s")), "energy_j": energy,
        "energy_device_j": math.fsum(column("compute_j")) + math.fsum(column("transmit_j")),
        "energy_server_j": math.fsum(column("server_j")), "energy_compute_j": math.fsum(column("compute_j")),
        "energy_transmit_j": math.fsum(column("transmit_j")), "psnr_mean_db": mean(column("psnr_db")),
        "psnr_min_db": min(column("psnr_db")), "psnr_max_db": max(column("psnr_db")),
        "round_shortfall_db": mean(column("shortfall_db")), "shortfall_db": mean(lasting),
        "targets_met": mean([float(each <= 0.05) for each in lasting]), "queue_db": mean(column("queue_db")),
        "compression": mean(list(decision.compression)), "relaxed_devices": float(decision.relaxed),
        "missed_deadlines": float(sum(each > config.deadline_s * (1.0 + 1e-7) for each in finish)),
        "reward": math.fsum(reward), "member_reward": np.array(reward), "member_compression": decision.compression,
        "member_power_w": decision.power_w, "member_bandwidth_hz": decision.bandwidth_hz,
        "member_device_frequency_hz": decision.device_hz, "member_server_frequency_hz": decision.server_hz,
        **{f"member_{name}": np.array(column(name)) for name in (
            "psnr_db", "shortfall_db", "queue_db", "sensitivity", "upload_s", "delay_s",
        )},
    }  # fmt: skip


def mean(values: list[float]) -> float:
    """Arithmetic mean."""
    return math.fsum(values) / len(values)


def one_device(config: SemComConfig, world: World, decision: Decision, problem: Problem, n: int) -> dict[str, float]:
    """Times, energies, quality and virtual queue of one device: (5)-(13) and Z <- max(Z + P_min - P, 0)."""
    device_hz, server_hz = decision.device_hz[n], decision.server_hz[n]
    snr = decision.power_w[n] * problem.gain[n] / (problem.noise_w_per_hz * decision.bandwidth_hz[n])
    upload_s = problem.bits[n] / (decision.bandwidth_hz[n] * math.log1p(snr) / math.log(2.0))
    quality = psnr(config, decision.compression[n], snr)
    short = max(world.target_db[n] - quality, 0.0)
    before, after = world.queue_db[n], 0.0
    if config.psnr_mode == "long_term":
        after = max(before + world.target_db[n] - quality, 0.0)
        reward = (before**2 - after**2) / (2.0 * config.queue_weight)
    elif config.psnr_mode == "utility":
        reward = config.psnr_weight_per_db * (quality - config.psnr_min_db) / len(world.gain)
    else:
        reward = -config.shortfall_penalty * short / max(world.target_db[n], 1.0) / len(world.gain)
    transmit = decision.power_w[n] * upload_s
    return {
        "device_s": problem.device_cycles[n] / device_hz + upload_s, "server_s": problem.server_cycles[n] / server_hz,
        "compute_j": config.device_energy_coefficient * problem.device_cycles[n] * device_hz**2,
        "server_j": config.server_energy_coefficient * problem.server_cycles[n] * server_hz**2,
        "transmit_j": transmit, "upload_s": upload_s, "psnr_db": quality, "shortfall_db": short, "queue_db": after,
        "mean_psnr_db": (world.psnr_sum_db[n] + quality) / (world.rounds + 1), "quality_reward": reward,
        "sensitivity": (1.0 - config.weight_time) * transmit + decision.time_price[n] * upload_s,
    }  # fmt: skip


def certified(config: SemComConfig, certificate: float) -> bool:
    """Small where a problem's optimum was asked for, NaN elsewhere."""
    if config.decision == "power_bandwidth" or (config.decision == "compression" and config.solver == "joint"):
        return 0.0 <= certificate <= 1e-6
    return math.isnan(certificate)
