"""The compiled step of a batch: allocate, compute the reward, advance, observe."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel
from edge_envs.eccnoma.model import allocation
from edge_envs.eccnoma.model.dynamics import advance
from edge_envs.eccnoma.model.observation import encode
from edge_envs.eccnoma.model.parameters import Parameters
from edge_envs.eccnoma.model.reward import add_arrival_costs, serve_tasks
from edge_envs.eccnoma.model.state import State


@kernel
def run(
    p: Parameters, s: State, rows: NDArray[np.int64], actions: NDArray[np.int64], observation: NDArray[np.float32],
    reward: NDArray[np.float64], member: NDArray[np.float64], metrics: NDArray[np.float64],
) -> None:  # fmt: skip
    """Advance `rows` by one step with the random numbers in the state, and add the results to zeroed arrays."""
    for i in range(len(rows)):
        row = rows[i]
        for u in range(p.num_users):
            s.choice[row, u] = actions[row, u]
        if p.slices > 0:
            allocation.allot_slices(p, s, row)
        allocation.solve(p, s, row)
        serve_tasks(p, s, row, member, metrics)
        advance(p, s, row, False)
        add_arrival_costs(p, s, row, reward, member, metrics)
        encode(p, s, row, observation)
