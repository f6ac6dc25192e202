"""Progress messages of the scripts, on standard error, so that standard output has only the results."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from edge_envs.core.io.command import encodes, plain


class Activity:
    """Shows the current activity: on a terminal in one line that is updated, elsewhere in one line per activity."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, markup=False, emoji=False, highlight=False)
        columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
        # A low refresh rate, because decisions are timed meanwhile.
        self._shown = Progress(*columns, console=self._console, transient=True, refresh_per_second=2)
        self._task = self._shown.add_task("starting", total=None)

    def __enter__(self) -> Activity:
        if self._console.is_interactive:
            self._shown.start()
        return self

    def __exit__(self, *raised: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._console.is_interactive:
            self._shown.stop()

    def __call__(self, text: str) -> None:
        """Show an activity that begins."""
        if self._console.is_interactive:
            self._shown.reset(self._task, description=text)
        else:
            self._console.print(text, soft_wrap=True)


def sign_of(console: Console) -> str:
    """The sign ± or its replacement on a console that lacks it; tables need its width."""
    return "±" if encodes(console.file, "±") else plain("±")
