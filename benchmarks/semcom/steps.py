"""`SemCom-v0`: steps per second, and the share of the solver in a step."""

from __future__ import annotations

import numpy as np

from benchmarks.semcom import kernels as semcom_kernels
from benchmarks.steps import Part, PartWorlds, overhead, sampled_actions, step_sides, vector_env, worlds_text
from benchmarks.timing import Result, Row, per_second
from edge_envs.core.kernels.jit import FastCall
from edge_envs.semcom.system import SemComSystem

ENV_ID = "SemCom-v0"
BATCHES = (1, 256)
STEPS_OF_A_WORLD = 512
"""Steps in one repetition, summed over all worlds."""


def solves_of(system: SemComSystem, batch: int) -> tuple[Part, Part | None]:
    """The solves of a step, to be run before and after it.

    They are the round's own solve and, if the compression price is observed, the one that computes the price of the
    next round at the middle of the range of rates.
    """
    solve = FastCall(semcom_kernels.solve_rounds)
    middle = np.zeros((batch, system.parameters.num_devices))
    price: Part = lambda p, s, _, times: solve(p, s, middle, times)  # noqa: E731
    return solve, price if system.parameters.observe_price else None


def env(repetitions: int) -> list[Result]:
    """Steps per second, the share of the joint solver in `System.step`, and the overhead of the Gymnasium classes."""
    rows: list[Result] = []
    for batch in BATCHES:
        vector, steps = vector_env(ENV_ID, batch), STEPS_OF_A_WORLD // batch
        actions = sampled_actions(vector)
        assert isinstance(vector.system, SemComSystem)
        solves = PartWorlds(vector.system, batch, actions).sampler(steps, *solves_of(vector.system, batch))
        outer, inner, solver = step_sides(
            ENV_ID, vector.system, actions, {"joint solver, on the same problems": solves}, steps, repetitions
        )
        name = f"{ENV_ID}: {worlds_text(batch)}"
        rows.append(per_second(name, "step", outer))
        rows.append(Row(f"{name}, share of the solver", "step of a world", solver, inner, kind="share", target=0.7))
        rows.append(overhead(name, outer, inner))
    return rows


BENCHMARKS = {"semcom.env": env}
