"""Algorithm 5 on one frame, as printed, and with a safeguard under which the objective never rises.

As printed, the objective can rise in a step, contrary to (64): phases maximise a sum of gains and not the delay, and
rule (29) can choose the slower side for a device. The safeguarded version changes cuts together with their allocation,
and twins together with their shares; it keeps a block only if the objective falls. Powers and shares are optimal given
the rest, so they never raise the objective.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import FastCall, kernel
from edge_envs.core.kernels.metrics import columns
from edge_envs.dtirs.baselines import search
from edge_envs.dtirs.model import allocation, channels
from edge_envs.dtirs.model.parameters import MODEL, Parameters
from edge_envs.dtirs.model.state import State
from edge_envs.dtirs.solvers import phases
from edge_envs.dtirs.solvers.api import search_cuts

PART = columns(("nothing", "power", "twins", "shares", "gains", "phases"))
"""What `_solve` solves."""


@dataclass
class Trace:
    """Objectives [s] at the start and after each iteration; (block, objective before, objective after) of each step."""

    objective_s: list[float] = field(default_factory=list)
    steps: list[tuple[str, float, float]] = field(default_factory=list)
    cuts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Index of each device's last cut (K,)."""
    twin: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    """True for devices that compute on a twin at the end (K,)."""
    power_w: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """Downlink powers at the end (K,) [W]."""

    @property
    def rises(self) -> int:
        """Iterations that raised the objective by more than rounding."""
        before, after = self.objective_s[:-1], self.objective_s[1:]
        return sum(b > a * (1.0 + 1e-9) for a, b in zip(before, after, strict=True))


@kernel
def _solve(p: Parameters, s: State, part: int, weighted: bool) -> float:
    """Solve a part of world 0's allocation, the others fixed; returns the objective [s]."""
    allocation.set_problem(p, s, 0)
    if part == PART.power:
        allocation.solve_power(p, s)
    elif part == PART.twins:
        allocation.choose_twins(p, s, 0)
    elif part == PART.shares:
        allocation.share_pool(s, 0)
    elif part == PART.gains:
        channels.set_gains(p, s, 0)
    elif part == PART.phases:
        if weighted:
            allocation.weigh_by_delay(p, s, 0)
        else:
            channels.weigh_equally(p, s)
        channels.solve_phases(p, s, 0)
    allocation.set_problem(p, s, 0)
    return allocation.objective_of_allocation(p, s, 0)


_fast_solve = FastCall(_solve)


class _Blocks:
    """Changes world 0 of a state block by block."""

    def __init__(self, p: Parameters, s: State, rng: Generator, trace: Trace) -> None:
        self.p, self.s, self.rng, self.trace = p, s, rng, trace

    def value(self) -> float:
        """Objective of the current allocation [s]."""
        return self.solve(PART.nothing)

    def solve(self, part: int, weighted: bool = False) -> float:
        """Solve a part of the allocation; returns the objective [s]."""
        return float(_fast_solve(self.p, self.s, part, weighted))

    def arrays(self) -> list[NDArray[Any]]:
        """Arrays of the decisions, and of the gains that follow from them."""
        s, w = self.s, self.s.workspace
        decided: list[NDArray[Any]] = [s.choice, w.twin, w.boost_flop_s, w.back_end_flop_s, w.power_w, s.phase]
        return [*decided, s.gain_down, s.gain_up, w.solution, s.relaxation, s.phase_value]

    def begin(self) -> None:
        """Set random cuts, twins and phases; equal powers and pool shares."""
        p, s, w, rng = self.p, self.s, self.s.workspace, self.rng
        s.choice[0] = rng.integers(len(p.cut_numbers), size=p.num_devices)
        w.twin[:] = rng.random(p.num_devices) < 0.5
        w.boost_flop_s[:] = np.where(w.twin, s.capacity_flop_s[0] / (2 * p.num_devices), 0.0)
        w.back_end_flop_s[:] = s.capacity_flop_s[0] / (2 * p.num_devices)
        w.power_w[:] = min(p.power_total_w / p.num_devices, p.power_max_w)
        if p.irs:
            phases.random_phases(w.phase, rng.standard_normal((1, 2 * p.num_elements)), 0, 0)
            s.phase[0] = w.phase
            self.solve(PART.gains)

    def step(self, name: str, change: list[str], weighted: bool, keep_if_lower: bool) -> None:
        """Change a block and record the effect; with `keep_if_lower`, undo it unless the objective falls."""
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
        """Solve one block, the others fixed."""
        p, s = self.p, self.s
        if part == "cuts" and p.model == MODEL.EXTENDED:
            # Prices are those of the optimal powers and shares at the current cuts.
            self.solve(PART.shares)
            self.solve(PART.power)
            answer = np.zeros(p.num_devices, dtype=np.int64)
            search.FAST_ANSWER(p, s, answer)
            s.choice[0] = answer
        elif part == "cuts":
            w = s.workspace
            s.choice[0] = search_cuts(s.front_flop[0], s.speed_flop_s[0], w.twin, w.boost_flop_s) - 1
        elif part != "phases" or p.irs:
            if part == "phases":
                # Algorithm 4 draws new directions in every call.
                draws = 2 * p.phase_rank * (p.num_elements + p.phase_samples)
                s.normals[0, -draws:] = self.rng.standard_normal(draws)
            self.solve(getattr(PART, part), weighted)


def algorithm_5(
    p: Parameters, s: State, rng: Generator, *, safeguard: bool = False, weighted: bool = False, iterations: int = 20,
    tolerance: float = 1e-4,
) -> Trace:  # fmt: skip
    """Run Algorithm 5 on world 0 of a state, in place, from a random start.

    Args:
        p: parameters of the system.
        s: a state with a frame to solve; only its first world is used.
        rng: generator of the random start and of the phases.
        safeguard: keep a block only if the objective falls.
        weighted: solve phases for gains weighted by the delay they save, instead of the unweighted sum of gains.
        iterations: largest number of iterations.
        tolerance: relative change of the objective at which the algorithm stops.

    In the extended model, cuts are best responses to prices (`search.answer_prices`). With fixed shares, as printed, a
    device without a pool share could never offload work.
    """
    trace = Trace()
    blocks = _Blocks(p, s, rng, trace)
    blocks.begin()
    trace.objective_s.append(blocks.value())
    for _ in range(iterations):
        if safeguard:
            blocks.step("cuts", ["cuts", "twins", "shares", "power"], weighted, True)
            blocks.step("twins", ["twins", "shares"], weighted, True)
            # The shares are not optimal yet if both blocks were rejected.
            blocks.step("shares", ["shares"], weighted, True)
        else:
            blocks.step("cuts", ["cuts"], weighted, False)
            blocks.step("twins", ["twins"], weighted, False)
            blocks.step("shares", ["shares"], weighted, False)
        blocks.step("phases", ["phases"], weighted, safeguard)
        blocks.step("power", ["power"], weighted, safeguard)
        trace.objective_s.append(blocks.value())
        before, after = trace.objective_s[-2:]
        if abs(before - after) <= tolerance * abs(after):
            break
    trace.cuts = s.choice[0].copy()
    trace.twin, trace.power_w = s.workspace.twin.copy(), s.workspace.power_w.copy()
    return trace
