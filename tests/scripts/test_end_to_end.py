"""`train.py` and `evaluate.py` from end to end: what they print and what they leave."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import evaluate
import train
from agents.evaluation import comparison as comparing
from agents.hyperparameters.lookup import settings_for
from agents.hyperparameters.settings import Settings
from agents.networks.build import build_network, network_arrays
from agents.runs.folder import BEST, CONFIG, EVALUATION, LAST, Run
from edge_envs.lyappo.config import LyaPPOConfig
from tests.agents.toy import ToyConfig, ToySystem
from tests.agents.toy_runs import toy_run
from tests.scripts.running import ID, OTHERS, QUICK, SMALL, call, execute, make_run, policies, table_rows

BRIEF = {"imitation_steps": 5, "imitation_batch": 32}


def test_train_then_evaluate(tmp_path):
    """The two commands of the README, small: what they print, what they leave, and that the numbers agree."""
    done = execute("train.py", "--env", ID, "--set", *SMALL, *QUICK, "--seed", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("LyaPPO-v0__ppo__3__")
    assert policies(done.stdout) == ["best-fixed", "ppo-shared", *OTHERS]
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
    names = ("fixed", "random", folder.name)
    assert done.stderr.splitlines() == [
        *(f"playing {label} ({number} of 3)" for number, label in enumerate(names, 1)),
        *(f"timing decisions of {label} ({number} of 3)" for number, label in enumerate(names, 1)),
        f"{ID}: intervals, and one episode step by step",
    ]
    assert table_rows(done.stdout) == ["fixed", "random", folder.name]
    assert "2 seeds x 2 episodes" in done.stdout
    assert done.stdout.strip().split("\n")[-1] == "written: out.json"
    result = json.loads((tmp_path / "out.json").read_text())
    (section,) = result["environments"]
    assert [policy["label"] for policy in section["policies"]] == ["fixed", "random", folder.name]
    assert section["policies"][2]["runs"] == [run]
    assert section["options"] == {"num_devices": 2, "num_services": 1, "max_episode_steps": 10}
    assert (section["seeds"], section["episodes"]) == (2, 2)
    assert section["curves"][0]["steps"][-1] == 512
    assert {"versions", "git", "command"} <= result["provenance"].keys()
    scores = comparing.compare(
        [comparing.Entry("fixed"), comparing.Entry("mine", Run.open(folder))], ID, "default",
        document["run"]["options"], seeds=2, episodes=2,
    )  # fmt: skip
    for label, policy in (("fixed", section["policies"][0]), ("mine", section["policies"][2])):
        for metric, values in scores[label].episodes.items():
            assert policy["metrics"][metric]["by_episode"] == values.reshape(1, -1).tolist()


@pytest.mark.parametrize(
    "more",
    [
        ("--agent", "ddpg", "--set", *SMALL),
        ("--agent", "ddpg", "--set", *SMALL, "decision=joint"),
        ("--agent", "td3", "--set", *SMALL),
        ("--policy", "central", "--set", *SMALL, "decision=joint"),
        ("--preset", "dynamic", "--set", "max_episode_steps=10", "num_services=1"),
    ],
    ids=["ddpg", "ddpg, joint", "td3", "joint", "dynamic"],
)
def test_other_agents(tmp_path, monkeypatch, capsys, more):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edge_envs.lyappo.baselines.policies.TABLE_STEPS", 10)
    arguments = ("--env", ID, "--steps", "64", "--num-envs", "16", "--seeds", "1", "--episodes", "2", "--run", "run")
    assert call(monkeypatch, train, *arguments, *more) == 0
    out = capsys.readouterr().out
    first = {"ddpg": "ddpg-central", "td3": "td3-central", "central": "ppo-central", "dynamic": "ppo-shared"}[more[1]]
    assert policies(out) == ["best-fixed", first, *OTHERS, *(["regime-table"] if "dynamic" in more else [])]
    assert "inf" not in out  # one seed has no interval
    assert "nan" not in out
    assert Run.open(Path("run")).config.policy == ("shared" if "dynamic" in more else "central")


def train_the_toy(monkeypatch: pytest.MonkeyPatch, toy_id: str, *more: str) -> int:
    return call(monkeypatch, train, "--env", toy_id, "--steps", "64", "--num-envs", "16", "--run", "run", *more)


@pytest.mark.parametrize("agent", ["ppo", "ddpg", "td3"])
def test_a_wing_without_a_decision_and_without_its_bar(tmp_path, monkeypatch, capsys, toy_id, agent):
    """The trained agent is first where the baseline to beat does not exist; with it, it comes after."""
    monkeypatch.chdir(tmp_path)
    label = f"{agent}-{'shared' if agent == 'ppo' else 'central'}"
    more = ("--agent", agent, "--seeds", "2", "--episodes", "2", "--set")
    assert train_the_toy(monkeypatch, toy_id, *more, "box=true") == 0
    assert policies(capsys.readouterr().out) == [label, "random"]
    run = Run.open(Path("run"))
    assert run.config.settings == Settings(steps=64, num_envs=16)
    Path("run").rename("other")
    assert train_the_toy(monkeypatch, toy_id, *more, "box=false") == 0
    assert policies(capsys.readouterr().out) == ["wanted", label, "random"]


def test_a_training_without_a_whole_episode(tmp_path, monkeypatch, capsys, toy_id):
    monkeypatch.chdir(tmp_path)
    endless = ("--set", "max_episode_steps=100", "end_probability=0")
    assert train_the_toy(monkeypatch, toy_id, "--seeds", "0", *endless) == 0
    out = capsys.readouterr().out
    assert "no training episode ended" in out
    assert "give more --steps or a smaller --num-envs, so that every world takes the steps of a whole episode" in out
    assert "note: --steps 64 is rounded up to 256, whole updates\n" in out


def learn_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Imitation with few gradient steps."""
    monkeypatch.setattr(train, "settings_for", lambda *case: settings_for(*case).model_copy(update=BRIEF))


