"""`train.py` and `evaluate.py` from end to end, and what they say to bad input."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evaluate
import train
from agents import compare as comparing
from agents import learn
from agents.runs import BEST, CONFIG, EVALUATION, LAST, Run, RunConfig
from agents.score import interval
from agents.settings import Settings

ROOT = Path(__file__).parents[1]
ID = "LyaPPO-v0"
SMALL = ("num_devices=2", "num_services=1", "max_episode_steps=10")
QUICK = ("--steps", "512", "--num-envs", "16", "--seeds", "2", "--episodes", "2")
BASELINES = ("random", "fixed", "local", "edge", "price", "best-fixed")


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "TERM": "dumb"}


def execute(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a script as a user does, from another folder."""
    return subprocess.run(
        [sys.executable, str(ROOT / script), *arguments],
        cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def call(monkeypatch: pytest.MonkeyPatch, module: Any, *arguments: str) -> int:
    """Run a script's `main` in this process."""
    monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *arguments])
    monkeypatch.setenv("COLUMNS", "200")
    status = module.main()
    assert isinstance(status, int)
    return status


def table_rows(out: str) -> list[str]:
    """First words of the lines between the table's rule and the empty line that ends it."""
    body = out.split("───", 1)[1].split("\n", 1)[1]
    return [line.split()[0] for line in body.split("\n")[: [not x.strip() for x in body.split("\n")].index(True)]]


def make_run(path: Path, env_id: str = ID, **more: Any) -> Run:
    """A run folder with an untrained network."""
    options = {"num_devices": 2, "num_services": 1, **more.pop("options", {})}
    run = Run.create(RunConfig(env_id=env_id, options=options, settings=Settings(hidden=(8,)), **more), path)
    if env_id == ID:
        from agents.policies import build_network
        from agents.score import make_worlds

        system = make_worlds(ID, 1, "default", options).system
        run.save_network(build_network(run.config.agent, run.config.policy, run.config.settings, system), BEST)
    return run


# From end to end


