"""Common parts of the experiments: the command, formatted numbers, captions and the published pages."""

from __future__ import annotations

import io
import math
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console

from agents.evaluation.bootstrap import Resampled, difference
from agents.evaluation.episodes import Scores
from agents.evaluation.statistics import ABSENT, Interval, plus_minus
from agents.runs.provenance import provenance, stamp
from edge_envs.core.io.arguments import parse_arguments
from edge_envs.core.io.command import guarded
from edge_envs.core.io.files import write_atomically, write_json
from edge_envs.core.validation import whole_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")
LINE_LENGTH = 120
LIST_ITEM = re.compile(r"([-+*#>]|\d+[.)])\s")
"""Beginnings of lines that Markdown does not read as the continuation of a paragraph."""


def command(kind: type[T], description: str | None, job: Callable[[T], None]) -> int:
    """Run an experiment with the command line's arguments; returns the exit status.

    Bad input (numbers below 1, unknown presets, an invalid folder) ends in one line before any work.
    """

    def checked() -> int:
        arguments = parse_arguments(kind, description)
        check(vars(arguments))
        job(arguments)
        return 0

    return guarded(checked, "the results cannot be written ({error}); name another folder with --out")


def check(arguments: Mapping[str, Any]) -> None:
    """Check an experiment's arguments.

    Raises:
        ValueError: a number below 1, or a folder that cannot be written.
        OSError: the folder for the results cannot be created.
    """
    for name, value in arguments.items():
        if type(value) is int:
            whole_number(f"--{name.replace('_', '-')}", value, 1)
    out: Path = arguments["out"]
    out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK):
        raise ValueError(f"--out {out} cannot be written; name another folder")


def spread_text(value: Interval | Mapping[str, Any], digits: int, sign: str = "") -> str:
    """Format mean ± half width with `digits` decimals; the mean alone where there is no interval.

    Args:
        value: an interval, or a mapping with the keys "mean" and "half_width".
        digits: number of decimals.
        sign: "+" to show the sign of a positive mean.
    """
    mean, half = (value.mean, value.half_width) if isinstance(value, Interval) else (value["mean"], value["half_width"])
    if math.isnan(mean):
        return ABSENT
    return f"{mean:{sign}.{digits}f}" + (f" ± {half:.{digits}f}" if math.isfinite(half) else "")


def percent(own: Scores, reference: Scores, name: str) -> Interval:
    """Paired difference of two means on the same episodes, in percent of the reference's mean."""
    ours, theirs = (Resampled(scores.episodes[name]) for scores in (own, reference))
    gap, scale = difference(ours, theirs), abs(float(theirs.values.mean())) / 100.0
    return Interval(gap.mean / scale, gap.low / scale, gap.high / scale)


def percent_text(value: Interval) -> str:
    """Format a difference in percent with sign and half width."""
    return spread_text(value, 1, "+") + " %"


def by_seed_text(values: Sequence[float], digits: int, sign: str = "") -> str:
    """Format the values of several trainings; "-" for a single one."""
    return ", ".join(f"{value:{sign}.{digits}f}" for value in values) if len(values) > 1 else "-"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table in Markdown."""
    return [_row(heads), "|" + "---|" * len(heads), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def caption(units: str, trainings: int = 0, spread: bool = True) -> str:
    """Caption of a table: the meaning of ±, the number of trainings per learned row, and the commit.

    Args:
        units: number and kind of independent samples: "30 draws", "20 episodes (5 seeds x 4)".
        trainings: trainings per learned row; 0 where no row is learned.
        spread: True if the table contains ±.
    """
    learned = f"{trainings} trainings per learned row" if trainings > 1 else "1 training per learned row"
    parts = [
        plus_minus(units, trainings > 1) if spread else f"Means over the {units}",
        learned if trainings else "no row has trained networks",
        stamp(),
    ]
    return "; ".join(parts) + "."


def wrapped(page: str) -> str:
    """Break the paragraphs of a Markdown page into lines of at most 120 characters; tables stay as they are."""
    return "\n".join(line if line.startswith(("|", "#", "!")) else _wrapped(line) for line in page.split("\n"))


def _wrapped(paragraph: str) -> str:
    for width in range(LINE_LENGTH, LINE_LENGTH // 2, -1):
        lines = textwrap.wrap(paragraph, width, break_long_words=False, break_on_hyphens=False)
        if not any(LIST_ITEM.match(line) for line in lines[1:]):
            return "\n".join(lines)
    return paragraph


def publish(folder: Path, name: str, lines: Sequence[str], document: Mapping[str, Any]) -> None:
    """Write `name`.md and `name`.json, with the provenance of this process, and print the page."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{name}.md", (wrapped("\n".join(lines)).rstrip() + "\n").encode())
    origin = provenance() | {"command": ["python", "-m", f"experiments.{name}", *sys.argv[1:]]}
    write_json(folder / f"{name}.json", {**document, "provenance": origin})
    Console().print("\n".join(lines), markup=False, soft_wrap=True)


def save_figure(folder: Path, name: str, figure: Figure) -> None:
    """Write `name`.png."""
    memory = io.BytesIO()
    figure.savefig(memory, format="png")
    write_atomically(folder / f"{name}.png", memory.getvalue())
