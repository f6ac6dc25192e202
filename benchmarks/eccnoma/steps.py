"""`ECCNOMA-v0`: steps per second, the shares of the parts of a step, and the growth of its time with the users."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.eccnoma import kernels
from benchmarks.eccnoma.problems import Size, options_of, radio_problems
from benchmarks.eccnoma.solvers import ENV_ID, search_sampler
from benchmarks.steps import Actions, Part, PartWorlds, SystemWorlds, split_rows, step_sides, vector_env, worlds_text
from benchmarks.timing import Number, Result, Sampler, exponents, interleave, timed
from edge_envs.core.kernels.jit import FastCall
from edge_envs.eccnoma.model import dynamics
from edge_envs.eccnoma.model.parameters import Parameters
from edge_envs.eccnoma.model.state import State
from edge_envs.eccnoma.solvers import api
from edge_envs.eccnoma.system import ECCNOMASystem


class Case(NamedTuple):
    """Settings with which a preset is timed."""

    preset: str
    batch: int
    steps: int
    """Steps of each world in one repetition."""
    warm_up: int
    """Steps before the timing; few in the paper's presets, whose frames are independent."""
    repetitions: int
    """Maximum number of repetitions."""


CASES: Sequence[Case] = (
    Case("default", 1, 128, 64, 31),
    Case("default", 16, 8, 64, 31),
    Case("large", 1, 32, 64, 31),
    Case("paper", 1, 4, 4, 9),
    Case("paper-literal", 1, 1, 1, 9),
)
EDGE_SHARE = 0.5
"""Probability that a user's action is the edge; otherwise it is uniform over the user's choices."""
ACTIONS = 64
GROWTH_USERS = (50, 125, 250, 500, 1250)
USERS_PER_AP, USERS_PER_SUBCHANNEL = 25, 5
"""Constant ratios while the number of users grows; a world has at most 64 APs."""
MAX_GROWTH_REPETITIONS = 5


def edge_actions(system: ECCNOMASystem, batch: int, count: int = ACTIONS) -> Actions:
    """Draw actions with a fixed seed: the edge with probability `EDGE_SHARE`, else any choice.

    Uniformly random cuts would send large intermediate tensors far more often than any policy does.
    """
    rng, p = np.random.default_rng(0), system.parameters
    assert not p.cut_number[:, 0].any()
    shape = count, batch, p.num_users
    return list(np.where(rng.random(shape) < EDGE_SHARE, 0, rng.integers(p.num_choices, size=shape)))


class Draws:
    """A step's random numbers and the resulting channels, in separate memory, so that the worlds do not change."""

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
        """Update the channels by the numbers last drawn; a `Part`."""
        del s, actions
        self._renew(p, self.scratch, times)


def parts_of(system: ECCNOMASystem, batch: int) -> dict[str, Part]:
    """The parts of a step by name."""
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
    """Steps per second, the shares of the parts in `System.step`, and the overhead of the Gymnasium classes.

    The rest of a step are delays, energies and reward, arrivals, tenants, and the call itself.
    """
    rows: list[Result] = []
    for preset, batch, steps, warm_up, most in CASES:
        vector = vector_env(ENV_ID, batch, preset)
        assert isinstance(vector.system, ECCNOMASystem)
        actions = edge_actions(vector.system, batch)
        parts = {
            label: PartWorlds(vector.system, batch, actions, warm_up).sampler(steps, part)
            for label, part in parts_of(vector.system, batch).items()
        }
        name = f"{ENV_ID}, {preset} (U = {vector.system.members}): {worlds_text(batch)}"
        often = min(repetitions, most)
        rows += split_rows(name, step_sides(ENV_ID, vector.system, actions, parts, steps, often, preset, warm_up))
    return rows


def growth(repetitions: int) -> list[Number]:
    """Growth of the times of an uplink's local search and of a step, at constant users per AP and per subchannel.

    Every user has a gain to every AP on every subchannel, so the number of gains grows with the cube of the users.
    """
    searches: dict[str, Sampler] = {}
    steps: dict[str, Sampler] = {}
    for users in GROWTH_USERS:
        size = Size(users, users // USERS_PER_AP, users // USERS_PER_SUBCHANNEL)
        searches[str(size)] = search_sampler([radio_problems(size, 0, True)[0]], api.assign, {})
        system = ECCNOMASystem.from_options("paper-literal", options_of(size, True))
        worlds = SystemWorlds(system, 1, edge_actions(system, 1), warm_up=1)
        steps[str(size)] = timed(partial(worlds.run, 1), 1)
    rows = []
    for name, samplers, label in (
        ("search", searches, "fit to the times of an uplink's local search, from Python"),
        ("step", steps, "fit to the times of System.step, one world"),
    ):
        sides = tuple(interleave(samplers, min(repetitions, MAX_GROWTH_REPETITIONS)).values())
        values = exponents(GROWTH_USERS, sides)
        rows.append(Number(f"{ENV_ID}: {name}, growth with U", "exponent", label, values, sides))
    return rows


BENCHMARKS: Mapping[str, Callable[[int], Sequence[Result]]] = {"eccnoma.env": env, "eccnoma.growth": growth}
