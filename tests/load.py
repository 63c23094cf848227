"""Clients that go on while something happens to a server: none may be refused, none may be lost.

It owns its threads; the block ends with what went wrong, if anything has.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable

from peers import connect

__all__ = ["Load"]

QUIET_SECONDS = 0.05  # half of what an engine takes for quiet


class Load:
    """Threads that connect, ask and hang up (`each`), or ask again and again on one connection."""

    def __init__(self, address: str, threads: int = 4, keep: bool = False) -> None:
        self.answers: Counter[bytes] = Counter()
        self.problems: list[str] = []
        self._address = address
        self._stop = threading.Event()
        self._lock = threading.Lock()
        target = self._keep if keep else self._each
        self._threads = [
            threading.Thread(target=self._guard, args=(target,)) for _ in range(threads)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def total(self) -> int:
        """Return how many answers have come."""
        return sum(self.answers.values())

    def _guard(self, target: Callable[[], None]) -> None:
        while not self._stop.is_set():
            try:
                target()
            except OSError as error:
                self.problems.append(repr(error))

    def _each(self) -> None:
        with connect(self._address) as peer:
            self._ask(peer)

    def _keep(self) -> None:
        """Ask again and again; who is not quiet for long must not be hung up on."""
        with connect(self._address) as peer:
            last = time.monotonic()
            while not self._stop.is_set():
                now = time.monotonic()
                if now - last > QUIET_SECONDS:  # this machine was too busy: we may be closed
                    return
                last = now
                self._ask(peer)

    def _ask(self, peer: socket.socket) -> None:
        peer.sendall(b"who\n")
        answer = b""
        while not answer.endswith(b"\n"):
            piece = peer.recv(64)
            if not piece:
                raise ConnectionError(f"lost after {answer!r}")
            answer += piece
        with self._lock:
            self.answers[answer] += 1
