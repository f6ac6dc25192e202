"""Invariants of `LyaPPO-v0`, verified in numpy after a reset or a step with `check=True`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.invariants import Invariant, Step, within
from edge_envs.lyappo.config import LyaPPOConfig, Solver
from edge_envs.lyappo.model.parameters import DECISION, Parameters
from edge_envs.lyappo.model.state import EDGE, LOCAL, TRANSMIT, Queues, State

CERTIFICATE_LIMIT = 1e-9
"""Largest relative duality gap of the closed forms; measured: 1e-11."""
REFERENCE_LIMIT = 1e-5
"""The same with solver="cvxpy": its interior-point method leaves residues of about 1e-8."""
REMEMBERED = ("arrived", "finished", "dropped", "queues.backlog")


def invariants(config: LyaPPOConfig, p: Parameters, s: State, step: Step | None) -> Iterator[Invariant]:
    """Conservation of tasks and work, and the limits on resources.

    They are checked for the last slot and for the means over a step. The state has no gains of past slots, so the mean
    rate is compared with the mean rate at full power, and not with the power spent.
    """
    yield from queues_add_up(p, s)
    yield from within("distance", s.distance_m, p.distance_min_m, p.distance_max_m)
    last = np.tile(config.last_cut, p.num_devices)
    yield from within("cut_range", s.cut, p.k_min, last)
    yield from resources(p, s.allocation, s.power_w, "slot")
    if step is not None:
        yield from resources(p, s.period_allocation, s.period_power_w, "period")
        yield Invariant("rate", devices(p, s.period_allocation[:, TRANSMIT]), "<=", s.period_rate_max)
        yield from flows(p, s, step)
        yield from accounts(p, s, step)
        yield Invariant("certificate_known", ~np.isnan(step.metrics["certificate"]), "==", p.decision != DECISION.JOINT)
        yield Invariant(
            "certificate", s.certificate, "<=", CERTIFICATE_LIMIT if config.solver == Solver.EXACT else REFERENCE_LIMIT
        )


def devices(p: Parameters, services: NDArray[Any]) -> NDArray[Any]:
    """Sums over each device's services, (R, J) -> (R, M)."""
    return services.reshape(len(services), p.num_devices, p.num_services).sum(axis=2)


def work_of(p: Parameters, cut: NDArray[Any]) -> NDArray[Any]:
    """Work of one task by stage at cuts (R, J), shape (R, 3, J)."""
    service = np.tile(np.arange(p.num_services), p.num_devices)
    return p.stage_work[:, service, cut].transpose(1, 0, 2)


def queued_work(p: Parameters, q: Queues) -> tuple[NDArray[Any], NDArray[Any]]:
    """Total work of the tasks in each queue, and of the task at its head, both (R, 3, J), from the rings."""
    size = q.size.ravel()
    queue = np.repeat(np.arange(len(size)), size)
    place = np.arange(len(queue)) - np.repeat(np.cumsum(size) - size, size)
    row, rest = np.divmod(queue, int(np.prod(q.size.shape[1:])))
    stage, j = np.divmod(rest, q.size.shape[2])
    cut = q.ring[row, (q.start.ravel()[queue] + place) % p.queue_capacity, stage, j]
    work = p.stage_work[stage, j % p.num_services, cut]
    heads = np.zeros(len(size))
    heads[queue[place == 0]] = work[place == 0]
    return np.bincount(queue, work, len(size)).reshape(q.size.shape), heads.reshape(q.size.shape)


def queues_add_up(p: Parameters, s: State) -> Iterator[Invariant]:
    """Every task that arrived is finished, dropped or queued, and a backlog is the work of the tasks in it."""
    q = s.queues
    yield Invariant("tasks_conserved", s.finished + s.dropped + q.size.sum(axis=1), "==", s.arrived)
    yield from within("queue_room", q.size, 0, p.queue_capacity)
    whole, heads = queued_work(p, q)
    most = np.tile(p.stage_work_max, p.num_devices)
    yield Invariant("work_conserved", q.backlog, "==", whole - heads + q.head, most)
    yield from within("head", q.head, 0.0, heads)
    yield Invariant("empty_queue", np.where(q.size == 0, q.backlog, 0.0), "==", 0.0)


