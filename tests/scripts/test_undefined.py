"""A metric that is NaN, as a certificate is where nothing is certified: through training, resume and all outputs."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import evaluate
import train
from agents.reports.schema import checked
from agents.runs.folder import EVALUATION
from agents.training import record
from tests.agents.toy import TOY_STEPS, UnboundedToy, UncertainToy
from tests.scripts.running import call
from tests.scripts.stopping.test_kills import curves, hashes

ID = "Uncertain-v0"
TRAIN = ("--env", ID, "--steps", "256", "--num-envs", "4", "--seeds", "2", "--episodes", "2")


@pytest.fixture(autouse=True)
def registered(tmp_path, monkeypatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    gym.register(
        id=ID,
        entry_point="edge_envs.core.env:EdgeEnv",
        vector_entry_point="edge_envs.core.env:EdgeVectorEnv",
        max_episode_steps=TOY_STEPS,
        kwargs={"system": f"{UncertainToy.__module__}:UncertainToy"},
    )
    yield
    del gym.registry[ID]


def refuse(constant: str) -> None:
    pytest.fail(f"{constant} is no JSON")


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_training_and_its_outputs(monkeypatch, capsys):
    assert call(monkeypatch, train, *TRAIN, "--run", "run") == 0
    out = capsys.readouterr().out
    assert any(line.split()[0] == "wanted" and "n/a" in line for line in out.split("\n") if line.strip())
    assert "nan" not in out
    with Path("run", EVALUATION).open() as file:
        assert {row["certificate"] for row in csv.DictReader(file)} == {"nan"}
    events = EventAccumulator("run")
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"validation/hits", "validation/reward"} <= tags
    assert not [tag for tag in tags if "certificate" in tag]

    files = ("--json", "a.json", "--csv", "a.csv", "--markdown", "a.md", "--report", "a.html")
    policies = ("--policies", "wanted", "run", "random", "--seeds", "2", "--episodes", "2")
    assert call(monkeypatch, evaluate, "--env", ID, *policies, *files) == 0
    out = capsys.readouterr().out
    assert "nan" not in out
    assert out.count("n/a") == 3

    document = json.loads(Path("a.json").read_text(), parse_constant=refuse)
    checked(document)
    (section,) = document["environments"]
    for policy in section["policies"]:
        found = policy["metrics"]["certificate"]
        assert {found[name] for name in ("mean", "low", "high", "iqm", "difference")} <= {None, 0.0}
        assert found["by_episode"] == [[None] * 4]
    assert section["curves"][0]["metrics"]["certificate"] == [None] * len(section["curves"][0]["steps"])
    assert set(section["episode"]["series"]["run"]["certificate"]) == {None}
    with Path("a.csv").open() as file:
        values = {row["value"] for row in csv.DictReader(file) if row["metric"] == "certificate"}
    assert values <= {"", "0.0"}
    assert "| n/a |" in Path("a.md").read_text()
    assert '"certificate":{"mean":null' in Path("a.html").read_text()


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_an_infinite_certificate(monkeypatch, capsys):
    """JSON has no number for it, and its curve is no reason to leave out the others."""
    gym.registry[ID].kwargs["system"] = f"{UnboundedToy.__module__}:UnboundedToy"
    assert call(monkeypatch, train, *TRAIN, "--run", "run") == 0
    capsys.readouterr()
    with Path("run", EVALUATION).open() as file:
        assert {row["certificate"] for row in csv.DictReader(file)} == {"inf"}
    files = ("--json", "a.json", "--csv", "a.csv", "--markdown", "a.md", "--report", "a.html")
    policies = ("--policies", "wanted", "run", "--seeds", "2", "--episodes", "2")
    assert call(monkeypatch, evaluate, "--env", ID, *policies, *files) == 0
    assert "no curve" not in capsys.readouterr().out
    document = json.loads(Path("a.json").read_text(), parse_constant=refuse)
    checked(document)
    (section,) = document["environments"]
    assert section["policies"][1]["metrics"]["certificate"]["mean"] is None
    (curve,) = section["curves"]
    assert curve["metrics"]["certificate"] == [None] * len(curve["steps"])
    assert None not in curve["metrics"]["reward"]
    with Path("a.csv").open() as file:
        values = {row["value"] for row in csv.DictReader(file) if row["metric"] == "certificate"}
    assert values <= {"", "0.0"}


@pytest.mark.parametrize("system", [UncertainToy, UnboundedToy])
def test_it_goes_on_after_a_signal(monkeypatch, capsys, system):
    gym.registry[ID].kwargs["system"] = f"{system.__module__}:{system.__name__}"
    assert call(monkeypatch, train, *TRAIN, "--run", "straight") == 0
    plain = record.Record.reached

    def reached(self: record.Record, steps: int) -> None:
        plain(self, steps)
        if steps == 48:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(record.Record, "reached", reached)
        assert call(patch, train, *TRAIN, "--run", "run") == 143
    assert call(monkeypatch, train, "--resume", "run", "--seeds", "0") == 0
    assert "note: going on after " in capsys.readouterr().out
    assert hashes(Path("run")) == hashes(Path("straight"))
    assert curves(Path("run")) == curves(Path("straight"))
