"""Options as key=value, and errors as one line."""

from __future__ import annotations

import math
import sys
import warnings
from dataclasses import dataclass
from typing import Literal

import pytest

from agents.command_line import parse_arguments, parse_options, plain_id, unboxed
from edge_envs.core.io.command import fail


def test_values_are_json_where_they_parse():
    pairs = [
        "a=1", "b=2.5", "c=true", "d=null", 'e=["x", "y@32"]', "f=text", 'g="quoted"', "h=1e-3", "i=-4", "j=",
        "k=a=b", "l= 3 ", "m=True", "n=01", 'o={"p": 1}', "q=mobile",
    ]  # fmt: skip
    assert parse_options(pairs) == {
        "a": 1, "b": 2.5, "c": True, "d": None, "e": ["x", "y@32"], "f": "text", "g": "quoted", "h": 1e-3, "i": -4,
        "j": "", "k": "a=b", "l": 3, "m": "True", "n": "01", "o": {"p": 1}, "q": "mobile",
    }  # fmt: skip
    assert type(parse_options(["a=1"])["a"]) is int
    assert math.isnan(parse_options(["a=NaN"])["a"])  # refused later, by the configuration
    assert parse_options([]) == {}


@pytest.mark.parametrize("pair", ["", "novalue", "=3", "="])
def test_what_is_no_pair_is_named(pair):
    with pytest.raises(ValueError, match="is not of the form key=value") as caught:
        parse_options(["a=1", pair])
    assert repr(pair) in str(caught.value)


def test_a_key_twice_is_refused():
    with pytest.raises(ValueError, match="'a' twice"):
        parse_options(["a=1", "b=2", "a=1"])


@pytest.mark.parametrize("text", ["9" * 5000, "[" * 100_000])
def test_json_beyond_the_parsers_limits_is_text(text):
    assert parse_options([f"a={text}"]) == {"a": text}


def test_failing_takes_one_line_and_status_2(capsys):
    with pytest.raises(SystemExit) as caught:
        fail(ValueError("first\n  second\n\nthird"))
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: first second third\n"


@dataclass(frozen=True)
class Command:
    """Something to parse."""

    env: str
    """Where."""
    steps: int | None = None
    """How long."""
    agent: Literal["ppo", "ddpg"] = "ppo"
    """Who."""


def parse(monkeypatch: pytest.MonkeyPatch, *words: str) -> Command:
    monkeypatch.setattr(sys, "argv", ["script.py", *words])
    return parse_arguments(Command, "A script.")


def test_a_command_line_that_can_be_parsed(monkeypatch, capsys):
    assert parse(monkeypatch, "--env", "x", "--steps", "3") == Command("x", 3)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), ("Missing from script.py", "--env")),
        (("--env", "x", "--steps", "abc"), ("--steps 'abc' is not possible", "give a whole number")),
        (("--env", "x", "--agent", "dqn"), ("--agent 'dqn' does not exist", "known: ddpg, ppo")),
        (("--env", "x", "--stes", "4"), ("--stes", "did you mean --steps?")),
        (("--env",), ("--env is given without a value", "give one")),
        (("--nothing-like-it", "4"), ("--nothing-like-it", "--help lists all")),
    ],
)
def test_a_command_line_that_cannot_takes_one_line(monkeypatch, capsys, words, told, colour):
    if colour:
        monkeypatch.setenv("FORCE_COLOR", "1")
    with pytest.raises(SystemExit) as caught:
        parse(monkeypatch, *words)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert all(part in err for part in told), err
    assert not set(err) & set("─│╭╮╰╯\x1b")
    assert len(err) < 300


def test_help_is_no_error(monkeypatch, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(monkeypatch, "--help")
    assert not caught.value.code
    out, err = capsys.readouterr()
    assert "A script." in out
    assert err == ""


def test_what_the_parser_says_beside_parsing_is_not_lost(monkeypatch, capsys):
    def parser(kind: type[Command], **_: object) -> Command:
        print("deprecated", file=sys.stderr)
        return kind("x")

    monkeypatch.setattr("tyro.cli", parser)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse(monkeypatch) == Command("x")
    assert capsys.readouterr().err == "deprecated\n"


def test_silence_of_the_parser_is_an_error_too(monkeypatch, capsys):
    def parser(*_: object, **__: object) -> Command:
        raise SystemExit(2)

    monkeypatch.setattr("tyro.cli", parser)
    with pytest.raises(SystemExit) as caught:
        parse(monkeypatch)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: the command line cannot be read; see --help\n"


def test_frames_of_both_kinds_are_taken_off():
    boxed = "╭─ Value error ─────╮\n│ Error parsing --a: wrong. │\n│ ─────────────── │\n│ For full helptext, x │\n╰───╯"
    plain = " Value error  \n ------------ \n  Error parsing --a:\n  wrong.\n  ------------ \n  For full helptext \n"
    for text in (boxed, plain, "Error parsing --a: wrong."):
        assert unboxed(text) == "--a: wrong"
    assert unboxed("") == ""


def test_plain_id_imports_the_module_in_front(tmp_path, monkeypatch):
    (tmp_path / "own_module_of_a_user.py").write_text("imported = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert plain_id("LyaPPO-v0") == plain_id("edge_envs:LyaPPO-v0") == "LyaPPO-v0"
    assert plain_id("own_module_of_a_user:Own-v0") == "Own-v0"
    assert sys.modules["own_module_of_a_user"].imported
    for wrong in ("no_such_module:Own-v0", ".relative:Own-v0"):
        with pytest.raises(ValueError, match=rf"env='{wrong}' names the module .* which cannot be imported"):
            plain_id(wrong)
