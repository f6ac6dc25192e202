"""Scratch memory of one frame's allocation, shared by all rows, as rows are solved one after the other."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.eccnoma.config import FDMA, LI_GD, ECCNOMAConfig, Parameters
from edge_envs.eccnoma.solvers.radio import Radio, allocate_radio, seats_needed
from edge_envs.eccnoma.solvers.relaxation import Relaxation, allocate_relaxation

SERVER_COST, SERVER_GAP, UNITS_USED, UNITS_FREE, DEVICE_COST = range(5)


class Work(NamedTuple):
    """The frame in hand: U users."""

    up: Radio
    down: Radio
    up_relaxed: Relaxation  # without users unless Li-GD assigns
    down_relaxed: Relaxation
    device_s: NDArray[np.float64]  # (U,) per task, as the next eight
    up_s: NDArray[np.float64]  # (U,)
    server_s: NDArray[np.float64]  # (U,)
    down_s: NDArray[np.float64]  # (U,)
    device_j: NDArray[np.float64]  # (U,)
    up_j: NDArray[np.float64]  # (U,)
    server_j: NDArray[np.float64]  # (U,)
    down_j: NDArray[np.float64]  # (U,)
    work_flop: NDArray[np.float64]  # (U,) at the server, 0 for users without tasks
    task_weight: NDArray[np.float64]  # (U,) Q (Q + 1) / 2, how often a task's delay is waited for
    server_weight: NDArray[np.float64]  # (U,) w_T Q (Q + 1) / 2
    server_coefficient: NDArray[np.float64]  # (U,) w_E Q xi_e phi
    root: NDArray[np.float64]  # (U,) scratch of the pool
    most: NDArray[np.float64]  # (U,) units that a user can use
    units: NDArray[np.float64]  # (U,)
    speed_flop_s: NDArray[np.float64]  # (U,) at the server
    drops: NDArray[np.float64]  # (U,)
    report: NDArray[np.float64]  # (5,)
    pool_report: NDArray[np.float64]  # (2,)
    cell_work: NDArray[np.float64]  # (N,) scratch of the observation
    cell_users: NDArray[np.float64]  # (N,)


def allocate_work(config: ECCNOMAConfig, p: Parameters) -> Work:
    """Scratch memory for a configuration."""
    capacity = 1 if p.access == FDMA else p.capacity
    bands = config.most_bands
    seats = seats_needed(p.num_users, p.num_aps, p.num_subchannels if p.access != FDMA else bands, capacity)
    relaxed = p.num_users if p.assignment == LI_GD else 0
    radios = [allocate_radio(p.num_users, p.num_aps, bands, seats, config.candidates) for _ in range(2)]
    relaxations = [
        allocate_relaxation(relaxed, p.num_subchannels, p.num_aps, p.relaxation_iterations) for _ in range(2)
    ]
    lengths = {"report": 5, "pool_report": 2, "cell_work": p.num_aps, "cell_users": p.num_aps}
    lines: list[Any] = [np.zeros(lengths.get(name, p.num_users)) for name in Work._fields[4:]]
    return Work(*(*radios, *relaxations, *lines))
