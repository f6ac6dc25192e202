"""Invariants of every world of `SemCom-v0` after a reset or a step, in plain numpy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.invariants import Invariant, Step, within
from edge_envs.semcom.image_quality import SNR_MIN, PsnrLaw
from edge_envs.semcom.model.allocation import REQUEST, REQUESTS
from edge_envs.semcom.model.parameters import DECISION, PSNR_MODE, SOLVER, Parameters
from edge_envs.semcom.model.state import State

CERTIFICATE_LIMIT = 1e-6
"""Largest certificate of an exact solve; measured: smaller in all tested configurations."""
REMEMBERED = ("gain", "queue_db", "psnr_sum_db", "rounds")


def invariants(p: Parameters, s: State, step: Step | None) -> Iterator[Invariant]:
    """The limits of P1; delays, energies, PSNRs, virtual queues and reward recomputed from the reported allocation."""
    yield Invariant("queue", s.queue_db, ">=", 0.0)
    yield from within("compression_range", s.compression, p.compression_min, p.compression_max)
    if step is not None:
        yield from limits(p, s, step)
        yield from links(p, s, step)
        yield from times(p, s, step)
        yield from energies(p, s, step)
        yield from qualities(p, s, step)
        yield certified(p, step.metrics["certificate"])


def certified(p: Parameters, certificate: NDArray[Any]) -> Invariant:
    """The certificate proves an exact solve, and is NaN where there is none."""
    if p.decision == DECISION.POWER_BANDWIDTH or (p.decision == DECISION.COMPRESSION and p.solver == SOLVER.JOINT):
        return Invariant("certificate", certificate, "<=", CERTIFICATE_LIMIT)
    return Invariant("certificate", np.isnan(certificate), "==", True)


def limits(p: Parameters, s: State, step: Step) -> Iterator[Invariant]:
    """The limits (16a)-(16d) and, where the agent controls it, the compression rate of the action."""
    of = step.member
    yield Invariant("bandwidth_sum", of["bandwidth_hz"].sum(axis=1), "<=", p.bandwidth_hz)
    yield Invariant("bandwidth", of["bandwidth_hz"], ">=", 0.0)
    yield from within("power", of["power_w"], 0.0, p.power_max_w)
    yield from within("device_frequency", of["device_frequency_hz"], 0.0, p.device_frequency_max_hz)
    yield from within("server_frequency", of["server_frequency_hz"], 0.0, p.server_frequency_max_hz)
    yield Invariant("compression_reported", of["compression"], "==", s.compression)
    if p.decision != DECISION.POWER_BANDWIDTH:
        joint = p.decision == DECISION.JOINT
        chosen = step.actions[:, REQUEST.compression :: REQUESTS] if joint else step.actions
        rate = p.compression_min + 0.5 * (chosen + 1.0) * (p.compression_max - p.compression_min)
        yield Invariant("compression_chosen", s.compression, "==", rate)


def snr_of(p: Parameters, step: Step) -> NDArray[Any]:
    """SNR of every device in the round, (R, N)."""
    return step.member["power_w"] * step.before["gain"] / (p.noise_w_per_hz * step.member["bandwidth_hz"])


def links(p: Parameters, s: State, step: Step) -> Iterator[Invariant]:
    """Every device sends all its bits at Shannon's rate, (3)."""
    rate_bit_s = step.member["bandwidth_hz"] * np.log1p(snr_of(p, step)) / math.log(2.0)
    yield Invariant("bits_sent", rate_bit_s * step.member["upload_s"], "==", s.compression * p.raw_bits)


