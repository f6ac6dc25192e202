"""Compiled rules of the baselines. Each writes its decision for the next round into a state with a single world."""

from __future__ import annotations

import math

from edge_envs.core.kernels.jit import kernel
from edge_envs.semcom.image_quality import compression_needed, psnr_db, snr_needed, snr_term
from edge_envs.semcom.model.allocation import relax_required_snr, set_even_shares, solve_alternating, solve_round
from edge_envs.semcom.model.parameters import PSNR_MODE, Parameters
from edge_envs.semcom.model.state import State, set_problem
from edge_envs.semcom.solvers import joint
from edge_envs.semcom.solvers.paper_algorithms import compute_at_link
from edge_envs.semcom.solvers.problem import TOTAL, prepare, snr_of, upload_sensitivity
from edge_envs.semcom.solvers.subproblems import solve_link

PASSES = 10
"""Damped passes of the fixed-point rules; chosen."""
DAMPING = 0.5
POLISH_VALUES = 5
"""Compression rates that `drift-polish` tries for each device; chosen."""
STATIC_PASSES = 12
"""Newton passes in the fit of the best constant compression rates; chosen."""
STEP_MAX, STEP_MIN = 0.25, 5e-4
"""Largest and smallest step of the search over a round, relative to the range of compression rates; chosen."""
IMPROVEMENT_MIN, SEARCH_PASSES_MAX = 1e-5, 40
"""Relative improvement of a pass below which the step is halved, and largest number of passes; chosen."""
DEADLINE_STEPS = 80
LOG_DELAY_RANGE = 4.0
"""The best deadline is searched within this distance of the Average Allocation's delay, in ln T; chosen."""
GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


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
def drift_value(p: Parameters, s: State) -> float:
    """V cost / scale - sum Z P of the solved round, with the weights of `quality_weight` as Z."""
    value = p.queue_weight * s.workspace.totals[TOTAL.objective] / s.cost_scale[0]
    for n in range(p.num_devices):
        quality = psnr_db(p.law, s.compression[0, n], math.expm1(s.workspace.u[n]))
        value -= quality_weight(p, s, n) * quality
    return value


@kernel
def quality_weight(p: Parameters, s: State, n: int) -> float:
    """Weight Z of device n's PSNR: its virtual queue; without long-term requirements V times the utility's weight."""
    if p.psnr_mode != PSNR_MODE.LONG_TERM:
        return p.queue_weight * p.psnr_weight_per_db / p.num_devices
    return s.queue_db[0, n]


@kernel
def drift(p: Parameters, s: State) -> None:
    """Drift plus penalty, min V cost / scale - sum Z P, by damped fixed-point passes.

    At a given SNR and marginal cost kappa of the compression rate,
    rho = Z a scale / (V kappa) - (c_s S + b / l) / c_rho.
    """
    fill_compression(p, s, 0.5 * (p.compression_min + p.compression_max))
    for _ in range(PASSES):
        solve_round(p, s, 0)
        for n in range(p.num_devices):
            kappa = upload_sensitivity(s.problem, s.workspace, n) / s.compression[0, n]
            gained = quality_weight(p, s, n) * p.law.scale_db * s.cost_scale[0] / (p.queue_weight * kappa)
            given = p.law.by_snr * snr_term(p.law, math.expm1(s.workspace.u[n])) + p.law.offset / p.law.stretch
            best = limited(p, gained - given / p.law.by_compression)
            s.compression[0, n] += DAMPING * (best - s.compression[0, n])


@kernel
def polish(p: Parameters, s: State) -> None:
    """One pass over the devices that tries a few compression rates of each with the exact solver and keeps the best."""
    solve_round(p, s, 0)
    best = drift_value(p, s)
    for n in range(p.num_devices):
        chosen = s.compression[0, n]
        for k in range(POLISH_VALUES):
            share = k / (POLISH_VALUES - 1)
            s.compression[0, n] = p.compression_min + share * (p.compression_max - p.compression_min)
            solve_round(p, s, 0)
            value = drift_value(p, s)
            if value < best:
                best, chosen = value, s.compression[0, n]
        s.compression[0, n] = chosen


@kernel
def drift_polish(p: Parameters, s: State) -> None:
    """`drift`, then `polish`."""
    drift(p, s)
    polish(p, s)


