"""What the processes count, asked by any thread and answered by all of them.

Owns the questions under way and what ended processes have counted. Never waits on the main
thread, and never longer than a second elsewhere.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from pyuring.metrics import EngineMetrics
from pyuring.processes import Process
from pyuring.timers import TimerQueue

__all__ = ["Questions"]

_PATIENCE_SECONDS = 1.0  # for a process that is busy; then its last answer is taken
# What is so at a moment: nothing of it is left when the process has ended.
_LEVELS = frozenset({"active", "buffers_held", "ops_in_flight"})

Answer = list[dict[str, Any]]


class Questions:
    """Questions for metrics. `ask` is for any thread, the rest for the supervisor's."""

    def __init__(self, wake: Callable[[], object], timers: TimerQueue) -> None:
        self._wake = wake
        self._timers = timers
        self._lock = threading.Lock()
        self._new: list[Callable[[Answer], object]] = []
        self._open: dict[int, tuple[set[Process], Callable[[Answer], object]]] = {}
        self._asked: list[Process] = []
        self._number = 0
        self._past: dict[str, int] = {}
        self._closed = False

    def ask(self) -> Answer:
        """Return the metrics of every process; waits for them."""
        done = threading.Event()
        found: Answer = []

        def take(answer: Answer) -> None:
            found.extend(answer)
            done.set()

        self.ask_for(take)
        done.wait(2 * _PATIENCE_SECONDS)
        return found

    def ask_for(self, call: Callable[[Answer], object]) -> None:
        """Call `call(answer)` on the supervisor's thread when the processes have answered."""
        with self._lock:
            if not self._closed:
                self._new.append(call)
                self._wake()  # with the lock held: `close` comes before the descriptor's end
                return
        call(self._answer())

    def put_to(self, processes: list[Process]) -> None:
        """Put the new questions to these processes."""
        self._asked = processes
        with self._lock:
            new, self._new = self._new, []
        for call in new:
            self._number += 1
            number = self._number
            open_ones = {each for each in processes if each.ask("metrics", question=number)}
            self._open[number] = (open_ones, call)
            self._timers.add(time.monotonic() + _PATIENCE_SECONDS, self._finish, (number,))
            self._finish_if_all(number)

    def answered(self, number: int, process: Process) -> None:
        """Take note that a process has answered a question."""
        if number in self._open:
            self._open[number][0].discard(process)
            self._finish_if_all(number)

    def gone(self, process: Process) -> None:
        """Keep what a process has counted that has ended, and wait for it no longer."""
        kept = {name: n for name, n in process.counters.items() if name not in _LEVELS}
        self._past = _add(self._past, kept)
        self._asked = [each for each in self._asked if each is not process]
        for number in list(self._open):
            self.answered(number, process)

    def close(self) -> None:
        """Answer everything now, and from now on with what is known."""
        with self._lock:
            self._closed = True
            new, self._new = self._new, []
        self._asked = []
        for number in list(self._open):
            self._finish(number)
        for call in new:
            call(self._answer())

    def _finish_if_all(self, number: int) -> None:
        if not self._open[number][0]:
            self._finish(number)

    def _finish(self, number: int) -> None:
        if number in self._open:
            _, call = self._open.pop(number)
            call(self._answer())

    def _answer(self) -> Answer:
        now = time.monotonic()
        found: Answer = [
            {
                "pid": each.pid,
                "state": each.state,
                "tier": each.tier,
                "uptime": now - each.started,
                "requests": _requests(each.counters),
                "metrics": each.counters,
            }
            for each in self._asked
        ]
        past = {"pid": 0, "state": "ended", "tier": None, "uptime": 0.0}
        return [*found, {**past, "requests": _requests(self._past), "metrics": self._past}]


def _requests(counters: dict[str, int]) -> int:
    return counters.get("requests") or counters.get("messages_received", 0)


def _add(*parts: dict[str, int]) -> dict[str, int]:
    """Add up as EngineMetrics does, into a dict again."""
    import dataclasses

    return dataclasses.asdict(EngineMetrics.total(_some(parts)))


def _some(parts: Iterable[dict[str, int]]) -> Iterable[dict[str, int]]:
    return (part for part in parts if part)
