"""Users on bands: who disturbs whom, what a band costs, and what joining, leaving or replacing changes.

A band is a subchannel, or one of the slices into which orthogonal access cuts the spectrum. Each user is on one band,
so bands do not touch each other: a band's cost depends on its own few users, and all work here grows with their
number squared.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part

UPLINK, DOWNLINK, DOWNLINK_PRINTED = range(3)
DIRECTIONS = ("uplink", "downlink", "downlink-printed")
COST, START_COST, RESIDUAL, SWEEPS, MOVES, OVERFLOW, BOUND, POWER_GAP, ASSIGNMENT_GAP = range(9)
REPORT = 9
"""Entries of `Radio.report`."""


class Link(NamedTuple):
    """What all bands of a direction have in common."""

    direction: int
    bandwidth_hz: float  # of a band
    noise_w: float  # on a band
    power_min_w: float
    power_max_w: float
    capacity: int  # users of an AP on a band


class Radio(NamedTuple):
    """One direction's problem and solution: U users, N APs, up to S bands with up to K users each, and a free seat."""

    delay_cost: NDArray[np.float64]  # (U,) cost per second of sending, times the bits; 0 for a silent user
    energy_cost: NDArray[np.float64]  # (U,) cost per joule, times the bits
    active: NDArray[np.bool_]  # (U,) who sends
    ap: NDArray[np.int64]  # (U,)
    band: NDArray[np.int64]  # (U,) -1 for silent users
    seat: NDArray[np.int64]  # (U,) place on the band
    power_w: NDArray[np.float64]  # (U,)
    rate_bit_s: NDArray[np.float64]  # (U,) 0 for silent users
    airtime: NDArray[np.float64]  # (U,) part of the time that the user sends; below 1 with TDMA only
    crowd: NDArray[np.int64]  # (S,) users on a band
    user: NDArray[np.int64]  # (S, K + 1)
    gain: NDArray[np.float64]  # (S, K + 1, N) gains of the users on the band
    level: NDArray[np.float64]  # (S, K + 1) log power between its limits, 0 to 1
    seat_power_w: NDArray[np.float64]  # (S, K + 1)
    disturbance_w: NDArray[np.float64]  # (S, K + 1) noise and interference
    cost: NDArray[np.float64]  # (S,)
    load: NDArray[np.int64]  # (N, S) users of an AP on a band
    cap: NDArray[np.int64]  # (N,) the most of them
    stamp: NDArray[np.int64]  # (S,) when a band last changed
    tried: NDArray[np.int64]  # (U,) when a user last looked at all bands
    order: NDArray[np.int64]  # (U,)
    key: NDArray[np.float64]  # (U,)
    candidate: NDArray[np.int64]  # (U, C) bands that a user tries, best gain first
    coupling: NDArray[np.float64]  # (K + 1, K + 1) scratch of one band: disturbance of a row by a column's watt
    slope: NDArray[np.float64]  # (2, K + 1)
    trial: NDArray[np.float64]  # (K + 1,)
    weight: NDArray[np.float64]  # (K + 1,)
    report: NDArray[np.float64]  # (REPORT,)


def allocate_radio(users: int, aps: int, bands: int, seats: int, candidates: int) -> Radio:
    """Memory for one direction, all zero."""
    places = seats + 1
    shapes: dict[str, tuple[int, ...]] = {
        "crowd": (bands,), "user": (bands, places), "gain": (bands, places, aps), "level": (bands, places),
        "seat_power_w": (bands, places), "disturbance_w": (bands, places), "cost": (bands,), "load": (aps, bands),
        "cap": (aps,), "stamp": (bands,), "candidate": (users, candidates), "coupling": (places, places),
        "slope": (2, places), "trial": (places,), "weight": (places,), "report": (REPORT,),
    }  # fmt: skip
    whole = {"ap", "band", "seat", "crowd", "user", "load", "cap", "stamp", "tried", "order", "candidate"}
    arrays: dict[str, NDArray[Any]] = {}
    for name in Radio._fields:
        dtype = np.int64 if name in whole else np.bool_ if name == "active" else np.float64
        arrays[name] = np.zeros(shapes.get(name, (users,)), dtype=dtype)
    return Radio(**arrays)


def default_candidates(subchannels: int) -> int:
    """Subchannels that a user tries: all of few, the best eighth of many, but 16 at least."""
    return subchannels if subchannels <= 20 else max(16, math.ceil(subchannels / 8))


