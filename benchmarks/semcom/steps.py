"""`SemCom-v0`: steps per second, and what part of a step is the solver."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.semcom import kernels as semcom_kernels
from benchmarks.timing import Result, Row, Sampler, interleave, per_second, timed
from benchmarks.worlds import EnvWorlds, SingleWorld, SystemWorlds, sampled_actions, vector_env
from edge_envs.core.kernels.jit import FastCall
from edge_envs.semcom.system import SemComSystem

ENV_ID = "SemCom-v0"
BATCHES = (1, 256)
STEPS_OF_A_WORLD = 512
"""Steps in one repetition, all worlds together."""
LONE_REPEATS = 4
"""Times that a lone world's round is solved in a row, so that the call from Python hardly counts."""


class SolvedWorlds(SystemWorlds):
    """Worlds whose problems are solved by the joint solver alone around their steps; only the former is timed."""

    def sampler(self, steps: int) -> Sampler:
        """Seconds of all solves that a step takes, over as many steps of all worlds.

        Before a step that is the round's own, after it that of the price of the next round, if it is observed.
        """
        assert isinstance(self.system, SemComSystem)
        p, batch = self.system.parameters, len(self.rows)
        solve, repeats = FastCall(semcom_kernels.solve_rounds), LONE_REPEATS if batch == 1 else 1
        # The middle of their range, where the price of the compression rates is taken.
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
    """Steps per second, the share of the joint solver in `System.step`, and what the shells add to that.

    All three sides go through the same rounds of the same worlds, without resets.
    """
    rows: list[Result] = []
    for batch in BATCHES:
        vector, steps = vector_env(ENV_ID, batch), STEPS_OF_A_WORLD // batch
        actions = sampled_actions(vector)
        label = "EdgeEnv.step" if batch == 1 else "EdgeVectorEnv.step"
        shell = SingleWorld(ENV_ID, actions) if batch == 1 else EnvWorlds(vector, actions)
        system = SystemWorlds(vector.system, batch, actions)
        solved = SolvedWorlds(vector.system, batch, actions)
        samplers = {
            label: timed(partial(shell.run, steps), steps * batch),
            "System.step": timed(partial(system.run, steps), steps * batch),
            "joint solver, on the same problems": solved.sampler(steps),
        }
        outer, inner, solver = interleave(samplers, repetitions).values()
        name = f"{ENV_ID}: one world" if batch == 1 else f"{ENV_ID}: {batch} worlds"
        rows.append(per_second(name, "step", outer))
        rows.append(Row(f"{name}, share of the solver", "step of a world", solver, inner, kind="share", target=0.7))
        rows.append(Row(f"{name}, shell", "step of a world", outer, inner, kind="cost", target=1.5))
    return rows


BENCHMARKS = {"semcom.env": env}
