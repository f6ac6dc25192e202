"""Validation curves from run folders of unknown origin."""

from __future__ import annotations

import csv
import io
import itertools
import math
from pathlib import Path
from typing import Any

from agents.runs.folder import EVALUATION, Run
from agents.untrusted import read_capped, shown

NUMBERS = "step", "reward"
"""Columns that must be finite; other metrics may be NaN or infinite, such as the certificate of an uncertified step."""
LARGEST_BYTES = 1 << 20
"""Size of the largest table of validations that is read."""


def curve_of(run: Run) -> dict[str, Any]:
    """A run's validations: `steps`, and a list of values for each of `metrics`.

    Raises:
        ValueError: the table is missing, no regular file, too large or damaged; the message names the file.
    """
    file = run.path / EVALUATION
    try:
        text = read_capped(file, LARGEST_BYTES).decode()
        names, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        columns = _columns(names, rows)
    except OSError as error:
        raise ValueError(f"no curve of {file} ({error.strerror})") from error
    except (ValueError, csv.Error) as error:
        raise ValueError(f"no curve of {file} ({shown(str(error))[1:-1]})") from error
    steps = columns.pop("step")
    return {"run": str(Path(run.path)), "steps": [int(step) for step in steps], "metrics": columns}


def _columns(names: list[str], rows: list[list[str]]) -> dict[str, list[Any]]:
    """The table's columns by name, with None for NaN and infinite values.

    Raises:
        ValueError: a name occurs twice or `step` is missing, rows differ in length, a value is not a number, a step or
            a reward is not finite, or the steps decrease.
    """
    if "step" not in names or len(set(names)) < len(names):
        raise ValueError("its columns are not those of a table of validations")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise ValueError(f"row {number} has {len(row)} values for {len(names)} columns")
        for name, text in zip(names, row, strict=True):
            value = float(text)
            if not math.isfinite(value) and name in NUMBERS:
                raise ValueError(f"{name} is {text} in row {number}")
            columns[name].append(value if math.isfinite(value) else None)
    steps = columns["step"]
    if not steps or any(after < before for before, after in itertools.pairwise(steps)):
        raise ValueError("its steps decrease, or there are none")
    return columns
