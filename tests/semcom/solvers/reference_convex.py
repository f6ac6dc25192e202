"""Problems 3, 4 and 1 (at given compression) handed to general solvers: CVXPY with Clarabel, and SciPy's SLSQP.

Like `reference_solvers` these know the problems' statement only, and they share no code with it (its solutions only
say where to start): they are checked against each other before anything is checked against them. CVXPY is imported
where it is needed, so that the tests that go without it run where it is missing.
"""

import math
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from edge_envs.semcom.solvers.problem import Problem
from tests.semcom.solvers.reference_solvers import Solution

Floats = NDArray[np.float64]

NODES, WEIGHTS = (0.5 * part for part in np.polynomial.legendre.leggauss(16))
NODES = NODES + 0.5
TOLERANCES = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}


class Split(NamedTuple):
    """An allocation as a general solver finds it: close to feasible, with the objective that the solver reports."""

    objective: float
    power_w: Floats
    bandwidth_hz: Floats
    device_hz: Floats
    server_hz: Floats


def near(solution: Solution, seed: int, spread: float) -> Split:
    """Numbers of about the right size for a general solver to start from: a solution with every entry moved."""
    rng = np.random.default_rng([13, seed])
    return Split(math.nan, *(part * np.exp(rng.uniform(-spread, spread, len(part))) for part in solution[:4]))


def _solve(objective: Any, constraints: list[Any]) -> float:
    """Least value of the objective; the tolerances ask for more than is always to be had, which does not matter."""
    import cvxpy as cp

    problem = cp.Problem(cp.Minimize(objective), constraints)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        problem.solve(solver=cp.CLARABEL, **TOLERANCES)
    if problem.status not in ("optimal", "optimal_inaccurate"):
        raise RuntimeError(problem.status)
    return float(problem.value)


def _delay_scale(problem: Problem, upload_s: Floats) -> float:
    """Order of the delay when both frequencies run at their caps."""
    device = problem.device_cycles / problem.device_frequency_max_hz
    return float((upload_s + device + problem.server_cycles / problem.server_frequency_max_hz).max())


def p3_by_cvxpy(problem: Problem, upload_s: Floats) -> float:
    """Objective of Problem 3 (P5 of the paper), convex as it stands, in units of its own size."""
    import cvxpy as cp

    n = len(upload_s)
    unit_s = _delay_scale(problem, upload_s)
    f_max, h_max = problem.device_frequency_max_hz, problem.server_frequency_max_hz
    # Frequencies in parts of what would spread the work over one unit of time: all numbers are around one.
    f_unit = np.minimum(f_max, 2 * problem.device_cycles / unit_s)
    h_unit = np.minimum(h_max, 2 * problem.server_cycles / unit_s)
    f, h, delay = cp.Variable(n, pos=True), cp.Variable(n, pos=True), cp.Variable()
    time_weight = problem.weight_time * unit_s
    weight = problem.weight_energy
    device = weight * problem.device_energy_coefficient * problem.device_cycles * f_unit**2
    server = weight * problem.server_energy_coefficient * problem.server_cycles * h_unit**2
    computing = cp.multiply(problem.device_cycles / (f_unit * unit_s), cp.inv_pos(f)) + cp.multiply(
        problem.server_cycles / (h_unit * unit_s), cp.inv_pos(h)
    )
    cost = (time_weight * delay + device @ cp.square(f) + server @ cp.square(h)) / time_weight
    limits = [upload_s / unit_s + computing <= delay, f <= f_max / f_unit, h <= h_max / h_unit]
    return _solve(cost, limits) * time_weight


