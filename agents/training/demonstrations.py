"""Demonstrations of an expert, collected for imitation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from agents.hyperparameters.settings import Settings
from edge_envs.core.runtime.snapshot import Arrays, check_alike, pack_generators, unpack_generators

Shown = tuple[NDArray[np.float32], NDArray[Any]]
"""Central observations (N, n), and the expert's actions in them (N, A)."""


class Lessons:
    """What was shown so far, round by round, and the generator that picks minibatches from it."""

    def __init__(self, rng: Generator) -> None:
        self.rng = rng
        self.shown: list[Shown] = []

    def arrays(self) -> Arrays:
        """What `restored` takes."""
        observations, actions = (np.concatenate(part) for part in zip(*self.shown, strict=True))
        return {"observations": observations, "actions": actions, "generator": pack_generators([self.rng])}

    @classmethod
    def restored(cls, settings: Settings, arrays: Mapping[str, NDArray[Any]], rounds: int, system: Any) -> Lessons:
        """Lessons of some rounds from stored arrays: "observations", "actions" and "generator".

        Raises:
            ValueError: arrays that do not fit the settings or the system.
        """
        if not 1 <= rounds <= settings.imitation_rounds:
            raise ValueError(f"it has {rounds} rounds of imitation, and the run {settings.imitation_rounds}")
        count = rounds * settings.imitation_worlds * settings.imitation_frames
        observation, action = system.observation_space, system.action_space
        expected = {
            "observations": np.zeros((count, *observation.shape), dtype=observation.dtype),
            "actions": np.zeros((count, *action.shape), dtype=action.dtype),
            "generator": np.zeros((1, 6), dtype=np.uint64),
        }
        check_alike(arrays, expected)
        if not all(action.contains(row) for row in arrays["actions"]):
            raise ValueError("it holds actions that cannot be")
        lessons = cls(unpack_generators(arrays["generator"])[0])
        parts = (np.split(arrays[name], rounds) for name in ("observations", "actions"))
        lessons.shown = list(zip(*parts, strict=True))
        return lessons
