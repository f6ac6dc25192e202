"""State of a batch of worlds, and the constants that index it.

B worlds have M devices with N services each. Service n of device m has index j = m N + n of J = M N.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel_part
from edge_envs.core.kernels.randomness import allocate_uniforms
from edge_envs.lyappo.model.parameters import Parameters

LOCAL, TRANSMIT, EDGE = 0, 1, 2
"""Stages of a task: computing on the device, transmission, computing on the server."""

REGIME_DRAWS = 3
"""Uniforms per device and step for `dynamics.advance_regimes`: direction, blockage, arrival level."""


class Queues(NamedTuple):
    """First-in, first-out queues by row, stage and service, shape (B, 3, J)."""

    backlog: NDArray[np.float64]  # remaining work [cycles, bit, cycles by stage]
    head: NDArray[np.float64]  # remaining work of the task at the head, same units
    size: NDArray[np.int64]  # tasks queued
    start: NDArray[np.int64]  # position of the head in the ring
    ring: NDArray[np.uint8]  # (B, capacity, 3, J) cut of each queued task


class State(NamedTuple):
    """B worlds. Fields that begin with `period_` describe the last step, as the agent observes it."""

    queues: Queues
    cut: NDArray[np.int64]  # (B, J) cut in force, k_{m,n}
    arrived: NDArray[np.int64]  # (B, J) tasks since the reset
    finished: NDArray[np.int64]  # (B, J) tasks since the reset
    dropped: NDArray[np.int64]  # (B, J) tasks that found a full queue, since the reset
    distance_m: NDArray[np.float64]  # (B, M) to the server
    direction: NDArray[np.float64]  # (B, M) +1 away from the server, -1 towards it
    blocked: NDArray[np.bool_]  # (B, M) if the link is blocked
    level: NDArray[np.int64]  # (B, M) index of the arrival rate
    fading: NDArray[np.float64]  # (B, M, 2) complex fading, real and imaginary part
    mean_gain: NDArray[np.float64]  # (B, M) path loss and blockage, without fading
    allocation: NDArray[np.float64]  # (B, 3, J) of the last slot: f^l [cycles/s], r [bit/s], f^e [cycles/s]
    power_w: NDArray[np.float64]  # (B, M) of the last slot
    period_backlog: NDArray[np.float64]  # (B, 3, J) mean over the slots, (26)-(28)
    period_allocation: NDArray[np.float64]  # (B, 3, J) mean over the slots, (29), (31), (32)
    period_power_w: NDArray[np.float64]  # (B, M) mean over the slots, (30)
    period_rate_max: NDArray[np.float64]  # (B, M) mean full-power rate, (33) [bit/s]
    period_arrivals: NDArray[np.int64]  # (B, J) tasks
    energy_local_j: NDArray[np.float64]  # (B, M) sum over the slots of (5)
    energy_transmit_j: NDArray[np.float64]  # (B, M) sum over the slots of (6)
    certificate: NDArray[np.float64]  # (B,) largest relative duality gap of the step's solutions
    request: NDArray[np.float64]  # (B, 3, J) requested f^l [cycles/s], share of r [-], f^e [cycles/s]
    request_power_w: NDArray[np.float64]  # (B, M) requested power
    projected: NDArray[np.int64]  # (B,) sums of requests above C.4, C.6 or C.7, which were scaled down
    gain: NDArray[np.float64]  # (M,) scratch: channel gains of the current slot
    rate_max: NDArray[np.float64]  # (M,) scratch: full-power rates of the current slot [bit/s]
    order: NDArray[np.int64]  # (J,) scratch: queues by falling backlog
    uniforms: NDArray[np.float64]  # (B, BLOCK_STEPS, draws) random numbers of coming steps
    cursor: NDArray[np.int64]  # (B,) steps of the block already used


@kernel_part
def fading_draws(p: Parameters) -> int:
    """Uniforms per device and slot for the fading: an exponential power needs one, a complex gain two."""
    return 1 if p.fading_correlation == 0.0 else 2


def draws_per_step(p: Parameters) -> int:
    """Uniforms that a step of one world consumes: fading and arrivals of every slot, then the regimes."""
    return p.slots_per_period * p.num_devices * (fading_draws(p) + p.num_services) + REGIME_DRAWS * p.num_devices


def counters(shape: int | tuple[int, ...]) -> NDArray[np.int64]:
    """Whole numbers, all zero."""
    return np.zeros(shape, dtype=np.int64)


def allocate(p: Parameters, batch: int) -> State:
    """State arrays of `batch` worlds, before their first reset."""
    devices, services = (batch, p.num_devices), (batch, p.num_devices * p.num_services)
    stages = (batch, 3, services[1])
    uniforms, cursor = allocate_uniforms(batch, draws_per_step(p))
    # Capacity before stage and service: short queues then share a few cache lines.
    ring = np.zeros((batch, p.queue_capacity, *stages[1:]), dtype=np.uint8)
    return State(
        queues=Queues(np.zeros(stages), np.zeros(stages), counters(stages), counters(stages), ring),
        cut=counters(services), arrived=counters(services), finished=counters(services), dropped=counters(services),
        distance_m=np.zeros(devices), direction=np.ones(devices), blocked=np.zeros(devices, dtype=np.bool_),
        level=counters(devices), fading=np.zeros((*devices, 2)), mean_gain=np.zeros(devices),
        allocation=np.zeros(stages), power_w=np.zeros(devices), period_backlog=np.zeros(stages),
        period_allocation=np.zeros(stages), period_power_w=np.zeros(devices), period_rate_max=np.zeros(devices),
        period_arrivals=counters(services), energy_local_j=np.zeros(devices), energy_transmit_j=np.zeros(devices),
        certificate=np.zeros(batch), request=np.zeros(stages), request_power_w=np.zeros(devices),
        projected=counters(batch), gain=np.zeros(p.num_devices), rate_max=np.zeros(p.num_devices),
        order=counters(services[1]), uniforms=uniforms, cursor=cursor,
    )  # fmt: skip
