"""Atomic writing of files."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary file in the same folder, sync it, and rename it, so that the file is never incomplete.

    If the process is killed meanwhile, the old file remains; a temporary file `.<name>.<process>.tmp` may remain, too.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, document: Any) -> None:
    """Write a document as JSON, atomically; numbers that are not finite become null."""
    write_atomically(path, (json.dumps(finite(document), indent=1, allow_nan=False) + "\n").encode())


def finite(found: Any) -> Any:
    """A copy of a document with None in place of numbers that are not finite."""
    if isinstance(found, Mapping):
        return {key: finite(value) for key, value in found.items()}
    if isinstance(found, (list, tuple)):
        return [finite(value) for value in found]
    return None if isinstance(found, float) and not math.isfinite(found) else found


def sync_folder(folder: Path) -> None:
    """Sync the entries of a folder to disk; does nothing on Windows."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
