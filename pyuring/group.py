"""The processes of a supervisor: who serves, who follows whom, and what becomes of failures.

Owns the places (slots) and every process until it is reaped. Never reads a signal and never
waits: `Supervisor` calls it when something has happened.

A successor serves before its predecessor is told to drain, so there is always somebody who
accepts from a place's sockets.
"""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyuring.channel import Message
from pyuring.errors import remedy
from pyuring.processes import Process, describe_status
from pyuring.slots import Slot

if TYPE_CHECKING:
    from pyuring.settings import SupervisorSettings
    from pyuring.sockets import Sockets
    from pyuring.timers import TimerHandle, TimerQueue

__all__ = ["Group"]

_KILL_SECONDS = 2.0  # after the graceful timeout, when even aborting has not helped
_START_KILL_SECONDS = 5.0  # for one that is ended before it serves
_FIRST_WORD_SECONDS = 1.0  # for who was accepted last by a process that is replaced
_HANDSHAKE_SECONDS = 0.1  # for handshakes under way when nobody new is let in any more


class Group:
    """All processes. `born(process)` is called for each new one; main thread only."""

    def __init__(
        self,
        settings: SupervisorSettings,
        arguments: list[str],
        sockets: Sockets,
        timers: TimerQueue,
        born: Callable[[Process], object],
        complete: Callable[[Message], object],
    ) -> None:
        """Call `complete(message)` once, with a process's "ready", when every place is taken."""
        self.processes: list[Process] = []  # all that are not reaped, draining ones too
        self.status = 0
        self.stopping = False
        self._settings = settings
        self._arguments = arguments
        self._sockets = sockets
        self._timers = timers
        self._born = born
        self._complete: Callable[[Message], object] | None = complete
        self._log = settings.log
        self._slots: list[Slot] = []
        self._wanted = settings.processes
        self._leaving: list[Process] | None = None  # of the place that is being taken away
        self._generation = 0
        self._reloading = False
        self._proven = False  # a process of this generation has served

    @property
    def over(self) -> bool:
        """Whether the end was asked for and has come."""
        return self.stopping and not self.processes

    def begin(self) -> None:
        """Start a process in every place; the sockets are open."""
        for number in range(self._settings.processes):
            self._slots.append(Slot(number))
            self._start(self._slots[-1])

    def ready(self, process: Process, message: Message) -> None:
        """Let a process that serves take its place, and who served there go."""
        slot = self._slot_of(process)
        if slot is None or process.told_to_end:
            return
        process.state, process.served_since = "ready", time.monotonic()
        process.tier = message.get("tier")
        before, slot.current, slot.successor = slot.current, process, None
        slot.wants_successor = False
        if process.generation == self._generation:
            self._proven = True
        self._steer()
        if before is not None:
            self._drain(before)
        if self._complete is not None and all(each.current for each in self._slots):
            complete, self._complete = self._complete, None
            complete(message)

    def recycle(self, process: Process, why: str) -> None:
        """Let another process follow one that serves, and that one drain then."""
        slot = self._slot_of(process)
        if slot is not None and slot.current is process and not self.stopping:
            slot.wants_successor = True
            self._log(f"{process} {why}: another follows it")
            self._start(slot)

    def ended(self, process: Process, status: int) -> None:
        """Forget a process that has ended, and see that its place is filled."""
        self.processes.remove(process)
        served = time.monotonic() - process.served_since if process.served_since else 0.0
        slot = self._slot_of(process)
        if slot is None:
            return
        was_current = slot.current is process
        if was_current:
            slot.current = None
            self._steer()
        else:
            slot.successor = None
        if not process.told_to_end and not self.stopping:
            self._missed(process, slot, status, served, was_current)

    def reload(self, why: str) -> None:
        """Replace every process: one first, the others once that one serves."""
        if self.stopping:
            return
        self._log(f"reloading ({why})")
        self._generation += 1
        self._reloading, self._proven = True, False
        for slot in self._slots:
            slot.forget_failures()

    def go_on(self) -> None:
        """Take the next step of what is under way: more places, or fewer, or a reload."""
        if self._complete is not None or self.stopping:
            return
        self._adjust()
        if not self._reloading:
            return
        stale = [slot for slot in self._slots if slot.is_stale(self._generation)]
        if not stale:
            self._reloading = False
            self._log("reloaded")
        if not self._proven:  # one first, where a failure costs nothing if there is such a place
            stale = sorted(stale, key=lambda slot: slot.current is None)[:1]
        for slot in stale:
            if slot.retry is None:
                self._start(slot)

    def change(self, by: int) -> None:
        """Have more places, or fewer, but one at least; `go_on` sees to it, one at a time."""
        wanted = max(1, self._wanted + by)
        if wanted != self._wanted and not self.stopping:
            self._wanted = wanted
            self._log(f"{wanted} process{'es' if wanted > 1 else ''} from now on")

    def stop(self) -> None:
        """Let nobody new in, let handshakes finish, then let every process drain."""
        if self.stopping:
            return
        self.stopping = True
        for slot in self._slots:
            slot.cancel_retry()
        waits = self._sockets.refuse_all()
        self._later(_HANDSHAKE_SECONDS if waits else 0.0, self._drain_each, self.processes)

    def kill_all(self) -> None:
        """End every process at once; for a second signal, and for whatever ends the run."""
        for process in self.processes:
            process.kill()

    # --- inside ---------------------------------------------------------------------------

    def _start(self, slot: Slot) -> None:
        """Start a process for a place, to serve there or to follow who serves there."""
        slot.cancel_retry()
        if self.stopping or slot.successor is not None or slot not in self._slots:
            return
        most = self._settings.max_requests
        if most:
            most += random.randint(0, self._settings.max_requests_jitter)
        told = {"max_requests": most, "graceful_timeout": self._settings.graceful_timeout}
        listeners = self._sockets.of(slot.number)
        try:
            process = Process(self._arguments, listeners, told, self._generation, slot.number)
        except OSError as error:
            return self._cannot_start(slot, error)
        slot.successor = process
        self.processes.append(process)
        self._born(process)

    def _cannot_start(self, slot: Slot, error: OSError) -> None:
        """Try again later, unless the interpreter is none for us: that does not mend itself."""
        never = error.errno in (errno.EACCES, errno.ENOENT) and self._complete is not None
        text = f"{error.filename}: {error.strerror}" if never else error.strerror
        helps = remedy(error.errno)
        self._log("; ".join(filter(None, (f"cannot start a process: {text}", helps))))
        if never:
            self.status, self._complete = 2, None
            self.stop()
        else:
            slot.retry = self._later(max(slot.pause_after(0.0), 0.5), self._start, slot)

    def _missed(
        self, process: Process, slot: Slot, status: int, served: float, was_current: bool
    ) -> None:
        """Decide what follows the end of a process that nobody asked for."""
        why = f"{process} {describe_status(status)}"
        if not was_current:
            why = process.failure or f"{why} before it served"
            if self._complete is not None and not slot.failures:
                self._log(why)
                self.status = 2 if process.failure else 1
                self._complete = None
                self.stop()
                return
        pause = slot.pause_after(served)
        if slot.current is not None:
            self._keep_old(slot, why, pause)
        elif slot.successor is not None:
            self._log(f"{why}; another starts already")
        else:
            self._log(f"{why}; another starts " + (f"in {pause:g} s" if pause else "now"))
            slot.retry = self._later(pause, self._start, slot)

    def _keep_old(self, slot: Slot, why: str, pause: float) -> None:
        """Go on with who serves: a successor could not."""
        if self._reloading:
            self._reloading = False
            self._log(f"not reloaded, the old processes go on: {why}")
            for each in self._slots:  # the reload would have seen to these
                if each.is_forgotten:
                    each.retry = self._later(max(pause, 0.5), self._start, each)
            return
        pause = max(pause, 0.5)  # it has served its requests: try again, in no hurry
        self._log(f"{why}; the old process goes on, another starts in {pause:g} s")
        slot.retry = self._later(pause, self._start, slot)

    def _adjust(self) -> None:
        """Add or take away one place when there are too few or too many."""
        if self._leaving is not None:
            if any(process in self.processes for process in self._leaving):
                return
            self._leaving = None
            self._sockets.remove(len(self._slots))
        if len(self._slots) < self._wanted:
            self._add_slot()
        elif len(self._slots) > self._wanted:
            self._remove_slot()

    def _add_slot(self) -> None:
        number = len(self._slots)
        try:
            self._sockets.add(number)
        except OSError as error:
            self._wanted = number
            text = f"no further process: {error.strerror}"
            if self._settings.user is not None:
                text += "; ports are bound before root's rights are given up: start with more"
            self._log(text)
            return
        self._slots.append(Slot(number))
        self._start(self._slots[-1])

    def _remove_slot(self) -> None:
        slot = self._slots.pop()
        slot.cancel_retry()
        self._steer()
        self._sockets.refuse(slot.number)
        self._leaving = [each for each in (slot.current, slot.successor) if each is not None]
        self._later(_HANDSHAKE_SECONDS, self._drain_each, self._leaving)

    def _steer(self) -> None:
        """Let new connections go where somebody accepts."""
        self._sockets.steer({slot.number for slot in self._slots if slot.current is not None})

    def _drain_each(self, processes: list[Process]) -> None:
        for process in processes:
            if not process.told_to_end and process in self.processes:
                self._drain(process)

    def _drain(self, process: Process) -> None:
        """Tell a process to end in order, and kill it when it does not."""
        patience = 0.0 if self.stopping else _FIRST_WORD_SECONDS
        limit = patience + self._settings.graceful_timeout + _KILL_SECONDS
        if process.state == "starting":
            limit = _START_KILL_SECONDS
        process.drain(patience)
        self._later(limit, self._kill, process)

    def _kill(self, process: Process) -> None:
        if process in self.processes:
            self._log(f"{process} does not end: killed")
            process.kill()

    def _later(self, seconds: float, call: Callable[..., object], *args: Any) -> TimerHandle:
        return self._timers.add(time.monotonic() + seconds, call, args)

    def _slot_of(self, process: Process) -> Slot | None:
        for slot in self._slots:
            if process in (slot.current, slot.successor):
                return slot
        return None
