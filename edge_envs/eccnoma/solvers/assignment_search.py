"""Local search for the assignment of users to bands: greedy placement, then power descent, moves and swaps in turn.

Each user is on one band, so bands are independent: a move needs the costs of two bands only, and a user that joins a
band adds one term to each disturbance there.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.eccnoma.solvers.band_powers import descend_powers
from edge_envs.eccnoma.solvers.radio import (
    RADIO_REPORT,
    Link,
    Radio,
    join,
    joining_cost,
    leave,
    leaving_gain,
    replacing_cost,
)

COARSE_TOLERANCE, COARSE_FALL = 1e-3, 1e-3
"""Tolerance and least decrease of the power descent between moves; chosen."""
TIGHT_TOLERANCE, TIGHT_ITERATIONS = 1e-7, 1000
"""Tolerance and steps of the last power descent; chosen."""
SAVING_MIN = 1e-10
"""Part of the cost that a move must save, above rounding errors."""
SWAPPING_USERS_MAX = 64
"""Largest number of senders for which swaps are tried, as the number of pairs is quadratic; chosen."""


@kernel_part
def subchannel_of(band: int, bands: int, subchannels: int) -> int:
    """The subchannel at the middle of a band, if the spectrum is divided into `bands` equal bands."""
    return band if bands == subchannels else ((2 * band + 1) * subchannels) // (2 * bands)


@kernel
def sort_falling(order: NDArray[np.int64], first: int, count: int, key: NDArray[np.float64]) -> None:
    """Heap sort of `order[first : first + count]` by falling key; equal keys by rising user."""
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
    """Return True if the entry at position a comes after that at position b."""
    i, j = order[a], order[b]
    return key[i] < key[j] or (key[i] == key[j] and i > j)


@kernel
def clear(w: Radio, bands: int, link: Link) -> int:
    """Empty all bands and raise the limit of APs with more users than places; returns the number of senders."""
    for n in range(len(w.cap)):
        w.cap[n] = 0
        for s in range(bands):
            w.load[n, s] = 0
    for s in range(bands):
        w.band_users[s] = w.stamp[s] = 0
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
    """Find the bands with the best own gains of every active user, best first, into `candidate`."""
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
    """The band with room that a user joins at the smallest cost, and that cost; (-1, inf) if there is none.

    Tries the candidates that changed at `since` or later. If no candidate has room, tries all bands.
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
    """Sum of the costs of all bands."""
    total = 0.0
    for s in range(bands):
        total += w.cost[s]
    return total


@kernel
def place_greedily(link: Link, w: Radio, gain: NDArray[np.float64], row: int, bands: int, senders: int) -> None:
    """Place users in falling order of their cost per second, at full power, where the total cost increases least."""
    sort_falling(w.order, 0, senders, w.delay_cost)
    for i in range(senders):
        user = w.order[i]
        s, _ = best_join(link, w, gain, row, bands, user, link.power_max_w, 0)
        join(link, w, gain, row, s, subchannel_of(s, bands, gain.shape[1]), user, 1.0)
    w.report[RADIO_REPORT.start_cost] = total_cost(w, bands)


@kernel
def sweep_moves(
    link: Link, w: Radio, gain: NDArray[np.float64], row: int, bands: int, senders: int, clock: int
) -> tuple[int, int]:
    """Move every sender to the band with the smallest total cost; returns the number of moves and the new clock.

    A user is skipped if neither its band nor its candidates changed since it was last tried.
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
            if saved > SAVING_MIN * (w.cost[s] + w.cost[to]):
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
    """Swap the bands of two senders where that saves cost; returns the number of swaps and the new clock.

    If all bands of an AP are full, its users can change bands only by swaps.
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
                if change < -SAVING_MIN * (w.cost[s] + w.cost[t]):
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
    """Descend to a tight tolerance, then report powers, rates, the cost, the residual and the overflow."""
    total, worst = 0.0, 0.0
    for s in range(bands):
        residual = descend_powers(link, w, s, iterations, TIGHT_TOLERANCE, 0.0)
        total += w.cost[s]
        worst = max(worst, residual)
        for i in range(w.band_users[s]):
            user = w.user[s, i]
            w.power_w[user] = w.seat_power_w[s, i]
            spectral_efficiency = math.log1p(w.seat_power_w[s, i] * w.gain[s, i, w.ap[user]] / w.disturbance_w[s, i])
            w.rate_bit_s[user] = link.bandwidth_hz * spectral_efficiency / math.log(2.0)
            w.airtime[user] = 1.0
    w.report[RADIO_REPORT.cost], w.report[RADIO_REPORT.residual], w.report[RADIO_REPORT.overflow] = total, worst, 0.0
    for n in range(len(w.cap)):
        for s in range(bands):
            w.report[RADIO_REPORT.overflow] += max(w.load[n, s] - link.capacity, 0)


@kernel
def search(
    link: Link, w: Radio, gain: NDArray[np.float64], row: int, bands: int, sweeps: int, iterations: int, last: int
) -> None:
    """Local search for the bands and powers of all active users.

    Args:
        link: constants of the direction.
        w: reads costs, activity and APs; writes bands, powers, rates and the report.
        gain: power gains (B, M, U, N).
        row: the world, an index into `gain`.
        bands: number of bands.
        sweeps: largest number of sweeps; a sweep tries moves, and swaps if there was no move. The search stops when
            neither saves cost.
        iterations: power descent steps per band and sweep.
        last: power descent steps at the end. If `iterations` and `last` are 0, powers stay at the largest allowed.
    """
    senders = clear(w, bands, link)
    find_candidates(w, gain, row, bands)
    place_greedily(link, w, gain, row, bands, senders)
    clock = 0
    for sweep in range(sweeps if senders > 0 else 0):
        w.report[RADIO_REPORT.sweeps] += 1
        clock += 1
        for s in range(bands):
            if w.stamp[s] >= clock - 1 or sweep == 0:
                before = w.cost[s]
                descend_powers(link, w, s, iterations, COARSE_TOLERANCE, COARSE_FALL)
                if w.cost[s] < before * (1.0 - COARSE_FALL):
                    w.stamp[s] = clock
        moves, clock = sweep_moves(link, w, gain, row, bands, senders, clock)
        if moves == 0 and senders <= SWAPPING_USERS_MAX:
            moves, clock = sweep_swaps(link, w, gain, row, bands, senders, clock)
        w.report[RADIO_REPORT.moves] += moves
        if moves == 0:
            before = total_cost(w, bands)
            finish(link, w, bands, last)
            if w.report[RADIO_REPORT.cost] >= before * (1.0 - COARSE_FALL):
                break
            # Other powers can make other moves worthwhile.
            for s in range(bands):
                w.stamp[s] = clock + 1
    finish(link, w, bands, last)
