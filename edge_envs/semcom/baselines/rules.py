"""Compiled rules behind the baselines: each fills a sketch, a state of one world, with its decision for the round."""

from __future__ import annotations

import math

from edge_envs.core.kernels.jit import kernel
from edge_envs.semcom.config import Parameters
from edge_envs.semcom.image_quality import compression_needed, psnr_db, snr_needed, snr_term
from edge_envs.semcom.model.allocation import relax, share_evenly, solve_alternating
from edge_envs.semcom.model.state import State, pose
from edge_envs.semcom.solvers import joint
from edge_envs.semcom.solvers.paper_algorithms import compute_at_link
from edge_envs.semcom.solvers.problem import OBJECTIVE, prepare, transmit_energy
from edge_envs.semcom.solvers.subproblems import solve_link

PASSES = 10
"""Damped passes of the fixed-point rules; chosen."""
DAMPING = 0.5
POLISH_VALUES = 5
"""Compression rates that `drift-polish` tries for each device; chosen."""
STATIC_PASSES = 12
"""Newton passes in the fit of the best constant compression rates; chosen."""
FIRST_STEP, FINEST_STEP = 0.25, 5e-4
"""Largest and smallest step of the search over a single round, over the range of rates; chosen."""
LEAST_GAIN, SEARCH_PASSES = 1e-5, 40
"""Relative gain of a pass below which its step is halved, and passes at most; chosen."""
DEADLINE_STEPS = 80
WIDEST_SEARCH = 4.0
"""Range of ln T around the Average's delay that is searched for the best deadline; chosen."""
GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


@kernel
def copy_world(s: State, row: int, sketch: State) -> None:
    """Take over a world's geometry, channel, requirements and virtual queues."""
    sketch.cost_scale[0] = s.cost_scale[row]
    for n in range(sketch.gain.shape[1]):
        sketch.mean_gain[0, n] = s.mean_gain[row, n]
        sketch.gain[0, n] = s.gain[row, n]
        sketch.device_cycles[0, n] = s.device_cycles[row, n]
        sketch.server_cycles[0, n] = s.server_cycles[row, n]
        sketch.target_db[0, n] = s.target_db[row, n]
        sketch.queue_db[0, n] = s.queue_db[row, n]


@kernel
def fill_compression(p: Parameters, s: State, rate: float) -> None:
    """The same compression rate for all devices."""
    for n in range(p.num_devices):
        s.compression[0, n] = rate


@kernel
def limited(p: Parameters, rate: float) -> float:
    """A compression rate within its limits."""
    return min(max(rate, p.compression_min), p.compression_max)


@kernel
def drift_value(p: Parameters, s: State, constant: bool) -> float:
    """V cost / scale - sum Z P of the sketch's solution; `constant` puts the utility's weights in place of Z."""
    value = p.queue_weight * s.work.totals[OBJECTIVE] / s.cost_scale[0]
    for n in range(p.num_devices):
        quality = psnr_db(p.law, s.compression[0, n], math.expm1(s.work.u[n]))
        value -= quality_weight(p, s, n, constant) * quality
    return value


@kernel
def quality_weight(p: Parameters, s: State, n: int, constant: bool) -> float:
    """What a dB of device n is worth: its virtual queue, or the utility's weight in the same scale."""
    if constant:
        return p.queue_weight * p.psnr_weight_per_db / p.num_devices
    return s.queue_db[0, n]


@kernel
def drift(p: Parameters, s: State, constant: bool) -> None:
    """Drift plus penalty, min V cost / scale - sum Z P, by damped passes of its closed form.

    At given SNR and cost per unit of compression kappa: rho = Z a scale / (V kappa) - (c_s S + b / l) / c_rho.
    """
    fill_compression(p, s, 0.5 * (p.compression_min + p.compression_max))
    for _ in range(PASSES):
        pose(p, s, 0)
        joint.solve(s.problem, s.work, math.inf)
        for n in range(p.num_devices):
            worth = p.weight_energy * transmit_energy(s.work, n) + s.work.time_price[n] * s.work.upload_s[n]
            kappa = worth / s.compression[0, n]
            gained = quality_weight(p, s, n, constant) * p.law.scale_db * s.cost_scale[0] / (p.queue_weight * kappa)
            given = p.law.by_snr * snr_term(p.law, math.expm1(s.work.u[n])) + p.law.offset / p.law.stretch
            best = limited(p, gained - given / p.law.by_compression)
            s.compression[0, n] += DAMPING * (best - s.compression[0, n])


