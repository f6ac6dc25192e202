"""`DTIRS-v0` as a System: decode the action, solve and advance in the kernel, reward and encode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.invariants import Invariant, Step
from edge_envs.core.kernels.jit import FastCall
from edge_envs.core.rules import Ablation, BaselineFactory
from edge_envs.core.runtime.snapshot import ANYTHING, BELOW_ONE
from edge_envs.core.system import IntArray, Outcome, System
from edge_envs.dtirs import invariants
from edge_envs.dtirs.config import DTIRSConfig
from edge_envs.dtirs.model import calibration, dynamics, reward
from edge_envs.dtirs.model import observation as observation_module
from edge_envs.dtirs.model import state as state_module
from edge_envs.dtirs.model import step as step_module
from edge_envs.dtirs.model.state import State

REFERENCE_FRAMES = 128
"""Independent frames over which the best common cut, the reference of the reward, is valued; chosen."""
REFERENCE_STREAM = 0xD715
"""Seed of those frames."""
SOLVED: Mapping[str, Any] = {
    "first_cut": 1, "irs": True, "offline": False, "phase": "ca", "phase_passes": 0, "power": "optimal",
    "twins": "optimal",
}  # fmt: skip
"""How the reference is solved, whatever the environment leaves out, so that rewards can be compared."""


FITTED = (
    "the paper leaves parameters of this model open; they were fitted so that proposed, no-irs and no-dt come to the "
    "levels of its Fig. 5 with 100 devices, so that these levels confirm nothing"
)


class DTIRSSystem(System[State]):
    """Devices that train a network split with their AP over an IRS; one step is one frame, one exchange per device.

    The action holds one index per device into `cut_numbers`: how many layers it (or its digital twin) computes. Twins,
    the AP's processor, downlink powers and IRS phases are solved.
    """

    config_class = DTIRSConfig
    metrics = reward.METRICS
    member_metrics = reward.MEMBER_METRICS
    headline = ("delay_s", "mean_cut", "local_share", "twin_share", "deadline_violations")
    reference_baseline = "best-static"
    strongest_baseline = "bcd"
    scratch = ("work",)
    remembered = invariants.REMEMBERED
    warmup_fraction = 0.0
    evaluation_episodes = 4

    def __init__(self, config: DTIRSConfig) -> None:
        """Build spaces and kernel parameters from a validated configuration."""
        self.config = config
        self.parameters = config.kernel()
        self.cut_numbers = self.parameters.cut_numbers
        """Layers before the cut, by index of an action, shape (L,)."""
        self.members = config.num_devices
        self.caveat = FITTED if config.model == "printed" else ""
        facts, shared = observation_module.facts(self.parameters), observation_module.shared_facts(self.parameters)
        self._size = self.members * facts + shared
        self.member_view = self._views(facts, shared)
        self.own_view = self.member_view[:, : facts + shared]
        limit = observation_module.OBSERVATION_LIMIT
        self.observation_space = spaces.Box(-limit, limit, (self._size,), np.float32)
        self.member_observation_space = spaces.Box(-limit, limit, (self.member_view.shape[1],), np.float32)
        self.action_space = spaces.MultiDiscrete(np.full(self.members, len(self.cut_numbers)))
        self.member_action_space = spaces.MultiDiscrete([len(self.cut_numbers)])
        self._run = FastCall(step_module.run)

    def _views(self, facts: int, shared: int) -> IntArray:
        """Own facts, what all share, then the others' facts, from the next device on round to the one before."""
        columns = np.arange(self.members * facts).reshape(self.members, facts)
        common = np.arange(self.members * facts, self.members * facts + shared)
        views = []
        for member in range(self.members):
            turned = np.roll(columns, -member, axis=0)
            views.append(np.concatenate([turned[0], common, turned[1:].ravel()]))
        return np.array(views, dtype=np.int64)

    def baselines(self) -> Mapping[str, BaselineFactory]:
        """Factories of the configuration's baselines, by name."""
        from edge_envs.dtirs.baselines import available

        return available(self)

    def ablations(self) -> Mapping[str, Ablation]:
        """The configuration's ablations, by name."""
        from edge_envs.dtirs.baselines import ablations

        return ablations(self)

    @cached_property
    def reference_s(self) -> float:
        """Mean objective of the best common cut [s]: the unit of the reward, and the same for every seed.

        Raises:
            ValueError: parameters so far apart that no cut has a finite delay.
        """
        return _reference(self.config.replace(**SOLVED).model_dump_json())

    @cached_property
    def limits(self) -> Mapping[str, tuple[float, float]]:
        """Limits of counters, indices and uniform draws, by field of the state."""
        p = self.parameters
        return {
            "device_draws": (0.0, BELOW_ONE), "uniforms": (0.0, BELOW_ONE), "level": (0.0, len(p.pool_levels) - 1.0),
            "choice": (0.0, len(self.cut_numbers) - 1.0), "relaxation": ANYTHING,
        }  # fmt: skip

    def allocate(self, batch: int) -> State:
        """State arrays of `batch` worlds."""
        return state_module.allocate(self.config, self.parameters, batch)

    def reset(self, state: State, rows: IntArray, rngs: Sequence[Generator]) -> None:
        """Devices, places, loads and fading drawn anew, and phases solved for the first frame.

        Raises:
            ValueError: parameters so far apart that no cut has a finite delay.
        """
        assert self.reference_s > 0.0
        for row in rows.tolist():
            dynamics.draw(state, row, rngs[row])
            dynamics.begin_episode(self.parameters, state, row)

    def observe(self, state: State) -> NDArray[np.float32]:
        """What is known of the frame to come: gains, speeds and works of the devices, their last cuts, the pool."""
        observation = np.empty((len(state.level), self._size), dtype=np.float32)
        observation_module.encode_all(self.parameters, state, observation)
        return observation

    def step(self, state: State, rows: IntArray, actions: NDArray[Any], rngs: Sequence[Generator]) -> Outcome:
        """One frame."""
        batch = len(state.level)
        rows = np.ascontiguousarray(rows, dtype=np.int64)
        # Numbers of the next frame; the starts and samples among them also serve this frame's `phase_passes`.
        for row in rows.tolist():
            dynamics.draw(state, row, rngs[row])
        outcome, member = self.blank_outcome(batch)
        self._run(
            self.parameters,
            state,
            rows,
            actions,
            self.reference_s,
            outcome.observation,
            outcome.reward,
            member,
            outcome.metrics,
        )
        return outcome

    def invariants(self, state: State, step: Step | None) -> Iterable[Invariant]:
        """The limits on power, pool and phases; everything reported worked out again from the allocation."""
        return invariants.invariants(self.parameters, state, step, self.reference_s)


@lru_cache(maxsize=64)
def _reference(document: str) -> float:
    """`DTIRSSystem.reference_s` by the configuration's text, as systems are built often and this takes a while."""
    config = DTIRSConfig.model_validate_json(document)
    p = config.kernel()
    state = state_module.allocate(config, p, 1)
    rng = np.random.default_rng(REFERENCE_STREAM)
    cuts = np.repeat(np.arange(len(p.cut_numbers)), p.num_devices).reshape(-1, p.num_devices)
    values, total = np.zeros(len(cuts)), np.zeros(len(cuts))
    for _ in range(REFERENCE_FRAMES):
        dynamics.begin_settled(p, state, 0, rng)
        calibration.value_all(p, state, cuts, values)
        total += values
    reference = float(total.min()) / REFERENCE_FRAMES
    if not 0.0 < reference < np.inf:
        raise ValueError(
            f"a frame's least delay is {reference} s with these parameters: the links are too weak, or the work or the "
            "bits beyond all measure; bring them nearer to the defaults"
        )
    return reference
