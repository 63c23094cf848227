"""HTTP/1.1: `Engine(Http(handler), "127.0.0.1:8000").listen()`, or `serve(handler)`.

Owns the application object: a handler, its configuration, and what is mounted beside it. Never
reads or sends a byte: native code does, and a gateway on each worker is between the two.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pyuring import usage
from pyuring.engine import Engine
from pyuring.errors import (
    ClientDisconnectedError as ClientDisconnectedError,
    HttpError as HttpError,
)
from pyuring.gateway import Gateway, Handler
from pyuring.headers import Headers as Headers
from pyuring.http_config import HttpConfig as HttpConfig
from pyuring.request import Request as Request
from pyuring.response import Response as Response
from pyuring.static import StaticFiles as StaticFiles

if TYPE_CHECKING:
    from pyuring.addresses import AddressLike
    from pyuring.worker import Worker

__all__ = ["Http", "serve"]


class Http:
    """An HTTP application: give it to Engine. `handler(request)` returns what to reply.

    Returned may be: bytes, str, a Response, (status, fields, bytes), an iterable of blocks, an open
    binary file, a path. `mounts` are handlers for paths that begin with their prefix, the longest
    first: {"/static": StaticFiles("public")}. Configuration: an HttpConfig, or its fields as
    keyword arguments, or both.
    """

    def __init__(
        self,
        handler: Handler,
        config: HttpConfig | None = None,
        *,
        mounts: Mapping[str, Handler] | None = None,
        **overrides: Any,
    ) -> None:
        if not callable(handler):
            raise TypeError(f"not a handler: {handler!r} cannot be called")
        if config is not None and not isinstance(config, HttpConfig):
            raise TypeError(f"config: must be an HttpConfig, not {type(config).__name__}")
        config = config or HttpConfig()
        self.config = dataclasses.replace(config, **overrides) if overrides else config
        self.handler = _mounted(handler, mounts) if mounts else handler
        self._request_type: type[Request] = type(
            "Request",
            (Request,),
            {"__slots__": (), "__module__": Request.__module__, "_config": self.config},
        )

    def __call__(self) -> Any:
        """Raise: an engine asks for_worker() instead of making protocols."""
        raise TypeError("an Http application is given to Engine as it is")

    def for_worker(self, worker: Worker) -> Gateway:
        """Return what native code talks to on one worker; the worker asks, once."""
        return Gateway(self.handler, self.config, worker, self._request_type)


def serve(
    handler: Handler,
    address: AddressLike | list[AddressLike] = "127.0.0.1:8000",
    *,
    quiet: bool = False,
    **options: Any,
) -> None:
    """Serve a handler until Ctrl-C or SIGTERM; returns then, or raises what kept it from serving.

    Says on stderr where it listens, unless `quiet`.

    `options` are fields of HttpConfig and of EngineConfig, and `mounts`. An Http or another
    application with `for_worker` is served as it is.
    """
    names = {field.name for field in dataclasses.fields(HttpConfig)} | {"mounts"}
    ours = {name: options.pop(name) for name in names & options.keys()}
    if hasattr(handler, "for_worker"):
        if ours:
            raise TypeError(f"{', '.join(sorted(ours))}: the application has its own configuration")
        application: Any = handler
    else:
        application = Http(handler, **ours)
    if usage.importing:
        raise RuntimeError(
            "serve() is called while the command imports the module; put it under "
            'if __name__ == "__main__":'
        )
    engine = Engine(application, address, **options)
    try:
        with _ended_by_sigterm():
            engine.start()
            if not quiet:
                usage.say(f"listening on {' and '.join(engine.addresses)}")
            engine.listen()
    except KeyboardInterrupt:
        engine.shutdown()


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, on the main thread and where nobody else has a use for it."""
    on_main = threading.current_thread() is threading.main_thread()
    if not on_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _mounted(handler: Handler, mounts: Mapping[str, Handler]) -> Handler:
    """Return a handler that looks at the path first."""
    table = []
    for prefix, mounted in mounts.items():
        if not prefix.startswith("/") or (prefix != "/" and prefix.endswith("/")):
            raise ValueError(f"mounts: {prefix!r} is not like '/static'")
        if not callable(mounted):
            raise TypeError(f"mounts: {mounted!r} cannot be called")
        if isinstance(mounted, StaticFiles):
            mounted = mounted.at(prefix)
        table.append((prefix, prefix.rstrip("/") + "/", mounted))
    table.sort(key=lambda row: -len(row[0]))

    def choose(request: Request) -> Any:
        path = request.path
        for prefix, below, mounted in table:
            if path == prefix or path.startswith(below):
                return mounted(request)
        return handler(request)

    return choose
