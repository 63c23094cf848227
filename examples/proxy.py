"""A TCP proxy: `PROXY_TARGET=127.0.0.1:7000 pyuring serve examples.proxy:Proxy`.

Each side is connected on the client's own worker and ring. Reading stops on one side while the
other does not take what was read, and the end of one direction is carried over alone.
"""

from __future__ import annotations

import os

from pyuring import Protocol, Transport

TARGET = os.environ.get("PROXY_TARGET", "127.0.0.1:7000")


class Side(Protocol):
    """One of the two connections: what it reads is written to the other."""

    transport: Transport
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
    """The client's side; reads nothing until the target is there."""

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        self.lost = False
        transport.pause_reading()
        transport.worker.connect(lambda: Target(self), TARGET, failed=self.connect_failed)

    def connect_failed(self, error: OSError) -> None:
        self.transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost = True
        if hasattr(self, "other"):
            close_after(self.other.transport, exc)


class Target(Side):
    """The target's side."""

    def __init__(self, client: Proxy) -> None:
        self.client = client

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        self.other = self.client
        if self.client.lost:
            transport.abort()
            return
        self.client.other = self
        self.client.transport.resume_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        close_after(self.client.transport, exc)


def close_after(transport: Transport, exc: BaseException | None) -> None:
    """End one side as the other ended: in order, or by a reset."""
    if exc is None:
        transport.close()
    else:
        transport.abort()
