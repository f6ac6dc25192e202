"""Searches for the cuts of one step: best responses, coordinate descent and common cuts by Li-GD.

They minimise the cost of serving all waiting tasks with the allocation of the environment (`allocation.solve`), in
world 0 of a sketch.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import FastCall, kernel, kernel_part
from edge_envs.eccnoma.model import allocation
from edge_envs.eccnoma.model.parameters import ACCESS, UNITS, Parameters
from edge_envs.eccnoma.model.state import REPORT, State
from edge_envs.eccnoma.solvers import relaxation
from edge_envs.eccnoma.solvers.radio import DIRECTION, Link, Radio, coupling_of, subchannel_of, take_seat
from edge_envs.eccnoma.solvers.relaxation import Relaxation, allocate_relaxation
from edge_envs.eccnoma.solvers.server_units import best_speed, compensation, units_for

ITERATIONS = 4
"""Largest number of iterated best responses; chosen."""
TURNS = 2
"""Turns of every user in the sequential best response; chosen."""
PASSES = 3
"""Largest number of passes of the coordinate descent over the users; chosen."""


@kernel_part
def joining_efficiency(
    p: Parameters, link: Link, r: Radio, gain: NDArray[np.float64], bands: int, user: int, power_w: float
) -> tuple[float, float]:
    """Best spectral efficiency [nat/s/Hz] and airtime of a silent user that joins a band of world 0 with a free
    place."""
    best, airtime, n = 0.0, 1.0, r.ap[user]
    for band in range(bands):
        m = subchannel_of(band, bands, gain.shape[1])
        other_w, share = link.noise_w, 1.0
        if p.access == ACCESS.TDMA:
            share = 1.0 / (r.load[n, band] + 1.0)
            for t in range(p.num_users):
                if r.active[t] and r.band[t] == band and r.ap[t] != n:
                    cross_gain = gain[0, m, t, n] if link.direction == DIRECTION.UPLINK else gain[0, m, user, r.ap[t]]
                    other_w += power_w * cross_gain / r.load[r.ap[t], band]
        elif r.load[n, band] >= r.cap[n]:
            continue
        else:
            k = take_seat(r, gain, 0, band, m, user)
            for v in range(k):
                other_w += coupling_of(link, r, band, k, v) * r.seat_power_w[band, v]
        efficiency = share * math.log1p(power_w * gain[0, m, user, n] / other_w)
        if efficiency > best:
            best, airtime = efficiency, share
    return best, airtime


@kernel_part
def expected_server_speed(p: Parameters, s: State, u: int, flop: float) -> float:
    """Speed at which the server would compute the user's work if the others keep their work."""
    w = s.workspace
    if not p.pool or p.units != UNITS.OPTIMAL:
        return compensation(allocation.separate_units(p, s, 0, u), p.core_overhead) * p.unit_speed_flop_s
    mine = math.sqrt(flop * w.server_weight[u])
    total = mine
    for v in range(p.num_users):
        if v != u and s.ap[0, v] == s.ap[0, u] and w.work_flop[v] > 0.0:
            total += math.sqrt(w.work_flop[v] * w.server_weight[v])
    best = best_speed(w.server_weight[u], w.server_coefficient[u], 0.0, math.inf)
    most = min(units_for(best / p.unit_speed_flop_s, p.core_overhead), p.units_max)
    units = allocation.free_units(p, s, 0, s.ap[0, u]) * mine / total
    return compensation(min(units, most), p.core_overhead) * p.unit_speed_flop_s


