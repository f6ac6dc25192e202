"""Reference costs by which rewards are scaled."""

from __future__ import annotations

from edge_envs.core.kernels.jit import kernel_part
from edge_envs.eccnoma.model.parameters import Parameters
from edge_envs.eccnoma.model.state import State


@kernel_part
def set_reference(p: Parameters, s: State, row: int) -> None:
    """Compute the cost of the mean arrivals of a step with all layers on the devices, (19) with (1) and (13)."""
    s.reference[row] = 0.0
    for u in range(p.num_users):
        flop = p.device_flop[s.network[row, u], p.last_choice[s.network[row, u]]]
        cost = p.weight_delay * flop / s.speed_flop_s[row, u] + p.weight_energy * p.device_j_per_flop * flop
        s.reference[row] += p.mean_arrivals * cost
