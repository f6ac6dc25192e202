"""Who sends on which band: greedy, then moves, swaps and power descent in turn.

With one band per user the bands decouple, so a move costs two bands' work, and a joining user adds one term to each
disturbance there.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.eccnoma.solvers.band_powers import descend_powers
from edge_envs.eccnoma.solvers.radio import (
    COST,
    MOVES,
    OVERFLOW,
    RESIDUAL,
    START_COST,
    SWEEPS,
    Link,
    Radio,
    join,
    joining_cost,
    leave,
    leaving_gain,
    replacing_cost,
)

COARSE_TOLERANCE, COARSE_FALL = 1e-3, 1e-3
"""Where power descent ends between moves; chosen."""
TIGHT_TOLERANCE, TIGHT_ITERATIONS = 1e-7, 1000
"""Where the last power descent ends; chosen."""
LEAST_GAIN = 1e-10
"""Part of the cost that a move must save, beyond rounding."""
SWAPPING_USERS = 64
"""Up to so many senders pairs of them are tried, too; their number grows with the square; chosen."""


@kernel_part
def subchannel_of(band: int, bands: int, subchannels: int) -> int:
    """The subchannel that holds the middle of a band, when the spectrum is cut into `bands` equal ones."""
    return band if bands == subchannels else ((2 * band + 1) * subchannels) // (2 * bands)


@kernel
def sort_falling(order: NDArray[np.int64], first: int, count: int, key: NDArray[np.float64]) -> None:
    """Heap sort of `order[first : first + count]` by falling key; equal keys by rising index."""
    for end in range(count, 1, -1):
        start = (count - 2) // 2 if end == count else 0
        for root in range(start, -1, -1):
            at = root
            while 2 * at + 1 < end:
                child = 2 * at + 1
                if child + 1 < end and comes_later(order, key, first + child + 1, first + child):
                    child += 1
                if not comes_later(order, key, first + child, first + at):
                    break
                order[first + at], order[first + child] = order[first + child], order[first + at]
                at = child
        order[first], order[first + end - 1] = order[first + end - 1], order[first]


@kernel_part
def comes_later(order: NDArray[np.int64], key: NDArray[np.float64], a: int, b: int) -> bool:
    """Whether the entry at place a belongs behind that at place b."""
    i, j = order[a], order[b]
    return key[i] < key[j] or (key[i] == key[j] and i > j)


@kernel
def clear(w: Radio, bands: int, link: Link) -> int:
    """Empty the bands, silence everybody, raise the cap of APs with too many users; returns how many users send."""
    for n in range(len(w.cap)):
        w.cap[n] = 0
        for s in range(bands):
            w.load[n, s] = 0
    for s in range(bands):
        w.crowd[s] = w.stamp[s] = 0
        w.cost[s] = 0.0
    senders = 0
    for u in range(len(w.ap)):
        w.band[u], w.seat[u], w.tried[u] = -1, -1, -1
        w.power_w[u], w.rate_bit_s[u], w.airtime[u] = 0.0, 0.0, 0.0
        if w.active[u]:
            w.order[senders] = u
            senders += 1
            w.cap[w.ap[u]] += 1
    for i in range(len(w.report)):
        w.report[i] = 0.0
    for n in range(len(w.cap)):
        w.cap[n] = max((w.cap[n] + bands - 1) // bands, link.capacity)
    return senders


@kernel
def find_candidates(w: Radio, gain: NDArray[np.float64], row: int, bands: int) -> None:
    """Every active user's bands of best own gain, best first, as many as there is room for."""
    room = w.candidate.shape[1]
    for u in range(len(w.ap)):
        if not w.active[u]:
            continue
        found = 0
        for s in range(bands):
            own = gain[row, subchannel_of(s, bands, gain.shape[1]), u, w.ap[u]]
            if found == room:
                last = w.candidate[u, room - 1]
                if own <= gain[row, subchannel_of(last, bands, gain.shape[1]), u, w.ap[u]]:
                    continue
            at = found if found < room else room - 1
            while at > 0:
                other = w.candidate[u, at - 1]
                if own <= gain[row, subchannel_of(other, bands, gain.shape[1]), u, w.ap[u]]:
                    break
                w.candidate[u, at] = other
                at -= 1
            w.candidate[u, at] = s
            found = min(found + 1, room)


