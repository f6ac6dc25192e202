"""Reward, metrics and member metrics of a step."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel_part
from edge_envs.core.metrics import Metric
from edge_envs.eccnoma.config import OPTIMAL, RANDOM, TDMA, Parameters
from edge_envs.eccnoma.model import allocation
from edge_envs.eccnoma.model.state import State
from edge_envs.eccnoma.model.workspace import SERVER_GAP, UNITS_FREE, UNITS_USED
from edge_envs.eccnoma.solvers.radio import ASSIGNMENT_GAP, OVERFLOW, POWER_GAP, SWEEPS

METRICS = (
    Metric("cost", "-", "weighted delays and energies of the frame, (22) with the wait in the backlogs and drops"),
    Metric("relative_cost", "-", "cost over that of a frame's mean arrivals with Device-Only; minus the reward"),
    Metric("delay_s", "s", "mean delay (12) of the tasks served, without their wait in the backlog"),
    Metric("delay_device_s", "s", "mean computing delay on the device, (1)"),
    Metric("delay_uplink_s", "s", "mean delay of sending the features, (7)"),
    Metric("delay_server_s", "s", "mean computing delay at the server, (3)"),
    Metric("delay_downlink_s", "s", "mean delay of the result, (10)"),
    Metric("sojourn_s", "s", "time that all users' tasks spend in the system in this frame"),
    Metric("energy_j", "J", "mean energy (17) of the tasks served"),
    Metric("energy_device_j", "J", "mean computing energy of the device, (13)"),
    Metric("energy_uplink_j", "J", "mean energy of sending the features, (14)"),
    Metric("energy_server_j", "J", "mean computing energy of the server, (16)"),
    Metric("energy_downlink_j", "J", "mean energy of sending the result, (15)"),
    Metric("tasks_arrived", "tasks", "tasks that arrived for this frame"),
    Metric("tasks_finished", "tasks", "tasks served"),
    Metric("tasks_dropped", "tasks", "tasks that found no room in a backlog after it"),
    Metric("backlog_tasks", "tasks", "tasks that wait after it"),
    Metric("edge_share", "-", "part of the users with tasks that leave all layers to the server"),
    Metric("local_share", "-", "part of the users with tasks that compute all layers themselves"),
    Metric("rate_uplink_bit_s", "bit/s", "mean uplink rate (6) of those that send"),
    Metric("rate_downlink_bit_s", "bit/s", "mean downlink rate (9) of the same"),
    Metric("power_uplink_w", "W", "mean uplink power of the same"),
    Metric("server_units", "units", "units of all servers in use"),
    Metric("pool_load", "-", "part of the free units of all pools in use; 0 without pools"),
    Metric(
        "server_gap",
        "-",
        "at most this part of the servers' cost could be saved by other units, by duality (or, without a pool, "
        "convexity); NaN with units=most and units=equal",
        certifies=True,
    ),
    Metric("sweeps", "-", "sweeps of the local search, of both directions together"),
    Metric("overflow", "users", "users beyond the capacity of their AP's subchannels"),
    Metric(
        "assignment_gap_uplink",
        "-",
        "cost of sending over its lower bound, every user alone on its best subchannel, "
        "minus 1; NaN with access=tdma and assignment=random",
        certifies=True,
    ),
    Metric("assignment_gap_downlink", "-", "the same of the downlink", certifies=True),
    Metric(
        "certificate",
        "-",
        "at most this part of a direction's cost could be saved by other powers on the same "
        "subchannels, by convexity, the larger of both; NaN with access=tdma and power=full",
        "max",
        certifies=True,
    ),
)

(
    FRAME_COST, RELATIVE, DELAY, DELAY_DEVICE, DELAY_UP, DELAY_SERVER, DELAY_DOWN, SOJOURN, ENERGY, ENERGY_DEVICE,
    ENERGY_UP, ENERGY_SERVER, ENERGY_DOWN, ARRIVED, FINISHED, DROPPED, BACKLOG, EDGE_SHARE, LOCAL_SHARE, RATE_UP,
    RATE_DOWN, POWER_UP, UNITS, POOL_LOAD, GAP, SWEPT, OVER, ASSIGNMENT_UP, ASSIGNMENT_DOWN, CERTIFICATE,
) = range(len(METRICS))  # fmt: skip

MEMBER_METRICS = (
    "cut", "cost", "ap", "delay_s", "delay_device_s", "delay_uplink_s", "delay_server_s", "delay_downlink_s",
    "energy_j", "rate_uplink_bit_s", "rate_downlink_bit_s", "power_uplink_w", "power_downlink_w", "subchannel",
    "server_units", "tasks_finished", "tasks_dropped", "backlog_tasks",
)  # fmt: skip
"""Numbers per user of a step; the layers of the kernel's member array after the reward."""

