"""Experiments with learned agents: their trainings, labels and tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tyro")

from agents.evaluation.episodes import Scores
from agents.hyperparameters.lookup import settings_for
from agents.runs.folder import BEST, LAST
from experiments import eccnoma, lyappo, semcom
from experiments.shared import learned
from experiments.shared.learned import Agent, LearnedArguments, learned_command, run_of, tables_of


@pytest.fixture
def asked(monkeypatch) -> list[Any]:
    """Configurations and folders that `trained` was called with, in place of trainings."""
    calls: list[Any] = []
    monkeypatch.setattr(learned, "trained", lambda config, path: calls.append((config, path)))
    return calls


def agent_of(agents: Any, label: str) -> Agent:
    return next(agent for agent in agents if agent.label == label)


def test_a_training_has_the_settings_of_its_decision(asked):
    agent = agent_of(lyappo.AGENTS["default"], "PPO joint, central")
    run_of("LyaPPO-v0", agent, lyappo.name_of(agent, "default"), 3, LearnedArguments(runs=Path("r")))
    ((config, path),) = asked
    assert config.settings == settings_for("LyaPPO-v0", "ppo", "central", "joint")
    assert config.options == {"decision": "joint"}
    assert (config.agent, config.policy, config.preset, config.seed) == ("ppo", "central", "default", 3)
    assert path == Path("r/default__ppo-central-joint__3")


def test_training_options_are_added_to_those_of_the_agent(asked):
    run_of("SemCom-v0", semcom.AGENTS["random"][0], "x", 1, LearnedArguments(steps=64), "random")
    settings = settings_for("SemCom-v0", "ppo", "shared", "compression")
    assert asked[0][0].settings.training_options == {**settings.training_options, "queue_weight": 100.0}
    assert asked[0][0].settings.steps == 64
    assert asked[0][0].options == {}


def test_changes_and_the_steps_of_dagger(asked):
    warm = agent_of(eccnoma.AGENTS, "DAgger, then member-PPO")
    eccnoma.runs(warm, eccnoma.Arguments(training_seeds=2))
    assert [path.name for _, path in asked] == ["member-ppo-pooled-warm__1", "member-ppo-pooled-warm__2"]
    settings = settings_for("ECCNOMA-v0", "member-ppo", "pooled", "")
    assert asked[0][0].settings == settings.model_copy(update=dict(warm.changes))
    eccnoma.runs(eccnoma.AGENTS[0], eccnoma.Arguments(training_seeds=1, steps=64))
    assert asked[2][0].settings == settings_for("ECCNOMA-v0", "dagger", "pooled", "")


def test_help_lists_the_labels(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["experiment", "--help"])
    with pytest.raises(SystemExit):
        learned_command(LearnedArguments, "What it does.", lambda _: None, [Agent("A, shared"), Agent("B")] * 2)
    assert "Labels for --agents: A, shared; B; none (train and evaluate no agent)." in capsys.readouterr().out


def test_labels_are_checked(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["experiment", "--agents", "A, shard", "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        learned_command(LearnedArguments, "", lambda _: pytest.fail("it ran"), [Agent("A, shared")])
    assert capsys.readouterr().err == "error: --agents 'A, shard' does not exist; did you mean 'A, shared'?\n"


def test_tables_keep_the_rows_that_are_not_asked_for(monkeypatch, tmp_path):
    kept = {"cost": {"mean": 9.0, "half_width": 1.0, "by_training_seed": [9.0]}}
    rows = {"random": kept, "A": kept, "A (best validated)": kept, "B": kept}
    document = {"tables": {"one": rows, "two": rows}, "provenance": {"git": "f" * 40}}
    (tmp_path / "x.json").write_text(json.dumps(document))
    models = {LAST: 1.0, BEST: 2.0}

    def scores(value: float) -> Scores:
        return Scores({"cost": np.full((1, 2, 2), value)})

    monkeypatch.setattr(learned, "scores_of", lambda runs, model, *_: scores(models[model] * runs[0]))
    monkeypatch.setattr(learned, "baseline_scores", lambda *_: {"random": scores(5.0)})
    tables = tables_of(
        "X-v0", {"one": [Agent("A"), Agent("B")], "two": [Agent("A")]}, ["one"], ["cost"], "x.json",
        LearnedArguments(agents=("B",), out=tmp_path), lambda agent, preset: [10.0],  # type: ignore[list-item]
        lambda agent, preset, runs: {f"{agent.label} on {preset}": scores(7.0)},
    )  # fmt: skip
    means = {label: row["cost"]["mean"] for label, row in tables["one"].items()}
    assert means == {
        "random": 5.0, "A": 9.0, "A (best validated)": 9.0, "B": 10.0, "B (best validated)": 20.0, "B on one": 7.0,
    }  # fmt: skip
    assert [label for label, row in tables["one"].items() if "commit" in row] == ["A", "A (best validated)"]
    assert list(tables["two"]) == list(rows)
