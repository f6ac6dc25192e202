"""What is shown meanwhile, on terminals and elsewhere."""

from __future__ import annotations

import io
import sys

from rich.console import Console

from agents.console import Activity, sign_of


def shown(monkeypatch, capsys, **variables: str) -> str:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_INTERACTIVE", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with Activity() as notify:
        notify("playing best-fixed (1 of 2)")
        notify("playing [bold] (2 of 2)")
    out, err = capsys.readouterr()
    assert out == ""
    return str(err)


def test_without_a_terminal_there_is_a_line_each(monkeypatch, capsys):
    assert shown(monkeypatch, capsys) == "playing best-fixed (1 of 2)\nplaying [bold] (2 of 2)\n"


def test_on_a_terminal_one_line_changes_and_goes(monkeypatch, capsys):
    err = shown(monkeypatch, capsys, FORCE_COLOR="1", TERM="xterm", COLUMNS="80")
    assert "playing [bold] (2 of 2)" in err
    assert "0:00:00" in err
    assert err.count("\n") == 1
    assert err.endswith("\n\x1b[?25h\r\x1b[1A\x1b[2K")  # the cursor is shown again, and the line is erased


def test_on_a_dumb_terminal_there_is_a_line_each(monkeypatch, capsys):
    err = shown(monkeypatch, capsys, FORCE_COLOR="1", TERM="dumb", COLUMNS="80")
    assert err == "playing best-fixed (1 of 2)\nplaying [bold] (2 of 2)\n"


def test_the_sign_of_a_spread():
    assert sign_of(Console(file=io.StringIO())) == "±"
    assert sign_of(Console(file=io.TextIOWrapper(io.BytesIO(), encoding="ascii"))) == "+-"
    assert sign_of(Console(file=sys.stdout)) in ("±", "+-")
