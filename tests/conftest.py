"""What holds for all tests."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Take signals as a terminal's foreground job does.

    Whoever starts the tests in the background of a script has SIGINT ignored, which every process inherits and our
    commands rightly respect; the tests of interrupts would then wait for nothing.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
