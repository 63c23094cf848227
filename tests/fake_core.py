"""A stand-in for the native half of a request: records what is sent, and plays the connection.

It owns one exchange. Congestion is the test's to make and to end (`take`); what native code refuses
is refused here too. `FakeRequest` is pyuring's Request over it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from pyuring._native import Bell
from pyuring.errors import EngineClosedError
from pyuring.gateway import Gateway
from pyuring.http_config import HttpConfig
from pyuring.request import Request
from pyuring.timers import Handle

HIGH, LOW = 64 * 1024, 16 * 1024


class FakeWorker:
    """A worker whose thread is the test's: `run` carries out what was posted."""

    index = 0

    def __init__(self) -> None:
        self.settings = {"write_high_water": HIGH, "write_low_water": LOW}
        self.calls: deque[Handle] = deque()
        self.exceptions: list[tuple[BaseException, str]] = []
        self.ended = False

    def call_soon(self, callback: Callable[..., object], *args: Any) -> Handle:
        handle = Handle(callback, args)
        self.calls.append(handle)
        return handle

    def _post(self, handle: Handle) -> None:
        if self.ended:
            raise EngineClosedError("worker 0 has ended")
        self.calls.append(handle)

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> Handle:
        if self.ended:
            raise EngineClosedError("worker 0 has ended")
        return self.call_soon(callback, *args)

    def exception(self, exc: BaseException, where: str, transport: object = None) -> None:
        self.exceptions.append((exc, where))

    def run(self, until: Callable[[], object] = lambda: True, seconds: float = 10) -> None:
        """Run what waits, and go on until `until()` is true."""
        deadline = time.monotonic() + seconds
        while True:
            while self.calls:
                self.calls.popleft().run()
            if until():
                return
            assert time.monotonic() < deadline, "nothing came of it"
            time.sleep(0.0005)


