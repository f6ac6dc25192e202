"""One frame of split inference over the radio, in plain Python: slow, user by user, from the equations of the paper.

`world_of` copies what a frame starts from out of an environment and `decisions_of` what its solvers then decided:
bands, powers, units. Everything else is worked out here, from configurations as users write them, so that derived
tables are checked too: cuts, distances, gains, rates, delays, energies, service, costs and drops.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.physics.networks import parse_network
from edge_envs.eccnoma.config import ECCNOMAConfig
from edge_envs.eccnoma.model.geometry import cell_centres

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class World(NamedTuple):
    """What a frame starts from; U users, N access points, M subchannels."""

    network: Ints  # (U,)
    speed_flop_s: Floats  # (U,)
    place_m: Floats  # (U, 2)
    fading_up: Floats  # (M, U, N) power of the small-scale fading
    fading_down: Floats  # (M, U, N)
    seen_up: Floats  # (M, U, N) gains as they are known
    seen_level: Ints  # (N,)
    queue: Floats  # (U,)
    arrived: Floats  # (U,)
    level: Ints  # (N,)
    seen_down: Floats  # (M, U, N)
    phase: Ints  # (U,)
    holds: Ints  # (U,)
    loaded: Ints  # (U,)


class Decisions(NamedTuple):
    """What the solvers decided, by user; shapes (U,)."""

    band_up: Ints
    band_down: Ints
    power_up_w: Floats
    power_down_w: Floats
    units: Floats


class Table(NamedTuple):
    """A network's cuts by choice; shapes (C,)."""

    cut: Ints
    device_flop: Floats
    server_flop: Floats
    bits: Floats
    last: int  # layers in all
    choices: int  # of them open
    load: Ints  # frames to load what is behind the cut


class Result(NamedTuple):
    """A frame's outcome by user; delays and energies per task, in the order device, uplink, server, downlink."""

    ap: Ints  # (U,)
    cut: Ints  # (U,)
    sends: NDArray[np.bool_]  # (U,)
    work_flop: Floats  # (U,) at the server
    delay_s: Floats  # (4, U)
    energy_j: Floats  # (4, U)
    rate_up: Floats  # (U,)
    rate_down: Floats  # (U,)
    served: Floats  # (U,)
    sojourn_s: Floats  # (U,)
    cost: Floats  # (U,) without drops
    left: Floats  # (U,) tasks that wait after the service
    holds: NDArray[np.bool_]  # (U,) users with a slice
    loading: NDArray[np.bool_]  # (U,) users that load it


def world_of(env: Any) -> World:
    """Copy of what the next frame of a (single) environment starts from."""
    s, c = env.unwrapped.state, env.unwrapped.system.config

    def power(direction: str) -> Floats:
        if c.fading_correlation > 0.0:
            parts = getattr(s, f"fading_{direction}")[0]
            return np.asarray(np.abs(parts[0] + 1j * parts[1]) ** 2)
        return np.asarray(getattr(s, f"gain_{direction}")[0] / path_gain(c, s.place_m[0])[None])

    return World(
        s.network[0].copy(), s.speed_flop_s[0].copy(), s.place_m[0].copy(), power("up"), power("down"),
        s.seen_up[0].copy(), s.seen_level[0].copy(), s.queue[0].copy(), s.arrived[0].copy(), s.level[0].copy(),
        s.seen_down[0].copy(), s.phase[0].copy(), s.holds[0].copy(), s.loaded[0].copy(),
    )  # fmt: skip


def decisions_of(env: Any) -> Decisions:
    """Copy of what was decided in the last frame of a (single) environment."""
    w = env.unwrapped.state.workspace
    return Decisions(
        w.up.band.copy(), w.down.band.copy(), w.up.power_w.copy(), w.down.power_w.copy(), w.units.copy()
    )  # fmt: skip


# Tables


def choices_of(c: ECCNOMAConfig, cut_bits: list[float]) -> list[int]:
    """Cuts to choose from: all, or edge, device, and then those that send less than every cut before them."""
    last = len(cut_bits) - 1
    if c.cuts == "all":
        return list(range(last + 1))
    return [0, last, *(k for k in range(1, last) if all(cut_bits[k] < cut_bits[j] for j in range(k)))]


def tables_of(c: ECCNOMAConfig) -> list[Table]:
    """A table for each network; where one has fewer choices than another, further ones compute on the device."""
    whole = []
    for name in c.networks:
        network = parse_network(name)
        work = [0.0]
        for layer in network.layers:
            work.append(work[-1] + 2.0 * layer.macs + layer.other_operations)
        bits = [float(c.input_bits * network.input_elements)]
        bits += [float(c.word_bits * layer.output_elements) for layer in network.layers]
        bits[-1] = 0.0
        weights = [c.weight_bits * sum(layer.parameters for layer in network.layers[k:]) for k in range(len(bits))]
        whole.append((work, bits, weights, choices_of(c, bits)))
    width = max(len(choices) for *_, choices in whole)
    tables = []
    for work, bits, weights, choices in whole:
        last = len(work) - 1
        padded = choices + [last] * (width - len(choices))
        device = np.array([work[k] for k in padded])
        server, sent = work[last] - device, np.array([bits[k] for k in padded])
        load = np.array([math.ceil(weights[k] / c.load_bits_per_frame) for k in padded])
        tables.append(Table(np.array(padded), device, server, sent, last, len(choices), load))
    return tables