@kernel
def best_join(
    link: Link, w: Radio, gain: NDArray[np.float64], row: int, bands: int, user: int, power_w: float, since: int
) -> tuple[int, float]:
    """The band with room that a user joins at the least cost, and that cost; (-1, inf) if there is none.

    Tries the candidates, of them those changed at `since` or later, and all bands only if none of these has room.
    """
    best, least = -1, math.inf
    own = w.band[user]
    room = False
    for c in range(min(w.candidate.shape[1], bands)):
        s = w.candidate[user, c]
        if s != own and w.load[w.ap[user], s] < w.cap[w.ap[user]]:
            room = True
            if w.stamp[s] >= since:
                cost = joining_cost(link, w, gain, row, s, subchannel_of(s, bands, gain.shape[1]), user, power_w)
                if cost < least or (best < 0 and own < 0):
                    best, least = s, cost
    if not room and own < 0:
        for s in range(bands):
            if w.load[w.ap[user], s] < w.cap[w.ap[user]]:
                cost = joining_cost(link, w, gain, row, s, subchannel_of(s, bands, gain.shape[1]), user, power_w)
                if cost < least or best < 0:
                    best, least = s, cost
    return best, least


@kernel
def total_cost(w: Radio, bands: int) -> float:
    """Cost of all bands."""
    total = 0.0
    for s in range(bands):
        total += w.cost[s]
    return total


@kernel
def place_greedily(link: Link, w: Radio, gain: NDArray[np.float64], row: int, bands: int, senders: int) -> None:
    """Users in falling order of their cost per second, each at full power where the total grows least."""
    sort_falling(w.order, 0, senders, w.delay_cost)
    for i in range(senders):
        user = w.order[i]
        s, _ = best_join(link, w, gain, row, bands, user, link.power_max_w, 0)
        join(link, w, gain, row, s, subchannel_of(s, bands, gain.shape[1]), user, 1.0)
    w.report[START_COST] = total_cost(w, bands)


@kernel
def sweep_moves(
    link: Link, w: Radio, gain: NDArray[np.float64], row: int, bands: int, senders: int, clock: int
) -> tuple[int, int]:
    """Move every sender once to the band where the total is least; returns the moves and the advanced clock.

    A user whose band and candidates have not changed since it last looked cannot gain and is passed over.
    """
    moves = 0
    for i in range(senders):
        user = w.order[i]
        s = w.band[user]
        since = 0 if w.stamp[s] > w.tried[user] else w.tried[user] + 1
        power_w = w.seat_power_w[s, w.seat[user]]
        to, cost = best_join(link, w, gain, row, bands, user, power_w, since)
        w.tried[user] = clock
        if to >= 0:
            saved = leaving_gain(link, w, s, w.seat[user]) - cost
            if saved > LEAST_GAIN * (w.cost[s] + w.cost[to]):
                level = w.level[s, w.seat[user]]
                leave(link, w, user)
                join(link, w, gain, row, to, subchannel_of(to, bands, gain.shape[1]), user, level)
                clock += 1
                w.stamp[s] = w.stamp[to] = clock
                moves += 1
    return moves, clock


