"""Send everything back: `pyuring serve examples.echo:Echo --bind 127.0.0.1:7000`."""

from __future__ import annotations

from pyuring import Protocol, Transport


class Echo(Protocol):
    """Writes what it reads, and stops reading while the peer does not take its replies."""

    __slots__ = ("transport",)

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()
