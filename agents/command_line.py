"""Helpers of `train.py` and `evaluate.py`: options as key=value, environment ids and the TensorBoard command."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


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
    """An environment id without the module that `gym.make` accepts in front of it."""
    return env_id.removeprefix("edge_envs:")
