"""What the fuzzer of the border plays with: an instance of every public class, in every state.

Owns their making and their end. A world lasts for one example; the engines last for the process,
or until an example has ended them. Never judges what a call did.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, ClassVar

from peers import PATIENCE, Echo, connect, read_to_end

import pyuring
from pyuring import Engine, Http, Ring, SetupFlags, Sqe, SqeFlags, Wsgi

Makers = dict[str, Callable[[Any], Any]]
DEFER = SetupFlags.SINGLE_ISSUER | SetupFlags.DEFER_TASKRUN


class World:
    """Things by name, made when they are first asked for."""

    makers: ClassVar[Makers] = {}
    blocked_at_most = 0.02  # seconds a call may wait, before a signal interrupts it

    def __init__(self) -> None:
        self.things: dict[str, Any] = {}
        self.results: list[Any] = []
        self.closers = contextlib.ExitStack()

    def thing(self, name: str) -> Any:
        if name not in self.things:
            maker = self.makers.get(name) or PLAIN.get(name, _nothing)
            # What it is made of may have been ended by an earlier call.
            with contextlib.suppress(pyuring.PyuringError, OSError, ValueError, AttributeError):
                self.things[name] = maker(self)
        return self.things.get(name)

    def descriptor(self, place: str) -> int:
        if place not in self.things:
            self.things["reader"], self.things["writer"] = self._own(*os.pipe2(os.O_NONBLOCK))
            pair = socket.socketpair()
            self.things["left"], self.things["right"] = self._own(*(s.detach() for s in pair))
            zero, null = (os.open(f"/dev/{name}", os.O_RDWR) for name in ("zero", "null"))
            self.things["zero"], self.things["null"] = self._own(zero, null)
        return int(self.things[place])

    def _own(self, *numbers: int) -> tuple[int, ...]:
        for number in numbers:
            self.closers.callback(_close, number)
        return numbers

    def file(self) -> Any:
        with tempfile.TemporaryFile() as file:
            (number,) = self._own(os.dup(file.fileno()))
        return open(number, "r+b", closefd=False)  # an operation may close it

    def view(self) -> Any:
        return bytearray(32)

    def end(self) -> None:
        """Close what the world is about, in the middle of a call of its own."""

    def use(self, thing: Any) -> None:
        """Use what the world is about, in the middle of a call of its own."""

    def close(self) -> None:
        self.end()
        for result in self.results:  # what was handed out must outlive what it came from
            if isinstance(result, memoryview):
                with contextlib.suppress(ValueError):
                    bytes(result)
        self.things.clear()
        self.results.clear()
        self.closers.close()


def _nothing(_: object) -> None:
    """Stand in for what this world does not have."""


def _close(number: int) -> None:
    with contextlib.suppress(OSError):  # an operation has closed it already
        os.close(number)


PLAIN: Makers = {
    "CapabilityProfile": lambda _: pyuring.probe(),
    "EngineConfig": lambda _: pyuring.EngineConfig(),
    "EngineMetrics": lambda _: pyuring.EngineMetrics(),
    "Headers": lambda _: pyuring.Headers([("a", "b"), ("A", "c")]),
    "Http": lambda _: Http(lambda request: b""),
    "HttpConfig": lambda _: pyuring.HttpConfig(),
    "Ladder": lambda _: pyuring.Ladder(pyuring.Tier.HIGH, pyuring.Tier.BASE),
    "LadderStep": lambda _: pyuring.LadderStep(pyuring.Tier.HIGH, "reason"),
    "Query": lambda _: pyuring.Query([("a", "b"), ("a", "c")]),
    "Response": lambda _: pyuring.Response(b"body"),
    "ResponseHeaders": lambda _: pyuring.ResponseHeaders([("a", "b")]),
    "StaticFiles": lambda _: pyuring.StaticFiles("."),
    "TierDecisions": lambda _: pyuring.decisions(pyuring.BaseTier()),
    "Wsgi": lambda _: Wsgi(lambda environ, start_response: [b""]),
    **{name: (lambda _, name=name: getattr(pyuring, name)()) for name in (
        "BaseTier", "EpollTier", "HighTier", "MidTier", "OptionalTier",
    )},
    "TierStrategy": lambda _: pyuring.HighTier(),
    "Message": lambda _: pyuring.Message([bytearray(8)], bytearray(16), bytearray(24)),
}  # fmt: skip


class RingWorld(World):
    """Rings, and what belongs to them."""

    def __init__(self) -> None:
        super().__init__()
        self.rings: list[Ring] = []
        self.made = 0

    def ring(self, **options: Any) -> Ring:
        ring = Ring(8, **options)
        self.rings.append(ring)
        return ring

    def end(self) -> None:
        for ring in self.rings:
            with contextlib.suppress(RuntimeError):  # it runs a batch, further up
                ring.close(grace=1.0)

    def use(self, thing: Any) -> None:
        """Submit and consume what there is; prepare an SQE anew; return every buffer."""
        if isinstance(thing, Sqe):
            with contextlib.suppress(pyuring.PyuringError):
                thing.prep_sendto(-1, b"hello", pyuring.pack_address("unix:x"))
                thing.hold(bytearray(8))
        for group in [g for n, g in self.things.items() if n.endswith("BufferGroup")]:
            with contextlib.suppress(pyuring.PyuringError, OSError, ValueError):
                group.return_buffers(range(4))
        for ring in self.rings:
            with contextlib.suppress(pyuring.PyuringError, OSError, RuntimeError):
                ring.submit()
                ring.reap()

    def view(self) -> Any:
        with contextlib.suppress(pyuring.PyuringError, OSError, ValueError):
            if (group := self.thing("BufferGroup")) is not None:
                return group.get_buffer(0)
        return bytearray(32)

    def closed_ring(self) -> Ring:
        ring = self.ring()
        ring.close()
        return ring

    def fresh_sqe(self) -> Sqe:
        with contextlib.suppress(pyuring.RingError):
            ring = self.thing("Ring")
            if (sqe := ring.get_sqe()) is not None:
                sqe.prep_nop()
                return sqe  # type: ignore[no-any-return]
        return Sqe()

    def spent_sqe(self) -> Sqe:
        sqe = self.thing("other Ring").get_sqe()
        self.thing("other Ring").submit()
        return sqe  # type: ignore[no-any-return]

    def cqe(self) -> pyuring.Cqe:
        ring = self.thing("other Ring")
        ring.get_sqe().prep_nop()
        ring.submit_and_wait()
        return ring.pop()  # type: ignore[no-any-return]

    def cqe_of_a_buffer(self) -> Any:
        """Receive 5 bytes into a buffer of the group, if there is still a group."""
        ring, left, right = self.thing("Ring"), self.descriptor("left"), self.descriptor("right")
        with contextlib.suppress(pyuring.PyuringError, OSError):
            group = self.thing("BufferGroup")
            sqe = ring.get_sqe()
            if sqe is not None and os.write(left, b"hello"):
                sqe.prep_recv(right, 0)
                sqe.flags |= SqeFlags.BUFFER_SELECT
                sqe.buf_group = group.group_id
                ring.submit_and_wait_timeout(1.0)
                return ring.pop() or self.thing("Cqe")
        return self.thing("Cqe")

    def batch(self) -> pyuring.Batch:
        batch = pyuring.Batch(3)
        for sqe in batch:
            sqe.prep_read(self.descriptor("zero"), bytearray(8))
        return batch

    makers: ClassVar[Makers] = {
        "Ring": ring,
        "other Ring": lambda world: world.ring(flags=DEFER),
        "large Ring": lambda world: world.ring(flags=SetupFlags.SQE128 | SetupFlags.CQE32),
        "disabled Ring": lambda world: world.ring(flags=DEFER | SetupFlags.R_DISABLED),
        "closed Ring": closed_ring,
        "Sqe": fresh_sqe,
        "detached Sqe": lambda _: Sqe(),
        "spent Sqe": spent_sqe,
        "Sqe of a batch": lambda world: world.thing("Batch")[0],
        "Cqe": cqe,
        "Cqe of a buffer": cqe_of_a_buffer,
        "Batch": batch,
        "BufferGroup": lambda world: pyuring.BufferGroup(world.thing("Ring"), 1, 4, 64),
        "legacy BufferGroup": lambda world: pyuring.BufferGroup(
            world.thing("Ring"), 2, 4, 64, legacy=True
        ),
        "incremental BufferGroup": lambda world: pyuring.BufferGroup(
            world.thing("Ring"), 3, 4, 64, incremental=True
        ),
    }


class Kept(Echo):
    made: SimpleQueue[Kept] = SimpleQueue()

    def connection_made(self, transport: pyuring.Transport) -> None:
        super().connection_made(transport)
        self.lost = threading.Event()
        self.made.put(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.set()


class EngineWorld(World):
    """A running engine, its worker, connections and requests."""

    blocked_at_most = 0.3
    engine: Engine | None = None
    ended: Engine | None = None

    def __init__(self) -> None:
        super().__init__()
        engine = EngineWorld.engine
        if engine is None or not engine.running:
            EngineWorld.engine = _start(Kept)
        if EngineWorld.ended is None:
            EngineWorld.ended = _start(Kept)
            EngineWorld.ended.shutdown(0)

    def end(self) -> None:
        transport = self.things.get("Transport")
        if transport is not None:
            transport.abort()

    def use(self, thing: Any) -> None:
        transport = self.things.get("Transport")
        if transport is not None:
            transport.write(b"hello")
            transport.close()

    def connection(self) -> tuple[Kept, socket.socket]:
        while not Kept.made.empty():
            Kept.made.get()
        assert self.engine is not None
        peer = connect(self.engine.address)
        self.closers.callback(peer.close)
        return Kept.made.get(timeout=PATIENCE), peer

    def transport(self) -> Any:
        return self.connection()[0].transport

    def lost_transport(self) -> Any:
        protocol, peer = self.connection()
        peer.close()
        assert protocol.lost.wait(PATIENCE)
        return protocol.transport

    def new_engine(self) -> Engine:
        engine = Engine(Echo, "127.0.0.1:0", linger_timeout=0.0, drain_quiet=0.0)
        self.closers.callback(engine.shutdown, 0)
        return engine

    def on_worker(self, call: Callable[[], Any]) -> Any:
        answer: SimpleQueue[Any] = SimpleQueue()

        def run() -> None:
            try:
                answer.put((call(), None))
            except BaseException as error:
                answer.put((None, error))

        self.thing("Worker").call_soon_threadsafe(run)
        result, error = answer.get(timeout=PATIENCE)
        if error is not None:
            raise error
        return result

    def timer(self) -> Any:
        return self.on_worker(lambda: self.thing("Worker").call_later(100, print))

    def request(self) -> Any:
        found: list[Any] = []

        def handler(request: pyuring.Request) -> bytes:
            found.append(request)
            return b"well"

        ask(Http(handler))
        return found[0]

    makers: ClassVar[Makers] = {
        "Engine": lambda world: world.engine,
        "new Engine": new_engine,
        "ended Engine": lambda world: world.ended,
        "Worker": lambda world: world.engine.workers[0],
        "ended Worker": lambda world: world.ended.workers[0],
        "Transport": transport,
        "lost Transport": lost_transport,
        "TransportSocket": lambda world: world.thing("Transport").get_extra_info("socket"),
        "lost TransportSocket": lambda world: pyuring.TransportSocket(
            world.thing("lost Transport")
        ),
        "Handle": lambda world: world.thing("Worker").call_soon_threadsafe(int),
        "TimerHandle": timer,
        "Request": request,
    }


def _start(factory: Any) -> Engine:
    return Engine(
        factory, "127.0.0.1:0", linger_timeout=0.0, drain_quiet=0.0, exception_hook=lambda *_: None
    ).start()


def ask(app: Http) -> bytes:
    """Serve one request by `app`, on an engine of its own; return what the client got."""
    app_engine = Engine(
        app, "127.0.0.1:0", linger_timeout=0.0, drain_quiet=0.0, exception_hook=lambda *_: None
    )
    with app_engine, connect(app_engine.address) as peer:
        peer.sendall(b"POST /a?b=c HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxyz")
        peer.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            return read_to_end(peer)
    return b""
