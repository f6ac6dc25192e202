"""The benchmark: which runs count, and how labels meet over environments."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from agents.evaluation.contestants import Entry
from agents.evaluation.episodes import RATIO, Scores
from agents.evaluation.latency import Latency
from agents.evaluation.leaderboard import better_baselines, contestants, find_learned, scores_of
from agents.evaluation.results import Evaluated, Setting
from agents.hyperparameters.settings import Settings
from agents.reports import files as report_files
from agents.reports.console import ranking_table, score_table
from agents.runs.folder import BEST, CONFIG, FINISHED
from tests.agents.crowd import CROWD
from tests.agents.toy import TOY
from tests.agents.toy_runs import toy_run

IDS = [TOY, CROWD]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch, toy_id, crowd_id):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(notes: list[str] | None = None) -> dict[str, list[tuple[str, list[str]]]]:
    learned = find_learned(Path("runs"), IDS, [] if notes is None else notes)
    return {
        env_id: [(entry.label, [run.path.name for run in entry.runs]) for entry in entries]
        for env_id, entries in learned.items()
    }


def test_runs_are_grouped_by_all_but_the_seed():
    for name, env_id, more in (
        ("a", TOY, {"seed": 2}), ("b", TOY, {"seed": 1}), ("c", CROWD, {}), ("d", TOY, {"policy": "central"}),
        ("e", TOY, {"options": {"max_episode_steps": 12, "offset": 0.0}, "policy": "central", "agent": "td3"}),
    ):  # fmt: skip
        toy_run(Path("runs") / name, env_id, **more)
    Path("runs/notes").mkdir()
    Path("runs/file").write_text("")
    notes: list[str] = []
    assert found(notes) == {
        TOY: [("ppo-shared", ["b", "a"]), ("ppo-central", ["d"]), ("td3-central", ["e"])],
        CROWD: [("ppo-shared", ["c"])],
    }
    assert notes == []


def test_trainings_of_one_agent_have_unique_labels():
    toy_run(Path("runs/a"))
    toy_run(Path("runs/b"), settings=Settings(hidden=(8,), steps=77))
    assert found() == {TOY: [("ppo-shared (a)", ["a"]), ("ppo-shared (b)", ["b"])]}


def test_what_cannot_be_used_is_reported():
    """One line each, and the rest is used."""
    runs = {
        name: toy_run(Path("runs") / name, seed=seed) for seed, name in enumerate(["bare", "broken", "going", "torn"])
    }
    (runs["bare"].path / BEST).unlink()
    (runs["broken"].path / CONFIG).write_text('{"run": ')
    (runs["going"].path / FINISHED).unlink()
    (runs["torn"].path / BEST).write_bytes(b"short")
    toy_run(Path("runs/lost")).path.joinpath(CONFIG).unlink()
    toy_run(Path("runs/shifted"), options={"offset": 2.0})
    toy_run(Path("runs/long"), options={"max_episode_steps": 50})
    toy_run(Path("runs/twin-1"), seed=9)
    toy_run(Path("runs/twin-2"), seed=9)
    toy_run(Path("runs/gone"), CROWD)
    config = Path("runs/gone") / CONFIG
    config.write_text(config.read_text().replace(CROWD, "Gone-v0"))
    notes: list[str] = []
    assert found(notes) == {TOY: [("ppo-shared", ["twin-2"])]}
    reasons = {note.split(":")[0].removeprefix("skipped runs/"): note for note in notes}
    assert len(notes) == len(reasons) == 9
    assert not any("\n" in note for note in notes)
    for name, reason in {
        "bare": "the run saved no model yet", "broken": "is damaged",
        "going": "its training is not finished; finish it",
        "torn": f"{BEST} is damaged", "lost": f"it has no {CONFIG}", "shifted": "offset=2.0, which is not the default",
        "long": "max_episode_steps=50, which is not the default", "twin-1": "configuration and the seed of runs/twin-2",
        "gone": "it was trained on 'Gone-v0', which does not exist here",
    }.items():  # fmt: skip
        assert reason in reasons[name]


def test_a_folder_that_cannot_be_read_is_reported(monkeypatch):
    toy_run(Path("runs/a"))
    toy_run(Path("runs/locked"), seed=1)
    is_file = Path.is_file

    def refuse(self: Path) -> bool:
        if self.parent.name == "locked":
            raise PermissionError(13, "Permission denied", str(self))
        return is_file(self)

    monkeypatch.setattr(Path, "is_file", refuse)
    notes: list[str] = []
    assert found(notes) == {TOY: [("ppo-shared", ["a"])]}
    assert notes == ["skipped runs/locked: it cannot be read (Permission denied)"]


def test_an_imported_network_is_an_entry_of_its_own():
    for name in ("a", "b"):
        toy_run(Path("runs") / name, origin="imported")
    toy_run(Path("runs/c"), seed=1)
    toy_run(Path("runs/d"), policy="central", origin="imported")
    notes: list[str] = []
    assert found(notes) == {
        TOY: [
            ("ppo-shared, imported (a)", ["a"]), ("ppo-shared, imported (b)", ["b"]), ("ppo-shared", ["c"]),
            ("ppo-central, imported", ["d"]),
        ]
    }  # fmt: skip
    assert notes == []


@pytest.mark.parametrize("folder", [None, "empty", "useless", "file"])
def test_no_run_at_all(folder):
    if folder == "file":
        Path("runs").write_text("")
    elif folder is not None:
        Path("runs").mkdir()
    if folder == "useless":
        toy_run(Path("runs/a"), options={"offset": 2.0})
    reason = "--runs runs contains no run of a default preset" if folder in ("empty", "useless") else "is not a folder"
    with pytest.raises(ValueError, match=reason) as caught:
        found()
    assert "train an agent with train.py" in str(caught.value)
    assert "--baselines-only" in str(caught.value)
    assert ("skipped runs/a" in str(caught.value)) == (folder == "useless")


def test_the_reference_baseline_comes_first(monkeypatch):
    assert [entry.label for entry in contestants(TOY, [Entry("mine")])] == ["wanted", "random", "mine"]
    assert [entry.label for entry in contestants(CROWD, ())] == ["best", "random", "stay"]


def evaluated(env_id: str, rewards: dict[str, float], learned: Any) -> Evaluated:
    results = {
        label: Scores({name: np.full((1, 1, 2), value) for name in ("reward", "hits", "cost")})
        for label, value in rewards.items()
    }
    entries = [Entry(label, learned if label.startswith("ppo") else None) for label in rewards]
    return Evaluated(
        Setting(env_id, "default", {}, 1, 2), entries, results, dict.fromkeys(rewards, Latency(1.5, 2.0, 3))
    )


@pytest.fixture
def two():
    run = toy_run(Path("runs/a"))
    return [
        evaluated(TOY, {"wanted": 4.0, "random": 0.0, "ppo-shared": 3.0, "stay": 1.0}, run),
        evaluated(CROWD, {"best": -1.0, "random": -3.0, "stay": -5.0, "ppo-shared": -2.0, "ppo-pooled": -0.5}, run),
    ]


def test_a_baseline_better_than_the_strongest_is_reported(two):
    """Not a learned agent, nor a baseline whose interval reaches down to the strongest baseline."""
    assert better_baselines(two[0]) == better_baselines(two[1]) == []
    rewards = {"best": -1.0, "random": -3.0, "stay": -0.5, "near": -1.0, "ppo-shared": -0.2}
    found = evaluated(CROWD, rewards, two[1].entries[3].run)
    found.results["near"].episodes["reward"][0, 0] = [-0.6, -1.2]
    assert better_baselines(found) == [
        "Crowd-v0: the baseline stay scores 1.25 [1.25, 1.25], more than best, the declared strongest baseline"
    ]
    del rewards["random"]
    assert better_baselines(evaluated(CROWD, rewards, None)) == []


def test_scores_over_environments(two):
    assert scores_of(two) == [
        {"label": "ppo-pooled", "by_env": {CROWD: 1.25}, "mean": 1.25},
        {"label": "ppo-shared", "by_env": {TOY: 0.75, CROWD: 0.5}, "mean": 0.625},
        {"label": "random", "by_env": {TOY: 0.0, CROWD: 0.0}, "mean": 0.0},
        {"label": "stay", "by_env": {TOY: 0.25, CROWD: -1.0}, "mean": -0.375},
    ]


def test_an_environment_without_a_scale_gives_no_score(two):
    without = evaluated(TOY, {"random": 0.0, "ppo-shared": 3.0}, two[0].entries[2].run)
    scores = {row["label"]: row for row in scores_of([without, two[1]])}
    assert scores["ppo-shared"] == {"label": "ppo-shared", "by_env": {TOY: None, CROWD: 0.5}, "mean": 0.5}
    assert [row["label"] for row in scores_of([without])] == []


def test_tables(two, capsys):
    console = Console(width=100, markup=False)
    console.print(ranking_table(two[1]))
    lines = capsys.readouterr().out.split("\n")
    assert "Crowd-v0, preset default: 1 seed x 2 episodes" in lines[0]
    assert lines[1].split() == ["policy", "rank", "trainings", "score", "reward", "cost", "ms/decision"]
    body = [re.sub(r" ± 0", "", line).split() for line in lines[3:8]]
    assert body == [
        ["ppo-pooled", "1", "1", "1.25", "-0.5", "-0.5", "1.5"], ["best", "2", "1", "-1", "-1", "1.5"],
        ["ppo-shared", "3", "1", "0.5", "-2", "-2", "1.5"], ["random", "4", "0", "-3", "-3", "1.5"],
        ["stay", "5", "-1", "-5", "-5", "1.5"],
    ]  # fmt: skip
    lazy = two[1].results["stay"].episodes
    left = Scores({**lazy, RATIO: np.full_like(lazy["cost"], 0.5)})
    console.print(ranking_table(replace(two[1], results={**two[1].results, "stay": left})))
    lines = capsys.readouterr().out.split("\n")
    assert [" * " in line for line in lines[3:8]] == [False, False, False, False, True]
    assert "* less than 0.98 of the tasks finished" in " ".join(" ".join(lines).split())
    console.print(score_table(scores_of(two), IDS))
    lines = capsys.readouterr().out.split("\n")
    assert lines[1].split() == ["policy", TOY, CROWD, "mean"]
    assert [line.split() for line in lines[3:5]] == [
        ["ppo-pooled", "n/a", "1.25", "1.25"],
        ["ppo-shared", "0.75", "0.5", "0.625"],
    ]
    assert report_files.SCALE.split(",")[0] in " ".join(" ".join(lines).split())
