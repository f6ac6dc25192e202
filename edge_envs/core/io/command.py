"""What every command line of the project does with bad input, with signals, and on consoles that lack characters."""

from __future__ import annotations

import codecs
import os
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

LONGEST = 1000
"""Characters of an error that are shown: files quote themselves in them."""
STOPPING = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what a batch system sends first."""
PLAIN = {
    "±": "+-", "\u00d7": "x", "µ": "u", "·": "-", "\u2013": "-", "\u2014": "-", "\u2212": "-", "≥": ">=", "≤": "<=",
}  # fmt: skip
"""What stands in place of a character that a console cannot show."""
Handler = Callable[[int, FrameType | None], None]


class Stopped(KeyboardInterrupt):
    """The process was asked to stop.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def guarded(job: Callable[[], int], cannot_write: str = "{error}", extra: str | None = None) -> int:
    """Exit status of a command's job; bad input and files that cannot be written end in one line and status 2.

    Ctrl-C and SIGTERM end in one line and 128 plus the signal's number; a second one ends the process at once.

    Args:
        job: the work; returns its exit status.
        cannot_write: message for an OSError, with "{error}" in it.
        extra: what to install where a package is missing and the message does not say.
    """
    print_anything()
    try:
        with handling(_stop):
            return job()
    except ImportError as error:
        known = extra is None or "edge-envs[" in str(error)
        fail(error if known else f"{error}; pip install 'edge-envs[{extra}]'")
    except ValueError as error:
        fail(error)
    except BrokenPipeError:
        # As `| head` leaves it: nobody reads on, and Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        fail(cannot_write.format(error=error))
    except MemoryError as error:
        fail(f"not enough memory ({error}); ask for less: fewer worlds, members, stored transitions or episodes")
    except KeyboardInterrupt as stop:
        print(f"interrupted by {name_of(stop)}", file=sys.stderr)
        return status_of(stop)


def fail(error: object) -> NoReturn:
    """One line on standard error and exit status 2."""
    text = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in " ".join(str(error).split()))
    print(f"error: {text if len(text) <= LONGEST else text[: LONGEST - 3] + '...'}", file=sys.stderr)
    raise SystemExit(2)


def name_of(stop: KeyboardInterrupt) -> str:
    """The signal that it stands for."""
    return str(stop) or signal.SIGINT.name


def status_of(stop: KeyboardInterrupt) -> int:
    """Exit status of a process that was asked to stop: 128 plus the signal's number, as shells have it."""
    return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)


@contextmanager
def handling(handler: Handler) -> Iterator[None]:
    """Let a function handle SIGINT and SIGTERM, those aside that this process was started to ignore.

    Only the main thread can do that; in another one nothing changes.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in STOPPING:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, found in before.items():
            signal.signal(number, found)


def next_ends_at_once() -> None:
    """Give both signals back to the system, so that the next one ends the process wherever it is."""
    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _stop(number: int, frame: FrameType | None) -> None:
    next_ends_at_once()
    raise Stopped(number)


@contextmanager
def importing() -> Iterator[None]:
    """While packages are imported, which takes seconds: a signal ends the process in one line, not in a traceback."""

    def leave(number: int, frame: FrameType | None) -> None:
        os.write(2, f"interrupted by {signal.Signals(number).name} before anything was done; start again\n".encode())
        os._exit(128 + number)

    with handling(leave):
        yield


def print_anything() -> None:
    """Let standard output and error print every character: what their encoding lacks in a plain form, not as an error.

    Error handlers that the user asked for stay.
    """
    codecs.register_error("edge_envs.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        lenient = ("strict",) if encodes(stream, "±─") else ("strict", "surrogateescape", "backslashreplace")
        if hasattr(stream, "reconfigure") and stream.errors in lenient:
            stream.reconfigure(errors="edge_envs.plain")


def encodes(stream: object, text: str) -> bool:
    """Return True if a stream's encoding has these characters."""
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeError, LookupError):
        return False
    return True


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(plain, error.object[error.start : error.end])), error.end


def plain(character: str) -> str:
    """A character in ASCII: a look-alike where there is one, else its escape."""
    if character in PLAIN:
        return PLAIN[character]
    if "\u2500" <= character <= "\u257f":  # lines of boxes
        return {"─": "-", "━": "-", "│": "|", "┃": "|"}.get(character, "+")
    if "\u2580" <= character <= "\u259f":  # blocks of progress bars
        return "#"
    if "\u2800" <= character <= "\u28ff":  # dots of spinners
        return "*"
    alike = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return alike or ascii(character)[1:-1]
