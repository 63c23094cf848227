"""A request's body while it comes: fed by the worker's thread, read by another one as a file.

Owns the blocks in between and the waiting for more. Never holds more than the native side sends
ahead (256 KiB) besides what a single read asked for, and never reads once the exchange is over.

Some facts about waiting for more: native code stops reading from the client when that much has
gone up since it was last asked for more. So a reader asks (`want`, on the worker's thread) when it
begins, and whenever it has taken a good part of that since; then it never waits in vain.
"""

from __future__ import annotations

import io
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyuring.errors import ClientDisconnectedError, ForkedError

if TYPE_CHECKING:
    from pyuring._ring_types import Bell
else:
    from pyuring._native import Bell

__all__ = ["BodyStream"]

_ASK_AFTER = 64 * 1024
_ALL = 1 << 62


class BodyStream(io.BufferedIOBase):
    """A file that blocks until what was asked for has come; for one reader at a time.

    Raises ClientDisconnectedError when the client has gone before the end of the body, and
    ValueError once the reply is complete; ForkedError in a child, where nothing comes any more.
    """

    def __init__(
        self,
        ask: Callable[[int], object],
        ask_and_wait: Callable[[Bell, int], object] | None = None,
    ) -> None:
        """`ask(needed)` has more sent up, from any thread; `ask_and_wait(bell, needed)` waits too.

        `needed` is the number of bytes that the reader waits for.
        """
        self._ask = ask
        self._ask_and_wait = ask_and_wait or self._ask_then_wait
        self._lock = threading.Lock()
        self._changed = Bell()
        self._process = os.getpid()
        self._came: list[bytes] = []  # with the lock: fed and not taken
        self._complete = False
        self._failure: BaseException | None = None
        self._over = False
        self._pieces: deque[bytes] = deque()  # the reader's: taken and not read
        self._at = 0  # within the first piece
        self._have = 0
        self._taken = _ASK_AFTER  # since it last asked; the first time it always does

    # --- the worker's thread ---------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Add what has come."""
        with self._lock:
            self._came.append(data)
        self._changed.ring()

    def finish(self) -> None:
        """Take note that the body is complete."""
        self._complete = True
        self._changed.ring()

    def fail(self, cause: BaseException | None) -> None:
        """Take note that the client has gone: the reader is told when it has read what came."""
        if not self._complete:
            self._failure = cause or ConnectionResetError("the connection was closed")
        self._ask = _nothing
        self._ask_and_wait = _wait
        self._changed.ring()

    def end_exchange(self) -> None:
        """Take note that the reply is complete: reading is an error from now on."""
        with self._lock:
            self._over = True
            self._came.clear()
        self._ask = _nothing  # it holds the request, which holds this: no ring of references
        self._ask_and_wait = _wait
        self._changed.ring()

    # --- the reader's ----------------------------------------------------------------------

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return `size` bytes, fewer only at the end; all to the end if it is None or negative."""
        if size is None or size < 0:
            while self._more(_ALL):
                pass
            return self._cut(self._have)
        while self._have < size and self._more(size - self._have):
            pass
        return self._cut(min(size, self._have))

    def read1(self, size: int = -1, /) -> bytes:
        """Return what is there, at least a byte and at most `size`; b"" at the end."""
        if not self._have and size != 0:
            self._more()
        if size < 0:
            size = self._have
        return self._cut(min(size, self._have))

    def readinto(self, buffer: Any, /) -> int:
        """Fill `buffer`, less only at the end; return the number of bytes."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def readinto1(self, buffer: Any, /) -> int:
        """Put what is there into `buffer`; return the number of bytes."""
        view = memoryview(buffer).cast("B")
        data = self.read1(len(view))
        view[: len(data)] = data
        return len(data)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the bytes to the next line feed, it included, or `size` of them."""
        limit = -1 if size is None or size < 0 else size
        parts: list[bytes] = []
        length = 0
        while length != limit and (self._have or self._more()):
            piece, start = self._pieces[0], self._at
            stop = len(piece) if limit < 0 else min(len(piece), start + limit - length)
            found = piece.find(b"\n", start, stop)
            part = self._cut((stop if found < 0 else found + 1) - start)
            parts.append(part)
            length += len(part)
            if found >= 0:
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_at_most(self, limit: int) -> bytes | None:
        """Return all to the end, or None as soon as that is more than `limit` bytes."""
        while self._more(limit + 1 - self._have):
            if self._have > limit:
                return None
        return self._cut(self._have) if self._have <= limit else None

    def _more(self, needed: int = 1) -> bool:
        """Take all that has come, waiting for it; return False at the end of the body.

        `needed` is what the caller cannot go on without: it may well be waited for.
        """
        if not self._complete and os.getpid() != self._process:
            raise ForkedError("the body comes to the parent process (F20)")
        if self._over:
            raise ValueError("the body cannot be read any more: the reply is complete")
        asks = self._taken >= _ASK_AFTER and not self._complete
        if asks and self._came:
            asks, self._taken = False, 0
            self._ask(1)
        while True:
            # Looked at before what came: the last piece comes before the end.
            complete, failure = self._complete, self._failure
            came = self._take()
            if came:
                break
            if self._over:
                raise ValueError("the body cannot be read any more: the reply is complete")
            if complete:
                return False
            if failure is not None:
                raise ClientDisconnectedError(
                    "the client has gone before the end of its body"
                ) from failure
            if asks:
                asks, self._taken = False, 0
                self._ask_and_wait(self._changed, needed)
            else:
                self._changed.wait()
        self._pieces.extend(came)
        length = sum(map(len, came))
        self._have += length
        self._taken += length
        return True

    def _ask_then_wait(self, bell: Bell, needed: int) -> None:
        self._ask(needed)
        bell.wait()

    def _take(self) -> list[bytes]:
        with self._lock:
            came, self._came = self._came, []
        return came

    def _cut(self, size: int) -> bytes:
        """Take `size` bytes, which are there, off the front."""
        if not size:
            return b""
        pieces, at = self._pieces, self._at
        self._have -= size
        first = pieces[0]
        if len(first) - at >= size:
            return self._cut_first(first, at, size)
        parts: list[bytes | memoryview] = []
        while size:
            piece = pieces[0]
            left = len(piece) - at
            if left <= size:
                parts.append(memoryview(piece)[at:] if at else piece)
                pieces.popleft()
                at = 0
                size -= left
            else:
                parts.append(memoryview(piece)[:size] if not at else memoryview(piece)[at:][:size])
                at += size
                size = 0
        self._at = at
        return b"".join(parts)

    def _cut_first(self, first: bytes, at: int, size: int) -> bytes:
        """Take `size` bytes off the first piece, which has them."""
        end = at + size
        if end == len(first):
            self._pieces.popleft()
            self._at = 0
            return first[at:] if at else first
        self._at = end
        return first[at:end]


def _nothing(_: int) -> None:
    """Stand in for what is let go of."""


def _wait(bell: Bell, _: int) -> None:
    bell.wait()
