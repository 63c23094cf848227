"""The way between native code and a handler, one gateway a worker.

Owns what becomes of a result that is no plain reply, of an exception, and of a request whose body
is still coming. Never sees the plain case: native code calls `handler` and sends bytes, str and
plain Responses itself. Methods without an underscore are called by native code, on the worker's
thread; what runs on a pool's thread says so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pyuring import _native
from pyuring.body_stream import BodyStream
from pyuring.errors import ClientDisconnectedError, EngineClosedError, HttpError
from pyuring.files import FileBody, file_body
from pyuring.pool import Pool
from pyuring.request import Request
from pyuring.response import OCTETS, TEXT, Response
from pyuring.sending import Blocks, BlockSender, FileSender, ThreadWriter
from pyuring.timers import Handle

if TYPE_CHECKING:
    from pyuring._ring_types import Bell
    from pyuring.http_config import HttpConfig
    from pyuring.worker import Worker

__all__ = ["Gateway", "Handler"]

Handler = Callable[[Request], Any]

_HINT = "return str, bytes, a Response (Response.json for JSON) or (status, fields, body)"
Whole = tuple["int | str", Any, "bytes | FileBody | Blocks"]


class Gateway:
    """Stands for an application on one worker."""

    response_type: type[Response] = Response

    def __init__(
        self,
        handler: Handler,
        config: HttpConfig,
        worker: Worker,
        request_type: type[Request] = Request,
    ) -> None:
        self.handler = handler
        self.config = config
        self.worker = worker
        self.request_type = request_type
        self.inline = config.threads == 0
        self.log = config.access_log is not None
        self._access_log = config.access_log
        self._high: int = worker.settings["write_high_water"]
        self._pool = Pool(
            config.threads or config.stream_threads,
            f"pyuring-handler-{worker.index}",
            lambda error: worker.exception(error, "handler"),
        )

    def attach(self) -> None:
        """Register with the native worker: listeners with this gateway as factory speak HTTP."""
        native = _native.http_config(self.config.native_settings())
        _native.pylib.pyuring_worker_serve_http(self.worker.handle, native, self)

    def close(self, timeout: float | None = 0.0) -> bool:
        """Let the pool's threads end; return whether they have within `timeout` seconds."""
        return self._pool.close(timeout)

    # --- called by native code ----------------------------------------------------------------

    def reply(self, request: Request, result: Any) -> None:
        """Send what the handler returned; what this raises comes back to `failed`."""
        self._send(request, self._resolve(request, result))

    def failed(self, request: Request, exception: BaseException) -> None:
        """Reply to an exception: an HttpError's status, or 500 and a report."""
        if isinstance(exception, HttpError):
            status, text, fields = exception.status, exception.message, exception.fields
        else:
            if not _is_of_the_client(request, exception):
                self._report(request, exception)
            status, text, fields = 500, "", []
        body = f"{text or _phrase(status)}\n".encode(errors="replace")
        try:
            request._reply(status, [("Content-Type", TEXT), *fields], body)
        except ConnectionError:
            pass
        except RuntimeError:  # the head is out: never a reply that looks complete
            if isinstance(exception, HttpError):  # nobody else hears of it
                self._report(request, exception)
            request._abort()
        except Exception as error:
            if fields:  # they may be the reason: once more without them
                return self.failed(request, error)
            request._abort()
        self._over(request)

    def start(self, request: Request) -> None:
        """Have a request handled on a thread of the pool."""
        exchange = request._exchange()
        exchange.deferred = True
        if request._body is None:
            exchange.stream = BodyStream(
                partial(self._home, _want, request), partial(self._want_and_wait, request)
            )
        self._pool.submit(self._run, request)

    def body_data(self, request: Request, data: bytes) -> None:
        """Pass on a part of a body that is still coming."""
        stream = self._stream_of(request)
        if stream is not None:
            stream.feed(data)

    def body_end(self, request: Request) -> None:
        """Take note that a body is complete."""
        stream = self._stream_of(request)
        if stream is not None:
            stream.finish()

    def drained(self, request: Request) -> None:
        """Go on with a reply's body: the client has taken most of what was queued."""
        exchange = request._state
        if exchange is not None and exchange.sender is not None:
            exchange.sender.go()

    def lost(self, request: Request, exc: BaseException | None) -> None:
        """Tell whoever reads the body or sends the reply that the client has gone."""
        exchange = request._state
        if exchange is None:
            return
        exchange.lost = True
        if isinstance(exchange.stream, BodyStream):
            exchange.stream.fail(exc)
        sender, exchange.sender = exchange.sender, None
        if sender is not None:
            sender.lost(exc)

    def proxied(self, data: bytes) -> tuple[()] | tuple[int, tuple[str, int] | None] | None:
        """Read a PROXY header: its length and the client; None: not complete; (): it is none."""
        from pyuring.proxy_protocol import ProxyProtocolError, parse

        try:
            found = parse(data)
        except ProxyProtocolError:  # a port scan, a health check: counted, and worth no traceback
            return ()
        return None if found is None else (found[0], found[1])

    def finished(self, request: Request, status: int, sent: int, started_ns: int) -> None:
        """Write the access log."""
        if self._access_log is not None:
            seconds = (time.monotonic_ns() - started_ns) / 1e9
            self._access_log(request, status, sent, seconds)

    # --- what a handler returned: any thread ----------------------------------------------------

    def _resolve(self, request: Request, result: Any) -> Whole:
        """Return status, fields and body of a result; opens files, iterates nothing."""
        status: int | str = 200
        fields: Any = None
        if isinstance(result, Response):
            if isinstance(result._body, os.PathLike):
                from pyuring.static import file_reply

                result = file_reply(request, result)
            status, fields, body = result.status, result._fields, result._body
        elif isinstance(result, os.PathLike):
            return self._resolve(request, Response.file(result))
        elif type(result) is tuple and len(result) == 3:
            status, fields, body = result
        elif result is None or isinstance(result, (dict, int, float, type)):
            raise TypeError(f"the handler returned {result!r}, which is no reply: {_HINT}")
        else:
            body = result
        if isinstance(body, str):
            fields, body = [("Content-Type", TEXT)] if fields is None else fields, body.encode()
        return status, [("Content-Type", OCTETS)] if fields is None else fields, self._body_of(body)

    def _body_of(self, body: Any) -> bytes | FileBody | Blocks:
        if isinstance(body, (bytes, FileBody)):
            return body
        if isinstance(body, (bytearray, memoryview)):
            return bytes(body)
        if hasattr(body, "fileno"):
            part = file_body(body)
            if part is not None:
                body.close()
                return part
        blocks = Blocks(body, self._report_close)
        if isinstance(body, (list, tuple)):  # nothing of it is still to come
            return b"".join(blocks)
        return blocks

    def _report_close(self, error: BaseException) -> None:
        self.worker.exception(error, "close of a body")

    # --- sending: the worker's thread -----------------------------------------------------------

    def _send(self, request: Request, whole: Whole) -> None:
        """Send a reply; raises only while nothing of it is out."""
        status, fields, body = whole
        if isinstance(body, bytes):
            request._reply(status, fields, body)
            return self._over(request)
        sender: BlockSender | FileSender
        if isinstance(body, FileBody):
            request._begin(status, fields, body.length)
            sender = FileSender(request, body, self._high, self._sent)
        else:
            try:
                if not _is_bodiless(request, status):
                    body.peek()
                request._begin(status, fields, None)
            except BaseException:
                body.close()
                raise
            sender = BlockSender(request, body, self._high, self._sent)
        if _is_bodiless(request, status):
            return sender.skip()
        request._exchange().sender = sender
        sender.go()

    def _sent(self, request: Request, error: BaseException | None) -> None:
        """Complete a reply whose body is queued, or end the connection if it cannot be."""
        exchange = request._state
        if exchange is not None:
            exchange.sender = None
        if error is None:
            self._over(request)
            if not request._end():
                self._report(request, _too_short())
            return
        if not _is_of_the_client(request, error):
            self._report(request, error)
        request._abort()
        self._over(request)

    def _report(self, request: Request, error: BaseException) -> None:
        """Tell the exception hook, once for each exception, whose request it was."""
        self.worker.exception(error, "handler", request)

    def _over(self, request: Request) -> None:
        """Let go of what an exchange kept: request and state hold each other."""
        exchange = request._state
        if exchange is not None:
            if isinstance(exchange.stream, BodyStream):
                exchange.stream.end_exchange()
            exchange.sender = None

    def _stream_of(self, request: Request) -> BodyStream | None:
        exchange = request._state
        stream = exchange.stream if exchange is not None else None
        return stream if isinstance(stream, BodyStream) else None

    # --- a pool's thread --------------------------------------------------------------------------

    def _run(self, request: Request) -> None:
        """Handle a request on a pool's thread."""
        try:
            result = self.handler(request)
            exchange = request._exchange()
            if result is None and exchange.begun:
                return
            whole = self._resolve(request, result)
            if isinstance(whole[2], Blocks):
                self._stream_out(request, whole)
                return
        except BaseException as error:
            self._home(self._failed_home, request, error)
            return
        self._home(self._send_home, request, whole)

    def _stream_out(self, request: Request, whole: Whole) -> None:
        """Send a body block by block from this thread."""
        status, fields, blocks = whole
        assert isinstance(blocks, Blocks)
        bodiless = _is_bodiless(request, status)
        try:
            if not bodiless:
                blocks.peek()
            writer = self.writer(request)
            writer.begin(status, fields, None)
            if not bodiless:
                for block in blocks:
                    writer.send(block)
        finally:
            blocks.close()
        if not writer.end():
            self._report(request, _too_short())
        self._home(self._over, request)

    def writer(self, request: Request) -> ThreadWriter:
        """Return what sends a reply in parts from a pool's thread."""
        exchange = request._exchange()
        writer = ThreadWriter(request, self._high)
        exchange.sender = writer
        exchange.begun = True
        if exchange.lost:  # perhaps before the sender could be told
            exchange.sender = None
            writer.lost(None)
        return writer

    def _send_home(self, request: Request, whole: Whole) -> None:
        """Send what a pool's thread has got."""
        try:
            self._send(request, whole)
        except Exception as error:
            self.failed(request, error)

    def _failed_home(self, request: Request, error: BaseException) -> None:
        if request._lost:  # nobody to tell; what is not about that is reported all the same
            if not isinstance(error, (ConnectionError, HttpError)):
                self._report(request, error)
        else:
            self.failed(request, error)

    def _want_and_wait(self, request: Request, bell: Bell, needed: int) -> None:
        try:
            self.worker._post(Handle(_want, (request, needed)))
        except EngineClosedError:
            bell.wait()
        else:
            request._wake_and_wait(bell)

    def _home(self, function: Callable[..., object], *args: Any) -> None:
        """Have a function called on the worker's thread; if it has ended, nobody needs it."""
        try:
            self.worker.call_soon_threadsafe(function, *args)
        except EngineClosedError:
            pass


def _want(request: Request, needed: int) -> None:
    try:
        request._want(needed)
    except (ConnectionError, RuntimeError):  # the exchange is over by now
        pass


def _is_bodiless(request: Request, status: int | str) -> bool:
    """Return whether the reply has no body (RFC 9110 §9.3.2, §15.3.5, §15.4.5)."""
    return request.method == "HEAD" or str(status)[:3] in ("204", "304")


def _is_of_the_client(request: Request, error: BaseException) -> bool:
    """Return whether an exception says no more than that the client has gone."""
    return isinstance(error, ClientDisconnectedError) or (
        isinstance(error, ConnectionError) and request._lost
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _too_short() -> ValueError:
    return ValueError("the body is shorter than its Content-Length: the connection was aborted")
