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

from edge_envs.semcom.solvers import api, joint, one_device, paper_algorithms, problem, subproblems
from edge_envs.semcom.solvers.problem import Problem
from tests.certificates.harness import Mutation, Solver
from tests.semcom.solvers import reference_solvers as reference
from tests.semcom.solvers.problems import random_problem, random_upload_times, tight_start

SEEDS = range(12)
FEW = 5
"""Instances of the nested searches, which are slow."""


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


def round_cost(instance: Instance, found: api.Allocation) -> float:
    """Cost of a whole round, and of what it violates."""
    deadline_s = instance.given[0] if instance.given else math.inf
    result = reference.evaluate(
        instance.problem, found.power_w, found.bandwidth_hz, found.device_frequency_hz, found.server_frequency_hz
    )
    violation = max(result.violation, result.delay_s / deadline_s - 1.0, 0.0)
    return result.objective + instance.least * violation


def compute_cost(instance: Instance, found: api.ComputeAllocation) -> float:
    """Cost of frequencies in P3, and of what they violate."""
    task, (upload_s,) = instance.problem, instance.given
    device_hz, server_hz = found.device_frequency_hz, found.server_frequency_hz
    delay_s = (upload_s + task.device_cycles / device_hz + task.server_cycles / server_hz).max()
    energy_j = task.device_energy_coefficient * task.device_cycles @ device_hz**2
    energy_j += task.server_energy_coefficient * task.server_cycles @ server_hz**2
    excess = max((device_hz / task.device_frequency_max_hz).max(), (server_hz / task.server_frequency_max_hz).max())
    cost = task.weight_time * delay_s + task.weight_energy * energy_j
    return float(cost + instance.least * max(excess - 1.0, 0.0))


def link_cost(instance: Instance, found: api.LinkAllocation) -> float:
    """Cost of powers and bandwidths in P4, and of what they violate."""
    task, rates = instance.problem, instance.given[0]
    caps = task.device_frequency_max_hz, task.server_frequency_max_hz
    result = reference.evaluate(task, found.power_w, found.bandwidth_hz, *caps)
    slow = float((result.upload_s * rates / task.bits).max()) - 1.0
    violation = max(result.violation, slow, 0.0)
    return task.weight_energy * result.transmit_energy_j + instance.least * violation


def nested(task: Problem) -> api.Allocation:
    """The joint optimum by the nested searches alone."""
    with patch.object(joint, "newton", lambda *_: False):
        return api.solve_joint(task)


def wide(task: Problem) -> Problem:
    """A problem whose band is ample, with an SNR required of every device."""
    return task._replace(snr_min=np.maximum(task.snr_min, 0.5), bandwidth_hz=1e15)


def attainable(task: Problem) -> Problem:
    """A problem whose required SNRs are no higher than half of the power and an even share of the band give."""
    snr = 0.5 * task.power_max_w * task.gain * len(task.gain) / (task.noise_w_per_hz * task.bandwidth_hz)
    return task._replace(snr_min=np.minimum(task.snr_min, 0.9 * snr))


def deadline(task: Problem) -> float:
    """A deadline halfway between the shortest and the best."""
    shortest_s, best_s = reference.least_delay(task), api.solve_joint(task).delay_s
    return shortest_s + 0.5 * (best_s - shortest_s)


PROBLEMS = {seed: random_problem(seed, 2 + seed % 3) for seed in SEEDS}
TIGHT = [tight_start(task, seed) for seed, task in PROBLEMS.items()]

Edit = tuple[str, str, str]


def broken(function: Callable[..., Any], *edits: Edit) -> list[Mutation]:
    """Mutations of a function: name, text that stands once in its source, and what replaces it."""
    return [Mutation(name, function, old, new) for name, old, new in edits]


WRONG_WAY = "bisection the wrong way", ", error > 0.0)", ", error < 0.0)"

