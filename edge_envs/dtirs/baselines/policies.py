"""Comparison schemes: constants, the paper's, searches of each frame, and schemes that leave a component out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.env import EdgeEnv, EdgeVectorEnv
from edge_envs.core.rules import Ablation, BaselineFactory, ConstantPolicy, Policy, random_actions
from edge_envs.dtirs.baselines import paper_algorithm_5, search
from edge_envs.dtirs.config import EPISODE, FIXED, Parameters
from edge_envs.dtirs.model import dynamics
from edge_envs.dtirs.model.state import State
from edge_envs.dtirs.system import DTIRSSystem

Env = EdgeEnv | EdgeVectorEnv
Rule = Callable[[Parameters, State, Generator], NDArray[np.int64]]
"""Chooses the cuts (K,) of the frame to come in a sketch of one world."""

SEARCH_FRAMES, SEARCH_FRAMES_MANY, SEARCH_PASSES = 48, 16, 3
"""Frames of the search for cuts that never change, fewer for many devices, and its passes; chosen."""
FRAME_FIELDS = (
    "front_flop", "back_flop", "speed_flop_s", "capacity_flop_s", "backlog_flop", "gain_down", "gain_up", "choice",
)  # fmt: skip
"""What the value of a cut depends on, at given phases."""
PHASE_FIELDS = ("channel", "gram_down", "gram_up", "phase", "normals", "relaxation", "phase_value")
"""What new phases depend on, beside that."""


def available(system: DTIRSSystem) -> Mapping[str, BaselineFactory]:
    """Baselines for the system's configuration, by name."""
    last = len(system.cut_numbers) - 1
    found: dict[str, BaselineFactory] = {
        "random": random_actions, "first-cut": partial(constant, 0), "last-cut": partial(constant, last),
        "best-common": BestCommon, "best-static": BestStatic, "price": partial(FramePolicy, price),
        "ga": partial(FramePolicy, genetic), "admm": partial(FramePolicy, admm),
        "proposed": partial(FramePolicy, partial(algorithm_5, False)),
        "proposed-safe": partial(FramePolicy, partial(algorithm_5, True)),
        "bcd": partial(FramePolicy, descent),
    }  # fmt: skip
    return found


def ablations(system: DTIRSSystem) -> Mapping[str, Ablation]:
    """Schemes that are a baseline in an environment which leaves out or changes a component."""
    config = system.config
    last, best = "last-cut", "proposed"
    silent = {"offline": True} if config.model == "printed" else {}
    found = {
        "no-irs": Ablation(
            best,
            {"irs": False, "phase_passes": 0},
            "Algorithm 5 over the direct path, whose blockage is fitted to Fig. 5",
        ),
        "no-dt": Ablation(best, {"twins": "none"}, "Algorithm 5 without twins; the level is fitted to Fig. 5"),
        "random-phase": Ablation(best, {"phase": "random", "phase_passes": 0}, "Algorithm 5, IRS not optimised"),
        "admm-equal": Ablation("admm", {"power": "equal"}, "ADMM with equal powers, our reading of the paper's hybrid"),
        "full-local": Ablation(last, {**silent, "twins": "none"}, "every layer on the device, nothing sent"),
    }
    if config.irs and config.phase != "random":
        passes = {"phase_passes": 3, "phase_polish": True, "twins": "optimal"}
        found["safeguarded"] = Ablation(
            "proposed-safe", passes, "safeguarded alternation, best twins, phases for delay"
        )
    if config.model == "extended":
        offload = {"first_cut": 0, "twins": "none"}
        found["full-offload"] = Ablation("first-cut", offload, "the raw input sent, all at the AP")
    return found


def _system(env: Env) -> DTIRSSystem:
    system = env.system
    assert isinstance(system, DTIRSSystem)
    return system


def constant(index: int, env: Env, seed: int) -> Policy:
    """The same cut for all devices, always. Sees nothing."""
    del seed
    return ConstantPolicy(np.full(_system(env).members, index, dtype=np.int64))


def price(p: Parameters, sketch: State, rng: Generator) -> NDArray[np.int64]:
    """Answers to the prices of power and pool, from the best common cut, as long as the objective falls."""
    del rng
    common, _ = search.best_common(p, sketch)
    return search.alternate_prices(p, sketch, common)[0]


def descent(p: Parameters, sketch: State, rng: Generator) -> NDArray[np.int64]:
    """Block descent over the cuts, from several starts: the upper bar."""
    del rng
    return search.block_descent(p, sketch)[0]


def genetic(p: Parameters, sketch: State, rng: Generator) -> NDArray[np.int64]:
    """The paper's GA hybrid."""
    return search.genetic(p, sketch, rng)


def admm(p: Parameters, sketch: State, rng: Generator) -> NDArray[np.int64]:
    """The paper's ADMM hybrid."""
    return search.admm(p, sketch, rng)


