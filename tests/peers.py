"""The other end of a test's connections: plain blocking sockets, and a protocol that takes notes.

It owns no engine. Nothing here waits longer than `PATIENCE`, and nothing sleeps to synchronise.
"""

from __future__ import annotations

import errno
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

from pyuring import Protocol, Transport, Worker, addresses

PATIENCE = 10.0
# Free-threaded CPython 3.13 keeps types, and what they hold, for ever once a thread was started.
TYPES_STAY = sys.version_info < (3, 14) and not getattr(sys, "_is_gil_enabled", lambda: True)()


def connect(address: str, source: tuple[str, int] | None = None) -> socket.socket:
    """Return a connected blocking socket with a timeout."""
    place = addresses.resolve(addresses.parse(address))[0]
    sock = socket.socket(place.family, socket.SOCK_STREAM)
    sock.settimeout(PATIENCE)
    if source is not None:
        sock.bind(source)
    try:
        sock.connect(place.address)
    except BaseException:
        sock.close()
        raise
    return sock


def read_exactly(sock: socket.socket, count: int) -> bytes:
    """Return `count` bytes, or what came before the end."""
    pieces: list[bytes] = []
    while count > 0:
        piece = sock.recv(min(count, 1 << 18))
        if not piece:
            break
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def read_to_end(sock: socket.socket) -> bytes:
    """Return everything until the peer's end."""
    return read_exactly(sock, 1 << 62)


def reset(sock: socket.socket) -> None:
    """Close with a RST instead of a FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def refused(address: str) -> bool:
    """Return whether nobody listens there."""
    try:
        connect(address).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    return False


def until(holds: Callable[[], Any], what: str = "the condition") -> None:
    """Wait until `holds()` is true; fail after PATIENCE seconds, naming what was waited for."""
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come about in {PATIENCE} s"
        pause.wait(0.002)


@contextmanager
def silent_listener() -> Iterator[str]:
    """Give the address of a listener that accepts nobody and whose queue is full."""
    with socket.socket() as listener, socket.socket() as filler:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        filler.setblocking(False)
        assert filler.connect_ex(listener.getsockname()) in (0, errno.EINPROGRESS)
        yield addresses.format_sockaddr(listener.getsockname())


class Echo(Protocol):
    """Sends everything back."""

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


def echoes(address: str) -> bool:
    """Return whether an Echo serves there."""
    with connect(address) as peer:
        peer.sendall(b"ping")
        return read_exactly(peer, 4) == b"ping"


class Notes(Protocol):
    """Puts what happens to it into the queue of its class: ("made", self), ("data", bytes) …"""

    events: SimpleQueue[tuple[str, Any]]
    keep_open = False

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        self.worker = transport.worker
        self.events.put(("made", self))

    def data_received(self, data: bytes) -> None:
        self.events.put(("data", data))

    def eof_received(self) -> bool:
        self.events.put(("eof", None))
        return self.keep_open

    def pause_writing(self) -> None:
        self.events.put(("pause", None))

    def resume_writing(self) -> None:
        self.events.put(("resume", None))

    def connection_lost(self, exc: BaseException | None) -> None:
        self.events.put(("lost", exc))


class Notebook:
    """A class of Notes of its own, and the reading of its queue."""

    def __init__(self, **attributes: Any) -> None:
        self.events: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self.protocol = type("Notes", (Notes,), {"events": self.events, **attributes})

    def next(self) -> tuple[str, Any]:
        """Return the next event, whatever it is."""
        try:
            return self.events.get(timeout=PATIENCE)
        except Empty:
            raise AssertionError("no event came") from None

    def expect(self, kind: str) -> Any:
        """Return the value of the next event, which must be of this kind."""
        found, value = self.next()
        assert found == kind, f"expected {kind!r}, got {found!r} {value!r}"
        return value

    def skip_to(self, kind: str) -> Any:
        """Return the value of the next event of this kind."""
        while True:
            found, value = self.next()
            if found == kind:
                return value


def on_worker(protocol: Notes, call: Callable[[], Any]) -> Any:
    """Run `call` on the protocol's worker thread and return its result, or raise its exception."""
    answer: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            answer.put((call(), None))
        except BaseException as error:
            answer.put((None, error))

    protocol.worker.call_soon_threadsafe(run)
    result, error = answer.get(timeout=PATIENCE)
    if error is not None:
        raise error
    return result


def run_on(worker: Worker, call: Callable[[Worker], Any]) -> Any:
    """Run `call(worker)` on its thread, as `on_worker` does for a protocol's."""
    probe = Notes()
    probe.worker = worker
    return on_worker(probe, lambda: call(worker))
