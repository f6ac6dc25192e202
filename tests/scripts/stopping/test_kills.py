"""Trainings that are killed at random moments and resumed end as if they had never stopped; -rP shows the hashes."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util.tensor_util import make_ndarray

from agents.runs.folder import BEST, EVALUATION, LAST
from agents.runs.tensorboard import event_files
from tests.scripts.running import ROOT, environment

KILLS = 3
"""Kills of each training; with those of the last test at least 21 in all."""
TRAININGS: dict[str, tuple[str, ...]] = {
    "ppo, shared": ("--env", "LyaPPO-v0", "--steps", "4096", "--num-envs", "8", "--set", "num_devices=2"),
    "ddpg, central": (
        "--env", "LyaPPO-v0", "--agent", "ddpg", "--steps", "1200", "--num-envs", "8", "--set", "num_devices=2",
        "max_episode_steps=50",
    ),
    "td3, shared": (
        "--env", "SemCom-v0", "--agent", "td3", "--steps", "800", "--num-envs", "4", "--set", "num_devices=2",
        "max_episode_steps=40",
    ),
    "imitation, then ppo": (
        "--env", "LyaPPO-v0", "--expert", "best-fixed", "--steps", "512", "--num-envs", "2", "--set", "num_devices=2",
        "max_episode_steps=50",
    ),
    "member-ppo": (
        "--env", "ECCNOMA-v0", "--agent", "member-ppo", "--steps", "1600", "--num-envs", "8", "--set", "num_users=3",
        "num_aps=2", "num_subchannels=2", "max_episode_steps=20",
    ),
    "central ppo": (
        "--env", "DTIRS-v0", "--policy", "central", "--steps", "2048", "--num-envs", "4", "--set", "num_devices=2",
        "num_elements=4", "num_antennas=2", "max_episode_steps=20",
    ),
}  # fmt: skip


def hashes(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (BEST, LAST, EVALUATION)}


def curves(folder: Path) -> list[tuple[str, int, float]]:
    """Every point in the event files as they lie, without what clocks decide; no reader has left anything out."""
    points = []
    for file in event_files(folder):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                number = make_ndarray(value.tensor)
                if not value.tag.startswith("time/") and number.shape == () and number.dtype.kind == "f":
                    points.append((value.tag, event.step, float(number)))
    return points


@pytest.mark.parametrize("name", TRAININGS)
def test_a_killed_training_ends_as_one_that_never_stopped(tmp_path, name):
    program = str(ROOT / "tests/scripts/stopping/kill_training.py")
    done = subprocess.run(
        [sys.executable, program, str(tmp_path), "7", str(KILLS), *TRAININGS[name]],
        env=environment(), capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["kills"] >= KILLS
    # A training that began again would end alike.
    assert report["gone_on"] >= 1
    straight = tmp_path / "straight"
    expected = curves(straight)
    assert len({tag for tag, _, _ in expected}) > 10
    print(f"{name}: {report}, in all of them {hashes(straight)}")
    for number in range(report["victims"]):
        victim = tmp_path / f"victim{number}"
        assert hashes(victim) == hashes(straight)
        assert curves(victim) == expected
        assert not list(victim.rglob("*.tmp"))
        assert not (victim / "checkpoints").exists()


def test_the_command_line_goes_on_after_kills(tmp_path):
    """As a user does it: the process is killed from outside, and --resume starts another one."""
    # 80 updates, of which more than 30 are still to come at the last kill: on a busy machine it can be late.
    arguments = ("--env", "LyaPPO-v0", "--steps", "20480", "--num-envs", "8", "--set", "num_devices=2")
    command = [sys.executable, str(ROOT / "train.py")]
    common = ("--seeds", "0", "--checkpoint-every", "0")

    def start(*more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*command, *more, *common], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    straight = start(*arguments, "--run", "straight")
    out, _ = straight.communicate(timeout=300)
    assert straight.returncode == 0, out
    killed = 0
    victim: Any = start(*arguments, "--run", "victim")
    for checkpoints in (1, 20, 45):
        patience = time.monotonic() + 120
        while victim.poll() is None and time.monotonic() < patience:
            found = sorted((tmp_path / "victim" / "checkpoints").glob("checkpoint-*"))
            if found and int(found[-1].stem.partition("-")[2]) >= checkpoints:
                break
            time.sleep(0.01)
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
        killed += victim.returncode == -signal.SIGKILL
        victim = start("--resume", "victim")
    out, _ = victim.communicate(timeout=300)
    assert victim.returncode == 0, out
    assert killed == 3
    print(f"command line: {killed} kills, in both {hashes(tmp_path / 'straight')}")
    assert "note: resuming after " in out
    assert hashes(tmp_path / "victim") == hashes(tmp_path / "straight")
    assert curves(tmp_path / "victim") == curves(tmp_path / "straight")