@pytest.mark.parametrize(
    ("arguments", "policy", "taken", "settings"),
    [
        (("--agent", "dagger"), "shared", 96, {"steps": 96, "imitation_frames": 2, "expert": "best"}),
        (("--agent", "dagger", "--policy", "pooled", "--expert", "stay"), "pooled", 96, {"expert": "stay"}),
        (("--agent", "member-ppo"), "pooled", 256, {"steps": 64, "imitation_rounds": 0, "expert": ""}),
        (("--policy", "pooled"), "pooled", 256, {"steps": 64}),
    ],
    ids=["dagger", "dagger, pooled", "member-ppo", "ppo, pooled"],
)  # fmt: skip
def test_agents_for_many_members(tmp_path, monkeypatch, capsys, crowd_id, arguments, policy, taken, settings):
    """Trained and compared; the network then acts for a larger crowd."""
    learn_briefly(monkeypatch)
    monkeypatch.chdir(tmp_path)
    sizes = ("--steps", "64", "--num-envs", "16", "--seeds", "2", "--episodes", "2")
    assert call(monkeypatch, train, "--env", crowd_id, "--run", "run", *sizes, *arguments) == 0
    out = capsys.readouterr().out
    config = Run.open(Path("run")).config
    assert policies(out) == ["best", f"{config.agent}-{policy}", "random", "stay"]
    assert f"{taken} steps in" in out
    assert "no training episode ended" not in out or config.agent != "dagger"
    assert f"note: --steps 64 is rounded up to {taken}, whole updates\n" in out
    assert (config.policy, config.settings.num_envs) == (policy, 16)
    assert {name: getattr(config.settings, name) for name in settings} == settings
    with Path("run", EVALUATION).open() as file:
        assert [row["step"] for row in csv.DictReader(file)][-1] == str(taken)
    evaluation = ("--policies", "best", "run", "--set", "count=7", "--seeds", "1", "--episodes", "2")
    assert call(monkeypatch, evaluate, "--env", crowd_id, *evaluation) == 0
    out = capsys.readouterr().out
    assert table_rows(out) == ["best", "run"]
    assert "note: run was trained on preset default" in out


