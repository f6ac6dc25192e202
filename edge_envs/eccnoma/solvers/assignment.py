"""Assignment of users to bands: by local search, at random, by rounding shares (Li-GD), by turns (TDMA), or as given.

The search places users greedily; then it descends over the powers, moves users and swaps them in turn. Each user is
on one band, so bands are independent: a move needs the costs of two bands only, and a user that joins a band adds one
term to each disturbance there.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.core.kernels.order import sort_falling
from edge_envs.eccnoma.solvers.band_powers import descend_powers, finish
from edge_envs.eccnoma.solvers.radio import (
    DIRECTION,
    RADIO_REPORT,
    Link,
    Radio,
    clear,
    join,
    joining_cost,
    leave,
    leaving_gain,
    level_at,
    replacing_cost,
    subchannel_of,
    total_cost,
)

COARSE_TOLERANCE, COARSE_FALL = 1e-3, 1e-3
"""Tolerance and least decrease of the power descent between moves; chosen."""
SAVING_MIN = 1e-10
"""Part of the cost that a move must save, above rounding errors."""
SWAPPING_USERS_MAX = 64
"""Largest number of senders for which swaps are tried, as the number of pairs is quadratic; chosen."""


@kernel
def find_candidates(r: Radio, gain: NDArray[np.float64], row: int, bands: int) -> None:
    """Find the bands with the best own gains of every active user, best first, into `candidate`."""
    room = r.candidate.shape[1]
    for u in range(len(r.ap)):
        if not r.active[u]:
            continue
        found = 0
        for s in range(bands):
            own = gain[row, subchannel_of(s, bands, gain.shape[1]), u, r.ap[u]]
            if found == room:
                last = r.candidate[u, room - 1]
                if own <= gain[row, subchannel_of(last, bands, gain.shape[1]), u, r.ap[u]]:
                    continue
            at = found if found < room else room - 1
            while at > 0:
                other = r.candidate[u, at - 1]
                if own <= gain[row, subchannel_of(other, bands, gain.shape[1]), u, r.ap[u]]:
                    break
                r.candidate[u, at] = other
                at -= 1
            r.candidate[u, at] = s
            found = min(found + 1, room)


@kernel
def best_join(
    link: Link, r: Radio, gain: NDArray[np.float64], row: int, bands: int, user: int, power_w: float, since: int
) -> tuple[int, float]:
    """The band with room that a user joins at the smallest cost, and that cost; (-1, inf) if there is none.

    Tries the candidates that changed at `since` or later. If no candidate has room, tries all bands.
    """
    best, least = -1, math.inf
    own = r.band[user]
    room, candidates = False, min(r.candidate.shape[1], bands)
    for c in range(candidates + bands):
        if c == candidates and (room or own >= 0):
            break
        s = r.candidate[user, c] if c < candidates else c - candidates
        if s != own and r.load[r.ap[user], s] < r.cap[r.ap[user]]:
            room = True
            if c >= candidates or r.stamp[s] >= since:
                cost = joining_cost(link, r, gain, row, s, subchannel_of(s, bands, gain.shape[1]), user, power_w)
                if cost < least or (best < 0 and own < 0):
                    best, least = s, cost
    return best, least


@kernel
def place_greedily(link: Link, r: Radio, gain: NDArray[np.float64], row: int, bands: int, senders: int) -> None:
    """Place users in falling order of their cost per second, at full power, where the total cost increases least."""
    sort_falling(r.order, 0, senders, r.delay_cost)
    for i in range(senders):
        user = r.order[i]
        s, _ = best_join(link, r, gain, row, bands, user, link.power_max_w, 0)
        join(link, r, gain, row, s, subchannel_of(s, bands, gain.shape[1]), user, 1.0)
    r.report[RADIO_REPORT.start_cost] = total_cost(r, bands)


@kernel
def sweep_moves(
    link: Link, r: Radio, gain: NDArray[np.float64], row: int, bands: int, senders: int, clock: int
) -> tuple[int, int]:
    """Move every sender to the band with the smallest total cost; returns the number of moves and the new clock.

    A user is skipped if neither its band nor its candidates changed since it was last tried.
    """
    moves = 0
    for i in range(senders):
        user = r.order[i]
        s = r.band[user]
        since = 0 if r.stamp[s] > r.tried[user] else r.tried[user] + 1
        power_w = r.seat_power_w[s, r.seat[user]]
        to, cost = best_join(link, r, gain, row, bands, user, power_w, since)
        r.tried[user] = clock
        if to >= 0:
            saved = leaving_gain(link, r, s, r.seat[user]) - cost
            if saved > SAVING_MIN * (r.cost[s] + r.cost[to]):
                level = r.level[s, r.seat[user]]
                leave(link, r, user)
                join(link, r, gain, row, to, subchannel_of(to, bands, gain.shape[1]), user, level)
                clock += 1
                r.stamp[s] = r.stamp[to] = clock
                moves += 1
    return moves, clock


@kernel
def sweep_swaps(
    link: Link, r: Radio, gain: NDArray[np.float64], row: int, bands: int, senders: int, clock: int
) -> tuple[int, int]:
    """Swap the bands of two senders where that saves cost; returns the number of swaps and the new clock.

    If all bands of an AP are full, its users can change bands only by swaps.
    """
    swaps = 0
    for i in range(senders):
        for j in range(i):
            a, b = r.order[i], r.order[j]
            s, t = r.band[a], r.band[b]
            fits = r.ap[a] == r.ap[b] or (r.load[r.ap[a], t] < r.cap[r.ap[a]] and r.load[r.ap[b], s] < r.cap[r.ap[b]])
            if s == t or not fits:
                continue
            m_s, m_t = subchannel_of(s, bands, gain.shape[1]), subchannel_of(t, bands, gain.shape[1])
            power_a, power_b = r.seat_power_w[s, r.seat[a]], r.seat_power_w[t, r.seat[b]]
            change = replacing_cost(link, r, gain, row, s, m_s, r.seat[a], b, power_b)
            if change < r.cost[t]:
                change += replacing_cost(link, r, gain, row, t, m_t, r.seat[b], a, power_a)
                if change < -SAVING_MIN * (r.cost[s] + r.cost[t]):
                    level_a, level_b = r.level[s, r.seat[a]], r.level[t, r.seat[b]]
                    leave(link, r, a)
                    leave(link, r, b)
                    join(link, r, gain, row, t, m_t, a, level_a)
                    join(link, r, gain, row, s, m_s, b, level_b)
                    clock += 1
                    r.stamp[s] = r.stamp[t] = clock
                    swaps += 1
    return swaps, clock


@kernel
def search(
    link: Link, r: Radio, gain: NDArray[np.float64], row: int, bands: int, sweeps: int, iterations: int, last: int
) -> None:
    """Local search for the bands and powers of all active users.

    Args:
        link: constants of the direction.
        r: reads costs, activity and APs; writes bands, powers, rates and the report.
        gain: power gains (B, M, U, N).
        row: the world, an index into `gain`.
        bands: number of bands.
        sweeps: largest number of sweeps; a sweep tries moves, and swaps if there was no move. The search stops when
            neither saves cost.
        iterations: power descent steps per band and sweep.
        last: power descent steps at the end. If `iterations` and `last` are 0, powers stay at the largest allowed.
    """
    senders = clear(r, bands, link)
    find_candidates(r, gain, row, bands)
    place_greedily(link, r, gain, row, bands, senders)
    clock = 0
    for sweep in range(sweeps if senders > 0 else 0):
        r.report[RADIO_REPORT.sweeps] += 1
        clock += 1
        for s in range(bands):
            if r.stamp[s] >= clock - 1 or sweep == 0:
                before = r.cost[s]
                descend_powers(link, r, s, iterations, COARSE_TOLERANCE, COARSE_FALL)
                if r.cost[s] < before * (1.0 - COARSE_FALL):
                    r.stamp[s] = clock
        moves, clock = sweep_moves(link, r, gain, row, bands, senders, clock)
        if moves == 0 and senders <= SWAPPING_USERS_MAX:
            moves, clock = sweep_swaps(link, r, gain, row, bands, senders, clock)
        r.report[RADIO_REPORT.moves] += moves
        if moves == 0:
            before = total_cost(r, bands)
            finish(link, r, bands, last)
            if r.report[RADIO_REPORT.cost] >= before * (1.0 - COARSE_FALL):
                break
            # Other powers can make other moves worthwhile.
            for s in range(bands):
                r.stamp[s] = clock + 1
    finish(link, r, bands, last)


@kernel
def place_at_random(
    link: Link, r: Radio, gain: NDArray[np.float64], row: int, bands: int, key: NDArray[np.float64], last: int
) -> None:
    """Assign users to random bands: each AP's users in the order of their keys, from a random first band on.

    `key` (B, U + N) holds uniform numbers in [0, 1), one per user and then one per AP. Powers are the largest allowed,
    or descend from there for up to `last` steps.
    """
    senders = clear(r, bands, link)
    for u in range(len(r.ap)):
        r.key[u] = key[row, u]
    sort_falling(r.order, 0, senders, r.key)
    for n in range(len(r.cap)):
        s = int(key[row, len(r.ap) + n] * bands)
        for i in range(senders):
            user = r.order[i]
            if r.ap[user] == n:
                join(link, r, gain, row, s, subchannel_of(s, bands, gain.shape[1]), user, 1.0)
                s = (s + 1) % bands
    r.report[RADIO_REPORT.start_cost] = total_cost(r, bands)
    finish(link, r, bands, last)


@kernel
def place_by_relaxation(
    link: Link, r: Radio, gain: NDArray[np.float64], row: int, beta: NDArray[np.float64], level: NDArray[np.float64],
    last: int,
) -> None:  # fmt: skip
    """Round shares beta (M, U): users in falling order of their largest share, each to its largest with room."""
    bands = gain.shape[1]
    senders = clear(r, bands, link)
    for i in range(senders):
        user = r.order[i]
        r.key[user] = 0.0
        for s in range(bands):
            r.key[user] = max(r.key[user], beta[s, user])
    sort_falling(r.order, 0, senders, r.key)
    for i in range(senders):
        user = r.order[i]
        best = -1
        for s in range(bands):
            free = r.load[r.ap[user], s] < r.cap[r.ap[user]]
            if free and (best < 0 or beta[s, user] > beta[best, user]):
                best = s
        join(link, r, gain, row, best, best, user, level[user])
    r.report[RADIO_REPORT.start_cost] = total_cost(r, bands)
    finish(link, r, bands, last)


@kernel
def share_time(link: Link, r: Radio, gain: NDArray[np.float64], row: int) -> None:
    """TDMA: the users of an AP take turns on its subchannels at full power, with loads that differ by at most one.

    Users in falling order of their best gain take their best subchannel with room. While a user sends, one user of
    every other AP sends on the same subchannel, so the interference is the mean over these users.
    """
    bands = gain.shape[1]
    senders = clear(r, bands, link)
    for n in range(len(r.cap)):
        r.cap[n] = 0
    for i in range(senders):
        user = r.order[i]
        r.cap[r.ap[user]] += 1
        r.key[user] = 0.0
        for s in range(bands):
            r.key[user] = max(r.key[user], gain[row, s, user, r.ap[user]])
    for n in range(len(r.cap)):
        r.cap[n] = (r.cap[n] + bands - 1) // bands
    sort_falling(r.order, 0, senders, r.key)
    for i in range(senders):
        user = r.order[i]
        n, best = r.ap[user], -1
        for s in range(bands):
            free = r.load[n, s] < r.cap[n]
            if free and (best < 0 or gain[row, s, user, n] > gain[row, best, user, n]):
                best = s
        r.band[user] = best
        r.load[n, best] += 1
    for i in range(senders):
        rate_in_turn(link, r, gain, row, r.order[i], senders)


@kernel_part
def rate_in_turn(link: Link, r: Radio, gain: NDArray[np.float64], row: int, user: int, senders: int) -> None:
    """Set the power and the mean rate of a TDMA user, and add its cost to the report."""
    s, n = r.band[user], r.ap[user]
    other_w = link.noise_w
    for j in range(senders):
        t = r.order[j]
        if r.band[t] == s and r.ap[t] != n:
            cross_gain = gain[row, s, t, n] if link.direction == DIRECTION.UPLINK else gain[row, s, user, r.ap[t]]
            other_w += link.power_max_w * cross_gain / r.load[r.ap[t], s]
    r.airtime[user] = 1.0 / r.load[n, s]
    r.power_w[user] = link.power_max_w
    spectral_efficiency = math.log1p(link.power_max_w * gain[row, s, user, n] / other_w)
    r.rate_bit_s[user] = link.bandwidth_hz * spectral_efficiency / math.log(2.0) * r.airtime[user]
    per_bit = r.delay_cost[user] + r.energy_cost[user] * r.airtime[user] * r.power_w[user]
    r.report[RADIO_REPORT.cost] += per_bit / r.rate_bit_s[user]


@kernel
def tune(link: Link, r: Radio, gain: NDArray[np.float64], row: int, iterations: int) -> None:
    """Optimise powers only: active users stay on the bands in `band`, and start at the powers in `power_w`."""
    for n in range(len(r.cap)):
        for s in range(gain.shape[1]):
            r.load[n, s] = 0
    for s in range(gain.shape[1]):
        r.band_users[s] = 0
        r.cost[s] = 0.0
    for u in range(len(r.ap)):
        r.rate_bit_s[u] = r.airtime[u] = 0.0
        if r.active[u]:
            join(link, r, gain, row, r.band[u], r.band[u], u, level_at(link, r.power_w[u]))
    r.report[RADIO_REPORT.start_cost] = total_cost(r, gain.shape[1])
    finish(link, r, gain.shape[1], iterations)
