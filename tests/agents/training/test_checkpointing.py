"""Checkpoints as lists of parts: names that do not collide, and the same names on disk as in every file of format 1."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agents.hyperparameters.settings import Settings
from agents.runs.checkpoint_files import Checkpoint, Checkpoints
from agents.runs.folder import Run, RunConfig
from agents.training.checkpointing import Saver
from agents.training.trainer import train

QUICK = Settings(
    steps=128, num_envs=8, n_steps=8, batch_size=16, n_epochs=1, hidden=(8,), learning_starts=16, buffer_size=64,
    imitation_worlds=4, imitation_frames=5, imitation_steps=4, imitation_batch=8,
)  # fmt: skip
LEARNING = {"network", "optimizer", "random", "best", "worlds", "rows", "last"}
REPLAY = {"buffer", "action_generator"}
IMITATION = {"network", "random", "best", "shown"}
VALUES = {
    "stage", "record", "learner", "rounds", "gauss", "numpy_position", "numpy_has_gauss", "numpy_gauss", "events",
}  # fmt: skip


def checkpoints_of(monkeypatch: pytest.MonkeyPatch, path: Path, env_id: str, **more: Any) -> list[Checkpoint]:
    """All checkpoints of a training, after checking that no two parts use the same name."""
    saved: list[Checkpoint] = []
    plain = Saver._save

    def save(self: Saver, stage: Any) -> None:
        parts = [part.save() for part in self.parts[stage]]
        for kind in (0, 1):
            names = Counter(name for part in parts for name in part[kind])
            assert set(names.values()) <= {1}
        plain(self, stage)

    monkeypatch.setattr(Saver, "_save", save)
    monkeypatch.setattr(Checkpoints, "save", lambda _, checkpoint: saved.append(checkpoint))
    train(Run.create(RunConfig(env_id=env_id, **more), path), checkpoint_every_s=0.0, quiet=True)
    return saved


@pytest.mark.parametrize(("agent", "replay"), [("ppo", set()), ("td3", REPLAY), ("ddpg", REPLAY)])
def test_names_while_learning(tmp_path, monkeypatch, toy_id, agent, replay):
    saved = checkpoints_of(monkeypatch, tmp_path / "run", toy_id, agent=agent, policy="central", settings=QUICK)
    assert len(saved) > 0
    for checkpoint in saved:
        assert checkpoint.values.keys() == VALUES
        assert checkpoint.values["stage"] == "learning"
        assert {name.partition(".")[0] for name in checkpoint.arrays} - {"optimizer"} == (
            LEARNING - {"optimizer"}
        ) | replay
    assert {name.partition(".")[0] for name in saved[-1].arrays} == LEARNING | replay


def test_names_while_imitating(tmp_path, monkeypatch, toy_id):
    settings = QUICK.model_copy(update={"imitation_rounds": 2})
    saved = checkpoints_of(monkeypatch, tmp_path / "run", toy_id, agent="ppo", settings=settings)
    first, second, *later = saved
    for number, checkpoint in enumerate((first, second), 1):
        assert checkpoint.values.keys() == VALUES
        assert (checkpoint.values["stage"], checkpoint.values["rounds"]) == ("imitation", number)
        assert checkpoint.values["learner"] is None
        assert {name.partition(".")[0] for name in checkpoint.arrays} == IMITATION
    assert {checkpoint.values["stage"] for checkpoint in later} == {"learning"}
