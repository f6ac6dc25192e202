"""`DTIRS-v0`: steps per second, and of what a step's time is made up."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.dtirs import kernels
from benchmarks.timing import Number, Result, Row, Sampler, Side, interleave, per_second, timed
from benchmarks.worlds import EnvWorlds, SingleWorld, SystemWorlds, sampled_actions, vector_env
from edge_envs.core.kernels.jit import FastCall
from edge_envs.dtirs.model.dynamics import draw
from edge_envs.dtirs.model.parameters import Parameters
from edge_envs.dtirs.model.state import State
from edge_envs.dtirs.system import DTIRSSystem

ENV_ID = "DTIRS-v0"
PRESETS = ("default", "dense")
BATCHES = (1, 16)
STEPS_OF_A_WORLD = 128
"""Steps in one repetition, all worlds together."""
PART_REPEATS = 4
"""Times that a part of a lone world's step is done in a row, so that calling it from Python hardly counts."""

Part = Callable[[Parameters, State, NDArray[np.int64], int], object]
"""A part of a step of all worlds, done as often as the last argument says; it must come to the same each time."""


class Draws:
    """The random numbers of a step, by generators and into memory of their own, so that the worlds do not notice."""

    def __init__(self, system: DTIRSSystem, batch: int) -> None:
        self._scratch = system.allocate(batch)
        self._rngs = [np.random.default_rng(row) for row in range(batch)]

    def __call__(self, p: Parameters, s: State, actions: NDArray[np.int64], times: int) -> None:
        """Draw them; a `Part`."""
        del p, s, actions
        for _ in range(times):
            for row, rng in enumerate(self._rngs):
                draw(self._scratch, row, rng)


class PartWorlds(SystemWorlds):
    """Worlds of which a part of every step is done once more beside it; only that is timed."""

    def sampler(self, part: Part, before: bool, steps: int) -> Sampler:
        """Seconds of the part in a step, over as many steps of all worlds.

        Args:
            part: what to do, given the parameters, the state and the actions of the step.
            before: whether it belongs to the frame before the step, or to that after it.
            steps: in a sample.
        """
        assert isinstance(self.system, DTIRSSystem)
        p, batch = self.system.parameters, len(self.rows)
        repeats = PART_REPEATS if batch == 1 else 1

        def sample() -> float:
            total = 0.0
            for _ in range(steps):
                actions = next(self.actions)
                if not before:
                    self.step(actions)
                started = time.perf_counter()
                part(p, self.state, actions, repeats)
                total += (time.perf_counter() - started) / repeats
                if before:
                    self.step(actions)
            return total / (steps * batch)

        return sample


def parts_of(system: DTIRSSystem, batch: int) -> dict[str, tuple[Part, bool]]:
    """The parts of a step by what they do, and whether each comes before the channels change."""
    channels, phases, allocation = (
        FastCall(kernel) for kernel in (kernels.renew_channels, kernels.solve_phases, kernels.allocate)
    )
    return {
        "numpy's draws": (Draws(system, batch), True),
        "channels and Gram matrices": (lambda p, s, _, times: channels(p, s, times), False),
        "IRS phases and gains": (lambda p, s, _, times: phases(p, s, times), False),
        "twins, shares and powers": (allocation, True),
    }


def rest(name: str, whole: Side, parts: list[Side]) -> Number:
    """What is left of a step: reward and delays, devices on their way, observation, and the call itself."""
    label = "1 less all the shares"
    left = 1.0 - sum(side.seconds for side in parts) / whole.seconds
    return Number(f"{name}, the rest", "of a step", label, np.asarray(left), (whole, *parts))


def env(repetitions: int) -> list[Result]:
    """Steps per second, the shares of a step's parts in `System.step`, and what the shells add to that.

    All sides go through the same frames of the same worlds, without resets, at random cuts.
    """
    rows: list[Result] = []
    for preset in PRESETS:
        for batch in BATCHES:
            vector, steps = vector_env(ENV_ID, batch, preset), STEPS_OF_A_WORLD // batch
            actions = sampled_actions(vector)
            label = "EdgeEnv.step" if batch == 1 else "EdgeVectorEnv.step"
            shell = SingleWorld(ENV_ID, actions, preset) if batch == 1 else EnvWorlds(vector, actions)
            system = SystemWorlds(vector.system, batch, actions)
            assert isinstance(vector.system, DTIRSSystem)
            samplers = {
                label: timed(partial(shell.run, steps), steps * batch),
                "System.step": timed(partial(system.run, steps), steps * batch),
            }
            for part, (work, before) in parts_of(vector.system, batch).items():
                samplers[part] = PartWorlds(vector.system, batch, actions).sampler(work, before, steps)
            outer, inner, *parts = interleave(samplers, repetitions).values()
            worlds = "one world" if batch == 1 else f"{batch} worlds"
            name = f"{ENV_ID}, {preset} (K = {vector.system.members}): {worlds}"
            rows.append(per_second(name, "step", outer))
            rows += [Row(f"{name}, share", "step of a world", part, inner, kind="share") for part in parts]
            rows.append(rest(name, inner, parts))
            rows.append(Row(f"{name}, shell", "step of a world", outer, inner, kind="cost", target=1.5))
    return rows


BENCHMARKS = {"dtirs.env": env}