def seats_needed(users: int, aps: int, bands: int, capacity: int) -> int:
    """Seats that a band needs at most, also where an AP has more users than its seats and every cap is raised."""
    return min(users, aps * (capacity + 1) + users // bands + 1)


@kernel_part
def power_at(link: Link, level: float) -> float:
    """Power p_min (p_max / p_min)^level [W]."""
    return link.power_min_w * math.exp(level * math.log(link.power_max_w / link.power_min_w))


@kernel_part
def level_at(link: Link, power_w: float) -> float:
    """Level of a power; 1 where there is no choice."""
    if link.power_max_w <= link.power_min_w:
        return 1.0
    return min(max(math.log(power_w / link.power_min_w) / math.log(link.power_max_w / link.power_min_w), 0.0), 1.0)


@kernel_part
def sending_cost(
    link: Link, delay_cost: float, energy_cost: float, power_w: float, gain: float, other_w: float
) -> float:
    """Cost of sending one user's bits at a power, own gain and disturbance: (w_T + w_E p) bits / R."""
    # log1p: deep in interference log(1 + SINR) would be zero
    nats = math.log1p(power_w * gain / other_w)
    return (delay_cost + energy_cost * power_w) * math.log(2.0) / (link.bandwidth_hz * nats)


@kernel_part
def coupling_of(link: Link, w: Radio, s: int, i: int, v: int) -> float:
    """Power at seat i's receiver per watt of seat v on band s, after what successive cancellation removes.

    (5): an AP decodes its stronger users first, so these are disturbed by the weaker. (8): a user first removes the
    signals of weaker ones, so it hears those of the stronger, through its own channel; as printed, through theirs.
    """
    mine, other = w.user[s, i], w.user[s, v]
    ap, ap_other = w.ap[mine], w.ap[other]
    if ap == ap_other:
        own, theirs = w.gain[s, i, ap], w.gain[s, v, ap]
        stronger = theirs > own or (theirs == own and other < mine)
        if link.direction == UPLINK:
            return 0.0 if stronger else theirs
        if not stronger:
            return 0.0
        return own if link.direction == DOWNLINK else theirs
    return w.gain[s, v, ap] if link.direction == UPLINK else w.gain[s, i, ap_other]


@kernel
def refresh(link: Link, w: Radio, s: int) -> None:
    """Disturbances and cost of a band from its users and powers."""
    total = 0.0
    for i in range(w.crowd[s]):
        other_w = link.noise_w
        for v in range(w.crowd[s]):
            if v != i:
                other_w += coupling_of(link, w, s, i, v) * w.seat_power_w[s, v]
        w.disturbance_w[s, i] = other_w
        user = w.user[s, i]
        total += sending_cost(
            link, w.delay_cost[user], w.energy_cost[user], w.seat_power_w[s, i], w.gain[s, i, w.ap[user]], other_w
        )
    w.cost[s] = total


@kernel_part
def take_seat(w: Radio, gain: NDArray[np.float64], row: int, s: int, m: int, user: int) -> int:
    """Put a user on the free seat behind the others, without counting it; m is the subchannel in band s."""
    k = w.crowd[s]
    w.user[s, k] = user
    for n in range(gain.shape[3]):
        w.gain[s, k, n] = gain[row, m, user, n]
    return k


@kernel_part
def joining_cost(
    link: Link, w: Radio, gain: NDArray[np.float64], row: int, s: int, m: int, user: int, power_w: float
) -> float:
    """What the cost of band s grows by if the user joins it with a power."""
    k = take_seat(w, gain, row, s, m, user)
    total, other_w = 0.0, link.noise_w
    for v in range(k):
        other_w += coupling_of(link, w, s, k, v) * w.seat_power_w[s, v]
        sender = w.user[s, v]
        total += sending_cost(
            link, w.delay_cost[sender], w.energy_cost[sender], w.seat_power_w[s, v], w.gain[s, v, w.ap[sender]],
            w.disturbance_w[s, v] + coupling_of(link, w, s, v, k) * power_w,
        )  # fmt: skip
    total += sending_cost(link, w.delay_cost[user], w.energy_cost[user], power_w, w.gain[s, k, w.ap[user]], other_w)
    return total - w.cost[s]


@kernel_part
def leaving_gain(link: Link, w: Radio, s: int, seat: int) -> float:
    """What the cost of band s falls by if a seat's user leaves it.

    Disturbances are summed afresh: taking a strong signal off a sum would leave only rounding errors.
    """
    total = 0.0
    for i in range(w.crowd[s]):
        if i != seat:
            other_w = link.noise_w
            for v in range(w.crowd[s]):
                if v != i and v != seat:
                    other_w += coupling_of(link, w, s, i, v) * w.seat_power_w[s, v]
            user = w.user[s, i]
            total += sending_cost(
                link, w.delay_cost[user], w.energy_cost[user], w.seat_power_w[s, i], w.gain[s, i, w.ap[user]], other_w
            )
    return w.cost[s] - total


@kernel_part
def replacing_cost(
    link: Link, w: Radio, gain: NDArray[np.float64], row: int, s: int, m: int, seat: int, user: int, power_w: float
) -> float:
    """What the cost of band s grows by if the user takes a seat from whom it belongs to."""
    k = take_seat(w, gain, row, s, m, user)
    total = 0.0
    for i in range(k + 1):
        if i != seat:
            other_w = link.noise_w
            for v in range(k + 1):
                if v != i and v != seat:
                    other_w += coupling_of(link, w, s, i, v) * (power_w if v == k else w.seat_power_w[s, v])
            sender = w.user[s, i]
            total += sending_cost(
                link, w.delay_cost[sender], w.energy_cost[sender], power_w if i == k else w.seat_power_w[s, i],
                w.gain[s, i, w.ap[sender]], other_w,
            )  # fmt: skip
    return total - w.cost[s]


@kernel
def join(link: Link, w: Radio, gain: NDArray[np.float64], row: int, s: int, m: int, user: int, level: float) -> None:
    """Put a user on band s for good."""
    k = take_seat(w, gain, row, s, m, user)
    w.level[s, k] = level
    w.seat_power_w[s, k] = power_at(link, level)
    w.band[user], w.seat[user] = s, k
    w.crowd[s] += 1
    w.load[w.ap[user], s] += 1
    refresh(link, w, s)


@kernel
def leave(link: Link, w: Radio, user: int) -> None:
    """Take a user off its band; the last one there moves to its seat."""
    s, seat = w.band[user], w.seat[user]
    last = w.crowd[s] - 1
    if seat != last:
        moved = w.user[s, last]
        w.user[s, seat], w.seat[moved] = moved, seat
        w.level[s, seat], w.seat_power_w[s, seat] = w.level[s, last], w.seat_power_w[s, last]
        for n in range(w.gain.shape[2]):
            w.gain[s, seat, n] = w.gain[s, last, n]
    w.crowd[s] = last
    w.load[w.ap[user], s] -= 1
    w.band[user] = -1
    refresh(link, w, s)
