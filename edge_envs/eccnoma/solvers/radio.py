"""Users on bands: interference (5), (8), the cost of a band, and how it changes when a user joins, leaves or moves.

A band is a subchannel, or a slice of the spectrum with orthogonal access. Each user is on one band, so bands are
independent: the cost of a band depends on its own users only, and the work per band is quadratic in their number.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.core.kernels.metrics import codes, columns


class Direction(StrEnum):
    """Which interference applies: (5); (8) through the receiver's own channel; (8) as printed."""

    UPLINK = "uplink"
    DOWNLINK = "downlink"
    DOWNLINK_PRINTED = "downlink-printed"


DIRECTION = codes(Direction)
RADIO_REPORT = columns(
    ("cost", "start_cost", "residual", "sweeps", "moves", "overflow", "bound", "power_gap", "assignment_gap")
)
"""Entries of `Radio.report`."""


class Link(NamedTuple):
    """Constants of a direction, the same for all its bands."""

    direction: int  # DIRECTION
    bandwidth_hz: float  # of a band
    noise_w: float  # on a band
    power_min_w: float
    power_max_w: float
    capacity: int  # largest number of users of an AP on a band


class Radio(NamedTuple):
    """Problem, solution and scratch memory of one direction: U users, N APs, up to S bands with up to K users each.

    A band has K + 1 seats; the free seat behind its users holds a user that is tried there.
    """

    delay_cost: NDArray[np.float64]  # (U,) cost per second of sending, times the bits; 0 for silent users
    energy_cost: NDArray[np.float64]  # (U,) cost per joule, times the bits
    active: NDArray[np.bool_]  # (U,) users that send
    ap: NDArray[np.int64]  # (U,)
    band: NDArray[np.int64]  # (U,) -1 for silent users
    seat: NDArray[np.int64]  # (U,) seat on the band
    power_w: NDArray[np.float64]  # (U,)
    rate_bit_s: NDArray[np.float64]  # (U,) 0 for silent users
    airtime: NDArray[np.float64]  # (U,) part of the time in which the user sends; below 1 with TDMA only
    band_users: NDArray[np.int64]  # (S,) number of users on a band
    user: NDArray[np.int64]  # (S, K + 1) users by seat
    gain: NDArray[np.float64]  # (S, K + 1, N) gains of the users on the band
    level: NDArray[np.float64]  # (S, K + 1) log power, scaled to [0, 1] between its limits
    seat_power_w: NDArray[np.float64]  # (S, K + 1) power by seat
    disturbance_w: NDArray[np.float64]  # (S, K + 1) noise and interference
    cost: NDArray[np.float64]  # (S,)
    load: NDArray[np.int64]  # (N, S) number of users of an AP on a band
    cap: NDArray[np.int64]  # (N,) largest load allowed
    stamp: NDArray[np.int64]  # (S,) time of the band's last change
    tried: NDArray[np.int64]  # (U,) time when all bands were last tried for a user
    order: NDArray[np.int64]  # (U,) users that send, sorted
    key: NDArray[np.float64]  # (U,) sort key of `order`
    candidate: NDArray[np.int64]  # (U, C) bands tried for a user, best gain first
    coupling: NDArray[np.float64]  # (K + 1, K + 1) of one band: power that a row receives per watt of a column
    slope: NDArray[np.float64]  # (2, K + 1) slopes of one band's cost in its levels, before and after a step
    trial_level: NDArray[np.float64]  # (K + 1,) levels after a trial step of one band
    trial_power_w: NDArray[np.float64]  # (K + 1,) their powers
    level_change: NDArray[np.float64]  # (K + 1,) change of the levels in the last step
    power_slope: NDArray[np.float64]  # (U,) slopes of the total cost in the log powers, for the certificate
    report: NDArray[np.float64]  # (len(RADIO_REPORT),)


def allocate_radio(users: int, aps: int, bands: int, seats: int, candidates: int) -> Radio:
    """Memory of one direction, all zero."""
    places = seats + 1
    shapes: dict[str, tuple[int, ...]] = {
        "band_users": (bands,), "user": (bands, places), "gain": (bands, places, aps), "level": (bands, places),
        "seat_power_w": (bands, places), "disturbance_w": (bands, places), "cost": (bands,), "load": (aps, bands),
        "cap": (aps,), "stamp": (bands,), "candidate": (users, candidates), "coupling": (places, places),
        "slope": (2, places), "trial_level": (places,), "trial_power_w": (places,), "level_change": (places,),
        "report": (len(RADIO_REPORT),),
    }  # fmt: skip
    whole = {"ap", "band", "seat", "band_users", "user", "load", "cap", "stamp", "tried", "order", "candidate"}
    arrays: dict[str, NDArray[Any]] = {}
    for name in Radio._fields:
        dtype = np.int64 if name in whole else np.bool_ if name == "active" else np.float64
        arrays[name] = np.zeros(shapes.get(name, (users,)), dtype=dtype)
    return Radio(**arrays)