class FakeCore:
    """What zig/request_object.zig has, in Python."""

    def __init__(
        self,
        method: str = "GET",
        target: str = "/",
        fields: list[tuple[str, str]] | None = None,
        body: bytes | None = b"",
        worker: FakeWorker | None = None,
        peer: tuple[str, int] | None = ("127.0.0.1", 4711),
    ) -> None:
        path, _, query = target.partition("?")
        self.method, self.target, self.query_string = method, target, query
        self.raw_path = path.encode("latin-1")
        self.path = unquote(path, errors="surrogateescape")
        self.http_version = "1.1"
        self._fields = fields or []
        length = self.header("content-length")
        self.content_length = int(length) if length is not None else None
        self._body = body
        self._worker = worker or FakeWorker()
        self._state: Any = None
        self._peer_name = peer
        # What has become of it.
        self.stage = "none"
        self.status: Any = None
        self.sent_fields: list[tuple[str, str]] = []
        self.length: int | None = None
        self.sent: list[Any] = []
        self.queued = 0
        self.congested = False
        self.aborted = False
        self._lost = False
        self.wants = 0

    def header(self, name: str, default: Any = None) -> Any:
        return next((v for n, v in self._fields if n.lower() == name.lower()), default)

    def header_list(self) -> list[tuple[str, str]]:
        return list(self._fields)

    def _peer(self) -> tuple[str, int] | None:
        return self._peer_name

    def _check(self, *stages: str) -> None:
        if self._lost:
            raise ConnectionResetError("the client has gone")
        if self.stage == "ended":
            raise RuntimeError("already answered")
        if self.stage not in stages:
            raise RuntimeError("the reply has begun already")

    def _head(self, status: int | str, fields: list[tuple[str, str]]) -> None:
        for name, value in fields:
            if any(c in name + value for c in "\r\n\0"):
                raise ValueError("a bad field")
        self.status, self.sent_fields = status, list(fields)

    def _reply(self, status: int | str, fields: list[tuple[str, str]], body: bytes) -> None:
        self._check("none")
        if not isinstance(body, (bytes, bytearray, memoryview)):
            raise TypeError("a body is bytes")
        self._head(status, fields)
        self.length = len(body)
        self.sent = [bytes(body)]
        self.stage = "ended"

    def _begin(self, status: int | str, fields: list[tuple[str, str]], length: int | None) -> None:
        self._check("none")
        self._head(status, fields)
        declared = {n.lower(): v for n, v in fields}.get("content-length")
        self.length = int(declared) if length is None and declared is not None else length
        self.stage = "begun"

    @property
    def bodiless(self) -> bool:
        return self.method == "HEAD" or str(self.status)[:3] in ("204", "304")

    def _admit(self, part: Any, count: int) -> None:
        self._check("begun")
        if self.bodiless:
            return
        if self.length is not None and self.total + count > self.length:
            raise ValueError("the body is longer than its Content-Length")
        self.sent.append(part)
        self.queued += count
        self.congested = self.congested or self.queued > HIGH

    @property
    def total(self) -> int:
        return sum(len(p) if isinstance(p, bytes) else p[2] for p in self.sent)

    def _send(self, data: bytes) -> None:
        self._admit(bytes(data), len(data))

    def _send_file(self, fd: int, offset: int, count: int, owner: Any) -> None:
        assert owner.fd == fd
        self._admit((owner, offset, count), count)

    def _end(self) -> bool:
        self._check("begun")
        self.stage = "ended"
        if self.length is not None and not self.bodiless and self.total < self.length:
            self.aborted = True
            return False
        return True

    def _abort(self) -> None:
        if self.stage != "ended":
            self.aborted = True
            self.stage = "ended"

    def _queued(self) -> int:
        self._check("none", "begun")
        return self.queued

    def _want(self, needed: int) -> None:
        assert needed > 0
        self._check("none", "begun")
        self.wants += 1

    def _wake_and_wait(self, bell: Bell) -> None:
        bell.wait()

    # --- the test's ------------------------------------------------------------------------

    def take(self, gateway: Gateway) -> None:
        """The client takes all that is queued."""
        self.queued = 0
        if self.congested:
            self.congested = False
            if self.stage == "begun":
                gateway.drained(self)  # type: ignore[arg-type]

    def lose(self, gateway: Gateway, cause: Exception | None = None) -> None:
        """The client goes away."""
        self._lost = True
        self.stage = "ended"
        gateway.lost(self, cause)  # type: ignore[arg-type]

    @property
    def content(self) -> bytes:
        """The body that was sent, files read."""
        import os

        return b"".join(
            part if isinstance(part, bytes) else os.pread(part[0].fd, part[2], part[1])
            for part in self.sent
        )

    def field(self, name: str) -> str | None:
        """The value of a field that was sent."""
        return next((v for n, v in self.sent_fields if n.lower() == name.lower()), None)


_COPIED = {
    name: value
    for name, value in vars(Request).items()
    if name not in ("__slots__", "__dict__", "__weakref__", "__doc__")
}
FakeRequest: Any = type("FakeRequest", (FakeCore,), _COPIED)


def make_gateway(handler: Any, worker: FakeWorker | None = None, **overrides: Any) -> Gateway:
    """Return a gateway on a fake worker."""
    worker = worker or FakeWorker()
    return Gateway(handler, HttpConfig(**overrides), worker)  # type: ignore[arg-type]


class Watched:
    """An iterable that tells what happens to it."""

    def __init__(self, blocks: Any) -> None:
        self.blocks = iter(blocks)
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self.blocks)

    def close(self) -> None:
        self.closed += 1


def answered(worker: FakeWorker, result: Any, **request: Any) -> Any:
    """Have `result` sent as native code would."""
    gateway, fake = make_gateway(None, worker), FakeRequest(worker=worker, **request)
    try:
        gateway.reply(fake, result)
    except Exception as error:
        gateway.failed(fake, error)
    while fake.congested:
        fake.take(gateway)
        worker.run()
    worker.run()
    return fake


def threaded(worker: FakeWorker, handler: Callable[[Any], Any], **options: Any) -> Any:
    """Have a request handled on a pool's thread."""
    fake = FakeRequest(worker=worker, **options)
    gateway = make_gateway(handler, worker, threads=1)
    gateway.start(fake)

    def over() -> bool:
        if fake.congested:
            fake.take(gateway)
        return fake.stage == "ended" and not worker.calls

    worker.run(over)
    assert gateway.close(10)
    worker.run()
    return fake


def raises(error: BaseException) -> Any:
    raise error
