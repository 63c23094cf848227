"""The server of the churn tests: each connection says how it is to be ended, and goes on sending.

Run as `python churn_server.py CONFIG`, a JSON object of EngineConfig's fields. Says where it
listens, and at the end of standard input its counters as JSON. Every frame of a connection ends
with the tag that its first one had: another's bytes are noticed.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections import Counter
from pathlib import Path
from queue import SimpleQueue

sys.path.insert(0, str(Path(__file__).parent.parent))  # when run as a program

from faults.telling import count_end, serve_and_tell
from pyuring import BufferedProtocol, Protocol, Transport

FRAME = 17  # how to end, and the tag
counts: Counter[str] = Counter()
others: SimpleQueue[Conversation] = SimpleQueue()


def reply_to(tag: bytes) -> bytes:
    """Return what the owner of this tag is sent: from 32 bytes to some 16 KiB."""
    return hashlib.sha256(tag).digest() * (1 + tag[0] * 2)


class Conversation:
    """What both kinds of protocol do with the bytes."""

    transport: Transport

    def __init__(self) -> None:
        self.input = b""
        self.tag = b""

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport

    def took(self, data: bytes) -> None:
        self.input += data
        while len(self.input) >= FRAME:
            frame, self.input = self.input[:FRAME], self.input[FRAME:]
            if not self.tag:
                self.tag = frame[1:]
                counts["requests"] += 1
                self.answer(frame[:1])
            elif frame[1:] == self.tag:
                counts["late"] += 1
            else:
                counts["foreign"] += 1

    def answer(self, how: bytes) -> None:
        if how == b"t":  # asked of another thread, whose call wakes the worker
            others.put(self)
            return
        self.write()
        if how == b"c":
            self.transport.close()
        elif how == b"a":
            self.transport.abort()
        elif how == b"p":
            self.transport.pause_reading()
            self.transport.worker.call_later(0.02, self.transport.abort)

    def write(self) -> None:
        reply = memoryview(reply_to(self.tag))
        for start in range(0, len(reply), 5000):
            self.transport.write(reply[start : start + 5000])

    def connection_lost(self, exc: BaseException | None) -> None:
        count_end(counts, exc)


class Plain(Conversation, Protocol):
    """Reads into the worker's buffers."""

    def data_received(self, data: bytes) -> None:
        self.took(data)


class Buffered(Conversation, BufferedProtocol):
    """Reads into memory of its own, which goes away with the connection."""

    def get_buffer(self, size_hint: int) -> bytearray:
        self.memory = bytearray(16384)
        return self.memory

    def buffer_updated(self, count: int) -> None:
        self.took(bytes(self.memory[:count]))


def make() -> Conversation:
    counts["made"] += 1
    return Buffered() if counts["made"] % 2 else Plain()


def wake_up() -> None:
    """Call back from a thread that is not the worker's."""
    while True:
        one = others.get()
        one.transport.worker.call_soon_threadsafe(one.write)


if __name__ == "__main__":
    threading.Thread(target=wake_up, daemon=True).start()
    serve_and_tell(make, counts)