def p4_by_cvxpy(problem: Problem, rate_min_bps: Floats) -> tuple[float, Floats]:
    """Objective and bandwidths of Problem 4 in its jointly convex form: r_n = -rel_entr(B_n, B_n + P_n) / ln 2.

    P_n = p_n g_n / N0 [Hz], so SNR is P_n / B_n. More rate than needed only costs, so energy is power times the least
    rate's upload time. Each device's two unknowns are in units of an even share of what its rate needs.
    """
    import cvxpy as cp

    n = len(rate_min_bps)
    nats = rate_min_bps * math.log(2.0)
    band_unit = np.full(n, problem.bandwidth_hz / n)
    reach = problem.power_max_w * problem.gain / problem.noise_w_per_hz
    snr = np.maximum(np.expm1(np.minimum(nats / band_unit, 40.0)), problem.snr_min)
    reach_unit = np.minimum(reach, snr * band_unit)
    band, power = cp.Variable(n, pos=True), cp.Variable(n, pos=True)
    ratio = reach_unit / band_unit
    rate = -cp.multiply(band_unit / nats, cp.rel_entr(band, band + cp.multiply(ratio, power)))
    energy = problem.weight_energy * problem.bits / rate_min_bps
    energy = energy * reach_unit * problem.noise_w_per_hz / problem.gain
    limits = [
        rate >= 1.0,
        power <= reach / reach_unit,
        cp.multiply(problem.snr_min / ratio, band) <= power,
        cp.sum(cp.multiply(band_unit / problem.bandwidth_hz, band)) <= 1.0,
    ]
    scale = float(energy.sum())
    objective = _solve((energy / scale) @ power, limits) * scale
    return objective, np.asarray(band.value * band_unit)


def joint_by_cvxpy(problem: Problem, centre: Split, deadline_s: float = math.inf) -> Split:
    """Problem 1 in the logarithms of bandwidth, upload time and frequencies, where it is convex.

    An upload of c nats takes e0 (e^v - 1) / v joules at v >= c / (B t). Since (e^v - 1) / v is the mean of e^(s v)
    over s in [0, 1], Gauss-Legendre nodes s turn it into a sum of exponentials: exactly, to rounding, for any v that
    an SNR of 100 dB allows. The unknowns are counted from an allocation of about the right size, which gives the
    conic solver numbers around one to work with and has no other influence.
    """
    import cvxpy as cp

    n = len(problem.bits)
    nats = problem.bits * math.log(2.0)
    noise_over_gain = problem.noise_w_per_hz / problem.gain
    # v0, t0 and T0 belong to the centre's bandwidths and powers; a centre that is not feasible will do.
    v0 = np.log1p(centre.power_w / (noise_over_gain * centre.bandwidth_hz))
    t0 = nats / (centre.bandwidth_hz * v0)
    computing0 = problem.device_cycles / centre.device_hz, problem.server_cycles / centre.server_hz
    unit_s = float((t0 + computing0[0] + computing0[1]).max())
    weight = problem.weight_energy / (problem.weight_time * unit_s)

    x, y, f, h = (cp.Variable(n) for _ in range(4))
    v, delay = cp.Variable(n), cp.Variable()
    energy, limits = 0.0, [cp.sum(cp.multiply(centre.bandwidth_hz / problem.bandwidth_hz, cp.exp(x))) <= 1.0]
    for i in range(n):
        # Each node's part of the centre's energy, and of its power compared with the limit.
        joules = noise_over_gain[i] * nats[i] * np.exp(NODES * v0[i]) * WEIGHTS
        terms = cp.multiply(NODES, v[i] * np.ones(len(NODES)))
        energy = energy + weight * joules @ cp.exp(terms)
        limits.append(joules / (t0[i] * problem.power_max_w[i]) @ cp.exp(terms - y[i]) <= 1.0)
    energy = energy + weight * problem.device_energy_coefficient * (
        (problem.device_cycles * centre.device_hz**2) @ cp.exp(2.0 * f)
    )
    energy = energy + weight * problem.server_energy_coefficient * (
        (problem.server_cycles * centre.server_hz**2) @ cp.exp(2.0 * h)
    )
    spent = cp.multiply(t0, cp.exp(y)) + cp.multiply(computing0[0], cp.exp(-f)) + cp.multiply(computing0[1], cp.exp(-h))
    limits += [
        1.0 + v / v0 >= cp.exp(-x - y),
        spent / unit_s <= delay,
        f <= np.log(problem.device_frequency_max_hz / centre.device_hz),
        h <= np.log(problem.server_frequency_max_hz / centre.server_hz),
    ]
    bound = problem.snr_min > 0.0
    if bound.any():
        limits.append((x + y)[bound] <= np.log(v0[bound] / np.log1p(problem.snr_min[bound])))
    if math.isfinite(deadline_s):
        limits.append(delay <= deadline_s / unit_s)
    value = _solve(delay + energy, limits)
    found = [np.exp(np.asarray(part.value, dtype=np.float64)) for part in (x, y, f, h)]
    band, upload_s = centre.bandwidth_hz * found[0], t0 * found[1]
    return Split(
        value * problem.weight_time * unit_s,
        noise_over_gain * band * np.expm1(nats / (band * upload_s)), band,
        centre.device_hz * found[2], centre.server_hz * found[3],
    )  # fmt: skip