def resources(p: Parameters, allocation: NDArray[Any], power_w: NDArray[Any], when: str) -> Iterator[Invariant]:
    """C.4, C.7 and the power limit, for the last slot or the means over a step."""
    yield Invariant(f"allocation_{when}", allocation, ">=", 0.0)
    yield Invariant(f"local_capacity_{when}", devices(p, allocation[:, LOCAL]), "<=", p.device_frequency_max_hz)
    yield Invariant(f"edge_capacity_{when}", allocation[:, EDGE].sum(axis=1), "<=", p.server_frequency_max_hz)
    yield from within(f"power_{when}", power_w, 0.0, p.power_max_w)


def flows(p: Parameters, s: State, step: Step) -> Iterator[Invariant]:
    """The action is in force, counters grow by the step's counts, and queues lose what they were served."""
    if p.decision == DECISION.JOINT:
        yield Invariant("power_requested", s.power_w, "<=", s.request_power_w)
    else:
        yield Invariant("one_cut_per_service", s.cut, "==", step.actions + p.k_min)
    yield Invariant("period_arrivals", s.arrived - step.before["arrived"], "==", s.period_arrivals)
    for name in ("arrived", "finished", "dropped"):
        now = (getattr(s, name) - step.before[name]).sum(axis=1)
        yield Invariant(f"tasks_{name}", step.metrics[f"tasks_{name}"], "==", now)
    before, after = step.before["queues.backlog"], s.queues.backlog
    served = p.slots_per_period * p.slot_s * s.period_allocation
    most = np.tile(p.stage_work_max, p.num_devices)
    # A task of which no more than the completion tolerance is left counts as done.
    spared = p.completion_tolerance * (served + most)
    size = np.maximum(before, most)
    yield Invariant("work_served", before - after, "<=", served + spared, size)
    arrived = s.period_arrivals * work_of(p, s.cut)[:, LOCAL]
    yield Invariant("work_arrived", (after + served)[:, LOCAL], "<=", before[:, LOCAL] + arrived, size[:, LOCAL])


def accounts(p: Parameters, s: State, step: Step) -> Iterator[Invariant]:
    """Energies (5) and (6), and the reward (34) from the means over a step."""
    period_s = p.slots_per_period * p.slot_s
    spent_j = period_s * s.period_power_w
    yield Invariant("energy_transmit", s.energy_transmit_j, "==", spent_j, p.power_max_w * period_s)
    # The cube is convex: the energy is at least that of the mean frequency.
    mean_hz = devices(p, s.period_allocation[:, LOCAL])
    cubic = period_s * p.device_energy_coefficient
    most_j = cubic * p.device_frequency_max_hz**3
    yield Invariant("energy_local", s.energy_local_j, ">=", cubic * mean_hz**3, most_j)
    yield Invariant("energy_local", s.energy_local_j, "<=", most_j)
    energy_j = s.energy_local_j + s.energy_transmit_j
    yield Invariant("energy_total", step.metrics["energy_j"], "==", energy_j.sum(axis=1))
    yield Invariant("power_reported", step.member["power_mw"], "==", 1e3 * energy_j / period_s)
    priced = sum(p.backlog_price[stage] * devices(p, s.period_backlog[:, stage]) for stage in range(3))
    cost = p.reward_energy_per_j * energy_j / p.slots_per_period + p.reward_backlog * priced
    yield Invariant("member_reward", step.member_reward, "==", -cost)
    ratio = step.metrics["finished_ratio"]
    yield from within("finished_ratio", ratio, 0.0, 1.0)
    arrived = s.arrived.sum(axis=1)
    yield Invariant("finished_ratio", ratio * arrived, "==", np.where(arrived > 0, s.finished.sum(axis=1), 0))
