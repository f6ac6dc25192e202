"""`train.py` and `evaluate.py` from end to end: what they print and what they leave."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

import evaluate
import train
from agents import compare as comparing
from agents.runs import BEST, CONFIG, EVALUATION, LAST, Run
from agents.score import interval
from tests.scripts.running import ID, OTHERS, QUICK, SMALL, call, execute, make_run, table_rows


def test_train_then_evaluate(tmp_path):
    """The two commands of the README, small: what they print, what they leave, and that the numbers agree."""
    done = execute("train.py", "--env", ID, "--set", *SMALL, *QUICK, "--seed", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("LyaPPO-v0__ppo__3__")
    assert table_rows(done.stdout) == ["best-fixed", "ppo-shared", *OTHERS]
    lines = done.stdout.strip().split("\n")
    assert "512 steps in" in lines[0]
    assert "% of it in the environment" in lines[0]
    assert "power_mw" in done.stdout
    assert "finished/arrived" in done.stdout
    assert lines[-2] == f"run folder: runs/{folder.name}"
    assert lines[-1] == f"curves: {sys.executable} -m tensorboard.main --logdir runs"
    assert "Traceback" not in done.stderr
    assert "512/512" in done.stderr  # the progress bar came to its end
    assert {BEST, LAST, CONFIG, EVALUATION} < {file.name for file in folder.iterdir()}
    assert any("tfevents" in file.name for file in folder.iterdir())
    document = json.loads((folder / CONFIG).read_text())
    assert document["run"]["options"] == {"num_devices": 2, "num_services": 1, "max_episode_steps": 10}
    assert document["run"]["settings"]["steps"] == 512
    assert document["run"]["settings"]["num_envs"] == 16
    assert document["provenance"]["command"][1:3] == ["--env", ID]
    with (folder / EVALUATION).open() as file:
        assert [row["step"] for row in csv.DictReader(file)][-1] == "512"

    run = f"runs/{folder.name}"
    done = execute(
        "evaluate.py", "--env", ID, "--policies", "fixed", "random", run, "--set", *SMALL, "--seeds", "2",
        "--episodes", "2", "--json", "out.json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert table_rows(done.stdout) == ["fixed", "random", folder.name]
    assert "2 seeds x 2 episodes" in done.stdout
    assert done.stdout.strip().split("\n")[-1] == "written: out.json"
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["first"] == "fixed"
    assert list(result["policies"]) == ["fixed", "random", folder.name]
    assert result["setting"]["policies"] == ["fixed", "random", run]
    assert result["setting"]["set"] == {"num_devices": 2, "num_services": 1, "max_episode_steps": 10}
    assert {"versions", "git", "command"} <= result["provenance"].keys()
    scores = comparing.compare(
        [comparing.Entry("fixed"), comparing.Entry("mine", Run.open(folder))], ID, "default",
        document["run"]["options"], seeds=2, episodes=2,
    )  # fmt: skip
    for label, name in (("fixed", "fixed"), ("mine", folder.name)):
        for metric, values in scores[label].items():
            entry = result["policies"][name][metric]
            assert entry["by_seed"] == values.tolist()
            assert entry["mean"] == interval(values).mean
            assert entry["interval"] == [interval(values).low, interval(values).high]
            gap = interval(values - scores["fixed"][metric])
            assert (entry["difference"], entry["difference_interval"]) == (gap.mean, [gap.low, gap.high])


@pytest.mark.parametrize(
    "more",
    [
        ("--agent", "ddpg", "--set", *SMALL),
        ("--policy", "central", "--set", *SMALL, "decision=joint"),
        ("--preset", "dynamic", "--set", "max_episode_steps=10", "num_services=1"),
    ],
    ids=["ddpg", "joint", "dynamic"],
)
def test_other_agents(tmp_path, monkeypatch, capsys, more):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edge_envs.lyappo.baselines.TABLE_PERIODS", 10)
    arguments = ("--env", ID, "--steps", "64", "--num-envs", "16", "--seeds", "1", "--episodes", "2", "--run", "run")
    assert call(monkeypatch, train, *arguments, *more) == 0
    out = capsys.readouterr().out
    first = {"ddpg": "ddpg-central", "central": "ppo-central", "dynamic": "ppo-shared"}[more[1]]
    assert table_rows(out) == ["best-fixed", first, *OTHERS, *(["regime-table"] if "dynamic" in more else [])]
    assert "inf" not in out  # one seed has no interval
    assert "nan" not in out
    assert Run.open(Path("run")).config.policy == ("shared" if "dynamic" in more else "central")


def test_no_table_without_evaluation_seeds(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ("--env", ID, "--steps", "64", "--num-envs", "16", "--seeds", "0", "--run", "run", "--set", *SMALL)
    assert call(monkeypatch, train, *arguments) == 0
    out = capsys.readouterr().out
    assert "policy" not in out
    assert f"run folder: run\ncurves: {sys.executable} -m tensorboard.main --logdir ." in out
    # An existing run is not overwritten.
    before = {file.name: file.read_bytes() for file in Path("run").iterdir()}
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch, train, *arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: run folder run exists already; name a new one with --run\n"
    assert {file.name: file.read_bytes() for file in Path("run").iterdir()} == before


def test_names_that_rich_would_take_for_markup(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = ["[red]", "x]", ":smile:"]
    for name in names:
        make_run(Path("a[") / name)
    paths = [f"a[/{name}" for name in names]
    status = call(
        monkeypatch, evaluate, "--env", ID, "--policies", *paths, "--set", *SMALL, "--seeds", "1", "--episodes", "1",
        "--json", "a[/b].json",
    )  # fmt: skip
    out = capsys.readouterr().out
    assert status == 0
    assert table_rows(out) == names
    assert out.endswith("written: a[/b].json\n")
    assert list(json.loads(Path("a[/b].json").read_text())["policies"]) == names
    arguments = ("--env", ID, "--steps", "64", "--num-envs", "16", "--seeds", "0", "--set", *SMALL)
    assert call(monkeypatch, train, *arguments, "--run", "a[/c]") == 0
    assert "run folder: a[/c]\n" in capsys.readouterr().out


def test_run_folders_of_the_same_name_are_told_apart(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = ["a/run", "b/run", "./fixed", "c/other"]
    for name in names:
        make_run(Path(name))
    call(
        monkeypatch, evaluate, "--env", ID, "--policies", "fixed", *names, "--set", *SMALL, "--seeds", "1",
        "--episodes", "1", "--json", "out.json",
    )  # fmt: skip
    labels = ["fixed", "a/run", "b/run", "./fixed", "other"]
    assert table_rows(capsys.readouterr().out) == labels
    assert list(json.loads(Path("out.json").read_text())["policies"]) == labels


def test_a_run_keeps_its_decision(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_run(Path("joint"), options={"decision": "joint"})
    make_run(Path("cuts"))
    for more in ((), ("decision=joint",)):
        first = () if more else ("fixed",)
        status = call(
            monkeypatch, evaluate, "--env", ID, "--policies", *first, "random", "joint", "cuts", "--set", *SMALL, *more,
            "--seeds", "1", "--episodes", "1",
        )  # fmt: skip
        assert status == 0
        assert table_rows(capsys.readouterr().out) == [*first, "random", "joint", "cuts"]
