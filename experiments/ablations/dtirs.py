"""The policies of the DTIRS paper on common frames, and the parameters that its figures vary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from agents.worlds import EVALUATION_STREAM, stream_seeds
from edge_envs.dtirs.baselines import search
from edge_envs.dtirs.baselines.paper_algorithm_5 import Trace, algorithm_5
from edge_envs.dtirs.model import dynamics
from edge_envs.dtirs.model import state as state_module
from edge_envs.dtirs.solvers.api import allocate_power
from edge_envs.dtirs.system import DTIRSSystem
from experiments.shared.verdicts import Estimate, mean_of

PRESET = "paper"
ITERATIONS = 12
"""Iterations of Algorithm 5 that the traces follow."""
CURVE = 120
"""Iterations of the slowest policy in Fig. 5, the genetic algorithm's generations."""


@dataclass
class Frames:
    """Results of a policy on the drawn frames: the trace of its objective [s] and its final values, per frame."""

    curve: list[list[float]] = field(default_factory=list)
    delay_s: list[float] = field(default_factory=list)
    twin_share: list[float] = field(default_factory=list)
    mean_power_w: list[float] = field(default_factory=list)
    rises: list[int] = field(default_factory=list)
    steps: list[tuple[str, float, float]] = field(default_factory=list)

    @cached_property
    def final(self) -> Estimate:
        """Mean delay at the end [s]."""
        return mean_of(np.array(self.delay_s))

    def curves(self, length: int) -> NDArray[np.float64]:
        """Objective [s] by frame and iteration, (frames, length); the last value is repeated after a policy's end."""
        return np.array([curve[:length] + [curve[-1]] * (length - len(curve)) for curve in self.curve])

    def mean_curve(self, length: int) -> NDArray[np.float64]:
        """Mean objective [s] by iteration."""
        means: NDArray[np.float64] = self.curves(length).mean(axis=0)
        return means


Solve = Callable[[Any, state_module.State, np.random.Generator], Trace]


def proposed(p: Any, s: state_module.State, rng: np.random.Generator) -> Trace:
    """Algorithm 5 as printed."""
    return algorithm_5(p, s, rng, iterations=ITERATIONS, tolerance=0.0)


def safeguarded(p: Any, s: state_module.State, rng: np.random.Generator) -> Trace:
    """Algorithm 5 with the safeguard and phases for the delay."""
    return algorithm_5(p, s, rng, safeguard=True, weighted=True, iterations=ITERATIONS, tolerance=0.0)


def searched(policy: Callable[..., NDArray[np.int64]]) -> Solve:
    """Make a `Solve` from a search over cuts, which allocates everything else at each of its cuts."""

    def solve(p: Any, s: state_module.State, rng: np.random.Generator) -> Trace:
        trace = Trace()
        s.choice[0] = policy(p, s, rng, trace.objective_s)
        trace.objective_s.append(float(search.FAST_OBJECTIVE(p, s, 0)))
        trace.twin, trace.power_w = s.workspace.twin.copy(), s.workspace.power_w.copy()
        return trace

    return solve


genetic, admm = searched(search.genetic), searched(search.admm)


def run(solve: Solve, options: Mapping[str, Any], draws: int) -> Frames:
    """Run a policy on `draws` independent frames of preset `paper` with `options`; every policy has the same frames."""
    system = DTIRSSystem.from_options(PRESET, options)
    p, state = system.parameters, system.allocate(1)
    found = Frames()
    for seed in stream_seeds(EVALUATION_STREAM, 0, draws):
        rng = np.random.default_rng(seed)
        dynamics.draw(state, 0, rng)
        dynamics.begin_episode(p, state, 0)
        trace = solve(p, state, np.random.default_rng([seed, 1]))
        found.curve.append(trace.objective_s)
        found.delay_s.append(trace.objective_s[-1] - p.loss_s)
        found.twin_share.append(float(trace.twin.mean()))
        found.mean_power_w.append(float(trace.power_w.mean()))
        found.rises.append(trace.rises)
        found.steps += trace.steps
    return found


POLICIES: Mapping[str, tuple[Solve, Mapping[str, Any]]] = {
    "proposed": (proposed, {}),
    "no-irs": (proposed, {"irs": False}),
    "no-dt": (proposed, {"twins": "none"}),
    "admm-equal": (admm, {"power": "equal"}),
    "ga": (genetic, {}),
    "random-phase": (proposed, {"phase": "random"}),
    "safeguarded": (safeguarded, {"twins": "optimal", "phase_polish": True}),
}
"""Fig. 5's five, and two of ours: random phases, and the safeguarded alternation."""


def saved_power(draws: int) -> list[list[float]]:
    """Fraction of P_total that optimised phases save if the downlink delay is that of random phases, per P_total and
    frame.

    It replaces Fig. 6: every policy spends all of P_total, because the objective falls with every power.
    """
    results = []
    for total in (3.0, 4.0, 5.0):
        parts = []
        for seed in stream_seeds(EVALUATION_STREAM, 0, draws):
            needed = []
            for phase, passes in (("random", 0), ("sdr", 3)):
                options = {"power_total_w": total, "phase": phase, "phase_passes": passes, "twins": "optimal"}
                system = DTIRSSystem.from_options(PRESET, options)
                state = system.allocate(1)
                dynamics.draw(state, 0, np.random.default_rng(seed))
                dynamics.begin_episode(system.parameters, state, 0)
                state.choice[0] = 0
                search.solve_row(system.parameters, state, 0)
                w = state.workspace
                needed.append((w.gain_per_w.copy(), w.unit_delay_s.copy()))
            (gain, delay), (better, _) = needed
            most = system.parameters.power_max_w
            goal = allocate_power(gain, delay, total, most).delay_s
            parts.append(1.0 - brentq(_excess_s, 0.05 * total, total, (better, delay, most, goal)) / total)
        results.append(parts)
    return results


def _excess_s(total_w: float, gain: Any, delay: Any, most: float, goal: float) -> float:
    return allocate_power(gain, delay, total_w, most).delay_s - goal


def sweep(option: str, values: Sequence[float], draws: int, policies: Sequence[str]) -> list[dict[str, Frames]]:
    """Frames by policy for every value of a parameter."""
    points = []
    for value in values:
        points.append({name: run(POLICIES[name][0], {**POLICIES[name][1], option: value}, draws) for name in policies})
    return points


CROWDS = (55, 70, 85, 100, 115, 130, 145, 160, 175)
ELEMENTS = (8, 12, 16, 20, 24, 28, 32, 36)
BUDGETS_W = (1.0, 2.0, 3.0, 4.0, 5.0)
MIDDLE = CROWDS.index(100)
THREE = ("proposed", "no-irs", "no-dt")
