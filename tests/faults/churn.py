"""Clients of churn_server.py: they come, are answered, and send more after their end was said.

It owns its sockets. Whatever the network may do to a client that talks into a closed connection
is expected; a wrong byte, or a reply cut off where it must be whole, is a problem.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import time
from collections import Counter

from faults.churn_server import FRAME, reply_to

DELAYS = (0.0, 0.05, 0.12, 0.25)  # F38
# close, abort, pause and abort; kept open for the client to end by a FIN or by a reset; answered
# from another thread, and ended by the client
ENDS = (b"c", b"a", b"p", b"f", b"r", b"t")
OPEN = (b"f", b"r", b"t")
WHOLE = (b"c", *OPEN)
PATIENCE = 20.0


class Churn:
    """So many clients at a time for so long; `counts` and `problems` tell what became of them."""

    def __init__(self, address: str, rng: random.Random, strict: bool = True) -> None:
        self.strict = strict  # a reply must be whole where nothing cuts it off
        host, _, port = address.rpartition(":")
        self.place = (host, int(port))
        self.rng = rng
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.slowest = 0.0  # seconds of one connection, without the client's own delay

    def run(self, seconds: float, width: int = 256) -> None:
        asyncio.run(self._run(time.monotonic() + seconds, width))

    async def _run(self, until: float, width: int) -> None:
        await asyncio.gather(*(self._again(until) for _ in range(width)))

    async def _again(self, until: float) -> None:
        while True:
            tag, how, delay = self.rng.randbytes(16), self.rng.choice(ENDS), self.rng.choice(DELAYS)
            self.counts["connections"] += 1
            began = time.monotonic()
            try:
                await asyncio.wait_for(self._one(tag, how, delay), PATIENCE)
            except asyncio.TimeoutError:
                self.problems.append(f"{how!r} {delay}: no end within {PATIENCE} s")
            except ConnectionError as error:
                self.problems.append(f"{how!r} {delay}: {error!r}")
            self.slowest = max(self.slowest, time.monotonic() - began - delay)
            if time.monotonic() > until or len(self.problems) > 9:
                return

    async def _one(self, tag: bytes, how: bytes, delay: float) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, self.place)
            late = (how + tag) * self.rng.choice((1, 3, 200))
            with contextlib.suppress(ConnectionError):
                await loop.sock_sendall(sock, how + tag + (late if delay == 0 else b""))
            self._compare(await self._read(sock, tag, how), tag, how, delay)
            await asyncio.sleep(delay)
            with contextlib.suppress(ConnectionError):
                await loop.sock_sendall(sock, late)
                self.counts["late"] += 1
            if how == b"r":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def _read(self, sock: socket.socket, tag: bytes, how: bytes) -> bytes:
        """Return what comes: to the reply's end where it is kept open, else to the stream's."""
        loop = asyncio.get_running_loop()
        wanted = len(reply_to(tag)) if how in OPEN else 1 << 30
        found = b""
        with contextlib.suppress(ConnectionError):
            while len(found) < wanted:
                piece = await loop.sock_recv(sock, 65536)
                if not piece:
                    break
                found += piece
        return found

    def _compare(self, found: bytes, tag: bytes, how: bytes, delay: float) -> None:
        whole = reply_to(tag)
        if self.strict and how in WHOLE and found != whole:
            self.problems.append(
                f"{how!r} {delay}: {len(found)} of {len(whole)} bytes of the reply"
            )
        elif not whole.startswith(found):
            self.problems.append(f"{how!r} {delay}: {len(found)} bytes, and not the reply's")


assert len(b"c" + bytes(16)) == FRAME
