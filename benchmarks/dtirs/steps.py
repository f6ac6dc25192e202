"""`DTIRS-v0`: steps per second, and the shares of the parts of a step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.dtirs import kernels
from benchmarks.steps import Part, PartWorlds, sampled_actions, split_rows, step_sides, vector_env, worlds_text
from benchmarks.timing import Result
from edge_envs.core.kernels.jit import FastCall
from edge_envs.dtirs.model.dynamics import draw
from edge_envs.dtirs.model.parameters import Parameters
from edge_envs.dtirs.model.state import State
from edge_envs.dtirs.system import DTIRSSystem

ENV_ID = "DTIRS-v0"
PRESETS = ("default", "dense")
BATCHES = (1, 16)
STEPS_OF_A_WORLD = 128
"""Steps in one repetition, summed over all worlds."""


class Draws:
    """The random numbers of a step, with separate generators and memory, so that the worlds do not change."""

    def __init__(self, system: DTIRSSystem, batch: int) -> None:
        self._scratch = system.allocate(batch)
        self._rngs = [np.random.default_rng(row) for row in range(batch)]

    def __call__(self, p: Parameters, s: State, actions: NDArray[np.int64], times: int) -> None:
        """Draw the numbers; a `Part`."""
        del p, s, actions
        for _ in range(times):
            for row, rng in enumerate(self._rngs):
                draw(self._scratch, row, rng)


def parts_of(system: DTIRSSystem, batch: int) -> dict[str, tuple[Part | None, Part | None]]:
    """The parts of a step by name, to be run before and after it; the channels change in between."""
    channels, phases, allocation = (
        FastCall(kernel) for kernel in (kernels.renew_channels, kernels.solve_phases, kernels.allocate)
    )
    return {
        "numpy's draws": (Draws(system, batch), None),
        "channels and Gram matrices": (None, lambda p, s, _, times: channels(p, s, times)),
        "IRS phases and gains": (None, lambda p, s, _, times: phases(p, s, times)),
        "twins, shares and powers": (allocation, None),
    }


def env(repetitions: int) -> list[Result]:
    """Steps per second, the shares of the parts in `System.step`, and the overhead of the Gymnasium classes.

    The cuts are random. The rest of a step are reward and delays, the devices' movement, the observation, and the call
    itself.
    """
    rows: list[Result] = []
    for preset in PRESETS:
        for batch in BATCHES:
            vector, steps = vector_env(ENV_ID, batch, preset), STEPS_OF_A_WORLD // batch
            actions = sampled_actions(vector)
            assert isinstance(vector.system, DTIRSSystem)
            parts = {
                label: PartWorlds(vector.system, batch, actions).sampler(steps, *parts)
                for label, parts in parts_of(vector.system, batch).items()
            }
            name = f"{ENV_ID}, {preset} (K = {vector.system.members}): {worlds_text(batch)}"
            rows += split_rows(name, step_sides(ENV_ID, vector.system, actions, parts, steps, repetitions, preset))
    return rows


BENCHMARKS = {"dtirs.env": env}
