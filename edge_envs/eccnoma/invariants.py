"""Invariants of every world of `ECCNOMA-v0` after a reset or a step, in plain numpy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.invariants import Invariant, Step, over, within
from edge_envs.eccnoma.model.parameters import ACCESS, ARRIVALS, ASSIGNMENT, POWER, UNITS, Parameters
from edge_envs.eccnoma.model.state import State
from edge_envs.eccnoma.solvers.radio import DIRECTION, Radio

CERTIFICATE_LIMIT = 1e-2
"""Largest part of the cost that other powers may save; the number of descent steps is limited, and up to 3 % of
the steps of random configurations end above 1e-6."""
REMEMBERED = ("queue", "arrived", "level", "gain_up", "gain_down", "holds", "loaded")
"""Fields of the state that are needed from before a step."""


class Senders(NamedTuple):
    """Senders of one direction in R rows; bands are -1 for silent users."""

    active: NDArray[np.bool_]  # (R, U)
    ap: NDArray[np.int64]  # (R, U)
    band: NDArray[np.int64]  # (R, U)
    power_w: NDArray[np.float64]  # (R, U)
    bands: NDArray[np.int64]  # (R, 1) number of bands of the spectrum


def invariants(p: Parameters, s: State, step: Step | None) -> Iterator[Invariant]:
    """Limits on bands, powers and units; rates, delays, energies and backlogs recomputed.

    Downlink bands are not reported: they and the downlink rates are checked in the last row only, from the workspace.
    """
    distance = np.linalg.norm(s.place_m[:, :, None] - p.ap_position_m, axis=-1)
    own = np.take_along_axis(distance, s.ap[:, :, None], axis=2)[:, :, 0]
    yield Invariant("nearest_ap", own, "<=", distance.min(axis=2))
    yield from within("queue_room", s.queue, 0.0, p.queue_max if p.arrivals == ARRIVALS.BURSTY else 1.0)
    yield from within("background_level", s.level, 0, len(p.background_levels) - 1)
    last = p.device_flop[s.network, p.last_choice[s.network]]
    alone = p.weight_delay * last / s.speed_flop_s + p.weight_energy * p.device_j_per_flop * last
    yield Invariant("reference", s.reference, "==", p.mean_arrivals * alone.sum(axis=1))
    yield from slice_limits(p, s)
    if step is not None:
        yield from slices(p, s, step)
        yield from radio(p, s, step)
        yield from units(p, s, step)
        yield from times(p, s, step)
        yield from tasks(p, s, step)
        yield from certificates(p, step)


def slice_limits(p: Parameters, s: State) -> Iterator[Invariant]:
    """At most `slices` users of an AP hold one; only they have loaded weights, and only of their own network."""
    yield Invariant("slices_of_ap", users_per_ap(p, s.ap, s.holds), "<=", p.slices)
    most = p.load_steps[s.network, p.first_choice[s.network]]
    yield from within("loaded", s.loaded, 0, np.where(s.holds == 1, most, 0))


def slices(p: Parameters, s: State, step: Step) -> Iterator[Invariant]:
    """The cuts in use: the chosen ones, or with slices those of them that are loaded, and the device for all others."""
    if p.slices == 0:
        yield Invariant("choice", s.choice, "==", step.actions)
        return
    before, last = step.before, p.last_choice[s.network]
    asks = (step.actions != last) & (step.actions < p.choices[s.network])
    yield Invariant("holders_stay", s.holds >= asks * before["holds"], "==", True)
    yield Invariant("only_for_those_that_ask", s.holds, "<=", asks)
    given = users_per_ap(p, s.ap, s.holds)
    yield Invariant("no_slice_idle", given, "==", np.minimum(users_per_ap(p, s.ap, asks), p.slices))
    kept = np.where(before["holds"] == 1, before["loaded"], 0)
    ready = (s.holds == 1) & (p.load_steps[s.network, step.actions] <= kept)
    yield Invariant("choice", s.choice, "==", np.where(ready, step.actions, last))
    yield Invariant("loading", s.loaded, "==", np.where(s.holds == 1, kept + ~ready, 0))
    yield Invariant("slices_used", step.metrics["slices_used"], "==", s.holds.sum(axis=1))
    yield Invariant("slices_loading", step.metrics["slices_loading"], "==", (s.holds * ~ready).sum(axis=1))


def certificates(p: Parameters, step: Step) -> Iterator[Invariant]:
    """Certificates are numbers where something is optimised, and NaN elsewhere; powers and units are near-optimal."""
    tuned = p.access != ACCESS.TDMA and p.power != POWER.FULL
    assigned = p.access != ACCESS.TDMA and p.assignment != ASSIGNMENT.RANDOM
    for name, optimised in (
        ("certificate", tuned), ("server_gap", p.units == UNITS.OPTIMAL),
        ("assignment_gap_uplink", assigned), ("assignment_gap_downlink", assigned),
    ):  # fmt: skip
        yield Invariant(f"{name}_given", ~np.isnan(step.metrics[name]), "==", optimised)
    if tuned:
        yield Invariant("certificate", step.metrics["certificate"], "<=", CERTIFICATE_LIMIT)
    if p.units == UNITS.OPTIMAL:
        yield Invariant("server_gap", step.metrics["server_gap"], "<=", 1.0)


def sending(p: Parameters, s: State, step: Step) -> NDArray[np.bool_]:
    """Users with tasks and data to send, (R, U)."""
    return (step.before["queue"] > 0.0) & (p.bits_up[s.network, s.choice] > 0.0)  # type: ignore[no-any-return]


def users_per_ap(p: Parameters, ap: NDArray[np.int64], weight: NDArray[Any]) -> NDArray[Any]:
    """Sums (R, N) of a number per user (R, U) over the users of each AP."""
    return ((ap[:, :, None] == np.arange(p.num_aps)) * weight[:, :, None]).sum(axis=1)  # type: ignore[no-any-return]


def radio(p: Parameters, s: State, step: Step) -> Iterator[Invariant]:
    """(5), (6), (8), (9) and the limits on powers and bands."""
    active, of, before = sending(p, s, step), step.member, step.before
    yield Invariant("ap", of["ap"], "==", s.ap)
    for direction, low, high in (
        ("uplink", p.power_up_min_w, p.power_up_max_w), ("downlink", p.power_down_min_w, p.power_down_max_w),
    ):  # fmt: skip
        yield from within(f"power_{direction}", of[f"power_{direction}_w"], active * low, active * high)
        yield Invariant(f"rate_{direction}", of[f"rate_{direction}_bit_s"] > 0.0, "==", active)
    most = users_per_ap(p, s.ap, np.ones(s.ap.shape, dtype=np.int64)).max(axis=1, keepdims=True)
    bands = most if p.access == ACCESS.FDMA else np.full_like(most, p.num_subchannels)
    up = Senders(active, s.ap, of["subchannel"].astype(np.int64), of["power_uplink_w"], bands)
    yield Invariant("subchannel", of["subchannel"], "==", up.band)
    crowding = yield from places(p, up, "uplink")
    yield Invariant("overflow", step.metrics["overflow"], ">=", crowding)
    rate = rates(p, up, before["gain_up"], p.bandwidth_up_hz, downlink=False)
    yield Invariant("rate_uplink", of["rate_uplink_bit_s"], "==", rate)
    memory = s.workspace.down
    down = Senders(active[-1:], s.ap[-1:], memory.band[None], of["power_downlink_w"][-1:], bands[-1:])
    crowding = np.maximum(crowding[-1:], (yield from places(p, down, "downlink")))
    yield Invariant("overflow", step.metrics["overflow"][-1:], "==", crowding)
    rate = rates(p, down, before["gain_down"][-1:], p.bandwidth_down_hz, downlink=True)
    yield Invariant("rate_downlink", of["rate_downlink_bit_s"][-1:], "==", rate)
    if p.access != ACCESS.TDMA:
        for direction, at in (("uplink", s.workspace.up), ("downlink", memory)):
            yield Invariant(f"one_seat_{direction}", seats(at, int(bands[-1, 0])), "==", active[-1:])


def seats(r: Radio, bands: int) -> NDArray[Any]:
    """Number of seats of every user in the workspace, (1, U)."""
    taken = np.arange(r.user.shape[1]) < r.band_users[:bands, None]
    return np.bincount(r.user[:bands][taken], minlength=len(r.band))[None]


def places(p: Parameters, sent: Senders, direction: str) -> Any:
    """Invariants of the bands; returns the number of users (R,) above the capacity."""
    low = np.where(sent.active, 0, -1)
    yield from within(f"band_{direction}", sent.band, low, np.where(sent.active, sent.bands - 1, -1))
    width = int(sent.bands.max())
    at = np.where(sent.active, (np.arange(len(sent.ap))[:, None] * p.num_aps + sent.ap) * width + sent.band, -1)
    load = np.bincount(at[at >= 0], minlength=len(sent.ap) * p.num_aps * width).reshape(-1, p.num_aps, width)
    capacity = {ACCESS.FDMA: 1, ACCESS.TDMA: 0}.get(p.access, p.capacity)
    # The limit is raised for an AP with more senders than places.
    needed = -(-users_per_ap(p, sent.ap, sent.active) // sent.bands)
    yield Invariant(f"band_capacity_{direction}", load, "<=", np.maximum(needed, capacity)[:, :, None])
    if p.access == ACCESS.TDMA:
        return np.zeros(len(load))
    return np.maximum(load - capacity, 0).sum(axis=(1, 2))


def rates(p: Parameters, sent: Senders, gain: NDArray[Any], bandwidth_hz: float, *, downlink: bool) -> NDArray[Any]:
    """Rates (R, U) [bit/s] at gains (R, M, U, N), from the interference after cancellation, (5), (6), (8), (9).

    Within a cell, weaker users interfere in the uplink and stronger ones in the downlink. With TDMA there is no
    interference within a cell, and the mean over the turns of the other cells.
    """
    row, user = np.arange(len(sent.ap))[:, None, None], np.arange(p.num_users)
    band = np.maximum(sent.band, 0)
    channel = (band if p.access != ACCESS.FDMA else ((2 * band + 1) * p.num_subchannels) // (2 * sent.bands))[
        :, :, None
    ]
    ap = sent.ap[:, :, None]
    together = (sent.band[:, :, None] == sent.band[:, None]) & sent.active[:, :, None] & sent.active[:, None]
    theirs = gain[row, channel, user[None, None], ap]
    own = gain[row, channel, user[:, None], ap]
    same_ap = ap == sent.ap[:, None]
    turn = np.ones(sent.ap.shape)
    if p.access == ACCESS.TDMA:
        turn = 1.0 / np.maximum((together & same_ap).sum(axis=2), 1)
    stronger = (theirs > own) | ((theirs == own) & (user < user[:, None]))
    if downlink:
        cross_gain = theirs if p.downlink_direction == DIRECTION.DOWNLINK_PRINTED else own
        coupling = np.where(same_ap, cross_gain * stronger, gain[row, channel, user[:, None], sent.ap[:, None]])
    else:
        coupling = np.where(same_ap, theirs * ~stronger, theirs)
    apart = together & ~(same_ap if p.access == ACCESS.TDMA else np.eye(p.num_users, dtype=np.bool_))
    band_hz = bandwidth_hz / sent.bands
    other_w = p.noise_w_per_hz * band_hz + (coupling * apart * (sent.power_w * turn)[:, None]).sum(axis=2)
    return turn * band_hz * np.log1p(sent.power_w * own[:, :, 0] / other_w) / math.log(2.0)  # type: ignore[no-any-return]


def units(p: Parameters, s: State, step: Step) -> Iterator[Invariant]:
    """Units for users with work at the server, within the limits of a user and of the pool."""
    given = step.member["server_units"]
    asks = working(p, s, step) > 0.0
    low = p.units_max if p.units == UNITS.MOST else p.units_min
    yield from within("units", given, 0.0 if p.pool else asks * low, asks * p.units_max)
    if p.pool:
        free = p.pool_units * (1.0 - p.background_levels[step.before["level"]])
        yield Invariant("pool_sum", users_per_ap(p, s.ap, given), "<=", free)
    yield Invariant("units_reported", step.metrics["server_units"], "==", given.sum(axis=1))


def working(p: Parameters, s: State, step: Step) -> NDArray[Any]:
    """Work at the server per task of users with tasks (R, U) [FLOP]."""
    return np.where(step.before["queue"] > 0.0, p.server_flop[s.network, s.choice], 0.0)


def times(p: Parameters, s: State, step: Step) -> Iterator[Invariant]:
    """(1), (3), (7), (10) and (13)-(17): delays and energies of a task from rates, powers and units, and their sums."""
    of, busy, active = step.member, step.before["queue"] > 0.0, sending(p, s, step)
    device_flop, work = p.device_flop[s.network, s.choice] * busy, working(p, s, step)
    n = of["server_units"]
    speed = np.where(n >= 1.0, n / (1.0 + p.core_overhead * (n - 1.0)), n) * p.unit_speed_flop_s
    parts = {
        "device": device_flop / s.speed_flop_s,
        "uplink": over(p.bits_up[s.network, s.choice], of["rate_uplink_bit_s"], active),
        "server": over(work, speed, work > 0.0),
        "downlink": over(np.full(n.shape, p.result_bits), of["rate_downlink_bit_s"], active),
    }
    for name, part in parts.items():
        yield Invariant(f"delay_{name}", of[f"delay_{name}_s"], "==", part)
    yield Invariant("delay_adds_up", of["delay_s"], "==", sum(parts.values()))
    if p.access != ACCESS.TDMA:  # The downlink's airtime is not reported.
        energy = device_flop * p.device_j_per_flop + work * p.server_energy_coefficient * speed**2
        energy += of["power_uplink_w"] * parts["uplink"] + of["power_downlink_w"] * parts["downlink"]
        yield Invariant("energy_adds_up", of["energy_j"], "==", energy)


def tasks(p: Parameters, s: State, step: Step) -> Iterator[Invariant]:
    """No task is lost; service fits into the step; the reward is the cost over the reference, (22)."""
    of, queue, total = step.member, step.before["queue"], step.metrics
    done, dropped, delay = of["tasks_finished"], of["tasks_dropped"], of["delay_s"]
    yield from within("tasks_finished", done, 0.0, queue)
    if p.arrivals == ARRIVALS.BURSTY:
        yield Invariant("time_of_step", done * delay, "<=", p.frame_s)
        left = queue - done + s.arrived
        yield Invariant("tasks_conserved", s.queue + dropped, "==", left, p.queue_max)
        yield Invariant("drops", dropped, "==", np.maximum(left - p.queue_max, 0.0), p.queue_max)
        idle = (done < queue * (1.0 - 1e-9)) & (done * delay < p.frame_s * (1.0 - 1e-9))
        yield Invariant("no_idling", idle, "==", False)
    else:
        yield Invariant("one_task", s.queue, "==", 1.0)
        yield Invariant("all_served", done, "==", queue)
    waited = 0.5 * delay * done * (done + 1.0) + (queue - done) * p.frame_s
    cost = p.weight_delay * (waited + p.drop_s * dropped) + p.weight_energy * done * of["energy_j"]
    size = p.weight_delay * queue * p.frame_s
    yield Invariant("cost", of["cost"], "==", cost, size)
    yield Invariant("member_reward", step.member_reward * s.reference[:, None], "==", -cost, size)
    yield Invariant("total_cost", total["cost"], "==", cost.sum(axis=1), size.sum(axis=1))
    for name, amount in (("finished", done), ("dropped", dropped)):
        yield Invariant(f"tasks_{name}_sum", total[f"tasks_{name}"], "==", amount.sum(axis=1), 1.0)
