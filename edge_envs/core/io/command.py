"""Behaviour of all commands on bad input, on signals, and on consoles that lack characters."""

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

MAX_LENGTH = 1000
"""Maximum number of characters of an error message; messages can quote the content of files."""
STOPPING = (signal.SIGINT, signal.SIGTERM)
"""The signals of Ctrl-C and of a batch system that ends a job."""
PLAIN = {
    "±": "+-", "\u00d7": "x", "µ": "u", "·": "-", "\u2013": "-", "\u2014": "-", "\u2212": "-", "≥": ">=", "≤": "<=",
}  # fmt: skip
"""Replacements of characters that a console cannot show."""
Handler = Callable[[int, FrameType | None], None]


class Stopped(KeyboardInterrupt):
    """A signal asked the process to stop.

    Args:
        number: number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def guarded(job: Callable[[], int], cannot_write: str = "{error}", extra: str | None = None) -> int:
    """Run a command's job and return its exit status.

    Bad input and files that cannot be written end in one line on standard error and status 2. Ctrl-C and SIGTERM end
    in one line and 128 plus the signal's number; a second signal ends the process at once.

    Args:
        job: returns its exit status.
        cannot_write: message for an OSError, with "{error}" in it.
        extra: extra to install where a package is missing and the error does not name one.
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
        # The reader closed the pipe, as in `| head`; without this, Python would raise again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        fail(cannot_write.format(error=error))
    except MemoryError as error:
        fail(f"not enough memory ({error}); reduce the number of worlds, members, stored transitions or episodes")
    except KeyboardInterrupt as stop:
        print(f"interrupted by {name_of(stop)}", file=sys.stderr)
        return status_of(stop)


def fail(error: object) -> NoReturn:
    """Print an error in one line on standard error, and exit with status 2."""
    text = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in " ".join(str(error).split()))
    print(f"error: {text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 3] + '...'}", file=sys.stderr)
    raise SystemExit(2)


def name_of(stop: KeyboardInterrupt) -> str:
    """Name of the signal that caused the exception."""
    return str(stop) or signal.SIGINT.name


def status_of(stop: KeyboardInterrupt) -> int:
    """Exit status of a process that a signal stopped: 128 plus the signal's number, as in Unix shells."""
    return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)


@contextmanager
def handling(handler: Handler) -> Iterator[None]:
    """Handle SIGINT and SIGTERM by a function, except signals that this process was started to ignore.

    Only the main thread can set handlers; in other threads this does nothing.
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
    """Restore the default handlers, so that the next signal ends the process immediately."""
    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _stop(number: int, frame: FrameType | None) -> None:
    next_ends_at_once()
    raise Stopped(number)


@contextmanager
def importing() -> Iterator[None]:
    """Handle signals during slow imports: a signal ends the process with one line instead of a traceback."""

    def leave(number: int, frame: FrameType | None) -> None:
        os.write(2, f"interrupted by {signal.Signals(number).name} during start-up; nothing was written\n".encode())
        os._exit(128 + number)

    with handling(leave):
        yield


def print_anything() -> None:
    """Let standard output and error print every character; those that their encoding lacks get an ASCII replacement.

    Error handlers that the user chose are kept.
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
    """ASCII replacement of a character: a similar one where there is one, else its escape sequence."""
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
