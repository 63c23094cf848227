"""WSGI (PEP 3333): `Engine(Wsgi(app), address).listen()` serves Flask, Django and their like.

Owns the environ's part that is the same for every request. Never reads or writes a connection:
native code fills the environ, calls the application and sends a reply of one block (WsgiHandler,
zig/wsgi_object.zig), and the gateway moves bodies.

Some facts about threads: a request whose body is in memory is handled on its worker's thread
(unless `threads` are configured), one whose body is still coming on a pool's, where `read` may
block. So two threads can be in the application at once however many workers there are, and
`wsgi.multithread` is always true.
"""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pyuring.gateway import Gateway, Handler
from pyuring.http import Http, _mounted
from pyuring.wsgi_call import Blocks, Call
from pyuring.wsgi_errors import ErrorStream
from pyuring.wsgi_file import FileWrapper, NoBody

if TYPE_CHECKING:
    from pyuring.http_config import HttpConfig
    from pyuring.listeners import Listener
    from pyuring.proxy import Trust
    from pyuring.request import Request
    from pyuring.sending import ThreadWriter
    from pyuring.worker import Worker

    class WsgiHandler:
        """The native half (zig/wsgi_object.zig), for type checkers."""

        def __init__(
            self,
            app: Application,
            base: dict[str, Any],
            call_type: type[Call],
            adjust: Adjust | None,
            new_input: Callable[[bytes], io.BytesIO],
            /,
        ) -> None: ...
        def handle(self, request: Request, /) -> Any: ...

else:
    from pyuring._native import WsgiHandler

__all__ = ["Wsgi"]

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Adjust = Callable[[dict[str, Any], "Request"], None]


# Keys that every request has, by native code.
_ALWAYS = (
    *("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "REQUEST_URI", "RAW_URI"),
    *("SERVER_PROTOCOL", "REMOTE_ADDR", "wsgi.input"),
)
# With so many more keys its table grows, and then has room for those of some twenty fields.
_ROOM = 2


class Wsgi(Http):
    """A WSGI application: give it to Engine. Configuration and `mounts` are Http's."""

    def __init__(
        self,
        app: Application,
        config: HttpConfig | None = None,
        *,
        mounts: Mapping[str, Handler] | None = None,
        **overrides: Any,
    ) -> None:
        super().__init__(lambda request: None, config, mounts=mounts, **overrides)
        if not callable(app):
            raise TypeError(f"not a WSGI application: {app!r} cannot be called")
        self.app = app
        self._mounts = mounts

    def for_worker(self, worker: Worker) -> Gateway:
        """Return what native code talks to on one worker; the worker asks, once."""
        gateway = WsgiGateway(self.app, self.config, worker, self._request_type)
        if self._mounts:
            gateway.handler = _mounted(gateway.handler, self._mounts)
        return gateway


class WsgiGateway(Gateway):
    """Stands for a WSGI application on one worker."""

    def __init__(
        self,
        app: Application,
        config: HttpConfig,
        worker: Worker,
        request_type: type[Request],
    ) -> None:
        base = base_environ(worker._listeners, config)
        call = type("Call", (Call,), {"__slots__": (), "gateway": self})
        adjust = believing(config.trust) if config.trust else None
        handler = make_handler(app, base, call, adjust)
        super().__init__(handler, config, worker, request_type)

    def send_rest(self, request: Request, writer: ThreadWriter, blocks: Blocks) -> None:
        """Send what an application returned after it has used write(), on a pool's thread."""
        try:
            for block in blocks:
                writer.send(block)
        finally:
            blocks.close()
        if not writer.end():
            self._report(request, ValueError("the body is shorter than its Content-Length"))
        self._home(self._over, request)


def make_handler(
    app: Application, base: dict[str, Any], new_call: type[Call], adjust: Adjust | None = None
) -> Handler:
    """Return the function that is called with each request, by native code or on a pool's thread.

    `adjust(environ, request)` may change what native code has put into the environ.
    """
    return WsgiHandler(app, base, new_call, adjust, io.BytesIO).handle


def base_environ(listeners: Iterable[Listener], config: HttpConfig) -> dict[str, Any]:
    """Return what every request of a worker has in its environ."""
    name, port = _server_of(next(iter(listeners), None))
    environ: dict[str, Any] = {
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": config.scheme,
        "wsgi.errors": ErrorStream(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": config.multiprocess,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,
        "SERVER_NAME": name,
        "SERVER_PORT": port,
        "SERVER_SOFTWARE": "pyuring",
        "SCRIPT_NAME": config.root_path.encode().decode("latin-1"),
    }
    environ.update(dict.fromkeys(_ALWAYS, ""))
    environ["wsgi.input"] = NoBody()
    # A copy of a dict has a table of the same size: what has grown here need not grow in each copy.
    for number in range(_ROOM):
        environ[str(number)] = ""
    for number in range(_ROOM):
        del environ[str(number)]
    return environ


def _server_of(listener: Listener | None) -> tuple[str, str]:
    """Return SERVER_NAME and SERVER_PORT, which may not be empty, for clients without Host."""
    if listener is None or listener.family == socket.AF_UNIX:
        return "localhost", "80"
    host, port = listener.name[:2]
    return (socket.gethostname() if host in ("0.0.0.0", "::") else host), str(port)


def believing(trust: Trust) -> Adjust:
    """Return what puts into an environ what trusted proxies say about the client."""

    def adjust(environ: dict[str, Any], request: Request) -> None:
        peer = environ["REMOTE_ADDR"] or None  # "" on a Unix socket
        said = trust.resolve(peer, request.header_list(), int(environ.get("REMOTE_PORT", 0)))
        if said.host is not None:
            environ["REMOTE_ADDR"] = said.host
            environ["REMOTE_PORT"] = str(said.port)
            if not said.port:  # the peer's is the proxy's
                del environ["REMOTE_PORT"]
        if said.scheme is not None:
            environ["wsgi.url_scheme"] = said.scheme
        if said.authority is not None:
            environ["HTTP_HOST"] = said.authority

    return adjust
