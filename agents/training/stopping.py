"""A training that is asked to stop: it goes on to where its state can be kept."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from edge_envs.core.io.command import Stopped, handling, next_ends_at_once


class StopRequest:
    """The first SIGINT or SIGTERM while it is `heard`; a second one ends the process at once.

    Args:
        after: when the request is obeyed, in words for the user.
    """

    def __init__(self, after: str = "this update") -> None:
        self._after = after
        self.number = 0
        """Of the signal, 0 without any."""

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Take signals as requests."""
        with handling(self._ask):
            yield

    def obey(self) -> None:
        """Leave now, if that was asked for.

        Raises:
            Stopped: it was.
        """
        if self.number:
            raise Stopped(self.number)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        next_ends_at_once()
        self.number = number
        # A handler can run in the middle of a print, which must not be entered twice.
        with suppress(OSError):
            name = signal.Signals(number).name
            os.write(2, f"\n{name}: stopping after {self._after}; again to stop at once\n".encode())


@contextmanager
def held_back(after: str) -> Iterator[None]:
    """Hold the first SIGINT or SIGTERM back to the end of the block, so that what it writes is whole.

    Args:
        after: the end of the block, in words for the user.

    Raises:
        Stopped: if a signal came meanwhile.
    """
    request = StopRequest(after)
    with request.heard():
        yield
    request.obey()
