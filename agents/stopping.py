"""A training that is asked to stop: it goes on to where its state can be kept."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from edge_envs.core.command import Stopped, handling, next_ends_at_once


class StopRequest:
    """The first SIGINT or SIGTERM while it is `heard`; a second one ends the process at once."""

    def __init__(self) -> None:
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
            os.write(
                2, f"\n{signal.Signals(number).name}: stopping after this update; again to stop at once\n".encode()
            )
