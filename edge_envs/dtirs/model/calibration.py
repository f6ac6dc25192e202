"""The value of cuts in a frame, to which the reward is scaled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel
from edge_envs.dtirs.config import Parameters
from edge_envs.dtirs.model import allocation
from edge_envs.dtirs.model.state import State


@kernel
def objective(p: Parameters, s: State, row: int) -> float:
    """Objective [s] of the frame to come at the row's cuts."""
    return allocation.solve_frame(p, s, row)


@kernel
def value_all(p: Parameters, s: State, cuts: NDArray[np.int64], values: NDArray[np.float64]) -> None:
    """Objectives (n,) of world 0 at each row of `cuts` (n, K)."""
    for i in range(len(cuts)):
        for k in range(p.num_devices):
            s.choice[0, k] = cuts[i, k]
        values[i] = objective(p, s, 0)
