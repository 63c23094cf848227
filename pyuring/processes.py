"""One child process, as its supervisor sees it: started, asked, told, reaped.

Owns the process and the parent's end of its channel. Never decides anything: the supervisor does.

Children are fresh interpreters. A fork would copy locks that threads hold, and rings that belong
to the parent.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from pyuring.channel import Channel, Message
from pyuring.child import ENVIRONMENT
from pyuring.naming import word_of

__all__ = ["HANDLED", "Process", "describe_status"]

# What the parent handles: held back while a child starts, until it has set its own handlers.
HANDLED = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGTTIN, signal.SIGTTOU
)  # fmt: skip


class Process:
    """A child process. `state`: starting -> ready -> draining -> ended."""

    def __init__(
        self,
        arguments: Sequence[str],
        listeners: Sequence[Message],
        settings: Message,
        generation: int,
        place: int = 0,
    ) -> None:
        """Start `python -m pyuring process-N ARGUMENTS` with the listeners; OSError on failure.

        What `listeners` and `settings` hold is the first message: see Child.
        """
        self.generation = generation
        self.state = "starting"
        self.tier: int | None = None  # once it serves
        self.failure = ""  # why it could not serve, in its own words
        self.counters: dict[str, int] = {}  # the last that is known of its metrics
        self.started = time.monotonic()
        self.started_ns = time.time_ns()  # to compare with the times of files
        self.served_since = 0.0
        self.told_to_end = False
        self.channel, theirs = Channel.pair()
        try:
            with theirs:
                kept = [theirs.fileno(), *(fd for each in listeners for fd in each["fds"])]
                self._process = _spawn((word_of(place), *arguments), kept)
        except BaseException:
            self.channel.close()
            raise
        self.pid = self._process.pid
        self.channel.send({"listeners": list(listeners), **settings})

    def __str__(self) -> str:
        """Return the words for a line of the log."""
        return f"process {self.pid}"

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs. Reaps it."""
        return self._process.poll()

    def messages(self) -> list[Message]:
        """Return what it has said since last time."""
        found: list[Message] = []
        while True:
            try:
                message = self.channel.receive(wait=False)
            except BlockingIOError:
                return found
            if message is None:
                return found
            found.append(message)

    def ask(self, what: str, **more: Any) -> bool:
        """Send a command; False when it cannot be delivered."""
        return self.channel.send({"do": what, **more}, wait=False)

    def drain(self, patience: float) -> None:
        """Tell it to end in order; one that has not begun to serve is simply ended.

        It accepts no more, and closes nothing for `patience` seconds yet.
        """
        self.told_to_end = True
        self.ask("drain", patience=patience)
        if self.state == "starting":  # as far as we know: it may serve by now, and then it reads
            self._process.terminate()
        self.state = "draining"

    def kill(self) -> None:
        """End it at once; nothing when it has ended."""
        self.told_to_end = True
        self._process.kill()

    def wait(self) -> int:
        """Wait for its end, and return the status."""
        return self._process.wait()

    def close(self) -> None:
        """Give the channel back, after the end."""
        self.state = "ended"
        self.channel.close()


def describe_status(status: int) -> str:
    """Return how a process ended, in words."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def _spawn(arguments: Sequence[str], kept: Sequence[int]) -> subprocess.Popen[bytes]:
    """Start the interpreter with these descriptors, the first of which is the channel."""
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        return subprocess.Popen(
            [sys.executable, *flags, "-m", "pyuring", *arguments],
            env={**os.environ, ENVIRONMENT: str(kept[0])},
            pass_fds=kept,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