@kernel
def best_cut(p: Parameters, s: State, u: int) -> int:
    """A user's best cut if the others keep their bands, powers and work of world 0's allocation.

    A user that sends keeps its rates; a silent user would join the band with its best rate, at full power.
    """
    w = s.workspace
    network, queue = s.network[0, u], s.queue[0, u]
    best, least = p.last_choice[network], math.inf
    if queue <= 0.0:
        return best
    if w.up.active[u]:
        rate_up, rate_down = w.up.rate_bit_s[u], w.down.rate_bit_s[u]
        power_up, power_down = w.up.power_w[u] * w.up.airtime[u], w.down.power_w[u] * w.down.airtime[u]
    else:
        bands = allocation.bands_of(p, s, 0)
        up, down = allocation.uplink(p, bands), allocation.downlink(p, bands)
        efficiency_up, airtime_up = joining_efficiency(p, up, w.up, s.gain_up, bands, u, up.power_max_w)
        efficiency_down, airtime_down = joining_efficiency(p, down, w.down, s.gain_down, bands, u, down.power_max_w)
        rate_up = up.bandwidth_hz * efficiency_up / math.log(2.0)
        rate_down = down.bandwidth_hz * efficiency_down / math.log(2.0)
        power_up, power_down = up.power_max_w * airtime_up, down.power_max_w * airtime_down
    for c in range(p.choices[network]):
        delay = p.device_flop[network, c] / s.speed_flop_s[0, u]
        energy = p.device_flop[network, c] * p.device_j_per_flop
        if p.bits_up[network, c] > 0.0:
            up_s, down_s = p.bits_up[network, c] / rate_up, p.result_bits / rate_down
            delay += up_s + down_s
            energy += power_up * up_s + power_down * down_s
        flop = p.server_flop[network, c]
        if flop > 0.0:
            speed = expected_server_speed(p, s, u, flop)
            delay += flop / speed
            energy += flop * p.server_energy_coefficient * speed * speed
        cost = w.server_weight[u] * delay + p.weight_energy * queue * energy
        if cost < least:
            best, least = c, cost
    return best


@kernel
def best_cuts(p: Parameters, s: State, cuts: NDArray[np.int64]) -> None:
    """Write every user's `best_cut` for the same allocation into `cuts` (U,)."""
    for u in range(p.num_users):
        cuts[u] = best_cut(p, s, u)


@kernel
def respond_in_turn(p: Parameters, s: State, cuts: NDArray[np.int64], passes: int) -> None:
    """Users change to their `best_cut` one after the other, with a new allocation after each change.

    Starts from world 0's cuts and writes the best cuts found into `cuts` (U,).
    """
    least = allocation.solve(p, s, 0)
    for u in range(p.num_users):
        cuts[u] = s.choice[0, u]
    for _ in range(passes):
        changed = False
        for u in range(p.num_users):
            choice = best_cut(p, s, u)
            if choice != s.choice[0, u]:
                changed = True
                s.choice[0, u] = choice
                cost = allocation.solve(p, s, 0)
                if cost < least:
                    least = cost
                    for v in range(p.num_users):
                        cuts[v] = s.choice[0, v]
        if not changed:
            break


@kernel
def descend(p: Parameters, s: State, passes: int) -> float:
    """Coordinate descent over the users with tasks of world 0, each trying all its cuts; returns the cost."""
    least = allocation.solve(p, s, 0)
    for _ in range(passes):
        before = least
        for u in range(p.num_users):
            if s.queue[0, u] > 0.0:
                best = s.choice[0, u]
                for c in range(p.choices[s.network[0, u]]):
                    if c != best:
                        s.choice[0, u] = c
                        cost = allocation.solve(p, s, 0)
                        if cost < least:
                            least, best = cost, c
                s.choice[0, u] = best
        if least >= before:
            break
    return least


@kernel
def relaxed_value(p: Parameters, s: State, up: Relaxation, down: Relaxation, cold: bool) -> float:
    """Cost of world 0's cuts with relaxed shares of the subchannels, one iteration of Algorithm 1."""
    w = s.workspace
    allocation.set_problem(p, s, 0)
    allocation.solve_server(p, s, 0)
    total = w.report[REPORT.device_cost] + w.report[REPORT.server_cost]
    bands = p.num_subchannels
    relaxation.order_users(w.up, up, s.gain_up, 0)
    relaxation.order_users(w.down, down, s.gain_down, 0)
    if cold:
        relaxation.start_cold(w.up, up)
        relaxation.start_cold(w.down, down)
    else:
        start_new_users(w.up, up)
        start_new_users(w.down, down)
    relaxation.relax(
        allocation.uplink(p, bands), w.up, up, s.gain_up, 0, p.relaxation_tolerance, p.relaxation_iterations
    )
    relaxation.relax(
        allocation.downlink(p, bands), w.down, down, s.gain_down, 0, p.relaxation_tolerance, p.relaxation_iterations
    )
    return total + up.report[relaxation.RELAXED_REPORT.cost] + down.report[relaxation.RELAXED_REPORT.cost]


