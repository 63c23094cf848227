"""The endpoint of `--metrics`: /metrics for Prometheus, /metrics.json for `pyuring top`.

Owns a listener and a thread. Never runs on a worker: it must answer when workers are busy, so
the standard library's server does it, on a socket of its own.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer, ThreadingMixIn
from typing import Any

from pyuring import addresses, listeners
from pyuring.prometheus import CONTENT_TYPE, Snapshot, render

__all__ = ["MetricsServer"]

_PATIENCE_SECONDS = 5.0
_MOST_CLIENTS = 16


class MetricsServer:
    """Serves what `snapshots()` returns: one mapping a worker. Runs until `close`.

    `address` is "host:port" or "unix:/path"; a host of nothing is loopback, as what is told
    there is nobody else's business. `snapshots` is called on a thread of the server's. Raises
    OSError when the address cannot be listened on.
    """

    def __init__(self, address: str, snapshots: Callable[[], list[Any]]) -> None:
        wanted = addresses.parse(address)
        if wanted.kind == "inet" and not wanted.host:
            given = address.rpartition(":")[0]
            wanted = wanted._replace(host="0.0.0.0" if given == "*" else "127.0.0.1")
        (self._listeners,) = listeners.open_listeners(
            wanted, workers=1, backlog=16, reuse_port=False
        )
        self._servers = [_Server(each, snapshots) for each in self._listeners]
        self._threads = [
            threading.Thread(target=each.serve_forever, name="pyuring-metrics", daemon=True)
            for each in self._servers
        ]
        for thread in self._threads:
            thread.start()

    @property
    def address(self) -> str:
        """Where it listens, with the real port."""
        return str(self._listeners[0])

    def close(self) -> None:
        """Stop, and give the address back; an answer that is under way is not waited for."""
        for server in self._servers:
            server.shutdown()
        for thread in self._threads:
            thread.join()
        for server in self._servers:
            server.server_close()
        listeners.release_all([self._listeners])


class _Server(ThreadingMixIn, BaseServer):
    """socketserver's loop around a listener; each client has a thread, and little time."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self, listener: listeners.Listener, snapshots: Callable[[], list[Snapshot]]
    ) -> None:
        super().__init__(listener.name, _Handler)
        self.snapshots = snapshots
        self._socket = socket.socket(fileno=os.dup(listener.fd))
        self._places = threading.BoundedSemaphore(_MOST_CLIENTS)

    def fileno(self) -> int:
        """Return what is waited for."""
        return self._socket.fileno()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; an OSError means: not now."""
        client, name = self._socket.accept()
        client.settimeout(_PATIENCE_SECONDS)
        return client, name

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a thread for the client, or turn it away when there are too many."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer the client, on its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def shutdown_request(self, request: Any) -> None:
        """Close the connection."""
        try:
            request.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # gone already
        request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that hangs up is no event."""

    def server_close(self) -> None:
        """Close our copy of the listener."""
        self._socket.close()


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD, one request a connection."""

    server: _Server

    def setup(self) -> None:
        self.rfile = self.request.makefile("rb")
        self.wfile = self.request.makefile("wb")

    def do_GET(self) -> None:
        """Answer with a page."""
        path = self.path.partition("?")[0]
        if path not in ("/metrics", "/metrics.json"):
            self._reply(404, "text/plain; charset=utf-8", b"/metrics or /metrics.json\n")
            return
        found = self.server.snapshots()
        if path == "/metrics":
            self._reply(200, CONTENT_TYPE, render(found).encode())
        else:
            page = {"time": time.time(), "workers": found}
            self._reply(200, "application/json", json.dumps(page).encode())

    do_HEAD = do_GET

    def _reply(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        """Return the Server field, without the Python version."""
        return "pyuring"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: scrapes are no news."""
