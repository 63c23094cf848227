"""The TCP proxy of examples/proxy.py as asyncio has it written: the same steps on a loop.

Never imports pyuring. The target is PROXY_TARGET, as there.

uvloop begins to read after connection_made() whatever that has said, so what comes before the
target is there is kept.
"""

from __future__ import annotations

import asyncio
import os
from typing import cast

TARGET = os.environ.get("PROXY_TARGET", "127.0.0.1:7000")


class Side(asyncio.Protocol):
    """One of the two connections: what it reads is written to the other."""

    transport: asyncio.Transport
    other: Side

    def data_received(self, data: bytes) -> None:
        self.other.transport.write(data)

    def eof_received(self) -> bool:
        self.other.transport.write_eof()
        return True  # the other direction may go on

    def pause_writing(self) -> None:
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.other.transport.resume_reading()


class Proxy(Side):
    """The client's side; waits for the target."""

    early = b""

    def data_received(self, data: bytes) -> None:
        try:
            self.other.transport.write(data)
        except AttributeError:
            self.early += data

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.lost = False
        self.transport.pause_reading()
        host, _, port = TARGET.rpartition(":")
        loop = asyncio.get_running_loop()
        connecting = loop.create_connection(lambda: Target(self), host, int(port))
        self.task = loop.create_task(connecting)
        self.task.add_done_callback(self.connected)

    def connected(self, task: asyncio.Task[object]) -> None:
        if task.cancelled() or task.exception() is not None:
            self.transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost = True
        if hasattr(self, "other"):
            close_after(self.other.transport, exc)


class Target(Side):
    """The target's side."""

    def __init__(self, client: Proxy) -> None:
        self.client = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.other = self.client
        if self.client.lost:
            self.transport.abort()
            return
        self.client.other = self
        if self.client.early:
            self.transport.write(self.client.early)
        self.client.transport.resume_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        close_after(self.client.transport, exc)


def close_after(transport: asyncio.Transport, exc: BaseException | None) -> None:
    """End one side as the other ended: in order, or by a reset."""
    if exc is None:
        transport.close()
    else:
        transport.abort()