(
    REWARD, OWN_CUT, OWN_COST, OWN_AP, OWN_DELAY, OWN_DEVICE_S, OWN_UP_S, OWN_SERVER_S, OWN_DOWN_S, OWN_ENERGY,
    OWN_RATE_UP, OWN_RATE_DOWN, OWN_POWER_UP, OWN_POWER_DOWN, OWN_BAND, OWN_UNITS, OWN_FINISHED, OWN_DROPPED,
    OWN_BACKLOG,
) = range(1 + len(MEMBER_METRICS))  # fmt: skip


@kernel_part
def computes_alone(p: Parameters, s: State, row: int, u: int) -> bool:
    """Whether the user's cut is behind its network's last layer, by whatever choice."""
    network = s.network[row, u]
    return p.cut_number[network, s.choice[row, u]] == p.cut_number[network, p.last_choice[network]]


@kernel_part
def account(p: Parameters, s: State, row: int, member: NDArray[np.float64], metrics: NDArray[np.float64]) -> None:
    """Serve the tasks one after the other for a frame, add up costs, delays and energies, and shorten the backlogs."""
    w = s.work
    served, senders, busy = 0.0, 0, 0
    for u in range(p.num_users):
        queue = s.queue[row, u]
        if queue > 0.0:
            delay = w.device_s[u] + w.up_s[u] + w.server_s[u] + w.down_s[u]
            energy = w.device_j[u] + w.up_j[u] + w.server_j[u] + w.down_j[u]
            done = min(queue, p.frame_s / delay) if p.bursty and delay > 0.0 else queue
            served_s = 0.5 * delay * done * (done + 1.0) if done > 0.0 else 0.0
            sojourn = served_s + (queue - done) * p.frame_s
            cost = p.delay_weight * sojourn + p.energy_weight * done * energy
            metrics[row, FRAME_COST] += cost
            metrics[row, SOJOURN] += sojourn
            for i, part in enumerate((delay, w.device_s[u], w.up_s[u], w.server_s[u], w.down_s[u])):
                metrics[row, DELAY + i] += done * part
            for i, part in enumerate((energy, w.device_j[u], w.up_j[u], w.server_j[u], w.down_j[u])):
                metrics[row, ENERGY + i] += done * part
            metrics[row, ARRIVED] += s.arrived[row, u]
            metrics[row, EDGE_SHARE] += p.cut_number[s.network[row, u], s.choice[row, u]] == 0
            metrics[row, LOCAL_SHARE] += computes_alone(p, s, row, u)
            if w.up.active[u]:
                metrics[row, RATE_UP] += w.up.rate_bit_s[u]
                metrics[row, RATE_DOWN] += w.down.rate_bit_s[u]
                metrics[row, POWER_UP] += w.up.power_w[u]
                senders += 1
            busy += 1
            served += done
            report_member(s, u, row, cost, delay, energy, done, member)
            s.queue[row, u] = max(queue - done, 0.0)
            s.last_delay_s[row, u], s.last_rate_bit_s[row, u] = delay, w.up.rate_bit_s[u]
        else:
            s.last_delay_s[row, u] = s.last_rate_bit_s[row, u] = 0.0
        member[OWN_CUT, row, u] = p.cut_number[s.network[row, u], s.choice[row, u]]
        member[OWN_AP, row, u] = s.ap[row, u]
        member[OWN_BAND, row, u] = w.up.band[u] if queue > 0.0 else -1.0
    for i in range(5):
        metrics[row, DELAY + i] /= max(served, 1e-300)
        metrics[row, ENERGY + i] /= max(served, 1e-300)
    metrics[row, FINISHED] = served
    for i in (EDGE_SHARE, LOCAL_SHARE):
        metrics[row, i] /= max(busy, 1)
    for i in (RATE_UP, RATE_DOWN, POWER_UP):
        metrics[row, i] /= max(senders, 1)
    report_solution(p, s, row, metrics)