@kernel
def polish(p: Parameters, s: State, constant: bool) -> None:
    """One pass over the devices: the best of a few compression rates for each, with the exact solver."""
    pose(p, s, 0)
    joint.solve(s.problem, s.work, math.inf)
    best = drift_value(p, s, constant)
    for n in range(p.num_devices):
        chosen = s.compression[0, n]
        for k in range(POLISH_VALUES):
            share = k / (POLISH_VALUES - 1)
            s.compression[0, n] = p.compression_min + share * (p.compression_max - p.compression_min)
            pose(p, s, 0)
            joint.solve(s.problem, s.work, math.inf)
            value = drift_value(p, s, constant)
            if value < best:
                best, chosen = value, s.compression[0, n]
        s.compression[0, n] = chosen


@kernel
def myopic(p: Parameters, s: State) -> None:
    """The least compression rates that meet the requirement at the SNRs that the solver then gives, damped passes."""
    fill_compression(p, s, 0.5 * (p.compression_min + p.compression_max))
    for _ in range(PASSES):
        pose(p, s, 0)
        joint.solve(s.problem, s.work, math.inf)
        for n in range(p.num_devices):
            needed = compression_needed(p.law, math.expm1(s.work.u[n]), s.target_db[0, n])
            s.compression[0, n] += DAMPING * (limited(p, needed) - s.compression[0, n])


@kernel
def constant_rates(p: Parameters, s: State) -> None:
    """Smallest constant compression rates with which every device's mean PSNR meets its requirement, where it can.

    Newton's method on the means over the calibration rounds; the cost of each round grows with every rate, so these are
    the best constants.
    """
    fill_compression(p, s, 0.5 * (p.compression_min + p.compression_max))
    rounds = len(p.calibration_fades)
    for _ in range(STATIC_PASSES):
        for n in range(p.num_devices):
            s.psnr_sum_db[0, n] = 0.0
            s.sensitivity[0, n] = 0.0
        for k in range(rounds):
            for n in range(p.num_devices):
                s.gain[0, n] = s.mean_gain[0, n] * p.calibration_fades[k, n]
            pose(p, s, 0)
            joint.solve(s.problem, s.work, math.inf)
            for n in range(p.num_devices):
                quality = psnr_db(p.law, s.compression[0, n], math.expm1(s.work.u[n]))
                s.psnr_sum_db[0, n] += quality / rounds
                inside = math.exp(quality / p.law.scale_db)
                s.sensitivity[0, n] += p.law.scale_db * p.law.stretch * p.law.by_compression / inside / rounds
        for n in range(p.num_devices):
            step = (s.target_db[0, n] - s.psnr_sum_db[0, n]) / s.sensitivity[0, n]
            s.compression[0, n] = limited(p, s.compression[0, n] + step)


@kernel
def round_value(p: Parameters, s: State) -> float:
    """Cost of the sketch's jointly optimal round under its requirements, with the penalty for what it falls short.

    Without the deadline, which a step keeps where it can: missing it would be no reason to choose other rates.
    """
    pose(p, s, 0)
    for n in range(p.num_devices):
        s.problem.snr_min[n] = snr_needed(p.law, s.compression[0, n], s.target_db[0, n])
    s.relaxed[0] = 0
    relax(p, s, 0)
    joint.solve(s.problem, s.work, math.inf)
    value = s.work.totals[OBJECTIVE] / s.cost_scale[0]
    for n in range(p.num_devices):
        quality = psnr_db(p.law, s.compression[0, n], math.expm1(s.work.u[n]))
        short = max(s.target_db[0, n] - quality, 0.0)
        value += p.shortfall_penalty * short / max(s.target_db[0, n], 1.0) / p.num_devices
    return value


@kernel
def binds(p: Parameters, s: State) -> bool:
    """Whether a requirement binds, or had to be relaxed, in the round that `round_value` has just evaluated."""
    tight = s.relaxed[0] > 0
    for n in range(p.num_devices):
        tight = tight or math.expm1(s.work.u[n]) <= s.problem.snr_min[n] * (1.0 + 1e-9)
    return tight


@kernel
def try_shift(p: Parameters, s: State, device: int, shift: float, best: float) -> float:
    """Shift one device's rate, or all for `device` -1, and keep that if it costs less; returns the least cost."""
    for n in range(p.num_devices):
        s.rates[n] = s.compression[0, n]
        if device < 0 or device == n:
            s.compression[0, n] = limited(p, s.compression[0, n] + shift)
    value = round_value(p, s)
    if value < best:
        return value
    for n in range(p.num_devices):
        s.compression[0, n] = s.rates[n]
    return best


@kernel
def descend(p: Parameters, s: State, start: float) -> float:
    """Local search from common rates; returns the least cost. Steps are halved when none of them helps.

    The round's time is shared, so where several requirements bind a single rate may gain nothing on its own: all
    rates are also moved together.
    """
    fill_compression(p, s, start)
    best = round_value(p, s)
    span = p.compression_max - p.compression_min
    step = FIRST_STEP * span
    for _ in range(SEARCH_PASSES):
        before = best
        for device in range(-1, p.num_devices):
            for factor in (-2.0, -1.0, 1.0, 2.0):
                best = try_shift(p, s, device, factor * step, best)
        if before - best <= LEAST_GAIN * abs(best):
            step *= 0.5
        if step < FINEST_STEP * span:
            break
    return best


