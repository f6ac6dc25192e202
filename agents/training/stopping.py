"""Signals that stop a program at its next safe point."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from edge_envs.core.io.command import Stopped, handling, next_ends_at_once


class StopRequest:
    """Remembers the first SIGINT or SIGTERM during `listening`; a second one ends the process at once.

    Args:
        after: name of the work that is completed before the stop, for the message to the user.
    """

    def __init__(self, after: str = "this update") -> None:
        self._after = after
        self.number = 0
        """Number of the signal, 0 if none has come."""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle signals as requests to stop within the block."""
        with handling(self._request):
            yield

    def stop_if_requested(self) -> None:
        """Raise Stopped if a signal has come."""
        if self.number:
            raise Stopped(self.number)

    def _request(self, number: int, frame: FrameType | None) -> None:
        next_ends_at_once()
        self.number = number
        # The handler may interrupt a print, which is not reentrant.
        with suppress(OSError):
            name = signal.Signals(number).name
            os.write(2, f"\n{name}: stopping after {self._after}; a second signal stops at once\n".encode())


@contextmanager
def deferred(after: str) -> Iterator[None]:
    """Delay the first SIGINT or SIGTERM to the end of the block, so that the block writes complete files.

    Args:
        after: name of the work in the block, for the message to the user.

    Raises:
        Stopped: a signal came during the block.
    """
    request = StopRequest(after)
    with request.listening():
        yield
    request.stop_if_requested()
