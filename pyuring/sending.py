"""How a reply's body goes out in parts: pulled on the worker's thread, pushed from another one.

Owns the pace: no more is asked of an application than the client takes. Never decides what is
sent; who gave it has its close() called, whatever happens.

Some facts about the pace: a connection that has more unsent than `write_high_water` is congested,
and native code says `drained` once it has fallen to the low-water mark. So the way to wait is to
go on until the queue is above the high-water mark, never to stop at it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pyuring.errors import ClientDisconnectedError, EngineClosedError
from pyuring.files import FileBody

if TYPE_CHECKING:
    from pyuring.request import Request

__all__ = ["BlockSender", "Blocks", "FileSender", "ThreadWriter"]

_TURN_SECONDS = 0.005  # then other connections have their turn, and what is queued is sent
_LAST_PIECE = 1024 * 1024
_READ_BLOCK = 64 * 1024

Done = Callable[["Request", "BaseException | None"], object]


class Blocks:
    """What an application gave as a body: its blocks that are not empty, and its close()."""

    __slots__ = ("_close", "_first", "_next", "_report")

    def __init__(self, body: Any, report: Callable[[BaseException], object]) -> None:
        """Take an iterable or a file; TypeError when it is neither."""
        self._close = getattr(body, "close", None)
        self._report = report
        self._first: bytes | None = None
        try:
            if hasattr(body, "read"):
                self._next = _reader(body).__next__
            else:
                self._next = iter(body).__next__
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._first is not None:
            block, self._first = self._first, None
            return block
        while True:
            block = self._next()
            if type(block) is not bytes:
                block = _as_bytes(block)
            if block:
                return block

    def peek(self) -> bytes | None:
        """Return the first block, which the next `next()` gives again; None: there is none.

        Asked for before the head goes out, so that an error in making it is a reply of its own.
        """
        self._first = next(self, None)
        return self._first

    def close(self) -> None:
        """Call the body's own close, the first time only; what it raises is reported."""
        close, self._close = self._close, None
        if close is not None:
            try:
                close()
            except Exception as error:
                self._report(error)


def _reader(file: Any) -> Iterator[Any]:
    while block := file.read(_READ_BLOCK):
        yield block


def _as_bytes(block: Any) -> bytes:
    if isinstance(block, str):
        return block.encode()
    if isinstance(block, (bytes, bytearray, memoryview)):
        return bytes(block)
    raise TypeError(f"a body's blocks are bytes or str, not {type(block).__name__}")


class _Sender:
    """Sends a body on the worker's thread, as fast as the client takes it."""

    __slots__ = ("_done", "_high", "_request", "_running")

    def __init__(self, request: Request, high: int, done: Done) -> None:
        """`done(request, exception or None)` is called once everything is queued."""
        self._request: Request | None = request
        self._high = high
        self._done = done
        self._running = False

    def go(self) -> None:
        """Go on; called when the reply begins, when the client has taken enough, and in turns."""
        request = self._request
        if request is None or self._running:
            return
        self._running = True
        try:
            complete = self._fill(request)
        except (KeyboardInterrupt, SystemExit) as error:
            self._finish(request, error)
            raise
        except BaseException as error:
            self._finish(request, error)
        else:
            if complete:
                self._finish(request, None)
        finally:
            self._running = False
            if self._request is None:
                self._close()

    def skip(self) -> None:
        """Send nothing of it: the reply has no body."""
        if self._request is not None:
            self._finish(self._request, None)

    def lost(self, cause: BaseException | None) -> None:
        """Take note that the client has gone."""
        self._request = None
        if not self._running:  # a generator that runs cannot be closed
            self._close()

    def _finish(self, request: Request, error: BaseException | None) -> None:
        self._close()
        if self._request is not None:
            self._request = None
            self._done(request, error)

    def _fill(self, request: Request) -> bool:
        raise NotImplementedError

    def _close(self) -> None:
        """Let go of what is sent; again is nothing."""


class BlockSender(_Sender):
    """Pulls blocks."""

    __slots__ = ("_blocks",)

    def __init__(self, request: Request, blocks: Blocks, high: int, done: Done) -> None:
        super().__init__(request, high, done)
        self._blocks = blocks

    def _fill(self, request: Request) -> bool:
        until = time.monotonic() + _TURN_SECONDS
        blocks, high = self._blocks, self._high
        while request._queued() <= high:
            block = next(blocks, None)
            if self._request is None:  # lost within next()
                return False
            if block is None:
                return True
            request._send(block)
            if time.monotonic() >= until:
                request._worker.call_soon(self.go)
                return False
        return False

    def _close(self) -> None:
        self._blocks.close()


