"""Reading files from others: capped sizes, printable names."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def shown(text: str) -> str:
    """A stranger's text for a message: printable ASCII in quotes, at most 60 characters of it."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")


class TooLargeError(ValueError):
    """A file that is larger than what is read."""


def read_capped(file: Path, limit_bytes: int) -> bytes:
    """Content of a regular file; pipes and devices are refused without waiting for them.

    Raises:
        ValueError: not a regular file.
        TooLargeError: one larger than the limit.
        OSError: it cannot be read.
    """
    handle = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        told = os.fstat(handle)
        if not stat.S_ISREG(told.st_mode):
            raise ValueError("it is not a regular file")
        with os.fdopen(handle, "rb", closefd=False) as opened:
            # Python makes room for all that is asked for.
            content = opened.read(min(limit_bytes, told.st_size) + 1)
    finally:
        os.close(handle)
    if len(content) > limit_bytes:
        raise TooLargeError(f"it is larger than {limit_bytes} bytes")
    return content
