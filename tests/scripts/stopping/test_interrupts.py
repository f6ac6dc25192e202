"""Ctrl-C and SIGTERM before, in and after the training: what is saved, what is said, and how it goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import evaluate
import train
from agents.evaluation import comparison as comparing
from agents.evaluation import contestants
from agents.hyperparameters.settings import Settings
from agents.runs import checkpoint_files
from agents.runs.folder import BEST, CHECKPOINTS, CONFIG, EVALUATION, LAST, LOCK, Run, RunConfig
from agents.training import record, trainer
from agents.training.dagger import Demonstrations
from agents.training.vec_env import WorldVecEnv
from agents.worlds import system_of
from benchmarks import training_share as benchmark
from edge_envs.core.io.command import Stopped
from experiments.shared.learned import trained
from tests.agents.crowd import CROWD
from tests.scripts.running import ENV, EVALUATE, QUICK, ROOT, SMALL, call, environment, execute, table_rows
from tests.scripts.stopping.test_kills import curves, hashes

TINY = ("--set", "num_devices=2", "max_episode_steps=10")
TRAININGS: dict[str, tuple[str, ...]] = {
    "ppo": (*ENV, "--steps", "640", "--num-envs", "16", *TINY),
    "member-ppo": ("--env", CROWD, "--agent", "member-ppo", "--policy", "pooled", "--steps", "640", "--num-envs", "8"),
    "ddpg": (*ENV, "--agent", "ddpg", "--steps", "240", "--num-envs", "8", *TINY),
    "td3": (*ENV, "--agent", "td3", "--steps", "240", "--num-envs", "8", *TINY),
    "dagger": (*ENV, "--agent", "dagger", "--expert", "fixed", "--steps", "600", "--num-envs", "4", *TINY),
    "imitation, then ppo": (*ENV, "--expert", "fixed", "--steps", "640", "--num-envs", "16", *TINY),
}
SAID = "interrupted by {}; a checkpoint was saved, resume with --resume run\n"
NOTHING = "interrupted by SIGTERM before the first update; --resume run starts from the beginning\n"


def without_notes(output: str) -> str:
    """The output without the note that a number of steps is rounded up."""
    return "".join(line for line in output.splitlines(keepends=True) if not line.startswith("note: --steps"))


def once(number: int = signal.SIGTERM) -> Callable[[], None]:
    """What sends this process a signal the first time that it is called."""
    calls: list[int] = []

    def send() -> None:
        calls.append(1)
        if len(calls) == 1:
            signal.raise_signal(number)

    return send


def at_the_end(send: Callable[[], None]) -> Callable[[record.Record, int], None]:
    """`Record.advance_to` that sends a signal in the last update."""
    plain = record.Record.advance_to

    def reached(self: record.Record, steps: int) -> None:
        plain(self, steps)
        if steps >= self.steps:
            send()

    return reached


def started(monkeypatch: pytest.MonkeyPatch, name: str, run: str = "run") -> int:
    return call(monkeypatch, train, *TRAININGS[name], "--seeds", "0", "--run", run)


def resumed(monkeypatch: pytest.MonkeyPatch) -> int:
    return call(monkeypatch, train, "--resume", "run", "--seeds", "0")


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Trainings that were never stopped, by name, made when they are asked for."""
    folder = tmp_path_factory.mktemp("straight")
    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                assert started(patch, name, name) == 0
            made[name] = folder / name
        return made[name]

    return of


def kept(run: str = "run") -> int:
    return len(list(Path(run, CHECKPOINTS).glob("checkpoint-*")))


def check_same(straight: Path) -> None:
    assert hashes(Path("run")) == hashes(straight)
    assert curves(Path("run")) == curves(straight)
    assert not Path("run", CHECKPOINTS).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", TRAININGS)
def test_a_signal_saves_a_checkpoint_and_the_end_is_the_same(
    tmp_path, straight, monkeypatch, capsys, crowd_id, name, number
):  # fmt: skip
    """In the first seconds, before any checkpoint is due; in the first round where the agent imitates."""
    expected = straight(name)
    capsys.readouterr()
    monkeypatch.chdir(tmp_path)
    plain, send = record.Record.advance_to, once(number)

    def reached(self: record.Record, steps: int) -> None:
        plain(self, steps)
        if steps >= 40:
            send()

    with monkeypatch.context() as patch:
        patch.setattr(record.Record, "advance_to", reached)
        assert started(patch, name) == 128 + number
    assert without_notes(capsys.readouterr().out) == SAID.format(number.name)
    assert kept() == 1
    assert not Run.open(Path("run")).finished
    assert resumed(monkeypatch) == 0
    assert "note: resuming after " in capsys.readouterr().out
    check_same(expected)


