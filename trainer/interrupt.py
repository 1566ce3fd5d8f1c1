"""Stop a run between two steps: the first signal asks, a second one interrupts at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """While entered, SIGINT and SIGTERM set ``asked``; in another thread than the main one they are left alone."""

    def __init__(self) -> None:
        self.asked = False
        self._number = 0
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        """Take the signals over."""
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._take) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Give the signals back."""
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            self.raise_again()
        self.asked, self._number = True, number

    def raise_again(self) -> None:
        """Do what the signal would have done without us."""
        former = self._former.get(self._number)
        if callable(former):
            former(self._number, None)
        raise KeyboardInterrupt
