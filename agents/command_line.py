"""What the two scripts share: options as key=value, and one line for every bad input."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import tyro

from edge_envs.core.config import nearest
from edge_envs.core.io.command import fail, print_anything

T = TypeVar("T")


def parse_arguments(kind: type[T], description: str | None) -> T:
    """The command line as a dataclass; what cannot be parsed ends in one line, as all bad input does.

    Raises:
        SystemExit: status 2 for bad input, 0 after `--help`.
    """
    print_anything()
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            arguments = tyro.cli(kind, description=description)
    except SystemExit as stop:
        if stop.code:
            fail(unboxed(said.getvalue()) or "the command line cannot be read; see --help")
        raise
    sys.stderr.write(said.getvalue())
    return arguments


def unboxed(text: str) -> str:
    """tyro's complaint without its frame, colours, and help texts of options that exist; parts stand after semicolons.

    Tyro has no public way to get at the bare message.
    """
    lines = [line.strip(" │|╭╰╮╯+") for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()]
    if len(lines) > 1:
        del lines[0]  # the frame's title
    parts = [" ".join(part.split()) for part in re.split(r"[─-]{9,}", "\n".join(lines))]
    told = [part for part in parts if part and not part.startswith(("Argument helptext", "For full helptext"))]
    cause = [part.removeprefix("Error parsing ").partition(" Got errors:")[0].rstrip(" .") for part in told]
    if cause and cause[-1].startswith("Unrecognized options"):
        cause.append("--help lists all")
    return "; ".join(map(with_mend, cause))


KINDS = {"INT": "a whole number", "FLOAT": "a number", "int": "a whole number", "float": "a number"}


def with_mend(complaint: str) -> str:
    """One of tyro's complaints in the words of all other errors: the value, and what to give in its place."""
    text = complaint.replace("{None}|", "")
    choice = re.fullmatch(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\)", text)
    if choice:
        known = sorted(set(re.findall(r"'([^']*)'", choice[3])) - {"None"})
        return f"{choice[2]} {choice[1]!r} does not exist; {nearest(choice[1], known)}"
    for pattern in (
        r"(?P<name>--\S+): no type matching (?P<kind>\w+) could be instantiated from \['(?P<value>.*)'\]",
        r"(?P<name>--\S+): invalid literal for (?P<kind>int)\(\) with base 10: '(?P<value>.*)'",
        r"(?P<name>--\S+): could not convert string to (?P<kind>float): '(?P<value>.*)'",
    ):
        number = re.fullmatch(pattern, text)
        if number and number["kind"] in KINDS:
            return f"{number['name']} {number['value']!r} is not possible; give {KINDS[number['kind']]}"
    meant = re.fullmatch(r"Perhaps you meant: (--\S+) .*", text)
    if meant:
        return f"did you mean {meant[1]}?"
    missing = re.fullmatch(r"Missing value for argument '(.*)'\. Expected .*", text)
    return f"{missing[1]} is given without a value; give one" if missing else text


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Environment parameters from key=value strings; values are JSON where they parse, else text.

    Raises:
        ValueError: a string without "=", an empty key, or a key given twice.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key:
            raise ValueError(f"--set {pair!r} is not of the form key=value, as in num_devices=3")
        if key in options:
            raise ValueError(f"--set names {key!r} twice; give it once")
        try:
            options[key] = json.loads(text)
        except (ValueError, RecursionError):
            options[key] = text
    return options


def tensorboard_command(folder: Path) -> str:
    """The command that shows the curves of the runs in a folder, with this interpreter."""
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    return f"{python} -m tensorboard.main --logdir {folder}"


def plain_id(env_id: str) -> str:
    """An environment id without the module that `gym.make` accepts in front of it; the module is imported.

    Raises:
        ValueError: the module cannot be imported.
    """
    module, _, name = env_id.rpartition(":")
    try:
        if module:
            import_module(module)
    except (ImportError, TypeError, ValueError) as error:
        raise ValueError(f"env={env_id!r} names the module {module!r}, which cannot be imported ({error})") from error
    return name