def test_signals_again_and_again(tmp_path, straight, monkeypatch, capsys):
    """One in every process: each goes on for an update and stops."""
    expected = straight("ddpg")
    monkeypatch.chdir(tmp_path)
    plain = record.Record.advance_to
    statuses = []
    for part in range(6):
        send = once()

        def reached(self: record.Record, steps: int, send: Callable[[], None] = send, part: int = part) -> None:
            plain(self, steps)
            if steps >= 40 * part:
                send()

        with monkeypatch.context() as patch:
            patch.setattr(record.Record, "advance_to", reached)
            statuses.append(resumed(patch) if part else started(patch, "ddpg"))
    assert statuses == [143] * 6
    assert resumed(monkeypatch) == 0
    check_same(expected)


@pytest.mark.parametrize("at", [1, 2, 5])
def test_a_signal_in_a_validation(tmp_path, straight, monkeypatch, capsys, at):
    expected, calls, plain = straight("ppo"), [0], record.play
    capsys.readouterr()
    monkeypatch.chdir(tmp_path)

    def play(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == at:
            signal.raise_signal(signal.SIGTERM)
        return plain(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(record, "play", play)
        assert started(patch, "ppo") == 143
    assert without_notes(capsys.readouterr().out) == SAID.format("SIGTERM")
    assert resumed(monkeypatch) == 0
    check_same(expected)


@pytest.mark.parametrize("before", [True, False])
def test_a_signal_while_a_checkpoint_is_written(tmp_path, straight, monkeypatch, capsys, before):
    expected, plain, send = straight("ppo"), checkpoint_files.write_atomically, once()
    capsys.readouterr()
    monkeypatch.chdir(tmp_path)

    def write(path: Path, content: bytes) -> None:
        if before:
            send()
        plain(path, content)
        send()

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_files, "write_atomically", write)
        patch.setattr(train, "CHECKPOINT_EVERY_S", 0.0)
        arguments = (*TRAININGS["ppo"], "--seeds", "0", "--run", "run", "--checkpoint-every", "0")
        assert call(patch, train, *arguments) == 143
    assert without_notes(capsys.readouterr().out) == SAID.format("SIGTERM")
    assert kept() >= 1
    assert resumed(monkeypatch) == 0
    check_same(expected)


@pytest.mark.parametrize("where", ["compiling", "before the first step", "while the expert is compiled"])
def test_a_signal_before_there_is_anything_to_keep(tmp_path, straight, monkeypatch, capsys, where):
    name = "dagger" if "expert" in where else "ppo"
    expected, send = straight(name), once()
    capsys.readouterr()
    monkeypatch.chdir(tmp_path)

    def sent(plain: Any) -> Any:
        def wrapped(*arguments: Any, **more: Any) -> Any:
            send()
            return plain(*arguments, **more)

        return wrapped

    with monkeypatch.context() as patch:
        if where == "compiling":
            patch.setattr(trainer, "warm_up", sent(trainer.warm_up))
        elif where == "before the first step":
            patch.setattr(WorldVecEnv, "reset", sent(WorldVecEnv.reset))
        else:
            from agents.training import dagger

            patch.setattr(dagger, "make_baseline", sent(dagger.make_baseline))
        assert started(patch, name) == 143
    assert without_notes(capsys.readouterr().out) == NOTHING
    assert kept() == 0
    if where == "compiling":
        assert {file.name for file in Path("run").iterdir()} == {CONFIG, LOCK}
    assert resumed(monkeypatch) == 0
    assert "note: no checkpoint: starting again" in capsys.readouterr().out
    check_same(expected)


def test_a_signal_in_the_second_round_of_imitation(tmp_path, straight, monkeypatch, capsys):
    """The round is brought to its end; what is kept is both."""
    expected, rounds, plain, send = straight("dagger"), [0], Demonstrations.save, once()
    monkeypatch.chdir(tmp_path)
    reached = record.Record.advance_to

    def save(self: Demonstrations) -> Any:
        rounds[0] = len(self.rounds)
        return plain(self)

    def at(self: record.Record, steps: int) -> None:
        reached(self, steps)
        if rounds[0] == 1:
            send()

    with monkeypatch.context() as patch:
        patch.setattr(Demonstrations, "save", save)
        patch.setattr(record.Record, "advance_to", at)
        assert started(patch, "dagger") == 143
    assert rounds == [2]
    assert resumed(monkeypatch) == 0
    check_same(expected)


@pytest.mark.parametrize("name", ["ppo", "dagger"])
def test_a_signal_in_the_last_update_ends_the_training_and_spares_the_table(
    tmp_path, straight, monkeypatch, capsys, name
):  # fmt: skip
    expected, send = straight(name), once()
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(record.Record, "advance_to", at_the_end(send))
        patch.setattr(train, "show_comparison", lambda *_: pytest.fail("a table"))
        assert call(patch, train, *ENV, *TRAININGS[name], "--run", "run") == 143
    out = capsys.readouterr().out
    assert "\ninterrupted by SIGTERM after the end of the training; the networks are saved in run\n" in out
    assert Run.open(Path("run")).finished
    check_same(expected)


def test_a_signal_while_the_folder_is_made_leaves_one_that_can_be_gone_on_with(
    tmp_path, straight, monkeypatch, capsys
):  # fmt: skip
    expected, plain, send = straight("ppo"), Run.tidy, once()
    capsys.readouterr()
    monkeypatch.chdir(tmp_path)

    def tidy(self: Run) -> None:
        send()
        plain(self)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "tidy", tidy)
        assert started(patch, "ppo") == 143
    assert without_notes(capsys.readouterr().out) == NOTHING
    assert resumed(monkeypatch) == 0
    check_same(expected)