def algorithm_5(safeguard: bool, p: Parameters, sketch: State, rng: Generator) -> NDArray[np.int64]:
    """The paper's proposed scheme, Algorithm 5 from a random start; with the safeguard and weighted phases, ours."""
    return paper_algorithm_5.algorithm_5(p, sketch, rng, safeguard=safeguard, weighted=safeguard).cuts


class FramePolicy:
    """Applies a rule to every frame. Sees all of the frame to come: channels, speeds, works, the pool."""

    def __init__(self, rule: Rule, env: Env, seed: int) -> None:
        self._rule, self._env = rule, env
        system = _system(env)
        self._parameters = system.parameters
        self._sketch = system.allocate(1)
        # one per world, so that its answers do not depend on how many others there are
        self._rngs = [np.random.default_rng([seed, row]) for row in range(len(self._env.state.level))]

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[Any], Any]:
        """Cuts for every world of the environment."""
        del episode_start, deterministic
        cuts = []
        for row in range(len(self._env.state.level)):
            copy_world(self._env.state, row, self._sketch)
            cuts.append(self._rule(self._parameters, self._sketch, self._rngs[row]).copy())
        batch = np.array(cuts)
        return (batch if np.ndim(observation) == 2 else batch[0]), state


def copy_world(source: State, row: int, sketch: State) -> None:
    """Copy what a rule looks at into a sketch of one world, which rules are free to change."""
    for name in (*FRAME_FIELDS, *PHASE_FIELDS):
        getattr(sketch, name)[0] = getattr(source, name)[row]


class BestCommon:
    """The best of the cuts that never change and are the same for all devices, by simulation. Sees nothing."""

    def __init__(self, env: Env, seed: int) -> None:
        system = _system(env)
        self._cuts = _Frames(system, seed, None).common()[0]

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[Any], Any]:
        """The same cuts, once per observation of a batch."""
        return ConstantPolicy(self._cuts).predict(observation, state, episode_start, deterministic)


class BestStatic:
    """The best cuts that never change, one per device, for the devices that an episode has.

    Fitted by block descent on simulated frames with these devices, their places, loads and the pool drawn anew. Sees
    the devices' own speeds and works. Where devices change with every frame, it is the best common cut.
    """

    def __init__(self, env: Env, seed: int) -> None:
        self._env, self._system, self._seed = env, _system(env), seed
        self._known: dict[bytes, NDArray[np.int64]] = {}
        self._common = BestCommon(env, seed)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[Any], Any]:
        """The constants of each world's devices."""
        if self._system.parameters.devices not in (EPISODE, FIXED):
            return self._common.predict(observation, state, episode_start, deterministic)
        batch = np.array([self._cuts(row) for row in range(len(self._env.state.level))])
        return (batch if np.ndim(observation) == 2 else batch[0]), state

    def _cuts(self, row: int) -> NDArray[np.int64]:
        draws = self._env.state.device_draws[row]
        key = draws.tobytes()
        if key not in self._known:
            self._known[key] = _Frames(self._system, self._seed, draws).best()
        return self._known[key]


class _Frames:
    """Simulated frames from within episodes, all with the devices of `draws` (K, M + 3) if given, for constant cuts."""

    def __init__(self, system: DTIRSSystem, seed: int, draws: NDArray[np.float64] | None) -> None:
        frames = SEARCH_FRAMES if system.members < search.MANY_DEVICES else SEARCH_FRAMES_MANY
        drawn = system.config if draws is None else system.config.replace(devices="episode")
        self._p, self._state = drawn.kernel(), system.allocate(frames)
        rngs = [np.random.default_rng([search.SEARCH_STREAM, seed, row]) for row in range(frames)]
        for row, rng in enumerate(rngs):
            dynamics.begin_settled(self._p, self._state, row, rng, draws)

    def value(self, cuts: NDArray[np.int64]) -> float:
        """Mean objective of constant cuts (K,) [s]."""
        return float(search.FAST_MEAN(self._p, self._state, cuts))

    def common(self) -> list[NDArray[np.int64]]:
        """All cuts (K,) that are the same for all devices, the best first."""
        cuts = [np.full(self._p.num_devices, c, dtype=np.int64) for c in range(len(self._p.cut_numbers))]
        return sorted(cuts, key=self.value)

    def best(self) -> NDArray[np.int64]:
        """The best cuts (K,) that block descent finds, from the best common cut and, for few devices, all others."""
        starts, ends = self.common(), []
        for start in starts[: 1 if self._p.num_devices >= search.MANY_DEVICES else None]:
            cuts = start.copy()
            value = search.FAST_DESCEND_CONSTANT(self._p, self._state, cuts, SEARCH_PASSES)
            ends.append((value, cuts))
        return min(ends, key=lambda end: end[0])[1]
