"""State and scratch memory of a batch of worlds.

B worlds with K devices, N elements of the IRS, A antennas, M layers, D uniforms of a device and L choices of a cut.
Complex arrays hold real and imaginary part on an axis of length two.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.metrics import columns
from edge_envs.dtirs.model.parameters import LOAD, UPLINK, Parameters
from edge_envs.dtirs.solvers.phases import REPORT

FloatArray = NDArray[np.float64]
SOLUTION = columns(("log_power_price", "pool_scale", "bound_root_price", "objective_s"))
"""Entries of `Workspace.solution`: log of the power price, 1 / sqrt(pool price), root of the pool price that gives the
bound on the choice of twins, objective (18)."""


class Workspace(NamedTuple):
    """Scratch memory of one world: the allocation of its frame, kept until the next solve, and the solvers' arrays."""

    front_flop: FloatArray  # (K,) work before the cut
    back_flop: FloatArray  # (K,) work behind the cut
    up_bits: FloatArray  # (K,) features, and weights that the device gives up
    moved_bits: FloatArray  # (K,) weights to the device; below 0: to the AP
    sync_s: FloatArray  # (K,) upload time of a twin's weights
    twin_cost_s: FloatArray  # (K,) this, plus the wait for the AP if the device has no back end
    up_s: FloatArray  # (K,) uplink time per bit
    unit_delay_s: FloatArray  # (K,) c_k of (46): downlink delay at 1 nat/s/Hz
    gain_per_w: FloatArray  # (K,) a_k of (45): SNR per watt
    speed_flop_s: FloatArray  # (K,)
    twin: NDArray[np.bool_]  # (K,) True: computes on a twin, alpha_k = 0
    boost_flop_s: FloatArray  # (K,) Delta f_k
    back_end_flop_s: FloatArray  # (K,) x_k
    power_w: FloatArray  # (K,) P_k
    solution: FloatArray  # (len(SOLUTION),)
    threshold: FloatArray  # (K,) minus the pool scale above which a twin pays off
    order: NDArray[np.int64]  # (K,) devices by threshold
    weight_down: FloatArray  # (K,) weights of the gains in the quadratic form
    weight_up: FloatArray  # (K,)
    form: FloatArray  # (2, N, N) quadratic form Q of the phases, scaled
    square: FloatArray  # (2, N, N) temporary: covariance of the channels, then a Cholesky factor
    factor: FloatArray  # (2, N, R) factor of the relaxed matrix
    factor_row: FloatArray  # (2, R) temporary: a row of Q X
    multipliers: FloatArray  # (N,) dual variables of the relaxation
    vector: FloatArray  # (2, N) temporary: a column of the Cholesky factor, a reflected channel
    phase: FloatArray  # (2, N) phases being solved for
    candidate: FloatArray  # (2, N) a random direction
    product: FloatArray  # (2, N) temporary: a matrix times phases
    report: FloatArray  # (len(REPORT),) of the relaxation
    kept_gain_down: FloatArray  # (K,) gains, phases and their report before phases are solved again
    kept_gain_up: FloatArray  # (K,)
    kept_phase: FloatArray  # (2, N)
    kept_relaxation: FloatArray  # (len(REPORT),)
    kept_phase_value: FloatArray  # (1,)


