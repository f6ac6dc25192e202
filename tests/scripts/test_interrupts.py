"""Ctrl-C before, in and after the training."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Any

import pytest

import evaluate
import train
from agents import compare as comparing
from agents import entries, learn
from agents.runs import BEST, CONFIG, EVALUATION, LAST, Run
from tests.scripts.running import ENV, EVALUATE, QUICK, ROOT, SMALL, call, environment, execute, table_rows


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
    assert "(interrupted; the model is saved; go on with --resume run)" in out
    assert "\nrun folder: run\ncurves: " in out
    assert out.endswith(" -m tensorboard.main --logdir .\n")
    assert {BEST, LAST, CONFIG, EVALUATION} <= {file.name for file in (tmp_path / "run").iterdir()}
    assert not list((tmp_path / "run").glob("*.tmp"))
    done = execute("evaluate.py", *EVALUATE, "fixed", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert table_rows(done.stdout) == ["fixed", "run"]
    assert not Run.open(tmp_path / "run").finished


@pytest.mark.parametrize("where", ["score", "best"])
def test_an_interrupt_of_the_table_keeps_the_run(tmp_path, monkeypatch, capsys, where):
    monkeypatch.chdir(tmp_path)

    def stop(*args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(*((comparing, "score") if where == "score" else (entries, "make_baseline")), stop)
    arguments = ("--steps", "64", "--num-envs", "16", "--run", "run", "--set", *SMALL)
    assert call(monkeypatch, train, *ENV, *arguments) == 130
    out = capsys.readouterr().out
    assert "\nrun folder: run\ncurves: " in out
    assert out.endswith(" -m tensorboard.main --logdir .\n")
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
