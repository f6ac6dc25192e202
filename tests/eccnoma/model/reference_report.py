"""What an environment must report of a frame of `reference_step`: metrics, numbers of members, observation, mask."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_envs.eccnoma.config import ECCNOMAConfig
from tests.eccnoma.model import reference_step as slow
from tests.eccnoma.model.reference_step import Decisions, Floats, Ints, Result, World


def mean_of(values: Floats, which: NDArray[np.bool_]) -> float:
    """Mean of some entries; 0 without any."""
    return float(values[which].mean()) if which.any() else 0.0


def member_costs(c: ECCNOMAConfig, r: Result, after: World) -> Floats:
    """Each user's cost (U,), with its drops."""
    return r.cost + c.weight_delay * c.drop_s * slow.drops_of(c, r, after)


def free_units(c: ECCNOMAConfig, w: World) -> Floats:
    """Units (N,) that other tenants leave in the pools."""
    assert c.pool_units is not None
    return np.array([c.pool_units * (1.0 - c.background_levels[level]) for level in w.level])


def expected_info(c: ECCNOMAConfig, w: World, d: Decisions, r: Result, after: World) -> dict[str, float]:
    """The metrics that do not speak of the solvers' work, by name."""
    busy = w.queue > 0.0
    last = np.array([slow.tables_of(c)[network].last for network in w.network])
    weight = r.served / r.served.sum() if r.served.any() else r.served
    cost = float(member_costs(c, r, after).sum())
    info = {
        "cost": cost,
        "relative_cost": cost / slow.device_only_cost(c, w),
        "sojourn_s": r.sojourn_s.sum(),
        "delay_s": (weight * r.delay_s).sum(),
        "energy_j": (weight * r.energy_j).sum(),
        "tasks_arrived": w.arrived.sum(),
        "tasks_finished": r.served.sum(),
        "tasks_dropped": slow.drops_of(c, r, after).sum(),
        "backlog_tasks": 0.0 if c.arrivals == "one" else slow.next_queue(c, r, after).sum(),
        "edge_share": mean_of((r.cut == 0).astype(float), busy),
        "local_share": mean_of((r.cut == last).astype(float), busy),
        "rate_uplink_bit_s": mean_of(r.rate_up, r.sends),
        "rate_downlink_bit_s": mean_of(r.rate_down, r.sends),
        "power_uplink_w": mean_of(d.power_up_w, r.sends),
        **({} if c.slices is None else {"slices_used": r.holds.sum(), "slices_loading": r.loading.sum()}),
        "server_units": d.units.sum(),
        "pool_load": 0.0 if c.pool_units is None else d.units.sum() / free_units(c, w).sum(),
        "overflow": overflow(c, d, r),
    }
    for i, part in enumerate(("device", "uplink", "server", "downlink")):
        info[f"delay_{part}_s"] = (weight * r.delay_s[i]).sum()
        info[f"energy_{part}_j"] = (weight * r.energy_j[i]).sum()
    return {name: float(value) for name, value in info.items()}


def overflow(c: ECCNOMAConfig, d: Decisions, r: Result) -> float:
    """Users beyond the seats of their AP on their band, in the worse direction; slices and turns are always enough."""
    if c.access != "noma":
        return 0.0
    beyond = [0.0, 0.0]
    for i, band in enumerate((d.band_up, d.band_down)):
        for n in range(c.num_aps):
            load = np.bincount(band[r.sends & (r.ap == n)], minlength=c.num_subchannels)
            beyond[i] += float(np.maximum(load - c.capacity, 0).sum())
    return max(beyond)


def expected_members(c: ECCNOMAConfig, w: World, d: Decisions, r: Result, after: World) -> dict[str, Floats]:
    """Numbers of the users by name; all zero for one without tasks but for its cut, its AP, and what arrives next."""
    waiting = np.zeros(c.num_users) if c.arrivals == "one" else slow.next_queue(c, r, after)
    return {
        "reward": -member_costs(c, r, after) / slow.device_only_cost(c, w),
        "cut": r.cut.astype(float),
        "cost": member_costs(c, r, after),
        "ap": r.ap.astype(float),
        "delay_s": r.delay_s.sum(axis=0),
        "delay_device_s": r.delay_s[0],
        "delay_uplink_s": r.delay_s[1],
        "delay_server_s": r.delay_s[2],
        "delay_downlink_s": r.delay_s[3],
        "energy_j": r.energy_j.sum(axis=0),
        "rate_uplink_bit_s": r.rate_up,
        "rate_downlink_bit_s": r.rate_down,
        "power_uplink_w": d.power_up_w,
        "power_downlink_w": d.power_down_w,
        "subchannel": d.band_up.astype(float),
        "server_units": d.units,
        "tasks_finished": r.served,
        "tasks_dropped": slow.drops_of(c, r, after),
        "backlog_tasks": waiting,
        **({} if c.slices is None else {"slice": r.holds.astype(float), "loading": r.loading.astype(float)}),
    }


# Observation


def expected_mask(c: ECCNOMAConfig, w: World) -> NDArray[np.bool_]:
    """Open choices (U, C): every cut of the user's network once, or the device alone without tasks and slices."""
    tables = slow.tables_of(c)
    mask = np.zeros((c.num_users, len(tables[0].cut)), dtype=bool)
    for u, network in enumerate(w.network.tolist()):
        cuts = tables[network].cut[: tables[network].choices].tolist()
        mask[u, : len(cuts)] = w.queue[u] > 0.0 or c.slices is not None
        mask[u, cuts.index(tables[network].last)] = True
    return mask


