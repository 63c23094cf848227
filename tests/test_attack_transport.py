"""What a hostile or careless protocol does to its connection: no crash, no byte mixed up."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from peers import PATIENCE, Echo, connect, read_exactly, read_to_end, reset, until

from pyuring import BufferedProtocol, Engine, Protocol, Transport
from pyuring.testing import serve

TIERS = ["none", "base", "mid", "high"]
Act = Callable[[Transport, random.Random], object]


def test_f51_a_protocol_replaced_by_its_own_method_outlives_it() -> None:
    """As a method written in C, which does not hold what it was called on."""
    freed = threading.Event()
    seen: list[bool] = []

    class Element:
        def __init__(self, transport: Transport) -> None:
            self.transport = transport

        def __lt__(self, _: object) -> bool:
            self.transport.set_protocol(Echo())
            seen.append(freed.is_set())
            return False

    class Sorter(list[Element]):
        def connection_made(self, transport: Transport) -> None:
            self.extend((Element(transport), Element(transport)))

        def connection_lost(self, exc: BaseException | None) -> None: ...

        def data_received(self, data: bytes) -> None: ...

        eof_received = list.sort

        def __del__(self) -> None:
            freed.set()

    with serve(Sorter) as engine, connect(engine.address) as peer:
        peer.shutdown(socket.SHUT_WR)
        assert read_to_end(peer) == b""
        assert freed.wait(PATIENCE)
    assert seen == [False]


class Fickle(Protocol):
    """Echoes, while it pauses, resumes and is replaced by the other kind at random."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        transport, choice = self.transport, self.rng.random()
        transport.write(data if choice < 0.5 else bytearray(data))
        if choice < 0.3:
            transport.pause_reading()
            transport.worker.call_later(choice / 300, transport.resume_reading)
        elif choice < 0.4:
            transport.pause_reading()
            transport.resume_reading()
        elif choice < 0.7:
            successor = self.rng.choice((Fickle, FickleBuffers))(self.rng)
            successor.transport = transport
            transport.set_protocol(successor)


