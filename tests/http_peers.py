"""What h11 and llhttp (by way of httptools) make of one request, in the words of our own verdicts.

Knows the two libraries; judges nothing, test_http1_differential.py does.
"""

from __future__ import annotations

from typing import NamedTuple

import h11
import httptools


class Opinion(NamedTuple):
    """`kind` is accepted, refused or incomplete; `body` of an accepted request."""

    kind: str
    body: bytes = b""
    words: str = ""


def ask_h11(request: bytes) -> Opinion:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 17)
    body = b""
    try:
        connection.receive_data(request)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                return Opinion("incomplete")
            if isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return Opinion("accepted", body)
    except h11.RemoteProtocolError as error:
        return Opinion("refused", words=str(error))


class _Listener:
    """Keeps the first message; llhttp goes on with what follows it."""

    def __init__(self) -> None:
        self.body = b""
        self.complete = False

    def on_body(self, body: bytes) -> None:
        if not self.complete:
            self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


def ask_llhttp(request: bytes) -> Opinion:
    listener = _Listener()
    words = ""
    try:
        httptools.HttpRequestParser(listener).feed_data(request)
    except httptools.HttpParserUpgrade:
        pass  # the message before the other protocol is complete
    except httptools.HttpParserError as error:
        words = str(error)
    if listener.complete:
        return Opinion("accepted", listener.body)
    return Opinion("refused", words=words) if words else Opinion("incomplete")


PEERS = {"h11": ask_h11, "llhttp": ask_llhttp}