# Radio


def distances_m(c: ECCNOMAConfig, place_m: Floats) -> Floats:
    """Distance of every user to every access point, (U, N)."""
    centres = cell_centres(c.num_aps, c.side_m)
    return np.array([[math.hypot(*(place - centre)) for centre in centres] for place in place_m])


def path_gain(c: ECCNOMAConfig, place_m: Floats) -> Floats:
    """Mean gain of every link, (U, N)."""
    near = np.maximum(distances_m(c, place_m), c.distance_min_m)
    return np.asarray(10.0 ** (c.reference_gain_db / 10.0) * near**-c.path_loss_exponent)


def watt(level_dbm: float) -> float:
    """A power or density in watts."""
    return 1e-3 * 10.0 ** (level_dbm / 10.0)


def bands_of(c: ECCNOMAConfig, ap: Ints) -> int:
    """Into how many equal bands the spectrum is cut."""
    return max(int((ap == n).sum()) for n in range(c.num_aps)) if c.access == "fdma" else c.num_subchannels


def subchannel_at(c: ECCNOMAConfig, band: int, bands: int) -> int:
    """The subchannel in which the middle of a band lies."""
    middle = (2 * band + 1) * c.num_subchannels  # in units of a part 2 * bands of a subchannel
    return middle // (2 * bands)


def disturbance_w(
    c: ECCNOMAConfig, uplink: bool, gain: Floats, ap: Ints, band: Ints, power_w: Floats, i: int, m: int
) -> float:
    """Interference with user i on its band, (5) or (8), whose subchannel is m, without noise."""
    total = 0.0
    mine = gain[m, i, ap[i]]
    for v in np.flatnonzero(band == band[i]).tolist():
        if v == i:
            continue
        theirs = gain[m, v, ap[v]]
        if ap[v] != ap[i]:
            total += power_w[v] * (gain[m, v, ap[i]] if uplink else gain[m, i, ap[v]])
        elif uplink and theirs < mine:
            total += power_w[v] * theirs
        elif not uplink and theirs > mine:
            total += power_w[v] * (mine if c.downlink == "physical" else theirs)
    return total


def airtime_of(c: ECCNOMAConfig, ap: Ints, band: Ints) -> Floats:
    """Part of the time (U,) that each user sends: with turns, those of an AP on a subchannel have equal parts."""
    company = [((band == band[u]) & (ap == ap[u])).sum() for u in range(len(ap))]
    return 1.0 / np.array(company) if c.access == "tdma" else np.ones(len(ap))


def rates_bit_s(c: ECCNOMAConfig, uplink: bool, gain: Floats, ap: Ints, band: Ints, power_w: Floats) -> Floats:
    """(6) or (9) of those that send, or its forms with slices or turns; 0 for the others."""
    bands = bands_of(c, ap)
    band_hz = (c.bandwidth_up_hz if uplink else c.bandwidth_down_hz) / bands
    noise_w = watt(c.noise_dbm_per_hz) * band_hz
    rate, part = np.zeros(len(ap)), airtime_of(c, ap, band)
    for i in np.flatnonzero(band >= 0).tolist():
        m = subchannel_at(c, int(band[i]), bands)
        if c.access == "tdma":
            other_w = turn_disturbance_w(c, uplink, gain, ap, band, power_w, i)
        else:
            other_w = disturbance_w(c, uplink, gain, ap, band, power_w, i, m)
        snr = power_w[i] * gain[m, i, ap[i]] / (noise_w + other_w)
        rate[i] = part[i] * band_hz * math.log1p(snr) / math.log(2.0)
    return rate


def turn_disturbance_w(
    c: ECCNOMAConfig, uplink: bool, gain: Floats, ap: Ints, band: Ints, power_w: Floats, i: int
) -> float:
    """Interference with user i while it has its turn: the mean over the users of each other AP on its subchannel."""
    m, total = int(band[i]), 0.0
    for n in range(c.num_aps):
        others = [t for t in np.flatnonzero(band == m).tolist() if ap[t] == n]
        if n != ap[i] and others:
            total += float(np.mean([power_w[t] * (gain[m, t, ap[i]] if uplink else gain[m, i, n]) for t in others]))
    return total


# Slices


