"""Calls that wait for their turn or their time on a worker's thread.

Owns the handles that can be cancelled and the heap of those with a time. Never sleeps and never
reads a clock: its worker does both. Same meaning as asyncio's Handle and TimerHandle.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

__all__ = ["Handle", "TimerHandle"]


class Handle:
    """A callback that will run once on its worker, unless it is cancelled before."""

    __slots__ = ("_args", "_callback")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._callback: Callable[..., object] | None = callback
        self._args = args

    def cancel(self) -> None:
        """Do not run the callback, and drop the references to it; again is nothing."""
        self._callback = None
        self._args = ()

    def cancelled(self) -> bool:
        """Return whether the callback will not run: it was cancelled, or has been run."""
        return self._callback is None

    def run(self) -> None:
        """Call the callback, once; its worker does this."""
        callback, args = self._callback, self._args
        if callback is not None:
            Handle.cancel(self)
            callback(*args)


class TimerHandle(Handle):
    """A callback with a time. On the worker's own thread only."""

    __slots__ = ("_queue", "_when")

    def __init__(
        self, when: float, callback: Callable[..., object], args: tuple[Any, ...], queue: TimerQueue
    ) -> None:
        super().__init__(callback, args)
        self._when = when
        self._queue = queue

    def when(self) -> float:
        """Return the time it is due, on the worker's clock (Worker.time)."""
        return self._when

    def cancel(self) -> None:
        """Do not run the callback; the queue forgets the handle in time."""
        if not self.cancelled():
            super().cancel()
            self._queue.note_cancelled()


class TimerQueue:
    """A heap of timer handles; cancelled ones are swept out when they are the greater part."""

    __slots__ = ("_cancelled", "_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TimerHandle]] = []
        self._order = count()
        self._cancelled = 0

    def __len__(self) -> int:
        """Return the number of handles kept, cancelled ones included."""
        return len(self._heap)

    def add(
        self, when: float, callback: Callable[..., object], args: tuple[Any, ...]
    ) -> TimerHandle:
        """Return the handle of a callback that is due at `when`; equal times keep their order."""
        when = float(when)
        if when != when:
            raise ValueError("a timer's time is not a number")
        handle = TimerHandle(when, callback, args, self)
        heapq.heappush(self._heap, (when, next(self._order), handle))
        return handle

    def next_due(self) -> float | None:
        """Return the time of the first handle that still counts, or None."""
        heap = self._heap
        while heap and heap[0][2].cancelled():
            heapq.heappop(heap)
            self._cancelled -= 1
        return heap[0][0] if heap else None

    def pop_due(self, now: float) -> list[TimerHandle]:
        """Take out and return what is due at `now`, in order."""
        due = []
        while (first := self.next_due()) is not None and first <= now:
            due.append(heapq.heappop(self._heap)[2])
        return due

    def note_cancelled(self) -> None:
        """Count one more handle that waits in vain, and sweep when most do."""
        self._cancelled += 1
        if self._cancelled > 64 and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if not entry[2].cancelled()]
            heapq.heapify(self._heap)
            self._cancelled = 0
