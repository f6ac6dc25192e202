"""Baselines: constant cuts, the paper's algorithms, searches of every frame; and ablations."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.rules import (
    Ablation,
    BaselineFactory,
    BestConstantPolicy,
    ConstantPolicy,
    Env,
    Policy,
    Rule,
    RulePolicy,
    random_actions,
)
from edge_envs.dtirs.baselines import paper_algorithm_5, search
from edge_envs.dtirs.baselines.hysteresis import two_cut_rule
from edge_envs.dtirs.baselines.planning import one_step, planner, selfish_planner
from edge_envs.dtirs.bounds import uncovered
from edge_envs.dtirs.config import DTIRSConfig, Model, Phase
from edge_envs.dtirs.model import dynamics
from edge_envs.dtirs.model.calibration import common_cuts
from edge_envs.dtirs.model.parameters import DEVICES, Parameters, parameters_of
from edge_envs.dtirs.model.state import State, allocate

SEARCH_FRAMES, SEARCH_FRAMES_MANY, SEARCH_PASSES = 48, 16, 3
"""Frames of the search for constant cuts (fewer for many devices), and its passes; chosen."""
WORLD_FIELDS = (
    "front_flop", "back_flop", "speed_flop_s", "capacity_flop_s", "backlog_flop", "gain_down", "gain_up", "choice",
    "held", "channel", "gram_down", "gram_up", "phase", "normals", "relaxation", "phase_value",
)  # fmt: skip
"""Fields of a state that a rule reads: those that the objective depends on, and those for new phases."""


def available(config: DTIRSConfig) -> Mapping[str, BaselineFactory]:
    """Factories of a configuration's baselines, by name."""
    rules: dict[str, Rule] = {
        "price": price, "ga": search.genetic, "admm": search.admm, "proposed": partial(algorithm_5, False),
        "proposed-safe": partial(algorithm_5, True), "bcd": block_descent,
    }  # fmt: skip
    looking_ahead: dict[str, BaselineFactory] = {}
    if config.migration and not uncovered(parameters_of(config)):
        looking_ahead = {
            "threshold": partial(two_cut_rule, False, False),
            "hysteresis": partial(two_cut_rule, True, False),
            "one-step": one_step,
            "planner-selfish": selfish_planner,
            "planner": planner,
        }
        if config.forecast_frames:
            looking_ahead["threshold-forecast"] = partial(two_cut_rule, False, True)
            looking_ahead["hysteresis-forecast"] = partial(two_cut_rule, True, True)
    return {
        "random": random_actions,
        "first-cut": partial(constant, 0),
        "last-cut": partial(constant, len(config.cut_numbers) - 1),
        "best-common": best_common,
        "best-static": BestStatic,
        **{name: partial(RulePolicy, rule, WORLD_FIELDS) for name, rule in rules.items()},
        **looking_ahead,
    }


def ablations(config: DTIRSConfig) -> Mapping[str, Ablation]:
    """A configuration's ablations, by name."""
    silent = {"offline": True} if config.model == Model.PRINTED else {}
    passes = {"phase_passes": 3, "phase_polish": True, "twins": "optimal"}
    found = {
        "no-irs": Ablation(
            "proposed",
            {"irs": False, "phase_passes": 0},
            "Algorithm 5 over the direct path, whose blockage is fitted to Fig. 5",
        ),
        "no-dt": Ablation("proposed", {"twins": "none"}, "Algorithm 5 without twins; the level is fitted to Fig. 5"),
        "random-phase": Ablation("proposed", {"phase": "random", "phase_passes": 0}, "Algorithm 5, IRS not optimised"),
        "admm-equal": Ablation("admm", {"power": "equal"}, "ADMM with equal powers, our reading of the paper's hybrid"),
        "full-local": Ablation("last-cut", {**silent, "twins": "none"}, "every layer on the device, nothing sent"),
    }
    if config.irs and config.phase != Phase.RANDOM and not config.migration:
        found["safeguarded"] = Ablation(
            "proposed-safe", passes, "safeguarded alternation, best twins, phases for delay"
        )
    if config.model == Model.EXTENDED:
        offload = {"first_cut": 0, "twins": "none"}
        found["full-offload"] = Ablation("first-cut", offload, "the raw input sent, all at the AP")
    return found


