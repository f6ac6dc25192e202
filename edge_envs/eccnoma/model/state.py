"""State of a batch of worlds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.eccnoma.config import RANDOM, ECCNOMAConfig, Parameters
from edge_envs.eccnoma.model.workspace import Work, allocate_work


class State(NamedTuple):
    """B worlds. Tasks, channels and background load are those of the frame to come, `seen_*` what is known of them."""

    network: NDArray[np.int64]  # (B, U)
    speed_flop_s: NDArray[np.float64]  # (B, U) c_i
    place_m: NDArray[np.float64]  # (B, U, 2)
    ap: NDArray[np.int64]  # (B, U)
    path_gain: NDArray[np.float64]  # (B, U, N) mean gain
    phase: NDArray[np.int64]  # (B, U) QUIET or BURST
    queue: NDArray[np.float64]  # (B, U) tasks waiting
    arrived: NDArray[np.float64]  # (B, U) of them, in this frame
    level: NDArray[np.int64]  # (B, N) of the background load
    seen_level: NDArray[np.int64]  # (B, N)
    fading_up: NDArray[np.float64]  # (B, 2, M, U, N) CN(0, 1), real and imaginary; one entry if it is fresh each frame
    fading_down: NDArray[np.float64]  # (B, 2, M, U, N)
    gain_up: NDArray[np.float64]  # (B, M, U, N)
    gain_down: NDArray[np.float64]  # (B, M, U, N)
    seen_up: NDArray[np.float64]  # (B, M, U, N)
    seen_down: NDArray[np.float64]  # (B, M, U, N)
    keys: NDArray[np.float64]  # (B, U + N) uniforms of the frame, for random assignments
    choice: NDArray[np.int64]  # (B, U) of the frame just over
    last_delay_s: NDArray[np.float64]  # (B, U) of a task in that frame; 0 without tasks
    last_rate_bit_s: NDArray[np.float64]  # (B, U) uplink
    reference: NDArray[np.float64]  # (B,) cost of a frame's mean arrivals with Device-Only
    normals: NDArray[np.float64]  # (B, draws) normals, or exponentials where fading is fresh each frame
    uniforms: NDArray[np.float64]  # (B, draws)
    work: Work


def allocate(config: ECCNOMAConfig, p: Parameters, batch: int) -> State:
    """State arrays of `batch` worlds, all zero; without a delay, what is seen is what there is."""
    users, aps, subchannels = p.num_users, p.num_aps, p.num_subchannels
    table = (subchannels, users, aps)
    whole = ("network", "ap", "phase", "level", "seen_level", "choice")
    faded = (2, *table) if p.correlation > 0.0 else (1, 1, 1, 1)
    shapes: dict[str, tuple[int, ...]] = {
        "place_m": (users, 2), "path_gain": (users, aps), "level": (aps,), "seen_level": (aps,), "fading_up": faded,
        "fading_down": faded, "gain_up": table, "gain_down": table, "seen_up": table, "seen_down": table,
        "keys": (users + aps,), "reference": (), "normals": (draws_of_fading(p),), "uniforms": (uniforms_of_frame(p),),
    }  # fmt: skip
    arrays: dict[str, NDArray[Any]] = {
        name: np.zeros((batch, *shapes.get(name, (users,))), dtype=np.int64 if name in whole else np.float64)
        for name in State._fields
        if name != "work"
    }
    if not p.stale:
        arrays |= {"seen_up": arrays["gain_up"], "seen_down": arrays["gain_down"], "seen_level": arrays["level"]}
    return State(**arrays, work=allocate_work(config, p))


def draws_of_fading(p: Parameters) -> int:
    """Normals of a frame's fading, or exponentials."""
    return 2 * p.num_subchannels * p.num_users * p.num_aps * (2 if p.correlation > 0.0 else 1)


def uniforms_of_frame(p: Parameters) -> int:
    """Uniforms of a frame: phases and arrivals of the users, levels of the background load, keys."""
    return 2 * p.num_users + p.num_aps + (p.num_users + p.num_aps if p.assignment == RANDOM else 0)
