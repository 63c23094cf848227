"""Clients that never end their head: `http_slow.py PORT COUNT SECONDS`, one byte a second each.

Says `connected` when all are, and one line of JSON when all have ended or SECONDS are over: for
each, how it ended, and the time from its connection to that end.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from typing import Any

HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
TICKS = 50


class Slow:
    """One client: what it has still to send, and what came of it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.began = time.monotonic()
        self.socket.setblocking(False)
        self.sent = 0
        self.reply = b""

    def send(self) -> None:
        """The next byte; endless."""
        byte = HEAD[self.sent : self.sent + 1] or b"x"
        try:
            self.socket.send(byte)
            self.sent += 1
        except OSError:
            pass  # the reading side tells how it ended

    def read(self) -> str | None:
        """How it ended, once it has."""
        try:
            piece = self.socket.recv(4096)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            return "reset" if not self.reply else self.status()
        self.reply += piece
        if b"\r\n\r\n" in self.reply or not piece:
            return self.status()
        return None

    def status(self) -> str:
        """The reply's status, or `closed` without one."""
        words = self.reply.split(maxsplit=2)
        return words[1].decode() if len(words) > 1 else "closed"


def main() -> None:
    """Connect, drip, and note each end."""
    port, count, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    selector = selectors.DefaultSelector()
    clients = [Slow(port) for _ in range(count)]
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
    print("connected", flush=True)
    ends: list[dict[str, Any]] = []
    alive = set(clients)
    began = time.monotonic()
    turn = 0
    while alive and time.monotonic() - began < seconds:
        for client in clients[turn % TICKS :: TICKS]:
            if client in alive:
                client.send()
        turn += 1
        while (left := began + turn / TICKS - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                how = key.data.read()
                if how is not None:
                    ends.append({"how": how, "seconds": time.monotonic() - key.data.began})
                    alive.discard(key.data)
                    selector.unregister(key.data.socket)
                    key.data.socket.close()
    print(json.dumps({"ends": ends, "left": len(alive)}))


if __name__ == "__main__":
    main()