def constant(index: int, env: Env, seed: int) -> Policy:
    """The same cut for all devices in every frame. Uses no observation."""
    del seed
    return ConstantPolicy(np.full(env.system.members, index, dtype=np.int64))


def best_common(env: Env, seed: int) -> Policy:
    """The best constant cut that is the same for all devices, found by simulation. Uses no observation."""
    return ConstantPolicy(SimulatedFrames(env.system.config, seed, None).common()[0])


def price(p: Parameters, s: State, rng: Generator) -> NDArray[np.int64]:
    """Each device's best cut at the prices of power and pool, iterated from the best common cut while this helps."""
    del rng
    common, _ = search.best_common(p, s)
    return search.alternate_prices(p, s, common)[0]


def block_descent(p: Parameters, s: State, rng: Generator) -> NDArray[np.int64]:
    """Block descent over the cuts from several starts, the strongest baseline."""
    del rng
    return search.block_descent(p, s)[0]


def algorithm_5(safeguard: bool, p: Parameters, s: State, rng: Generator) -> NDArray[np.int64]:
    """The paper's Algorithm 5 from a random start; with our safeguard and weighted phases on request."""
    return paper_algorithm_5.algorithm_5(p, s, rng, safeguard=safeguard, weighted=safeguard).cuts


class BestStatic(BestConstantPolicy):
    """The best constant cuts, one per device, for the devices of an episode.

    Found by block descent on simulated frames with these devices and new positions, loads and AP speeds. Uses the
    speeds and layer works of the devices. If devices change in every frame, it plays the best common cut.
    """

    def __init__(self, env: Env, seed: int) -> None:
        super().__init__(env)
        self.seed = seed
        self.constant_devices = env.system.parameters.devices != DEVICES.FRAME

    def key(self, row: int) -> bytes:
        """The devices of a world's episode, where they are constant."""
        return bytes(self.env.state.device_draws[row].tobytes()) if self.constant_devices else b""

    def search(self, row: int) -> NDArray[Any]:
        """The best constant cuts (K,) for the devices of a world's episode."""
        config = self.env.system.config
        if not self.constant_devices:
            return SimulatedFrames(config, self.seed, None).common()[0]
        return SimulatedFrames(config, self.seed, self.env.state.device_draws[row]).best()


class SimulatedFrames:
    """Simulated frames after the warm-up of an episode, on which constant cuts are evaluated.

    Args:
        config: configuration of the environment.
        seed: of the frames.
        draws: uniforms (K, D) of the devices of all frames; None draws devices for every frame.
    """

    def __init__(self, config: DTIRSConfig, seed: int, draws: NDArray[np.float64] | None) -> None:
        frames = SEARCH_FRAMES if config.num_devices < search.MANY_DEVICES else SEARCH_FRAMES_MANY
        # A constant cut moves no weights.
        config = config.replace(migration=False)
        self.parameters = parameters_of(config if draws is None else config.replace(devices="episode"))
        self.state = allocate(self.parameters, frames)
        for row in range(frames):
            rng = np.random.default_rng([search.SEARCH_STREAM, seed, row])
            dynamics.begin_after_warmup(self.parameters, self.state, row, rng, draws)

    def value(self, cuts: NDArray[np.int64]) -> float:
        """Mean objective of constant cuts (K,) [s]."""
        return float(search.FAST_MEAN(self.parameters, self.state, cuts))

    def common(self) -> list[NDArray[np.int64]]:
        """All cuts (K,) that are the same for all devices, the best first."""
        return sorted(common_cuts(self.parameters), key=self.value)

    def best(self) -> NDArray[np.int64]:
        """Best cuts (K,) of block descents from the best common cut and, with few devices, from all common cuts."""
        starts, ends = self.common(), []
        for start in starts[: 1 if self.parameters.num_devices >= search.MANY_DEVICES else None]:
            cuts = start.copy()
            value = search.FAST_DESCEND_CONSTANT(self.parameters, self.state, cuts, SEARCH_PASSES)
            ends.append((value, cuts))
        return min(ends, key=lambda end: end[0])[1]
