"""The compiled step: allocate, reward, advance, observe."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel
from edge_envs.dtirs.model.allocation import solve_step
from edge_envs.dtirs.model.dynamics import advance
from edge_envs.dtirs.model.observation import encode
from edge_envs.dtirs.model.parameters import Parameters
from edge_envs.dtirs.model.reward import account
from edge_envs.dtirs.model.state import State


@kernel
def run(
    p: Parameters, s: State, rows: NDArray[np.int64], actions: NDArray[np.int64], reference_s: float,
    observation: NDArray[np.float32], reward: NDArray[np.float64], member: NDArray[np.float64],
    metrics: NDArray[np.float64],
) -> None:  # fmt: skip
    """Advance `rows` by one frame, with the random numbers drawn for it; writes into arrays of zeros."""
    for i in range(len(rows)):
        row = rows[i]
        for k in range(p.num_devices):
            s.choice[row, k] = actions[row, k]
        solve_step(p, s, row)
        account(p, s, row, reference_s, reward, member, metrics)
        for k in range(p.num_devices):
            s.held[row, k] = s.choice[row, k]
        advance(p, s, row, False)
        encode(p, s, row, observation)
