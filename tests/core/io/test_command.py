"""Consoles that lack characters, and signals, in what every command line shares."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge_envs.core.io.command import Stopped, encodes, fail, guarded, handling, plain, print_anything, status_of

ROOT = Path(__file__).parents[3]
TEXT = "1 ± 2 \u00d7 3 µs ≥ 4\u2013\u22125 … ┃─┏ ⠋ █ café \u4e2d"
PLAIN_TEXT = "1 +- 2 x 3 us >= 4--5 ... |-+ * # cafe \\u4e2d"
CODE = f"""
import sys
from edge_envs.core.io.command import guarded

def job():
    print({TEXT!r})
    print({TEXT!r}, file=sys.stderr)
    return 0

sys.exit(guarded(job))
"""


def test_each_character_has_a_plain_form():
    assert "".join(each if each.isascii() else plain(each) for each in TEXT) == PLAIN_TEXT
    assert plain("\udcff") == "\\udcff"


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", TEXT), ("ascii", PLAIN_TEXT), ("ascii:surrogateescape", PLAIN_TEXT),
        ("latin-1", "1 ± 2 \u00d7 3 µs >= 4--5 ... |-+ * # café \\u4e2d"), ("ascii:ignore", None),
    ],
)  # fmt: skip
def test_a_console_that_lacks_characters(encoding, shown):
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, check=False, timeout=120,
        env={"PYTHONIOENCODING": encoding, "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out, err = (text.decode(encoding.partition(":")[0]) for text in (done.stdout, done.stderr))
    if shown is None:  # what the user asked for
        assert "+-" not in out
        return
    assert out == f"{shown}\n"
    assert err == f"{shown}\n"


def test_file_names_that_are_no_text(monkeypatch):
    """Linux allows any bytes in them."""
    console = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", console)
    print_anything()
    print("runs/\udcff")
    console.flush()
    assert console.buffer.getvalue() == b"runs/\\udcff\n"  # type: ignore[attr-defined]


def test_encodes():
    assert encodes(io.StringIO(), "±")
    assert not encodes(io.TextIOWrapper(io.BytesIO(), encoding="ascii"), "±")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_in_one_line(capsys, number):
    before = signal.getsignal(number)

    def job() -> int:
        signal.raise_signal(number)
        return 0

    assert guarded(job) == 128 + number
    assert capsys.readouterr() == ("", f"interrupted by {number.name}\n")
    assert signal.getsignal(number) == before


def test_an_interrupt_that_is_no_signal(capsys):
    def job() -> int:
        raise KeyboardInterrupt

    assert guarded(job) == status_of(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "interrupted by SIGINT\n"
    assert status_of(Stopped(signal.SIGTERM)) == 143


def test_another_thread_handles_no_signals():
    found = []

    def work() -> None:
        with handling(lambda *_: None):
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]


def test_a_reader_that_leaves(tmp_path):
    """As `| head -1` does."""
    code = "from edge_envs.core.io.command import guarded\nimport sys\n" + (
        "def job():\n    for _ in range(100_000):\n        print('line')\n    return 0\nsys.exit(guarded(job))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "line\n"
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(60) == 1


def test_failing_takes_one_line_and_status_2(capsys):
    with pytest.raises(SystemExit) as caught:
        fail(ValueError("first\n  second\n\nthird"))
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: first second third\n"