@kernel
def sweep_swaps(
    link: Link, w: Radio, gain: NDArray[np.float64], row: int, bands: int, senders: int, clock: int
) -> tuple[int, int]:
    """Exchange the bands of any two senders where that lets the total fall; returns the swaps and the advanced clock.

    Full cells can change in no other way.
    """
    swaps = 0
    for i in range(senders):
        for j in range(i):
            a, b = w.order[i], w.order[j]
            s, t = w.band[a], w.band[b]
            fits = w.ap[a] == w.ap[b] or (w.load[w.ap[a], t] < w.cap[w.ap[a]] and w.load[w.ap[b], s] < w.cap[w.ap[b]])
            if s == t or not fits:
                continue
            m_s, m_t = subchannel_of(s, bands, gain.shape[1]), subchannel_of(t, bands, gain.shape[1])
            power_a, power_b = w.seat_power_w[s, w.seat[a]], w.seat_power_w[t, w.seat[b]]
            change = replacing_cost(link, w, gain, row, s, m_s, w.seat[a], b, power_b)
            if change < w.cost[t]:
                change += replacing_cost(link, w, gain, row, t, m_t, w.seat[b], a, power_a)
                if change < -LEAST_GAIN * (w.cost[s] + w.cost[t]):
                    level_a, level_b = w.level[s, w.seat[a]], w.level[t, w.seat[b]]
                    leave(link, w, a)
                    leave(link, w, b)
                    join(link, w, gain, row, t, m_t, a, level_a)
                    join(link, w, gain, row, s, m_s, b, level_b)
                    clock += 1
                    w.stamp[s] = w.stamp[t] = clock
                    swaps += 1
    return swaps, clock


@kernel
def finish(link: Link, w: Radio, bands: int, iterations: int) -> None:
    """Powers to a tight tolerance, then every sender's power and rate, the cost and the residual."""
    total, worst = 0.0, 0.0
    for s in range(bands):
        residual = descend_powers(link, w, s, iterations, TIGHT_TOLERANCE, 0.0)
        total += w.cost[s]
        worst = max(worst, residual)
        for i in range(w.crowd[s]):
            user = w.user[s, i]
            w.power_w[user] = w.seat_power_w[s, i]
            nats = math.log1p(w.seat_power_w[s, i] * w.gain[s, i, w.ap[user]] / w.disturbance_w[s, i])
            w.rate_bit_s[user] = link.bandwidth_hz * nats / math.log(2.0)
            w.airtime[user] = 1.0
    w.report[COST], w.report[RESIDUAL], w.report[OVERFLOW] = total, worst, 0.0
    for n in range(len(w.cap)):
        for s in range(bands):
            w.report[OVERFLOW] += max(w.load[n, s] - link.capacity, 0)


@kernel
def search(
    link: Link, w: Radio, gain: NDArray[np.float64], row: int, bands: int, sweeps: int, iterations: int, last: int
) -> None:
    """The local search: bands and powers of all active users, and the report, into the radio's memory.

    Args:
        link: what all bands have in common.
        w: costs, activity and APs in; bands, powers, rates and report out.
        gain: power gains (B, M, U, N), of which `row` is used.
        row: the world.
        bands: into how many bands the spectrum is cut.
        sweeps: the most sweeps of moves, or of swaps where nobody moves; it ends earlier where nobody does either.
        iterations: power descent steps per band and sweep.
        last: power descent steps at the end; with none of both, powers stay at their most.
    """
    senders = clear(w, bands, link)
    find_candidates(w, gain, row, bands)
    place_greedily(link, w, gain, row, bands, senders)
    clock = 0
    for sweep in range(sweeps if senders > 0 else 0):
        w.report[SWEEPS] += 1
        clock += 1
        for s in range(bands):
            if w.stamp[s] >= clock - 1 or sweep == 0:
                before = w.cost[s]
                descend_powers(link, w, s, iterations, COARSE_TOLERANCE, COARSE_FALL)
                if w.cost[s] < before * (1.0 - COARSE_FALL):
                    w.stamp[s] = clock
        moves, clock = sweep_moves(link, w, gain, row, bands, senders, clock)
        if moves == 0 and senders <= SWAPPING_USERS:
            moves, clock = sweep_swaps(link, w, gain, row, bands, senders, clock)
        w.report[MOVES] += moves
        if moves == 0:
            before = total_cost(w, bands)
            finish(link, w, bands, last)
            if w.report[COST] >= before * (1.0 - COARSE_FALL):
                break
            # other powers may open other moves
            for s in range(bands):
                w.stamp[s] = clock + 1
    finish(link, w, bands, last)
