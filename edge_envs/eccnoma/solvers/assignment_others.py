"""Assignments other than by search: at random, by rounding shares (Li-GD), by turns (TDMA), or as given."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.eccnoma.solvers.assignment_search import clear, finish, sort_falling, subchannel_of, total_cost
from edge_envs.eccnoma.solvers.radio import DIRECTION, RADIO_REPORT, Link, Radio, join, level_at


@kernel
def place_at_random(
    link: Link, w: Radio, gain: NDArray[np.float64], row: int, bands: int, key: NDArray[np.float64], last: int
) -> None:
    """Assign users to random bands: each AP's users in the order of their keys, from a random first band on.

    `key` (B, U + N) holds uniform numbers in [0, 1), one per user and then one per AP. Powers are the largest allowed,
    or descend from there for up to `last` steps.
    """
    senders = clear(w, bands, link)
    for u in range(len(w.ap)):
        w.key[u] = key[row, u]
    sort_falling(w.order, 0, senders, w.key)
    for n in range(len(w.cap)):
        s = int(key[row, len(w.ap) + n] * bands)
        for i in range(senders):
            user = w.order[i]
            if w.ap[user] == n:
                join(link, w, gain, row, s, subchannel_of(s, bands, gain.shape[1]), user, 1.0)
                s = (s + 1) % bands
    w.report[RADIO_REPORT.start_cost] = total_cost(w, bands)
    finish(link, w, bands, last)


@kernel
def place_by_relaxation(
    link: Link, w: Radio, gain: NDArray[np.float64], row: int, beta: NDArray[np.float64], level: NDArray[np.float64],
    last: int,
) -> None:  # fmt: skip
    """Round shares beta (M, U): users in falling order of their largest share, each to its largest with room."""
    bands = gain.shape[1]
    senders = clear(w, bands, link)
    for i in range(senders):
        user = w.order[i]
        w.key[user] = 0.0
        for s in range(bands):
            w.key[user] = max(w.key[user], beta[s, user])
    sort_falling(w.order, 0, senders, w.key)
    for i in range(senders):
        user = w.order[i]
        best = -1
        for s in range(bands):
            free = w.load[w.ap[user], s] < w.cap[w.ap[user]]
            if free and (best < 0 or beta[s, user] > beta[best, user]):
                best = s
        join(link, w, gain, row, best, best, user, level[user])
    w.report[RADIO_REPORT.start_cost] = total_cost(w, bands)
    finish(link, w, bands, last)


@kernel
def share_time(link: Link, w: Radio, gain: NDArray[np.float64], row: int) -> None:
    """TDMA: the users of an AP take turns on its subchannels at full power, with loads that differ by at most one.

    Users in falling order of their best gain take their best subchannel with room. While a user sends, one user of
    every other AP sends on the same subchannel, so the interference is the mean over these users.
    """
    bands = gain.shape[1]
    senders = clear(w, bands, link)
    for n in range(len(w.cap)):
        w.cap[n] = 0
    for i in range(senders):
        user = w.order[i]
        w.cap[w.ap[user]] += 1
        w.key[user] = 0.0
        for s in range(bands):
            w.key[user] = max(w.key[user], gain[row, s, user, w.ap[user]])
    for n in range(len(w.cap)):
        w.cap[n] = (w.cap[n] + bands - 1) // bands
    sort_falling(w.order, 0, senders, w.key)
    for i in range(senders):
        user = w.order[i]
        n, best = w.ap[user], -1
        for s in range(bands):
            free = w.load[n, s] < w.cap[n]
            if free and (best < 0 or gain[row, s, user, n] > gain[row, best, user, n]):
                best = s
        w.band[user] = best
        w.load[n, best] += 1
    for i in range(senders):
        rate_in_turn(link, w, gain, row, w.order[i], senders)


@kernel_part
def rate_in_turn(link: Link, w: Radio, gain: NDArray[np.float64], row: int, user: int, senders: int) -> None:
    """Set the power and the mean rate of a TDMA user, and add its cost to the report."""
    s, n = w.band[user], w.ap[user]
    other_w = link.noise_w
    for j in range(senders):
        t = w.order[j]
        if w.band[t] == s and w.ap[t] != n:
            cross_gain = gain[row, s, t, n] if link.direction == DIRECTION.UPLINK else gain[row, s, user, w.ap[t]]
            other_w += link.power_max_w * cross_gain / w.load[w.ap[t], s]
    w.airtime[user] = 1.0 / w.load[n, s]
    w.power_w[user] = link.power_max_w
    spectral_efficiency = math.log1p(link.power_max_w * gain[row, s, user, n] / other_w)
    w.rate_bit_s[user] = link.bandwidth_hz * spectral_efficiency / math.log(2.0) * w.airtime[user]
    per_bit = w.delay_cost[user] + w.energy_cost[user] * w.airtime[user] * w.power_w[user]
    w.report[RADIO_REPORT.cost] += per_bit / w.rate_bit_s[user]


@kernel
def tune(link: Link, w: Radio, gain: NDArray[np.float64], row: int, iterations: int) -> None:
    """Optimise powers only: active users stay on the bands in `band`, and start at the powers in `power_w`."""
    for n in range(len(w.cap)):
        for s in range(gain.shape[1]):
            w.load[n, s] = 0
    for s in range(gain.shape[1]):
        w.band_users[s] = 0
        w.cost[s] = 0.0
    for u in range(len(w.ap)):
        w.rate_bit_s[u] = w.airtime[u] = 0.0
        if w.active[u]:
            join(link, w, gain, row, w.band[u], w.band[u], u, level_at(link, w.power_w[u]))
    w.report[RADIO_REPORT.start_cost] = total_cost(w, gain.shape[1])
    finish(link, w, gain.shape[1], iterations)
