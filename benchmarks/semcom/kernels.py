"""Compiled loops around the solvers of `SemCom-v0`, which call them from machine code as the environment does."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel
from edge_envs.semcom.model.allocation import decode_rate
from edge_envs.semcom.model.parameters import Parameters
from edge_envs.semcom.model.state import State, set_problem
from edge_envs.semcom.solvers import joint, subproblems
from edge_envs.semcom.solvers.certificates.bounds import certify_compute, certify_link, certify_round
from edge_envs.semcom.solvers.paper_algorithms import CompressionRule, alternate
from edge_envs.semcom.solvers.problem import Array, Problem, Workspace, prepare


@kernel
def repeat_joint(problem: Problem, workspace: Workspace, times: int) -> None:
    """Solve for the joint optimum from a cold start, with its certificate."""
    for _ in range(times):
        joint.solve(problem, workspace, math.inf)
        certify_round(problem, workspace, math.inf)


@kernel
def repeat_p3(problem: Problem, workspace: Workspace, times: int) -> None:
    """Solve P3 at the upload times in `workspace`, with its certificate."""
    for _ in range(times):
        prepare(problem, workspace)
        subproblems.solve_compute(problem, workspace)
        certify_compute(problem, workspace, False)


@kernel
def repeat_p4(problem: Problem, workspace: Workspace, rates: Array, times: int) -> None:
    """Solve P4 at required rates, with its certificate."""
    for _ in range(times):
        prepare(problem, workspace)
        subproblems.solve_link(problem, workspace, rates)
        certify_link(problem, workspace, rates)


@kernel
def share_evenly(problem: Problem, workspace: Workspace) -> None:
    """Set the initial point of Algorithm 3: half of each device's power and equal shares of the bandwidth."""
    for n in range(len(problem.bits)):
        workspace.power_w[n] = 0.5 * problem.power_max_w[n]
        workspace.bandwidth_hz[n] = problem.bandwidth_hz / len(problem.bits)


@kernel
def repeat_alternating(problem: Problem, workspace: Workspace, rule: CompressionRule, times: int) -> None:
    """Run Algorithm 3 from equal shares, with exact P3 and P4, at the problem's compression rates."""
    for _ in range(times):
        share_evenly(problem, workspace)
        alternate(problem, workspace, rule, False)


@kernel
def solve_rounds(p: Parameters, s: State, actions: NDArray[np.float64], times: int) -> None:
    """Solve every row's next round at the compression rates in `actions`, without stepping the rows."""
    for row in range(len(s.rounds)):
        for n in range(p.num_devices):
            s.compression[row, n] = decode_rate(p, actions[row, n])
        set_problem(p, s, row)
        for _ in range(times):
            joint.solve(s.problem, s.workspace, math.inf)
