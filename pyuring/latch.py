"""A flag that threads wait for, and that a signal's handler may wait for as well.

Owns one lock. Never an Event of threading: its `wait` holds a lock of its own for an instant, and
a handler that runs in that instant on the same thread, and waits too, stands still for good.
"""

from __future__ import annotations

import threading
import time

__all__ = ["Latch"]

# Seconds; for the one who waits behind a thread that an exception of a handler took the lock with.
_LOOK_AGAIN = 5.0


class Latch:
    """Set once; whoever waits goes on then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._open = False

    def is_set(self) -> bool:
        """Return whether it was set."""
        return self._open

    def set(self) -> None:
        """Let everybody go on; again is nothing. Not by two threads at once."""
        if not self._open:
            self._open = True  # before the release: a handler in between must not wait
            self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, at most `timeout` seconds; return whether it is."""
        until = float("inf") if timeout is None else time.monotonic() + timeout
        while not self._open:
            left = min(until - time.monotonic(), _LOOK_AGAIN)
            if left <= 0:
                return self._open
            if self._lock.acquire(timeout=left):
                self._lock.release()  # for the next one who waits
        return True
