"""Reading files of unknown origin: limited sizes, printable names."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def shown(text: str) -> str:
    """Text of unknown origin for a message: printable ASCII in quotes, at most 60 characters."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")


class TooLargeError(ValueError):
    """The file is larger than the limit."""


def read_capped(file: Path, limit_bytes: int) -> bytes:
    """The content of a regular file; pipes and devices are refused without blocking.

    Raises:
        ValueError: it is not a regular file.
        TooLargeError: it is larger than the limit.
        OSError: it cannot be read.
    """
    handle = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        with os.fdopen(handle, "rb", closefd=False) as opened:
            # Python allocates a buffer of the requested size.
            content = opened.read(min(limit_bytes, status.st_size) + 1)
    finally:
        os.close(handle)
    if len(content) > limit_bytes:
        raise TooLargeError(f"it is larger than {limit_bytes} bytes")
    return content
