"""A server and its clients on one thread, for callgrind: `python child.py ROUNDS`, by counts.py.

Owns the scenarios, and what is counted: a worker's turns and nothing else. The worker is turned by
hand, twice a round, and its peers sit at the other ends of Unix sockets, where what one end sends
has arrived at once. So nothing waits, and each round is like the one before. Never counts itself.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from pyuring import Http, Wsgi, _native, addresses, listeners, worker as worker_module
from pyuring.config import EngineConfig
from pyuring.startup import start_first
from pyuring.worker import Worker

CONNECTIONS = 8
WARM_UP = 4
ROUND_TURNS = 2  # one receives and handles, the next one sends
RINGS = {"io_uring": "high", "epoll": "none"}

HELLO = "Hello, world!"
GET = b"GET / HTTP/1.1\r\nHost: localhost:8000\r\n\r\n"
BROWSER = (
    b"GET / HTTP/1.1\r\nHost: localhost:8000\r\nConnection: keep-alive\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Cookie: session=4f2c9a1be07d4c58a3f1; theme=dark\r\nUpgrade-Insecure-Requests: 1\r\n\r\n"
)
POST = b"POST / HTTP/1.1\r\nHost: localhost:8000\r\nContent-Length: 1024\r\n\r\n" + bytes(1024)


def handler(request: Any) -> str:
    return HELLO


def counting_handler(request: Any) -> str:
    return str(len(request.body))


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [b"Hello, world!"]


class Echo:
    """The smallest protocol there is."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        pass


class Scenario(NamedTuple):
    """What is served, and what each connection sends in a round."""

    application: Callable[[], Any]
    sent: bytes
    requests: int = 1
    ends: bytes = HELLO.encode()


SCENARIOS = {
    "hello": Scenario(lambda: Http(handler), GET),
    "headers": Scenario(lambda: Http(handler), BROWSER),
    "pipelined": Scenario(lambda: Http(handler), GET * 16, 16),
    "post": Scenario(lambda: Http(counting_handler), POST, ends=b"1024"),
    "wsgi": Scenario(lambda: Wsgi(application), GET),
    "echo": Scenario(lambda: Echo, bytes(64), ends=bytes(64)),
}


class MissingRingError(Exception):
    """The kernel does not grant the ring that is to be counted on; the text says why."""


class HandTurned(Worker):
    """A worker without a thread: it lives on the one that starts it."""

    def start(self) -> None:
        worker_module._here.worker = self
        self._create()


class Gate:
    """Talks to callgrind by its client requests (valgrind/callgrind.h), which are machine code.

    `turn` switches counting on, calls pyuring_worker_turn(worker, 0), and switches it off, so that
    not an instruction of ctypes is counted. Without valgrind a request is a row of no effect.
    """

    BASE = ord("C") << 24 | ord("T") << 16
    TOGGLE, DUMP_AT, START = BASE + 2, BASE + 3, BASE + 4
    # rolq $3, $13, $61, $51 on %rdi, which together change nothing, and xchgq %rbx, %rbx:
    # %rax points to the request and its five arguments, the answer comes in %rdx.
    REQUEST = "4889d8 31d2 48c1c703 48c1c70d 48c1c73d 48c1c733 4887db"
    # (request %rdi) and (request %rdi, turn %rsi, worker %rdx), %rax for the results.
    ASK = f"53 4889fb {REQUEST} 4889d0 5b c3"
    CALL = f"{REQUEST} 4c89e7 31f6 ffd5 4989c4 {REQUEST} 4c89e0"
    TURN = f"53 55 4154 4889fb 4889f5 4989d4 {CALL} 415c 5d 5b c3"

    def __init__(self) -> None:
        prot = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        self._code = mmap.mmap(-1, mmap.PAGESIZE, prot=prot)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        ask, turn = bytes.fromhex(self.ASK), bytes.fromhex(self.TURN)
        self._code.write(ask + turn)
        word = ctypes.c_uint64
        self._ask = ctypes.PYFUNCTYPE(word, ctypes.c_void_p)(start)
        call = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, word, word)(start + len(ask))
        toggle = self._block(self.TOGGLE)
        native = ctypes.cast(_native.pylib.pyuring_worker_turn, ctypes.c_void_p).value
        self.turn: Callable[[int], int] = lambda worker: call(toggle, native, worker)

    def ask(self, request: int, argument: int = 0) -> None:
        self._ask(self._block(request, argument))

    def dump(self, name: str) -> None:
        """Write what was counted since the last dump, under that name."""
        text = ctypes.create_string_buffer(name.encode())
        self.ask(self.DUMP_AT, ctypes.addressof(text))

    @staticmethod
    def _block(request: int, argument: int = 0) -> Any:
        return (ctypes.c_uint64 * 6)(request, argument)


@contextmanager
def served(application: Any, tier: str, path: str) -> Iterator[Worker]:
    """Have a worker listen on a Unix socket, on this thread."""
    config = EngineConfig(tier=tier, max_connections=64, turn_budget=3600)
    address = addresses.parse(f"unix:{path}")
    groups = listeners.open_listeners(address, workers=1, backlog=16, reuse_port=False)

    def make(index: int, settings: dict[str, int]) -> Worker:
        return HandTurned(index, settings, application, listeners=groups[0])

    worker, ladder = start_first(config, make)
    try:
        if ladder.achieved.name != tier.upper():
            raise MissingRingError("; ".join(ladder.missed()))
        yield worker
    finally:
        worker.abort()
        worker._finish()
        worker._let_go()
        listeners.release_all(groups)


def count(gate: Gate, name: str, ring: str, rounds: int, path: str) -> None:
    """Run a scenario on a ring, and dump what its rounds took."""
    scenario = SCENARIOS[name]
    with served(scenario.application(), RINGS[ring], path) as worker:
        peers = [socket.socket(socket.AF_UNIX) for _ in range(CONNECTIONS)]
        for peer in peers:
            peer.connect(path)
            peer.setblocking(False)
        for _ in range(3 * ROUND_TURNS):
            _native.pylib.pyuring_worker_turn(worker.handle, 0)
        sizes = {
            one_round(lambda: gate.turn(worker.handle), peers, scenario) for _ in range(WARM_UP)
        }
        gc.collect()
        gate.dump("nothing")
        sizes |= {
            one_round(lambda: gate.turn(worker.handle), peers, scenario) for _ in range(rounds)
        }
        gate.dump(f"{name} {ring} {rounds * CONNECTIONS * scenario.requests}")
        assert len(sizes) == 1, f"{name} on {ring}: replies of {sizes} bytes"
        for peer in peers:
            peer.close()


def one_round(turn: Callable[[], object], peers: list[socket.socket], scenario: Scenario) -> int:
    """Send on every connection, turn, and take every reply; return how long one is."""
    for peer in peers:
        peer.send(scenario.sent)
    for _ in range(ROUND_TURNS):
        turn()
    replies = {len(reply) for peer in peers if (reply := peer.recv(65536)).endswith(scenario.ends)}
    (size,) = replies
    return size


def main(rounds: str, *names: str) -> None:
    gc.disable()
    gate = Gate()
    gate.ask(Gate.START)
    with tempfile.TemporaryDirectory() as directory:
        for ring in RINGS:
            for name in names or SCENARIOS:
                try:
                    count(gate, name, ring, int(rounds), os.path.join(directory, f"{name}-{ring}"))
                except MissingRingError as error:
                    print(f"{ring}: {error}")
                    break


if __name__ == "__main__":
    main(*sys.argv[1:])
