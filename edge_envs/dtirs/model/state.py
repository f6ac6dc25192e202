"""State of a batch of worlds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.dtirs.config import DEVICE_DRAWS, DTIRSConfig, Parameters
from edge_envs.dtirs.model.workspace import Work, allocate_work
from edge_envs.dtirs.solvers.irs_links import INDEPENDENT


class State(NamedTuple):
    """B worlds. Channels, speeds and the pool are those of the frame to come, the choice that of the one just over."""

    device_draws: NDArray[np.float64]  # (B, K, M + 3) uniforms behind speeds, layers' works and places
    front_flop: NDArray[np.float64]  # (B, K, L) work before each cut
    back_flop: NDArray[np.float64]  # (B, K, L) work behind it
    layer_flop: NDArray[np.float64]  # (B, K) mean work of a layer
    own_speed_flop_s: NDArray[np.float64]  # (B, K) without other load
    load: NDArray[np.float64]  # (B, K) part of it that is left, before clipping
    speed_flop_s: NDArray[np.float64]  # (B, K) f_loc
    distance_m: NDArray[np.float64]  # (B, K) to the IRS
    waypoint_m: NDArray[np.float64]  # (B, K) distance that a device is on its way to
    level: NDArray[np.int64]  # (B,) of the pool
    capacity_flop_s: NDArray[np.float64]  # (B,) of the pool, or the budget of the boosts
    backlog_flop: NDArray[np.float64]  # (B,) the AP's unfinished work
    ap_irs: NDArray[np.float64]  # (B, 2, A, N) small-scale fading between AP and IRS, CN(0, 1)
    irs_ap: NDArray[np.float64]  # (B, 2, A, N) the same of an independent uplink, conjugate
    irs_ud: NDArray[np.float64]  # (B, 2, K, N) between IRS and devices
    direct: NDArray[np.float64]  # (B, 2, K, A) of the direct path
    channel: NDArray[np.float64]  # (B, 2, K, N) between IRS and devices, with the path loss of both hops
    gram_down: NDArray[np.float64]  # (B, 2, N, N) G G^H of the fading
    gram_up: NDArray[np.float64]  # (B, 2, N, N) the same of an independent uplink
    phase: NDArray[np.float64]  # (B, 2, N) diagonal of Theta
    gain_down: NDArray[np.float64]  # (B, K) effective power gain
    gain_up: NDArray[np.float64]  # (B, K)
    relaxation: NDArray[np.float64]  # (B, 3) of the phases: relaxed value, proven gap, sweeps
    phase_value: NDArray[np.float64]  # (B,) v^H Q v, from the gains
    choice: NDArray[np.int64]  # (B, K) cut of the frame just over, as an index
    work: Work  # scratch: the frame in hand
    normals: NDArray[np.float64]  # (B, draws) of the frame
    uniforms: NDArray[np.float64]  # (B, draws) of the frame


def allocate(config: DTIRSConfig, p: Parameters, batch: int) -> State:
    """State arrays of `batch` worlds, all zero."""
    k, n, a, choices = p.num_devices, p.num_elements, p.num_antennas, len(p.cut_numbers)
    own_uplink = p.uplink == INDEPENDENT
    shapes: dict[str, tuple[int, ...]] = {
        "device_draws": (k, p.num_layers + DEVICE_DRAWS), "front_flop": (k, choices), "back_flop": (k, choices),
        "level": (), "capacity_flop_s": (), "backlog_flop": (), "ap_irs": (2, a, n),
        "irs_ap": (2, a, n) if own_uplink else (2, 1, 1), "irs_ud": (2, k, n), "direct": (2, k, a),
        "channel": (2, k, n), "gram_down": (2, n, n), "gram_up": (2, n, n) if own_uplink else (2, 1, 1),
        "phase": (2, n), "relaxation": (3,), "phase_value": (), "normals": (config.normals_per_frame,),
        "uniforms": (config.uniforms_per_frame,),
    }  # fmt: skip
    arrays: dict[str, NDArray[Any]] = {
        name: np.zeros((batch, *shapes.get(name, (k,))), dtype=np.int64 if name in ("level", "choice") else np.float64)
        for name in State._fields
        if name != "work"
    }
    return State(**arrays, work=allocate_work(p))
