"""`train.py --resume`: what it does with damaged, hostile and foreign run folders, and with disks that fail."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

import train
from agents.evaluation.contestants import Entry, remarks
from agents.runs.checkpoint_files import Checkpoint, Checkpoints, unpack
from agents.runs.folder import CHECKPOINTS, CONFIG, EVALUATION, FINISHED, LAST, LOCK, Run
from agents.runs.provenance import versions
from agents.training import callback, record, trainer
from tests.scripts.running import ENV, ROOT, call, environment
from tests.scripts.stopping.test_kills import curves, hashes

SMALL = ("--steps", "960", "--num-envs", "8", "--set", "num_devices=2", "max_episode_steps=10")
COMMON = ("--seeds", "0", "--checkpoint-every", "0")
AT = 600
"""Steps after which it is stopped: in its third update of four, so that two checkpoints are kept."""


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A training that was never stopped."""
    folder = tmp_path_factory.mktemp("straight")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call(patch, train, *ENV, *SMALL, *COMMON, "--run", "run") == 0
    return folder / "run"


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """The same training, stopped on its way, in the folder "run" of the working directory."""
    monkeypatch.chdir(tmp_path)
    plain = record.Record.advance_to

    def reached(self: record.Record, steps: int) -> None:
        plain(self, steps)
        if steps >= AT:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(record.Record, "advance_to", reached)
        assert call(patch, train, *ENV, *SMALL, *COMMON, "--run", "run") == 130
    assert len(list((tmp_path / "run" / CHECKPOINTS).iterdir())) == 2
    return tmp_path / "run"


def resume(monkeypatch: pytest.MonkeyPatch, *more: str) -> int:
    return call(monkeypatch, train, "--resume", "run", *COMMON, *more)


def newest(run: Path) -> Path:
    return Checkpoints(run / CHECKPOINTS).files()[-1]


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """The one line with which resuming ends."""
    with pytest.raises(SystemExit) as stop:
        resume(monkeypatch, *more)
    assert stop.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def test_it_ends_as_if_never_stopped(stopped, straight, monkeypatch, capsys):
    assert resume(monkeypatch, *ENV) == 0
    assert "note: resuming after " in capsys.readouterr().out
    assert hashes(stopped) == hashes(straight)
    assert curves(stopped) == curves(straight)
    assert {file.name for file in stopped.iterdir() if "tfevents" not in file.name} == {
        file.name for file in straight.iterdir() if "tfevents" not in file.name
    }
    finished = json.loads((stopped / FINISHED).read_text())
    assert finished["steps"] == json.loads((straight / FINISHED).read_text())["steps"]
    assert finished["interrupted"] is False
    assert resume(monkeypatch) == 0
    assert "run is finished already; nothing to train" in capsys.readouterr().out


@pytest.mark.parametrize("count", [1, 2])
def test_damaged_checkpoints_are_reported_and_cost_only_time(stopped, straight, monkeypatch, capsys, count):
    files = Checkpoints(stopped / CHECKPOINTS).files()
    for file in files[-count:]:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    assert resume(monkeypatch) == 0
    out = capsys.readouterr().out
    assert out.count("cannot be used: it is damaged (its contents do not match their digest)") == count
    assert ("no checkpoint: starting again" in out) == (count == 2)
    assert hashes(stopped) == hashes(straight)
    assert curves(stopped) == curves(straight)


def test_what_a_killed_process_left_half_written_goes(stopped, straight, monkeypatch):
    for file in (stopped / ".model_best.safetensors.7.tmp", stopped / CHECKPOINTS / ".checkpoint-000009.7.tmp"):
        file.write_bytes(b"half")
    assert resume(monkeypatch) == 0
    assert not list(stopped.rglob("*.tmp"))
    assert hashes(stopped) == hashes(straight)


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_an_interrupt_before_anything_is_restored_changes_nothing(stopped, straight, monkeypatch, capsys):
    before = contents(stopped)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "warm_up", stop)
        assert resume(patch) == 130
    assert "interrupted by SIGINT; a checkpoint was saved, resume with --resume run\n" in capsys.readouterr().out
    assert contents(stopped) == before
    assert resume(monkeypatch) == 0
    assert hashes(stopped) == hashes(straight)


