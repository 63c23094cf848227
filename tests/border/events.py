"""Counts what is left behind by many events of one kind (F52): references, objects, memory.

`python events.py KIND EVENTS` runs a server in this process and its client in another, and prints
the counts before and after. Where CPython counts references (a debug build) they are compared,
everywhere its memory blocks are. Bar 6 is this with 10⁶ events of each kind.
"""

from __future__ import annotations

import gc
import itertools
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from peers import Echo, connect, read_exactly, read_to_end, until

from pyuring import Http, Response, Ring, Wsgi, current_worker
from pyuring.testing import serve

WARM_UP = int(os.environ.get("PYURING_WARM_UP", "1000"))
# What comes and goes by itself: a thread's free lists, a cache, the last error.
SLACK = 150
PIPELINED = 32
REQUEST = b"POST /path?a=b HTTP/1.1\r\nHost: h\r\nX-Field: value\r\nContent-Length: 3\r\n\r\nxyz"


class Raising(Echo):
    """Raises in one of its methods, another one for each connection."""

    made = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        Raising.made += 1
        self.number = Raising.made % 3
        if self.number == 0:
            raise ValueError("made")

    def data_received(self, data: bytes) -> None:
        if self.number == 1:
            raise KeyError(data)

    def eof_received(self) -> None:
        raise RuntimeError("eof")


def answer(request: Any) -> Any:
    assert request.body == b"xyz"
    assert request.query["a"] == "b"
    assert request.headers
    return Response(request.header("x-field"), headers=[("a", "b")])


def raise_error(request: Any) -> Any:
    raise ValueError(request.path)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body))), ("A", environ["QUERY_STRING"])])
    return [body]


def failing_application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    start_response("200 OK", [])
    raise ValueError(environ["PATH_INFO"])


def leak(request: Any) -> bytes:
    """Keep one object in eight: what the counts have to notice."""
    if next(numbers) % 8 == 0:
        kept.append(object())
    return b""


# Kind -> what is served, and how the client talks to it.
SERVED: dict[str, tuple[Callable[[], Any], str]] = {
    "echo": (lambda: Echo, "messages"),
    "errors": (lambda: Raising, "connections"),
    "http": (lambda: Http(answer), "requests"),
    "http-errors": (lambda: Http(raise_error), "requests"),
    "http-threads": (lambda: Http(answer, threads=2), "requests"),
    "canary": (lambda: Http(leak), "requests"),
    "wsgi": (lambda: Wsgi(application), "requests"),
    "wsgi-errors": (lambda: Wsgi(failing_application), "requests"),
}
KINDS = (*SERVED, "timers", "ring")
kept: list[object] = []
numbers = itertools.count()


def talk(address: str, how: str, count: int) -> None:
    """Be the client: `count` messages, connections or requests."""
    if how == "connections":
        for _ in range(count):
            with connect(address) as peer:
                peer.sendall(b"x")
                peer.shutdown(socket.SHUT_WR)
                read_quietly(peer)
        return
    with connect(address) as peer:
        if how == "messages":
            for _ in range(count):
                peer.sendall(b"0123456789abcdef")
                assert len(read_exactly(peer, 16)) == 16
            return
        peer.sendall(REQUEST)
        size = len(peer.recv(4096))
        for left in range(count - 1, 0, -PIPELINED):
            some = min(left, PIPELINED)
            peer.sendall(REQUEST * some)
            assert len(read_exactly(peer, some * size)) == some * size


def read_quietly(peer: socket.socket) -> None:
    try:
        read_to_end(peer)
    except ConnectionResetError:
        pass


def operate(count: int) -> None:
    """Use a raw ring, in batches of sixteen, with user_data and memory of one's own."""
    memory = bytearray(64)
    with open("/dev/zero", "rb") as zeros, Ring(16) as ring:
        for number in range(0, count, 16):
            for place in range(16):
                sqe = ring.get_sqe()
                assert sqe is not None
                sqe.prep_read(zeros.fileno() if place % 3 else 999, memory)
                sqe.user_data = 10**12 * number + place
            ring.submit_and_wait(16)
            assert sum(1 for _ in ring.completions()) == 16


def tick(count: int) -> None:
    """Run timers on a worker: each starts the next, and cancels one that would come later."""
    done = threading.Event()

    def step(left: int) -> None:
        worker = current_worker()
        assert worker is not None
        if left <= 0:
            done.set()
            return
        worker.call_later(100, print).cancel()
        worker.call_soon(int)
        worker.call_later(0, step, left - 3)

    with serve(Echo) as engine:
        engine.workers[0].call_soon_threadsafe(step, count)
        assert done.wait(3600)


def counts() -> dict[str, int]:
    """Return what must not grow with the number of events."""
    for _ in range(3):
        gc.collect()
    found = {"blocks": sys.getallocatedblocks()}
    if hasattr(sys, "gettotalrefcount"):
        found["references"] = sys.gettotalrefcount()
    return found


def compare(kind: str, exercise: Callable[[int], None], events: int) -> None:
    """Print the counts around `events` events; exit with 1 if they differ by more than SLACK."""
    exercise(WARM_UP)
    exercise(WARM_UP)
    before = counts()
    exercise(events)
    after = counts()
    words = ", ".join(f"{name} {before[name]} -> {after[name]}" for name in before)
    print(f"{kind}: {events} events, {words}")
    if any(abs(after[name] - before[name]) > SLACK for name in before):
        sys.exit(1)


def main(kind: str, events: str) -> None:
    if kind == "ring":
        return compare(kind, operate, int(events))
    if kind == "timers":
        return compare(kind, tick, int(events))
    make, how = SERVED[kind]
    with serve(make(), exception_hook=lambda *_: None) as engine:

        def exercise(count: int) -> None:
            command = [sys.executable, __file__, "client", engine.address, how, str(count)]
            subprocess.run(command, check=True)
            until(lambda: engine.metrics().active == 0, "the end of all connections")

        compare(kind, exercise, int(events))


if __name__ == "__main__":
    if sys.argv[1] == "client":
        talk(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main(*sys.argv[1:])
