"""What runs in a process that a supervisor has started: it serves what it inherited.

Owns the child's end of the channel, its signals and its last words. Never binds an address, and
never outlives its parent: when the channel ends, it drains and goes.

The parent starts `python -m pyuring …` with PYURING_CHILD_FD naming the child's end of the pair.
The command asks `channel()` whether it is such a child, serves `addresses()` in place of its own,
tells `failed` or `ready`, and leaves the rest to `serve_until_told`.

SIGTERM to a child does not end it at once: it asks its parent for a successor, who serves before
this one drains. So a service manager that signals all processes of a service loses nobody.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pyuring.addresses import Address
from pyuring.channel import Channel, Message
from pyuring.errors import EngineClosedError

if TYPE_CHECKING:
    from pyuring.engine import Engine
    from pyuring.metrics import EngineMetrics

__all__ = ["ENVIRONMENT", "Child", "channel", "requests"]

ENVIRONMENT = "PYURING_CHILD_FD"

_LOOK_SECONDS = 0.25  # between two looks at how many requests have been served
_FILES_A_MESSAGE = 100
# The parent has the terminal's signals; they reach the whole process group.
_IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGTTIN, signal.SIGTTOU)
_found: list[Child] = []


def channel() -> Child | None:
    """Return this process's side of its supervision, or None in a process of its own.

    Call it before the application is imported: it takes the variable out of the environment,
    so that the application's children do not take themselves for ours, and sets the signals.
    """
    text = os.environ.pop(ENVIRONMENT, "")
    if text and not _found:
        _found.append(Child(int(text)))
    return _found[0] if _found else None


def requests(metrics: EngineMetrics) -> int:
    """Return how many requests an engine has served; for a protocol, its receives."""
    return metrics.requests or metrics.messages_received


class Child:
    """A supervised process, as it sees itself. On the main thread only."""

    def __init__(self, fd: int) -> None:
        """Take the channel, and wait for the parent's first message, what to serve."""
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nobody is served yet
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [*_IGNORED, signal.SIGTERM])
        os.set_inheritable(fd, False)
        self._channel = Channel(socket.socket(fileno=fd))
        told = self._channel.receive()
        if told is None:
            raise SystemExit(0)  # the parent is gone already
        self._listeners: list[Message] = told["listeners"]
        self.max_requests: int = told["max_requests"]
        self.graceful_timeout: float = told["graceful_timeout"]
        self._known: set[str] = set()
        self._wake, self._woken = os.pipe()
        self._stopper: threading.Thread | None = None
        for each in self._listeners:
            for listener in each["fds"]:
                os.set_inheritable(listener, False)

    def addresses(self) -> list[Address]:
        """Return the listening sockets, the parent's: for Engine, in place of the command's own."""
        found = []
        for each in self._listeners:
            first, *more = each["fds"]
            several = (first, *more) if more else ()
            found.append(Address("fd", fd=first, fds=several, shared=each["shared"]))
        return found

    def failed(self, text: str) -> int:
        """Tell the parent why this process cannot serve; return the status to exit with."""
        self._send_files()
        self._channel.send({"failed": text[:4000]})
        return 2

    def ready(self, engine: Engine) -> None:
        """Tell the parent that `engine` accepts; from here on SIGTERM asks to be replaced."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the application may have set it
        signal.signal(signal.SIGTERM, lambda *_: os.write(self._woken, b"t"))
        self._send_files()
        missed = engine.ladder.missed() if engine.ladder is not None else []
        tier = engine.tier
        self._channel.send({"ready": tier.name, "tier": int(tier), "missed": missed})

    def serve_until_told(self, engine: Engine) -> int:
        """Serve until the parent says otherwise, or is gone; return the exit status.

        Answers the parent's questions meanwhile, and asks to be replaced when `max_requests`
        are served. Raises what ended the engine, if something has.
        """
        engine.on_end(lambda: os.write(self._woken, b"e"))
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        left = self.max_requests
        while True:
            came = {fd for fd, _ in poll.poll(_LOOK_SECONDS * 1000 if left else None)}
            if self._wake in came:
                if os.read(self._wake, 1) == b"e":
                    break
                self._channel.send({"recycle": "was told to end"})
            if self._channel.fileno() in came and not self._listen(engine):
                poll.unregister(self._channel.fileno())  # the parent is gone
                self._drain(engine, 0.0)
            if left and requests(engine.metrics()) >= left:
                left = 0
                count = requests(engine.metrics())
                self._channel.send({"recycle": f"has served {count} requests"})
        return self._end(engine)

    def _listen(self, engine: Engine) -> bool:
        """Do what the parent says; False when it says nothing any more."""
        told = self._channel.receive()
        if told is None:
            return False
        if told["do"] == "drain":
            self._drain(engine, told["patience"])
        elif told["do"] == "metrics":
            self._channel.send({"metrics": asdict(engine.metrics()), "question": told["question"]})
        elif told["do"] == "files":
            self._send_files()
        return True

    def _drain(self, engine: Engine, patience: float) -> None:
        """Begin the end; the loop goes on answering until it has come."""
        if self._stopper is None:
            arguments = (engine, patience, self.graceful_timeout)
            self._stopper = threading.Thread(target=_shut_down, args=arguments, daemon=True)
            self._stopper.start()

    def _end(self, engine: Engine) -> int:
        """Say the last words, and take the engine's failure for our own."""
        if self._stopper is not None:
            self._stopper.join(2.0)
        self._channel.send({"ended": asdict(engine.metrics())})
        if engine.failure is not None and self._stopper is None:
            raise engine.failure
        return 0

    def _send_files(self) -> None:
        """Tell the parent which source files this process has imported since last time."""
        found = {_file_of(module) for module in list(sys.modules.values())}
        fresh = sorted(found - self._known - {""})
        self._known.update(fresh)
        for first in range(0, len(fresh), _FILES_A_MESSAGE):
            message: Message = {"files": fresh[first : first + _FILES_A_MESSAGE]}
            self._channel.send(message)


def _shut_down(engine: Engine, patience: float, timeout: float) -> None:
    """Stop accepting, serve on for `patience` seconds, then drain within `timeout`.

    A connection that is accepted last would be closed when it is quiet for a moment; with some
    patience a client that has yet to say its first word is heard.
    """
    if patience:
        try:
            engine.pause_accept()
        except EngineClosedError:
            return
        time.sleep(patience)
    engine.shutdown(timeout)


def _file_of(module: Any) -> str:
    """Return the source file of a module, or nothing."""
    path = getattr(module, "__file__", None)
    return path if isinstance(path, str) and path.endswith(".py") else ""
