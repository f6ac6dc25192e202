"""`evaluate.py`: the documented agent, all outputs, the benchmark, and what it says to bad input."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import evaluate
from agents.evaluation import comparison as comparing
from agents.hyperparameters.settings import Settings
from agents.reports.schema import checked
from agents.runs.folder import BEST, FINISHED, Run, RunConfig
from agents.runs.provenance import stamp
from tests.agents.crowd import CROWD
from tests.agents.toy import TOY
from tests.agents.toy_runs import toy_run
from tests.scripts.running import ENV, EVALUATE, ID, ROOT, SMALL, call, environment, execute, table_rows

PAGE = (ROOT / "docs" / "evaluation.md").read_text()
BRIEF = ("--seeds", "2", "--episodes", "2")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that bad input takes, before any scoring."""

    def forbidden(*args: Any, **kwargs: Any) -> Any:
        pytest.fail("work began before the input was checked")

    with monkeypatch.context() as patch:
        patch.setattr(comparing, "score", forbidden)
        with pytest.raises(SystemExit) as caught:
            call(patch, evaluate, *arguments)
    out, err = capsys.readouterr()
    assert (caught.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    return err


def test_the_documented_agent_plays(place, monkeypatch, capsys):
    """The page's block as `mine.py`, with the page's command in a small system."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(block.strip().split("\n")) <= 25
    assert "stable_baselines3" not in block
    command = "evaluate.py --env LyaPPO-v0 --policies best-fixed mine:make\n"
    assert command in PAGE
    Path("mine.py").write_text(block)
    arguments = command.split()[1:]
    assert call(monkeypatch, evaluate, *arguments, *BRIEF, "--set", *SMALL, "--json", "out.json") == 0
    assert table_rows(capsys.readouterr().out) == ["best-fixed", "mine:make"]
    (section,) = json.loads(Path("out.json").read_text())["environments"]
    mine = section["policies"][1]
    assert (mine["kind"], mine["runs"], mine["training"]) == ("custom", [], None)
    assert mine["metrics"]["power_mw"]["mean"] != section["policies"][0]["metrics"]["power_mw"]["mean"]
    assert "mine:make" in section["episode"]["series"]
    # It plays where members have several choices and in another system alike.
    assert call(monkeypatch, evaluate, "--env", "ECCNOMA-v0", "--policies", "mine:make", "--seeds", "1", "--episodes",
                "1", "--set", "max_episode_steps=2", "num_users=3") == 0  # fmt: skip


def test_an_agent_as_a_process(place):
    """The module is found in the working directory, whatever folder the script is in."""
    Path("late.py").write_text(
        "class Late:\n"
        "    def predict(self, observation, state=None, episode_start=None, deterministic=False):\n"
        "        if len(observation) > 1:\n"
        "            raise RuntimeError('no batch')\n"
        "        return self.space.sample()[None], state\n"
        "def make(env):\n    agent = Late()\n    agent.space = env.single_action_space\n    return agent\n"
    )
    done = execute("evaluate.py", *EVALUATE, "late:make", "--set", *SMALL, cwd=place)
    assert done.returncode == 0, done.stderr
    done = execute("evaluate.py", *ENV, *BRIEF, "--policies", "late:make", "--set", *SMALL, cwd=place)
    assert (done.returncode, done.stdout, done.stderr.count("error: ")) == (2, "", 1)
    assert done.stderr.count("\n") == 2  # after what was played
    assert "policy='late:make': predict failed at" in done.stderr
    assert "late.py:4 (RuntimeError: no batch)" in done.stderr


def test_all_outputs_hold_the_same_numbers(place, monkeypatch, capsys, toy_id):
    for seed in range(2):
        toy_run(Path(f"runs/{seed}"), seed=seed)
    names = ("wanted", "ours=runs/0,runs/1", "random")
    files = ("--json", "a.json", "--csv", "a.csv", "--markdown", "a.md")
    assert call(monkeypatch, evaluate, "--env", TOY, *BRIEF, "--policies", *names, *files) == 0
    out = capsys.readouterr().out
    assert table_rows(out) == ["wanted", "ours", "random"]
    assert "ms/decision" in out
    assert "bootstrap" in out
    assert out.split("written: ")[1:] == ["a.json\n", "a.csv\n", "a.md\n"]
    assert sorted(path.name for path in place.iterdir()) == ["a.csv", "a.json", "a.md", "runs"]
    document = json.loads(Path("a.json").read_text())
    checked(document)
    assert "scores" not in document
    mean = document["environments"][0]["policies"][1]["metrics"]["hits"]["mean"]
    with Path("a.csv").open() as file:
        found = {(row["policy"], row["metric"], row["statistic"]): row["value"] for row in csv.DictReader(file)}
    assert float(found["ours", "hits", "mean"]) == mean
    (row,) = (line for line in Path("a.md").read_text().split("\n") if line.startswith("| ours | learned |"))
    assert f"| {mean:.4g} [" in row


def test_files_are_written_before_anything_is_printed(place, monkeypatch, capsys, toy_id):
    """No console, and no reader of a pipe that leaves, costs the results."""
    plain, found = evaluate.show, []

    def show(*arguments: Any) -> None:
        found.append((sorted(path.name for path in place.iterdir()), capsys.readouterr().out))
        plain(*arguments)
        raise BrokenPipeError

    monkeypatch.setattr(evaluate, "show", show)
    with pytest.raises(BrokenPipeError):
        evaluate.score_and_show(evaluate.Arguments(
            env=TOY, policies=("wanted",), seeds=1, episodes=2, json=Path("a.json"), csv=Path("a.csv"),
        ), Console())  # fmt: skip
    assert found == [(["a.csv", "a.json"], "")]


def test_an_ascii_console_has_a_plain_table(place):
    done = subprocess.run(
        [sys.executable, str(ROOT / "evaluate.py"), *ENV, *BRIEF, "--policies", "fixed", "random", "--set", *SMALL,
         "--json", "a.json"],
        cwd=place, env=environment() | {"PYTHONIOENCODING": "ascii"}, capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = done.stdout.decode("ascii")
    head, *rows = [line for line in out.split("\n") if line.startswith(("policy", "fixed", "random"))]
    assert head.split("|")[1].strip() == "power_mw"
    assert {len(line.rstrip()) for line in rows} == {len(head.rstrip())}
    assert [" +- " in line for line in rows] == [True, True]
    assert "\\x" not in out
    assert "\\u" not in out
    assert json.loads((place / "a.json").read_text())["environments"]


def test_trainings_and_commit_stand_under_each_table(place, monkeypatch, capsys, toy_id):
    for seed in range(2):
        toy_run(Path(f"runs/{seed}"), seed=seed)
    names = ("wanted", "ours=runs/0,runs/1", "one=runs/0")
    assert call(monkeypatch, evaluate, "--env", TOY, *BRIEF, "--policies", *names, "--markdown", "a.md") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "resamples of the 4 episodes and, in rows with several trainings, of the trainings" in out
    assert f"trainings: ours 2, one 1; {stamp()}" in out
    text = Path("a.md").read_text()
    rows = {line.split(" | ")[0]: line.split(" | ")[2] for line in text.split("\n") if line.startswith("| ")}
    assert (rows["| policy"], rows["| ours"], rows["| one"], rows["| wanted"]) == ("trainings", "2", "1", "")
    under = " ".join(text.split("\n| one |")[1].split())
    assert "percentile bootstrap intervals" in under
    assert f" {stamp()}." in under


def test_what_to_know_of_runs_is_noted(place, monkeypatch, capsys, toy_id):
    toy_run(Path("runs/a"))
    (toy_run(Path("runs/b"), seed=1, options={"offset": 2.0}).path / FINISHED).unlink()
    files = ("--json", "a.json", "--report", "a.html")
    assert call(monkeypatch, evaluate, "--env", TOY, *BRIEF, "--policies", "runs/a", "runs/b", *files) == 0
    where = "b was trained on preset default offset=2.0; use --preset and --set to evaluate it there"
    notes = [where, "runs/b is not finished"]
    out = capsys.readouterr().out
    assert [line for line in out.split("\n") if line.startswith("note: ")] == [f"note: {note}" for note in notes]
    assert json.loads(Path("a.json").read_text())["notes"] == notes
    assert json.dumps(notes, separators=(",", ":")) in Path("a.html").read_text()


@pytest.fixture
def benchmark(place, monkeypatch, toy_id, crowd_id):
    """Two small environments in place of those of the package, and a run of each."""
    monkeypatch.setattr(evaluate, "known_ids", lambda: [TOY, CROWD])
    for seed in range(2):
        toy_run(Path(f"runs/toy-{seed}"), seed=seed)
    toy_run(Path("runs/crowd"), CROWD)
    toy_run(Path("runs/shifted"), options={"offset": 2.0})
    return place


def stable(file: str) -> Any:
    """A document without what may change from one time to the next."""
    document = json.loads(Path(file).read_text())
    del document["provenance"]
    for section in document["environments"]:
        for policy in section["policies"]:
            del policy["latency_ms"]
    return document


def test_the_benchmark(benchmark, monkeypatch, capsys):
    files = ("--json", "a.json", "--csv", "a.csv", "--markdown", "a.md")
    assert call(monkeypatch, evaluate, "--all", *BRIEF, *files) == 0
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert f"{TOY}, preset default: 2 seeds x 2 episodes" in out
    assert f"{CROWD}, preset default: 2 seeds x 2 episodes" in out
    assert "note: skipped runs/shifted: it was trained on preset default offset=2.0, which is not the default\n" in out
    document = json.loads(Path("a.json").read_text())
    checked(document)
    assert document["notes"] == [line.removeprefix("note: ") for line in out.split("\n") if line.startswith("note: ")]
    assert [section["env_id"] for section in document["environments"]] == [TOY, CROWD]
    toy, crowd = ({policy["label"]: policy for policy in each["policies"]} for each in document["environments"])
    assert list(toy) == ["wanted", "random", "ppo-shared"]
    assert list(crowd) == ["best", "random", "stay", "ppo-shared"]
    assert toy["ppo-shared"]["runs"] == ["runs/toy-0", "runs/toy-1"]
    for policies, bar in ((toy, "wanted"), (crowd, "best")):
        low, high = (policies[label]["metrics"]["reward"]["mean"] for label in ("random", bar))
        for policy in policies.values():
            expected = (policy["metrics"]["reward"]["mean"] - low) / (high - low)
            assert policy["normalised"]["mean"] == pytest.approx(expected)
        ranked = sorted(policies.values(), key=lambda policy: policy["rank"])
        rewards = [policy["metrics"]["reward"]["mean"] for policy in ranked]
        assert rewards == sorted(rewards, reverse=True)
    scores = {row["label"]: row for row in document["scores"]}
    assert set(scores) == {"random", "ppo-shared"}
    learned = [policies["ppo-shared"]["normalised"]["mean"] for policies in (toy, crowd)]
    assert list(scores["ppo-shared"]["by_env"].values()) == pytest.approx(learned)
    assert scores["ppo-shared"]["mean"] == pytest.approx(sum(learned) / 2)
    assert "# Normalised scores" in Path("a.md").read_text()
    assert call(monkeypatch, evaluate, "--all", *BRIEF, "--json", "b.json") == 0
    assert stable("a.json") == stable("b.json")


def test_the_benchmark_of_baselines_alone(benchmark, monkeypatch, capsys):
    assert call(monkeypatch, evaluate, "--all", "--baselines-only", *BRIEF, "--json", "a.json") == 0
    assert "note" not in capsys.readouterr().out
    document = json.loads(Path("a.json").read_text())
    kinds = {policy["kind"] for section in document["environments"] for policy in section["policies"]}
    assert kinds == {"baseline"}


def test_the_benchmarks_own_environments():
    assert evaluate.known_ids() == [ID, "DTIRS-v0", "ECCNOMA-v0", "SemCom-v0"]


@pytest.mark.parametrize(
    ("arguments", "names", "fix"),
    [
        ((), "--env is missing", "--all"),
        (("--all", *ENV), "--env cannot be combined with --all", "leave it out"),
        (("--all", "--policies", "random"), "--policies cannot be combined with --all", "leave it out"),
        (("--all", "--preset", "hard"), "--preset cannot be combined with --all", "leave it out"),
        (("--all", "--set", "num_devices=3"), "--set cannot be combined with --all", "leave it out"),
        ((*EVALUATE, "fixed", "--runs", "runs"), "--runs can be used with --all only", "leave it out"),
        ((*EVALUATE, "fixed", "--baselines-only"), "--baselines-only can be used with --all only", "leave it out"),
        (("--all", "--baselines-only", "--runs", "runs"), "--runs runs cannot be combined with", "leave out one"),
        (("--all",), "--runs runs is not a folder", "train an agent with train.py"),
        (("--all", "--runs", "file"), "--runs file is not a folder", "--baselines-only"),
        (("--all", "--runs", "empty"), "--runs empty contains no run of a default preset", "--baselines-only"),
        (("--all", "--runs", "others"), "others/a: it was trained on preset default num_devices=2", "--runs"),
        (("--all", "--seeds", "-1"), "--seeds=-1", ">= 1"),
        (("--all", "--episodes", "0"), "--episodes=0", ">= 1"),
        (("--all", "--json", "no/where.json"), "--json no/where.json", "that exists"),
        ((*EVALUATE, "fixed", "--csv", "no/x.csv"), "--csv no/x.csv cannot be written", "that exists"),
        ((*EVALUATE, "fixed", "--markdown", "empty"), "--markdown empty cannot be written", "name a file"),
        ((*EVALUATE, "fixed", "--json", "/dev/null"), "--json /dev/null is not a regular file", "name another"),
        ((*EVALUATE, "fixed", "--csv", "null"), "--csv null is not a regular file", "name another"),
        ((*EVALUATE, "fixed", "--csv", "loop/x"), "--csv loop/x cannot be written", "that exists"),
        ((*EVALUATE, "fixed", "--set", "self=1"), "self=1 is not a parameter", "cannot be given with --set"),
        ((*EVALUATE, "fixed", "--report", "file/x.html"), "--report file/x.html cannot be written", "that exists"),
        ((*EVALUATE, "fixed", "--csv", "x", "--json", "./x"), "--json x is named twice", "a file of its own"),
        ((*EVALUATE, "runs/*"), "policy='runs/*' matches no run folder", "another pattern"),
        ((*EVALUATE, "others/*"), "policy='others/*' mixes trainings", "only in the seed"),
        ((*EVALUATE, "others/a,others/c"), "others/c has policy='central', others/a has 'shared'", "only in the seed"),
        ((*EVALUATE, "others/a,others/a2"), "two runs with seed 0", "give one of them"),
        ((*EVALUATE, "others/a,"), "has an empty item", "with commas"),
        ((*EVALUATE, "others/a,others/hollow"), f"others/hollow/{BEST} does not exist", "no model"),
        ((*EVALUATE, "x=fixed", "x=local"), "the label 'x'", "NAME=POLICY"),
        ((*EVALUATE, "=fixed"), "policy='=fixed'", "give both"),
        ((*EVALUATE, "nothing_here:make"), "there is no module 'nothing_here'", "can be imported from"),
        ((*EVALUATE, "json:nothing"), "json has no 'nothing'", "define it there"),
        ((*EVALUATE, "math:pi"), "pi cannot be called", "give a function"),
        ((*EVALUATE, "builtins:id"), "which has no predict", "return an agent"),
    ],
)  # fmt: skip
def test_bad_input(place, monkeypatch, capsys, arguments, names, fix):
    Path("file").write_text("")
    Path("empty").mkdir()
    Path("null").symlink_to("/dev/null")
    Path("loop").symlink_to("loop")
    if any("others" in each for each in arguments):
        for name, more in (("a", {}), ("a2", {}), ("c", {"policy": "central", "seed": 2}), ("hollow", {"seed": 3})):
            toy_run(Path("others") / name, ID, options={"num_devices": 2}, **more)
        (Path("others/hollow") / BEST).unlink()
    before = sorted(place.rglob("*"))
    err = refused(monkeypatch, capsys, *arguments)
    assert names in err
    assert fix in err
    assert sorted(place.rglob("*")) == before


def test_a_report_without_plotly(place, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "plotly", None)
    err = refused(monkeypatch, capsys, *EVALUATE, "fixed", "--report", "x.html")
    assert "plotly" in err
    assert "pip install 'edge-envs[train]'" in err


def test_links_that_lead_nowhere_are_replaced(place, monkeypatch, toy_id):
    for name, target in (("loop", "loop"), ("dangling", "nowhere")):
        Path(name).symlink_to(target)
    files = ("--csv", "loop", "--json", "dangling")
    assert call(monkeypatch, evaluate, "--env", TOY, *BRIEF, "--policies", "wanted", *files) == 0
    assert all(Path(name).is_file() and not Path(name).is_symlink() for name in ("loop", "dangling"))


def test_a_folder_that_cannot_be_written(place, monkeypatch, capsys):
    """Reported before the work; as root nothing is read-only, so the system's answer is made up."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(evaluate.tempfile, "TemporaryFile", refuse)
    err = refused(monkeypatch, capsys, *EVALUATE, "fixed", "--json", "x.json")
    assert err == "error: --json x.json cannot be written (Read-only file system); name another folder\n"


def test_one_file_that_fails_does_not_cost_the_others(place, monkeypatch, capsys, toy_id):
    Path("a.csv").mkdir()
    monkeypatch.setattr(evaluate, "check_files", lambda files: None)
    files = ("--json", "a.json", "--csv", "a.csv", "--markdown", "a.md")
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch, evaluate, "--env", TOY, *BRIEF, "--policies", "wanted", *files)
    out, err = capsys.readouterr()
    assert caught.value.code == 2
    assert err.splitlines()[-1] == "error: --csv a.csv cannot be written (Is a directory)"
    assert out.endswith("written: a.json\nwritten: a.md\n")
    checked(json.loads(Path("a.json").read_text()))


def test_a_report(place, monkeypatch, capsys, toy_id):
    assert (
        call(monkeypatch, evaluate, "--env", TOY, *BRIEF, "--policies", "wanted", "random", "--report", "a.html") == 0
    )
    assert capsys.readouterr().out.endswith("written: a.html\n")
    assert "<html" in Path("a.html").read_text()[:1000]


def test_a_run_with_settings_that_cannot_be_built(place, monkeypatch, capsys):
    """A valid configuration that no network fits."""
    Run.create(RunConfig(env_id=ID, agent="dagger", settings=Settings(imitation_rounds=0)), Path("runs/odd"))
    err = refused(monkeypatch, capsys, *EVALUATE, "runs/odd")
    assert "runs/odd" in err
