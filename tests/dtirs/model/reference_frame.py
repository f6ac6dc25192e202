"""One frame of the split-learning system in plain Python: slow, device by device, from the paper's equations.

`world_of` copies the initial state of a frame from an environment. Everything else is computed here: channels as
complex matrices, gains as squared norms; `reference_decisions` finds powers, shares and twins. Only the fields of the
configuration are used, so derived tables are checked, too. No formula is shared with the package.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.physics.networks import parse_network
from edge_envs.dtirs.config import DTIRSConfig
from tests.dtirs.model.reference_decisions import best_powers, best_shares, best_twins, ratio

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
Ints = NDArray[np.int64]


class World(NamedTuple):
    """State before a frame; K devices, N elements, A antennas, L choices of a cut."""

    speed_flop_s: Floats  # (K,) what other load leaves
    front_flop: Floats  # (K, L)
    back_flop: Floats  # (K, L)
    distance_m: Floats  # (K,)
    level: int
    backlog_flop: float
    ap_irs: Complexes  # (N, A) small-scale fading G
    irs_ap: Complexes  # (A, N) the same of an independent uplink g
    irs_ud: Complexes  # (K, N) small-scale fading h_k
    direct: Complexes  # (K, A) small-scale fading of the direct path
    phases: Complexes  # (N,) diagonal of Theta
    held: Ints  # (K,) cuts before the frame, as indices
    shadowed: NDArray[np.bool_]  # (K,) in the shadow of an obstacle


class Bits(NamedTuple):
    """Bits of a frame, by choice of a cut; shapes (L,)."""

    cuts: Ints
    down: Floats
    up: Floats
    sync: Floats


class Allocation(NamedTuple):
    """Decisions of a frame, by device; shapes (K,)."""

    power_w: Floats
    twin: NDArray[np.bool_]
    boost_flop_s: Floats
    back_end_flop_s: Floats


class Result(NamedTuple):
    """Outcome of a frame; shapes (K,) except for the last fields."""

    allocation: Allocation
    downlink_s: Floats
    uplink_s: Floats
    compute_s: Floats
    back_end_s: Floats
    sync_s: Floats
    migration_s: Floats  # part of downlink and uplink
    migration_bits: Floats
    leakage_s: Floats
    energy_j: Floats
    uplink_bit_s: Floats
    gain_down: Floats
    gain_up: Floats
    bandwidth_hz: float
    capacity_flop_s: float
    wait_s: float
    backlog_flop: float  # of the next frame
    objective_s: float

    @property
    def delay_s(self) -> Floats:
        """Delay of each device, (9), with the terms of the extended model."""
        return self.downlink_s + self.uplink_s + self.compute_s + self.back_end_s + self.sync_s


def world_of(env: Any) -> World:
    """Copy of a single environment's state before its next frame."""
    return world_in(env.unwrapped.state, 0)


def world_in(s: Any, row: int) -> World:
    """Copy of a row's state before its next frame."""

    def whole(name: str) -> Complexes:
        parts = getattr(s, name)[row]
        return np.array(parts[0] + 1j * parts[1])

    travelled = (s.lap[row] - s.shadow_start[row]) % 1.0
    return World(
        s.speed_flop_s[row].copy(), s.front_flop[row].copy(), s.back_flop[row].copy(), s.distance_m[row].copy(),
        int(s.level[row]), float(s.backlog_flop[row]), whole("ap_irs").T, whole("irs_ap").conj(), whole("irs_ud"),
        whole("direct"), whole("phase"), s.held[row].copy(), travelled < s.shadow_share[row],
    )  # fmt: skip


# Tables


def useful_cuts(work: Floats, bits: Floats) -> list[int]:
    """Cuts 1..M for which no other cut has fewer or equal bits and no more work on the device."""
    everywhere = range(1, len(bits))
    return [
        m for m in everywhere
        if not any(bits[j] <= bits[m] and work[j] <= work[m] and j != m for j in everywhere if j < m)
    ]  # fmt: skip


