"""The signals of a supervisor: noted when they come, handled in its loop.

Owns the handlers while it is entered, and gives the former ones back. Never does anything in a
handler but note the number; only a second request to end the process acts at once.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from pyuring.processes import HANDLED

__all__ = ["Signals"]

_ENDING = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Signals that have come, in order; a selector can wait for them. Main thread only."""

    def __init__(self, at_once: Callable[[], object]) -> None:
        """Call `at_once()` and end the process when it is asked to end a second time."""
        self._at_once = at_once
        self._came: deque[int] = deque()
        self._ending = False
        self._before: dict[int, Any] = {}
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> Signals:
        """Take the signals."""
        for number in (*HANDLED, signal.SIGCHLD):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the former handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        reader, writer = self._reader, self._writer
        self._reader = self._writer = -1
        os.close(reader)
        os.close(writer)

    def fileno(self) -> int:
        """Return the descriptor that is readable once something has come."""
        return self._reader

    def wake(self) -> None:
        """Make the descriptor readable; any thread."""
        try:
            os.write(self._writer, b"\0")
        except OSError:
            pass  # full: it is readable already; or closed, and nobody waits

    def take(self) -> list[int]:
        """Return the signals that have come since last time."""
        try:
            os.read(self._reader, 4096)
        except BlockingIOError:
            pass
        found = []
        while self._came:
            found.append(self._came.popleft())
        return found

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number in _ENDING:
            if self._ending:
                self._at_once()
                os._exit(128 + number)
            self._ending = True
        if number != signal.SIGCHLD:
            self._came.append(number)
        self.wake()