def slices_after(c: ECCNOMAConfig, w: World, ap: Ints, action: Ints) -> tuple[Ints, Ints, Ints]:
    """Choices in force, holders and frames loaded (U,) after users asked with their choices."""
    tables, used = tables_of(c), action.copy()
    holds, loaded = np.zeros_like(w.holds), np.zeros_like(w.loaded)
    if c.slices is None:
        return used, holds, loaded
    own = [tables[network] for network in w.network.tolist()]
    asks = [table.cut[k] < table.last for table, k in zip(own, action.tolist(), strict=True)]
    for n in range(c.num_aps):
        here = [u for u in range(c.num_users) if ap[u] == n and asks[u]]
        waiting_s = {u: w.queue[u] * own[u].device_flop.max() / w.speed_flop_s[u] for u in here}
        first = sorted(here, key=lambda u: (-w.holds[u], -waiting_s[u], u))
        holds[first[: c.slices]] = 1
    for u, table in enumerate(own):
        ready = holds[u] and table.load[action[u]] <= w.loaded[u]
        if not ready:
            used[u] = int(np.argmax(table.cut))
        loaded[u] = holds[u] * (w.loaded[u] + (not ready))
    return used, holds, loaded


# The frame


def speed_flop_s(c: ECCNOMAConfig, units: float) -> float:
    """Speed (3) of a number of the server's units; from the second unit on, each adds overhead to the others."""
    return c.unit_speed_flop_s * (units / (1.0 + c.core_overhead * (units - 1.0)) if units >= 1.0 else units)


def simulate(c: ECCNOMAConfig, w: World, action: Ints, d: Decisions) -> Result:
    """Play one frame with given decisions."""
    users, tables = c.num_users, tables_of(c)
    ap = distances_m(c, w.place_m).argmin(axis=1)
    action, holds, _ = slices_after(c, w, ap, action)
    mean_gain = path_gain(c, w.place_m)
    air_up, air_down = airtime_of(c, ap, d.band_up), airtime_of(c, ap, d.band_down)
    rate_up = rates_bit_s(c, True, w.fading_up * mean_gain, ap, d.band_up, d.power_up_w)
    rate_down = rates_bit_s(c, False, w.fading_down * mean_gain, ap, d.band_down, d.power_down_w)
    delay, energy = np.zeros((4, users)), np.zeros((4, users))
    served, sojourn, cost, work = (np.zeros(users) for _ in range(4))
    sends, cut = np.zeros(users, dtype=bool), np.zeros(users, dtype=np.int64)
    for u in range(users):
        table, k = tables[w.network[u]], int(action[u])
        cut[u] = table.cut[k]
        if w.queue[u] == 0.0:
            continue
        delay[0, u] = table.device_flop[k] / w.speed_flop_s[u]
        energy[0, u] = c.device_j_per_flop * table.device_flop[k]
        sends[u] = cut[u] < table.last
        if sends[u]:
            delay[1, u], delay[3, u] = table.bits[k] / rate_up[u], c.result_bits / rate_down[u]
            energy[1, u] = d.power_up_w[u] * air_up[u] * delay[1, u]
            energy[3, u] = d.power_down_w[u] * air_down[u] * delay[3, u]
        work[u] = table.server_flop[k]
        if work[u] > 0.0:
            speed = speed_flop_s(c, d.units[u])
            delay[2, u], energy[2, u] = work[u] / speed, c.server_energy_coefficient * speed**2 * work[u]
        each, queue = float(delay[:, u].sum()), w.queue[u]
        served[u] = queue if c.arrivals == "one" else min(queue, c.frame_s / each)
        # Task k of those that are served one after the other spends k T there, the others all of the frame.
        sojourn[u] = each * served[u] * (served[u] + 1.0) / 2.0 + (queue - served[u]) * c.frame_s
        cost[u] = c.weight_delay * sojourn[u] + c.weight_energy * served[u] * energy[:, u].sum()
    return Result(
        ap,
        cut,
        sends,
        work,
        delay,
        energy,
        rate_up,
        rate_down,
        served,
        sojourn,
        cost,
        np.maximum(w.queue - served, 0.0),
        holds == 1,
        (holds == 1) & (cut == [tables[network].last for network in w.network]),
    )


def drops_of(c: ECCNOMAConfig, r: Result, after: World) -> Floats:
    """Tasks of the next frame that find no room, (U,)."""
    if c.arrivals == "one":
        return np.zeros(c.num_users)
    return np.maximum(r.left + after.arrived - c.queue_max, 0.0)


def next_queue(c: ECCNOMAConfig, r: Result, after: World) -> Floats:
    """Backlogs (U,) with the arrivals of the next frame."""
    return np.ones(c.num_users) if c.arrivals == "one" else np.minimum(r.left + after.arrived, c.queue_max)


def mean_arrivals(c: ECCNOMAConfig) -> float:
    """Tasks of a user and frame in the long run."""
    if c.arrivals == "one":
        return 1.0
    quiet_frames, burst_frames = 1.0 / c.burst_begins_probability, 1.0 / c.burst_ends_probability
    tasks = c.quiet_rate * quiet_frames + c.burst_rate * burst_frames
    return tasks * c.frame_s / (quiet_frames + burst_frames)


def device_only_cost(c: ECCNOMAConfig, w: World) -> float:
    """Cost of a frame's mean arrivals, each task computed on its device with nobody waiting."""
    total = 0.0
    for network, speed in zip(w.network.tolist(), w.speed_flop_s.tolist(), strict=True):
        flop = float(max(tables_of(c)[network].device_flop))
        total += c.weight_delay * flop / speed + c.weight_energy * c.device_j_per_flop * flop
    return mean_arrivals(c) * total