P3 = [
    *broken(problem.time_price_factor, ("price of time x 3", "return 2.0 *", "return 6.0 *")),
    *broken(
        subproblems.common_deadline,
        ("first device's price for all", "(problem, workspace, n, compute)", "(problem, workspace, 0, compute)"),
        WRONG_WAY,
        ("one step", "range(STEPS_MAX)", "range(1)"),
    ),
    *broken(problem.compute_phase, ("device's cycles only", "(device_cycles + server_cycles) /", "device_cycles /")),
    *broken(
        problem.set_frequencies,
        ("device's limit halved", "= device\n", "= min(device, 0.5 * problem.device_frequency_max_hz[n])\n"),
    ),
]

P4 = [
    *broken(
        subproblems.bandwidth_at_price,
        ("first device's energy for all", "workspace.energy_min_j[n]", "workspace.energy_min_j[0]"),
        ("a higher price for each device", "(bandwidth_price / worth", "((1.0 + n) * bandwidth_price / worth"),
        ("SNR required ignored", "max(free, workspace.u_min[n])", "free"),
    ),
    *broken(
        subproblems.bandwidth_price_of,
        ("band halved", "math.log(total", "math.log(2.0 * total"),
        WRONG_WAY,
        ("two sweeps", "sweeps < STEPS_MAX", "sweeps < 2"),
    ),
    *broken(subproblems.solve_link, ("power limit halved", "= most\n", "= max(least, 0.5 * most)\n")),
]

P7 = [
    *broken(
        paper_algorithms.solve_p7,
        ("first device's gain for all", "problem.gain[n]\n        worth", "problem.gain[0]\n        worth"),
        ("first device's power for all", "= high_band[n], high_power[n]", "= high_band[n], high_power[0]"),
        ("four steps", "range(PRICE_STEPS)", "range(4)"),
    ),
    *broken(
        paper_algorithms.best_at_price,
        ("required rate halved", "return u, rate_nats_per_s", "return u, 0.5 * rate_nats_per_s"),
        ("power limit ignored", "0.0), least), most)\n", "0.0), least), math.inf)\n"),
    ),
    *broken(paper_algorithms.refine, ("stops at once", "size <= tolerance", "size <= 1e9")),
]

ALTERNATION = [
    *broken(paper_algorithms.alternate, ("required rates halved", "bps[n] = work", "bps[n] = 0.5 * work")),
    *P4[:2],
    *P3[:3],
]

NEWTON = [
    *broken(
        joint.sweep,
        ("time worth twice as much", "math.log(time_price", "math.log(0.5 * time_price"),
        ("band halved", "math.log(band", "math.log(2.0 * band"),
        ("band doubled", "math.log(band", "math.log(0.5 * band"),
        ("first device's price of time for all", "workspace.time_price[n]", "workspace.time_price[0]"),
    ),
    *broken(joint.newton, ("early stop", "size <= TOLERANCE", "size <= 0.5")),
    *broken(problem.prepare, ("first device's gain for all", "nats / problem.gain[n]", "nats / problem.gain[0]")),
    *broken(
        joint.finish,
        ("power limit halved", "problem.power_max_w[n])", "0.5 * problem.power_max_w[n])"),
        ("delay x 0.7", "max(workspace.totals[TOTAL.delay_s]", "max(0.7 * workspace.totals[TOTAL.delay_s]"),
    ),
]

DEVICE = [
    *broken(
        one_device.unconstrained,
        ("first device's energy for all", "workspace.energy_min_j[n]", "workspace.energy_min_j[0]"),
        ("price of time x 2", "math.log(beta", "math.log(2.0 * beta"),
        ("two steps", "range(STEPS_MAX)", "range(2)"),
    ),
    *broken(
        one_device.solve_device,
        ("SNR required ignored", "snr_binds = u < workspace.u_min[n]", "snr_binds = False"),
        (
            "power limit doubled",
            "workspace.upload_s[n] < workspace.data_nats[n]",
            "workspace.upload_s[n] < 0.5 * workspace.data_nats[n]",
        ),
    ),
    *broken(
        one_device.at_full_power,
        ("at full power: one step", "range(STEPS_MAX)", "range(1)"),
        ("at full power: band's price halved", "strength = band", "strength = 0.5 * band"),
    ),
    *broken(
        problem.time_price_of,
        ("frequency squared", "fast * fast * fast", "fast * fast"),
        (
            "first device's cycles for all",
            "compute_phase(problem,",
            "compute_phase(problem._replace(device_cycles=problem.device_cycles[:1].repeat(len(problem.bits))),",
        ),
    ),
]