@pytest.mark.parametrize("where", ["tidy", "save_network", "finish"])
def test_a_signal_while_an_import_is_written_leaves_a_whole_run(tmp_path, monkeypatch, capfd, where):
    from stable_baselines3 import PPO

    monkeypatch.chdir(tmp_path)
    small: dict[str, Any] = {"num_devices": 2, "num_services": 1, "max_episode_steps": 10}
    PPO("MlpPolicy", gym.make("LyaPPO-v0", **small), n_steps=2, batch_size=2).save("model")
    plain, send = getattr(Run, where), once()

    def sent(self: Run, *arguments: Any) -> None:
        send()
        plain(self, *arguments)

    arguments = ("--import-sb3", "model.zip", "--policy", "central", "--seeds", "1", "--run", "run", "--set", *SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(Run, where, sent)
        assert call(patch, train, *ENV, *arguments) == 143
    found = capfd.readouterr()
    assert "interrupted by SIGTERM after the end of the training; the networks are saved in run\n" in found.out
    assert "\nSIGTERM: stopping after the run folder is written; a second signal stops at once\n" in found.err
    run = Run.open(Path("run"))
    assert run.finished
    run.load_policy(system_of("LyaPPO-v0", "default", small), LAST)


def test_a_signal_before_there_is_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    plain, send = train.configure, once()

    def configure(arguments: train.Arguments) -> RunConfig:
        send()
        return plain(arguments)

    monkeypatch.setattr(train, "configure", configure)
    assert call(monkeypatch, train, *ENV, *QUICK, "--run", "run") == 143
    assert capsys.readouterr().out == "interrupted by SIGTERM; nothing was written\n"
    assert not Path("run").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_process_cleanly(tmp_path, number):
    """As a terminal and a batch system send it, while steps are being taken."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *ENV, "--steps", "10000000", "--num-envs", "16", "--run", "run"],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell's background job would start with the signal ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        evaluated = tmp_path / "run" / EVALUATION
        patience = time.monotonic() + 120
        while not evaluated.exists() and time.monotonic() < patience:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    assert f"\n{number.name}: stopping after this update; a second signal stops at once\n" in err
    assert without_notes(out) == SAID.format(number.name)
    assert {BEST, LAST, CONFIG, EVALUATION} <= {file.name for file in (tmp_path / "run").iterdir()}
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert len(list((tmp_path / "run" / CHECKPOINTS).iterdir())) == 1
    done = execute("evaluate.py", *EVALUATE, "fixed", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert table_rows(done.stdout) == ["fixed", "run"]


HEARING = """
import sys, time
from agents.training.stopping import StopRequest
stop = StopRequest()
with stop.listening():
    print("hearing", flush=True)
    while not stop.number:
        time.sleep(0.01)
    print("asked", flush=True)
    time.sleep(600)
"""


def hearing(**more: Any) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HEARING], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "hearing\n"
    return process


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_process_at_once(second):
    process = hearing(preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    try:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        process.send_signal(second)
        assert process.wait(60) == -second
    finally:
        process.kill()
        process.communicate()


def test_a_signal_that_the_parent_ignores_stays_ignored():
    """As `nohup` and a shell's background jobs have it."""
    process = hearing(preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    try:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM
        assert process.stderr is not None
        assert process.stderr.read() == "\nSIGTERM: stopping after this update; a second signal stops at once\n"
    finally:
        process.kill()
        process.communicate()


def test_a_signal_while_packages_are_imported(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("")
    code = (
        "import os, runpy, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'tyro':\n"
        "            signal.raise_signal(signal.SIGTERM)\n"
        "sys.meta_path.insert(0, Finder())\n"
        f"sys.argv = ['train.py', '--help']\nrunpy.run_path({str(ROOT / 'train.py')!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 143
    assert (done.stdout, done.stderr) == ("", "interrupted by SIGTERM during start-up; nothing was written\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["score", "best"])
def test_a_signal_in_the_table_keeps_the_run(tmp_path, monkeypatch, capsys, where, number):
    monkeypatch.chdir(tmp_path)

    def stop(*args: Any, **kwargs: Any) -> Any:
        signal.raise_signal(number)

    monkeypatch.setattr(*((comparing, "score") if where == "score" else (contestants, "make_baseline")), stop)
    arguments = ("--steps", "64", "--num-envs", "16", "--run", "run", "--set", *SMALL)
    assert call(monkeypatch, train, *ENV, *arguments) == 128 + number
    out = capsys.readouterr().out
    assert f"\ninterrupted by {number.name} after the end of the training; the networks are saved in run\n" in out
    assert "\nrun folder: run\ncurves: " in out
    assert out.endswith(" -m tensorboard.main --logdir .\n")
    assert (tmp_path / "run" / LAST).exists()
    files = ("--json", "a.json", "--set", *SMALL)
    assert call(monkeypatch, evaluate, *EVALUATE, "fixed", *files) == 128 + number
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.splitlines()[-1] == f"interrupted by {number.name}"
    assert not Path("a.json").exists()


def test_an_experiment_stops_with_its_training(tmp_path, monkeypatch):
    """It does not go on to the next one, and begins where it was when it is started again."""
    config = RunConfig(
        env_id="LyaPPO-v0", options={"num_devices": 2, "max_episode_steps": 10},
        settings=Settings(steps=640, num_envs=16, n_steps=4),
    )  # fmt: skip
    plain, send = record.Record.advance_to, once()

    def reached(self: record.Record, steps: int) -> None:
        plain(self, steps)
        send()

    with monkeypatch.context() as patch:
        patch.setattr(record.Record, "advance_to", reached)
        with pytest.raises(Stopped, match="SIGTERM"):
            trained(config, tmp_path / "run")
    run = trained(config, tmp_path / "run")
    assert run.finished


def test_an_experiment_stops_after_a_signal_in_the_last_update(tmp_path, monkeypatch):
    """Its training is finished then, and the next one does not begin."""
    config = RunConfig(
        env_id="LyaPPO-v0", options={"num_devices": 2, "max_episode_steps": 10},
        settings=Settings(steps=640, num_envs=16, n_steps=4),
    )  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(record.Record, "advance_to", at_the_end(once()))
        with pytest.raises(Stopped, match="SIGTERM"):
            trained(config, tmp_path / "run")
    assert Run.open(tmp_path / "run").finished
    assert trained(config, tmp_path / "run").finished


def test_the_training_benchmark_stops_after_a_signal_in_the_last_update(monkeypatch):
    options = {"num_devices": 2, "num_services": 1, "max_episode_steps": 10}
    begun: list[int] = []

    def usual_run(env_id: str, seed: int) -> RunConfig:
        begun.append(seed)
        return RunConfig(
            env_id=env_id, options=options, settings=Settings(steps=640, num_envs=16, n_steps=4), seed=seed
        )

    monkeypatch.setattr(benchmark, "ENVIRONMENTS", {"LyaPPO-v0": None})
    monkeypatch.setattr(benchmark, "usual_run", usual_run)
    monkeypatch.setattr(record.Record, "advance_to", at_the_end(once()))
    with pytest.raises(Stopped, match="SIGTERM"):
        benchmark.share(2)
    assert begun == [0]


def test_handlers_are_put_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert started(monkeypatch, "ppo") == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