def bits_of(c: DTIRSConfig) -> Bits:
    """Choices of a cut and their bits."""
    network = parse_network(c.network)
    values = np.array([network.input_elements, *(layer.output_elements for layer in network.layers)], dtype=float)
    values[-1] = 0.0
    weights = np.cumsum([0.0, *(layer.parameters for layer in network.layers)])
    last = len(values) - 1
    cuts = list(range(1, last + 1))
    if c.cuts == "useful":
        cuts = useful_cuts(np.arange(last + 1.0), values)
    if c.first_cut == 0:
        cuts = [0, *cuts]
    numbers = np.array(cuts, dtype=np.int64)
    if c.model == "printed":
        constant = np.zeros(len(cuts)) if c.offline else np.ones(len(cuts))
        down, up = (bits * c.exchanges_per_frame * constant for bits in (c.bits_downlink, c.bits_uplink))
        return Bits(numbers, down, up, 0.0 * constant)
    up = values[numbers] * c.word_bits * c.batch_size * c.exchanges_per_frame
    return Bits(numbers, np.where(numbers == 0, 0.0, up), up, weights[numbers] * c.weight_bits)


def moved_bits(c: DTIRSConfig, w: World, actions: Ints) -> tuple[Floats, Floats]:
    """Bits of weights (K,) to the devices and to the AP in a frame."""
    if not c.migration:
        return np.zeros(c.num_devices), np.zeros(c.num_devices)
    weights = bits_of(c).sync
    now, before = weights[np.asarray(actions)], weights[w.held]
    return np.where(now > before, now - before, 0.0), np.where(now < before, before - now, 0.0)


# Channels


def path_gain(c: DTIRSConfig, distance_m: Any, exponent: float) -> Any:
    """Power gain (68)."""
    return 10.0 ** (c.reference_gain_db / 10.0) * np.asarray(distance_m) ** -exponent


def channels(c: DTIRSConfig, w: World) -> tuple[Complexes, Complexes, Complexes, Complexes]:
    """G (N, A), g (A, N), h (K, N) and the direct path (K, A), with path losses."""
    surface = math.sqrt(path_gain(c, c.ap_irs_distance_m, c.ap_irs_exponent))
    loss = np.where(w.shadowed & (c.mobility == "circuit"), 10.0 ** (-c.shadow_db / 10.0), 1.0)
    near = np.sqrt(path_gain(c, w.distance_m, c.irs_ud_exponent) * loss)[:, None]
    blocked = path_gain(c, c.direct_distance_m, c.direct_exponent) / 10.0 ** (c.direct_blockage_db / 10.0)
    down = surface * w.ap_irs
    up = {"reciprocal": down.T, "hermitian": down.conj().T, "independent": surface * w.irs_ap}[c.uplink]
    return down, up, near * w.irs_ud, math.sqrt(blocked) * w.direct


def gains(c: DTIRSConfig, w: World, phases: Complexes) -> tuple[Floats, Floats]:
    """Squared norms of the effective channels (3) and (12), downlink and uplink, shapes (K,)."""
    down, up, near, direct = channels(c, w)
    if not c.irs:
        strength = np.array([np.linalg.norm(row) ** 2 for row in direct])
        return strength, strength.copy()
    theta = np.diag(phases)
    gain_down, gain_up = [], []
    for h in near:
        column = h.conj() if c.uplink == "reciprocal" else h
        gain_down.append(np.linalg.norm(h.conj() @ theta @ down) ** 2)
        gain_up.append(np.linalg.norm(up @ theta @ column) ** 2)
    return np.array(gain_down), np.array(gain_up)


def quadratic(c: DTIRSConfig, w: World, weights_down: Floats, weights_up: Floats) -> Complexes:
    """Q of (42): v^H Q v is the weighted sum of all gains."""
    down, up, near, _ = channels(c, w)
    total = np.zeros((len(w.phases), len(w.phases)), dtype=complex)
    for h, one, other in zip(near, weights_down, weights_up, strict=True):
        row = (np.diag(h.conj()) @ down).T  # the downlink is row @ v
        column = up @ np.diag(h.conj() if c.uplink == "reciprocal" else h)
        total += one * row.conj().T @ row + other * column.conj().T @ column
    return total


def relaxed_bounds(q: Complexes, sweeps: int = 100_000) -> tuple[float, float]:
    """A feasible value of the relaxation (43), and a dual bound."""
    size = len(q)
    scale = np.trace(q).real / size
    q = q / scale
    rng = np.random.default_rng(0)
    x = rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    for sweep in range(sweeps):
        for i in range(size):
            z = q[i] @ x - q[i, i] * x[i]
            x[i] = z / np.linalg.norm(z) if np.linalg.norm(z) > 0.0 else x[i]
        if sweep % 50 == 0:
            y = np.einsum("ij,ij->i", (q @ x), x.conj()).real
            excess = max(0.0, -np.linalg.eigvalsh(np.diag(y) - q)[0])
            if size * excess < 1e-9 * y.sum():
                break
    return scale * y.sum(), scale * (y.sum() + size * excess)