class FileSender(_Sender):
    """Hands over a file's parts, of each the last piece when the rest of it has gone out.

    A file in the queue takes no memory, so each part is queued in two pieces, however long it is.
    Only the last one completes the reply: its time, and whether the client was lost, are its own.
    """

    __slots__ = ("_body", "_parts")

    def __init__(self, request: Request, body: FileBody, high: int, done: Done) -> None:
        super().__init__(request, high, done)
        self._body: FileBody | None = body
        self._parts = list(reversed(body.parts))

    def _fill(self, request: Request) -> bool:
        parts, owner = self._parts, self._body.owner if self._body is not None else None
        while parts:
            if request._queued() > self._high:
                return False
            part = parts.pop()
            if isinstance(part, bytes):
                request._send(part)
                continue
            offset, count = part
            piece = count - _LAST_PIECE if count > _LAST_PIECE else count
            request._send_file(owner.fd if owner is not None else -1, offset, piece, owner)
            if count > piece:
                parts.append((offset + piece, count - piece))
        return True

    def _close(self) -> None:
        self._body = None


class ThreadWriter:
    """Sends a body from a pool's thread, which waits while the client takes nothing.

    `begin` and `end` wait for the worker's thread and raise what it met; `send` raises what an
    earlier block met. ClientDisconnectedError: the client has gone.
    """

    def __init__(self, request: Request, high: int) -> None:
        self._request = request
        self._high = high
        self._changed = threading.Condition(threading.Lock())
        self._pending = 0  # bytes given away which nobody has taken yet
        self._held = 0  # those of them that wait for the client
        self._failure: BaseException | None = None

    # --- the pool's thread -----------------------------------------------------------------

    def begin(self, status: int | str, fields: Any, length: int | None) -> None:
        """Send the head."""
        self._wait_for(self._request._begin, status, fields, length)

    def send(self, block: bytes) -> None:
        """Send a block; returns when there is room for the next one."""
        with self._changed:
            self._pending += len(block)
        self._post(self._send_home, block)
        with self._changed:
            while self._pending > self._high and self._failure is None:
                self._changed.wait()
            self._check()

    def end(self) -> bool:
        """Complete the reply; return whether the body was as long as promised."""
        return bool(self._wait_for(self._request._end))

    def _wait_for(self, method: Callable[..., Any], *args: Any) -> Any:
        """Have a method called on the worker's thread, and return or raise what came of it."""
        results: list[tuple[Any, BaseException | None]] = []
        self._post(self._call_home, results, method, args)
        with self._changed:
            while not results and self._failure is None:
                self._changed.wait()
            if not results:
                self._check()
            result, failure = results[0]
        if failure is not None:
            raise failure
        return result

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _post(self, function: Callable[..., object], *args: Any) -> None:
        try:
            self._request._worker.call_soon_threadsafe(function, *args)
        except EngineClosedError as error:
            raise ClientDisconnectedError("the server has been shut down") from error

    # --- the worker's thread ---------------------------------------------------------------

    def go(self) -> None:
        """Take note that the client has taken enough."""
        with self._changed:
            self._pending -= self._held
            self._held = 0
            self._changed.notify()

    def lost(self, cause: BaseException | None) -> None:
        """Take note that the client has gone."""
        with self._changed:
            if self._failure is None:
                self._failure = ClientDisconnectedError("the client has gone")
                self._failure.__cause__ = cause
            self._changed.notify()

    def _call_home(
        self,
        results: list[tuple[Any, BaseException | None]],
        method: Callable[..., Any],
        args: tuple[Any, ...],
    ) -> None:
        result, failure = None, self._failure
        if failure is None:
            try:
                result = method(*args)  # `end` may have the connection lost meanwhile
            except Exception as error:
                failure = error
        with self._changed:
            results.append((result, failure))
            self._failure = self._failure or failure
            self._changed.notify()

    def _send_home(self, block: bytes) -> None:
        if self._failure is not None:
            return
        failure: BaseException | None = None
        queued = 0
        try:
            self._request._send(block)
            queued = self._request._queued()
        except Exception as error:
            failure = error
        with self._changed:
            self._failure = self._failure or failure
            self._held += len(block)
            if queued <= self._high:
                self._pending -= self._held
                self._held = 0
            self._changed.notify()
