"""A small HTTP client that shows what is on the wire, and the handlers that tests send it to.

It owns no server. It reads a reply strictly, by its own framing, and keeps what comes after.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from peers import connect

from pyuring import Engine, Http, Request
from pyuring.testing import serve

HOST = b"Host: test\r\n"


@dataclasses.dataclass
class Reply:
    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def __getitem__(self, name: str) -> str:
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        assert len(values) == 1, f"{name}: {values}"
        return values[0]

    def __contains__(self, name: str) -> bool:
        return any(key.lower() == name.lower() for key, _ in self.fields)


class Client:
    """One connection, blocking, with the patience of a test."""

    def __init__(self, address: str) -> None:
        self.sock: socket.socket = connect(address)
        self.rest = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def get(self, target: str = "/", fields: bytes = b"", method: str = "GET") -> Reply:
        self.send(f"{method} {target} HTTP/1.1\r\n".encode() + HOST + fields + b"\r\n")
        return self.reply(method)

    def post(self, target: str, body: bytes, fields: bytes = b"") -> Reply:
        length = b"Content-Length: %d\r\n" % len(body)
        self.send(f"POST {target} HTTP/1.1\r\n".encode() + HOST + length + fields + b"\r\n" + body)
        return self.reply("POST")

    def reply(self, method: str = "GET") -> Reply:
        """Read one reply; interim ones are skipped by `interim` alone."""
        status, fields = self.head()
        named = {name.lower(): value for name, value in fields}
        if method == "HEAD" or status in (204, 304) or status < 200:
            return Reply(status, fields, b"")
        if "transfer-encoding" in named:
            assert named["transfer-encoding"] == "chunked"
            assert "content-length" not in named
            return Reply(status, fields, self.chunks())
        if "content-length" in named:
            return Reply(status, fields, self.exactly(int(named["content-length"])))
        return Reply(status, fields, self.to_end())

    def head(self) -> tuple[int, list[tuple[str, str]]]:
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")[:-2]
        version, status, _ = (lines[0] + " ").split(" ", 2)
        assert version == "HTTP/1.1"
        fields = [(name, value.strip()) for name, _, value in (x.partition(":") for x in lines[1:])]
        return int(status), fields

    def chunks(self) -> bytes:
        body = b""
        while True:
            size = int(self.until(b"\r\n")[:-2], 16)
            body += self.exactly(size)
            assert self.exactly(2) == b"\r\n"
            if size == 0:
                return body

    def until(self, mark: bytes) -> bytes:
        while mark not in self.rest:
            self._more()
        found, _, self.rest = self.rest.partition(mark)
        return found + mark

    def exactly(self, count: int) -> bytes:
        pieces = [self.rest[:count]]
        self.rest = self.rest[count:]
        left = count - len(pieces[0])
        while left:
            piece = self.sock.recv(min(left, 1 << 20))
            if not piece:
                raise EOFError(f"the connection ended {left} bytes too early")
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def to_end(self) -> bytes:
        """Read until the server's end."""
        body, self.rest = self.rest, b""
        while piece := self.sock.recv(1 << 20):
            body += piece
        return body

    def ended(self) -> bool:
        """Return whether the server ends the connection without another byte."""
        return self.to_end() == b""

    def _more(self) -> None:
        piece = self.sock.recv(1 << 16)
        if not piece:
            raise EOFError(f"the connection ended; so far: {self.rest!r}")
        self.rest += piece


@contextmanager
def served(handler: Callable[[Request], Any], **options: Any) -> Iterator[Engine]:
    """Serve a handler over HTTP; options of EngineConfig begin with "engine_"."""
    ours = {name[7:]: options.pop(name) for name in list(options) if name.startswith("engine_")}
    with serve(Http(handler, **options), **ours) as engine:
        yield engine


def hello(request: Request) -> str:
    return "Hello, world!"


def echo(request: Request) -> bytes:
    return request.body


def mixed(request: Request) -> Any:
    """Answer in every manner there is: at once, in parts, from a file, large."""
    kind, number = request.path[1:].split("/")
    body = b"%s-" % number.encode() * 5000
    if kind == "text":
        return number
    if kind == "parts":
        return (body[at : at + 777] for at in range(0, len(body), 777))
    if kind == "file":
        place = pathlib.Path(os.environ["PYURING_TEST_FILES"], number)
        place.write_bytes(body)
        return open(place, "rb")
    return body


def resident() -> int:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")
