"""Steps per second of an environment, and the shares of the parts of a step, for all environments."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.timing import Number, Result, Row, Sampler, Side, interleave, per_second, timed
from benchmarks.worlds import EnvWorlds, SingleWorld, SystemWorlds

OVERHEAD_TARGET = 1.5
"""Largest time of the Gymnasium class over that of `System.step`."""
PART_REPEATS, FEW_MEMBERS = 4, 100
"""Repetitions of a part in a single world with up to so many members, so that the call from Python hardly counts."""

Part = Callable[[Any, Any, Any, int], object]
"""A part of a step of all worlds, given parameters, state, actions and a number of repetitions.

Each repetition must give the same result and leave the worlds unchanged.
"""


class PartWorlds(SystemWorlds):
    """Worlds in which one part of every step is run a second time, outside the step; only that run is timed."""

    def sampler(self, part: Part, steps: int, *, before: bool = True) -> Sampler:
        """Sampler of the part's seconds per step of a world.

        Args:
            part: the part to run.
            steps: steps of each world per sample.
            before: True if the part belongs to the frame before the step, False if to that after it.
        """
        system: Any = self.system
        batch = len(self.rows)
        repeats = PART_REPEATS if batch == 1 and system.members <= FEW_MEMBERS else 1

        def sample() -> float:
            total = 0.0
            for _ in range(steps):
                actions = next(self.actions)
                if not before:
                    self.step(actions)
                started = time.perf_counter()
                part(system.parameters, self.state, actions, repeats)
                total += (time.perf_counter() - started) / repeats
                if before:
                    self.step(actions)
            return total / (steps * batch)

        return sample


def rest(name: str, whole: Side, parts: Sequence[Side]) -> Number:
    """Share of a step that none of the parts accounts for."""
    left = 1.0 - sum(side.seconds for side in parts) / whole.seconds
    return Number(f"{name}, the rest", "of a step", "1 less all the shares", np.asarray(left), (whole, *parts))


def worlds_text(batch: int) -> str:
    """A number of worlds as it appears in the names of rows."""
    return "one world" if batch == 1 else f"{batch} worlds"


def step_sides(
    gym_worlds: SingleWorld | EnvWorlds,
    system: SystemWorlds,
    parts: Mapping[str, Sampler],
    steps: int,
    repetitions: int,
) -> list[Side]:
    """Times per step of a world: of the Gymnasium class, of `System.step`, and of each part."""
    batch = len(system.rows)
    samplers = {
        "EdgeEnv.step" if batch == 1 else "EdgeVectorEnv.step": timed(partial(gym_worlds.run, steps), steps * batch),
        "System.step": timed(partial(system.run, steps), steps * batch),
        **parts,
    }
    return list(interleave(samplers, repetitions).values())


def overhead(name: str, outer: Side, inner: Side) -> Row:
    """Time of the Gymnasium class over that of `System.step`."""
    return Row(f"{name}, overhead", "step of a world", outer, inner, kind="cost", target=OVERHEAD_TARGET)


def split_rows(name: str, sides: Sequence[Side]) -> list[Result]:
    """Rows for the result of `step_sides`: steps per second, share of each part, the rest, and the overhead."""
    outer, inner, *parts = sides
    return [
        per_second(name, "step", outer),
        *(Row(f"{name}, share", "step of a world", part, inner, kind="share") for part in parts),
        rest(name, inner, parts),
        overhead(name, outer, inner),
    ]
