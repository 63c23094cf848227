"""The least that Python can do over asyncio's interface: empty lines counted, a fixed reply.

Run through http_serve.py. Parses nothing, so no HTTP server on that loop can be cheaper.
"""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import cast


class Head:
    """The reply with the current second's date."""

    second = 0
    reply = b""

    @classmethod
    def current(cls) -> bytes:
        now = int(time.time())
        if now != cls.second:
            cls.second = now
            date = formatdate(now, usegmt=True)
            cls.reply = (
                f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Type: text/plain; charset=utf-8\r\n"
                "Content-Length: 13\r\n\r\nHello, world!"
            ).encode()
        return cls.reply


class Hello(asyncio.Protocol):
    """Answer every empty line; a request split between two receives keeps its beginning."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.rest = b""

    def data_received(self, data: bytes) -> None:
        if self.rest:
            data = self.rest + data
        count = data.count(b"\r\n\r\n")
        self.rest = b"" if data.endswith(b"\r\n\r\n") else data.rpartition(b"\r\n\r\n")[2]
        if count:
            self.transport.write(Head.current() * count)
