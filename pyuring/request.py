"""A request as a handler meets it: everything is made when it is asked for.

Owns `Request`, the native RequestCore with what is rarely asked for, and the state that one
exchange keeps in Python. Never parses a head: native code has checked every byte of it. Forms of
type multipart/form-data are out of scope: a library reads them from `Request.stream`.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, cast
from urllib.parse import parse_qsl, quote

from pyuring.body_stream import BodyStream
from pyuring.errors import HttpError
from pyuring.headers import Headers
from pyuring.http_config import HttpConfig
from pyuring.proxy import Client

__all__ = ["Query", "Request"]

_MOST_QUERY_FIELDS = 1000

if TYPE_CHECKING:
    from pyuring._ring_types import Bell
    from pyuring.worker import Worker

    class RequestCore:
        """The native half (zig/request_object.zig), for type checkers."""

        __slots__ = ()

        @property
        def method(self) -> str: ...
        @property
        def target(self) -> str: ...
        @property
        def path(self) -> str: ...
        @property
        def raw_path(self) -> bytes: ...
        @property
        def query_string(self) -> str: ...
        @property
        def http_version(self) -> str: ...
        @property
        def content_length(self) -> int | None: ...
        @property
        def _body(self) -> bytes | None: ...
        @property
        def _worker(self) -> Worker: ...
        @property
        def _lost(self) -> bool: ...
        @property
        def _state(self) -> Exchange | None: ...
        @_state.setter
        def _state(self, state: Exchange | None) -> None: ...
        def header(self, name: str, default: Any = None, /) -> Any: ...
        def header_list(self) -> list[tuple[str, str]]: ...
        def _peer(self) -> tuple[str, int] | None: ...
        def _environ(self, environ: dict[str, Any], /) -> None: ...
        def _reply(self, status: int | str, fields: Any, body: Any, /) -> None: ...
        def _begin(self, status: int | str, fields: Any, length: int | None, /) -> None: ...
        def _send(self, data: Any, /) -> None: ...
        def _send_file(self, fd: Any, offset: int, count: int, owner: object, /) -> None: ...
        def _end(self) -> bool: ...
        def _abort(self) -> None: ...
        def _queued(self) -> int: ...
        def _want(self, needed: int, /) -> None: ...
        def _wake_and_wait(self, bell: Bell, /) -> None: ...

else:
    from pyuring._native import RequestCore


class Exchange:
    """What one exchange keeps in Python, in the request's free slot; made when it is needed."""

    __slots__ = ("begun", "body", "deferred", "lost", "sender", "stream")

    def __init__(self) -> None:
        self.stream: BodyStream | BinaryIO | None = None
        self.body: bytes | None = None  # of a stream that was read as a whole
        self.sender: Any = None  # what is sending the reply's body
        self.begun = False  # the reply's head is out, from a pool's thread
        self.deferred = False  # a pool's thread has it
        self.lost = False


class Query(dict[str, str]):
    """Fields of a query or a form: a dict from a name to its first value.

    `get_all(name)` gives every value, `fields` every (name, value) in order.
    """

    __slots__ = ("fields",)

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        super().__init__(reversed(fields))  # the first of a name wins
        self.fields = fields

    def get_all(self, name: str) -> list[str]:
        """Return every value of `name`, in order; [] when there is none."""
        return [value for known, value in self.fields if known == name]

    getlist = get_all


