"""The command-line parser of all commands: it fills a dataclass, or prints a one-line error and exits.

It needs tyro, which the extras `train` and `codec` install.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from edge_envs.core.io.command import fail, print_anything
from edge_envs.core.validation import nearest

T = TypeVar("T")
KINDS = {int: "a whole number", float: "a number"}


def parse_arguments(kind: type[T], description: str | None, words: Sequence[str] | None = None) -> T:
    """Parse the command line into a dataclass; bad input ends in one line on standard error.

    Args:
        kind: a dataclass; every field is an option and has a default.
        description: first lines of the help text.
        words: the command line (default: that of this process).

    Raises:
        SystemExit: status 2 for bad input, 0 after `--help`.
        ImportError: tyro is not installed.
    """
    print_anything()
    simplify_help(kind)
    words = list(sys.argv[1:] if words is None else words)
    found = _parse(kind, words, description)
    if found is None:
        fail(_reason(kind, words))
    arguments, unknown = found
    if unknown:
        fail(_unknown_words(kind, unknown))
    return arguments


def simplify_help(kind: type[Any]) -> None:
    """Omit None from the help of options: as a possible value, and as a default, which the help text explains."""
    import tyro

    hints = get_type_hints(kind)
    for field in fields(kind):
        if field.default is None:
            names = [
                f"{{{','.join(map(str, get_args(each)))}}}" if get_origin(each) is Literal else each.__name__.upper()
                for each in _types_in(hints[field.name])
                if each is not type(None)
            ]
            shown = tyro.conf.arg(metavar="|".join(names), help_behavior_hint="")
            kind.__annotations__[field.name] = Annotated[hints[field.name], shown]


def _parse(kind: type[T], words: Sequence[str], description: str | None = None) -> tuple[T, list[str]] | None:
    """Arguments and unknown words; None for bad input, without tyro's own error message."""
    import tyro

    message = io.StringIO()
    try:
        with redirect_stderr(message):
            found = tyro.cli(kind, prog=_program(), description=description, args=words, return_unknown_args=True)
    except SystemExit as stop:
        if stop.code:
            return None
        raise
    sys.stderr.write(message.getvalue())
    return found


def _program() -> str:
    """The command's name in its help text: that of a script, or `python -m` and a module."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return Path(sys.argv[0]).name if spec is None else f"python -m {spec.name.removesuffix('.__main__')}"


def _reason(kind: type[Any], words: Sequence[str]) -> str:
    """Why tyro rejects these words: the first option that is invalid by itself, and its first invalid value."""
    for option, values in _by_option(words):
        if _parse(kind, [option, *values]) is None:
            bad = next((value for value in values if _parse(kind, [option, value]) is None), None)
            return _bad_value(kind, option, bad)
    return "the command line cannot be read; see --help"


def _by_option(words: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Options with the values that follow them."""
    groups: list[tuple[str, list[str]]] = []
    for word in words:
        if word.startswith("--"):
            option, separator, value = word.partition("=")
            groups.append((option, [value] if separator else []))
        elif groups:
            groups[-1][1].append(word)
    return groups


def _bad_value(kind: type[Any], option: str, value: str | None) -> str:
    if value is None:
        return f"{option} is given without a value; give one"
    types = _types_in(get_type_hints(kind).get(option.removeprefix("--").replace("-", "_")))
    choices = sorted(str(choice) for each in types if get_origin(each) is Literal for choice in get_args(each))
    if choices:
        return f"{option} {value!r} does not exist; {nearest(value, choices)}"
    return f"{option} {value!r} is not possible; " + next(
        (f"give {text}" for each, text in KINDS.items() if each in types), "see --help"
    )


def _types_in(hint: Any) -> list[Any]:
    """The members of a union, the items of a tuple, or the type itself."""
    parts = () if get_origin(hint) is Literal else get_args(hint)
    return [each for part in parts for each in _types_in(part)] if parts else [hint]


def _unknown_words(kind: type[Any], words: Sequence[str]) -> str:
    option = next((word.partition("=")[0] for word in words if word.startswith("-")), None)
    if option is None:
        return f"unexpected argument {words[0]!r}; options begin with --, and --help lists them"
    known = [name.replace("_", "-") for name in get_type_hints(kind)]
    close = get_close_matches(option.lstrip("-"), known, n=1)
    return f"{option} does not exist; " + (f"did you mean --{close[0]}?" if close else "--help lists all options")
