"""Progress of long work on stderr: bars where a person watches, single lines where a program does."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from indexer.progress import SILENT, Progress
from searchengine.render import clean, note

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class TerminalProgress:
    """Draw a bar with rate and time left for each task; notes appear above it."""

    def __init__(self) -> None:
        self._bars: RichProgress | None = None
        self._task: TaskID | None = None

    def start(self, task: str, total: int | None, unit: str) -> None:
        """Begin a bar."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        self.finish()
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit, markup=False),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        self._bars.start()
        self._task = self._bars.add_task(task, total=total, detail="", rate="")

    def advance(self, amount: int = 1, detail: str = "") -> None:
        """Move the bar; ``detail`` names what is being worked on."""
        if self._bars is not None and self._task is not None:
            task = self._bars.tasks[0]
            rate = f"{task.speed:.0f}/s" if task.speed else ""
            self._bars.update(self._task, advance=amount, detail=clean(detail)[:40].replace("\n", " "), rate=rate)

    def finish(self) -> None:
        """Take the bar away."""
        if self._bars is not None:
            self._bars.stop()
        self._bars = self._task = None

    def note(self, message: str) -> None:
        """Say one line above the bar."""
        if self._bars is None:
            note(message)
        else:
            self._bars.console.print(f"searchengine: {clean(message)}", markup=False, highlight=False)


class PlainProgress:
    """Say notes only: no bar where stderr is no terminal."""

    start = staticmethod(SILENT.start)
    advance = staticmethod(SILENT.advance)
    finish = staticmethod(SILENT.finish)

    def note(self, message: str) -> None:
        """Say one line on stderr."""
        note(message)


def progress() -> Progress:
    """Choose how to show progress on this stderr."""
    return TerminalProgress() if sys.stderr.isatty() else PlainProgress()
