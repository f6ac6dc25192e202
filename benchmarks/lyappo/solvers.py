"""`LyaPPO-v0`: the closed-form solvers against CVXPY, and the time of a batch relative to its random draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from gymnasium.utils.seeding import np_random
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.solvers import require_cvxpy
from benchmarks.steps import Actions, SystemWorlds, sampled_actions, vector_env
from benchmarks.timing import Row, interleave, timed
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.lyappo.config import LyaPPOConfig
from edge_envs.lyappo.model.parameters import Parameters, parameters_of
from edge_envs.lyappo.model.state import EDGE, LOCAL, TRANSMIT
from edge_envs.lyappo.solvers import reference_cvxpy

ENV_ID = "LyaPPO-v0"
GOOD_CUTS = (2, 4)
"""Cuts of the two services under which the default system is stable and spends little energy."""
BATCHES = (256, 1024)
PERIODS = 16
"""Periods of a batch in one repetition, and periods per call of the faster of the two reference draws."""
SINGLE_PERIODS = 200
SLOTS_SOLVED = 8
"""Slots that CVXPY solves in one repetition."""

Solver = Callable[..., Any]
Snapshot = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Backlogs (3, J) and channel gains (M,) at the start of a slot."""


def good_partition(env: EdgeVectorEnv) -> Actions:
    """The good cuts on every device, in every row."""
    config = env.system.config
    cuts = np.tile(GOOD_CUTS[: config.num_services], config.num_devices) - config.k_min
    return [np.tile(cuts, (env.num_envs, 1))]


def cvxpy_solvers() -> dict[str, tuple[Solver, Solver, Solver]]:
    """CVXPY's solvers of Problems 3, 4 and 5, rebuilt for each solve and compiled once.

    Raises:
        Skipped: CVXPY is not installed.
    """
    require_cvxpy()
    compiled = reference_cvxpy.CompiledReference()
    return {
        "CVXPY, rebuilt": (
            reference_cvxpy.solve_local_cvxpy,
            reference_cvxpy.solve_transmit_cvxpy,
            reference_cvxpy.solve_edge_cvxpy,
        ),
        "CVXPY, compiled once": (compiled.solve_local, compiled.solve_transmit, compiled.solve_edge),
    }


def solve_slots(solvers: tuple[Solver, Solver, Solver], p: Parameters, snapshots: Sequence[Snapshot]) -> None:
    """Solve Problems 3 and 4 of every device, and Problem 5, in every slot."""
    solve_local, solve_transmit, solve_edge = solvers
    for backlog, gain in snapshots:
        for m in range(p.num_devices):
            own = slice(m * p.num_services, (m + 1) * p.num_services)
            solve_local(
                backlog[LOCAL, own], slot_s=p.slot_s, weight=p.weight_local,
                energy_coefficient=p.device_energy_coefficient, frequency_max_hz=p.device_frequency_max_hz,
            )  # fmt: skip
            solve_transmit(
                backlog[TRANSMIT, own], slot_s=p.slot_s, weight=p.weight_transmit, gain=float(gain[m]),
                power_max_w=p.power_max_w, bandwidth_hz=p.device_bandwidth_hz, noise_w_per_hz=p.noise_w_per_hz,
            )  # fmt: skip
        solve_edge(backlog[EDGE], slot_s=p.slot_s, frequency_max_hz=p.server_frequency_max_hz)


def slot(repetitions: int) -> list[Row]:
    """Compare one slot of one world: the whole `System.step` per slot with CVXPY's nine solves alone.

    CVXPY solves slots of the world's steady state; problems of empty queues are skipped. Its time includes the scaling
    of the numbers and the certificate, which ours computes as well.
    """
    env = vector_env(ENV_ID, 1)
    world = SystemWorlds(env.system, 1, good_partition(env))
    p = parameters_of(env.system.config)
    snapshots: list[Snapshot] = []
    for _ in range(SLOTS_SOLVED):
        world.run(1)
        snapshots.append((world.state.queues.backlog[0].copy(), world.state.gain.copy()))
    samplers = {"System.step / slots": timed(partial(world.run, SINGLE_PERIODS), SINGLE_PERIODS * p.slots_per_period)}
    for label, solvers in cvxpy_solvers().items():
        samplers[label] = timed(partial(solve_slots, solvers, p, snapshots), SLOTS_SOLVED)
    ours, rebuilt, compiled = interleave(samplers, repetitions).values()
    name = f"{ENV_ID}: slot of one world"
    return [
        Row(name, "slot", ours, rebuilt, kind="speed-up"),
        Row(name, "slot", ours, compiled, kind="speed-up", target=2000.0),
    ]


def draw(rngs: Sequence[Generator], rate: float, arrivals: int, gains: int, block: int) -> None:
    """Draw arrivals and gains of each row for PERIODS periods from its own generator, `block` periods per call."""
    for _ in range(PERIODS // block):
        for rng in rngs:
            rng.poisson(rate, block * arrivals)
            rng.standard_exponential(block * gains)


def batch(repetitions: int) -> list[Row]:
    """Time of `System.step` of a batch in its steady state over that of its random draws alone."""
    rows = []
    for size in BATCHES:
        env = vector_env(ENV_ID, size)
        config: LyaPPOConfig = env.system.config
        gains = config.slots_per_period * config.num_devices
        floor = partial(
            draw, [np_random(row)[0] for row in range(size)], float(config.arrival_rates_per_slot[0]),
            arrivals=gains * config.num_services, gains=gains,
        )  # fmt: skip
        policies = {"fixed cuts": good_partition(env), "random cuts": sampled_actions(env)}
        worlds = {label: SystemWorlds(env.system, size, actions) for label, actions in policies.items()}
        work: dict[str, Callable[[], None]] = {
            f"System.step, {label}": partial(each.run, PERIODS) for label, each in worlds.items()
        }
        work["numpy's draws, by period"] = partial(floor, block=1)
        work[f"numpy's draws, by {PERIODS} periods"] = partial(floor, block=PERIODS)
        times = interleave({label: timed(each, PERIODS * size) for label, each in work.items()}, repetitions)
        *steps, by_period, by_block = times.values()
        name = f"{ENV_ID}: {size} worlds"
        for step in steps:
            rows.append(Row(name, "period of a world", step, by_period, kind="cost", target=3.0))
            rows.append(Row(name, "period of a world", step, by_block, kind="cost"))
    return rows


BENCHMARKS = {"lyappo.slot": slot, "lyappo.batch": batch}