class FickleBuffers(BufferedProtocol):
    """The same, in memory of its own that is never of the size that was hinted at for long."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    connection_made = Fickle.connection_made

    def get_buffer(self, sizehint: int) -> bytearray:
        self.memory = bytearray(self.rng.choice((1, 7, 100, sizehint, 2 * sizehint)))
        return self.memory

    def buffer_updated(self, nbytes: int) -> None:
        Fickle.data_received(self, bytes(self.memory[:nbytes]))  # type: ignore[arg-type]


@pytest.mark.parametrize("tier", TIERS)
def test_f33_pauses_and_successors_keep_every_byte_in_order(tier: str, rng: random.Random) -> None:
    config: dict[str, Any] = {
        "tier": tier,
        "ring_entries": rng.choice((2, 16)),
        "buffer_count": 2,
        "buffer_size": rng.choice((64, 1000)),
        "send_queue_pause": rng.choice((0, 20_000)),
    }
    sent = rng.randbytes(150_000)

    def factory() -> Any:
        return rng.choice((Fickle, FickleBuffers))(rng)

    with serve(factory, **config) as engine, connect(engine.address) as peer:
        got: list[bytes] = []
        reader = threading.Thread(target=lambda: got.append(read_to_end(peer)))
        reader.start()
        place = 0
        while place < len(sent):
            size = rng.choice((1, 100, 5000, 70_000))
            peer.sendall(sent[place : place + size])
            place += size
        peer.shutdown(socket.SHUT_WR)
        reader.join(PATIENCE)
        assert got == [sent]


ACTS: list[Act] = [
    lambda t, r: t.write(bytes(r.choice((0, 1, 5000, 100_000)))),
    lambda t, _: t.writelines([b"a", bytearray(b"bc"), memoryview(b"def")]),
    lambda t, _: t.write(memoryview(b"abcdef")[::2]),
    lambda t, _: t.write("text"),  # type: ignore[arg-type]
    lambda t, _: t.write_eof(),
    lambda t, _: t.close(),
    lambda t, _: t.abort(),
    lambda t, _: t.pause_reading(),
    lambda t, _: t.resume_reading(),
    lambda t, r: t.set_write_buffer_limits(r.choice((0, 10, 100_000))),
    lambda t, r: t.set_protocol(Hostile()),
    lambda t, _: t.set_protocol(object()),
    lambda t, _: t.get_extra_info("peername"),
    lambda t, r: t.worker.call_soon_threadsafe(act, t, r),
    lambda t, r: t.worker.call_later(r.random() / 100, act, t, r),
    lambda t, _: t.worker.connect(Hostile, "127.0.0.1:9", failed=lambda _: None, timeout=0.05),
]
_everyone: list[Transport] = []
_chance = random.Random(0)


def act(transport: Transport, rng: random.Random) -> None:
    """Do anything at all to a transport; what it refuses is fine."""
    try:
        rng.choice(ACTS)(transport, rng)
    except (RuntimeError, TypeError, ValueError, BufferError):
        pass


class Hostile:
    """Does anything, to anybody, at any moment, and raises now and then."""

    def __init__(self) -> None:
        self.memory = bytearray(100)

    def strike(self, *_: object) -> None:
        for _unused in range(_chance.randrange(3)):
            if _everyone:
                act(_chance.choice(_everyone[-20:]), _chance)
        if _chance.random() < 0.05:
            raise _chance.choice((ValueError, OSError, MemoryError, RecursionError))

    def connection_made(self, transport: Transport) -> None:
        _everyone.append(transport)
        self.strike()

    def get_buffer(self, _: int) -> Any:
        self.strike()
        wrong = _chance.choice((None, b"read only", bytearray(), bytearray(1 << 16)))
        return wrong if _chance.random() < 0.1 else self.memory

    data_received = buffer_updated = eof_received = strike
    pause_writing = resume_writing = connection_lost = strike


@pytest.mark.parametrize("tier", TIERS)
def test_f49_any_method_at_any_moment_leaves_the_engine_whole(
    tier: str, rng: random.Random
) -> None:
    _everyone.clear()
    _chance.seed(rng.random())
    engine = Engine(
        Hostile,
        "127.0.0.1:0",
        tier=tier,
        ring_entries=2,
        buffer_count=2,
        buffer_size=64,
        max_connections=rng.choice((3, 50)),
        linger_timeout=0,
        exception_hook=lambda *_: None,
    ).start()
    stop = threading.Event()

    def outsider() -> None:
        while not stop.wait(0.001):
            if _everyone:
                act(_everyone[-1], _chance)

    threads = [threading.Thread(target=outsider) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(150):
        misbehave(engine.address, rng)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert engine.running
    engine.shutdown(0)
    until(lambda: engine.failure is None)
    counts = engine.metrics()
    assert counts.active == 0
    assert counts.accepted + counts.connected == counts.closed
    _everyone.clear()


def misbehave(address: str, rng: random.Random) -> None:
    """Be a client that leaves at some point of the conversation, politely or not."""
    peer = connect(address)
    try:
        peer.settimeout(0.02)
        for _ in range(rng.randrange(4)):
            step = rng.randrange(3)
            if step == 0:
                peer.send(bytes(rng.choice((1, 64, 5000))))
            elif step == 1:
                peer.recv(rng.choice((1, 100_000)))
            else:
                peer.shutdown(rng.choice((socket.SHUT_WR, socket.SHUT_RD)))
    except OSError:
        pass
    if rng.random() < 0.5:
        reset(peer)
    peer.close()


@pytest.mark.parametrize("tier", TIERS)
def test_f63_an_error_queue_that_nobody_reads_costs_nothing(tier: str, rng: random.Random) -> None:
    so_timestamping, of_sent_segments = 37, 1 << 1 | 1 << 4  # asm-generic/socket.h, net_tstamp.h

    class Stamped(Echo):
        def connection_made(self, transport: Transport) -> None:
            super().connection_made(transport)
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, so_timestamping, of_sent_segments)

    data = rng.randbytes(3 << 20)
    with serve(Stamped, tier=tier) as engine, connect(engine.address) as peer:
        for part in (data[:3], data[3:]):
            sender = threading.Thread(target=peer.sendall, args=(part,))
            sender.start()
            assert read_exactly(peer, len(part)) == part
            sender.join()
            until(lambda: engine.metrics().bytes_sent in (3, len(data)))
            turns = engine.metrics().turns
            threading.Event().wait(0.2)  # the span that is measured
            assert engine.metrics().turns - turns <= 5
