"""Reward, metrics and member metrics of a step: cost (22) of the tasks served, waiting and dropped."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel_part
from edge_envs.core.kernels.metrics import Metric, columns
from edge_envs.eccnoma.model import allocation
from edge_envs.eccnoma.model.parameters import ACCESS, ARRIVALS, ASSIGNMENT, POWER, UNITS, Parameters
from edge_envs.eccnoma.model.state import REPORT, State, Workspace
from edge_envs.eccnoma.solvers.radio import RADIO_REPORT

METRICS = (
    Metric("cost", "-", "weighted delays and energies of the step, (22) with waiting times and drops"),
    Metric("relative_cost", "-", "cost over that of the mean arrivals of a step with Device-Only; the negative reward"),
    Metric("delay_s", "s", "mean delay (12) of the tasks served, without their waiting time"),
    Metric("delay_device_s", "s", "mean computing delay on the device, (1)"),
    Metric("delay_uplink_s", "s", "mean delay of sending the features, (7)"),
    Metric("delay_server_s", "s", "mean computing delay at the server, (3)"),
    Metric("delay_downlink_s", "s", "mean delay of the result, (10)"),
    Metric("sojourn_s", "s", "total time that tasks of all users spend in the system during the step"),
    Metric("energy_j", "J", "mean energy (17) of the tasks served"),
    Metric("energy_device_j", "J", "mean computing energy of the device, (13)"),
    Metric("energy_uplink_j", "J", "mean energy of sending the features, (14)"),
    Metric("energy_server_j", "J", "mean computing energy of the server, (16)"),
    Metric("energy_downlink_j", "J", "mean energy of sending the result, (15)"),
    Metric("tasks_arrived", "tasks", "tasks that arrived for this step"),
    Metric("tasks_finished", "tasks", "tasks served"),
    Metric("tasks_dropped", "tasks", "tasks dropped after the step, as a backlog was full"),
    Metric("backlog_tasks", "tasks", "tasks that wait after the step"),
    Metric("edge_share", "-", "part of the users with tasks that have all layers at the server"),
    Metric("local_share", "-", "part of the users with tasks that have all layers on the device"),
    Metric("rate_uplink_bit_s", "bit/s", "mean uplink rate (6) of the users that send"),
    Metric("rate_downlink_bit_s", "bit/s", "mean downlink rate (9) of the users that send"),
    Metric("power_uplink_w", "W", "mean uplink power of the users that send"),
    Metric("slices_used", "slices", "slices that users hold, of all APs; 0 if no user needs one"),
    Metric("slices_loading", "slices", "slices of users that compute alone in this step, because they are loading"),
    Metric("server_units", "units", "used units of all servers"),
    Metric("pool_load", "-", "used part of the free units of all pools; 0 without pools"),
    Metric(
        "server_gap",
        "-",
        "upper bound on the part of the servers' cost that other units can save, by duality (or, without a pool, by "
        "convexity); NaN with units=most and units=equal",
        certifies=True,
    ),
    Metric("sweeps", "-", "sweeps of the local search in both directions together"),
    Metric("overflow", "users", "users beyond the capacity of their AP's subchannels"),
    Metric(
        "assignment_gap_uplink",
        "-",
        "cost of sending over its lower bound, every user alone on its best subchannel, "
        "minus 1; NaN with access=tdma and assignment=random",
        certifies=True,
    ),
    Metric("assignment_gap_downlink", "-", "see assignment_gap_uplink, for the downlink", certifies=True),
    Metric(
        "certificate",
        "-",
        "upper bound on the part of a direction's cost that other powers on the same subchannels can save, "
        "by convexity; the larger of both directions; NaN with access=tdma and power=full",
        "max",
        certifies=True,
    ),
)

MEMBER_METRICS = (
    "cut", "cost", "ap", "delay_s", "delay_device_s", "delay_uplink_s", "delay_server_s", "delay_downlink_s",
    "energy_j", "rate_uplink_bit_s", "rate_downlink_bit_s", "power_uplink_w", "power_downlink_w", "subchannel",
    "server_units", "tasks_finished", "tasks_dropped", "backlog_tasks", "slice", "loading",
)  # fmt: skip
"""Numbers per user of a step."""

OF_SLICES = ("slices_used", "slices_loading", "slice", "loading")
"""Metrics and member metrics that are reported with slices only."""
M, MEMBER = columns(METRICS), columns(("reward", *MEMBER_METRICS))
PER_TASK = (
    M.delay_s, M.delay_device_s, M.delay_uplink_s, M.delay_server_s, M.delay_downlink_s,
    M.energy_j, M.energy_device_j, M.energy_uplink_j, M.energy_server_j, M.energy_downlink_j,
)  # fmt: skip
"""Columns of means over the tasks served."""
PER_BUSY_USER = (M.edge_share, M.local_share)
PER_SENDER = (M.rate_uplink_bit_s, M.rate_downlink_bit_s, M.power_uplink_w)


@kernel_part
def is_local(p: Parameters, s: State, row: int, u: int) -> bool:
    """Return True if all layers of the user are on its device."""
    network = s.network[row, u]
    return p.cut_number[network, s.choice[row, u]] == p.cut_number[network, p.last_choice[network]]


@kernel_part
def serve_tasks(p: Parameters, s: State, row: int, member: NDArray[np.float64], metrics: NDArray[np.float64]) -> None:
    """Serve tasks one after the other during a step: add up costs, delays and energies, and shorten the backlogs."""
    w = s.workspace
    up, down = w.up, w.down
    served, senders, busy = 0.0, 0, 0
    for u in range(p.num_users):
        queue = s.queue[row, u]
        if queue > 0.0:
            delay = w.device_s[u] + w.up_s[u] + w.server_s[u] + w.down_s[u]
            energy = w.device_j[u] + w.up_j[u] + w.server_j[u] + w.down_j[u]
            done = min(queue, p.frame_s / delay) if p.arrivals == ARRIVALS.BURSTY and delay > 0.0 else queue
            served_s = 0.5 * delay * done * (done + 1.0) if done > 0.0 else 0.0
            sojourn = served_s + (queue - done) * p.frame_s
            cost = p.weight_delay * sojourn + p.weight_energy * done * energy
            metrics[row, M.cost] += cost
            metrics[row, M.sojourn_s] += sojourn
            add_tasks(w, row, u, done, delay, energy, metrics)
            metrics[row, M.tasks_arrived] += s.arrived[row, u]
            metrics[row, M.edge_share] += p.cut_number[s.network[row, u], s.choice[row, u]] == 0
            metrics[row, M.local_share] += is_local(p, s, row, u)
            if up.active[u]:
                metrics[row, M.rate_uplink_bit_s] += up.rate_bit_s[u]
                metrics[row, M.rate_downlink_bit_s] += down.rate_bit_s[u]
                metrics[row, M.power_uplink_w] += up.power_w[u]
                senders += 1
            busy += 1
            served += done
            report_member(w, u, row, cost, delay, energy, done, member)
            s.queue[row, u] = max(queue - done, 0.0)
            s.last_delay_s[row, u], s.last_rate_bit_s[row, u] = delay, up.rate_bit_s[u]
        else:
            s.last_delay_s[row, u] = s.last_rate_bit_s[row, u] = 0.0
        member[MEMBER.cut, row, u] = p.cut_number[s.network[row, u], s.choice[row, u]]
        member[MEMBER.ap, row, u] = s.ap[row, u]
        loading = s.holds[row, u] == 1 and is_local(p, s, row, u)
        metrics[row, M.slices_used] += s.holds[row, u]
        metrics[row, M.slices_loading] += loading
        member[MEMBER.slice, row, u], member[MEMBER.loading, row, u] = s.holds[row, u], loading
        member[MEMBER.subchannel, row, u] = up.band[u] if queue > 0.0 else -1.0
    metrics[row, M.tasks_finished] = served
    for column in PER_TASK:
        metrics[row, column] /= max(served, 1e-300)
    for column in PER_BUSY_USER:
        metrics[row, column] /= max(busy, 1)
    for column in PER_SENDER:
        metrics[row, column] /= max(senders, 1)
    report_solution(p, s, row, metrics)


@kernel_part
def add_tasks(
    w: Workspace, row: int, u: int, done: float, delay: float, energy: float, metrics: NDArray[np.float64]
) -> None:
    """Add the delays and energies of the tasks served for a user."""
    metrics[row, M.delay_s] += done * delay
    metrics[row, M.delay_device_s] += done * w.device_s[u]
    metrics[row, M.delay_uplink_s] += done * w.up_s[u]
    metrics[row, M.delay_server_s] += done * w.server_s[u]
    metrics[row, M.delay_downlink_s] += done * w.down_s[u]
    metrics[row, M.energy_j] += done * energy
    metrics[row, M.energy_device_j] += done * w.device_j[u]
    metrics[row, M.energy_uplink_j] += done * w.up_j[u]
    metrics[row, M.energy_server_j] += done * w.server_j[u]
    metrics[row, M.energy_downlink_j] += done * w.down_j[u]


@kernel_part
def report_member(
    w: Workspace, u: int, row: int, cost: float, delay: float, energy: float, done: float, member: NDArray[np.float64]
) -> None:
    """Report the numbers of a user with tasks."""
    up, down = w.up, w.down
    member[MEMBER.cost, row, u] = cost
    member[MEMBER.delay_s, row, u] = delay
    member[MEMBER.delay_device_s, row, u] = w.device_s[u]
    member[MEMBER.delay_uplink_s, row, u] = w.up_s[u]
    member[MEMBER.delay_server_s, row, u] = w.server_s[u]
    member[MEMBER.delay_downlink_s, row, u] = w.down_s[u]
    member[MEMBER.energy_j, row, u] = energy
    member[MEMBER.rate_uplink_bit_s, row, u] = up.rate_bit_s[u]
    member[MEMBER.rate_downlink_bit_s, row, u] = down.rate_bit_s[u]
    member[MEMBER.power_uplink_w, row, u] = up.power_w[u]
    member[MEMBER.power_downlink_w, row, u] = down.power_w[u]
    member[MEMBER.server_units, row, u] = w.units[u]
    member[MEMBER.tasks_finished, row, u] = done


@kernel_part
def report_solution(p: Parameters, s: State, row: int, metrics: NDArray[np.float64]) -> None:
    """Report used units, the work of the search, and certificates."""
    report, up, down = s.workspace.report, s.workspace.up.report, s.workspace.down.report
    metrics[row, M.server_units] = report[REPORT.units_used]
    if p.pool:
        metrics[row, M.pool_load] = report[REPORT.units_used] / report[REPORT.units_free]
    metrics[row, M.sweeps] = up[RADIO_REPORT.sweeps] + down[RADIO_REPORT.sweeps]
    metrics[row, M.overflow] = max(up[RADIO_REPORT.overflow], down[RADIO_REPORT.overflow])
    allocation.certify(p, s, row)
    metrics[row, M.server_gap] = report[REPORT.server_gap] if p.units == UNITS.OPTIMAL else math.nan
    is_assigned = p.access != ACCESS.TDMA and p.assignment != ASSIGNMENT.RANDOM
    metrics[row, M.assignment_gap_uplink] = up[RADIO_REPORT.assignment_gap] if is_assigned else math.nan
    metrics[row, M.assignment_gap_downlink] = down[RADIO_REPORT.assignment_gap] if is_assigned else math.nan
    is_tuned = p.access != ACCESS.TDMA and p.power != POWER.FULL
    power_gap = max(up[RADIO_REPORT.power_gap], down[RADIO_REPORT.power_gap])
    metrics[row, M.certificate] = power_gap if is_tuned else math.nan


@kernel_part
def add_arrival_costs(
    p: Parameters, s: State, row: int, reward: NDArray[np.float64], member: NDArray[np.float64],
    metrics: NDArray[np.float64],
) -> None:  # fmt: skip
    """Add drops and backlogs after the next arrivals, and compute the reward: minus the cost of each user."""
    bursty = p.arrivals == ARRIVALS.BURSTY
    for u in range(p.num_users):
        dropped = s.workspace.drops[u]
        cost = p.weight_delay * p.drop_s * dropped
        metrics[row, M.cost] += cost
        metrics[row, M.tasks_dropped] += dropped
        metrics[row, M.backlog_tasks] += s.queue[row, u] if bursty else 0.0
        member[MEMBER.cost, row, u] += cost
        member[MEMBER.tasks_dropped, row, u] = dropped
        member[MEMBER.backlog_tasks, row, u] = s.queue[row, u] if bursty else 0.0
        member[MEMBER.reward, row, u] = -member[MEMBER.cost, row, u] / s.reference[row]
        reward[row] += member[MEMBER.reward, row, u]
    metrics[row, M.relative_cost] = -reward[row]
