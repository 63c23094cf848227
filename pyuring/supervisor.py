"""Several processes under one parent: started, watched, replaced, reloaded, ended in order.

Owns the loop, in which everything happens, on the main thread: signals, what processes say, their
ends, times that are due. Never imports the application, never opens a ring, never accepts:
processes do, from the sockets that they inherit (decision 0008).

Some facts. A process is told by a message, and its end of the channel is how it knows that the
parent lives. Other threads leave a question and wake the loop. An end is seen by SIGCHLD, not by
the channel's end, which a process's own children may keep open.
"""

from __future__ import annotations

import selectors
import signal
import time
from typing import Any

from pyuring.channel import Message
from pyuring.errors import remedy
from pyuring.group import Group
from pyuring.metrics import EngineMetrics
from pyuring.processes import Process
from pyuring.questions import Questions
from pyuring.settings import SupervisorSettings
from pyuring.signals import Signals
from pyuring.sockets import Sockets
from pyuring.timers import TimerQueue
from pyuring.watching import Watch

__all__ = ["Supervisor", "SupervisorSettings", "run"]

_WATCH_SECONDS = 0.5


def run(settings: SupervisorSettings, child_arguments: list[str]) -> int:
    """Serve with several processes until a signal ends it; return the exit status.

    `child_arguments` follow `python -m pyuring` in each process. On the main thread only.
    """
    return Supervisor(settings, child_arguments).run()


