"""A chat room: each line goes to everybody else. `pyuring serve examples.chat:Chat`.

Connections live on the threads of several workers; `write` may be called from any of them.
"""

from __future__ import annotations

import threading

from pyuring import Protocol, Transport

LONGEST_LINE = 4096
SLOWEST_QUEUE = 256 * 1024


class Room:
    """Who is here. Joined and left on any worker's thread, so the set is copied, never changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._members: frozenset[Chat] = frozenset()

    def join(self, member: Chat) -> None:
        with self._lock:
            self._members |= {member}

    def leave(self, member: Chat) -> None:
        with self._lock:
            self._members -= {member}

    def say(self, text: str, speaker: Chat | None = None) -> None:
        data = text.encode() + b"\n"
        for member in self._members:
            if member is not speaker:
                member.tell(data)


ROOM = Room()


class Chat(Protocol):
    """One person in the room."""

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        self.partial = b""
        self.name = str(transport.get_extra_info("peername") or "somebody")
        ROOM.join(self)
        self.tell(f"* welcome, {self.name}\n".encode())
        ROOM.say(f"* {self.name} is here", self)

    def data_received(self, data: bytes) -> None:
        *lines, self.partial = (self.partial + data).split(b"\n")
        if len(self.partial) > LONGEST_LINE:
            self.transport.abort()
        for line in lines:
            ROOM.say(f"{self.name}: {line.decode(errors='replace').rstrip()}", self)

    def connection_lost(self, exc: BaseException | None) -> None:
        ROOM.leave(self)
        ROOM.say(f"* {self.name} is gone")

    def tell(self, data: bytes) -> None:
        """Send a line; whoever does not read for too long is shown out, the others go on."""
        if self.transport.get_write_buffer_size() > SLOWEST_QUEUE:
            self.transport.abort()
        else:
            self.transport.write(data)