def times(p: Parameters, s: State, step: Step) -> Iterator[Invariant]:
    """Delays (8) and (9): of a device for computing, upload and the base station's part; of the round the largest."""
    of, total = step.member, step.metrics
    device_s = s.device_cycles * p.samples / of["device_frequency_hz"] + of["upload_s"]
    server_s = s.server_cycles * p.samples / of["server_frequency_hz"]
    yield Invariant("device_delay", of["delay_s"], "==", device_s + server_s)
    yield Invariant("round_delay", total["delay_s"], "==", of["delay_s"].max(axis=1))
    yield Invariant("missed_deadlines", total["missed_deadlines"], "<=", (of["delay_s"] > p.deadline_s).sum(axis=1))
    late = (of["delay_s"] > p.deadline_s * (1.0 + 2e-9)).sum(axis=1)
    yield Invariant("missed_deadlines", total["missed_deadlines"], ">=", late)


def energies(p: Parameters, s: State, step: Step) -> Iterator[Invariant]:
    """Energies (10), (11) and (13), the objective (16) and the cost, from frequencies, powers and upload times."""
    of, total = step.member, step.metrics
    parts: Mapping[str, NDArray[Any]] = {
        "compute": p.device_energy_coefficient * s.device_cycles * p.samples * of["device_frequency_hz"] ** 2,
        "transmit": of["power_w"] * of["upload_s"],
        "server": p.server_energy_coefficient * s.server_cycles * p.samples * of["server_frequency_hz"] ** 2,
    }
    for name, energy_j in parts.items():
        yield Invariant(f"energy_{name}", total[f"energy_{name}_j"], "==", energy_j.sum(axis=1))
    energy = sum(part.sum(axis=1) for part in parts.values())
    objective = p.weight_time * of["delay_s"].max(axis=1) + p.weight_energy * energy
    yield Invariant("energy_total", total["energy_j"], "==", energy)
    yield Invariant("objective", total["objective"], "==", objective)
    yield Invariant("cost", total["cost"] * s.cost_scale, "==", objective)


def qualities(p: Parameters, s: State, step: Step) -> Iterator[Invariant]:
    """PSNRs (57), shortfalls, virtual queues, and the reward: the value of the quality minus the cost."""
    of, before = step.member, step.before
    quality = law_of(p.law, s.compression, snr_of(p, step))
    yield Invariant("psnr", of["psnr_db"], "==", quality, 1.0)
    short = np.maximum(s.target_db - quality, 0.0)
    yield Invariant("shortfall", of["shortfall_db"], "==", short, 1.0)
    yield Invariant("rounds", s.rounds, "==", before["rounds"] + 1)
    yield Invariant("psnr_sum", s.psnr_sum_db, "==", before["psnr_sum_db"] + quality, 1.0)
    after = before["queue_db"]
    value: Any = -p.shortfall_penalty * (short / np.maximum(s.target_db, 1.0)).mean(axis=1)
    if p.psnr_mode == PSNR_MODE.LONG_TERM:
        after = np.maximum(before["queue_db"] + s.target_db - quality, 0.0)
        value = ((before["queue_db"] ** 2 - after**2) / (2.0 * p.queue_weight)).sum(axis=1)
    elif p.psnr_mode == PSNR_MODE.UTILITY:
        value = p.psnr_weight_per_db * (quality - p.psnr_min_db).mean(axis=1)
    yield Invariant("queue_update", s.queue_db, "==", after, 1.0)
    size = np.maximum(step.metrics["cost"], np.abs(value))
    yield Invariant("reward", step.reward, "==", value - step.metrics["cost"], size)
    if p.psnr_mode != PSNR_MODE.HARD:
        yield Invariant("relaxed_devices", step.metrics["relaxed_devices"], "==", 0)


def law_of(law: PsnrLaw, compression: NDArray[Any], snr: NDArray[Any]) -> NDArray[Any]:
    """P(rho, S) of eq. (57) [dB]."""
    level = np.clip(10.0 * np.log10(np.maximum(snr, SNR_MIN)), law.snr_low_db, law.snr_high_db)
    term = level if law.decibel else 10.0 ** (level / 10.0)
    inside = law.stretch * (law.by_compression * compression + law.by_snr * term) + law.offset
    return law.scale_db * np.log(np.maximum(inside, 1.0))  # type: ignore[no-any-return]