@pytest.mark.parametrize("at", ["validation", "last", "finish", "clear"])
def test_a_death_among_the_last_writes(tmp_path, straight, monkeypatch, at):
    """Where the process is gone before one of the things that a training ends with."""
    monkeypatch.chdir(tmp_path)

    class Death(BaseException):
        pass

    def die(*_: object) -> None:
        raise Death

    plain = Run.save_tensors

    def save(self: Run, tensors: Any, name: str) -> None:
        if at == "last" and name == LAST:
            raise Death
        plain(self, tensors, name)

    with monkeypatch.context() as patch:
        if at == "finish":
            patch.setattr(Run, "finish", die)
        elif at == "clear":
            patch.setattr(Checkpoints, "clear", die)
        elif at == "last":
            patch.setattr(Run, "save_tensors", save)
        else:
            patch.setattr(callback.Progress, "validate", die)
        with pytest.raises(Death):
            call(patch, train, *ENV, *SMALL, *COMMON, "--run", "run")
    assert resume(monkeypatch) == 0
    assert not (tmp_path / "run" / CHECKPOINTS).exists()
    assert hashes(tmp_path / "run") == hashes(straight)
    assert curves(tmp_path / "run") == curves(straight)


def test_a_folder_that_died_before_its_configuration_is_free(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.json.7.tmp").write_text("{")
    assert call(monkeypatch, train, *ENV, *SMALL, *COMMON, "--run", "run") == 0
    assert not list((tmp_path / "run").glob(".*"))


def rewritten(run: Path, change: Callable[[Checkpoint], None]) -> None:
    """Change the newest checkpoint, with a digest that is right: damage on purpose."""
    file = newest(run)
    checkpoint = unpack(file.read_bytes())
    change(checkpoint)
    again = Checkpoints(run / CHECKPOINTS)
    again.save(checkpoint)


HOSTILE: dict[str, tuple[Callable[[Checkpoint], Any], str]] = {
    "queue beyond its memory": (lambda c: c.arrays["worlds.state.queues.start"].fill(1 << 40), "'queues.start' holds"),
    "negative index": (lambda c: c.arrays["worlds.state.level"].fill(-7), "'level' holds values that are not within"),
    "draw of one": (lambda c: c.arrays["worlds.state.uniforms"].fill(1.0), "'uniforms' holds"),
    "no number": (lambda c: c.arrays["worlds.state.fading"].fill(np.nan), "'fading' holds values"),
    "other worlds": (lambda c: c.arrays.update({"worlds.done": np.zeros(3, np.bool_)}), "'done' has shape (3,)"),
    "other network": (lambda c: c.arrays.pop("network.action_net.bias"), "'action_net.bias' is missing"),
    "unknown weight": (lambda c: c.arrays.update({"network.more": np.zeros(3)}), "'more' is unknown"),
    "other moments": (lambda c: c.arrays.update({"optimizer.policy.0.exp_avg": np.zeros(3)}), "'0.exp_avg' has shape"),
    "moments missing": (lambda c: c.arrays.pop("optimizer.policy.0.exp_avg"), "'0.exp_avg' is missing"),
    "moments of one number": (
        lambda c: c.arrays.update({"optimizer.policy.0.exp_avg": np.zeros((), np.float32)}),
        "'0.exp_avg' has shape ()",
    ),
    "moments below zero": (lambda c: c.arrays["optimizer.policy.0.exp_avg_sq"].fill(-1.0), "'0.exp_avg_sq' holds"),
    "moments not finite": (
        lambda c: c.arrays["optimizer.policy.0.exp_avg"].fill(np.nan),
        "holds values that are not finite",
    ),
    "observation not finite": (lambda c: c.arrays["last.observation"].fill(np.nan), "'last.observation' holds"),
    "other columns": (lambda c: c.values["record"]["rows"][-1].update(more=1.0), "validations do not have the columns"),
    "a column missing": (lambda c: c.values["record"]["rows"][0].pop("reward"), "validations do not have the columns"),
    "best reward that is none": (lambda c: c.values["record"].update(best_reward=float("nan")), "record.best_reward: "),
    "endless best reward": (lambda c: c.values["record"].update(best_reward=float("inf")), "record.best_reward: "),
    "time that is none": (lambda c: c.values["record"].update(seconds=float("nan")), "record.seconds: "),
    "time that went back": (lambda c: c.values["record"].update(env_seconds=-1e9), "record.env_seconds: "),
    "moments of nothing": (
        lambda c: c.arrays.update({"optimizer.policy.999.step": np.zeros(())}),
        "'999.step' is unknown",
    ),
    "short torch generator": (lambda c: c.arrays.update({"random.torch": np.zeros(9, np.uint8)}), "'torch' has shape"),
    "bad torch generator": (lambda c: c.arrays["random.torch"].fill(255), "does not fit"),
    "bad python generator": (lambda c: c.arrays["random.python"].fill(1 << 31), "does not fit"),
    "unknown value": (lambda c: c.values.update(more=1), "more: Extra inputs are not permitted"),
    "word for a number": (lambda c: c.values["record"].update(steps_done="7"), "record.steps_done: Input should be"),
    "negative steps": (
        lambda c: c.values["learner"].update(num_timesteps=-1),
        "num_timesteps: Input should be greater",
    ),
    "other stage": (lambda c: c.values.update(stage="imitation", rounds=1), "1 rounds of imitation, and the run 0"),
    "endless step": (
        lambda c: c.values["record"]["rows"][0].update(step=float("inf")),
        "validations do not have the columns",
    ),
    "worlds not begun": (lambda c: c.arrays["worlds.started"].fill(False), "it has worlds that were never reset"),
    "weights not finite": (
        lambda c: c.arrays["network.action_net.bias"].fill(np.nan),
        "'action_net.bias' holds",
    ),
    "best that is no number": (lambda c: c.arrays["best.action_net.bias"].fill(np.inf), "'action_net.bias' holds"),
    "too many steps": (
        lambda c: c.values["learner"].update(num_timesteps=1 << 40),
        "as many as the run",
    ),
    "no learner": (lambda c: c.values.update(learner=None), "it belongs to another agent"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_checkpoint_is_refused_in_one_line(stopped, monkeypatch, capsys, name):
    change, words = HOSTILE[name]
    rewritten(stopped, change)
    before = contents(stopped)
    line = refusal(monkeypatch, capsys)
    assert words in line
    assert line.endswith("; start a new run")
    assert contents(stopped) == before


def test_no_network_is_built_for_a_checkpoint_that_is_too_small(stopped, monkeypatch, capsys):
    document = json.loads((stopped / CONFIG).read_text())
    document["run"]["settings"]["hidden"] = [4096] * 3
    (stopped / CONFIG).write_text(json.dumps(document))
    monkeypatch.setattr(trainer, "build_learner", lambda *_: pytest.fail("built"))
    before = contents(stopped)
    assert "the checkpoint of run does not fit: it has fewer weights than its hidden layers need" in refusal(
        monkeypatch, capsys
    )
    assert contents(stopped) == before


def trained_by(run: Path, **changed: str) -> None:
    document = json.loads((run / CONFIG).read_text())
    document["provenance"]["versions"].update(changed)
    (run / CONFIG).write_text(json.dumps(document))


def without_checkpoints(run: Path) -> None:
    for file in Checkpoints(run / CHECKPOINTS).files():
        file.unlink()


def test_a_training_of_other_versions_is_not_begun_again(stopped, monkeypatch, capsys):
    """It would come to other networks, and those that are there would be gone."""
    without_checkpoints(stopped)
    trained_by(stopped, torch="1.0.0")
    before = contents(stopped)
    line = refusal(monkeypatch, capsys)
    assert (
        "run has no complete checkpoint, and starting again could replace its networks and curves by different ones"
        in line
    )
    assert "(the training used torch 1.0.0, and this is " in line
    assert contents(stopped) == before


def test_a_training_that_ended_is_not_begun_again(tmp_path, straight, monkeypatch, capsys):
    """As those of the time before `finished.json`."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(straight, "run")
    (tmp_path / "run" / FINISHED).unlink()
    before = contents(tmp_path / "run")
    assert "(its validations reach the end of the training); evaluate the run as it is, or start a new run" in refusal(
        monkeypatch, capsys
    )
    (tmp_path / "run" / EVALUATION).write_text("step,reward\n7,\n")
    assert "no curve of run/evaluation.csv" in refusal(monkeypatch, capsys)
    (tmp_path / "run" / EVALUATION).write_bytes(before[tmp_path / "run" / EVALUATION])
    assert contents(tmp_path / "run") == before


def test_an_imported_network_is_not_trained(stopped, monkeypatch, capsys):
    document = json.loads((stopped / CONFIG).read_text())
    document["run"]["origin"] = "imported"
    (stopped / CONFIG).write_text(json.dumps(document))
    before = contents(stopped)
    assert "run holds an imported network, which has no training to resume" in refusal(monkeypatch, capsys)
    assert contents(stopped) == before


def test_the_versions_of_every_part_are_kept(stopped, monkeypatch, capsys):
    trained_by(stopped, torch="1.0.0\x1b[2J")
    assert resume(monkeypatch) == 0
    assert "note: the training used torch 1.0.0\\x1b[2J, and this is " in capsys.readouterr().out
    first, second = Run.open(stopped).made_with()
    assert first["torch"] == "1.0.0\\x1b[2J"
    assert second == {**versions(), "git": second["git"]}
    (remark,) = remarks([Entry("ours", Run.open(stopped))])
    assert remark.startswith("ours was not trained with the same versions throughout: torch 1.0.0")


def test_events_of_other_folders_are_out_of_reach(stopped, monkeypatch):
    """Names in a checkpoint are compared with files that are there, never used as paths."""
    precious = stopped.parent / "events.out.tfevents.precious"
    precious.write_text("precious")
    rewritten(stopped, lambda c: c.values["events"].update({"../events.out.tfevents.precious": 0}))
    assert resume(monkeypatch) == 0
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("name", ["events.out.tfevents.1", LAST, f"{CHECKPOINTS}/checkpoint-000001.safetensors"])
def test_nothing_is_written_through_links(stopped, monkeypatch, capsys, name):
    precious = stopped.parent / "precious"
    precious.write_text("precious")
    (stopped / name).unlink(missing_ok=True)
    (stopped / name).symlink_to(precious)
    assert "is a link, and a training does not write through links" in refusal(monkeypatch, capsys)
    assert precious.read_text() == "precious"


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "steps": (
        ("--steps", "5"),
        "--steps cannot be combined with --resume, which keeps the run's configuration; leave it out",
    ),
    "agent": (("--agent", "ppo"), "--agent cannot be combined with --resume"),
    "set": (("--set", "num_devices=3"), "--set cannot be combined with --resume"),
    "seed": (("--seed", "3"), "--seed cannot be combined with --resume"),
    "other env": (("--env", "SemCom-v0"), "run is a run of LyaPPO-v0, not of SemCom-v0; leave out --env"),
    "negative seconds": (
        ("--checkpoint-every", "-1"),
        "--checkpoint-every=-1.0 is not possible; give finite",
    ),
    "no seconds": (("--checkpoint-every", "nan"), "--checkpoint-every=nan is not possible"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_arguments_that_do_not_go_with_it(stopped, monkeypatch, capsys, name):
    arguments, words = REFUSED[name]
    assert words in refusal(monkeypatch, capsys, *arguments)


def test_folders_that_are_no_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "run is not a run folder: it has no config.json" in refusal(monkeypatch, capsys)
    (tmp_path / "run").mkdir()
    assert "run is not a run folder: it has no config.json" in refusal(monkeypatch, capsys)
    with pytest.raises(SystemExit):
        call(monkeypatch, train, "--steps", "5")
    assert "--env is missing; give --env LyaPPO-v0, for example, or --resume" in capsys.readouterr().err


def test_a_run_of_another_version(stopped, monkeypatch, capsys):
    document = json.loads((stopped / CONFIG).read_text())
    document["provenance"]["versions"]["torch"] = "1.0.0"
    (stopped / CONFIG).write_text(json.dumps(document))
    assert resume(monkeypatch) == 0
    assert "note: the training used torch 1.0.0, and this is " in capsys.readouterr().out
    (stopped / FINISHED).unlink()
    document["provenance"]["versions"]["edge-envs"] = "9.0.0"
    (stopped / CONFIG).write_text(json.dumps(document))
    line = refusal(monkeypatch, capsys)
    assert "run was trained with edge-envs 9.0.0, and this is " in line
    assert "resume with that version, or start a new run" in line
    del document["provenance"]
    (stopped / CONFIG).write_text(json.dumps(document))
    assert "does not contain the versions of its training (KeyError: 'provenance')" in refusal(monkeypatch, capsys)


def test_an_environment_that_is_gone(stopped, monkeypatch, capsys):
    document = json.loads((stopped / CONFIG).read_text())
    document["run"]["env_id"] = "LyaPPO-v9"
    (stopped / CONFIG).write_text(json.dumps(document))
    assert "env='LyaPPO-v9' does not exist" in refusal(monkeypatch, capsys)


def test_two_processes_on_one_folder(stopped, straight, monkeypatch, capsys):
    before = contents(stopped)
    with FileLock(stopped / LOCK):
        assert "run folder run is in use by another process; wait for it, or stop it" in refusal(monkeypatch, capsys)
    assert contents(stopped) == before
    assert resume(monkeypatch) == 0
    assert hashes(stopped) == hashes(straight)


def run_limited(cwd: Path, limit: Callable[[], None]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "--resume", "run", *COMMON], cwd=cwd, env=environment(),
        capture_output=True, text=True, timeout=120, check=False, preexec_fn=limit,
    )  # fmt: skip


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_a_disk_without_room(stopped, straight, monkeypatch):
    """A limit on the size of files stands in for the disk: writing fails in the same place, with an error alike."""
    size = newest(stopped).stat().st_size // 2
    done = run_limited(stopped.parent, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
    line = last_line(done)
    assert line.startswith("error: run folder run cannot be written (")
    assert line.endswith(
        "; free space or fix the permissions, then rerun with --resume run, or start a new run with --run"
    )
    assert not list(stopped.rglob("*.tmp"))
    assert resume(monkeypatch) == 0
    assert hashes(stopped) == hashes(straight)
    assert curves(stopped) == curves(straight)


def test_a_folder_that_cannot_be_written(stopped, straight, monkeypatch, capsys):
    """The superuser may write everywhere, so it becomes another user for as long."""
    folders = [stopped, stopped / CHECKPOINTS]
    for folder in folders:
        folder.chmod(0o555)
    monkeypatch.chdir(stopped.parent)
    superuser = os.geteuid() == 0
    if superuser:
        reachable = [folder for folder in stopped.parents if folder.owner() == "root" and folder.is_relative_to("/tmp")]
        for folder in reachable:
            folder.chmod(folder.stat().st_mode | 0o005)
        os.seteuid(65534)
    try:
        line = refusal(monkeypatch, capsys)
    finally:
        if superuser:
            os.seteuid(0)
        for folder in folders:
            folder.chmod(0o755)
    assert line.startswith("error: the run folder cannot be written ([Errno 13] Permission denied: ")
    assert resume(monkeypatch) == 0
    assert hashes(stopped) == hashes(straight)
