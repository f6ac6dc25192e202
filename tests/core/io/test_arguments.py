"""The command-line parser: what it accepts, and one line of error for everything else."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

pytest.importorskip("tyro")

from edge_envs.core.io.arguments import parse_arguments

Agent = Literal["ppo", "ddpg"]


@dataclass(frozen=True)
class Command:
    """Options of every kind that the commands use."""

    env: str | None = None
    """Where."""
    steps: int | None = None
    """How long."""
    agent: Agent | None = None
    """Who."""
    users: tuple[int, ...] = (4,)
    """How many."""
    presets: tuple[Agent, ...] = ()
    """Several choices."""
    learning_rate: float = 1e-3
    """How fast."""
    out: Path = Path("runs")
    """Where to."""
    quick: bool = False
    """How well."""


def parse(monkeypatch: pytest.MonkeyPatch, *words: str) -> Command:
    monkeypatch.setattr(sys, "argv", ["script.py", *words])
    return parse_arguments(Command, "A script.")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), Command()),
        (("--env", "x", "--steps", "3"), Command("x", 3)),
        (("--steps=-3", "--learning-rate", "-1e-3"), Command(steps=-3, learning_rate=-1e-3)),
        (("--learning_rate", "2", "--quick"), Command(learning_rate=2.0, quick=True)),
        (("--users", "2", "-1", "--presets", "ppo", "ddpg"), Command(users=(2, -1), presets=("ppo", "ddpg"))),
        (("--users", "--agent", "ddpg", "--out", "a/b"), Command(users=(), agent="ddpg", out=Path("a/b"))),
    ],
)
def test_a_command_line_that_can_be_parsed(monkeypatch, capsys, words, expected):
    assert parse(monkeypatch, *words) == expected
    assert parse_arguments(Command, None, words) == expected
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--env", "x", "--steps", "abc"), "--steps 'abc' is not possible; give a whole number"),
        (("--steps", "1e4", "--env", "x"), "--steps '1e4' is not possible; give a whole number"),
        (("--steps=abc",), "--steps 'abc' is not possible; give a whole number"),
        (("--learning_rate", "fast"), "--learning_rate 'fast' is not possible; give a number"),
        (("--users", "2", "two", "3"), "--users 'two' is not possible; give a whole number"),
        (("--agent", "dqn"), "--agent 'dqn' does not exist; known: ddpg, ppo"),
        (("--presets", "ppo", "ddgp"), "--presets 'ddgp' does not exist; did you mean 'ddpg'?"),
        (("--stes", "4"), "--stes does not exist; did you mean --steps?"),
        (("--stes=4",), "--stes does not exist; did you mean --steps?"),
        (("--nothing-like-it", "4"), "--nothing-like-it does not exist; --help lists all options"),
        (("-s", "4"), "-s does not exist; --help lists all options"),
        (("--env",), "--env is given without a value; give one"),
        (("--env", "--steps", "3"), "--env is given without a value; give one"),
        (("--env", "x", "--steps", "4", "5"), "unexpected argument '5'; options begin with --, and --help lists them"),
        (("x", "--steps", "4"), "unexpected argument 'x'; options begin with --, and --help lists them"),
    ],
)
def test_bad_input_takes_one_line(monkeypatch, capsys, words, message, colour):
    if colour:
        monkeypatch.setenv("FORCE_COLOR", "1")
    with pytest.raises(SystemExit) as caught:
        parse(monkeypatch, *words)
    assert caught.value.code == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")


def test_help_is_no_error(monkeypatch, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(monkeypatch, "--help")
    assert not caught.value.code
    out, err = capsys.readouterr()
    assert "A script." in out
    assert all(f"--{name}" in out for name in ("env", "steps", "agent", "users", "learning-rate", "quick"))
    assert err == ""
    assert "None" not in out
    assert "--env STR" in out
    assert "--steps INT" in out
    assert "--agent {ppo,ddpg}" in out
    assert "(default: 0.001)" in out


def test_warnings_of_the_parser_are_shown(monkeypatch, capsys):
    def parser(kind: type[Command], **_: object) -> tuple[Command, list[str]]:
        print("deprecated", file=sys.stderr)
        return kind("x"), []

    monkeypatch.setattr("tyro.cli", parser)
    assert parse(monkeypatch) == Command("x")
    assert capsys.readouterr().err == "deprecated\n"


def test_an_error_without_a_known_reason(monkeypatch, capsys):
    def parser(*_: object, **__: object) -> Command:
        raise SystemExit(2)

    monkeypatch.setattr("tyro.cli", parser)
    with pytest.raises(SystemExit) as caught:
        parse(monkeypatch)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: the command line cannot be read; see --help\n"
