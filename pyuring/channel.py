"""What a parent and its child process say to each other: small messages on a socket pair.

Owns one end of the pair. Never waits unless it is asked to, and never lets the end slip into a
further process: the end of one side is how the other knows that it is gone.
"""

from __future__ import annotations

import json
import socket
from typing import Any

__all__ = ["Channel", "Message"]

Message = dict[str, Any]

_LARGEST = 1 << 16


class Channel:
    """One end of a pair. A message is a dict of what JSON knows, at most 64 KiB of it."""

    def __init__(self, sock: socket.socket) -> None:
        """Take a connected SOCK_SEQPACKET socket, which keeps the borders between messages."""
        self._sock = sock

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """Return the parent's end, and the socket that becomes the child's."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), theirs

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._sock.fileno()

    def send(self, message: Message, *, wait: bool = True) -> bool:
        """Send a message; False when the other side is gone, or, unless `wait`, does not read."""
        flags = 0 if wait else socket.MSG_DONTWAIT
        try:
            self._sock.send(json.dumps(message).encode(), flags | socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def receive(self, *, wait: bool = True) -> Message | None:
        """Return the next message, or None when the other side is gone.

        Raises BlockingIOError when there is none yet and `wait` is False.
        """
        try:
            data = self._sock.recv(_LARGEST, 0 if wait else socket.MSG_DONTWAIT)
        except ConnectionError:
            return None
        if not data:
            return None
        message: Message = json.loads(data)
        return message

    def close(self) -> None:
        """Close this end; again is nothing."""
        self._sock.close()