class Supervisor:
    """The parent of a group of processes. `run` on the main thread, `metrics` from any."""

    def __init__(self, settings: SupervisorSettings, child_arguments: list[str]) -> None:
        self._settings = settings
        self._log = settings.log
        self._sockets = Sockets(
            workers=settings.workers, backlog=settings.backlog, reuse_port=settings.reuse_port
        )
        self._timers = TimerQueue()
        self._group = Group(
            settings, child_arguments, self._sockets, self._timers, self._born, self._complete
        )
        self._selector = selectors.DefaultSelector()
        self._signals = Signals(self._group.kill_all)
        self._questions = Questions(self._signals.wake, self._timers)
        self._watch = Watch()
        self._started_ns = time.time_ns()

    def run(self) -> int:
        """Bind, start the processes, and see to them until the end; return the exit status.

        0 after a signal, 1 when a process dies before it has served, 2 for what the caller can
        put right: an address that cannot be bound, an application that cannot be imported.
        """
        try:
            with self._signals:
                try:
                    self._work()
                finally:
                    self._questions.close()
        except (OSError, ValueError, TypeError) as error:
            if self._group.processes:
                raise
            helps = remedy(getattr(error, "errno", None))
            text = str(getattr(error, "strerror", None) or error)
            self._log("; ".join(filter(None, (text, helps))))
            return 2
        finally:
            self._release()
        return self._group.status

    def metrics(self) -> list[dict[str, Any]]:
        """Return what each process counts: dicts of pid, state, uptime, requests and metrics.

        One more entry, with pid 0, adds up those that have ended, so that sums do not fall. Any
        thread; waits for a second at most for a process's answer, and takes its last one then.
        """
        return self._questions.ask()

    def total(self) -> EngineMetrics:
        """Return the metrics of all processes, added up; any thread, as `metrics`."""
        return EngineMetrics.total(each["metrics"] for each in self.metrics())

    @property
    def addresses(self) -> list[str]:
        """Every address that is listened on, with the real port."""
        return self._sockets.addresses

    # --- the loop -------------------------------------------------------------------------

    def _work(self) -> None:
        self._selector.register(self._signals, selectors.EVENT_READ)
        self._sockets.open(self._settings.bind, self._settings.processes, self._become_user)
        if self._settings.bound is not None:
            self._settings.bound()
        self._group.begin()
        self._look_at_files()
        while not self._group.over:
            self._turn()

    def _become_user(self) -> None:
        """Be who was asked for from here on; the processes are born as that user."""
        user = self._settings.user
        if user is None:
            return
        from pyuring.identity import become

        try:
            become(user)
        except OSError as error:
            text = f"cannot become user {user.name}: {error.strerror}"
            raise OSError(error.errno, text) from None

    def _turn(self) -> None:
        """Wait for what happens next, and see to it."""
        due = self._timers.next_due()
        timeout = None if due is None else max(0.0, due - time.monotonic())
        for key, _ in self._selector.select(timeout):
            if isinstance(key.data, Process):
                self._hear(key.data)
        for number in self._signals.take():
            self._act(number)
        for handle in self._timers.pop_due(time.monotonic()):
            handle.run()
        for process in list(self._group.processes):
            status = process.status
            if status is not None:
                self._bury(process, status)
        serving = [each for each in self._group.processes if each.served_since]
        self._questions.put_to(serving)
        self._group.go_on()

    def _act(self, number: int) -> None:
        """Do what a signal means."""
        if number in (signal.SIGTERM, signal.SIGINT):
            if not self._group.stopping:
                limit = self._settings.graceful_timeout
                self._log(f"stopping within {limit:g} s; a second signal ends at once")
            self._group.stop()
        elif number == signal.SIGHUP:
            self._group.reload("SIGHUP")
        elif number == signal.SIGTTIN:
            self._group.change(+1)
        elif number == signal.SIGTTOU:
            self._group.change(-1)
        elif number == signal.SIGUSR1:
            self._questions.ask_for(self._print_states)

    def _born(self, process: Process) -> None:
        self._selector.register(process.channel, selectors.EVENT_READ, process)

    def _bury(self, process: Process, status: int) -> None:
        """Hear a process's last words, and let it go."""
        self._hear(process)
        self._deafen(process)
        process.close()
        self._questions.gone(process)
        self._group.ended(process, status)

    def _hear(self, process: Process) -> None:
        """See to what a process has said."""
        messages = process.messages()
        if not messages:
            self._deafen(process)  # the channel's end
        for message in messages:
            if "ready" in message:
                self._group.ready(process, message)
            elif "failed" in message:
                process.failure = message["failed"]
            elif "metrics" in message:
                process.counters = message["metrics"]
                self._questions.answered(message["question"], process)
            elif "ended" in message:
                process.counters = message["ended"]
            elif "recycle" in message:
                self._group.recycle(process, message["recycle"])
            elif "files" in message and self._settings.reload:
                self._watch.add(message["files"], process.started_ns)

    def _deafen(self, process: Process) -> None:
        """Listen to a process no more; again is nothing."""
        if process.channel in self._selector.get_map():
            self._selector.unregister(process.channel)

    def _look_at_files(self) -> None:
        """See whether a source file has changed, and ask for those that are imported by now."""
        if not self._settings.reload:
            return
        self._watch.add(self._settings.sources(), self._started_ns)
        changed = self._watch.changed()
        if changed:
            self._group.reload(f"{changed[0]} has changed")
        for process in self._group.processes:
            if process.state == "ready":
                process.ask("files")
        self._timers.add(time.monotonic() + _WATCH_SECONDS, self._look_at_files, ())

    # --- words, and the end -----------------------------------------------------------------

    def _complete(self, message: Message) -> None:
        """Say that every process serves."""
        settings = self._settings
        processes = _counted(settings.processes, "process", "processes")
        workers = _counted(settings.workers, "worker", "workers")
        each = workers if settings.processes == 1 else f"{workers} each"
        user = f", user {settings.user.name}" if settings.user is not None else ""
        what = f"tier {message['ready']}, {processes}, {each}{user}"
        self._log(f"listening on {self._sockets} ({what})")
        for line in message["missed"]:
            self._log(line)
        if settings.started is not None:
            settings.started(self)

    def _print_states(self, found: list[dict[str, Any]]) -> None:
        for each in found:
            if each["pid"]:
                self._log(
                    f"process {each['pid']}: {each['state']}, {each['uptime']:.0f} s, "
                    f"{each['requests']} requests, {each['metrics'].get('active', 0)} connections"
                )

    def _release(self) -> None:
        """Give everything back; processes are there only when something has gone wrong."""
        self._group.kill_all()
        for process in self._group.processes:
            process.wait()
            process.close()
        self._selector.close()
        self._sockets.release()


def _counted(count: int, one: str, several: str) -> str:
    return f"1 {one}" if count == 1 else f"{count} {several}"
