"""What `train.py` and `evaluate.py` say to bad input."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import pytest

import evaluate
import train
from agents.evaluation import comparison as comparing
from agents.reports import files as report_files
from agents.runs.folder import BEST, CONFIG, Run
from experiments.shared.common import command
from tests.scripts.running import ENV, EVALUATE, ID, QUICK, SMALL, call, execute, make_run, table_rows

BAD_TRAINING = {
    "unknown env": (("--env", "LyaPO-v0"), "env='LyaPO-v0' does not exist", "did you mean 'LyaPPO-v0'?"),
    "env of others": (("--env", "CartPole-v1"), "env='CartPole-v1' does not exist", "known: "),
    "empty env": (("--env", ""), "env=''", "known: "),
    "preset": ((*ENV, "--preset", "hrad"), "preset='hrad' does not exist", "did you mean 'hard'?"),
    "key": (
        (*ENV, "--set", "num_devcies=3"),
        "unexpected keyword argument 'num_devcies'",
        "did you mean 'num_devices'?",
    ),
    "value": ((*ENV, "--set", "num_devices=0"), "num_devices=0 is not possible", "greater than or equal to 1"),
    "word for a number": ((*ENV, "--set", "num_devices=four"), "num_devices='four'", "valid integer"),
    "not a number": ((*ENV, "--set", "slot_s=NaN"), "slot_s=nan", "finite"),
    "network": ((*ENV, "--set", 'networks=["resnet19@96"]', "num_services=1"), "resnet19", "resnet18"),
    "two values": (
        (*ENV, "--set", "distance_min_m=300"),
        "distance_min_m=300 is above distance_max_m=250",
        "swap them",
    ),
    "no =": ((*ENV, "--set", "num_devices"), "'num_devices'", "key=value"),
    "twice": ((*ENV, "--set", "k_min=1", "k_min=0"), "'k_min' twice", "give it once"),
    "preset by set": ((*ENV, "--set", "preset=hard"), "preset='hard'", "cannot be given with --set"),
    "num_envs by set": ((*ENV, "--set", "num_envs=3"), "num_envs=3", "cannot be given with --set"),
    "system by set": ((*ENV, "--set", "system=os:path"), "system='os:path'", "cannot be given with --set"),
    "no episode": ((*ENV, "--set", "max_episode_steps=null"), "max_episode_steps=None", "whole number"),
    "decision": ((*ENV, "--set", "decision=both"), "decision='both'", "'partition' or 'joint'"),
    "no paper": ((*ENV, "--agent", "td3", "--hyperparameters", "paper"), "no paper trains td3", "default"),
    "no paper for imitation": ((*ENV, "--agent", "dagger", "--hyperparameters", "paper"), "trains dagger", "default"),
    "member-ppo, shared": (
        (*ENV, "--agent", "member-ppo", "--policy", "shared"),
        "--agent member-ppo cannot learn --policy shared",
        "use --policy pooled",
    ),
    "ddpg, pooled": (
        (*ENV, "--agent", "ddpg", "--policy", "pooled"),
        "cannot learn --policy pooled",
        "shared or central",
    ),
    "pooled, two indices": ((*ENV, "--policy", "pooled"), "one index per member", "use --policy shared"),
    "member-ppo, two indices": ((*ENV, "--agent", "member-ppo"), "one index per member", "--agent ppo --policy shared"),
    "pooled, box": (
        (*ENV, "--agent", "dagger", "--policy", "pooled", "--set", "decision=joint"),
        "acts in Box",
        "use --policy shared",
    ),
    "expert": ((*ENV, "--agent", "dagger", "--expert", "fixd"), "--expert='fixd'", "did you mean 'fixed'?"),
    "expert for ppo": ((*ENV, "--expert", "locl"), "--expert='locl'", "did you mean 'local'?"),
    "no expert": ((*ENV, "--expert", ""), "--expert=''", "known: "),
    "expert for td3": (
        (*ENV, "--agent", "td3", "--expert", "fixed"),
        "td3 does not imitate a baseline",
        "leave out --expert",
    ),
    "no expert here": (
        (*ENV, "--agent", "dagger", "--set", "decision=joint"),
        "--agent dagger imitates 'best-fixed' by default, which does not exist",
        "give another baseline with --expert; known: random",
    ),
    "no steps to show": ((*ENV, "--agent", "dagger", "--steps", "0"), "--steps 0", "greater than or equal to 1"),
    "no worlds to show": ((*ENV, "--agent", "dagger", "--num-envs", "0"), "--num-envs 0", "greater than or equal to 1"),
    "no steps": ((*ENV, "--steps", "0"), "--steps 0", "greater than or equal to 1"),
    "negative steps": ((*ENV, "--steps", "-5"), "--steps -5", "greater than or equal to 1"),
    "steps in words": ((*ENV, "--steps", "1e4"), "--steps '1e4' is not possible", "give a whole number"),
    "seed in words": ((*ENV, "--seed", "one"), "--seed 'one' is not possible", "give a whole number"),
    "time in words": ((*ENV, "--checkpoint-every", "often"), "--checkpoint-every 'often'", "give a number"),
    "agent": ((*ENV, "--agent", "sac"), "--agent 'sac' does not exist; known: dagger, ddpg, member-ppo, ppo, td3", ""),
    "no value": ((*ENV, "--steps"), "--steps is given without a value", "give one"),
    "option nearly": ((*ENV, "--agnet", "ppo"), "--agnet does not exist", "did you mean --agent?"),
    "option": ((*ENV, "--sdfjk", "3"), "--sdfjk does not exist", "--help lists all options"),
    "no worlds": ((*ENV, "--num-envs", "0"), "--num-envs 0", "greater than or equal to 1"),
    "too many worlds": ((*ENV, "--num-envs", "1000000"), "--num-envs 1000000", "less than or equal to 65536"),
    "negative seed": ((*ENV, "--seed", "-1"), "--seed=-1", "from 0 to 4294967295"),
    "large seed": ((*ENV, "--seed", "4294967296"), "--seed=4294967296", "from 0 to 4294967295"),
    "seeds": ((*ENV, "--seeds", "-1"), "--seeds=-1", "whole number >= 0"),
    "episodes": ((*ENV, "--episodes", "0"), "--episodes=0", "whole number >= 1"),
    "run under a file": ((*ENV, "--run", "file/run"), "file/run cannot be written", "--run"),
    "run that is a file": ((*ENV, "--run", "file"), "run folder file exists already", "--run"),
    "run that is full": ((*ENV, "--run", "full"), "run folder full exists already", "--run"),
    "run with too long a name": ((*ENV, "--run", "x" * 300), "cannot be written (File name too long)", "--run"),
}
BAD_EVALUATION = {
    "unknown env": (("--env", "LyaPO-v0", "--policies", "fixed"), "env='LyaPO-v0'", "did you mean 'LyaPPO-v0'?"),
    "preset": ((*EVALUATE, "fixed", "--preset", "hrad"), "preset='hrad'", "did you mean 'hard'?"),
    "key": ((*EVALUATE, "fixed", "--set", "num_devcies=3"), "'num_devcies'", "did you mean 'num_devices'?"),
    "value": ((*EVALUATE, "fixed", "--set", "num_devices=-1"), "num_devices=-1", "greater than or equal to 1"),
    "no =": ((*EVALUATE, "fixed", "--set", "k_min"), "'k_min'", "key=value"),
    "policy": ((*EVALUATE, "fixd"), "policy='fixd' is neither a baseline, an ablation", "did you mean 'fixed'?"),
    "policy after others": ((*EVALUATE, "random", "loca"), "policy='loca'", "did you mean 'local'?"),
    "baseline of cuts": ((*EVALUATE, "fixed", "--set", "decision=joint"), "policy='fixed'", "known: random"),
    "baseline of dynamics": ((*EVALUATE, "regime-table"), "policy='regime-table'", "known: "),
    "empty policy": ((*EVALUATE, ""), "policy='' is empty", "give a baseline"),
    "no policy": (EVALUATE, "--policies is empty", "give baselines or run folders"),
    "twice": ((*EVALUATE, "random", "fixed", "random"), "'random' twice", "give each once"),
    "missing run": (
        (*EVALUATE, "runs/nowhere"),
        "policy='runs/nowhere'",
        "nor an agent as MODULE:FACTORY",
    ),
    "file as run": ((*EVALUATE, "file"), "policy='file' is not a run folder", "config.json"),
    "empty run": ((*EVALUATE, "empty"), "policy='empty' is not a run folder", "config.json"),
    "run without model": ((*EVALUATE, "bare"), f"bare/{BEST} does not exist", "saved no model"),
    "run of another env": ((*EVALUATE, "other"), "policy='other' was trained on Other-v0", "not on LyaPPO-v0"),
    "damaged run": ((*EVALUATE, "damaged"), f"damaged/{CONFIG} is damaged", "use another run"),
    "damaged model": ((*EVALUATE, "half"), f"half/{BEST} is damaged", "use another model"),
    "run of other devices": ((*EVALUATE, "central"), "does not fit", "give the preset and parameters"),
    "name too long": ((*EVALUATE, "x" * 300), "File name too long", "name another"),
    "no seeds": ((*ENV, "--seeds", "0", "--policies", "fixed"), "--seeds=0", "whole number >= 1"),
    "no episodes": ((*ENV, "--episodes", "-2", "--policies", "fixed"), "--episodes=-2", "whole number >= 1"),
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
    arguments, names, fix = case
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
    assert fix in err
    assert contents(workshop) == before


@pytest.mark.parametrize(
    ("module", "arguments", "named"),
    [
        (train, (), "--env"),
        (train, (*ENV, "--steps", "many"), "many"),
        (train, (*ENV, "--agent", "dqn"), "'dqn'"),
        (train, (*ENV, "--episodes", "few"), "few"),
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
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert named in err


@pytest.mark.parametrize("agent", ["ddpg", "td3"])
@pytest.mark.parametrize("policy", ["shared", "central"])
def test_actions_that_no_box_stands_for(tmp_path, monkeypatch, capsys, toy_id, agent, policy):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "train", forbidden)
    arguments = ("--env", toy_id, "--agent", agent, "--policy", policy, "--set", "first=1")
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch, train, *arguments)
    out, err = capsys.readouterr()
    assert (caught.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: --agent {agent} cannot control this environment (")
    assert err.endswith("; use --agent ppo\n")
    assert list(tmp_path.iterdir()) == []


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

    monkeypatch.setattr(report_files, "write_atomically", full)
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch, evaluate, *EVALUATE, "fixed", "--set", *SMALL, "--json", "out.json")
    out, err = capsys.readouterr()
    assert caught.value.code == 2
    assert table_rows(out) == ["fixed"]  # the numbers are not lost
    *progress, last = err.splitlines()
    assert last == "error: --json out.json cannot be written (No space left on device)"
    assert all(line.startswith(("playing ", "timing ", f"{ID}: ")) for line in progress)
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
    assert err.rstrip().split("\n")[-1].startswith("error: run folder run cannot be written ([Errno 28] No space left")


EXPERIMENTS = ("dtirs", "dtirs_paper", "eccnoma", "eccnoma_paper", "lyappo", "semcom", "semcom_paper")
BAD_EXPERIMENTS: dict[str, tuple[tuple[str, ...], str]] = {
    "count": (("--seeds", "-1"), "--seeds=-1 is not possible; give a whole number >= 1"),
    "draws": (("--draws", "0"), "--draws=0 is not possible; give a whole number >= 1"),
    "word": (("--seeds", "few"), "--seeds 'few' is not possible; give a whole number"),
    "folder": (("--out", "file/results"), "the results cannot be written"),
    "option": (("--otu", "x"), "--otu does not exist; did you mean --out?"),
}


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("what", BAD_EXPERIMENTS)
def test_experiments(tmp_path, monkeypatch, capsys, name, what):
    words, message = BAD_EXPERIMENTS[what]
    module = importlib.import_module(f"experiments.{name}")
    known = {field.name for field in dataclasses.fields(module.Arguments)}
    if what not in ("folder", "option") and words[0].removeprefix("--") not in known:
        pytest.skip("it has no such option")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("sys.argv", [name, *words])
    with pytest.raises(SystemExit) as caught:
        command(module.Arguments, module.__doc__, lambda _: pytest.fail("it ran"))
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
