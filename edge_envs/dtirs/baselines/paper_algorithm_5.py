"""Algorithm 5 on one frame, step by step: as printed, and with a safeguard that makes its objective fall.

As printed it does not fall in every step, against (64): the phases serve a sum of gains and not the delay, and rule
(29) can move a device to the slower side. The safeguarded one takes cuts together with their allocation, and twins
together with their shares; every block is kept only if the objective is lower with it. Powers and shares are optimal
for what is given, so they never raise it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import FastCall, kernel
from edge_envs.dtirs.baselines import search
from edge_envs.dtirs.config import Parameters
from edge_envs.dtirs.model import allocation
from edge_envs.dtirs.model.channels import solve_phases
from edge_envs.dtirs.model.state import State
from edge_envs.dtirs.solvers import irs_links, phases
from edge_envs.dtirs.solvers.api import search_cuts


@dataclass
class Trace:
    """What became of the objective [s]: at the start and after each iteration, and (block, before, after) of steps."""

    objective_s: list[float] = field(default_factory=list)
    steps: list[tuple[str, float, float]] = field(default_factory=list)
    cuts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Index of each device's last cut (K,)."""
    twin: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    """Who computes on a twin at the end (K,)."""
    power_w: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """Downlink powers at the end (K,) [W]."""

    @property
    def rises(self) -> int:
        """Iterations that raised the objective by more than rounding."""
        before, after = self.objective_s[:-1], self.objective_s[1:]
        return sum(b > a * (1.0 + 1e-9) for a, b in zip(before, after, strict=True))


@kernel
def _value(p: Parameters, s: State) -> float:
    """Objective of world 0 with the allocation as it is."""
    allocation.pose(p, s, 0)
    return allocation.sum_up(p, s, 0)


@kernel
def _set_power(p: Parameters, s: State) -> None:
    allocation.pose(p, s, 0)
    allocation.solve_power(p, s)


@kernel
def _set_twins(p: Parameters, s: State) -> None:
    allocation.pose(p, s, 0)
    allocation.choose(p, s, 0)


@kernel
def _set_shares(p: Parameters, s: State) -> None:
    allocation.pose(p, s, 0)
    allocation.share(p, s, 0)


@kernel
def _set_phases(p: Parameters, s: State, weighted: bool) -> None:
    allocation.pose(p, s, 0)
    if weighted:
        allocation.weigh_gains(p, s, 0)
    else:
        for k in range(p.num_devices):
            s.work.weight_down[k] = s.work.weight_up[k] = 1.0
    solve_phases(p, s, 0)


@kernel
def _gains(p: Parameters, s: State) -> None:
    """Effective gains of world 0 at its phases."""
    w = s.work
    irs_links.link_gains(s.gram_down, s.gram_up, s.channel, p.uplink, s.phase, w.trial, w.y, s.gain_down, s.gain_up, 0)


_fast_value, _fast_power, _fast_twins = FastCall(_value), FastCall(_set_power), FastCall(_set_twins)
_fast_shares, _fast_phases, _fast_gains = FastCall(_set_shares), FastCall(_set_phases), FastCall(_gains)


