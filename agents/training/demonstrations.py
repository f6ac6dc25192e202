"""Demonstrations of an expert, collected for imitation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from agents.hyperparameters.settings import Settings
from agents.training.training_state import Values, part_of, with_prefix
from edge_envs.core.runtime.snapshot import Arrays, check_alike, pack_generators, unpack_generators
from edge_envs.core.system import System

Round = tuple[NDArray[np.float32], NDArray[Any]]
"""Central observations (N, n) and the actions (N, A) that the expert takes for them."""


@dataclass
class Demonstrations:
    """The rounds collected so far; a part of the training state."""

    settings: Settings
    system: System[Any]
    rng: Generator
    """Draws the minibatches."""
    rounds: list[Round] = field(default_factory=list)

    def save(self) -> tuple[Arrays, dict[str, Any]]:
        """See `agents.training.training_state.Part`."""
        observations, actions = (np.concatenate(part) for part in zip(*self.rounds, strict=True))
        arrays = {"observations": observations, "actions": actions, "generator": pack_generators([self.rng])}
        return with_prefix(arrays, "shown"), {"rounds": len(self.rounds)}

    def load(self, arrays: Arrays, values: Values) -> None:
        """See `agents.training.training_state.Part`."""
        settings, rounds, found = self.settings, values.rounds, part_of(arrays, "shown")
        if not 1 <= rounds <= settings.imitation_rounds:
            raise ValueError(f"it has {rounds} rounds of imitation, and the run {settings.imitation_rounds}")
        count = rounds * settings.imitation_worlds * settings.imitation_frames
        observation, action = self.system.observation_space, self.system.action_space
        # A baseline may compute continuous actions in float64, which the labels keep.
        wide = found.get("actions", np.zeros(0)).dtype == np.float64 and action.dtype == np.float32
        expected = {
            "observations": np.zeros((count, *observation.shape), dtype=observation.dtype),  # type: ignore[misc]
            "actions": np.zeros((count, *action.shape), dtype=np.float64 if wide else action.dtype),  # type: ignore[misc]
            "generator": np.zeros((1, 6), dtype=np.uint64),
        }
        check_alike(found, expected)
        with np.errstate(over="ignore"):
            actions = found["actions"].astype(action.dtype)
        if not all(action.contains(row) for row in actions):
            raise ValueError("it holds actions outside the action space")
        self.rng = unpack_generators(found["generator"])[0]
        parts = (np.split(found[name], rounds) for name in ("observations", "actions"))
        self.rounds = list(zip(*parts, strict=True))
