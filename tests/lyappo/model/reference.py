"""Slow, readable model of multi-task inference that is split between devices and an edge server.

The tests use this module as an oracle, so it shares nothing with the fast code and prefers the obvious form
over the quick one: every task is an object in a first-in first-out queue, and the allocation problems are
solved by the searches of `reference_solvers.py`.

Each device m runs the same services n.  A task of a service is cut at a point k = 0..K: the layers before the
cut are computed on the device, the feature map at the cut is sent, the layers behind it are computed on the
server.  So a task passes through three queues: local (cycles), transmit (bits) and edge (cycles).

One slot:

1. observe the three backlogs and the channel gains;
2. solve the three allocation problems for them;
3. serve the queues with the result;
4. move the tasks that finished a stage to the next stage;
5. add the tasks that arrived.

Whatever enters a queue in a slot is thus first seen, and first served, in the next slot.

All quantities are in cycles, bits and SI units: seconds, hertz (cycles per second), watts, joules.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tests.lyappo.solvers.reference_solvers import full_power_rate, solve_edge, solve_local, solve_transmit

LOCAL, TRANSMIT, EDGE = 0, 1, 2
STAGES = (LOCAL, TRANSMIT, EDGE)

COMPLETION_TOLERANCE = 1e-9
"""A stage is complete once no more than this share of its work is left (guards against rounding)."""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Parameters:
    """Constants of the system; the services are the same on all devices."""

    num_devices: int
    num_services: int
    slot_s: float
    slots_per_period: int
    frequency_local_max_hz: float  # of one device, shared by its services
    frequency_edge_max_hz: float  # of the server, shared by all devices and services
    power_max_w: float  # of one device
    device_bandwidth_hz: float  # of one device, i.e. the system's bandwidth over the number of devices
    noise_w_per_hz: float
    energy_coefficient: float  # W s^3: a processor at f cycles/s draws energy_coefficient * f^3
    weight_local: float  # cycles^2 / J: price of local energy against backlog
    weight_transmit: float  # bits^2 / J: price of transmission energy against backlog
    reward_energy_per_j: float
    reward_backlog: float
    backlog_weights: tuple[float, float, float]  # local, transmit, edge
    backlog_scales: tuple[float, float, float]  # cycles, bits, cycles
    local_cycles: tuple[tuple[float, ...], ...]  # [service][cut], of one task
    transmit_bits: tuple[tuple[float, ...], ...]  # [service][cut], of one task
    edge_cycles: tuple[tuple[float, ...], ...]  # [service][cut], of one task

    def __post_init__(self) -> None:
        """Reject tables whose shapes disagree."""
        tables = (self.local_cycles, self.transmit_bits, self.edge_cycles)
        if any(len(table) != self.num_services for table in tables):
            raise ValueError("each work table needs one row per service")
        if any(len({len(table[n]) for table in tables}) != 1 for n in range(self.num_services)):
            raise ValueError("the work tables of a service need the same number of cuts")


# --- the queues -----------------------------------------------------------------------------------


@dataclass
class Task:
    """One inference request; it keeps the cut that was in force when it was born."""

    cut: int
    work: tuple[float, float, float]  # cycles, bits, cycles: of the whole task
    birth_slot: int
    remaining: float = field(default=0.0)  # of the stage whose queue the task is in


class Queue:
    """First-in first-out queue of one device, service and stage."""

    def __init__(self, stage: int) -> None:
        """Start empty."""
        self.stage = stage
        self.tasks: deque[Task] = deque()

    def backlog(self) -> float:
        """Work left over all tasks, cycles or bits."""
        return math.fsum(task.remaining for task in self.tasks)

    def append(self, task: Task) -> None:
        """Put a task that has all the work of this stage before it at the end."""
        task.remaining = task.work[self.stage]
        self.tasks.append(task)

    def serve(self, amount: float) -> list[Task]:
        """Work off an amount from the front; return the tasks that completed the stage, in their order."""
        completed: list[Task] = []
        while self.tasks:
            head = self.tasks[0]
            done = min(amount, head.remaining)
            head.remaining -= done
            amount -= done
            if head.remaining > COMPLETION_TOLERANCE * head.work[self.stage]:
                break
            head.remaining = 0.0
            completed.append(self.tasks.popleft())
        return completed


class ServiceLine:
    """The three queues that the tasks of one service on one device pass through."""

    def __init__(self) -> None:
        """Start empty."""
        self.queues = (Queue(LOCAL), Queue(TRANSMIT), Queue(EDGE))

    def enter(self, task: Task, first_stage: int) -> bool:
        """Queue a task for the first stage, from the given one on, that has work; False if there is none."""
        for stage in range(first_stage, len(STAGES)):
            if task.work[stage] > 0.0:
                self.queues[stage].append(task)
                return True
        return False

    def serve_and_move(self, amounts: Sequence[float]) -> int:
        """Serve all three queues, then pass completed tasks on; return how many tasks left the system."""
        completed = [queue.serve(amount) for queue, amount in zip(self.queues, amounts, strict=True)]
        finished = 0
        for stage in STAGES:
            for task in completed[stage]:
                if not self.enter(task, stage + 1):
                    finished += 1
        return finished


# --- the simulation -------------------------------------------------------------------------------


@dataclass
class PeriodRecord:
    """What happened in one period; M devices, N services.

    Means are over the slots of the period.  The mean backlogs are of the values seen at the start of each
    slot, the end backlogs are what the first slot of the next period will see.
    """

    mean_backlog_local: FloatArray  # (M, N), cycles
    mean_backlog_transmit: FloatArray  # (M, N), bits
    mean_backlog_edge: FloatArray  # (M, N), cycles
    end_backlog_local: FloatArray  # (M, N), cycles
    end_backlog_transmit: FloatArray  # (M, N), bits
    end_backlog_edge: FloatArray  # (M, N), cycles
    mean_frequency_local: FloatArray  # (M, N), cycles/s
    mean_rate: FloatArray  # (M, N), bit/s
    mean_power: FloatArray  # (M,), W
    mean_frequency_edge: FloatArray  # (M, N), cycles/s
    mean_rate_full_power: FloatArray  # (M,), bit/s
    energy_local_j: FloatArray  # (M,), J in the whole period
    energy_transmit_j: FloatArray  # (M,), J in the whole period
    arrived: IntArray  # (M, N), tasks
    finished: IntArray  # (M, N), tasks
    reward: FloatArray  # (M,), the system's reward is the sum
    tasks_in_queue: IntArray  # (M, N, 3), tasks at the end: local, transmit, edge


class Simulator:
    """State of the system between slots: the queues and the number of slots done."""

    def __init__(self, parameters: Parameters) -> None:
        """Start with empty queues."""
        self.parameters = parameters
        self.slot = 0
        self.lines = [[ServiceLine() for _ in range(parameters.num_services)] for _ in range(parameters.num_devices)]

    def backlogs(self, stage: int) -> list[list[float]]:
        """Backlogs of a stage, by device and service."""
        return [[line.queues[stage].backlog() for line in device] for device in self.lines]

    def counts(self) -> IntArray:
        """Tasks in the queues, by device, service and stage."""
        return np.array(
            [[[len(queue.tasks) for queue in line.queues] for line in device] for device in self.lines],
            dtype=np.int64,
        )

    def allocate(
        self,
        backlogs: tuple[list[list[float]], list[list[float]], list[list[float]]],
        gains: Sequence[float],
    ) -> tuple[list[list[float]], list[list[float]], list[float], list[list[float]]]:
        """Solve the allocation problems; return local frequencies, rates, powers and edge frequencies."""
        par = self.parameters
        frequencies_local = [
            solve_local(row, par.slot_s, par.frequency_local_max_hz, par.energy_coefficient, par.weight_local)
            for row in backlogs[LOCAL]
        ]
        rates: list[list[float]] = []
        powers: list[float] = []
        for row, gain in zip(backlogs[TRANSMIT], gains, strict=True):
            device_rates, power = solve_transmit(
                row,
                par.slot_s,
                par.power_max_w,
                par.device_bandwidth_hz,
                par.noise_w_per_hz,
                gain,
                par.weight_transmit,
            )
            rates.append(device_rates)
            powers.append(power)
        flat = solve_edge([backlog for row in backlogs[EDGE] for backlog in row], par.slot_s, par.frequency_edge_max_hz)
        services = par.num_services
        frequencies_edge = [flat[m * services : (m + 1) * services] for m in range(par.num_devices)]
        return frequencies_local, rates, powers, frequencies_edge

    def run_period(self, cuts: IntArray, arrivals: IntArray, gains: FloatArray) -> PeriodRecord:
        """Run one period with given cuts (M, N), arrivals (slots, M, N) and channel gains (slots, M)."""
        par = self.parameters
        by_service = (par.num_devices, par.num_services)
        backlog_sums = [np.zeros(by_service) for _ in STAGES]
        frequency_local = np.zeros(by_service)
        rate = np.zeros(by_service)
        power = np.zeros(par.num_devices)
        frequency_edge = np.zeros(by_service)
        rate_full_power = np.zeros(par.num_devices)
        energy_local = np.zeros(par.num_devices)
        energy_transmit = np.zeros(par.num_devices)
        arrived = np.zeros(by_service, dtype=np.int64)
        finished = np.zeros(by_service, dtype=np.int64)

        for step in range(par.slots_per_period):
            slot_gains = [float(gain) for gain in gains[step]]

            # 1. observe, 2. solve
            backlogs = (self.backlogs(LOCAL), self.backlogs(TRANSMIT), self.backlogs(EDGE))
            f_local, r_transmit, p_transmit, f_edge = self.allocate(backlogs, slot_gains)

            for stage in STAGES:
                backlog_sums[stage] += np.array(backlogs[stage])
            frequency_local += np.array(f_local)
            rate += np.array(r_transmit)
            power += np.array(p_transmit)
            frequency_edge += np.array(f_edge)
            for m in range(par.num_devices):
                rate_full_power[m] += full_power_rate(
                    par.power_max_w, par.device_bandwidth_hz, par.noise_w_per_hz, slot_gains[m]
                )
                energy_local[m] += par.slot_s * par.energy_coefficient * math.fsum(f_local[m]) ** 3
                energy_transmit[m] += par.slot_s * p_transmit[m]

            for m in range(par.num_devices):
                for n in range(par.num_services):
                    # 3. serve, 4. move
                    amounts = [
                        f_local[m][n] * par.slot_s,
                        r_transmit[m][n] * par.slot_s,
                        f_edge[m][n] * par.slot_s,
                    ]
                    finished[m, n] += self.lines[m][n].serve_and_move(amounts)
                    # 5. add
                    count = int(arrivals[step, m, n])
                    arrived[m, n] += count
                    finished[m, n] += self._add_tasks(m, n, int(cuts[m, n]), count)
            self.slot += 1

        slots = par.slots_per_period
        mean_backlogs = [total / slots for total in backlog_sums]
        end_backlogs = [np.array(self.backlogs(stage)) for stage in STAGES]
        return PeriodRecord(
            mean_backlog_local=mean_backlogs[LOCAL],
            mean_backlog_transmit=mean_backlogs[TRANSMIT],
            mean_backlog_edge=mean_backlogs[EDGE],
            end_backlog_local=end_backlogs[LOCAL],
            end_backlog_transmit=end_backlogs[TRANSMIT],
            end_backlog_edge=end_backlogs[EDGE],
            mean_frequency_local=frequency_local / slots,
            mean_rate=rate / slots,
            mean_power=power / slots,
            mean_frequency_edge=frequency_edge / slots,
            mean_rate_full_power=rate_full_power / slots,
            energy_local_j=energy_local,
            energy_transmit_j=energy_transmit,
            arrived=arrived,
            finished=finished,
            reward=period_reward(par, energy_local + energy_transmit, mean_backlogs),
            tasks_in_queue=self.counts(),
        )

    def _add_tasks(self, device: int, service: int, cut: int, count: int) -> int:
        """Add new tasks; return how many left at once because no stage has work for them."""
        par = self.parameters
        if not 0 <= cut < len(par.local_cycles[service]):
            raise ValueError(f"service {service} has no cut {cut}")
        if count < 0:
            raise ValueError("the number of arrivals must not be negative")
        work = (
            par.local_cycles[service][cut],
            par.transmit_bits[service][cut],
            par.edge_cycles[service][cut],
        )
        left_at_once = 0
        for _ in range(count):
            if not self.lines[device][service].enter(Task(cut, work, self.slot), LOCAL):
                left_at_once += 1
        return left_at_once


def period_reward(parameters: Parameters, energy_j: FloatArray, mean_backlogs: Sequence[FloatArray]) -> FloatArray:
    """Reward of each device for a period, eq. (34).

    The energy of the device is a mean per slot.  The backlog term of the device is a sum, over its services
    and the three stages, of the period's mean backlog over the stage's scale, times the stage's weight.
    """
    reward = np.zeros(parameters.num_devices)
    for m in range(parameters.num_devices):
        energy_per_slot = float(energy_j[m]) / parameters.slots_per_period
        scaled = math.fsum(
            parameters.backlog_weights[stage] * float(mean_backlogs[stage][m, n]) / parameters.backlog_scales[stage]
            for n in range(parameters.num_services)
            for stage in STAGES
        )
        reward[m] = -(parameters.reward_energy_per_j * energy_per_slot + parameters.reward_backlog * scaled)
    return reward


def simulate(parameters: Parameters, cuts: IntArray, arrivals: IntArray, gains: FloatArray) -> list[PeriodRecord]:
    """Simulate from empty queues.

    Takes the cuts (periods, M, N) in force in each period, the arrivals (periods * G, M, N) and the channel
    power gains (periods * G, M) of each slot, with G slots per period.  Returns one record per period.
    """
    slots = parameters.slots_per_period
    periods = len(cuts)
    by_service = (parameters.num_devices, parameters.num_services)
    if cuts.shape != (periods, *by_service):
        raise ValueError("cuts must have the shape (periods, devices, services)")
    if arrivals.shape != (periods * slots, *by_service):
        raise ValueError("arrivals must have the shape (slots, devices, services)")
    if gains.shape != (periods * slots, parameters.num_devices):
        raise ValueError("gains must have the shape (slots, devices)")
    simulator = Simulator(parameters)
    records = []
    for period in range(periods):
        part = slice(period * slots, (period + 1) * slots)
        records.append(simulator.run_period(cuts[period], arrivals[part], gains[part]))
    return records