@kernel
def myopic(p: Parameters, s: State) -> None:
    """Smallest compression rates that meet the requirements at the SNRs of the joint optimum, by damped passes."""
    fill_compression(p, s, 0.5 * (p.compression_min + p.compression_max))
    for _ in range(PASSES):
        solve_round(p, s, 0)
        for n in range(p.num_devices):
            needed = compression_needed(p.law, math.expm1(s.workspace.u[n]), s.target_db[0, n])
            s.compression[0, n] += DAMPING * (limited(p, needed) - s.compression[0, n])


@kernel
def constant_rates(p: Parameters, s: State) -> None:
    """Smallest constant compression rates with which each device's mean PSNR meets its requirement, if it can.

    Newton's method on the means over the calibration rounds. The cost of each round grows with every rate, so these
    constants are the best.
    """
    fill_compression(p, s, 0.5 * (p.compression_min + p.compression_max))
    rounds = len(p.calibration_fades)
    for _ in range(STATIC_PASSES):
        for n in range(p.num_devices):
            s.psnr_mean_db[n] = 0.0
            s.psnr_slope_db[n] = 0.0
        for k in range(rounds):
            for n in range(p.num_devices):
                s.gain[0, n] = s.mean_gain[0, n] * p.calibration_fades[k, n]
            solve_round(p, s, 0)
            for n in range(p.num_devices):
                quality = psnr_db(p.law, s.compression[0, n], math.expm1(s.workspace.u[n]))
                s.psnr_mean_db[n] += quality / rounds
                inside = math.exp(quality / p.law.scale_db)
                s.psnr_slope_db[n] += p.law.scale_db * p.law.stretch * p.law.by_compression / inside / rounds
        for n in range(p.num_devices):
            step = (s.target_db[0, n] - s.psnr_mean_db[n]) / s.psnr_slope_db[n]
            s.compression[0, n] = limited(p, s.compression[0, n] + step)


@kernel
def round_value(p: Parameters, s: State) -> float:
    """Cost of the optimal round at the compression rates under the requirements, plus the penalty of the shortfalls.

    The deadline is ignored: a step meets it if possible, and the reward does not depend on missed deadlines.
    """
    set_problem(p, s, 0)
    for n in range(p.num_devices):
        s.problem.snr_min[n] = snr_needed(p.law, s.compression[0, n], s.target_db[0, n])
    s.relaxed[0] = 0
    relax_required_snr(p, s, 0)
    joint.solve(s.problem, s.workspace, math.inf)
    value = s.workspace.totals[TOTAL.objective] / s.cost_scale[0]
    for n in range(p.num_devices):
        quality = psnr_db(p.law, s.compression[0, n], math.expm1(s.workspace.u[n]))
        short = max(s.target_db[0, n] - quality, 0.0)
        value += p.shortfall_penalty * short / max(s.target_db[0, n], 1.0) / p.num_devices
    return value


@kernel
def binds(p: Parameters, s: State) -> bool:
    """Return True if a requirement binds, or had to be relaxed, in the round that `round_value` evaluated last."""
    tight = s.relaxed[0] > 0
    for n in range(p.num_devices):
        tight = tight or math.expm1(s.workspace.u[n]) <= s.problem.snr_min[n] * (1.0 + 1e-9)
    return tight


@kernel
def try_shift(p: Parameters, s: State, device: int, shift: float, best: float) -> float:
    """Shift the rate of one device (all if `device` is -1), undo it unless the cost falls; return the lower cost."""
    for n in range(p.num_devices):
        s.compression_backup[n] = s.compression[0, n]
        if device < 0 or device == n:
            s.compression[0, n] = limited(p, s.compression[0, n] + shift)
    value = round_value(p, s)
    if value < best:
        return value
    for n in range(p.num_devices):
        s.compression[0, n] = s.compression_backup[n]
    return best


@kernel
def descend(p: Parameters, s: State, start: float) -> float:
    """Local search from a common rate, with steps that are halved when none of them helps; returns the lowest cost.

    If several requirements bind, changing a single rate may not shorten the round, so steps also shift all rates
    together.
    """
    fill_compression(p, s, start)
    best = round_value(p, s)
    span = p.compression_max - p.compression_min
    step = STEP_MAX * span
    for _ in range(SEARCH_PASSES_MAX):
        before = best
        for device in range(-1, p.num_devices):
            for factor in (-2.0, -1.0, 1.0, 2.0):
                best = try_shift(p, s, device, factor * step, best)
        if before - best <= IMPROVEMENT_MIN * abs(best):
            step *= 0.5
        if step < STEP_MIN * span:
            break
    return best