@kernel_part
def start_new_users(r: Radio, x: Relaxation) -> None:
    """Set equal shares at full power for users that were silent at the previous cut."""
    for u in range(len(r.ap)):
        total = 0.0
        for m in range(x.beta.shape[0]):
            total += x.beta[m, u]
        if r.active[u] and total <= 0.0:
            x.level[u] = 1.0
            for m in range(x.beta.shape[0]):
                x.beta[m, u] = 1.0 / x.beta.shape[0]


FAST_VALUE, FAST_BEST_CUTS, FAST_DESCEND = FastCall(allocation.solve), FastCall(best_cuts), FastCall(descend)
FAST_TURNS, FAST_RELAXED = FastCall(respond_in_turn), FastCall(relaxed_value)


def all_edge(p: Parameters, s: State) -> NDArray[np.int64]:
    """Cut 0, the raw input, for all users (U,)."""
    edge: NDArray[np.int64] = p.first_choice[s.network[0]]
    return edge


def best_response(p: Parameters, s: State) -> NDArray[np.int64]:
    """Every user's best cut (U,) for the allocation with all layers of all users at the server."""
    s.choice[0] = all_edge(p, s)
    FAST_VALUE(p, s, 0)
    cuts = np.zeros(p.num_users, dtype=np.int64)
    FAST_BEST_CUTS(p, s, cuts)
    return cuts


def iterated_best_response(p: Parameters, s: State) -> NDArray[np.int64]:
    """Repeat allocation and best responses of all users, from cut 0; return the best cuts (U,) found."""
    best = all_edge(p, s)
    s.choice[0] = best
    least = FAST_VALUE(p, s, 0)
    cuts = np.zeros(p.num_users, dtype=np.int64)
    for _ in range(ITERATIONS):
        FAST_BEST_CUTS(p, s, cuts)
        if np.array_equal(cuts, s.choice[0]):
            break
        s.choice[0] = cuts
        cost = FAST_VALUE(p, s, 0)
        if cost < least:
            best, least = cuts.copy(), cost
    return best


def sequential_best_response(p: Parameters, s: State) -> NDArray[np.int64]:
    """Best responses of one user after the other (`respond_in_turn`) from the iterated best response; the cuts (U,)."""
    s.choice[0] = iterated_best_response(p, s)
    cuts = np.zeros(p.num_users, dtype=np.int64)
    FAST_TURNS(p, s, cuts, TURNS)
    return cuts


def coordinate_descent(p: Parameters, s: State) -> NDArray[np.int64]:
    """`descend` from the iterated best response; the cuts (U,)."""
    s.choice[0] = iterated_best_response(p, s)
    FAST_DESCEND(p, s, PASSES)
    return s.choice[0].copy()


def common_cuts(p: Parameters, layers: int) -> NDArray[np.int64]:
    """Choices (J, networks) of the common cuts 0, 1, ..., `layers`, without repetitions.

    A network without a cut at j uses its last cut before j, which needs no more bits and less device work.
    """
    rows: list[NDArray[np.int64]] = []
    for j in range(layers + 1):
        row = []
        for n, count in enumerate(p.choices.tolist()):
            numbers = p.cut_number[n, :count]
            row.append(int(np.argmax(np.where(numbers <= j, numbers, -1))))
        if not rows or not np.array_equal(rows[-1], row):
            rows.append(np.array(row, dtype=np.int64))
    return np.array(rows)


def li_gd(p: Parameters, s: State) -> NDArray[np.int64]:
    """Algorithm 1: the best common cut (U,) with relaxed shares; each descent starts from the result of the last."""
    memory = [allocate_relaxation(p.num_users, p.num_subchannels, p.num_aps, p.relaxation_iterations) for _ in range(2)]
    best, least = all_edge(p, s), math.inf
    for turn, choices in enumerate(common_cuts(p, int(p.cut_number.max()))):
        s.choice[0] = choices[s.network[0]]
        cost = FAST_RELAXED(p, s, *memory, turn == 0)
        if cost < least:
            best, least = s.choice[0].copy(), cost
    return best
