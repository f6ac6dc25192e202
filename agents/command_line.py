"""Helpers of `train.py` and `evaluate.py`: options as key=value, environment ids and the TensorBoard command."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Parse environment parameters of the form key=value; values are JSON where they parse as such, else text.

    Raises:
        ValueError: a string without "=", an empty key, or a repeated key.
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
    """Command line that starts TensorBoard on a folder of runs with the current interpreter."""
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