@kernel
def search_round(p: Parameters, s: State) -> None:
    """Compression rates of least cost in this round under its requirements: local search, joint solver inside.

    Bits and cost grow with a rate as long as the SNR it requires does not bind, so the smallest rates are optimal where
    no requirement binds at them. Otherwise the better of two searches, from the smallest and from the largest rates:
    the best found, as only the requirement is not convex.
    """
    fill_compression(p, s, p.compression_min)
    round_value(p, s)
    if not binds(p, s):
        return
    low = descend(p, s, p.compression_min)
    for n in range(p.num_devices):
        s.rho[n] = s.compression[0, n]
    if descend(p, s, p.compression_max) > low:
        for n in range(p.num_devices):
            s.compression[0, n] = s.rho[n]
    round_value(p, s)


@kernel
def average(p: Parameters, s: State) -> None:
    """Average Allocation: p, f and h at half of their limits, the middle compression rate, even bandwidths."""
    fill_compression(p, s, 0.5 * (p.compression_min + p.compression_max))
    pose(p, s, 0)
    prepare(s.problem, s.work)
    share_evenly(p, s)
    for n in range(p.num_devices):
        s.work.device_frequency_hz[n] = 0.5 * p.device_frequency_max_hz
        s.work.server_frequency_hz[n] = 0.5 * p.server_frequency_max_hz


@kernel
def even_link(p: Parameters, s: State) -> float:
    """Upload and compute times of the Average Allocation into the work space; returns its delay T [s]."""
    average(p, s)
    delay = 0.0
    for n in range(p.num_devices):
        snr = s.work.power_w[n] * s.problem.gain[n] / (p.noise_w_per_hz * s.work.bandwidth_hz[n])
        s.work.upload_s[n] = s.work.nats[n] / (s.work.bandwidth_hz[n] * math.log1p(snr))
        s.work.compute_s[n] = (
            s.problem.device_cycles[n] / s.work.device_frequency_hz[n]
            + s.problem.server_cycles[n] / s.work.server_frequency_hz[n]
        )
        needed = snr_needed(p.law, s.compression[0, n], s.target_db[0, n])
        # The paper does not say what happens where the middle rate cannot meet the requirement: here nothing does.
        s.problem.snr_min[n] = min(needed, snr)
        delay = max(delay, s.work.upload_s[n] + s.work.compute_s[n])
    prepare(s.problem, s.work)
    return delay


@kernel
def link_cost(p: Parameters, s: State, delay_s: float) -> float:
    """omega_1 T + the transmit cost of P4 at the Average's compute times and a deadline T; inf if it cannot be met."""
    for n in range(p.num_devices):
        room = delay_s - s.work.compute_s[n]
        if room <= 0.0:
            return math.inf
        s.rates[n] = s.problem.bits[n] / room
    if not solve_link(s.problem, s.work, s.rates):
        return math.inf
    return p.weight_time * delay_s + s.work.totals[OBJECTIVE]


@kernel
def link_only(p: Parameters, s: State, free_deadline: bool) -> None:
    """Optimize p, B only: P4 at the frequencies and compression rates of the Average Allocation.

    The paper leaves open what T is: that of the Average Allocation, or, with `free_deadline`, the best one. The cost is
    convex in T, so golden sections find it.
    """
    delay = even_link(p, s)
    if free_deadline:
        low, high = math.log(delay) - WIDEST_SEARCH, math.log(delay) + WIDEST_SEARCH
        for _ in range(DEADLINE_STEPS):
            left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
            below, above = link_cost(p, s, math.exp(left)), link_cost(p, s, math.exp(right))
            # Deadlines that cannot be met are all to the left.
            if below <= above and below < math.inf:
                high = right
            else:
                low = left
        delay = math.exp(high)
    link_cost(p, s, delay * (1.0 + 1e-12))


@kernel
def compute_only(p: Parameters, s: State) -> None:
    """Optimize f, h, rho only: powers and bandwidths of the Average Allocation, P3 for the rest."""
    average(p, s)
    for n in range(p.num_devices):
        snr = s.work.power_w[n] * s.problem.gain[n] / (p.noise_w_per_hz * s.work.bandwidth_hz[n])
        s.compression[0, n] = limited(p, compression_needed(p.law, snr, s.target_db[0, n]))
    pose(p, s, 0)
    compute_at_link(s.problem, s.work)


@kernel
def alternating(p: Parameters, s: State) -> None:
    """The proposed scheme: Algorithm 3 from even shares, with free compression rates."""
    fill_compression(p, s, p.compression_min)
    solve_alternating(p, s, 0, True)