@kernel_part
def report_member(
    s: State, u: int, row: int, cost: float, delay: float, energy: float, done: float, member: NDArray[np.float64]
) -> None:
    """One user's numbers, in the order of `MEMBER_METRICS`, after its reward."""
    w = s.work
    member[OWN_COST, row, u] = cost
    member[OWN_DELAY, row, u] = delay
    member[OWN_DEVICE_S, row, u], member[OWN_UP_S, row, u] = w.device_s[u], w.up_s[u]
    member[OWN_SERVER_S, row, u], member[OWN_DOWN_S, row, u] = w.server_s[u], w.down_s[u]
    member[OWN_ENERGY, row, u] = energy
    member[OWN_RATE_UP, row, u], member[OWN_RATE_DOWN, row, u] = w.up.rate_bit_s[u], w.down.rate_bit_s[u]
    member[OWN_POWER_UP, row, u], member[OWN_POWER_DOWN, row, u] = w.up.power_w[u], w.down.power_w[u]
    member[OWN_UNITS, row, u] = w.units[u]
    member[OWN_FINISHED, row, u] = done


@kernel_part
def report_solution(p: Parameters, s: State, row: int, metrics: NDArray[np.float64]) -> None:
    """What the solvers say of themselves."""
    w = s.work
    metrics[row, UNITS] = w.report[UNITS_USED]
    if p.pool:
        metrics[row, POOL_LOAD] = w.report[UNITS_USED] / w.report[UNITS_FREE]
    metrics[row, SWEPT] = w.up.report[SWEEPS] + w.down.report[SWEEPS]
    metrics[row, OVER] = max(w.up.report[OVERFLOW], w.down.report[OVERFLOW])
    allocation.certify(p, s, row)
    metrics[row, GAP] = w.report[SERVER_GAP] if p.units == OPTIMAL else math.nan
    is_assigned = p.access != TDMA and p.assignment != RANDOM
    metrics[row, ASSIGNMENT_UP] = w.up.report[ASSIGNMENT_GAP] if is_assigned else math.nan
    metrics[row, ASSIGNMENT_DOWN] = w.down.report[ASSIGNMENT_GAP] if is_assigned else math.nan
    is_tuned = p.access != TDMA and not p.full_power
    metrics[row, CERTIFICATE] = max(w.up.report[POWER_GAP], w.down.report[POWER_GAP]) if is_tuned else math.nan


@kernel_part
def settle(
    p: Parameters, s: State, row: int, reward: NDArray[np.float64], member: NDArray[np.float64],
    metrics: NDArray[np.float64],
) -> None:  # fmt: skip
    """Drops and backlogs after the arrivals of the next frame, and the reward: each user's part of the cost."""
    for u in range(p.num_users):
        dropped = s.work.drops[u]
        cost = p.delay_weight * p.drop_s * dropped
        metrics[row, FRAME_COST] += cost
        metrics[row, DROPPED] += dropped
        metrics[row, BACKLOG] += s.queue[row, u] if p.bursty else 0.0
        member[OWN_COST, row, u] += cost
        member[OWN_DROPPED, row, u] = dropped
        member[OWN_BACKLOG, row, u] = s.queue[row, u] if p.bursty else 0.0
        member[REWARD, row, u] = -member[OWN_COST, row, u] / s.reference[row]
        reward[row] += member[REWARD, row, u]
    metrics[row, RELATIVE] = -reward[row]
