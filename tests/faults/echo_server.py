"""An echo server that tells what became of its connections.

Run as `python echo_server.py CONFIG`, a JSON object of EngineConfig's fields and `address`. Says
where it listens, and at the end of standard input its counters as JSON.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # when run as a program

from faults.telling import count_end, serve_and_tell
from pyuring import Protocol, Transport

counts: Counter[str] = Counter()


class Echo(Protocol):
    """Writes what it reads, and stops reading while the peer does not take its replies."""

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        count_end(counts, exc)


if __name__ == "__main__":
    serve_and_tell(Echo, counts)
