"""Slow, independent rates, costs, gradients and certificates of the radio.

The rates are loops over the indices of (5)-(6) and (8)-(9). The gradients are automatic: every form has interference
that is linear in what the users send, D_im = noise + sum_v A_miv beta_vm p_v, so that the coupling A is all there is to
know.
"""

import math

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from tests.eccnoma.solvers.problems import Floats, Ints, Radio, active, one_hot

LN2 = math.log(2.0)


def strongest_first(radio: Radio, m: int, n: int) -> list[int]:
    """Active users of access point `n` by falling gain on subchannel `m`; of equal ones the first is the stronger."""
    members = [i for i in range(len(radio.ap)) if radio.ap[i] == n and radio.bits[i] > 0.0]
    return sorted(members, key=lambda i: (-radio.gain[m, i, n], i))


def uplink_disturbance(radio: Radio, beta: Floats, power_w: Floats, i: int, m: int) -> float:
    """Denominator of (5) [W]: users decoded after `i` and the users of all other cells, heard at the AP of `i`."""
    n = int(radio.ap[i])
    cluster = strongest_first(radio, m, n)
    terms = [radio.noise_w]
    for v in cluster[cluster.index(i) + 1 :]:
        terms.append(beta[v, m] * power_w[v] * radio.gain[m, v, n])
    for other in range(radio.gain.shape[2]):
        if other != n:
            for t in strongest_first(radio, m, other):
                terms.append(beta[t, m] * power_w[t] * radio.gain[m, t, n])
    return math.fsum(terms)


def downlink_disturbance(radio: Radio, beta: Floats, power_w: Floats, i: int, m: int) -> float:
    """Denominator of (8) [W]: signals to users decoded after `i`, and all signals of the other access points.

    The printed form weighs a signal of the own cell by the gain of the user it is meant for, not by that of `i`.
    """
    n = int(radio.ap[i])
    weakest_first = strongest_first(radio, m, n)[::-1]
    terms = [radio.noise_w]
    for q in weakest_first[weakest_first.index(i) + 1 :]:
        heard_by = q if radio.direction == "downlink-printed" else i
        terms.append(beta[q, m] * power_w[q] * radio.gain[m, heard_by, n])
    for other in range(radio.gain.shape[2]):
        if other != n:
            for y in strongest_first(radio, m, other):
                terms.append(beta[y, m] * power_w[y] * radio.gain[m, i, other])
    return math.fsum(terms)


def rates(radio: Radio, beta: Floats, power_w: Floats) -> Floats:
    """(6) or (9), summed over the subchannels [bit/s]; 0 for silent users."""
    disturbance = uplink_disturbance if radio.direction == "uplink" else downlink_disturbance
    rate = np.zeros(len(radio.ap))
    for i in range(len(radio.ap)):
        if radio.bits[i] > 0.0:
            terms = []
            for m in range(len(radio.gain)):
                signal = power_w[i] * radio.gain[m, i, radio.ap[i]]
                terms.append(beta[i, m] * math.log1p(signal / disturbance(radio, beta, power_w, i, m)) / LN2)
            rate[i] = radio.bandwidth_hz * math.fsum(terms)
    return rate


def cost(radio: Radio, beta: Floats, power_w: Floats) -> float:
    """Weighted delay (7), (10) and energy (14), (15) of all that is sent."""
    rate = rates(radio, beta, power_w)
    terms = []
    for i in range(len(radio.ap)):
        if radio.bits[i] > 0.0:
            seconds = radio.bits[i] / rate[i]
            terms.append(radio.delay_weight[i] * seconds + radio.energy_weight[i] * power_w[i] * seconds)
    return math.fsum(terms)


def coupling(radio: Radio) -> Floats:
    """A (M, U, U) [-]: how much of a watt sent by (or to) user v disturbs user i, entry by entry."""
    users, subchannels = len(radio.ap), len(radio.gain)
    found = np.zeros((subchannels, users, users))
    for m in range(subchannels):
        for i in range(users):
            for v in range(users):
                if v == i or radio.bits[v] == 0.0:
                    continue
                own_i, own_v = radio.gain[m, i, radio.ap[i]], radio.gain[m, v, radio.ap[v]]
                v_is_weaker = own_v < own_i or (own_v == own_i and v > i)
                same_cell = radio.ap[v] == radio.ap[i]
                if radio.direction == "uplink":
                    if not same_cell or v_is_weaker:
                        found[m, i, v] = radio.gain[m, v, radio.ap[i]]
                elif not same_cell:
                    found[m, i, v] = radio.gain[m, i, radio.ap[v]]
                elif not v_is_weaker:
                    found[m, i, v] = own_v if radio.direction == "downlink-printed" else own_i
    return found


def gradient(radio: Radio, beta: Floats, power_w: Floats) -> tuple[float, Floats, Floats]:
    """Cost and its derivatives by every beta (U, M) and power (U,), by torch; 0 for silent users."""
    import torch

    busy = np.flatnonzero(active(radio))
    full_beta, full_power = np.zeros_like(beta), np.zeros_like(power_w)
    if len(busy) == 0:
        return 0.0, full_beta, full_power
    share = torch.tensor(beta[busy], requires_grad=True)
    power = torch.tensor(power_w[busy], requires_grad=True)
    own_gain = np.stack([radio.gain[:, i, radio.ap[i]] for i in busy])
    pairs = torch.tensor(coupling(radio)[:, busy][:, :, busy])
    disturbance = radio.noise_w + torch.einsum("miv,vm,v->im", pairs, share, power)
    bits_per_hz = torch.log1p(power[:, None] * torch.tensor(own_gain) / disturbance) / LN2
    seconds = torch.tensor(radio.bits[busy]) / (radio.bandwidth_hz * (share * bits_per_hz).sum(dim=1))
    price = torch.tensor(radio.delay_weight[busy]) + torch.tensor(radio.energy_weight[busy]) * power
    total = (price * seconds).sum()
    by_share, by_power = torch.autograd.grad(total, (share, power))
    full_beta[busy], full_power[busy] = by_share.numpy(), by_power.numpy()
    return float(total.detach()), full_beta, full_power


