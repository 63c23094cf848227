"""Whether an engine's listeners let anybody in: pausing, resuming, and both at once.

Owns the order of it: every worker stops accepting, the last one closes the listeners, and what
was asked for meanwhile is done then. Never accepts, and never ends a worker.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyuring.latch import Latch
from pyuring.worker import Worker

if TYPE_CHECKING:
    from pyuring.listeners import Listener

__all__ = ["Gate"]

TellAll = Callable[[Callable[[Worker], object]], None]


class Gate:
    """The listeners of one engine. `lock` is the engine's: held for every call but `wait`."""

    def __init__(
        self, lock: threading.RLock, listeners: Callable[[], list[Listener]], tell_all: TellAll
    ) -> None:
        self.wanted_open = True
        self._lock = lock
        self._listeners = listeners
        self._tell_all = tell_all
        self._for_good = False
        self._stopped = Latch()  # of the latest stop

    def stop(self, workers: list[Worker], for_good: bool = False) -> Latch:
        """Begin to stop on every worker; the event is set when the listeners are closed."""
        self.wanted_open = False
        self._for_good = for_good
        stopped = self._stopped = Latch()
        left = set(workers)

        def one_stopped(worker: Worker) -> None:
            with self._lock:
                left.discard(worker)
                if left:
                    return
                if stopped is self._stopped:  # no later stop is under way
                    self._all_stopped(worker)
                stopped.set()

        self._tell_all(lambda worker: worker.stop_accepting(one_stopped))
        return stopped

    def open(self) -> None:
        """Listen again: now, or as soon as the stop that is under way is through."""
        if self._stopped.is_set():
            self._listen()
        self.wanted_open = True

    def release(self) -> None:
        """Let go whoever waits for a stop: no worker is left to carry it out."""
        self._stopped.set()

    def _all_stopped(self, worker: Worker) -> None:
        """Close the listeners; open them again when that was asked for meanwhile."""
        for listener in self._listeners():
            listener.close()
        if self.wanted_open and not self._for_good:
            try:
                self._listen()
            except OSError as error:
                self.wanted_open = False
                worker.exception(error, "resume_accept")

    def _listen(self) -> None:
        for listener in self._listeners():
            listener.reopen()
        self._tell_all(Worker.resume_accepting)
