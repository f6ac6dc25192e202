"""The hyper-parameters' limits, and that settings of old runs are still read."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from agents.hyperparameters.settings import Settings


def test_settings_of_old_runs_are_still_read():
    """What is new since has a default."""
    new = {name for name in Settings.model_fields if name.startswith("imitation_")} | {"credit", "expert", "ent_until"}
    old = {name: value for name, value in Settings().model_dump(mode="json").items() if name not in new}
    assert Settings(**old) == Settings()
    assert len(new) == 9


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("imitation_rounds", -1), ("imitation_worlds", 0), ("imitation_worlds", 65_537), ("imitation_frames", 0),
        ("imitation_steps", 0), ("imitation_batch", 0), ("imitation_rate", 0.0), ("credit", "nobody"), ("expert", 3),
        ("steps", 0), ("steps", -1), ("steps", 1.5), ("num_envs", 0), ("num_envs", 65_537), ("learning_rate", 0.0),
        ("learning_rate", float("nan")), ("learning_rate", float("inf")), ("gamma", 1.1), ("gamma", -0.1),
        ("batch_size", 0), ("hidden", (0,)), ("hidden", (10**9,)), ("hidden", (8,) * 17), ("reward_scale", 0.0),
        ("n_steps", 0), ("n_epochs", 0), ("gae_lambda", 2.0), ("ent_coef", -0.1), ("ent_until", 0.0),
        ("ent_until", 1.5), ("clip_range", 0.0),
        ("tau", 0.0), ("tau", 1.5), ("action_noise", -1.0), ("gradient_steps", 0), ("buffer_size", 0),
        ("learning_starts", -1), ("log_std_init", float("nan")), ("no_such_setting", 1),
    ],
)  # fmt: skip
def test_impossible_values_are_refused(name, value):
    with pytest.raises(ValidationError, match=name):
        Settings(**{name: value})


def test_an_update_needs_two_rows():
    with pytest.raises(ValidationError, match="at least 2"):
        Settings(n_steps=1, num_envs=1)
    Settings(n_steps=2, num_envs=1)
    Settings(n_steps=1, num_envs=2)


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().steps = 3  # type: ignore[misc]
