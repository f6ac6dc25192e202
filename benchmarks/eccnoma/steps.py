"""`ECCNOMA-v0`: steps per second, of what a step's time is made up, and how it grows with the users."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.dtirs.solvers import exponents
from benchmarks.dtirs.steps import rest
from benchmarks.eccnoma import kernels
from benchmarks.eccnoma.problems import Size, options_of, radio_problems
from benchmarks.eccnoma.solvers import ENV_ID, Solver
from benchmarks.timing import Number, Result, Row, Sampler, interleave, per_second, timed
from benchmarks.worlds import Actions, EnvWorlds, SingleWorld, SystemWorlds, vector_env
from edge_envs.core.kernels.jit import FastCall
from edge_envs.eccnoma.model import dynamics
from edge_envs.eccnoma.model.parameters import Parameters
from edge_envs.eccnoma.model.state import State
from edge_envs.eccnoma.solvers import api
from edge_envs.eccnoma.system import ECCNOMASystem


class Case(NamedTuple):
    """How a preset is timed."""

    preset: str
    batch: int
    steps: int
    """Of each world in one repetition."""
    warm_up: int
    """Steps before anything is timed; frames do not depend on each other in the paper's presets."""
    repetitions: int
    """At most."""


CASES: Sequence[Case] = (
    Case("default", 1, 128, 64, 31),
    Case("default", 16, 8, 64, 31),
    Case("large", 1, 32, 64, 31),
    Case("paper", 1, 4, 4, 9),
    Case("paper-literal", 1, 1, 1, 9),
)
EDGE_SHARE = 0.5
"""Chance that a user's action is the edge; else it is any of its choices."""
ACTIONS = 64
PART_REPEATS = 4
"""Times that a part of a lone world's step is done in a row, so that calling it from Python hardly counts."""
FEW_USERS = 50
"""Above this, or with several worlds, a part is done once."""
GROWTH_USERS = (50, 125, 250, 500, 1250)
USERS_PER_AP, USERS_PER_SUBCHANNEL = 25, 5
"""Kept while users grow: a world has 64 APs at most, so that fewer users of each would not come to 1250."""
MOST_GROWTH_REPETITIONS = 5

Part = Callable[[Parameters, State, NDArray[np.int64], int], object]
"""A part of a step of all worlds, done as often as the last argument says."""


def edge_actions(system: ECCNOMASystem, batch: int, count: int = ACTIONS) -> Actions:
    """Every user's work goes to the edge half of the time, else any of its choices is as likely; fixed seed.

    Evenly random cuts would send large tensors between layers far more often than any policy does.
    """
    rng, p = np.random.default_rng(0), system.parameters
    assert not p.cut_number[:, 0].any()
    shape = count, batch, p.num_users
    return list(np.where(rng.random(shape) < EDGE_SHARE, 0, rng.integers(p.num_choices, size=shape)))


class Worlds(SystemWorlds):
    """Worlds whose warm-up can be cut short, as that of large ones takes minutes and serves nothing."""

    def __init__(self, system: ECCNOMASystem, batch: int, actions: Actions, warm_up: int) -> None:
        self._warm_up: int | None = warm_up
        super().__init__(system, batch, actions)
        self._warm_up = None

    def run(self, steps: int) -> None:
        """Step all worlds; before they are complete, as often as their warm-up says."""
        super().run(steps if self._warm_up is None else self._warm_up)


class World(SingleWorld):
    """The first of these worlds as `gym.make` gives it, likewise."""

    def __init__(self, actions: Actions, preset: str, warm_up: int) -> None:
        self._warm_up: int | None = warm_up
        super().__init__(ENV_ID, actions, preset)
        self._warm_up = None

    def run(self, steps: int) -> None:
        """See `Worlds`."""
        super().run(steps if self._warm_up is None else self._warm_up)


class Draws:
    """A step's random numbers and what the channels become by them, in memory of their own that no world notices."""

    def __init__(self, system: ECCNOMASystem, batch: int) -> None:
        self.scratch = system.allocate(batch)
        self._rngs = [np.random.default_rng(row) for row in range(batch)]
        system.reset(self.scratch, np.arange(batch), self._rngs)
        self._renew = FastCall(kernels.renew_channels)

    def draw(self, p: Parameters, s: State, actions: NDArray[np.int64], times: int) -> None:
        """Draw the numbers; a `Part`."""
        del s, actions
        for _ in range(times):
            for row, rng in enumerate(self._rngs):
                dynamics.draw(p, self.scratch, row, rng)

    def renew(self, p: Parameters, s: State, actions: NDArray[np.int64], times: int) -> None:
        """Let the channels follow the numbers last drawn; a `Part`."""
        del s, actions
        self._renew(p, self.scratch, times)


