"""How a long task tells its caller what it is doing. Silent by default; knows nothing of terminals."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What a long task calls. Implementations must be cheap: ``advance`` may be called per document."""

    def start(self, task: str, total: int | None, unit: str) -> None:
        """Begin a task: its name ("encode"), how many units it has (None when not known yet) and their name."""

    def advance(self, amount: int = 1, detail: str = "") -> None:
        """Say that ``amount`` more units are done; ``detail`` names the present one."""

    def finish(self) -> None:
        """End the present task."""

    def note(self, message: str) -> None:
        """Say one line that the user should read: a fallback taken, something left out."""


class Silent:
    """Say nothing."""

    def start(self, task: str, total: int | None, unit: str) -> None:
        """Ignore the call."""

    def advance(self, amount: int = 1, detail: str = "") -> None:
        """Ignore the call."""

    def finish(self) -> None:
        """Ignore the call."""

    def note(self, message: str) -> None:
        """Ignore the call."""


SILENT = Silent()
