"""Run folders that somebody else has filled: refused in one line, without hanging, and nothing in them is executed."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from safetensors.torch import save

import evaluate
from agents.runs import folder as folder_module
from agents.runs.curves import curve_of
from agents.runs.folder import BEST, CONFIG, EVALUATION, Run, RunConfig, RunError
from agents.worlds import make_worlds
from tests.agents.sb3_import import hostile
from tests.agents.sb3_import.hostile import OPTIONS
from tests.scripts.running import ID, make_run


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


@pytest.fixture
def system():
    return make_worlds(ID, 1, "default", OPTIONS).system


def error_of(action: Callable[[], Any], kind: type[Exception] = RunError) -> str:
    """The one line that an action ends in."""
    with pytest.raises(kind) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    assert "\x1b" not in message
    assert 10 < len(message) < 500
    return message


def rewrite(run: Run, *place: str, value: Any) -> None:
    """Put something else into the configuration."""
    document = json.loads((run.path / CONFIG).read_text())
    inner = document
    for key in ("run", *place[:-1]):
        inner = inner[key]
    inner[place[-1]] = value
    (run.path / CONFIG).write_text(json.dumps(document))


def evaluated(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], path: Path) -> str:
    """What `evaluate.py` says of a run folder that it refuses: one line on standard error."""
    small = [f"{key}={value}" for key, value in OPTIONS.items()]
    arguments = ["--env", ID, "--policies", str(path), "--seeds", "1", "--episodes", "1", "--set", *small]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *arguments])
    with pytest.raises(SystemExit) as caught:
        evaluate.main()
    out, err = capsys.readouterr()
    assert caught.value.code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "\x1b" not in err
    assert len(err) < 1100
    return err


# Configurations

NESTED: Any = 1
for _ in range(900):
    NESTED = [NESTED]
LARGE = 10**30


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("settings", "num_envs"), LARGE), (("settings", "imitation_worlds"), LARGE), (("settings", "hidden"), [LARGE]),
        (("settings", "hidden"), [8] * 17), (("settings", "hidden"), [8.5]), (("settings", "hidden"), {"0": 8}),
        (("settings", "tau"), 1e400), (("settings", "learning_rate"), float("inf")), (("settings", "steps"), 0.5),
        (("settings", "steps"), [1]), (("settings", "steps"), None), (("settings", "anneal"), "perhaps"),
        (("settings", "expert"), 3), (("settings", "training_options"), "system"), (("settings",), []),
        (("seed",), LARGE), (("seed",), 1.5), (("preset",), ["default"]), (("options",), "system"),
        (("agent",), "os.system"), (("agent",), None), (("policy",), 1), (("hyperparameters",), "os:system"),
        (("env_id",), ["LyaPPO-v0"]),
        (("__class__",), "os.system"), (("settings", "__reduce__"), ["os.system"]),
        *(
            (("settings", name), LARGE)
            for name in ("steps", "n_steps", "batch_size", "n_epochs", "buffer_size", "learning_starts",
                         "gradient_steps", "imitation_rounds", "imitation_frames", "imitation_steps", "imitation_batch")
        ),
    ],
    ids=str,
)  # fmt: skip
def test_a_configuration_with_impossible_values(run, place, value):
    rewrite(run, *place, value=value)
    message = error_of(lambda: Run.open(run.path))
    assert f"{run.path / CONFIG} is not valid: run.{'.'.join(place)}" in message


CONFIGURATIONS: dict[str, tuple[bytes, str]] = {
    "deep": (b'{"run": {"options": {"x": ' + b"[" * 200_000, "is damaged"),
    "deep objects": (b'{"run": ' * 100_000, "is damaged"),
    "a text with a line break": (b'{"run": {"env_id": "\n"}}', "is damaged"),
    "UTF-16": ('{"run": {}}'.encode("utf-16"), "is damaged"),
    "a zip file": (hostile.stored({"data": b"{}"}), "is damaged"),
    "a pickle": (hostile.touching(Path("exploded"))["os.system"], "is damaged"),
    "infinite": (b'{"run": {"env_id": Infinity}}', "run.env_id"),
}
SHOWN: dict[str, tuple[bytes, str]] = {
    "a key with controls": (b'{"run": {"env_id": "LyaPPO-v0", "a\\nb\\u001b[31m": 1}}', "is not valid"),
    "a long key": (b'{"run": {"env_id": "LyaPPO-v0", "' + b"x" * 10_000 + b'": 1}}', "is not valid"),
}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        *(pytest.param(*case, id=name) for name, case in CONFIGURATIONS.items()),
        *(pytest.param(*case, id=name) for name, case in SHOWN.items()),
    ],
)
def test_a_configuration_that_is_none(run, content, words):
    (run.path / CONFIG).write_bytes(content)
    assert words in error_of(lambda: Run.open(run.path))


def test_a_configuration_of_100_mb_is_not_read(run, monkeypatch):
    with (run.path / CONFIG).open("wb") as file:
        file.truncate(100 << 20)
    for name in ("read_text", "read_bytes"):
        monkeypatch.setattr(Path, name, lambda *_, **__: pytest.fail("read"))
    assert "larger than" in error_of(lambda: Run.open(run.path))


@pytest.mark.parametrize(
    "key", sorted({*inspect.signature(gym.make_vec).parameters, "system", "render_mode"} - {"kwargs"})
)
def test_options_that_no_environment_has(run, key):
    """Nothing in a run folder reaches the arguments of `gym.make_vec` or of the shells."""
    rewrite(run, "options", value={key: "os:system"})
    config = Run.open(run.path).config
    message = error_of(lambda: make_worlds(ID, 1, config.preset, config.options), ValueError)
    assert message.startswith(f"{key}='os:system' is not a parameter")


@pytest.mark.parametrize(
    "env_id", ["CartPole-v1", "os:Foo-v0", "exploding:LyaPPO-v0", "../LyaPPO-v0", "", "GymV21Environment-v0"]
)
def test_environments_of_other_packages(run, monkeypatch, capsys, tmp_path, env_id):
    (tmp_path / "exploding.py").write_text("raise SystemError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    rewrite(run, "env_id", value=env_id)
    config = Run.open(run.path).config
    assert "does not exist" in error_of(
        lambda: make_worlds(config.env_id, 1, config.preset, config.options), ValueError
    )
    assert "was trained on" in evaluated(monkeypatch, capsys, run.path)


@pytest.mark.parametrize(
    ("place", "value"),
    {
        "unknown options": (("options", "surprise"), 1),
        "an option of the shell": (("options", "system"), "os:system"),
        "an impossible option": (("options", "num_devices"), LARGE),
        "no number": (("options", "num_devices"), float("nan")),
        "a deep option": (("options", "num_devices"), NESTED),
        "a long option": (("options", "num_devices"), "x" * 2000),
        "a preset that is a path": (("preset",), "../../etc/passwd"),
        "a preset with controls": (("preset",), "x\n\x1b[31m"),
    }.values(),
    ids=lambda case: str(case)[:40],
)
def test_evaluation_checks_the_options_of_a_run(run, monkeypatch, capsys, place, value):
    rewrite(run, *place, value=value)
    evaluated(monkeypatch, capsys, run.path)


@pytest.mark.parametrize(
    "value",
    [
        [1], {"a": 1}, None, 7, "\x1b[31m",
        "x" * 2000, NESTED,
    ],
    ids=lambda value: ascii(value)[:9],
)  # fmt: skip
def test_evaluation_checks_the_decision_of_a_run(run, monkeypatch, capsys, value):
    """The one option that a run keeps."""
    rewrite(run, "options", value={"decision": value})
    assert "decision" in evaluated(monkeypatch, capsys, run.path)


def test_an_id_with_controls(run, monkeypatch, capsys):
    rewrite(run, "env_id", value="LyaPPO-v0\x1b[31m")
    evaluated(monkeypatch, capsys, run.path)


# Networks


def tensors_file(header: Any, body: bytes = b"") -> bytes:
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def entry(shape: list[int], start: int, stop: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


NETWORKS = {
    "a header of 2^63 bytes": (2**63 - 1).to_bytes(8, "little") + b"{}",
    "a header of 99 MB": (99 << 20).to_bytes(8, "little") + b"{}",
    "an empty header": tensors_file(b""),
    "a header that is a list": tensors_file([]),
    "a deep header": tensors_file(b'{"a":' * 50_000),
    "the same bytes twice": tensors_file({"a": entry([2], 0, 8), "b": entry([2], 0, 8)}, bytes(8)),
    "overlapping": tensors_file({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12)),
    "a hole": tensors_file({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, bytes(12)),
    "beyond the end": tensors_file({"a": entry([2], 0, 8)}, bytes(4)),
    "backwards": tensors_file({"a": entry([2], 8, 0)}, bytes(8)),
    "negative": tensors_file({"a": entry([2], -8, 0)}, bytes(8)),
    "a huge shape": tensors_file({"a": entry([1 << 40, 1 << 40], 0, 8)}, bytes(8)),
    "another size": tensors_file({"a": entry([3], 0, 8)}, bytes(8)),
    "a type of its own": tensors_file({"a": entry([2], 0, 8, "os.system")}, bytes(8)),
    "metadata that call": tensors_file({"__metadata__": {"a": ["os.system"]}}),
    "a zip file": hostile.stored({"data": b"{}"}),
    "torch": hostile.saved({"a": torch.zeros(2)}),
    "a pickle": hostile.touching(Path("exploded"))["os.system"],
    "a pickle of protocol 0": hostile.touching(Path("exploded"))["protocol 0"],
}


@pytest.mark.parametrize("content", NETWORKS.values(), ids=NETWORKS.keys())
def test_a_network_that_is_none(run, system, monkeypatch, tmp_path, content):
    monkeypatch.chdir(tmp_path)
    (run.path / BEST).write_bytes(content)
    message = error_of(lambda: run.load_policy(system))
    assert f"{run.path / BEST} is damaged" in message
    assert not Path("exploded").exists()


def test_a_header_with_controls(run, system):
    (run.path / BEST).write_bytes(tensors_file({"a": entry([2], 0, 8, "F\n32\x1b[31m" + "x" * 1000)}, bytes(8)))
    error_of(lambda: run.load_policy(system))


def test_tensors_beside_the_network(run, system):
    weights = {name: value.contiguous() for name, value in run.load_policy(system).network.state_dict().items()}
    for more in ({"../x": torch.zeros(1)}, {"": torch.zeros(0)}, {"os.system": torch.zeros(1 << 16)}):
        (run.path / BEST).write_bytes(save({**weights, **more}))
        assert "does not fit" in error_of(lambda: run.load_policy(system))


@pytest.mark.parametrize("name", [CONFIG, BEST, EVALUATION])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop", "link to a pipe"])
def test_what_is_no_file_is_not_opened(run, system, tmp_path, name, kind):
    file = run.path / name
    file.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "folder":
        file.mkdir()
    elif kind == "loop":
        file.symlink_to(file)
    else:
        os.mkfifo(tmp_path / "pipe")
        file.symlink_to(tmp_path / "pipe")
    if name == EVALUATION:
        reason = "Too many levels of symbolic links" if kind == "loop" else "it is not a regular file"
        assert error_of(lambda: curve_of(run), ValueError) == f"no curve of {file} ({reason})"
        return
    message = error_of(lambda: Run.open(run.path).load_policy(system))
    assert ("is not a run folder" if name == CONFIG else "does not exist") in message


def test_a_small_file_does_not_make_a_large_network(run, system, monkeypatch):
    """Wide layers take long to build, and more of them than what is possible are refused at once."""
    rewrite(run, "settings", "hidden", value=[4096] * 3)
    monkeypatch.setattr(folder_module, "build_network", lambda *_: pytest.fail("built"))
    assert "does not fit" in error_of(lambda: Run.open(run.path).load_policy(system))
    rewrite(run, "settings", "hidden", value=[4096] * 4)
    assert "settings: hidden has 50331648 weights between its layers" in error_of(lambda: Run.open(run.path))


def test_a_file_that_only_seems_large_is_not_read(run, system):
    with (run.path / BEST).open("wb") as file:
        file.truncate(folder_module.LARGEST_MODEL_BYTES + 1)
    assert "is not read" in error_of(lambda: run.load_policy(system))


# Under the recorder


def test_nothing_runs_that_a_run_folder_holds(tmp_path):
    folder = tmp_path / "runs"
    marker = tmp_path / "marker"
    payloads = hostile.touching(marker)
    honest = make_run(folder / "honest", agent="ppo")
    contents = {
        **NETWORKS,
        **payloads,
        "torch of an object": hostile.saved(hostile.Calls(os.system, f"touch {marker}")),
    }
    for number, content in enumerate(contents.values()):
        (make_run(folder / f"network-{number}").path / BEST).write_bytes(content)
        (make_run(folder / f"config-{number}").path / CONFIG).write_bytes(content)
    for number, (place, value) in enumerate(
        [(("env_id",), "os:system"), (("options", "system"), "os:system"), (("preset",), "os:system"),
         (("settings", "expert"), "os:system"), (("settings", "training_options"), {"system": "os:system"})]
    ):  # fmt: skip
        rewrite(make_run(folder / f"value-{number}"), *place, value=value)
    before = {str(file): file.lstat().st_size for file in tmp_path.rglob("*")}
    seen = hostile.observe(folder, "runs")
    assert seen["events"] == []
    assert {str(file): file.lstat().st_size for file in tmp_path.rglob("*")} == before
    outcomes = seen["outcomes"]
    assert outcomes.pop(honest.path.name) == "opened"
    assert len(outcomes) == 2 * len(contents) + 5
    for name, message in outcomes.items():
        assert message == "opened" if name.startswith("value") else str(folder / name) in message, (name, message)


def test_a_configuration_is_a_run_again(run):
    """What the tests above change is all that is wrong with their configurations."""
    assert isinstance(Run.open(run.path).config, RunConfig)
