"""Every limit of an HTTP server: its default, its unit, and why it is there.

Owns `HttpConfig`, a value that is checked once, when it is made, and its translation into the
numbers that native code takes. Never reads the environment.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyuring.config import KIB, MIB, check_seconds, nanoseconds
from pyuring.proxy import Trust

if TYPE_CHECKING:
    from pyuring.request import Request

__all__ = ["AccessLog", "HttpConfig"]

# Called after each exchange, on the worker's thread: the request, the status, the bytes of the
# body that were sent, and the seconds from the head's arrival to the reply's last byte queued.
AccessLog = Callable[["Request", int, int, float], object]

NO_LIMIT = 2**64 - 1
NOBODY = Trust(())
_MOST_FIELDS = 256  # native code keeps so many in a table of fixed size
_MOST_BYTES = 1 << 40


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig:
    """What a request may cost, and when the server gives up. Times are seconds, sizes are bytes.

    Frozen: make a changed copy with `dataclasses.replace`. Wrong values raise ValueError or
    TypeError that name the field.
    """

    request_line: int = 8 * KIB
    """The longest request line; longer is 414. RFC 9112 §3 wants 8000 at least."""

    field_line: int = 16 * KIB
    """The longest header field, name and value; longer is 431. Large cookies need 4 KiB each."""

    field_count: int = 100
    """The most header fields of a request, up to 256; more is 431."""

    head: int = 64 * KIB
    """The longest head, request line and all fields; longer is 431."""

    body: int | None = None
    """The longest body; longer is 413. None: no limit, since bodies are streamed in constant
    memory, and only who reads one as a whole keeps it."""

    body_memory: int = 16 * MIB
    """The longest body that `Request.body`, `text`, `json` and `form` put together in memory;
    longer is 413. With every one of `stream_threads` at it, a worker holds 256 MiB."""

    buffered_body: int = 64 * KIB
    """Bodies up to this size are awaited before the handler is called, on the worker's thread;
    larger ones are streamed to a handler on a thread of its own, because it has to wait."""

    chunk_extensions: int = 4 * KIB
    """The most bytes of chunk extensions in one body: nobody uses them, they are skipped."""

    trailers: int = 8 * KIB
    """The longest trailer section of a chunked body; it is dropped."""

    head_timeout: float | None = 10.0
    """From a head's first byte to its last; then 408. None: for ever."""

    body_timeout: float | None = 30.0
    """How long no byte of a body may come while it is awaited; then 408. None: for ever."""

    keep_alive_timeout: float | None = 75.0
    """How long a connection may wait for its next request; longer than proxies keep theirs (60 s
    as a rule), so that it is not closed under a request. None: for ever."""

    requests_per_connection: int | None = None
    """The connection is closed after so many requests; None: never for that reason."""

    threads: int = 0
    """0: handlers run on the worker's thread, one after the other. N: every request is handled on
    one of N threads that the worker has, for handlers that wait."""

    stream_threads: int = 16
    """Threads that a worker starts, when needed, for handlers of requests with large bodies."""

    drain_unread: int = 64 * KIB
    """Bytes of a body which the handler left unread that are read and dropped, so that the
    connection can go on; if more are to come it is closed."""

    access_log: AccessLog | None = None
    """Called after each exchange with (request, status, bytes, seconds); None: no log."""

    timed: bool = False
    """Take each exchange's time, for the histogram in the metrics: one more look at the clock."""

    trust: Trust = NOBODY
    """The proxies whose X-Forwarded-For and X-Forwarded-Proto fields are believed: a Trust, or a
    tuple of addresses and networks; "*" believes everybody, "unix" whoever comes over a Unix
    socket. Nobody unless asked: a client could write such fields itself."""

    proxy_protocol: bool = False
    """Each connection begins with the PROXY protocol's head, which names the client."""

    root_path: str = ""
    """The path that a proxy has taken off the front of every request's: "/app"."""

    multiprocess: bool = False
    """Whether other processes serve the same application: what wsgi.multiprocess says."""

    scheme: str = "http"
    """The scheme of URLs where no trusted proxy names another: "http" or "https"."""

    def __post_init__(self) -> None:
        """Check every field; the first wrong one raises."""
        for name, least, most in _COUNTS:
            _integer(name, getattr(self, name), least, most)
        for name in ("body", "requests_per_connection"):
            if getattr(self, name) is not None:
                _integer(name, getattr(self, name), 0 if name == "body" else 1, _MOST_BYTES)
        for name in ("head_timeout", "body_timeout", "keep_alive_timeout"):
            if getattr(self, name) is not None:
                check_seconds(name, getattr(self, name), above_zero=True)
        if self.head < max(self.request_line, self.field_line):
            raise ValueError("head: must not be below request_line or field_line")
        if self.access_log is not None and not callable(self.access_log):
            raise TypeError(f"access_log: {self.access_log!r} cannot be called")
        for name in ("timed", "proxy_protocol", "multiprocess"):
            if type(getattr(self, name)) is not bool:
                raise TypeError(f"{name}: must be True or False, not {getattr(self, name)!r}")
        self._check_places()

    def _check_places(self) -> None:
        trust: Any = self.trust
        if not isinstance(trust, tuple) or not all(isinstance(each, str) for each in trust):
            raise TypeError(f"trust: must be a tuple of addresses, not {self.trust!r}")
        if not isinstance(trust, Trust):
            try:
                object.__setattr__(self, "trust", Trust(trust))
            except ValueError as error:
                raise ValueError(f"trust: {error}") from None
        if type(self.root_path) is not str:
            raise TypeError(f"root_path: must be a string, not {self.root_path!r}")
        if self.root_path and (self.root_path[0] != "/" or self.root_path[-1] == "/"):
            raise ValueError(f"root_path: {self.root_path!r} is not like '/app'")
        if self.scheme not in ("http", "https"):
            raise ValueError(f"scheme: {self.scheme!r} is neither http nor https")

    def native_settings(self) -> dict[str, int]:
        """Return the numbers that native code takes: times in ns, 0 for none of them."""
        plain = (name for name, _, _ in _COUNTS if name not in _OURS)
        settings = {name: int(getattr(self, name)) for name in plain}
        settings["body"] = NO_LIMIT if self.body is None else self.body
        settings["requests_per_connection"] = self.requests_per_connection or 0
        for name in ("head_timeout", "body_timeout", "keep_alive_timeout"):
            settings[f"{name}_ns"] = nanoseconds(getattr(self, name))
        settings["inline"] = int(self.threads == 0)
        settings["log"] = int(self.access_log is not None)
        settings["timed"] = int(self.timed)
        settings["proxy_protocol"] = int(self.proxy_protocol)
        return settings


def _integer(name: str, value: Any, least: int, most: int) -> None:
    if type(value) is not int:
        raise TypeError(f"{name}: must be an integer, not {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name}: must be {least} to {most}, not {value}")


_COUNTS = (
    ("request_line", 64, 16 * MIB),
    ("field_line", 64, 16 * MIB),
    ("field_count", 1, _MOST_FIELDS),
    ("head", 64, 16 * MIB),
    ("body_memory", 0, _MOST_BYTES),
    ("buffered_body", 0, _MOST_BYTES),
    ("chunk_extensions", 0, 16 * MIB),
    ("trailers", 0, 16 * MIB),
    ("threads", 0, 1024),
    ("stream_threads", 1, 1024),
    ("drain_unread", 0, _MOST_BYTES),
)
_OURS = ("body_memory", "threads", "stream_threads")  # native code does not care about these