def test_a_warm_start_by_name(tmp_path, monkeypatch, capsys, crowd_id):
    learn_briefly(monkeypatch)
    monkeypatch.chdir(tmp_path)
    arguments = ("--agent", "member-ppo", "--expert", "best", "--steps", "64", "--num-envs", "16", "--seeds", "0")
    assert call(monkeypatch, train, "--env", crowd_id, "--run", "run", *arguments) == 0
    settings = Run.open(Path("run")).config.settings
    assert (settings.imitation_rounds, settings.expert, settings.steps) == (3, "best", 64)
    assert f"{3 * 32 * 60 + 64 + 192} steps in" in capsys.readouterr().out  # PPO's steps come in whole updates of 256


def test_the_default_agent_is_the_environments():
    config = train.configure(train.Arguments("ECCNOMA-v0", seeds=0))
    assert (config.agent, config.policy, config.settings.expert) == ("dagger", "pooled", "coordinate-descent")
    assert config.settings == settings_for("ECCNOMA-v0", "dagger", "pooled", "")
    config = train.configure(train.Arguments("ECCNOMA-v0", agent="ppo", seeds=0))
    assert (config.policy, config.settings.imitation_rounds) == ("pooled", 0)
    assert train.configure(train.Arguments(ID, seeds=0)).agent == "ppo"


@pytest.mark.parametrize(
    ("steps", "num_envs", "frames", "shown"), [(None, 8, 60, 1440), (960, None, 10, 960), (1000, 8, 42, 1008)]
)
def test_steps_of_imitation_scale_its_frames(steps, num_envs, frames, shown):
    arguments = train.Arguments(ID, agent="dagger", steps=steps, num_envs=num_envs, seeds=0)
    settings = train.configure(arguments).settings
    assert (settings.imitation_frames, settings.steps, settings.demonstration_steps) == (frames, shown, shown)
    assert settings.imitation_worlds == settings.num_envs == (num_envs or 32)
    assert settings.expert == "best-fixed"


def test_episodes_and_warm_up_are_the_environments(tmp_path, monkeypatch, capsys, toy_id):
    """As many episodes as the system says unless given, and the table says what it leaves out."""
    monkeypatch.chdir(tmp_path)
    for episodes, fraction, said in ((16, 0.25, "without the first 25 %"), (3, 0.0, "over whole episodes")):
        if episodes != 16:
            monkeypatch.setattr(ToySystem, "evaluation_episodes", episodes)
            monkeypatch.setattr(ToySystem, "warmup_fraction", fraction)
        assert train_the_toy(monkeypatch, toy_id, "--seeds", "2") == 0
        out = capsys.readouterr().out
        assert f"2 seeds x {episodes} episodes" in out
        assert said in " ".join(out.split())
        Path("run").rename(f"run-{episodes}")
        for more, expected in (((), episodes), (("--episodes", "2"), 2)):
            arguments = ("--env", toy_id, "--policies", "wanted", "random", "--seeds", "2", "--json", "out.json")
            assert call(monkeypatch, evaluate, *arguments, *more) == 0
            out = capsys.readouterr().out
            assert f"2 seeds x {expected} episodes" in out
            assert said in " ".join(out.split())
            (section,) = json.loads(Path("out.json").read_text())["environments"]
            assert (section["episodes"], section["warmup_fraction"]) == (expected, fraction)


@pytest.mark.parametrize(
    ("options", "decision"),
    [((), "partition"), (("decision=joint",), "joint"), (("decision=partition",), "partition")],
)
def test_settings_are_those_of_the_decision_that_the_environment_has(monkeypatch, options, decision):
    asked: list[tuple[str, ...]] = []

    def note(*case: str) -> Settings:
        asked.append(case)
        return Settings()

    monkeypatch.setattr(train, "settings_for", note)
    config = train.configure(train.Arguments(ID, set=options, agent="td3"))
    assert asked == [(ID, "td3", "central", decision, "default", "default")]
    assert config.policy == "central"