# The frame


def simulate(
    c: DTIRSConfig,
    w: World,
    actions: Ints,
    *,
    gain: tuple[Floats, Floats] | None = None,
    twin: NDArray[np.bool_] | None = None,
) -> Result:
    """Simulate one frame; `gain` and `twin` replace the computed ones."""
    users, bits = c.num_devices, bits_of(c)
    chosen = np.asarray(actions)
    extended = c.model == "extended"
    gain_down, gain_up = gains(c, w, w.phases) if gain is None else gain
    bandwidth = c.bandwidth_hz / (users if c.bandwidth_sharing == "shared" else 1)
    front = w.front_flop[np.arange(users), chosen]
    back = w.back_flop[np.arange(users), chosen] if extended else np.zeros(users)
    capacity = c.pool_per_device_flop_s * users * c.pool_levels[w.level] if extended else c.twin_budget_flop_s
    wait = w.backlog_flop / capacity if c.backlog else 0.0
    uplink_bit_s = bandwidth * np.log2(1.0 + c.power_uplink_w * gain_up / c.noise_w)

    received, given = moved_bits(c, w, chosen)
    down_bits, up_bits = bits.down[chosen] + received, bits.up[chosen] + given
    unit_delay_s = down_bits * math.log(2.0) / bandwidth
    deadline_s = c.compute_delay_total_s * c.exchanges_per_frame / users
    if c.power == "equal":
        power = np.full(users, min(c.power_total_w / users, c.power_max_w))
    else:
        power = best_powers(gain_down / c.noise_w, unit_delay_s, c.power_total_w, c.power_max_w)

    sync = bits.sync[chosen] / uplink_bit_s
    if twin is None:
        if c.twins == "none":
            twin = np.zeros(users, dtype=bool)
        elif c.twins == "threshold":
            twin = front / w.speed_flop_s > deadline_s
        else:
            twin = best_twins(front, w.speed_flop_s, back, sync, capacity, wait)
    boost, share = best_shares(front, w.speed_flop_s, twin, back, capacity)

    downlink, compute, behind, energy, leakage, migration = (np.zeros(users) for _ in range(6))
    last = len(parse_network(c.network).layers)
    left = w.backlog_flop
    for k in range(users):
        rate = bandwidth * math.log2(1.0 + power[k] * gain_down[k] / c.noise_w)
        downlink[k] = ratio(down_bits[k], rate)
        migration[k] = ratio(received[k], rate) + given[k] / uplink_bit_s[k]
        compute[k] = ratio(front[k], w.speed_flop_s[k] + boost[k])
        served = back[k] + front[k] * boost[k] / (w.speed_flop_s[k] + boost[k])  # a twin's own f_loc is not the AP's
        behind[k] = ratio(back[k], share[k]) + (wait if twin[k] or back[k] > 0.0 else 0.0)
        left += served
        cut = int(bits.cuts[chosen[k]])
        if extended and cut != last:
            leakage[k] = c.leakage_s * math.exp(-max(cut - 1, 0) / c.leakage_layers)
        sent_s = up_bits[k] / uplink_bit_s[k] + (sync[k] if twin[k] else 0.0)
        energy[k] = c.power_uplink_w * sent_s
        if not twin[k]:
            hertz, cycles = w.speed_flop_s[k] / c.flop_per_cycle, front[k] / c.flop_per_cycle
            energy[k] += c.device_energy_coefficient * hertz**2 * cycles
    result = Result(
        Allocation(power, twin, boost, share), downlink, up_bits / uplink_bit_s, compute, behind,
        np.where(twin, sync, 0.0), migration, received + given, leakage, energy,
        uplink_bit_s, gain_down, gain_up, bandwidth, capacity, wait,
        max(left - capacity * c.frame_s, 0.0) if c.backlog else 0.0, 0.0,
    )  # fmt: skip
    objective = result.delay_s.sum() + leakage.sum() + c.weight_loss_s * c.loss_nats
    return result._replace(objective_s=float(objective))