class Request(RequestCore):
    """One request. Made by the engine, given to the handler; it is read-only.

    Native: `method`, `target` (as sent), `path` (percent-decoded, UTF-8), `raw_path` (bytes),
    `query_string` (as sent), `http_version` ("1.0", "1.1"), `content_length` (None: chunked or no
    body), `header(name, default)` (the first value) and `header_list()`. Any thread may read.
    """

    __slots__ = ()

    _config: ClassVar[HttpConfig] = HttpConfig()  # the application's, in its own subclass

    # --- head -----------------------------------------------------------------------------

    @property
    def headers(self) -> Headers:
        """The header fields; made anew each time, `header(name)` is quicker for one."""
        return Headers(self.header_list())

    @property
    def query(self) -> Query:
        """The fields of the query, decoded; more than 1000 are 400."""
        return _parse_fields(self.query_string)

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies, as sent but for quotes around a value (RFC 6265 §5.4)."""
        found: dict[str, str] = {}
        for name, line in self.header_list():
            if name.lower() != "cookie":
                continue
            for pair in line.split(";"):
                key, equals, value = pair.partition("=")
                if equals and key.strip():
                    value = value.strip()
                    if len(value) >= 2 and value[0] == value[-1] == '"':
                        value = value[1:-1]
                    found.setdefault(key.strip(), value)
        return found

    @property
    def content_type(self) -> str:
        """The body's media type in lower case, without parameters; "" when none was sent."""
        value: str = self.header("content-type", "")
        return value.partition(";")[0].strip().lower()

    # --- where it comes from ----------------------------------------------------------------

    @property
    def peer(self) -> tuple[str, int] | None:
        """Host and port of whoever opened the connection, a proxy maybe; None: Unix socket."""
        return self._peer()

    @property
    def client(self) -> str | None:
        """The client's address: the peer's, or what a trusted proxy says (HttpConfig.trust)."""
        return self._client().host

    @property
    def scheme(self) -> str:
        """The scheme the client used: "http" or "https", as configured or as a proxy says."""
        return self._client().scheme or self._config.scheme

    @property
    def host(self) -> str:
        """The authority the client asked for, with its port if it sent one; "" if none."""
        said = self._client().authority
        if said is not None:
            return said
        target = self.target
        if not target.startswith("/") and "://" in target:  # absolute form: RFC 9112 §3.2.2
            return target.split("://", 1)[1].split("/", 1)[0].split("?", 1)[0]
        value: str = self.header("host", "")
        return value

    @property
    def root_path(self) -> str:
        """What a proxy, by configuration, took off the path's front."""
        return self._config.root_path

    @property
    def url(self) -> str:
        """The URL the client asked for, as far as known here."""
        path = quote(self.root_path) + self.raw_path.decode("latin-1")
        query = f"?{self.query_string}" if self.query_string else ""
        return f"{self.scheme}://{self.host}{path}{query}"

    @property
    def is_disconnected(self) -> bool:
        """Whether the connection ended before the reply; any thread."""
        return self._lost

    # --- body -----------------------------------------------------------------------------

    @property
    def body(self) -> bytes:
        """The whole body. Waits for it if it is large; 413 above HttpConfig.body_memory."""
        whole = self._body
        if whole is None:
            whole = self._read_whole()
        elif len(whole) > self._config.body_memory:
            raise HttpError(413, "the body is too large")
        return whole

    @property
    def stream(self) -> BinaryIO:
        """The body as a file: read, read1, readinto, readline, readlines, iteration.

        A large one comes while it is read, and only then: reading blocks, on the thread of its
        own that such a request is handled on. ClientDisconnectedError: the client has gone.
        """
        exchange = self._exchange()
        if exchange.stream is None:
            whole = self._body
            if whole is None:
                raise RuntimeError("the body is still coming and nothing waits for it")
            exchange.stream = io.BytesIO(whole)
        return cast("BinaryIO", exchange.stream)

    def text(self) -> str:
        """Return the body as text, in the charset that was sent, or UTF-8; 400 if it is not."""
        charset = _charset(self.header("content-type", "")) or "utf-8"
        try:
            return self.body.decode(charset)
        except (LookupError, UnicodeError):
            raise HttpError(400, f"the body is not {charset} text") from None

    def json(self) -> Any:
        """Return the body parsed as JSON (RFC 8259), whatever its type says; 400 if it is not."""
        try:
            return json.loads(self.body, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise HttpError(400, "the body is not valid JSON") from None

    def form(self) -> Query:
        """Return the fields of an application/x-www-form-urlencoded body; 415 for another."""
        if self.content_type != "application/x-www-form-urlencoded":
            raise HttpError(415, "the body is not application/x-www-form-urlencoded")
        try:
            return _parse_fields(self.body.decode("ascii"))
        except UnicodeError:
            raise HttpError(400, "the form is not percent-encoded") from None

    def _read_whole(self) -> bytes:
        """Read a body that is still coming, once."""
        exchange = self._exchange()
        if exchange.body is None:
            most = self._config.body_memory
            stream = self.stream
            if (self.content_length or 0) > most or not isinstance(stream, BodyStream):
                raise HttpError(413, "the body is too large")
            whole = stream.read_at_most(most)
            if whole is None:
                raise HttpError(413, "the body is too large")
            exchange.body = whole
            exchange.stream = io.BytesIO()
        return exchange.body

    def _client(self) -> Client:
        """Return what a trusted proxy says about the client, else who the peer is."""
        host, port = self._peer() or (None, 0)
        trust = self._config.trust
        if not trust:
            return Client(host, port)
        return trust.resolve(host, self.header_list(), port)

    def _exchange(self) -> Exchange:
        """Return the exchange's state, made if need be."""
        exchange = self._state
        if exchange is None:
            exchange = self._state = Exchange()
        return exchange

    def __repr__(self) -> str:
        """Return the method and the target."""
        return f"<Request {self.method} {self.target!r}>"


def _parse_fields(text: str) -> Query:
    try:
        return Query(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_QUERY_FIELDS))
    except ValueError:
        raise HttpError(400, f"more than {_MOST_QUERY_FIELDS} fields") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _charset(content_type: str) -> str:
    """Return the charset parameter of a Content-Type field, or ""."""
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"')
    return ""
