"""Receiving in bulk: what a connection gets when it sends more than receive buffers hold.

The peer checks every byte; sizes lie around the thresholds (a receive buffer, a block).
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest
from peers import PATIENCE, Echo, connect, read_exactly, read_to_end, until

from pyuring import BufferedProtocol, Protocol, Transport
from pyuring.testing import serve

KIB = 1 << 10
BUFFER, BLOCK = 16 * KIB, 128 * KIB
TIERS = ["none", "base", "mid", "high"]
SIZES = (1, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK)


class Own(BufferedProtocol):
    """Sends everything back; its buffer is of its class's size."""

    size = 64 * KIB

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        self.memory = bytearray(self.size)

    def get_buffer(self, sizehint: int) -> bytearray:
        assert sizehint > 0
        return self.memory

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(bytes(memoryview(self.memory)[:nbytes]))
        del self.memory[nbytes:]  # nobody else may hold it now
        self.memory += bytes(self.size - nbytes)


def flood(peer: socket.socket, text: bytes, rng: random.Random) -> threading.Thread:
    """Send a text in random pieces, on a thread: whoever reads must do so meanwhile."""
    sizes = [rng.choice((100, 5000, BUFFER, 100_000, len(text))) for _ in range(200)]

    def send() -> None:
        sent = 0
        while sent < len(text):
            piece = sizes[sent % len(sizes)]
            peer.sendall(text[sent : sent + piece])
            sent += piece

    thread = threading.Thread(target=send)
    thread.start()
    return thread


@pytest.mark.parametrize("factory", [Echo, Own])
@pytest.mark.parametrize("tier", TIERS)
def test_f32_messages_of_all_sizes_come_back_whole(
    tier: str, factory: Callable[[], Any], rng: random.Random
) -> None:
    with serve(factory, tier=tier) as engine, connect(engine.address) as peer:
        for _ in range(3):
            for size in rng.sample(SIZES, len(SIZES)):
                text = rng.randbytes(size)
                thread = flood(peer, text, rng)
                assert read_exactly(peer, size) == text
                thread.join(PATIENCE)
                for _ in range(rng.choice((0, 3, 20))):  # small ones in between
                    peer.sendall(text[:50])
                    assert read_exactly(peer, min(50, size)) == text[:50]


@pytest.mark.parametrize("tier", TIERS)
def test_what_lies_in_the_socket_comes_in_one_piece(tier: str, rng: random.Random) -> None:
    sizes: SimpleQueue[int] = SimpleQueue()

    class Sizes(Echo):
        def data_received(self, data: bytes) -> None:
            sizes.put(len(data))
            super().data_received(data)

    with serve(Sizes, tier=tier) as engine, connect(engine.address) as peer:
        text = rng.randbytes(4 * BLOCK)
        largest = 0
        for _ in range(20):  # how much lies there at once is the kernel's affair
            thread = flood(peer, text, random.Random(0))
            assert read_exactly(peer, len(text)) == text
            thread.join(PATIENCE)
            while not sizes.empty():
                largest = max(largest, sizes.get())
            if largest > BUFFER:
                break
        assert BUFFER < largest <= BLOCK
        peer.sendall(b"x")
        assert read_exactly(peer, 1) == b"x"


@pytest.mark.parametrize("tier", TIERS)
def test_f33_a_pause_in_the_middle_loses_and_reorders_nothing(
    tier: str, rng: random.Random
) -> None:
    class Pausing(Protocol):
        def connection_made(self, transport: Transport) -> None:
            self.transport = transport
            self.left = 5

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)
            if len(data) > BUFFER and self.left:
                self.left -= 1
                self.transport.pause_reading()
                self.transport.worker.call_later(0.01, self.transport.resume_reading)

    text = rng.randbytes(20 * BLOCK)
    with serve(Pausing, tier=tier) as engine, connect(engine.address) as peer:
        thread = flood(peer, text, rng)
        assert read_exactly(peer, len(text)) == text
        thread.join(PATIENCE)


@pytest.mark.parametrize("tier", TIERS)
def test_f56_an_end_after_many_bytes_comes_after_them(tier: str, rng: random.Random) -> None:
    text = rng.randbytes(8 * BLOCK + 77)
    with serve(Echo, tier=tier) as engine, connect(engine.address) as peer:
        thread = flood(peer, text, rng)
        received = read_exactly(peer, len(text) // 2)
        thread.join(PATIENCE)
        peer.shutdown(socket.SHUT_WR)
        assert received + read_to_end(peer) == text
        until(lambda: engine.metrics().active == 0)
        assert engine.metrics().buffers_held == 0


@pytest.mark.parametrize("tier", TIERS)
def test_another_protocol_takes_over_in_bulk(tier: str, rng: random.Random) -> None:
    class First(Protocol):
        def connection_made(self, transport: Transport) -> None:
            self.transport = transport
            self.count = 0

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)
            self.count += len(data)
            if self.count > BLOCK:
                other = Own()
                other.connection_made(self.transport)
                self.transport.set_protocol(other)

    class Handing(Own):
        def get_buffer(self, sizehint: int) -> bytearray:
            if sizehint > BUFFER:  # asked for a block: somebody else has one
                other = First()
                other.connection_made(self.transport)
                self.transport.set_protocol(other)
            return super().get_buffer(sizehint)

    text = rng.randbytes(10 * BLOCK)
    for factory in (First, Handing):
        with serve(factory, tier=tier) as engine, connect(engine.address) as peer:
            thread = flood(peer, text, rng)
            assert read_exactly(peer, len(text)) == text
            thread.join(PATIENCE)


def test_a_buffer_smaller_than_a_receives_is_filled_by_copies(rng: random.Random) -> None:
    class Small(Own):
        size = 1000

    text = rng.randbytes(4 * BLOCK)
    with serve(Small) as engine, connect(engine.address) as peer:
        thread = flood(peer, text, rng)
        assert read_exactly(peer, len(text)) == text
        thread.join(PATIENCE)


@pytest.mark.parametrize("wrong", [b"read-only", bytearray(), None, ZeroDivisionError("mine")])
def test_f49_a_buffer_that_cannot_be_had_ends_that_connection(wrong: Any) -> None:
    failures: SimpleQueue[BaseException | None] = SimpleQueue()

    class Wrong(Own):
        def get_buffer(self, sizehint: int) -> Any:
            if sizehint <= BUFFER:
                return super().get_buffer(sizehint)
            if isinstance(wrong, Exception):
                raise wrong
            return wrong

        def connection_lost(self, exc: BaseException | None) -> None:
            failures.put(exc)

    with serve(Wrong, exception_hook=lambda *_: None) as engine:
        with connect(engine.address) as peer:
            peer.setblocking(False)
            until(lambda: send_some(peer) or not failures.empty(), "the end")
        assert isinstance(failures.get(), Exception)
        with connect(engine.address) as other:
            other.sendall(b"still there")
            assert read_exactly(other, 11) == b"still there"


def send_some(peer: socket.socket) -> None:
    """Send what fits just now."""
    with contextlib.suppress(OSError):
        peer.send(bytes(BLOCK))
