"""Compiled loops around the kernels of `ECCNOMA-v0`, which call them from machine code as the environment does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel
from edge_envs.eccnoma.model import allocation, dynamics
from edge_envs.eccnoma.model import observation as observation_module
from edge_envs.eccnoma.model.parameters import Parameters
from edge_envs.eccnoma.model.state import State
from edge_envs.eccnoma.solvers import relaxation
from edge_envs.eccnoma.solvers.radio import Link, Radio
from edge_envs.eccnoma.solvers.relaxation import Relaxation


@kernel
def repeat_gradient(link: Link, r: Radio, x: Relaxation, gain: NDArray[np.float64], row: int, times: int) -> float:
    """Compute cost and gradient at the shares and powers of x, whose users are ordered; returns the cost."""
    cost = 0.0
    for _ in range(times):
        cost = relaxation.relaxed_cost(link, r, x, gain, row, x.beta)
        relaxation.relaxed_slope(link, r, x, gain, row)
    return cost


@kernel
def renew_channels(p: Parameters, s: State, times: int) -> None:
    """Compute every row's next channels in both directions from the numbers last drawn; fading advances each time."""
    rho = p.fading_correlation
    for row in range(len(s.reference)):
        for _ in range(times):
            at = dynamics.fade(s.normals, 0, row, False, rho, s.path_gain, s.fading_up, s.gain_up, s.seen_up)
            dynamics.fade(s.normals, at, row, False, rho, s.path_gain, s.fading_down, s.gain_down, s.seen_down)


@kernel
def allocate(p: Parameters, s: State, actions: NDArray[np.int64], up: int, down: int, servers: int) -> None:
    """Solve every row's allocation at the cuts in `actions` (B, U), each part as often as its argument says.

    The parts are the uplink's subchannels and powers, the downlink's, and the loads with the servers' units.
    """
    for row in range(len(s.reference)):
        for u in range(p.num_users):
            s.choice[row, u] = actions[row, u]
        bands = allocation.bands_of(p, s, row)
        for i in range(max(servers, 1)):
            allocation.set_problem(p, s, row)
            if i < servers:
                allocation.solve_server(p, s, row)
        link = allocation.uplink(p, bands)
        for _ in range(up):
            allocation.solve_radio(p, s.keys, row, link, s.workspace.up, s.workspace.up_relaxed, s.gain_up, bands)
        link = allocation.downlink(p, bands)
        for _ in range(down):
            allocation.solve_radio(p, s.keys, row, link, s.workspace.down, s.workspace.down_relaxed, s.gain_down, bands)


@kernel
def encode(p: Parameters, s: State, observation: NDArray[np.float32], times: int) -> None:
    """Write every row's observation."""
    for row in range(len(s.reference)):
        for _ in range(times):
            observation_module.encode(p, s, row, observation)