def test_the_decision_may_come_from_a_preset(monkeypatch):
    monkeypatch.setitem(LyaPPOConfig.presets, "all", {"decision": "joint"})  # type: ignore[arg-type]
    config = train.configure(train.Arguments(ID, preset="all", policy="central"))
    assert config.settings == settings_for(ID, "ppo", "central", "joint")
    assert config.settings != settings_for(ID, "ppo", "central", "partition")


def test_the_last_network_has_a_row_where_it_scores_otherwise(tmp_path, monkeypatch, capsys, toy_id):
    """The best one chooses what the first member wants, so it hits two; the last one alike, and then hits one."""
    monkeypatch.chdir(tmp_path)
    run = toy_run(tmp_path / "run", toy_id)
    network = build_network("ppo", "shared", run.config.settings, ToySystem(ToyConfig()))
    arrays = network_arrays(network)
    arrays["action_net.weight"][:] = arrays["action_net.bias"][:] = 0.0
    for second, hits in ((0, None), (1, "1 ± 0")):
        for name, last in ((BEST, 0), (LAST, second)):
            arrays["action_net.bias"][:] = [0.0, 0.0, 1.0, *np.eye(4)[last]]
            run.save_tensors(arrays, name)
        assert call(monkeypatch, train, "--resume", "run", "--seeds", "2", "--episodes", "2") == 0
        lines = [line for line in capsys.readouterr().out.split("\n") if "±" in line]
        (best,) = (line for line in lines if line.startswith("ppo-shared (trained)"))
        assert "2 ± 0" in best
        last_rows = [line for line in lines if "last network" in line]
        assert len(last_rows) == (hits is not None)
        assert all(line.startswith("ppo-shared (last network)") and f" {hits} " in line for line in last_rows)


@pytest.mark.parametrize("learned", [False, True])
def test_an_untrained_network_in_the_table_is_reported(tmp_path, monkeypatch, capsys, toy_id, learned):
    monkeypatch.chdir(tmp_path)
    training = train.train
    monkeypatch.setattr(train, "train", lambda run, **more: replace(training(run, **more), learned=learned))
    for seeds in (0, 1):
        assert train_the_toy(monkeypatch, toy_id, "--seeds", str(seeds), "--episodes", "1") == 0
        assert ("note: no validation was better than the untrained" in capsys.readouterr().out) == (
            seeds and not learned
        )
        Path("run").rename(f"run-{seeds}")


def test_the_table_at_the_end_is_checked_before_the_training(monkeypatch):
    """Baselines act without the agent's `decision`; a configuration that has none fails at once, unless not needed."""
    asked: list[dict[str, object]] = []

    def note(env_id: str, preset: str, options: dict[str, object]) -> list[str]:
        asked.append(options)
        raise ValueError("no table")

    monkeypatch.setattr(train, "baseline_names", note)
    options = ("decision=joint", "num_devices=2")
    with pytest.raises(ValueError, match="no table"):
        train.configure(train.Arguments(ID, set=options))
    assert asked == [{"num_devices": 2}]
    train.configure(train.Arguments(ID, set=options, seeds=0))
    assert len(asked) == 1


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
    assert (
        capsys.readouterr().err
        == "error: run folder run exists already; give a new one with --run, or resume it with --resume\n"
    )
    assert {file.name: file.read_bytes() for file in Path("run").iterdir()} == before


def labels_in(file: Path) -> list[str]:
    """Labels in an evaluation's document."""
    return [policy["label"] for policy in json.loads(file.read_text())["environments"][0]["policies"]]


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
    assert labels_in(Path("a[/b].json")) == names
    arguments = ("--env", ID, "--steps", "64", "--num-envs", "16", "--seeds", "0", "--set", *SMALL)
    assert call(monkeypatch, train, *arguments, "--run", "a[/c]") == 0
    assert "run folder: a[/c]\n" in capsys.readouterr().out


def test_run_folders_of_the_same_name_are_distinguished(tmp_path, monkeypatch, capsys):
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
    assert labels_in(Path("out.json")) == labels


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
