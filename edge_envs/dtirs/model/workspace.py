"""Scratch memory of one world: the allocation of the frame in hand, and room for the solvers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.dtirs.config import Parameters


class Work(NamedTuple):
    """The allocation, which stays until the next solve, and the solvers' arrays."""

    front_flop: NDArray[np.float64]  # (K,) at the cuts in hand
    back_flop: NDArray[np.float64]  # (K,)
    sync_s: NDArray[np.float64]  # (K,) upload of a twin's weights, if the device had one
    twin_cost_s: NDArray[np.float64]  # (K,) that, and the wait for the AP if nothing else waits
    up_s: NDArray[np.float64]  # (K,) seconds per bit of the uplink
    nat_seconds: NDArray[np.float64]  # (K,) c_k of (46)
    gain_per_w: NDArray[np.float64]  # (K,) a_k of (45)
    speed_flop_s: NDArray[np.float64]  # (K,)
    twin: NDArray[np.bool_]  # (K,) alpha_k = 0
    boost_flop_s: NDArray[np.float64]  # (K,) Delta f_k
    back_end_flop_s: NDArray[np.float64]  # (K,) x_k
    power_w: NDArray[np.float64]  # (K,) P_k
    solution: NDArray[np.float64]  # (4,) log price of power, s of the pool, root of the bound's price, objective
    threshold: NDArray[np.float64]  # (K,)
    order: NDArray[np.int64]  # (K,)
    weight_down: NDArray[np.float64]  # (K,)
    weight_up: NDArray[np.float64]  # (K,)
    kept_down: NDArray[np.float64]  # (K,) gains before a change of phases
    kept_up: NDArray[np.float64]  # (K,)
    q: NDArray[np.float64]  # (2, N, N) quadratic form, scaled
    spread: NDArray[np.float64]  # (2, N, N)
    factor: NDArray[np.float64]  # (2, N, R)
    z: NDArray[np.float64]  # (2, R)
    dual: NDArray[np.float64]  # (N,)
    column: NDArray[np.float64]  # (2, N)
    v: NDArray[np.float64]  # (2, N)
    trial: NDArray[np.float64]  # (2, N)
    y: NDArray[np.float64]  # (2, N)
    report: NDArray[np.float64]  # (3,)
    kept_phase: NDArray[np.float64]  # (2, N)
    kept_report: NDArray[np.float64]  # (4,) relaxation and value of those phases


PRICE, POOL, BOUND_PRICE, OBJECTIVE = range(4)
"""Entries of `Work.solution`."""


def allocate_work(p: Parameters) -> Work:
    """Scratch arrays, all zero."""
    k, n, r = p.num_devices, p.num_elements, p.phase_rank
    shapes: dict[str, tuple[int, ...]] = {
        "solution": (4,), "q": (2, n, n), "spread": (2, n, n), "factor": (2, n, r), "z": (2, r), "dual": (n,),
        "column": (2, n), "v": (2, n), "trial": (2, n), "y": (2, n), "report": (3,), "kept_phase": (2, n),
        "kept_report": (4,),
    }  # fmt: skip
    kinds: dict[str, type] = {"twin": np.bool_, "order": np.int64}
    return Work(*(np.zeros(shapes.get(name, (k,)), dtype=kinds.get(name, np.float64)) for name in Work._fields))