def joint_by_slsqp(problem: Problem, starts: list[Split]) -> Split:
    """Problem 1 by SciPy's SLSQP in the same logarithms, derivatives by complex steps, from several starts.

    No proof of anything, but another person's method: the best of its answers that are feasible to 1e-9.
    """
    answers = [_slsqp_from(problem, start) for start in starts]
    return min(answers, key=lambda answer: answer.objective)


def _slsqp_from(problem: Problem, start: Split) -> Split:
    """One run of SLSQP; the objective is infinite if it ends outside the limits."""
    n = len(problem.bits)
    nats = problem.bits * math.log(2.0)
    noise_over_gain = problem.noise_w_per_hz / problem.gain
    v0 = np.log1p(start.power_w / (noise_over_gain * start.bandwidth_hz))
    t0 = nats / (start.bandwidth_hz * v0)
    unit_s = float((t0 + problem.device_cycles / start.device_hz + problem.server_cycles / start.server_hz).max())
    bound = problem.snr_min > 0.0

    def parts(z: Any) -> Any:
        band, upload, device, server = (np.exp(z[k * n : (k + 1) * n]) for k in range(4))
        band, upload = start.bandwidth_hz * band, t0 * upload
        device, server = start.device_hz * device, start.server_hz * server
        power = noise_over_gain * band * (np.exp(nats / (band * upload)) - 1.0)
        return band, upload, device, server, power, unit_s * z[-1]

    def objective(z: Any) -> Any:
        _, upload, device, server, power, delay = parts(z)
        energy = power * upload + problem.device_energy_coefficient * problem.device_cycles * device**2
        energy = energy + problem.server_energy_coefficient * problem.server_cycles * server**2
        return (problem.weight_time * delay + problem.weight_energy * energy.sum()) / (problem.weight_time * unit_s)

    def room(z: Any) -> Any:
        band, upload, device, server, power, delay = parts(z)
        spent = upload + problem.device_cycles / device + problem.server_cycles / server
        snr = nats[bound] / (np.log1p(problem.snr_min[bound]) * (band * upload)[bound])
        return np.concatenate([
            [-np.log(band.sum() / problem.bandwidth_hz)], np.log(snr), -np.log(power / problem.power_max_w),
            (delay - spent) / unit_s, -np.log(device / problem.device_frequency_max_hz),
            -np.log(server / problem.server_frequency_max_hz),
        ])  # fmt: skip

    found = minimize(
        objective, np.concatenate([np.zeros(4 * n), [1.0]]), jac="cs", method="SLSQP",
        bounds=[(-12.0, 12.0)] * (4 * n) + [(0.0, 20.0)],
        constraints={"type": "ineq", "fun": room, "jac": lambda z: _complex_steps(room, z)},
        options={"maxiter": 400, "ftol": 1e-14},
    )  # fmt: skip
    band, _, device, server, power, _ = parts(found.x)
    feasible = float(np.min(room(found.x))) >= -1e-9
    value = float(objective(found.x)) * problem.weight_time * unit_s if feasible else math.inf
    return Split(value, power, band, device, server)


def _complex_steps(function: Any, z: Floats) -> Floats:
    """Jacobian of a vector function, column by column."""
    return np.array([function(z + 1e-30j * row).imag / 1e-30 for row in np.eye(len(z))]).T
