"""HTTP under attack: clients and handlers that do what nobody should, one way at a time.

It owns no server of its own. Each test stands for something that once went wrong.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from http_client import HOST, Client, served

from pyuring import Request

POST = b"POST / HTTP/1.1\r\n" + HOST
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"


def test_no_100_goes_out_once_the_reply_has_begun() -> None:
    asked = threading.Event()

    def handler(request: Request) -> Iterator[bytes]:
        yield b"start"
        asked.set()
        yield request.stream.read()

    with served(handler) as engine, Client(engine.address) as client:
        client.send(POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert asked.wait(10)
        client.send(b"abc")
        assert client.reply().body == b"startabc"
