"""Invariants of `DTIRS-v0` that `check=True` verifies after a reset and after a step, in plain numpy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.invariants import Invariant, Step, over, within
from edge_envs.dtirs.model.parameters import MODEL, PHASE, POWER, TWINS, UPLINK, Parameters
from edge_envs.dtirs.model.state import State

RESIDUAL_LIMIT = 1e-6
"""Largest KKT residual of powers and pool; measured: 1e-10. The gap of the relaxation can be up to `phase_gap`."""
REMEMBERED = ("front_flop", "back_flop", "speed_flop_s", "capacity_flop_s", "backlog_flop", "held")


def invariants(p: Parameters, s: State, step: Step | None, reference_s: float) -> Iterator[Invariant]:
    """Limits on power, pool and phases; delays, energies, gains and backlog are recomputed.

    After a step, the state holds the channels and phases of the next frame. So gains are checked against the next
    frame's phases, and the delays of the last frame against the gains reported with it.
    """
    yield from within("distance", s.distance_m, p.distance_min_m, p.distance_max_m)
    yield from within("pool_level", s.level, 0, len(p.pool_levels) - 1)
    yield Invariant("capacity", s.capacity_flop_s, "==", p.pool_flop_s * p.pool_levels[s.level])
    if p.irs:
        yield from link_invariants(p, s)
    if step is not None:
        yield from limit_invariants(p, s, step)
        yield from delay_invariants(p, s, step)
        yield from reward_invariants(p, step, reference_s)


def link_invariants(p: Parameters, s: State) -> Iterator[Invariant]:
    """Phases have unit modulus, (25c); gains over the IRS follow from the channels of all antennas, (3)."""
    yield Invariant("unit_phases", s.phase[:, 0] ** 2 + s.phase[:, 1] ** 2, "==", 1.0)
    phase, fading = s.phase[:, 0] + 1j * s.phase[:, 1], s.ap_irs[:, 0] + 1j * s.ap_irs[:, 1]
    user = s.channel[:, 0] + 1j * s.channel[:, 1]
    down = power_gain(fading, user * phase.conj()[:, None])
    # Destructive interference leaves rounding errors relative to the sum of all amplitudes.
    most = (np.abs(user).sum(axis=2) * np.abs(fading).max(axis=(1, 2))[:, None]) ** 2
    yield Invariant("gain_downlink", s.gain_down, "==", down, most * 1e-3)
    if p.uplink == UPLINK.RECIPROCAL:
        up = down
    else:
        other = s.irs_ap[:, 0] + 1j * s.irs_ap[:, 1] if p.uplink == UPLINK.INDEPENDENT else fading
        up = power_gain(other, user * phase[:, None])
    yield Invariant("gain_uplink", s.gain_up, "==", up, most * 1e-3)


def power_gain(fading: NDArray[Any], reflected: NDArray[Any]) -> NDArray[Any]:
    """Power (R, K) over all antennas, from reflected signals (R, K, N) and fading (R, A, N)."""
    return (np.abs(reflected @ fading.conj().transpose(0, 2, 1)) ** 2).sum(axis=2)  # type: ignore[no-any-return]


def limit_invariants(p: Parameters, s: State, step: Step) -> Iterator[Invariant]:
    """Cuts equal the action; powers keep their limits; the pool is not exceeded; only twins have a boost."""
    of = step.member
    yield Invariant("choice", s.choice, "==", step.actions)
    yield Invariant("held", s.held, "==", step.actions)
    yield Invariant("cut", of["cut"], "==", p.cut_numbers[step.actions])
    yield from within("power", of["power_w"], 0.0, p.power_max_w)
    yield Invariant("power_sum", of["power_w"].sum(axis=1), "<=", p.power_total_w)
    twin, boost, back = of["twin"], of["boost_flop_s"], of["back_end_flop_s"]
    yield Invariant("twin_or_device", twin * (1.0 - twin), "==", 0.0)
    if p.twins == TWINS.NONE:
        yield Invariant("no_twin", twin, "==", 0.0)
    yield from within("boost", boost, 0.0, twin * step.before["capacity_flop_s"][:, None])
    yield Invariant("back_end", back, ">=", 0.0)
    yield Invariant("pool_sum", (boost + back).sum(axis=1), "<=", step.before["capacity_flop_s"])


def at_choice(table: NDArray[Any], choice: NDArray[Any]) -> NDArray[Any]:
    """Entries (R, K) of a table (R, K, L) at choices (R, K)."""
    return np.take_along_axis(table, choice[:, :, None], axis=2)[:, :, 0]


def delay_parts(p: Parameters, step: Step) -> dict[str, NDArray[Any]]:
    """Delays (R, K) of (11), (14), (15) and of the extended model, recomputed from the allocation."""
    of, before, c = step.member, step.before, step.actions
    twin = of["twin"] > 0.5
    front, back = at_choice(before["front_flop"], c), at_choice(before["back_flop"], c)
    wait = before["backlog_flop"] / before["capacity_flop_s"] if p.backlog else np.zeros(len(c))
    down_bit_s = p.device_bandwidth_hz / math.log(2.0) * np.log1p(of["power_w"] * of["gain_downlink"] / p.noise_w)
    up_bit_s = uplink_bit_s(p, step)
    waits = (back > 0.0) | twin
    moved = p.migration_bits[c] - p.migration_bits[before["held"]]
    down_bits, up_bits = p.bits_down[c] + np.maximum(moved, 0.0), p.bits_up[c] + np.maximum(-moved, 0.0)
    return {
        "downlink": over(down_bits, down_bit_s, down_bits > 0.0),
        "uplink": up_bits / up_bit_s,
        "compute": front / (before["speed_flop_s"] + of["boost_flop_s"]),
        "back_end": over(back, of["back_end_flop_s"], back > 0.0) + np.where(waits, wait[:, None], 0.0),
        "sync": np.where(twin, p.sync_bits[c] / up_bit_s, 0.0),
    }


def uplink_bit_s(p: Parameters, step: Step) -> NDArray[Any]:
    """Uplink rates (R, K) [bit/s], (13)."""
    snr = p.power_uplink_w * step.member["gain_uplink"] / p.noise_w
    rates: NDArray[Any] = p.device_bandwidth_hz / math.log(2.0) * np.log1p(snr)
    return rates


def delay_invariants(p: Parameters, s: State, step: Step) -> Iterator[Invariant]:
    """Delays equal the recomputed ones and add up, (9); violations, energy and backlog."""
    of, before, c = step.member, step.before, step.actions
    twin, parts = of["twin"] > 0.5, delay_parts(p, step)
    front, back = at_choice(before["front_flop"], c), at_choice(before["back_flop"], c)
    for name, part in parts.items():
        yield Invariant(f"delay_{name}", of[f"delay_{name}_s"], "==", part)
        yield Invariant(f"sum_{name}", step.metrics[f"delay_{name}_s"], "==", part.sum(axis=1))
    yield Invariant("delay_adds_up", of["delay_s"], "==", sum(parts.values()))
    yield Invariant("delay_max", step.metrics["delay_max_s"], "==", of["delay_s"].max(axis=1))
    moved = np.abs(p.migration_bits[c] - p.migration_bits[before["held"]])
    yield Invariant("migration_bits", of["migration_bits"], "==", moved)
    yield from within("migration", of["migration_s"], 0.0, of["delay_downlink_s"] + of["delay_uplink_s"])
    yield Invariant("sum_migration", step.metrics["migration_s"], "==", of["migration_s"].sum(axis=1))
    yield Invariant("changed", of["changed"], "==", c != before["held"])
    if p.twins == TWINS.THRESHOLD:
        yield Invariant("twins_by_threshold", twin, "==", front > p.compute_delay_max_s * before["speed_flop_s"])
    late = parts["compute"] > p.compute_delay_max_s * (1.0 + 1e-12)
    yield Invariant("deadline_violations", step.metrics["deadline_violations"], "==", late.sum(axis=1))
    slow = uplink_bit_s(p, step) < p.rate_min_bit_s
    yield Invariant("rate_violations", step.metrics["rate_violations"], "==", slow.sum(axis=1))
    work = np.where(twin, 0.0, front)
    frequency_hz = before["speed_flop_s"] / p.flop_per_cycle
    energy = p.device_energy_coefficient * frequency_hz**2 * work / p.flop_per_cycle
    energy = energy + p.power_uplink_w * (parts["uplink"] + parts["sync"])
    yield Invariant("energy", step.metrics["energy_j"], "==", energy.sum(axis=1))
    if p.backlog:
        speed = before["speed_flop_s"] + of["boost_flop_s"]
        served = back + np.where(twin, front * of["boost_flop_s"] / speed, 0.0)
        left = before["backlog_flop"] + served.sum(axis=1) - before["capacity_flop_s"] * p.frame_s
        size = before["capacity_flop_s"] * p.frame_s
        yield Invariant("backlog", s.backlog_flop, "==", np.maximum(left, 0.0), size)


def reward_invariants(p: Parameters, step: Step, reference_s: float) -> Iterator[Invariant]:
    """Objective (18); reward, the saved part of the reference; gaps and certificates."""
    total = step.metrics
    objective = step.member["delay_s"].sum(axis=1) + p.cut_leakage_s[step.actions].sum(axis=1) + p.loss_s
    yield Invariant("objective", total["objective_s"], "==", objective)
    saved = 1.0 - objective / reference_s
    yield Invariant("reward", step.reward, "==", saved, 1.0 + objective / reference_s)
    for name in ("local_share", "twin_share"):
        yield from within(name, total[name], 0.0, 1.0)
    relaxed = p.irs and p.phase == PHASE.SDR
    pool = p.model == MODEL.EXTENDED or p.twins != TWINS.NONE
    gaps = {
        "phase_gap": (relaxed, 1.0),
        "twin_gap": (p.twins == TWINS.OPTIMAL, 1.0),
        "certificate": (relaxed or pool or p.power != POWER.EQUAL, max(RESIDUAL_LIMIT, p.phase_gap)),
    }
    for name, (certified, worst) in gaps.items():
        yield Invariant(f"{name}_known", ~np.isnan(total[name]), "==", certified)
        yield from within(name, np.where(certified, total[name], 0.0), 0.0, worst)
