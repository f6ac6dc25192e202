"""One frame of a batch, compiled: allocate, account, advance, encode."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel
from edge_envs.eccnoma.config import Parameters
from edge_envs.eccnoma.model import allocation
from edge_envs.eccnoma.model.dynamics import advance
from edge_envs.eccnoma.model.observation import encode
from edge_envs.eccnoma.model.reward import account, settle
from edge_envs.eccnoma.model.state import State


@kernel
def run(
    p: Parameters, s: State, rows: NDArray[np.int64], actions: NDArray[np.int64], observation: NDArray[np.float32],
    reward: NDArray[np.float64], member: NDArray[np.float64], metrics: NDArray[np.float64],
) -> None:  # fmt: skip
    """Advance `rows` by one frame, whose random numbers were drawn, and report it into zeroed arrays."""
    for i in range(len(rows)):
        row = rows[i]
        for u in range(p.num_users):
            s.choice[row, u] = actions[row, u]
        allocation.solve(p, s, row)
        account(p, s, row, member, metrics)
        advance(p, s, row, False)
        settle(p, s, row, reward, member, metrics)
        encode(p, s, row, observation)