@kernel
def search_round(p: Parameters, s: State) -> None:
    """Compression rates of least cost in the next round under its requirements, by local search with the joint solver.

    If the required SNR at a rate is not active, bits and cost increase with the rate. Therefore the smallest rates are
    optimal if no requirement is active at them. Otherwise the problem is not convex; two searches start from the
    smallest and from the largest rates, and the better result is returned.
    """
    fill_compression(p, s, p.compression_min)
    round_value(p, s)
    if not binds(p, s):
        return
    low = descend(p, s, p.compression_min)
    for n in range(p.num_devices):
        s.compression_best[n] = s.compression[0, n]
    if descend(p, s, p.compression_max) > low:
        for n in range(p.num_devices):
            s.compression[0, n] = s.compression_best[n]
    round_value(p, s)


@kernel
def average(p: Parameters, s: State) -> None:
    """The paper's Average Allocation: p, f, h at half of their limits, the middle compression rate, even bandwidths."""
    fill_compression(p, s, 0.5 * (p.compression_min + p.compression_max))
    set_problem(p, s, 0)
    prepare(s.problem, s.workspace)
    set_even_shares(p, s)
    for n in range(p.num_devices):
        s.workspace.device_frequency_hz[n] = 0.5 * p.device_frequency_max_hz
        s.workspace.server_frequency_hz[n] = 0.5 * p.server_frequency_max_hz


@kernel
def even_link(p: Parameters, s: State) -> float:
    """Store upload and compute times of the Average Allocation in the workspace; returns its delay T [s]."""
    average(p, s)
    delay = 0.0
    for n in range(p.num_devices):
        snr = snr_of(s.problem, s.workspace, n)
        s.workspace.upload_s[n] = s.workspace.data_nats[n] / (s.workspace.bandwidth_hz[n] * math.log1p(snr))
        s.workspace.compute_s[n] = (
            s.problem.device_cycles[n] / s.workspace.device_frequency_hz[n]
            + s.problem.server_cycles[n] / s.workspace.server_frequency_hz[n]
        )
        needed = snr_needed(p.law, s.compression[0, n], s.target_db[0, n])
        # The paper does not cover middle rates that cannot meet the requirement. Here the device keeps its SNR.
        s.problem.snr_min[n] = min(needed, snr)
        delay = max(delay, s.workspace.upload_s[n] + s.workspace.compute_s[n])
    prepare(s.problem, s.workspace)
    return delay


@kernel
def link_cost(p: Parameters, s: State, delay_s: float) -> float:
    """omega_1 T plus the cost of P4 at the Average Allocation's compute times and a deadline T; inf if infeasible."""
    for n in range(p.num_devices):
        room = delay_s - s.workspace.compute_s[n]
        if room <= 0.0:
            return math.inf
        s.workspace.rate_min_bps[n] = s.problem.bits[n] / room
    if not solve_link(s.problem, s.workspace, s.workspace.rate_min_bps):
        return math.inf
    return p.weight_time * delay_s + s.workspace.totals[TOTAL.objective]


@kernel
def link_only(p: Parameters, s: State, free_deadline: bool) -> None:
    """The paper's "optimize p, B only": P4 at the frequencies and compression rates of the Average Allocation.

    The paper does not specify T. Here it is that of the Average Allocation or, with `free_deadline`, the best one, by
    golden-section search, as the cost is convex in T.
    """
    delay = even_link(p, s)
    if free_deadline:
        low, high = math.log(delay) - LOG_DELAY_RANGE, math.log(delay) + LOG_DELAY_RANGE
        for _ in range(DEADLINE_STEPS):
            left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
            below, above = link_cost(p, s, math.exp(left)), link_cost(p, s, math.exp(right))
            # Infeasible deadlines are the shortest ones.
            if below <= above and below < math.inf:
                high = right
            else:
                low = left
        delay = math.exp(high)
    link_cost(p, s, delay * (1.0 + 1e-12))


@kernel
def compute_only(p: Parameters, s: State) -> None:
    """The paper's "optimize f, h, rho only": powers and bandwidths of the Average Allocation, P3 for the others."""
    average(p, s)
    for n in range(p.num_devices):
        snr = snr_of(s.problem, s.workspace, n)
        s.compression[0, n] = limited(p, compression_needed(p.law, snr, s.target_db[0, n]))
    set_problem(p, s, 0)
    compute_at_link(s.problem, s.workspace)


@kernel
def alternating(p: Parameters, s: State) -> None:
    """The paper's proposed method: Algorithm 3 from even shares, with free compression rates."""
    fill_compression(p, s, p.compression_min)
    solve_alternating(p, s, 0, True)
