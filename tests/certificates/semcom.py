"""SemCom's solvers, broken on purpose: what they lose, worked out by the tests' own reference, against `gap`.

An allocation beyond a limit loses its largest relative violation as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np

from edge_envs.semcom import algorithm_2, alternating, device, joint, problem, solvers, subproblems
from edge_envs.semcom.problem import Problem
from tests.certificates.harness import Mutation, Solver
from tests.semcom import reference_solvers as reference
from tests.semcom.problems import random_problem, random_upload_times, tight_start

SEEDS = range(12)


@dataclass(frozen=True, slots=True)
class Instance:
    """A problem, what else the solver is given, and the least cost."""

    problem: Problem
    given: tuple[Any, ...]
    least: float


def instances(solve: Callable[..., Any], cases: Sequence[tuple[Problem, tuple[Any, ...]]]) -> list[Instance]:
    """Problems with what else the solver is given, and what the unbroken solver makes of them."""
    return [Instance(case, given, solve(case, *given).objective) for case, given in cases]


def solver(
    name: str, solve: Callable[..., Any], cost: Callable[[Instance, Any], float],
    cases: Sequence[tuple[Problem, tuple[Any, ...]]], mutations: Sequence[Mutation],
) -> Solver:  # fmt: skip
    """An entry of the table for a function of `solvers`, whose result holds its `gap`."""

    def certified(instance: Instance) -> tuple[Any, float]:
        found = solve(instance.problem, *instance.given)
        return found, found.gap

    def scale(instance: Instance, found: Any) -> float:
        del found
        return instance.least

    return Solver(name, instances(solve, cases), certified, cost, scale, mutations)


def round_cost(instance: Instance, found: solvers.Allocation) -> float:
    """Cost of a whole round, and of what it violates."""
    deadline_s = instance.given[0] if instance.given else math.inf
    result = reference.evaluate(
        instance.problem, found.power_w, found.bandwidth_hz, found.device_frequency_hz, found.server_frequency_hz
    )
    violation = max(result.violation, result.delay_s / deadline_s - 1.0, 0.0)
    return result.objective + instance.least * violation


def compute_cost(instance: Instance, found: solvers.ComputeAllocation) -> float:
    """Cost of frequencies in P3, and of what they violate."""
    task, (upload_s,) = instance.problem, instance.given
    device_hz, server_hz = found.device_frequency_hz, found.server_frequency_hz
    delay_s = (upload_s + task.device_cycles / device_hz + task.server_cycles / server_hz).max()
    energy_j = task.device_energy_coefficient * task.device_cycles @ device_hz**2
    energy_j += task.server_energy_coefficient * task.server_cycles @ server_hz**2
    excess = max((device_hz / task.device_frequency_max_hz).max(), (server_hz / task.server_frequency_max_hz).max())
    return float(
        task.weight_time * delay_s + task.weight_energy * energy_j + instance.least * max(excess - 1.0, 0.0)
    )  # fmt: skip


def link_cost(instance: Instance, found: solvers.LinkAllocation) -> float:
    """Cost of powers and bandwidths in P4, and of what they violate."""
    task, rates = instance.problem, instance.given[0]
    caps = task.device_frequency_max_hz, task.server_frequency_max_hz
    result = reference.evaluate(task, found.power_w, found.bandwidth_hz, *caps)
    slow = float((result.upload_s * rates / task.bits).max()) - 1.0
    violation = max(result.violation, slow, 0.0)
    return task.weight_energy * result.transmit_energy_j + instance.least * violation


def nested(task: Problem) -> solvers.Allocation:
    """The joint optimum by the nested searches alone."""
    with patch.object(joint, "newton", lambda *_: False):
        return solvers.solve_joint(task)


def wide(task: Problem) -> Problem:
    """A problem whose band is ample, with an SNR required of every device."""
    return task._replace(snr_min=np.maximum(task.snr_min, 0.5), bandwidth_hz=1e15)


def attainable(task: Problem) -> Problem:
    """A problem whose required SNRs are no higher than half of the power and an even share of the band give."""
    snr = 0.5 * task.power_max_w * task.gain * len(task.gain) / (task.noise_w_per_hz * task.bandwidth_hz)
    return task._replace(snr_min=np.minimum(task.snr_min, 0.9 * snr))


def deadline(task: Problem) -> float:
    """A deadline halfway between the shortest and the best."""
    shortest_s, best_s = reference.least_delay(task), solvers.solve_joint(task).delay_s
    return shortest_s + 0.5 * (best_s - shortest_s)


PROBLEMS = {seed: random_problem(seed, 2 + seed % 3) for seed in SEEDS}
TIGHT = [tight_start(task, seed) for seed, task in PROBLEMS.items()]

P3 = [
    Mutation("price of time x 3", problem.energy_price, "return 2.0 *", "return 6.0 *"),
    Mutation("device's cycles only", problem.compute_phase, "(device_cycles + server_cycles) / compute_s", "device_cycles / compute_s"),
    Mutation("first device's price for all", subproblems.common_deadline, "time_price_of(problem, work, n, compute)", "time_price_of(problem, work, 0, compute)"),
    Mutation("bisection the wrong way", subproblems.common_deadline, "if error > 0.0:", "if error < 0.0:"),
    Mutation("one step", subproblems.common_deadline, "range(MOST_STEPS)", "range(1)"),
    Mutation("device's limit halved", problem.set_frequencies, "work.device_frequency_hz[n] = device", "work.device_frequency_hz[n] = min(device, 0.5 * problem.device_frequency_max_hz[n])"),
]  # fmt: skip

P4 = [
    Mutation("first device's energy for all", subproblems.band_at_price, "work.energy_j[n]", "work.energy_j[0]"),
    Mutation("a higher price for each device", subproblems.band_at_price, "inverse_bend(price / worth", "inverse_bend((1.0 + n) * price / worth"),
    Mutation("band halved", subproblems.band_price, "math.log(total / problem.bandwidth_hz)", "math.log(2.0 * total / problem.bandwidth_hz)"),
    Mutation("bisection the wrong way", subproblems.band_price, "if error > 0.0:", "if error < 0.0:"),
    Mutation("two sweeps", subproblems.band_price, "sweeps < MOST_STEPS", "sweeps < 2"),
    Mutation("power limit halved", subproblems.solve_link, "work.u_max[n] = most", "work.u_max[n] = max(least, 0.5 * most)"),
    Mutation("SNR required ignored", subproblems.band_at_price, "min(max(free, work.u_min[n]), work.u_max[n])", "min(free, work.u_max[n])"),
]  # fmt: skip

P7 = [
    Mutation("first device's gain for all", algorithm_2.solve_p7, "/ problem.gain[n]\n        worth", "/ problem.gain[0]\n        worth"),
    Mutation("band halved", algorithm_2.solve_p7, "if total > problem.bandwidth_hz", "if total > 0.5 * problem.bandwidth_hz"),
    Mutation("price x 3 at the rate's limit", algorithm_2.best_at_price, "inverse_bend(price / cost", "inverse_bend(3.0 * price / cost"),
    Mutation("bisection the wrong way", algorithm_2.solve_p7, "if total > problem.bandwidth_hz:", "if total < problem.bandwidth_hz:"),
    Mutation("thirty steps", algorithm_2.solve_p7, "range(PRICE_STEPS)", "range(4)"),
    Mutation("power limit ignored", algorithm_2.best_at_price, "u = min(max(inverse_bend(price / cost, 0.0), least), most)", "u = max(inverse_bend(price / cost, 0.0), least)"),
    Mutation("stops at once", algorithm_2.refine, "if size <= tolerance or", "if size <= 1e9 or"),
]  # fmt: skip

ALTERNATION = [
    Mutation("required rates halved", alternating.alternate, "rates[n] = work.nats[n] / LN2", "rates[n] = 0.5 * work.nats[n] / LN2"),
    Mutation("first device's gain for all", alternating.take_link, "problem.gain[n]", "problem.gain[0]"),
    *P3[:4],
]  # fmt: skip

NEWTON = [
    Mutation("time worth twice as much", joint.sweep, "math.log(worth / problem.weight_time)", "math.log(0.5 * worth / problem.weight_time)"),
    Mutation("half of the band", joint.sweep, "math.log(band / problem.bandwidth_hz)", "math.log(2.0 * band / problem.bandwidth_hz)"),
    Mutation("twice the band", joint.sweep, "math.log(band / problem.bandwidth_hz)", "math.log(0.5 * band / problem.bandwidth_hz)"),
    Mutation("early stop", joint.newton, "size <= TOLERANCE", "size <= 0.5"),
    Mutation("first device's price of time for all", joint.sweep, "work.bandwidth_hz[n], work.time_price[n]", "work.bandwidth_hz[n], work.time_price[0]"),
    Mutation("first device's gain for all", problem.prepare, "nats / problem.gain[n]", "nats / problem.gain[0]"),
    Mutation("power limit halved", joint.finish, "problem.power_max_w[n])", "0.5 * problem.power_max_w[n])"),
    Mutation("delay x 0.7", joint.finish, "max(work.totals[DELAY] -", "max(0.7 * work.totals[DELAY] -"),
]  # fmt: skip

DEVICE = [
    Mutation("first device's energy for all", device.unconstrained, "work.energy_j[n]", "work.energy_j[0]"),
    Mutation("price of time x 2", device.unconstrained, "error = math.log(beta / worth)", "error = math.log(2.0 * beta / worth)"),
    Mutation("two steps", device.unconstrained, "range(MOST_STEPS)", "range(2)"),
    Mutation("SNR required ignored", device.settle, "snr_binds = u < work.u_min[n]", "snr_binds = False"),
    Mutation("power limit doubled", device.settle, "work.upload_s[n] < work.nats[n]", "work.upload_s[n] < 0.5 * work.nats[n]"),
    Mutation("at full power: bisection the wrong way", device.at_full_power, "if error > 0.0:", "if error < 0.0:"),
    Mutation("at full power: band's price halved", device.at_full_power, "strength = price", "strength = 0.5 * price"),
    Mutation("at the SNR: one step", device.at_least_snr, "range(MOST_STEPS)", "range(1)"),
    Mutation("frequency squared", problem.time_price_of, "fast * fast * fast, slope", "fast * fast, slope"),
]  # fmt: skip

NESTED = [
    Mutation("delay: early stop", joint.best_delay, "abs(error) <= 0.1 * TOLERANCE", "abs(error) <= 0.5"),
    Mutation("delay: three sweeps", joint.best_delay, "range(NESTED_SWEEPS)", "range(3)"),
    Mutation("delay: bisection the wrong way", joint.best_delay, "if error > 0.0:", "if error < 0.0:"),
    Mutation("price: one sweep", joint.nested, "range(NESTED_SWEEPS)", "range(1)"),
    Mutation("price: early stop", joint.nested, "abs(error) <= TOLERANCE", "abs(error) <= 0.5"),
    Mutation("price: bisection the wrong way", joint.nested, "if error > 0.0:", "if error < 0.0:"),
]  # fmt: skip

DEADLINE = [
    Mutation("deadline ignored", joint.solve, "work.totals[DELAY] > deadline_s", "work.totals[DELAY] > 1e3 * deadline_s"),
    Mutation("deadline x 0.95", joint.hold_deadline, "slope, _, _ = sweep(problem, work, deadline_s, price)", "slope, _, _ = sweep(problem, work, 0.95 * deadline_s, price)"),
    Mutation("early stop", joint.hold_deadline, "abs(error) <= TOLERANCE", "abs(error) <= 0.3"),
    Mutation("one sweep", joint.hold_deadline, "range(NESTED_SWEEPS)", "range(1)"),
    Mutation("bisection the wrong way", joint.hold_deadline, "if error > 0.0:", "if error < 0.0:"),
    *DEVICE[:2],
]  # fmt: skip

AMPLE = [
    Mutation("SNR x 1.5", joint.ample_bandwidth, "work.u[n] = work.u_min[n]", "work.u[n] = 1.5 * work.u_min[n]"),
    Mutation("uploads 30 % longer", joint.ample_bandwidth, "work.upload_s[n] = work.least_upload_s[n]", "work.upload_s[n] = 1.3 * work.least_upload_s[n]"),
    Mutation("first device's SNR for all", joint.ample_bandwidth, "work.u[n] = work.u_min[n]", "work.u[n] = work.u_min[0]"),
    Mutation("band halved", joint.ample_bandwidth, "work.bandwidth_hz[n] = work.nats[n]", "work.bandwidth_hz[n] = 0.5 * work.nats[n]"),
    *P3[:4],
]  # fmt: skip

SOLVERS = [
    solver("P3", solvers.solve_p3, compute_cost, [(task, (random_upload_times(task, seed),)) for seed, task in PROBLEMS.items()], P3),
    solver("P4", solvers.solve_p4, link_cost, [(task, (rates,)) for task, _, _, rates in TIGHT], P4),
    solver("Algorithm 2", solvers.algorithm_2, link_cost, [(task, (rates, power, band)) for task, power, band, rates in TIGHT], P7),
    solver("Algorithm 3", solvers.algorithm_3, round_cost, [(attainable(task), ()) for task in PROBLEMS.values()], ALTERNATION),
    solver("joint optimum", solvers.solve_joint, round_cost, [(task, ()) for task in PROBLEMS.values()], NEWTON),
    solver("joint optimum, a device's part", solvers.solve_joint, round_cost, [(task, ()) for task in PROBLEMS.values()], DEVICE),
    solver("joint optimum, nested searches", nested, round_cost, [(task, ()) for task in PROBLEMS.values()], NESTED),
    solver("joint optimum, deadline", solvers.solve_joint, round_cost, [(task, (deadline(task),)) for task in PROBLEMS.values()], DEADLINE),
    solver("joint optimum, ample band", solvers.solve_joint, round_cost, [(wide(task), ()) for task in PROBLEMS.values()], AMPLE),
]  # fmt: skip