class State(NamedTuple):
    """Channels, speeds and the pool are those of the next frame; `choice` is that of the last one."""

    device_draws: FloatArray  # (B, K, D) uniforms behind speeds, layer works, positions and circuits
    front_flop: FloatArray  # (B, K, L) work of a frame before each cut
    back_flop: FloatArray  # (B, K, L) work of a frame behind each cut
    layer_flop: FloatArray  # (B, K) mean work of a layer
    own_speed_flop_s: FloatArray  # (B, K) speed without other load
    load: FloatArray  # (B, K) share of the speed that other load leaves, before clipping
    speed_flop_s: FloatArray  # (B, K) f_loc
    distance_m: FloatArray  # (B, K) to the IRS
    waypoint_m: FloatArray  # (B, K) distance that the device moves to
    lap: FloatArray  # (B, K) part of its circuit that the device has travelled, in [0, 1)
    period_frames: FloatArray  # (B, K) time for the circuit
    shadow_start: FloatArray  # (B, K) part of the circuit at which the shadow begins, in [0, 1)
    shadow_share: FloatArray  # (B, K) share of the circuit in the shadow
    moving: NDArray[np.int64]  # (B, K) 1: moves on its circuit, 0: has stopped
    level: NDArray[np.int64]  # (B,) level of the pool
    capacity_flop_s: FloatArray  # (B,) speed of the pool, or budget of the boosts
    backlog_flop: FloatArray  # (B,) unfinished work of the AP
    ap_irs: FloatArray  # (B, 2, A, N) small-scale fading between AP and IRS, CN(0, 1)
    irs_ap: FloatArray  # (B, 2, A, N) the same for an independent uplink, conjugate
    irs_ud: FloatArray  # (B, 2, K, N) small-scale fading between IRS and devices
    direct: FloatArray  # (B, 2, K, A) small-scale fading of the direct path
    channel: FloatArray  # (B, 2, K, N) between IRS and devices, with the path loss of both hops
    gram_down: FloatArray  # (B, 2, N, N) G G^H of the fading
    gram_up: FloatArray  # (B, 2, N, N) the same for an independent uplink
    phase: FloatArray  # (B, 2, N) diagonal of Theta
    gain_down: FloatArray  # (B, K) effective power gain
    gain_up: FloatArray  # (B, K)
    relaxation: FloatArray  # (B, len(REPORT)) report on the phases' relaxation
    phase_value: FloatArray  # (B,) v^H Q v, from the gains
    choice: NDArray[np.int64]  # (B, K) cut of the last frame, as an index
    held: NDArray[np.int64]  # (B, K) cut whose layers the device holds, as an index; equals `choice` between steps
    workspace: Workspace  # scratch
    normals: FloatArray  # (B, normals) standard normals of the frame
    uniforms: FloatArray  # (B, uniforms) uniforms of the frame


INTEGERS = ("level", "choice", "held", "moving")
"""Fields of the state with integers."""


def normals_of(p: Parameters) -> int:
    """Standard normals per frame: fading of all links, load of the devices, starts and samples of the phases."""
    links = p.num_antennas * p.num_elements * (2 if p.uplink == UPLINK.INDEPENDENT else 1)
    channels = 2 * (links + p.num_devices * p.num_elements + p.num_devices * p.num_antennas)
    return channels + p.num_devices + 2 * p.phase_rank * (p.num_elements + p.phase_samples)


def uniforms_of(p: Parameters) -> int:
    """Uniforms per frame: level of the pool, waypoints or stops, the devices, and whether they are busy."""
    return 2 + p.num_devices * (1 + p.device_draws + (p.device_load == LOAD.BUSY_FREE))


def allocate(p: Parameters, batch: int) -> State:
    """State arrays of `batch` worlds, all zero."""
    k, n, a, choices = p.num_devices, p.num_elements, p.num_antennas, len(p.cut_numbers)
    own_uplink = p.uplink == UPLINK.INDEPENDENT
    shapes: dict[str, tuple[int, ...]] = {
        "device_draws": (k, p.device_draws), "front_flop": (k, choices), "back_flop": (k, choices),
        "level": (), "capacity_flop_s": (), "backlog_flop": (), "ap_irs": (2, a, n),
        "irs_ap": (2, a, n) if own_uplink else (2, 1, 1), "irs_ud": (2, k, n), "direct": (2, k, a),
        "channel": (2, k, n), "gram_down": (2, n, n), "gram_up": (2, n, n) if own_uplink else (2, 1, 1),
        "phase": (2, n), "relaxation": (len(REPORT),), "phase_value": (), "normals": (normals_of(p),),
        "uniforms": (uniforms_of(p),),
    }  # fmt: skip
    arrays: dict[str, NDArray[Any]] = {
        name: np.zeros((batch, *shapes.get(name, (k,))), dtype=np.int64 if name in INTEGERS else np.float64)
        for name in State._fields
        if name != "workspace"
    }
    return State(**arrays, workspace=allocate_workspace(p))


def allocate_workspace(p: Parameters) -> Workspace:
    """Scratch arrays, all zero."""
    k, n, r = p.num_devices, p.num_elements, p.phase_rank
    shapes: dict[str, tuple[int, ...]] = {
        "solution": (len(SOLUTION),), "form": (2, n, n), "square": (2, n, n), "factor": (2, n, r),
        "factor_row": (2, r), "multipliers": (n,), "vector": (2, n), "phase": (2, n), "candidate": (2, n),
        "product": (2, n), "report": (len(REPORT),), "kept_phase": (2, n), "kept_relaxation": (len(REPORT),),
        "kept_phase_value": (1,),
    }  # fmt: skip
    kinds: dict[str, type] = {"twin": np.bool_, "order": np.int64}
    fields = Workspace._fields
    return Workspace(*(np.zeros(shapes.get(name, (k,)), dtype=kinds.get(name, np.float64)) for name in fields))
