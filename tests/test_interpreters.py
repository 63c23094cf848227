"""What depends on the interpreter's build: reference counts (F52), threads without a global lock.

Runs on every build. Where CPython counts references (a debug build) they are compared, and
everywhere its own memory blocks are; free-threaded builds are where the other half can fail.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest
from conftest import RunPython
from peers import Echo, connect, read_exactly, read_to_end, reset, until

from pyuring import BufferedProtocol, Ring, Transport
from pyuring.testing import serve

MESSAGES, CONNECTIONS, OPERATIONS = 1000, 200, 2000
# One object in twenty of what passes; what an interpreter keeps for itself stays far below.
SLACK = CONNECTIONS // 4


class Thorough(Echo):
    """Uses whatever hands objects in and out."""

    def connection_made(self, transport: Transport) -> None:
        super().connection_made(transport)
        assert transport.get_extra_info("peername")
        assert repr(transport)
        transport.set_write_buffer_limits(high=10)

    def data_received(self, data: bytes) -> None:
        self.transport.pause_reading()
        self.transport.writelines([bytearray(data[:1]), memoryview(data)[1:]])
        self.transport.worker.call_soon(self.transport.resume_reading)
        self.transport.set_protocol(self.transport.get_protocol())

    def pause_writing(self) -> None:
        assert self.transport.get_write_buffer_limits() == (2, 10)


class Buffered(BufferedProtocol):
    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        self.memory = bytearray(33)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.memory

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(self.memory[:nbytes])


class Raising(Echo):
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if data == b"end":
            raise ValueError("the connection ends with this")


class FromElsewhere(Echo):
    jobs: SimpleQueue[tuple[Transport, bytes]] = SimpleQueue()

    def data_received(self, data: bytes) -> None:
        self.jobs.put((self.transport, data))


def talk(address: str) -> None:
    """Exchange messages, then come and go in every manner."""
    with connect(address) as peer:
        for _ in range(MESSAGES):
            peer.sendall(b"x" * 100)
            assert len(read_exactly(peer, 100)) == 100
    for number in range(CONNECTIONS):
        peer = connect(address)
        peer.sendall(b"end")
        if number % 3:
            peer.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while peer.recv(4096):  # larger ones fragment free-threaded 3.13's heap
                    pass
            peer.close()
        else:
            reset(peer)


def operate() -> None:
    """Use a raw ring: batches of no-ops, reads into memory that is lent."""
    memory = bytearray(64)
    with open("/dev/zero", "rb") as zeros, Ring(16) as ring:
        for number in range(OPERATIONS // 16):
            for place in range(16):
                sqe = ring.get_sqe()
                assert sqe is not None
                if place % 2:
                    sqe.prep_nop()
                else:
                    sqe.prep_read(zeros.fileno(), memory)
                sqe.user_data = 10**6 * number + place
            ring.submit_and_wait(16)
            assert sum(1 for _ in ring.completions()) == 16


def counts() -> dict[str, int]:
    """Return what must not grow, nor shrink, with the number of events."""
    gc.collect()
    gc.collect()
    found = {"blocks": sys.getallocatedblocks()}
    if hasattr(sys, "gettotalrefcount"):
        found["references"] = sys.gettotalrefcount()
    return found


def resident() -> int:
    """Return this process's resident bytes."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def compare(exercise: Callable[[], None]) -> None:
    """Assert that an exercise leaves nothing behind.

    A leak grows with every round. What an interpreter comes to keep grows once, and what a
    free-threaded one has yet to free comes and goes: some two rounds are alike then.
    """
    exercise()
    pages, seen = resident(), [counts()]
    for _ in range(6):
        exercise()
        now = counts()
        if any(all(abs(now[name] - then[name]) < SLACK for name in now) for then in seen):
            break
        seen.append(now)
    else:
        raise AssertionError(f"every round leaves something: {seen}")
    assert resident() - pages < 1 << 20


@contextlib.contextmanager
def writer() -> Iterator[None]:
    """Answer FromElsewhere's messages from a thread that is not the worker's."""

    def run() -> None:
        while True:
            transport, data = FromElsewhere.jobs.get()
            if not data:
                return
            transport.write(data)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        FromElsewhere.jobs.put((None, b""))  # type: ignore[arg-type]
        thread.join()


# In a process of its own: what other tests and pytest keep would be counted too.
SUBJECTS: dict[str, Callable[[], Any]] = {
    "echo": Echo,
    "thorough": Thorough,
    "buffered": Buffered,
    "raising": Raising,
    "elsewhere": FromElsewhere,
}
RUN = """
import sys
sys.path.insert(0, "tests")
import test_interpreters as here
here.main(sys.argv[1])
"""


def main(name: str) -> None:
    """Compare the counts around one subject; the entry of the child process."""
    if name == "ring":
        return compare(operate)
    with writer(), serve(SUBJECTS[name], workers=2, exception_hook=lambda *_: None) as engine:

        def exercise() -> None:
            talk(engine.address)
            until(lambda: engine.metrics().active == 0, "the end of all connections")

        compare(exercise)


@pytest.mark.parametrize("name", [*SUBJECTS, "ring"])
def test_f52_counts_are_equal_before_and_after(name: str, run_python: RunPython) -> None:
    result = run_python(RUN, name)
    assert result.returncode == 0, result.stderr


def meddle(transports: list[Transport], stop: threading.Event) -> None:
    """Use transports whose worker is another thread, and whose end may come at any moment."""
    while not stop.is_set():
        for transport in transports[-8:]:
            transport.get_extra_info("peername")
            transport._extra = {"sockname": None}
            transport.set_protocol(transport.get_protocol() or Echo())
            transport.pause_reading()
            transport.resume_reading()
            assert transport.get_write_buffer_size() >= 0
            assert len(transport.get_write_buffer_limits()) == 2
            assert transport.fileno() >= -1
            transport.is_reading()
            transport.is_closing()
            transport.worker.metrics()


def test_any_thread_may_use_a_transport_until_after_its_end() -> None:
    transports: list[Transport] = []

    class Known(Echo):
        def connection_made(self, transport: Transport) -> None:
            super().connection_made(transport)
            transports.append(transport)

    stop = threading.Event()
    threads = [threading.Thread(target=meddle, args=(transports, stop)) for _ in range(3)]
    with serve(Known, workers=2) as engine:
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            with connect(engine.address) as peer:
                peer.sendall(b"y" * 5000)
                assert read_exactly(peer, 5000) == b"y" * 5000
        stop.set()
        for thread in threads:
            thread.join()


def test_writes_from_threads_of_ones_own_arrive_in_order() -> None:
    numbers = struct.Struct("!I")

    class Counting(Echo):
        def connection_made(self, transport: Transport) -> None:
            threading.Thread(target=self.count, args=(transport,)).start()

        def count(self, transport: Transport) -> None:
            for number in range(2000):
                transport.write(numbers.pack(number))
            transport.close()

    wanted = b"".join(map(numbers.pack, range(2000)))
    with serve(Counting, workers=2) as engine, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(connect(engine.address)) for _ in range(4)]
        for peer in peers:
            assert read_to_end(peer) == wanted