def test_train_then_evaluate(tmp_path):
    """The two commands of the README, small: what they print, what they leave, and that the numbers agree."""
    done = execute("train.py", "--env", ID, "--set", *SMALL, *QUICK, "--seed", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("LyaPPO-v0__ppo__3__")
    assert table_rows(done.stdout) == ["ppo-shared", *BASELINES]
    lines = done.stdout.strip().split("\n")
    assert "512 steps in" in lines[0]
    assert "% of it in the environment" in lines[0]
    assert "power_mw" in done.stdout
    assert "finished / arrived" in done.stdout
    assert lines[-2:] == [f"run folder: runs/{folder.name}", "curves: tensorboard --logdir runs"]
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
    assert table_rows(out) == [first, *BASELINES, *(["regime-table"] if "dynamic" in more else [])]
    assert "inf" not in out  # one seed has no interval
    assert "nan" not in out
    assert Run.open(Path("run")).config.policy == ("shared" if "dynamic" in more else "central")


def test_no_table_without_evaluation_seeds(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ("--env", ID, "--steps", "64", "--num-envs", "16", "--seeds", "0", "--run", "run", "--set", *SMALL)
    assert call(monkeypatch, train, *arguments) == 0
    out = capsys.readouterr().out
    assert "policy" not in out
    assert "run folder: run\ncurves: tensorboard --logdir ." in out
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


# Bad input


ENV = ("--env", ID)
BAD_TRAINING = {
    "unknown env": (("--env", "LyaPO-v0"), "env='LyaPO-v0' does not exist", "did you mean 'LyaPPO-v0'?"),
    "env of others": (("--env", "CartPole-v1"), "env='CartPole-v1' does not exist", "known: "),
    "empty env": (("--env", ""), "env=''", "known: "),
    "preset": ((*ENV, "--preset", "hrad"), "preset='hrad' does not exist", "did you mean 'hard'?"),
    "key": ((*ENV, "--set", "num_devcies=3"), "'num_devcies' is not a parameter", "did you mean 'num_devices'?"),
    "value": ((*ENV, "--set", "num_devices=0"), "num_devices=0 is not possible", "greater than or equal to 1"),
    "word for a number": ((*ENV, "--set", "num_devices=four"), "num_devices='four'", "valid integer"),
    "not a number": ((*ENV, "--set", "slot_s=NaN"), "slot_s=nan", "finite"),
    "network": ((*ENV, "--set", 'networks=["resnet19@96"]', "num_services=1"), "resnet19", "resnet18"),
    "two values": ((*ENV, "--set", "distance_min_m=300"), "distance_min_m=300.0", "swap them"),
    "no =": ((*ENV, "--set", "num_devices"), "'num_devices'", "key=value"),
    "twice": ((*ENV, "--set", "k_min=1", "k_min=0"), "'k_min' twice", "give it once"),
    "preset by set": ((*ENV, "--set", "preset=hard"), "preset='hard'", "another way"),
    "num_envs by set": ((*ENV, "--set", "num_envs=3"), "num_envs=3", "another way"),
    "system by set": ((*ENV, "--set", "system=os:path"), "system='os:path'", "another way"),
    "no episode": ((*ENV, "--set", "max_episode_steps=null"), "max_episode_steps=None", "whole number"),
    "decision": ((*ENV, "--set", "decision=both"), "decision='both'", "'partition' or 'joint'"),
    "ddpg joint": ((*ENV, "--agent", "ddpg", "--set", "decision=joint"), "--agent ddpg", "use --agent ppo"),
    "no steps": ((*ENV, "--steps", "0"), "--steps 0", "greater than or equal to 1"),
    "negative steps": ((*ENV, "--steps", "-5"), "--steps -5", "greater than or equal to 1"),
    "no worlds": ((*ENV, "--num-envs", "0"), "--num-envs 0", "greater than or equal to 1"),
    "too many worlds": ((*ENV, "--num-envs", "1000000"), "--num-envs 1000000", "less than or equal to 65536"),
    "negative seed": ((*ENV, "--seed", "-1"), "--seed -1", "from 0 to 4294967295"),
    "large seed": ((*ENV, "--seed", "4294967296"), "--seed 4294967296", "from 0 to 4294967295"),
    "seeds": ((*ENV, "--seeds", "-1"), "--seeds -1", "seeds >= 0"),
    "episodes": ((*ENV, "--episodes", "0"), "--episodes 0", "episodes >= 1"),
    "run under a file": ((*ENV, "--run", "file/run"), "file/run cannot be written", "--run"),
    "run that is a file": ((*ENV, "--run", "file"), "run folder file exists already", "--run"),
    "run that is full": ((*ENV, "--run", "full"), "run folder full exists already", "--run"),
    "run with too long a name": ((*ENV, "--run", "x" * 300), "cannot be written (File name too long)", "--run"),
}
EVALUATE = (*ENV, "--seeds", "1", "--episodes", "1", "--policies")
BAD_EVALUATION = {
    "unknown env": (("--env", "LyaPO-v0", "--policies", "fixed"), "env='LyaPO-v0'", "did you mean 'LyaPPO-v0'?"),
    "preset": ((*EVALUATE, "fixed", "--preset", "hrad"), "preset='hrad'", "did you mean 'hard'?"),
    "key": ((*EVALUATE, "fixed", "--set", "num_devcies=3"), "'num_devcies'", "did you mean 'num_devices'?"),
    "value": ((*EVALUATE, "fixed", "--set", "num_devices=-1"), "num_devices=-1", "greater than or equal to 1"),
    "no =": ((*EVALUATE, "fixed", "--set", "k_min"), "'k_min'", "key=value"),
    "policy": ((*EVALUATE, "fixd"), "policy='fixd' is neither a baseline nor a run folder", "did you mean 'fixed'?"),
    "policy after others": ((*EVALUATE, "random", "loca"), "policy='loca'", "did you mean 'local'?"),
    "baseline of cuts": ((*EVALUATE, "fixed", "--set", "decision=joint"), "policy='fixed'", "known: random"),
    "baseline of dynamics": ((*EVALUATE, "regime-table"), "policy='regime-table'", "known: "),
    "empty policy": ((*EVALUATE, ""), "policy=''", "config.json"),
    "no policy": (EVALUATE, "--policies names none", "give baselines or run folders"),
    "twice": ((*EVALUATE, "random", "fixed", "random"), "'random' twice", "give each once"),
    "missing run": ((*EVALUATE, "runs/nowhere"), "policy='runs/nowhere'", "nor a run folder"),
    "file as run": ((*EVALUATE, "file"), "policy='file' is not a run folder", "config.json"),
    "empty run": ((*EVALUATE, "empty"), "policy='empty' is not a run folder", "config.json"),
    "run without model": ((*EVALUATE, "bare"), f"bare/{BEST} does not exist", "saved no model"),
    "run of another env": ((*EVALUATE, "other"), "policy='other' was trained on Other-v0", "not on LyaPPO-v0"),
    "damaged run": ((*EVALUATE, "damaged"), f"damaged/{CONFIG} is damaged", "use another run"),
    "damaged model": ((*EVALUATE, "half"), f"half/{BEST} is damaged", "use another model"),
    "run of other devices": ((*EVALUATE, "central"), "does not fit", "give the preset and parameters"),
    "name too long": ((*EVALUATE, "x" * 300), "File name too long", "name another"),
    "no seeds": ((*ENV, "--seeds", "0", "--policies", "fixed"), "--seeds 0", "at least 1"),
    "no episodes": ((*ENV, "--episodes", "-2", "--policies", "fixed"), "--episodes -2", "at least 1"),
    "json in no folder": ((*EVALUATE, "fixed", "--json", "no/where.json"), "--json no/where.json", "that exists"),
    "json under a file": ((*EVALUATE, "fixed", "--json", "file/x.json"), "--json file/x.json", "that exists"),
    "json is a folder": ((*EVALUATE, "fixed", "--json", "empty"), "--json empty", "name a file"),
}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A folder with everything that can be wrong with a run folder."""
    place = tmp_path_factory.mktemp("workshop")
    (place / "file").write_text("kept")
    (place / "empty").mkdir()
    (place / "full").mkdir()
    (place / "full" / "file").write_text("kept")
    (make_run(place / "bare").path / BEST).unlink()
    make_run(place / "other", "Other-v0")
    (make_run(place / "damaged").path / CONFIG).write_text('{"run": ')
    half = make_run(place / "half").path / BEST
    half.write_bytes(half.read_bytes()[:100])
    make_run(place / "central", policy="central")
    return place


def contents(place: Path) -> dict[str, bytes | None]:
    return {str(f.relative_to(place)): f.read_bytes() if f.is_file() else None for f in place.rglob("*")}


def forbidden(*args: Any, **kwargs: Any) -> Any:
    pytest.fail("work began before the input was checked")


@pytest.mark.parametrize(
    ("module", "case"),
    [(train, case) for case in BAD_TRAINING.values()] + [(evaluate, case) for case in BAD_EVALUATION.values()],
    ids=[f"train, {name}" for name in BAD_TRAINING] + [f"evaluate, {name}" for name in BAD_EVALUATION],
)
def test_bad_input_takes_one_line_and_leaves_nothing(workshop, monkeypatch, capsys, module, case):
    """At once: before any training, any evaluation, any file."""
    arguments, names, mends = case
    monkeypatch.chdir(workshop)
    monkeypatch.setattr(train, "train", forbidden)
    monkeypatch.setattr(comparing, "score", forbidden)
    before = contents(workshop)
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch, module, *arguments)
    out, err = capsys.readouterr()
    assert caught.value.code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert names in err
    assert mends in err
    assert contents(workshop) == before


@pytest.mark.parametrize(
    ("module", "arguments", "named"),
    [
        (train, (), "--env"),
        (train, (*ENV, "--steps", "many"), "many"),
        (train, (*ENV, "--agent", "dqn"), "'dqn'"),
        (train, (*ENV, "--policy", "both"), "'both'"),
        (train, (*ENV, "--hyperparameters", "best"), "'best'"),
        (train, (*ENV, "--no-such-option", "1"), "--no-such-option"),
        (evaluate, ENV, "--policies"),
        (evaluate, (*EVALUATE, "fixed", "--seeds", "x"), "x"),
    ],
)  # fmt: skip
def test_what_the_command_line_itself_refuses(monkeypatch, capsys, module, arguments, named):
    monkeypatch.setattr(train, "train", forbidden)
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch, module, *arguments)
    out, err = capsys.readouterr()
    assert caught.value.code == 2
    assert named in out + err
    assert "Traceback" not in out + err


def test_errors_as_a_process(workshop):
    """No traceback, no warning, nothing else on standard error; one of each script, for the start-up takes long."""
    for script, (arguments, names, _) in (
        ("train.py", BAD_TRAINING["key"]), ("evaluate.py", BAD_EVALUATION["damaged run"]),
    ):  # fmt: skip
        done = execute(script, *arguments, cwd=workshop)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith("error: ")
        assert names in done.stderr


def test_a_json_that_cannot_be_written_after_all(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(evaluate, "write_atomically", full)
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch, evaluate, *EVALUATE, "fixed", "--set", *SMALL, "--json", "out.json")
    out, err = capsys.readouterr()
    assert caught.value.code == 2
    assert table_rows(out) == ["fixed"]  # the numbers are not lost
    assert err == "error: --json out.json cannot be written (No space left on device)\n"
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_that_goes_away(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def full(self: Run, network: Any, name: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Run, "save_network", full)
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch, train, *ENV, *QUICK, "--set", *SMALL, "--run", "run")
    err = capsys.readouterr().err
    assert caught.value.code == 2
    assert "Traceback" not in err
    assert err.rstrip().split("\n")[-1].startswith("error: the run folder cannot be written ([Errno 28] No space left")


# Ctrl-C


def test_an_interrupt_ends_the_training_cleanly(tmp_path):
    """As Ctrl-C in a terminal: the signal, while steps are being taken."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *ENV, "--steps", "10000000", "--num-envs", "16", "--run", "run"],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell's background job would start with the signal ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        evaluated = tmp_path / "run" / EVALUATION
        patience = time.monotonic() + 60
        while not evaluated.exists() and time.monotonic() < patience:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "(interrupted; the model is saved)" in out
    assert out.endswith("run folder: run\ncurves: tensorboard --logdir .\n")
    assert {BEST, LAST, CONFIG, EVALUATION} <= {file.name for file in (tmp_path / "run").iterdir()}
    assert not list((tmp_path / "run").glob("*.tmp"))
    done = execute("evaluate.py", *EVALUATE, "fixed", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert table_rows(done.stdout) == ["fixed", "run"]


@pytest.mark.parametrize("where", ["score", "best"])
def test_an_interrupt_of_the_table_keeps_the_run(tmp_path, monkeypatch, capsys, where):
    monkeypatch.chdir(tmp_path)

    def stop(*args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(comparing, "score" if where == "score" else "make_baseline", stop)
    arguments = ("--steps", "64", "--num-envs", "16", "--run", "run", "--set", *SMALL)
    assert call(monkeypatch, train, *ENV, *arguments) == 130
    out = capsys.readouterr().out
    assert out.endswith("run folder: run\ncurves: tensorboard --logdir .\n")
    assert (tmp_path / "run" / LAST).exists()
    assert call(monkeypatch, evaluate, *EVALUATE, "fixed", "--set", *SMALL) == 130
    assert capsys.readouterr().out.strip() == "interrupted"


def test_an_interrupt_before_the_training(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def stop(*args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(learn, "make_worlds", stop)
    assert call(monkeypatch, train, *ENV, *QUICK, "--run", "run") == 130
    assert capsys.readouterr().out.strip() == "interrupted"


# The table


def test_the_table_marks_the_first_policy_and_unfinished_work(capsys):
    from rich.console import Console

    scores = {
        "good": {"power_mw": np.array([100.0, 102.0]), "reward": np.array([-4.0, -4.2])},
        "bad": {"power_mw": np.array([200.0, 204.0]), "reward": np.array([-9.0, -9.0])},
    }
    for label, ratio in (("good", 1.0), ("bad", 0.5)):
        scores[label]["finished_over_arrived"] = np.full(2, ratio)
    table = comparing.rich_table(scores, ("power_mw", "reward", "finished_over_arrived"), "title")
    Console(width=150, markup=False).print(table)
    out = capsys.readouterr().out
    good, bad = (line for line in out.split("\n") if line.strip().startswith(("good", "bad")))
    assert good.split()[:3] == ["good", "101", "±"]
    assert "%" not in good
    # 100 and 102 mW more than 101 mW on average.
    assert "+100.0 ± 13 %" in bad
    assert bad.split()[-1] == "0.500"
    assert [row.style for row in table.rows] == [None, "dim"]
