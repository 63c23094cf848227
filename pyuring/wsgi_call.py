"""One call of a WSGI application: start_response, write, and what becomes of its result.

Owns the rules for them, and closes the application's iterable exactly once; status and fields lie
in the native half until the head is out. Never keeps a block of bytes back: the gateway sends
each before it asks for the next, and asks only when the peer takes them.

Some facts about the order of things (PEP 3333): an application may call start_response as late
as while its first block is made, and replace what it said (exc_info) until the head is out. So
the head goes out with the first block that is not empty, or at the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from pyuring.response import Response
from pyuring.wsgi_file import FileWrapper
from pyuring.wsgi_headers import (
    Fields,
    check_field,
    check_status,
    length_of,
)

if TYPE_CHECKING:
    from pyuring.request import Request
    from pyuring.sending import ThreadWriter
    from pyuring.wsgi import WsgiGateway

    class CallCore:
        """The native half (zig/wsgi_call_object.zig), for type checkers."""

        __slots__ = ("fields", "request", "status", "writer", "written")

        fields: Fields
        request: Request
        status: str | None
        writer: ThreadWriter
        written: list[bytes] | None  # a list, maybe empty: the head is out

        def start_response(
            self, status: str, response_headers: Fields, exc_info: Any = None
        ) -> Callable[[bytes], None]: ...

else:
    from pyuring._native import CallCore

__all__ = ["Blocks", "Call"]


class Call(CallCore):
    """What one call of the application has said so far; its thread only.

    Native code makes one for every request. Its `start_response` takes what has passed these checks
    before, and calls `_start` with anything else.
    """

    __slots__ = ()

    gateway: ClassVar[WsgiGateway]  # in a subclass for each worker

    def _start(
        self, status: str, response_headers: Fields, exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """Take the status and the header fields; return `write`."""
        if self.status is not None or exc_info is not None:
            self._replace(exc_info)
        check_status(status)
        if type(response_headers) is not list:
            raise TypeError(f"the header fields must be a list, not {response_headers!r}")
        for field in response_headers:
            check_field(field)
        self.status = status
        self.fields = response_headers
        return self.write

    def _replace(self, exc_info: Any) -> None:
        """Allow another call of start_response only for an error, and only before the head."""
        if exc_info is None:
            raise AssertionError("start_response() was called again without exc_info")
        try:
            if self.written is not None:
                raise exc_info[1].with_traceback(exc_info[2])
        finally:
            exc_info = None  # the traceback holds this frame: no ring of references

    def write(self, data: bytes) -> None:
        """Send a block before those that are returned: for applications from before PEP 333.

        Waits for the client on a pool's thread. A worker's own cannot wait, and sends nothing
        while it is in a handler; there the blocks lie until the handler returns.
        """
        if not _checked(data):
            return
        on_pool = self._is_on_pool()
        if self.written is None:
            self.written = []
            if on_pool:
                self.writer = self.gateway.writer(self.request)
                self.writer.begin(self._started(), self.fields, None)
        if on_pool:
            self.writer.send(data)
        else:
            self.written.append(data)

    def answer(self, result: Any) -> Any:
        """Send what the application returned, or return what native code or the gateway sends."""
        if self.written is not None and self._is_on_pool():
            blocks = Blocks(self.request, (), result)
            return self.gateway.send_rest(self.request, self.writer, blocks)
        written = self.written or ()
        if type(result) in (list, tuple):  # nothing of it is still to come
            status = self._started()
            return status, self.fields, b"".join([*written, *map(_checked, result)])
        blocks = Blocks(self.request, written, result)
        try:
            return self._answer(blocks, result)
        except BaseException:
            blocks.close()
            raise

    def _answer(self, blocks: Blocks, result: Any) -> Any:
        if isinstance(result, FileWrapper) and not self.written:
            status = self._started()
            body = result.body(None if self._is_bodiless() else length_of(self.fields))
            if body is not None:
                blocks.close()
                return _response(status, self.fields, body)
        first = blocks.peek()
        status = self._started()
        length = length_of(self.fields)
        if length is not None and len(first) > length:
            raise ValueError(f"Content-Length is {length}, the first block has {len(first)} bytes")
        if not first or len(first) == length or (not self.written and _has_one(result)):
            blocks.close()
            return status, self.fields, first
        if self._is_bodiless():
            blocks.close()
        self.written = []  # the head counts as sent: it cannot be replaced any more
        return _response(status, self.fields, blocks)

    def _started(self) -> str:
        if self.status is None:
            raise AssertionError("the application did not call start_response()")
        return self.status

    def _is_bodiless(self) -> bool:
        """Return whether the reply has no body (RFC 9110 §9.3.2, §15.3.5, §15.4.5)."""
        return self.request.method == "HEAD" or self._started()[:3] in ("204", "304")

    def _is_on_pool(self) -> bool:
        exchange = self.request._state
        return exchange is not None and exchange.deferred


class Blocks:
    """An application's blocks that are not empty, and its iterable's close(), called once."""

    __slots__ = ("_close", "_next", "_ready", "_request")

    def __init__(self, request: Request, written: Iterable[bytes], result: Any) -> None:
        """Take what the application wrote and returned; TypeError when it cannot be iterated."""
        self._request = request
        self._close = getattr(result, "close", None)
        self._ready = deque(written)
        try:
            self._next = iter(result).__next__
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        """Return itself."""
        return self

    def __next__(self) -> bytes:
        """Return the next block that is not empty."""
        if self._ready:
            return self._ready.popleft()
        block = b""
        while not block:
            block = _checked(self._next())
        return block

    def peek(self) -> bytes:
        """Return the first block, which the next `next()` gives again; b"" when there is none."""
        first = next(self, b"")
        if first:
            self._ready.appendleft(first)
        return first

    def close(self) -> None:
        """Let the application clean up, the first time only; its exception is reported."""
        close, self._close = self._close, None
        self._ready.clear()
        self._next = _nothing_more
        if close is not None:
            try:
                close()
            except Exception as error:
                self._request._worker.exception(error, "close of a WSGI iterable")


def _nothing_more() -> bytes:
    raise StopIteration


def _has_one(result: Any) -> bool:
    """Return whether the first block was the last (PEP 3333, the Content-Length header)."""
    try:
        return len(result) == 1
    except Exception:  # most iterables have no length
        return False


def _checked(block: Any) -> bytes:
    if not isinstance(block, bytes):
        raise TypeError(f"a WSGI application's blocks must be bytes, not {type(block).__name__}")
    return block


def _response(status: str, fields: Fields, body: Any) -> Response:
    """Return a Response without its checks, which have been made, and its Content-Type."""
    response = Response.__new__(Response)
    response.status = status
    response._fields = fields
    response._body = body
    return response
