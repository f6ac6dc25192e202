"""Demonstrations: saved and loaded bit for bit, and checked against the settings and the spaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from agents.hyperparameters.settings import Settings
from agents.training.dagger import Demonstrations
from edge_envs.core.runtime.snapshot import Arrays
from tests.agents.toy import ToyConfig, ToySystem

SETTINGS = Settings(imitation_rounds=3, imitation_worlds=2, imitation_frames=5)


def demonstrations(box: bool = False, dtype: Any = np.int64, rounds: int = 2) -> Demonstrations:
    rng = np.random.default_rng(rounds)
    found = Demonstrations(SETTINGS, ToySystem(ToyConfig(box=box)), rng)
    for _ in range(rounds):
        actions = rng.uniform(-1.0, 1.0, (10, 4)) if box else rng.integers(3, size=(10, 4))
        found.rounds.append((rng.normal(size=(10, 7)).astype(np.float32), actions.astype(dtype)))
    return found


def values(rounds: int) -> Any:
    return type("Values", (), {"rounds": rounds})


@pytest.mark.parametrize(
    ("box", "dtype"), [(False, np.int64), (True, np.float32), (True, np.float64)], ids=["indices", "box", "wide box"]
)
def test_what_was_saved_is_loaded_bit_for_bit(box, dtype):
    """Actions of baselines that compute in float64 too, although the action space is of float32."""
    first, second = demonstrations(box, dtype), demonstrations(box, dtype, rounds=1)
    arrays, saved = first.save()
    assert saved == {"rounds": 2}
    second.load(arrays, values(2))
    assert len(second.rounds) == 2
    for ours, theirs in zip(first.rounds, second.rounds, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
    assert first.rng.random() == second.rng.random()


MISFITS: dict[str, tuple[bool, int, Callable[[Arrays], Any], str]] = {
    "no rounds": (False, 0, lambda a: None, "it has 0 rounds of imitation, and the run 3"),
    "too many rounds": (False, 4, lambda a: None, "it has 4 rounds of imitation, and the run 3"),
    "other rounds": (False, 3, lambda a: None, "'observations' has shape"),
    "no actions": (False, 2, lambda a: a.pop("shown.actions"), "'actions' is missing"),
    "continuous": (False, 2, lambda a: a.update({"shown.actions": np.zeros((20, 4))}), "'actions' has shape"),
    "integers": (True, 2, lambda a: a.update({"shown.actions": np.zeros((20, 4), np.int64)}), "'actions' has shape"),
    "outside": (False, 2, lambda a: a["shown.actions"].fill(7), "it holds actions outside the action space"),
    "outside the box": (True, 2, lambda a: a["shown.actions"].fill(1.5), "it holds actions outside the action space"),
    "no number": (True, 2, lambda a: a["shown.actions"].fill(np.nan), "it holds actions outside the action space"),
    "other generator": (False, 2, lambda a: a.update({"shown.generator": np.zeros(6)}), "'generator' has shape"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_refused(name):
    box, rounds, change, message = MISFITS[name]
    found = demonstrations(box, np.float64 if box else np.int64)
    arrays, _ = found.save()
    change(arrays)
    with pytest.raises(ValueError, match=message):
        found.load(arrays, values(rounds))
