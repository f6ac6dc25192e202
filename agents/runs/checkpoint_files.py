"""Checkpoint files of a run: tensors and plain values with a digest; the two newest are kept."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from agents.runs.folder import RunError
from agents.untrusted import TooLargeError, read_capped
from edge_envs.core.io.files import sync_folder, write_atomically
from edge_envs.core.runtime.snapshot import Arrays

FORMAT = 1
"""Number of the file format, raised when the content of a checkpoint changes."""
KEPT = 2
LARGEST_BYTES = 1 << 34
"""Size of the largest file that is read."""
NAME = re.compile(r"checkpoint-(\d{6,12})\.safetensors")


class Checkpoint(NamedTuple):
    """The content of a checkpoint file."""

    arrays: Arrays
    values: dict[str, Any]
    """Everything that is not an array, as plain JSON values."""


def digest(arrays: Mapping[str, NDArray[Any]], values: str) -> str:
    """SHA-256 of the names, types, shapes and contents of the arrays, and of the values."""
    found = hashlib.sha256(values.encode())
    for name in sorted(arrays):
        array = arrays[name]
        found.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def pack(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as a safetensors file, with the values and the digest in its header."""
    # safetensors writes the memory in its own order.
    arrays = {name: np.asarray(array, order="C") for name, array in checkpoint.arrays.items()}
    values = json.dumps(checkpoint.values)
    return save(arrays, {"format": str(FORMAT), "values": values, "sha256": digest(arrays, values)})


def unpack(content: bytes) -> Checkpoint:
    """A checkpoint from the content of a file.

    Raises:
        ValueError: the content is damaged.
        RunError: the content has another format.
    """
    try:
        arrays = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        version, text, written = header["format"], header["values"], header["sha256"]
        values = json.loads(text)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"it is damaged ({type(error).__name__}: {error})") from error
    if version != str(FORMAT) and str(version).isdecimal():
        raise RunError(
            f"it has format {version[:9]}, and this version reads {FORMAT}; resume with the version that wrote it"
        )
    if version != str(FORMAT) or digest(arrays, text) != written:
        raise ValueError("it is damaged (its contents do not match their digest)")
    return Checkpoint(arrays, values)


class Checkpoints:
    """The checkpoint files of a run folder; the caller holds the run's lock.

    Args:
        folder: of the files; created with the first of them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._complete: list[Path] = []
        """Files that are known to be complete, the oldest first."""

    def files(self) -> list[Path]:
        """Files in the folder, complete or not, the oldest first."""
        if not self.folder.is_dir():
            return []
        found = [(NAME.fullmatch(file.name), file) for file in self.folder.iterdir()]
        return [file for _, file in sorted((int(match[1]), file) for match, file in found if match)]

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint, then remove all but the two newest complete ones.

        Raises:
            OSError: it cannot be written; earlier checkpoints are still there.
            RunError: it is too large to be read again.
        """
        size = sum(array.nbytes for array in checkpoint.arrays.values())
        if size > LARGEST_BYTES:
            raise RunError(
                f"a checkpoint would have {size} bytes, more than {LARGEST_BYTES}; give a smaller buffer_size"
            )
        if not self.folder.is_dir():
            self.folder.mkdir()
            sync_folder(self.folder.parent)
        files = self.files()
        last = NAME.fullmatch(files[-1].name) if files else None
        path = self.folder / f"checkpoint-{int(last[1]) + 1 if last else 1:06d}.safetensors"
        write_atomically(path, pack(checkpoint))
        self._complete = [*self._complete, path][-KEPT:]
        for file in files:
            if file not in self._complete:
                file.unlink(missing_ok=True)
        return path

    def newest(self, notify: Callable[[str], None]) -> Checkpoint | None:
        """The newest complete checkpoint, or None; `notify` receives a message for each damaged one.

        Raises:
            RunError: a file cannot be read, is too large, or has another format.
        """
        for file in reversed(self.files()):
            try:
                found = unpack(read_capped(file, LARGEST_BYTES))
            except (RunError, TooLargeError) as error:
                fix = "; remove it" if isinstance(error, TooLargeError) else ""
                raise RunError(f"{file} cannot be used: {error}{fix}") from None
            except OSError as error:
                raise RunError(
                    f"{file} cannot be read ({error.strerror}); fix the problem, then rerun with --resume"
                ) from error
            except ValueError as error:
                notify(f"{file} cannot be used: {error}; trying the one before it")
                continue
            self._complete = [file]
            return found
        return None

    def clear(self) -> None:
        """Remove all checkpoints, after the end of a training."""
        for file in self.files():
            file.unlink(missing_ok=True)
        self._complete = []
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()