class _Frame:
    """World 0 of a state, block by block."""

    def __init__(self, p: Parameters, s: State, rng: Generator, trace: Trace) -> None:
        self.p, self.s, self.rng, self.trace = p, s, rng, trace

    def value(self) -> float:
        return float(_fast_value(self.p, self.s))

    def arrays(self) -> list[NDArray[Any]]:
        """Everything that is decided, and the gains that follow."""
        s, w = self.s, self.s.work
        decided: list[NDArray[Any]] = [s.choice, w.twin, w.boost_flop_s, w.back_end_flop_s, w.power_w, s.phase]
        return [*decided, s.gain_down, s.gain_up, w.solution, s.relaxation, s.phase_value]

    def begin(self) -> None:
        """Random cuts, twins and phases; even powers and shares of the pool."""
        p, s, w, rng = self.p, self.s, self.s.work, self.rng
        s.choice[0] = rng.integers(len(p.cut_numbers), size=p.num_devices)
        w.twin[:] = rng.random(p.num_devices) < 0.5
        w.boost_flop_s[:] = np.where(w.twin, s.capacity_flop_s[0] / (2 * p.num_devices), 0.0)
        w.back_end_flop_s[:] = s.capacity_flop_s[0] / (2 * p.num_devices)
        w.power_w[:] = min(p.power_total_w / p.num_devices, p.power_max_w)
        if p.irs:
            phases.random_phases(w.v, rng.standard_normal((1, 2 * p.num_elements)), 0, 0)
            s.phase[0] = w.v
            _fast_gains(p, s)

    def step(self, name: str, change: list[str], weighted: bool, keep_if_lower: bool) -> None:
        """Carry out a block of changes and note the effect; with `keep_if_lower` take it back where it does not pay."""
        before = self.value()
        kept = [array.copy() for array in self.arrays()] if keep_if_lower else []
        for part in change:
            self.change(part, weighted)
        after = self.value()
        if keep_if_lower and not after < before:
            for array, old in zip(self.arrays(), kept, strict=True):
                array[...] = old
            after = before
        self.trace.steps.append((name, before, after))

    def change(self, part: str, weighted: bool) -> None:
        """Solve one block, the others as they are."""
        p, s = self.p, self.s
        if part == "cuts" and p.extended:
            # at the prices of the powers and shares that are best for the cuts so far
            _fast_shares(p, s)
            _fast_power(p, s)
            answer = np.zeros(p.num_devices, dtype=np.int64)
            search.FAST_ANSWER(p, s, answer)
            s.choice[0] = answer
        elif part == "cuts":
            s.choice[0] = search_cuts(s.front_flop[0], s.speed_flop_s[0], s.work.twin, s.work.boost_flop_s) - 1
        elif part == "twins":
            _fast_twins(p, s)
        elif part == "shares":
            _fast_shares(p, s)
        elif part == "phases" and p.irs:
            # Algorithm 4 draws anew every time it is called
            draws = 2 * p.phase_rank * (p.num_elements + p.phase_samples)
            s.normals[0, -draws:] = self.rng.standard_normal(draws)
            _fast_phases(p, s, weighted)
        elif part == "power":
            _fast_power(p, s)


def algorithm_5(
    p: Parameters, s: State, rng: Generator, *, safeguard: bool = False, weighted: bool = False, iterations: int = 20,
    tolerance: float = 1e-4,
) -> Trace:  # fmt: skip
    """Run Algorithm 5 on world 0 of a state, in place, from a random start.

    Args:
        p: parameters of the system.
        s: a state of one world (or whose first world is used), in which a frame has begun.
        rng: of the random start.
        safeguard: keep a block only if the objective falls.
        weighted: phases for gains weighted by the delay they save, in place of the plain sum of gains.
        iterations: at most.
        tolerance: relative change of the objective at which it stops.

    In the extended model cuts answer prices (`search.answer_prices`): with the shares fixed, as printed, a device that
    has no share of the pool could never hand over work.
    """
    trace = Trace()
    frame = _Frame(p, s, rng, trace)
    frame.begin()
    trace.objective_s.append(frame.value())
    for _ in range(iterations):
        if safeguard:
            frame.step("cuts", ["cuts", "twins", "shares", "power"], weighted, True)
            frame.step("twins", ["twins", "shares"], weighted, True)
            # both of these may have been refused, at any shares
            frame.step("shares", ["shares"], weighted, True)
        else:
            frame.step("cuts", ["cuts"], weighted, False)
            frame.step("twins", ["twins"], weighted, False)
            frame.step("shares", ["shares"], weighted, False)
        frame.step("phases", ["phases"], weighted, safeguard)
        frame.step("power", ["power"], weighted, safeguard)
        trace.objective_s.append(frame.value())
        before, after = trace.objective_s[-2:]
        if abs(before - after) <= tolerance * abs(after):
            break
    trace.cuts = s.choice[0].copy()
    trace.twin, trace.power_w = s.work.twin.copy(), s.work.power_w.copy()
    return trace
