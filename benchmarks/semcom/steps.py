"""`SemCom-v0`: steps per second, and the share of the solver in a step."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from benchmarks.semcom import kernels as semcom_kernels
from benchmarks.steps import PART_REPEATS, SystemWorlds, overhead, sampled_actions, step_sides, vector_env, worlds_text
from benchmarks.timing import Result, Row, Sampler, per_second
from edge_envs.core.kernels.jit import FastCall
from edge_envs.semcom.system import SemComSystem

ENV_ID = "SemCom-v0"
BATCHES = (1, 256)
STEPS_OF_A_WORLD = 512
"""Steps in one repetition, summed over all worlds."""


class SolvedWorlds(SystemWorlds):
    """Worlds whose problems are solved a second time outside their steps; only these solves are timed."""

    def sampler(self, steps: int) -> Sampler:
        """Sampler of the seconds of all solves in a step of a world.

        They are the round's own solve before the step and, if the compression price is observed, the solve that
        computes the next round's price after the step.
        """
        assert isinstance(self.system, SemComSystem)
        p, batch = self.system.parameters, len(self.rows)
        solve, repeats = FastCall(semcom_kernels.solve_rounds), PART_REPEATS if batch == 1 else 1
        # The compression price is computed at the middle of the range of rates.
        middle = np.zeros((batch, p.num_devices))

        def seconds(actions: NDArray[np.float64]) -> float:
            started = time.perf_counter()
            solve(p, self.state, actions, repeats)
            return (time.perf_counter() - started) / repeats

        def sample() -> float:
            total = 0.0
            for _ in range(steps):
                actions = next(self.actions)
                total += seconds(actions)
                self.step(actions)
                if p.observe_price:
                    total += seconds(middle)
            return total / (steps * batch)

        return sample


def env(repetitions: int) -> list[Result]:
    """Steps per second, the share of the joint solver in `System.step`, and the overhead of the Gymnasium classes."""
    rows: list[Result] = []
    for batch in BATCHES:
        vector, steps = vector_env(ENV_ID, batch), STEPS_OF_A_WORLD // batch
        actions = sampled_actions(vector)
        solves = {"joint solver, on the same problems": SolvedWorlds(vector.system, batch, actions).sampler(steps)}
        outer, inner, solver = step_sides(ENV_ID, vector.system, actions, solves, steps, repetitions)
        name = f"{ENV_ID}: {worlds_text(batch)}"
        rows.append(per_second(name, "step", outer))
        rows.append(Row(f"{name}, share of the solver", "step of a world", solver, inner, kind="share", target=0.7))
        rows.append(overhead(name, outer, inner))
    return rows


BENCHMARKS = {"semcom.env": env}