def default_candidates(subchannels: int) -> int:
    """Number of subchannels that the search tries for a user: all up to 20, else an eighth, at least 16."""
    return subchannels if subchannels <= 20 else max(16, math.ceil(subchannels / 8))


def seats_max(users: int, aps: int, bands: int, capacity: int) -> int:
    """Largest number of users on a band, also where an AP has more users than places and its limit is raised."""
    return min(users, aps * (capacity + 1) + users // bands + 1)


@kernel_part
def subchannel_of(band: int, bands: int, subchannels: int) -> int:
    """The subchannel at the middle of a band, if the spectrum is divided into `bands` equal bands."""
    return band if bands == subchannels else ((2 * band + 1) * subchannels) // (2 * bands)


@kernel_part
def power_at(link: Link, level: float) -> float:
    """Power p_min (p_max / p_min)^level [W]."""
    return link.power_min_w * math.exp(level * math.log(link.power_max_w / link.power_min_w))


@kernel_part
def level_at(link: Link, power_w: float) -> float:
    """Level of a power; 1 if both limits are equal."""
    if link.power_max_w <= link.power_min_w:
        return 1.0
    return min(max(math.log(power_w / link.power_min_w) / math.log(link.power_max_w / link.power_min_w), 0.0), 1.0)


@kernel_part
def sending_cost(
    link: Link, delay_cost: float, energy_cost: float, power_w: float, gain: float, other_w: float
) -> float:
    """Cost of sending a user's bits, (w_T + w_E p) bits / R, with disturbance `other_w`."""
    # log1p: with strong interference, log(1 + SINR) would round to zero.
    spectral_efficiency = math.log1p(power_w * gain / other_w)
    return (delay_cost + energy_cost * power_w) * math.log(2.0) / (link.bandwidth_hz * spectral_efficiency)


@kernel_part
def coupling_of(link: Link, r: Radio, s: int, i: int, v: int) -> float:
    """Power at the receiver of seat i per watt of seat v on band s, after successive cancellation.

    Uplink (5): an AP decodes its stronger users first, so weaker users interfere with stronger ones. Downlink (8): a
    user first removes the signals of weaker users, so stronger users interfere with weaker ones.
    """
    mine, other = r.user[s, i], r.user[s, v]
    ap, ap_other = r.ap[mine], r.ap[other]
    if ap == ap_other:
        own, theirs = r.gain[s, i, ap], r.gain[s, v, ap]
        stronger = theirs > own or (theirs == own and other < mine)
        if link.direction == DIRECTION.UPLINK:
            return 0.0 if stronger else theirs
        if not stronger:
            return 0.0
        return own if link.direction == DIRECTION.DOWNLINK else theirs
    return r.gain[s, v, ap] if link.direction == DIRECTION.UPLINK else r.gain[s, i, ap_other]


@kernel
def refresh(link: Link, r: Radio, s: int) -> None:
    """Compute the disturbances and the cost of a band from its users and powers."""
    total = 0.0
    for i in range(r.band_users[s]):
        other_w = link.noise_w
        for v in range(r.band_users[s]):
            if v != i:
                other_w += coupling_of(link, r, s, i, v) * r.seat_power_w[s, v]
        r.disturbance_w[s, i] = other_w
        user = r.user[s, i]
        total += sending_cost(
            link, r.delay_cost[user], r.energy_cost[user], r.seat_power_w[s, i], r.gain[s, i, r.ap[user]], other_w
        )
    r.cost[s] = total


@kernel
def clear(r: Radio, bands: int, link: Link) -> int:
    """Empty all bands and raise the limit of APs with more users than places; returns the number of senders."""
    for n in range(len(r.cap)):
        r.cap[n] = 0
        for s in range(bands):
            r.load[n, s] = 0
    for s in range(bands):
        r.band_users[s] = r.stamp[s] = 0
        r.cost[s] = 0.0
    senders = 0
    for u in range(len(r.ap)):
        r.band[u], r.seat[u], r.tried[u] = -1, -1, -1
        r.power_w[u], r.rate_bit_s[u], r.airtime[u] = 0.0, 0.0, 0.0
        if r.active[u]:
            r.order[senders] = u
            senders += 1
            r.cap[r.ap[u]] += 1
    for i in range(len(r.report)):
        r.report[i] = 0.0
    for n in range(len(r.cap)):
        r.cap[n] = max((r.cap[n] + bands - 1) // bands, link.capacity)
    return senders


@kernel
def total_cost(r: Radio, bands: int) -> float:
    """Sum of the costs of all bands."""
    total = 0.0
    for s in range(bands):
        total += r.cost[s]
    return total


@kernel_part
def take_seat(r: Radio, gain: NDArray[np.float64], row: int, s: int, m: int, user: int) -> int:
    """Put a user on the free seat of band s, without counting it; m is the subchannel of the band. Returns the seat."""
    k = r.band_users[s]
    r.user[s, k] = user
    for n in range(gain.shape[3]):
        r.gain[s, k, n] = gain[row, m, user, n]
    return k


@kernel_part
def joining_cost(
    link: Link, r: Radio, gain: NDArray[np.float64], row: int, s: int, m: int, user: int, power_w: float
) -> float:
    """Increase of the cost of band s if a user joins it."""
    k = take_seat(r, gain, row, s, m, user)
    total, other_w = 0.0, link.noise_w
    for v in range(k):
        other_w += coupling_of(link, r, s, k, v) * r.seat_power_w[s, v]
        sender = r.user[s, v]
        total += sending_cost(
            link, r.delay_cost[sender], r.energy_cost[sender], r.seat_power_w[s, v], r.gain[s, v, r.ap[sender]],
            r.disturbance_w[s, v] + coupling_of(link, r, s, v, k) * power_w,
        )  # fmt: skip
    total += sending_cost(link, r.delay_cost[user], r.energy_cost[user], power_w, r.gain[s, k, r.ap[user]], other_w)
    return total - r.cost[s]


@kernel_part
def cost_without(link: Link, r: Radio, s: int, seat: int, seats: int, power_w: float) -> float:
    """Cost of the users on the first `seats` seats of band s but one; who sits on the free seat sends at `power_w`.

    Disturbances are summed again for each user, because subtracting a strong signal would leave only rounding errors.
    """
    total, k = 0.0, r.band_users[s]
    for i in range(seats):
        if i != seat:
            other_w = link.noise_w
            for v in range(seats):
                if v != i and v != seat:
                    other_w += coupling_of(link, r, s, i, v) * (power_w if v == k else r.seat_power_w[s, v])
            user = r.user[s, i]
            total += sending_cost(
                link, r.delay_cost[user], r.energy_cost[user], power_w if i == k else r.seat_power_w[s, i],
                r.gain[s, i, r.ap[user]], other_w,
            )  # fmt: skip
    return total


@kernel_part
def leaving_gain(link: Link, r: Radio, s: int, seat: int) -> float:
    """Decrease of the cost of band s if the user on a seat leaves it."""
    return r.cost[s] - cost_without(link, r, s, seat, r.band_users[s], 0.0)


@kernel_part
def replacing_cost(
    link: Link, r: Radio, gain: NDArray[np.float64], row: int, s: int, m: int, seat: int, user: int, power_w: float
) -> float:
    """Increase of the cost of band s if a user takes the place of the user on a seat."""
    k = take_seat(r, gain, row, s, m, user)
    return cost_without(link, r, s, seat, k + 1, power_w) - r.cost[s]


@kernel
def join(link: Link, r: Radio, gain: NDArray[np.float64], row: int, s: int, m: int, user: int, level: float) -> None:
    """Add a user to band s, at a level."""
    k = take_seat(r, gain, row, s, m, user)
    r.level[s, k] = level
    r.seat_power_w[s, k] = power_at(link, level)
    r.band[user], r.seat[user] = s, k
    r.band_users[s] += 1
    r.load[r.ap[user], s] += 1
    refresh(link, r, s)


@kernel
def leave(link: Link, r: Radio, user: int) -> None:
    """Remove a user from its band; the user on the last seat moves to the free one."""
    s, seat = r.band[user], r.seat[user]
    last = r.band_users[s] - 1
    if seat != last:
        moved = r.user[s, last]
        r.user[s, seat], r.seat[moved] = moved, seat
        r.level[s, seat], r.seat_power_w[s, seat] = r.level[s, last], r.seat_power_w[s, last]
        for n in range(r.gain.shape[2]):
            r.gain[s, seat, n] = r.gain[s, last, n]
    r.band_users[s] = last
    r.load[r.ap[user], s] -= 1
    r.band[user] = -1
    refresh(link, r, s)