def channel_facts(c: ECCNOMAConfig, w: World, ap: int, u: int) -> list[float]:
    """Best and mean SNR on a subchannel at full power, and the best gain over the mean one to other APs."""
    band_hz = c.bandwidth_up_hz / c.num_subchannels
    snr = slow.watt(c.power_up_max_dbm) * w.seen_up[:, u, ap] / (slow.watt(c.noise_dbm_per_hz) * band_hz)
    facts = [math.log2(1.0 + float(value)) / 10.0 - 1.0 for value in (snr.max(), snr.mean())]
    cross = np.delete(w.seen_up[:, u], ap, axis=1)
    apart = math.log2(w.seen_up[:, u, ap].max() / cross.mean()) / 10.0 - 0.5 if cross.size else 0.0
    return [*facts, apart]


def saving_s(c: ECCNOMAConfig, w: World, ap: int, u: int) -> tuple[float, float]:
    """What a task saves at the user's best cut without interference, and its delay on the device."""
    table = slow.tables_of(c)[w.network[u]]
    rates = []
    for gain, bandwidth_hz, power_dbm in (
        (w.seen_up, c.bandwidth_up_hz, c.power_up_max_dbm), (w.seen_down, c.bandwidth_down_hz, c.power_down_max_dbm),
    ):  # fmt: skip
        band_hz = bandwidth_hz / c.num_subchannels
        snr = slow.watt(power_dbm) * gain[:, u, ap].max() / (slow.watt(c.noise_dbm_per_hz) * band_hz)
        rates.append(band_hz * math.log2(1.0 + snr))
    units = c.units_max
    if c.pool_units is not None:
        units = min(units, c.pool_units * (1.0 - c.background_levels[w.seen_level[ap]]))
    delays = [
        device / w.speed_flop_s[u] + bits / rates[0] + c.result_bits / rates[1] + server / slow.speed_flop_s(c, units)
        for cut, device, server, bits in zip(table.cut, table.device_flop, table.server_flop, table.bits, strict=True)
        if cut < table.last
    ]
    alone = table.device_flop.max() / w.speed_flop_s[u]
    return max(alone - min(delays), 0.0), alone


def slice_facts(c: ECCNOMAConfig, w: World, ap: Ints, u: int) -> list[float]:
    """The facts that are added with slices."""
    assert c.slices is not None
    saved = np.array([w.queue[v] * saving_s(c, w, int(ap[v]), v)[0] for v in range(c.num_users)])
    cell = ap == ap[u]
    each, alone = saving_s(c, w, int(ap[u]), u)
    longest = slow.tables_of(c)[w.network[u]].load.max()
    return [
        w.phase[u], w.holds[u], w.loaded[u] / 5.0, (longest - w.loaded[u]) / 5.0, each / alone,
        math.log(1.0 + saved[u]), math.log(1.0 + saved[cell].sum()) / 2.0,
        (saved[cell] > saved[u]).sum() / c.slices / 2.0, (c.slices - w.holds[cell].sum()) / c.slices,
    ]  # fmt: skip


def expected_observation(c: ECCNOMAConfig, w: World, last: tuple[Ints, Result] | None) -> Floats:
    """The documented facts, user by user: `last` are the action and result of the frame before, None after a reset."""
    tables = slow.tables_of(c)
    ap = slow.distances_m(c, w.place_m).argmin(axis=1)
    flop = np.array([tables[network].device_flop.max() for network in w.network])
    root = np.sqrt(w.queue * (w.queue + 1.0) / 2.0 * flop / 1e9)
    scale = 1.0 if c.pool_units is None else 3.0 / c.pool_units
    rows = []
    for u in range(c.num_users):
        delay, rate, cut = 0.0, 0.0, tables[w.network[u]].last
        if last is not None:
            delay, rate, cut = last[1].delay_s[:, u].sum(), last[1].rate_up[u], int(last[1].cut[u])
        cell = ap == ap[u]
        facts: list[Any] = [
            w.queue[u] / 5.0, math.log(1.0 + w.queue[u]), w.arrived[u] / 3.0, w.queue[u] > 0.0,
            flop[u] / w.speed_flop_s[u], math.log(w.speed_flop_s[u] / 1e9), *channel_facts(c, w, int(ap[u]), u),
            c.background_levels[w.seen_level[ap[u]]], min(delay, 3.0),
            rate / (10.0 * c.bandwidth_up_hz / c.num_subchannels), cut == 0, cut == tables[w.network[u]].last,
            root[u] / 5.0, scale * root[cell].sum() / 20.0, scale * (w.queue[cell] > 0.0).sum() / 6.0,
        ]  # fmt: skip
        kind, place = np.arange(len(tables)) == w.network[u], np.arange(c.num_aps) == ap[u]
        if c.slices is not None:
            facts += slice_facts(c, w, ap, u)
        rows.append([*facts, *kind, *expected_mask(c, w)[u], *place])
    return np.clip(np.array(rows, dtype=float), -8.0, 8.0)
