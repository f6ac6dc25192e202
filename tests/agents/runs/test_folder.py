"""Run folders: what is saved comes back, and whatever is wrong with one is reported in one line."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load, save

from agents.hyperparameters.settings import Settings
from agents.networks.build import build_network
from agents.networks.learned_policy import LearnedPolicy
from agents.runs import folder
from agents.runs.folder import BEST, CONFIG, LAST, LOCK, Run, RunConfig, RunError
from agents.runs.provenance import provenance
from agents.worlds import make_worlds

ID = "LyaPPO-v0"
SETTINGS = Settings(hidden=(8, 8))


def config(**more: Any) -> RunConfig:
    return RunConfig(**{"env_id": ID, "settings": SETTINGS, **more})


def fresh_network(setup: RunConfig, system: Any, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    network = build_network(setup.agent, setup.policy, setup.settings, system)
    with torch.no_grad():
        for parameter in network.parameters():  # the last layers start near zero, where actions hardly differ
            parameter.add_(0.5 * torch.randn_like(parameter))
    return network


def saved_run(path: Path, **more: Any) -> Run:
    """A run with one network."""
    run = Run.create(config(**more), path)
    system = make_worlds(ID, 1, run.config.preset, run.config.options).system
    run.save_network(fresh_network(run.config, system), BEST)
    return run


@pytest.fixture
def run(tmp_path):
    return saved_run(tmp_path / "run")


@pytest.fixture
def system():
    return make_worlds(ID, 1, "default", {}).system


def error_of(action: Any) -> str:
    """The message of the RunError that an action raises."""
    with pytest.raises(RunError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    assert 10 < len(message) < 500
    return message


# Round trips


@pytest.mark.parametrize(
    "more",
    [
        {"agent": "ppo", "policy": "shared"},
        {"agent": "ppo", "policy": "central"},
        {"agent": "ppo", "policy": "shared", "options": {"decision": "joint"}},
        {"agent": "ppo", "policy": "central", "options": {"decision": "joint", "num_devices": 2}},
        {"agent": "ddpg", "policy": "shared"},
        {"agent": "ddpg", "policy": "central"},
        {"agent": "ddpg", "policy": "central", "options": {"decision": "joint"}},
        {"agent": "td3", "policy": "central"},
        {"agent": "td3", "policy": "shared", "options": {"decision": "joint", "num_devices": 2}},
    ],
    ids=str,
)
def test_a_network_comes_back_with_the_same_actions(tmp_path, more):
    setup = config(**more)
    run = Run.create(setup, tmp_path / "run")
    env = make_worlds(ID, 40, "default", setup.options)
    network = fresh_network(setup, env.system)
    run.save_network(network, LAST)
    before = LearnedPolicy(network, setup.agent, setup.policy, env.system)
    again = Run.open(run.path)
    assert again.config == setup
    after = again.load_policy(env.system, LAST)
    observation, _ = env.reset(seed=3)
    for _ in range(3):
        ours, theirs = before.predict(observation)[0], after.predict(observation)[0]
        np.testing.assert_array_equal(ours, theirs)
        assert env.single_action_space.contains(theirs[0].astype(env.single_action_space.dtype))
        # One observation gives the row of a batch.
        single, _ = after.predict(observation[7])
        assert single.shape == env.single_action_space.shape
        np.testing.assert_allclose(single, theirs[7], atol=1e-6)
        observation, *_ = env.step(theirs)
    assert len({bytes(row) for row in theirs}) > 1  # not the same action everywhere
    other = LearnedPolicy(fresh_network(setup, env.system, seed=1), setup.agent, setup.policy, env.system)
    assert (other.predict(observation)[0] != after.predict(observation)[0]).any()


def test_a_shared_policy_acts_for_each_member_from_its_view(run, system):
    policy = run.load_policy(system)
    observation, _ = make_worlds(ID, 5, "default", {}).reset(seed=0)
    observation = observation + np.random.default_rng(0).normal(0, 0.5, observation.shape).astype(np.float32)
    actions, _ = policy.predict(observation)
    width = len(system.member_action_space.nvec)
    for member, columns in enumerate(system.member_view):
        expected, _ = policy.network.predict(observation[:, columns], deterministic=True)
        np.testing.assert_array_equal(actions[:, member * width : (member + 1) * width], expected)


def test_a_shared_policy_serves_any_number_of_members(run):
    larger = make_worlds(ID, 2, "default", {"num_devices": 7})
    observation, _ = larger.reset(seed=0)
    assert run.load_policy(larger.system).predict(observation)[0].shape == (2, 14)


def test_everything_about_the_training_is_written(tmp_path):
    setup = config(
        preset="dynamic", options={"num_devices": 3, "arrival_levels": [0.1, 0.2]}, agent="ddpg", policy="central",
        hyperparameters="paper", seed=9,
    )  # fmt: skip
    run = Run.create(setup, tmp_path / "a" / "run")
    assert Run.open(run.path).config == setup
    document = json.loads((run.path / CONFIG).read_text())
    assert document["run"]["settings"]["hidden"] == [8, 8]
    assert {"versions", "platform", "git", "git_changes", "command", "started"} <= document["provenance"].keys()
    assert document["provenance"]["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert sorted(file.name for file in run.path.iterdir()) == [CONFIG, LOCK]


def test_the_default_folder_names_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Run.create(config(seed=3)).path
    assert path.parent == Path("runs")
    assert path.name.startswith("LyaPPO-v0__ppo__3__20")


def test_provenance_without_git(monkeypatch):
    def no_git(*args: Any, **kwargs: Any) -> Any:
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", no_git)
    assert provenance()["git"] == "not a git checkout"


# Making a folder


def test_an_empty_folder_is_used_and_a_full_one_is_not(tmp_path):
    (tmp_path / "empty").mkdir()
    Run.create(config(), tmp_path / "empty")
    assert "exists already; give a new one with --run" in error_of(lambda: Run.create(config(), tmp_path / "empty"))
    (tmp_path / "file").write_text("kept")
    assert "exists already" in error_of(lambda: Run.create(config(), tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "kept"


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("kept")
    message = error_of(lambda: Run.create(config(), tmp_path / "file" / "run"))
    assert "file/run cannot be written (Not a directory)" in message
    assert "--run" in message
    assert "too long" in error_of(lambda: Run.create(config(), tmp_path / ("x" * 300)))


def test_no_folder_is_left_where_nothing_could_be_written(tmp_path, monkeypatch):
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "write_atomically", full)
    assert "No space left" in error_of(lambda: Run.create(config(), tmp_path / "run"))
    assert not (tmp_path / "run").exists()


# Writing


def test_a_failed_save_leaves_the_old_network_loadable(run, system, monkeypatch):
    before = (run.path / BEST).read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        run.save_network(fresh_network(run.config, system, seed=5), BEST)
    assert (run.path / BEST).read_bytes() == before
    run.load_policy(system)


# Reading configurations


DAMAGED = {
    "empty": b"",
    "truncated": b'{"run": {"env_id": "LyaPPO-v0", "ag',
    "garbage": bytes(range(256)),
    "another encoding": '{"run": "ü"}'.encode("latin-1"),
    "a list": b"[]",
    "a number": b"3",
    "a text": b'"run"',
    "null": b"null",
    "no run": b'{"provenance": {}}',
    "a run that is a list": b'{"run": []}',
    "a run that is null": b'{"run": null}',
    "no id": b'{"run": {"agent": "ppo"}}',
    "too deep": b"[" * 100_000,
    "a number too long": b'{"run": {"env_id": ' + b"9" * 5000 + b"}}",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_configuration(run, content):
    (run.path / CONFIG).write_bytes(content)
    message = error_of(lambda: Run.open(run.path))
    assert str(run.path / CONFIG) in message
    assert "use another run" in message


@pytest.mark.parametrize(
    ("where", "key", "value"),
    [
        (("run",), "surprise", 1), (("run", "settings"), "surprise", 1), (("run",), "agent", "sac"),
        (("run",), "policy", "both"), (("run",), "seed", -1), (("run",), "seed", 1 << 32), (("run",), "seed", "x"),
        (("run", "settings"), "steps", 0), (("run", "settings"), "learning_rate", float("nan")),
        (("run", "settings"), "hidden", [10**9, 10**9]), (("run", "settings"), "hidden", "wide"),
        (("run",), "options", []), (("run",), "env_id", None),
    ],
)  # fmt: skip
def test_a_configuration_with_something_else_in_it(run, where, key, value):
    document = json.loads((run.path / CONFIG).read_text())
    place = document
    for part in where:
        place = place[part]
    place[key] = value
    (run.path / CONFIG).write_text(json.dumps(document))
    message = error_of(lambda: Run.open(run.path))
    assert ".".join((*where, key)) in message
    assert str(run.path / CONFIG) in message


def test_unknown_keys_are_refused_in_python_too():
    with pytest.raises(ValidationError, match="surprise"):
        RunConfig(env_id=ID, surprise=1)  # type: ignore[call-arg]


def test_a_lock_that_is_a_link_is_not_opened(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "precious")
    with pytest.raises(RunError, match="exists already"):
        Run.create(RunConfig(env_id=ID), tmp_path / "run")
    assert (tmp_path / "precious").read_text() == "precious"


def test_of_two_processes_one_gets_the_folder(tmp_path, monkeypatch):
    path, config = tmp_path / "run", RunConfig(env_id=ID, seed=1)
    plain, refused = folder.provenance, []

    def meanwhile() -> dict[str, Any]:
        # Another process comes while the first one asks git what it is.
        monkeypatch.setattr(folder, "provenance", plain)
        with pytest.raises(RunError) as caught:
            Run.create(config.model_copy(update={"seed": 2}), path)
        refused.append(str(caught.value))
        return plain()

    monkeypatch.setattr(folder, "provenance", meanwhile)
    Run.create(config, path)
    assert Run.open(path).config.seed == 1
    assert refused == [f"run folder {path} is in use by another process; wait for it, or stop it"]
    with pytest.raises(RunError, match="exists already"):
        Run.create(config, path)


def test_no_run_folder(tmp_path):
    assert "nowhere is not a run folder: it has no config.json" in error_of(lambda: Run.open(tmp_path / "nowhere"))
    assert "is not a run folder" in error_of(lambda: Run.open(tmp_path))
    (tmp_path / CONFIG).mkdir()
    assert "is not a run folder" in error_of(lambda: Run.open(tmp_path))


# Reading networks


def test_no_network(run, system):
    (run.path / BEST).unlink()
    assert f"{run.path / BEST} does not exist" in error_of(lambda: run.load_policy(system))
    assert f"{run.path / LAST} does not exist" in error_of(lambda: run.load_policy(system, LAST))


@pytest.mark.parametrize(
    "damage",
    {
        "empty": lambda content: b"",
        "truncated": lambda content: content[:-7],
        "half": lambda content: content[: len(content) // 2],
        "header alone": lambda content: content[:8],
        "header too long": lambda content: b"\xff" * 8 + content[8:],
        "garbage": lambda content: np.random.default_rng(0).bytes(5000),
        "something after": lambda content: content + b"more",
        "torch": lambda content: pickle.dumps({"weights": 1}),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_damaged_network(run, system, damage):
    file = run.path / BEST
    file.write_bytes(damage[1](file.read_bytes()))
    message = error_of(lambda: run.load_policy(system))
    assert f"{file} is damaged" in message
    assert "use another model" in message


def rewrite(run: Run, change: Any) -> None:
    file = run.path / BEST
    tensors = load(file.read_bytes())
    change(tensors)
    file.write_bytes(save(tensors))


def test_a_network_of_another_kind(run, system):
    name = "action_net.weight"
    original = (run.path / BEST).read_bytes()
    changes: list[Any] = [
        lambda t: t.update({name: t[name][:, :-1].contiguous()}),
        lambda t: t.update({name: t[name].T.contiguous()}),
        lambda t: t.update({name: t[name].double()}),
        lambda t: t.update({name: torch.zeros(t[name].shape, dtype=torch.float8_e4m3fn)}),
        lambda t: t.update({name: torch.zeros(t[name].shape, dtype=torch.int64)}),
        lambda t: t.pop(name),
        lambda t: t.update(more=torch.zeros(1)),
        lambda t: t.clear(),
    ]
    for change in changes:
        (run.path / BEST).write_bytes(original)
        rewrite(run, change)
        assert "does not fit LyaPPO-v0 with this configuration" in error_of(lambda: run.load_policy(system))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite(run, system, value):
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["action_net.bias"][0] = value

    rewrite(run, spoil)
    assert "not finite" in error_of(lambda: run.load_policy(system))


def test_a_network_for_other_spaces(tmp_path, run):
    other = make_worlds(ID, 1, "default", {"observation": "paper"}).system
    assert "does not fit" in error_of(lambda: run.load_policy(other))
    central = saved_run(tmp_path / "central", policy="central")
    assert "does not fit" in error_of(
        lambda: central.load_policy(make_worlds(ID, 1, "default", {"num_devices": 3}).system)
    )
    joint = make_worlds(ID, 1, "default", {"decision": "joint"}).system
    assert "does not fit" in error_of(lambda: run.load_policy(joint))


def test_a_file_beyond_the_limit_is_not_read(run, system, monkeypatch):
    monkeypatch.setattr(folder, "LARGEST_MODEL_BYTES", 100)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("read"))
    assert "larger than 100 bytes" in error_of(lambda: run.load_policy(system))


class Bomb:
    """Goes off when unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("exploded"),)


def test_nothing_is_unpickled(run, system, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    charge = pickle.dumps(Bomb())
    pickle.loads(charge)
    assert Path("exploded").exists()  # the bomb works
    Path("exploded").unlink()
    torch.save(Bomb(), tmp_path / "torch.pt")

    def forbidden(*args: Any, **kwargs: Any) -> None:
        pytest.fail("unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, forbidden)
    run.load_policy(system)
    for content in (charge, (tmp_path / "torch.pt").read_bytes()):
        (run.path / BEST).write_bytes(content)
        error_of(lambda: run.load_policy(system))
        (run.path / CONFIG).write_bytes(content)
        error_of(lambda: Run.open(run.path))
    assert not Path("exploded").exists()