def prices(c: DTIRSConfig, w: World, actions: Ints, r: Result) -> tuple[float, float]:
    """Power price [s/W] and pool price [s per FLOP/s]: the delay saved per unit of budget."""
    a, own = r.allocation, (np.arange(c.num_devices), np.asarray(actions))
    down_bits = bits_of(c).down[own[1]] + moved_bits(c, w, own[1])[0]
    unit_delay_s = down_bits * math.log(2.0) / r.bandwidth_hz
    per_watt, per_speed = [0.0], [0.0]
    for k in range(c.num_devices):
        x = r.gain_down[k] / c.noise_w * a.power_w[k]
        if c.power == "optimal" and 0.0 < a.power_w[k] < c.power_max_w * (1.0 - 1e-9):
            per_watt.append(unit_delay_s[k] * r.gain_down[k] / c.noise_w / ((1.0 + x) * math.log1p(x) ** 2))
        if a.back_end_flop_s[k] > 0.0:
            per_speed.append(w.back_flop[own][k] / a.back_end_flop_s[k] ** 2)
        if a.boost_flop_s[k] > 0.0:
            per_speed.append(w.front_flop[own][k] / (w.speed_flop_s[k] + a.boost_flop_s[k]) ** 2)
    return max(per_watt), max(per_speed)


def member_costs(c: DTIRSConfig, w: World, actions: Ints, r: Result) -> Floats:
    """Payments of the devices [s], shape (K,); they sum to the objective.

    A device pays its delay and leakage, and the prices of its power and pool share; the latter are refunded equally.
    """
    watt, speed = prices(c, w, actions, r)
    taken = watt * r.allocation.power_w + speed * (r.allocation.boost_flop_s + r.allocation.back_end_flop_s)
    return r.delay_s + r.leakage_s + c.weight_loss_s * c.loss_nats / c.num_devices + taken - taken.mean()


def expected_info(c: DTIRSConfig, w: World, actions: Ints, r: Result) -> dict[str, float]:
    """The metrics other than gaps and certificates, by name."""
    cuts = bits_of(c).cuts[np.asarray(actions)]
    deadline_s = c.compute_delay_total_s * c.exchanges_per_frame / c.num_devices
    last = len(parse_network(c.network).layers)
    delay, a = r.delay_s, r.allocation
    return {
        "objective_s": r.objective_s,
        "delay_s": delay.sum(),
        "delay_downlink_s": r.downlink_s.sum(),
        "delay_uplink_s": r.uplink_s.sum(),
        "delay_compute_s": r.compute_s.sum(),
        "delay_back_end_s": r.back_end_s.sum(),
        "delay_sync_s": r.sync_s.sum(),
        "migration_s": r.migration_s.sum(),
        "migration_bits": r.migration_bits.sum(),
        "changed": (np.asarray(actions) != w.held).mean(),
        "leakage_s": r.leakage_s.sum(),
        "delay_max_s": delay.max(),
        "mean_cut": cuts.mean(),
        "local_share": ((cuts == last) & ~a.twin).mean(),
        "twin_share": a.twin.mean(),
        "power_w": a.power_w.sum(),
        "power_max_w": a.power_w.max(),
        "pool_level": c.pool_levels[w.level] if c.model == "extended" else 1.0,
        "backlog_s": r.wait_s,
        "energy_j": r.energy_j.sum(),
        "rate_violations": float((r.uplink_bit_s < c.rate_min_bit_s).sum()),
        "deadline_violations": float((r.compute_s > deadline_s).sum()),
    }


def expected_members(c: DTIRSConfig, w: World, actions: Ints, r: Result) -> dict[str, Floats]:
    """The member metrics by name."""
    a = r.allocation
    return {
        "cut": bits_of(c).cuts[np.asarray(actions)].astype(float),
        "delay_s": r.delay_s,
        "delay_downlink_s": r.downlink_s,
        "delay_uplink_s": r.uplink_s,
        "delay_compute_s": r.compute_s,
        "delay_back_end_s": r.back_end_s,
        "delay_sync_s": r.sync_s,
        "migration_s": r.migration_s,
        "migration_bits": r.migration_bits,
        "changed": (np.asarray(actions) != w.held).astype(float),
        "twin": a.twin.astype(float),
        "power_w": a.power_w,
        "boost_flop_s": a.boost_flop_s,
        "back_end_flop_s": a.back_end_flop_s,
        "gain_downlink": r.gain_down,
        "gain_uplink": r.gain_up,
    }