def log_power_derivative(radio: Radio, beta: Floats, power_w: Floats) -> tuple[float, Floats]:
    """Cost and its derivative by u (U,), where p = p_min (p_max / p_min)^u."""
    total, _, by_power = gradient(radio, beta, power_w)
    return total, by_power * power_w * math.log(radio.power_max_w / radio.power_min_w)


def free_slopes(radio: Radio, power_w: Floats, slope: Floats) -> Floats:
    """Derivatives by u, without those that a limit of the power holds back."""
    held_low = (power_w <= radio.power_min_w * (1.0 + 1e-12)) & (slope > 0.0)
    held_high = (power_w >= radio.power_max_w * (1.0 - 1e-12)) & (slope < 0.0)
    return np.where(held_low | held_high, 0.0, np.abs(slope))


def power_residual(radio: Radio, beta: Floats, power_w: Floats) -> float:
    """Largest derivative by u over the cost, of those that a limit of the power does not hold back."""
    total, slope = log_power_derivative(radio, beta, power_w)
    return float(free_slopes(radio, power_w, slope).max()) / total if total > 0.0 else 0.0


def assigned_residual(radio: Radio, subchannel: Ints, power_w: Floats) -> float:
    """The same with one subchannel per user, each slope over the cost of its subchannel alone."""
    worst = 0.0
    for m in range(len(radio.gain)):
        on_m = radio._replace(bits=np.where(subchannel == m, radio.bits, 0.0))
        worst = max(worst, power_residual(on_m, one_hot(on_m, subchannel), power_w))
    return worst


def assigned_gap(radio: Radio, subchannel: Ints, power_w: Floats) -> float:
    """Largest fall of the tangent plane of the cost within the limits of the log powers, over the cost."""
    total, slope = log_power_derivative(radio, one_hot(radio, subchannel), power_w)
    if total == 0.0 or radio.power_max_w == radio.power_min_w:
        return 0.0
    used = np.where(active(radio), power_w, radio.power_min_w)
    level = np.log(used / radio.power_min_w) / math.log(radio.power_max_w / radio.power_min_w)
    return float(np.maximum(slope * level, slope * (level - 1.0)).sum()) / total


def cost_alone(radio: Radio, user: int) -> float:
    """Least cost of a user on its best subchannel without any interference, by a search over the powers."""
    gain = radio.gain[:, user, radio.ap[user]].max()
    low, high = math.log(radio.power_min_w), math.log(radio.power_max_w)

    def at(log_power: float) -> float:
        power_w = math.exp(log_power)
        rate = radio.bandwidth_hz * math.log1p(power_w * gain / radio.noise_w) / LN2
        return float((radio.delay_weight[user] + radio.energy_weight[user] * power_w) * radio.bits[user] / rate)

    if high > low:
        inner = minimize_scalar(at, bounds=(low, high), method="bounded", options={"xatol": 1e-10}).x
        return min(at(low), at(inner), at(high))
    return at(high)


def bound(radio: Radio) -> float:
    """What no assignment and powers can cost less than: everybody alone."""
    return math.fsum(cost_alone(radio, int(user)) for user in np.flatnonzero(active(radio)))


def simplex_gap(radio: Radio, beta: Floats, power_w: Floats) -> float:
    """What the best vertices of the simplices promise to first order, over the cost: the Frank-Wolfe gap."""
    total, by_beta, _ = gradient(radio, beta, power_w)
    promised = math.fsum(
        float(by_beta[i] @ beta[i] - by_beta[i].min()) for i in range(len(radio.ap)) if radio.bits[i] > 0.0
    )
    return promised / total if total > 0.0 else 0.0


def descend(radio: Radio, subchannel: Ints, power_w: Floats) -> tuple[float, Floats]:
    """Cost and powers where scipy's L-BFGS-B ends in log power, from the given powers with the assignment kept."""
    beta = one_hot(radio, subchannel)
    log_ratio = math.log(radio.power_max_w / radio.power_min_w)

    def powers(level: Floats) -> Floats:
        return np.minimum(radio.power_min_w * np.exp(level * log_ratio), radio.power_max_w)

    start = np.log(power_w / radio.power_min_w) / log_ratio if log_ratio > 0.0 else np.zeros(len(power_w))
    start = np.where(active(radio), np.clip(start, 0.0, 1.0), 0.0)
    scale = cost(radio, beta, powers(start))

    def scaled(level: Floats) -> tuple[float, Floats]:
        total, slope = log_power_derivative(radio, beta, powers(level))
        return total / scale, slope / scale

    limits = [(0.0, 1.0)] * len(start)
    found = minimize(
        scaled,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=limits,
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 2000},
    )
    return cost(radio, beta, powers(found.x)), powers(found.x)
