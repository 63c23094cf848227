"""How a worker stops accepting and starts again, losing nobody who has connected.

Owns the state of one worker's accepts: on, stopping, cancelling, off. Runs on the worker's thread
only. Never closes a listener: the engine does, once every worker has stopped.

The order matters. A listener refuses new handshakes first; those under way finish; the queue is
emptied; only then the accept is cancelled, and looked after once more (F23, F24, F59).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pyuring import _native

if TYPE_CHECKING:
    from pyuring.listeners import Listener
    from pyuring.worker import Worker

__all__ = ["Accepting"]

_AGAIN_SECONDS = 0.002  # between two looks at a queue that somebody waits in
_PATIENCE_SECONDS = 1.0  # for a queue that does not become empty


class Accepting:
    """One worker's accepts. `grace` is how long a handshake that is under way may take."""

    def __init__(self, worker: Worker, listeners: Sequence[Listener], grace: float) -> None:
        self.state = "on"  # on -> stopping <-> cancelling -> off -> on
        self._worker = worker
        self._listeners = listeners
        self._grace = grace
        self._deadline = 0.0
        self._calls: list[Callable[[], object]] = []

    @property
    def is_settled(self) -> bool:
        """Whether nobody in a queue is to be served still: not in the midst of stopping."""
        return self.state in ("on", "off")

    def stop(self) -> None:
        """Begin to stop; `when_off` tells of the end."""
        if self.state != "on":
            return
        self.state = "stopping"
        for listener in self._listeners:
            listener.refuse()
        waits = any(listener.has_handshakes for listener in self._listeners)
        self._deadline = time.monotonic() + self._grace + _PATIENCE_SECONDS
        self._worker.call_later(self._grace if waits else 0.0, self._cancel)

    def when_off(self, call: Callable[[], object]) -> None:
        """Call `call()` once nobody waits and no accept is in flight; now, if that is so."""
        if self.state == "off":
            call()
        else:
            self._calls.append(call)

    def resume(self) -> None:
        """Accept again from the same listeners, after the end of a stop."""
        if self.state == "off":
            self.state = "on"
            _native.pylib.pyuring_worker_resume_accept(self._worker.handle)

    def cancelled(self) -> None:
        """No accept is in flight: off, unless somebody came into a queue meanwhile."""
        if self._somebody_waits():
            _native.pylib.pyuring_worker_resume_accept(self._worker.handle)
            self.state = "stopping"
            self._worker.call_later(_AGAIN_SECONDS, self._cancel)
            return
        self.state = "off"
        calls, self._calls = self._calls, []
        for call in calls:
            call()

    def let_go(self) -> None:
        """Drop what belongs to others, at the worker's end."""
        self._listeners, self._calls = (), []

    def _cancel(self) -> None:
        """Cancel the accepts once the queues are empty; `cancelled` goes on from there."""
        if self._somebody_waits():
            self._worker.call_later(_AGAIN_SECONDS, self._cancel)
        else:
            _native.pylib.pyuring_worker_pause_accept(self._worker.handle)
            self.state = "cancelling"

    def _somebody_waits(self) -> bool:
        """Return whether a queue still has somebody, and there is time left to serve them."""
        late = time.monotonic() > self._deadline
        return not late and any(listener.waiting() for listener in self._listeners)
