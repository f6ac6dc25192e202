"""State of a batch of worlds, and scratch memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.metrics import columns
from edge_envs.eccnoma.model.parameters import ACCESS, ASSIGNMENT, Parameters
from edge_envs.eccnoma.solvers.radio import Radio, allocate_radio, default_candidates, seats_max
from edge_envs.eccnoma.solvers.relaxation import Relaxation, allocate_relaxation
from edge_envs.eccnoma.solvers.server_units import POOL_REPORT

REPORT = columns(("server_cost", "server_gap", "units_used", "units_free", "device_cost"))
"""Entries of `Workspace.report`."""


class Workspace(NamedTuple):
    """Scratch memory of the allocation of one row with U users and N APs; rows are solved one after the other."""

    up: Radio
    down: Radio
    up_relaxed: Relaxation  # without users unless Li-GD assigns subchannels
    down_relaxed: Relaxation
    device_s: NDArray[np.float64]  # (U,) delays and energies of one task
    up_s: NDArray[np.float64]  # (U,)
    server_s: NDArray[np.float64]  # (U,)
    down_s: NDArray[np.float64]  # (U,)
    device_j: NDArray[np.float64]  # (U,)
    up_j: NDArray[np.float64]  # (U,)
    server_j: NDArray[np.float64]  # (U,)
    down_j: NDArray[np.float64]  # (U,)
    work_flop: NDArray[np.float64]  # (U,) work at the server per task, 0 for users without tasks
    task_weight: NDArray[np.float64]  # (U,) Q (Q + 1) / 2, the total waiting time in delays of a task
    server_weight: NDArray[np.float64]  # (U,) w_T Q (Q + 1) / 2
    server_coefficient: NDArray[np.float64]  # (U,) w_E Q xi_e phi
    root: NDArray[np.float64]  # (U,) proportions in which the pool is shared
    useful_units: NDArray[np.float64]  # (U,) units beyond which a user's cost no longer falls
    units: NDArray[np.float64]  # (U,)
    speed_flop_s: NDArray[np.float64]  # (U,) at the server
    drops: NDArray[np.float64]  # (U,) tasks dropped at the last arrivals
    report: NDArray[np.float64]  # (len(REPORT),)
    pool_report: NDArray[np.float64]  # (len(POOL_REPORT),) of one pool
    cell_work: NDArray[np.float64]  # (N,) sums of the observation over the users of an AP
    cell_users: NDArray[np.float64]  # (N,)
    saved_s: NDArray[np.float64]  # (U,) waiting time that a loaded slice saves, for the observation


class State(NamedTuple):
    """State of B worlds with U users, N APs and M subchannels.

    Tasks, channels and background loads are those of the next decision. `seen_*` is what the observation shows.
    """

    network: NDArray[np.int64]  # (B, U)
    speed_flop_s: NDArray[np.float64]  # (B, U) c_i
    place_m: NDArray[np.float64]  # (B, U, 2)
    ap: NDArray[np.int64]  # (B, U)
    path_gain: NDArray[np.float64]  # (B, U, N) mean gain
    phase: NDArray[np.int64]  # (B, U) QUIET or BURST
    queue: NDArray[np.float64]  # (B, U) waiting tasks
    arrived: NDArray[np.float64]  # (B, U) tasks that arrived last
    level: NDArray[np.int64]  # (B, N) background load
    seen_level: NDArray[np.int64]  # (B, N)
    fading_up: NDArray[np.float64]  # (B, 2, M, U, N) CN(0, 1), real and imaginary; one entry if fading is independent
    fading_down: NDArray[np.float64]  # (B, 2, M, U, N)
    gain_up: NDArray[np.float64]  # (B, M, U, N)
    gain_down: NDArray[np.float64]  # (B, M, U, N)
    seen_up: NDArray[np.float64]  # (B, M, U, N)
    seen_down: NDArray[np.float64]  # (B, M, U, N)
    keys: NDArray[np.float64]  # (B, U + N) uniform numbers that decide random assignments
    choice: NDArray[np.int64]  # (B, U) cuts of the last step; with slices, the device for users that could not offload
    holds: NDArray[np.int64]  # (B, U) 1 if the user holds a slice of its AP
    loaded: NDArray[np.int64]  # (B, U) steps of loading that its slice contains; 0 without a slice
    last_delay_s: NDArray[np.float64]  # (B, U) of a task in the last step; 0 without tasks
    last_rate_bit_s: NDArray[np.float64]  # (B, U) uplink
    reference: NDArray[np.float64]  # (B,) cost of the mean arrivals of a step with Device-Only
    normals: NDArray[np.float64]  # (B, draws) normal numbers, or exponential ones if fading is independent
    uniforms: NDArray[np.float64]  # (B, draws)
    workspace: Workspace


def allocate(p: Parameters, batch: int) -> State:
    """State arrays of `batch` worlds, all zero; without CSI delay, `seen_*` share memory with the true values."""
    users, aps, subchannels = p.num_users, p.num_aps, p.num_subchannels
    table = (subchannels, users, aps)
    whole = ("network", "ap", "phase", "level", "seen_level", "choice", "holds", "loaded")
    faded = (2, *table) if p.fading_correlation > 0.0 else (1, 1, 1, 1)
    shapes: dict[str, tuple[int, ...]] = {
        "place_m": (users, 2), "path_gain": (users, aps), "level": (aps,), "seen_level": (aps,), "fading_up": faded,
        "fading_down": faded, "gain_up": table, "gain_down": table, "seen_up": table, "seen_down": table,
        "keys": (users + aps,), "reference": (), "normals": (fading_draws(p),), "uniforms": (uniform_draws(p),),
    }  # fmt: skip
    arrays: dict[str, NDArray[Any]] = {
        name: np.zeros((batch, *shapes.get(name, (users,))), dtype=np.int64 if name in whole else np.float64)
        for name in State._fields
        if name != "workspace"
    }
    if not p.csi_delay:
        arrays |= {"seen_up": arrays["gain_up"], "seen_down": arrays["gain_down"], "seen_level": arrays["level"]}
    return State(**arrays, workspace=allocate_workspace(p))


def fading_draws(p: Parameters) -> int:
    """Number of normal (or exponential) numbers that the fading of a step needs."""
    return 2 * p.num_subchannels * p.num_users * p.num_aps * (2 if p.fading_correlation > 0.0 else 1)


def uniform_draws(p: Parameters) -> int:
    """Number of uniform numbers of a step: phases and arrivals of users, background loads, keys."""
    return 2 * p.num_users + p.num_aps + (p.num_users + p.num_aps if p.assignment == ASSIGNMENT.RANDOM else 0)


def bands_max(p: Parameters) -> int:
    """Largest number of bands into which the spectrum is divided; with FDMA there can be one per user."""
    return max(p.num_users, p.num_subchannels) if p.access == ACCESS.FDMA else p.num_subchannels


def allocate_workspace(p: Parameters) -> Workspace:
    """Scratch memory, all zero."""
    bands, capacity = bands_max(p), 1 if p.access == ACCESS.FDMA else p.capacity
    seats = seats_max(p.num_users, p.num_aps, bands, capacity)
    relaxed = p.num_users if p.assignment == ASSIGNMENT.LI_GD else 0
    radios = [allocate_radio(p.num_users, p.num_aps, bands, seats, default_candidates(bands)) for _ in range(2)]
    relaxations = [
        allocate_relaxation(relaxed, p.num_subchannels, p.num_aps, p.relaxation_iterations) for _ in range(2)
    ]
    lengths = {
        "report": len(REPORT), "pool_report": len(POOL_REPORT), "cell_work": p.num_aps, "cell_users": p.num_aps,
    }  # fmt: skip
    arrays: list[Any] = [np.zeros(lengths.get(name, p.num_users)) for name in Workspace._fields[4:]]
    return Workspace(*(*radios, *relaxations, *arrays))
