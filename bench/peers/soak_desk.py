"""What the clients of soak.py share: connecting, counting, telling the driver what went wrong.

Owns the lines on standard output, JSON each: counts since the last line, or an event with the
time of the system's monotonic clock. Judges nothing: soak.py knows what it did to the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
import time
from collections import Counter
from typing import Any

PATIENCE = 90.0  # for one step of a transfer: longer than anything that the driver stops
CONNECT_PATIENCE = 30.0
# Not only ConnectionError: shutdown(2) of what the other side has reset is ENOTCONN. From CPython
# 3.11 on a TimeoutError is an OSError too: it is looked for first.
LOST = (OSError, asyncio.IncompleteReadError)


class Desk:
    """The ports, this process's randomness and its counts."""

    def __init__(self, http: int, echo: int, seed: int, seconds: float) -> None:
        self.http, self.echo = http, echo
        self.rng = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.deadline = time.monotonic() + seconds

    @property
    def open(self) -> bool:
        """Whether something new may begin."""
        return time.monotonic() < self.deadline

    def tell(self, what: str, **detail: Any) -> None:
        """Write an event."""
        print(json.dumps({"event": what, "at": time.monotonic(), **detail}), flush=True)

    def flush(self) -> None:
        """Write what has been counted since last time."""
        counts, self.counts = self.counts, Counter()
        if counts:
            print(json.dumps({"counts": counts}), flush=True)

    async def connect(self, port: int, receive_buffer: int = 0) -> Stream | None:
        """A connection from the next source address; None, and an event, when it is refused."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.bind((f"127.0.{self.rng.randrange(4)}.{self.rng.randrange(1, 250)}", 0))
        began = time.monotonic()
        name = "http" if port == self.http else "echo"
        try:
            loop = asyncio.get_running_loop()
            await asyncio.wait_for(loop.sock_connect(sock, ("127.0.0.1", port)), CONNECT_PATIENCE)
            reader, writer = await asyncio.open_connection(sock=sock)
        except (OSError, asyncio.TimeoutError) as error:
            sock.close()
            self.tell("refused", server=name, began=began, error=repr(error))
            await asyncio.sleep(0.05)
            return None
        self.counts["connections"] += 1
        return Stream(self, reader, writer, began)


class Stream:
    """One connection; every step within PATIENCE."""

    def __init__(
        self,
        desk: Desk,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        began: float,
    ) -> None:
        self.desk, self.reader, self.writer = desk, reader, writer
        self.began = began
        self.silence = -1.0  # from connecting to the first byte that was sent

    async def send(self, data: bytes) -> None:
        """Send, and wait until not much of it waits here."""
        self.writer.write(data)
        if self.silence < 0:
            self.silence = time.monotonic() - self.began
        self.desk.counts["bytes_sent"] += len(data)
        await asyncio.wait_for(self.writer.drain(), PATIENCE)

    async def drip(self, data: bytes, pieces: int, pause: float) -> None:
        """Send in pieces with pauses."""
        step = max(1, len(data) // pieces)
        for at in range(0, len(data), step):
            await self.send(data[at : at + step])
            await asyncio.sleep(self.desk.rng.uniform(0, pause))

    async def some(self, most: int) -> bytes:
        """What there is, up to `most` bytes; nothing at the end."""
        piece = await asyncio.wait_for(self.reader.read(most), PATIENCE)
        self.desk.counts["bytes_received"] += len(piece)
        return piece

    async def exactly(self, count: int, slow: float = 0.0) -> bytes:
        """So many bytes; slowly in small pieces if asked to."""
        if not slow:
            data = await asyncio.wait_for(self.reader.readexactly(count), PATIENCE)
            self.desk.counts["bytes_received"] += len(data)
            return data
        pieces, left = [], count
        while left:
            piece = await self.some(min(left, self.desk.rng.choice((512, 8192, 65536))))
            if not piece:
                raise asyncio.IncompleteReadError(b"".join(pieces), count)
            pieces.append(piece)
            left -= len(piece)
            await asyncio.sleep(self.desk.rng.uniform(0, slow))
        return b"".join(pieces)

    async def until(self, mark: bytes) -> bytes:
        """Everything up to a mark."""
        return await asyncio.wait_for(self.reader.readuntil(mark), PATIENCE)

    def reset(self) -> None:
        """End with a RST."""
        sock = self.writer.get_extra_info("socket")
        with contextlib.suppress(OSError):  # closed already
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(AttributeError):  # it has ended, and lets go of its loop then
            self.writer.transport.abort()

    async def close(self) -> None:
        """End as an ordinary client does."""
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            pass  # the other side was quicker
