"""What every command line of the project does with bad input: one line, and exit status 2."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

LONGEST = 1000
"""Characters of an error that are shown: files quote themselves in them."""


def guarded(job: Callable[[], int], cannot_write: str = "{error}", extra: str | None = None) -> int:
    """Exit status of a command's job; bad input and files that cannot be written end in one line, Ctrl-C in 130.

    Args:
        job: the work; returns its exit status.
        cannot_write: message for an OSError, with "{error}" in it.
        extra: what to install where a package is missing and the message does not say.
    """
    try:
        return job()
    except ImportError as error:
        known = extra is None or "edge-envs[" in str(error)
        fail(error if known else f"{error}; pip install 'edge-envs[{extra}]'")
    except ValueError as error:
        fail(error)
    except OSError as error:
        fail(cannot_write.format(error=error))
    except MemoryError as error:
        fail(f"not enough memory ({error}); ask for less: fewer worlds, members, stored transitions or episodes")
    except KeyboardInterrupt:
        print("interrupted")
        return 130


def fail(error: object) -> NoReturn:
    """One line on standard error and exit status 2."""
    text = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in " ".join(str(error).split()))
    print(f"error: {text if len(text) <= LONGEST else text[: LONGEST - 3] + '...'}", file=sys.stderr)
    raise SystemExit(2)