class PartWorlds(Worlds):
    """Worlds of which a part of every step is done once more before it; only that is timed."""

    def sampler(self, part: Part, steps: int) -> Sampler:
        """Seconds of the part in a step, over as many steps of all worlds.

        Args:
            part: what to do, given the parameters, the state and the actions of the step.
            steps: in a sample.
        """
        assert isinstance(self.system, ECCNOMASystem)
        p, batch = self.system.parameters, len(self.rows)
        repeats = PART_REPEATS if batch == 1 and p.num_users <= FEW_USERS else 1

        def sample() -> float:
            total = 0.0
            for _ in range(steps):
                actions = next(self.actions)
                started = time.perf_counter()
                part(p, self.state, actions, repeats)
                total += (time.perf_counter() - started) / repeats
                self.step(actions)
            return total / (steps * batch)

        return sample


def parts_of(system: ECCNOMASystem, batch: int) -> dict[str, Part]:
    """The parts of a step by what they do."""
    draws = Draws(system, batch)
    allocate, encode = FastCall(kernels.allocate), FastCall(kernels.encode)
    observation = system.observe(draws.scratch)
    return {
        "numpy's draws": draws.draw,
        "channels": draws.renew,
        "uplink search": lambda p, s, actions, times: allocate(p, s, actions, times, 0, 0),
        "downlink search": lambda p, s, actions, times: allocate(p, s, actions, 0, times, 0),
        "loads and servers": lambda p, s, actions, times: allocate(p, s, actions, 0, 0, times),
        "observation": lambda p, s, _, times: encode(p, s, observation, times),
    }


def env(repetitions: int) -> list[Result]:
    """Steps per second, the shares of a step's parts in `System.step`, and what the shells add to that.

    All sides go through the same frames of the same worlds, without resets. What is left of a step are delays,
    energies and reward, arrivals, tenants, and the call itself.
    """
    rows: list[Result] = []
    for preset, batch, steps, warm_up, most in CASES:
        vector = vector_env(ENV_ID, batch, preset)
        assert isinstance(vector.system, ECCNOMASystem)
        actions = edge_actions(vector.system, batch)
        label = "EdgeEnv.step" if batch == 1 else "EdgeVectorEnv.step"
        shell = World(actions, preset, warm_up) if batch == 1 else EnvWorlds(vector, actions)
        system = Worlds(vector.system, batch, actions, warm_up)
        samplers = {
            label: timed(partial(shell.run, steps), steps * batch),
            "System.step": timed(partial(system.run, steps), steps * batch),
        }
        for part, work in parts_of(vector.system, batch).items():
            samplers[part] = PartWorlds(vector.system, batch, actions, warm_up).sampler(work, steps)
        outer, inner, *parts = interleave(samplers, min(repetitions, most)).values()
        worlds = "one world" if batch == 1 else f"{batch} worlds"
        name = f"{ENV_ID}, {preset} (U = {vector.system.members}): {worlds}"
        rows.append(per_second(name, "step", outer))
        rows += [Row(f"{name}, share", "step of a world", part, inner, kind="share") for part in parts]
        rows.append(rest(name, inner, parts))
        rows.append(Row(f"{name}, shell", "step of a world", outer, inner, kind="cost", target=1.5))
    return rows


def growth(repetitions: int) -> list[Number]:
    """How an uplink's local search and a step grow with the users, at constant users per AP and per subchannel.

    Every user has a gain to every AP on every subchannel, so that the channels of a step grow with the users' cube.
    """
    searches: dict[str, Sampler] = {}
    steps: dict[str, Sampler] = {}
    for users in GROWTH_USERS:
        size = Size(users, users // USERS_PER_AP, users // USERS_PER_SUBCHANNEL)
        searches[str(size)] = Solver([radio_problems(size, 0, True)[0]], api.assign).sample
        system = ECCNOMASystem.from_options("paper-literal", options_of(size, True))
        worlds = Worlds(system, 1, edge_actions(system, 1), warm_up=1)
        steps[str(size)] = timed(partial(worlds.run, 1), 1)
    rows = []
    for name, samplers, label in (
        ("search", searches, "fit to the times of an uplink's local search, from Python"),
        ("step", steps, "fit to the times of System.step, one world"),
    ):
        sides = tuple(interleave(samplers, min(repetitions, MOST_GROWTH_REPETITIONS)).values())
        values = exponents(GROWTH_USERS, sides)
        rows.append(Number(f"{ENV_ID}: {name}, growth with U", "exponent", label, values, sides))
    return rows


BENCHMARKS: Mapping[str, Callable[[int], Sequence[Result]]] = {"eccnoma.env": env, "eccnoma.growth": growth}