NESTED = [
    *broken(
        joint.best_delay,
        ("delay: early stop", "<= 0.1 * TOLERANCE", "<= 0.5"),
        ("delay x 1.1", "workspace.totals[TOTAL.delay_s] = delay", "workspace.totals[TOTAL.delay_s] = 1.1 * delay"),
    ),
    *broken(
        joint.nested,
        ("price: one sweep", "range(NESTED_SWEEPS_MAX)", "range(1)"),
        ("price: early stop", "abs(error) <= TOLERANCE", "abs(error) <= 0.5"),
    ),
    *NEWTON[:2],
]

DEADLINE = [
    *broken(joint.solve, ("deadline ignored", "> deadline_s", "> 1e3 * deadline_s")),
    *broken(
        joint.hold_deadline,
        (
            "deadline x 0.95",
            "residuals = sweep(problem, workspace, deadline_s",
            "residuals = sweep(problem, workspace, 0.95 * deadline_s",
        ),
        ("early stop", "abs(error) <= TOLERANCE", "abs(error) <= 0.3"),
        ("one sweep", "range(NESTED_SWEEPS_MAX)", "range(1)"),
        WRONG_WAY,
    ),
    *DEVICE[:2],
]

AMPLE = [
    *broken(
        joint.ample_bandwidth,
        ("SNR x 1.5", "= workspace.u_min[n]", "= 1.5 * workspace.u_min[n]"),
        ("uploads 30 % longer", "= workspace.upload_min_s[n]", "= 1.3 * workspace.upload_min_s[n]"),
        ("first device's SNR for all", "= workspace.u_min[n]", "= workspace.u_min[0]"),
        ("bandwidths halved", "= workspace.data_nats[n]", "= 0.5 * workspace.data_nats[n]"),
    ),
    *P3[:3],
]

COMPUTING = [(task, (random_upload_times(task, seed),)) for seed, task in PROBLEMS.items()]
LINKS = [(task, (rates,)) for task, _, _, rates in TIGHT]
STARTS = [(task, (rates, power_w, bandwidth_hz, 4)) for task, power_w, bandwidth_hz, rates in TIGHT]
ROUNDS = [(task, ()) for task in PROBLEMS.values()]
EVEN = [(attainable(task), ()) for task in PROBLEMS.values()]
LIMITED = [(task, (deadline(task),)) for task in PROBLEMS.values()]
WIDE = [(wide(task), ()) for task in PROBLEMS.values()]

SOLVERS = [
    solver("P3", api.solve_p3, compute_cost, COMPUTING, P3),
    solver("P4", api.solve_p4, link_cost, LINKS, P4),
    solver("Algorithm 2", api.algorithm_2, link_cost, STARTS, P7),
    solver("Algorithm 3", api.algorithm_3, round_cost, EVEN, ALTERNATION),
    solver("joint optimum", api.solve_joint, round_cost, ROUNDS, NEWTON),
    solver("joint optimum: a device's part", api.solve_joint, round_cost, ROUNDS, DEVICE),
    solver("joint optimum: nested searches", nested, round_cost, ROUNDS[:FEW], NESTED),
    solver("joint optimum: deadline", api.solve_joint, round_cost, LIMITED, DEADLINE),
    solver("joint optimum: ample band", api.solve_joint, round_cost, WIDE, AMPLE),
]
