"""A connection as the application meets it: asyncio's Transport and Protocol, without asyncio.

Owns `Transport`, the native TransportCore with what is rarely asked for, and the base classes of
protocols. Never imports asyncio: classes written for it run all the same, because the engine
calls methods by name. Everything here belongs to the connection's worker thread; `write`, `close`
and their like may be called from any thread, and then happen in order on the worker's.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["BaseProtocol", "BufferedProtocol", "Protocol", "Transport", "TransportSocket"]

Data = bytes | bytearray | memoryview
_T = TypeVar("_T")

if TYPE_CHECKING:
    from pyuring.worker import Worker

    class TransportCore:
        """The native half (zig/transport_object.zig), for type checkers."""

        __slots__ = ()
        worker: Worker

        @property
        def _extra(self) -> dict[str, Any] | None: ...
        @_extra.setter
        def _extra(self, known: dict[str, Any]) -> None: ...
        def write(self, data: Data) -> None: ...
        def writelines(self, pieces: Iterable[Data]) -> None: ...
        def write_eof(self) -> None: ...
        def can_write_eof(self) -> bool: ...
        def close(self) -> None: ...
        def abort(self) -> None: ...
        def is_closing(self) -> bool: ...
        def pause_reading(self) -> None: ...
        def resume_reading(self) -> None: ...
        def is_reading(self) -> bool: ...
        def get_write_buffer_size(self) -> int: ...
        def get_write_buffer_limits(self) -> tuple[int, int]: ...
        def _set_limits(self, low_high: tuple[int, int]) -> None: ...
        def get_protocol(self) -> Any: ...
        def set_protocol(self, protocol: Any) -> None: ...
        def fileno(self) -> int: ...
        def _dup_elsewhere(self) -> int: ...

else:
    from pyuring._native import TransportCore


class Transport(TransportCore):
    """One connection. Made by the engine, given to `Protocol.connection_made`.

    `write` keeps a reference to a bytes object until it is sent, and copies anything else at
    once. After `close` queued data is still sent; `abort` drops it. When the connection is gone,
    methods that send do nothing, and `fileno` returns -1.
    """

    __slots__ = ()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return something about the connection, or `default` when it is unknown.

        Known: "peername", "sockname" (as socket.getsockname gives them), "socket" (a
        TransportSocket) and "worker". The socket is asked when you first ask (F60), and only
        while the connection is open; what it said is kept for connection_lost and later.
        """
        ask = _EXTRA.get(name)
        if ask is None:
            return default
        known = self._extra or {}
        if name in known:
            return known[name]
        try:
            found = ask(self)
        except OSError:  # the peer has reset the connection, or it is closed
            return default
        if name in ("peername", "sockname"):  # the others, kept, would be a cycle of references
            self._extra = {**known, name: found}
        return default if found is None else found

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set above how many unsent bytes pause_writing() is called, below how many it resumes.

        Left out, `high` is four times `low`, or 64 KiB; `low` is a quarter of `high`.
        """
        if high is None:
            high = 64 * 1024 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not 0 <= low <= high:
            raise ValueError(f"high ({high}) must be at least low ({low}), and low at least 0")
        self._set_limits((low, high))

    def __repr__(self) -> str:
        """Return the descriptor, the peer and the state."""
        fd = self.fileno()
        state = "closed" if fd < 0 else "closing" if self.is_closing() else "open"
        peer = self.get_extra_info("peername")
        return f"<{type(self).__name__} {state} fd={fd} peer={peer!r}>"


class TransportSocket:
    """The socket under a transport, for options and names; reading and writing stay with it."""

    __slots__ = ("_transport",)

    def __init__(self, transport: TransportCore) -> None:
        self._transport = transport

    @property
    def family(self) -> int:
        """The address family."""
        return self._call(lambda sock: sock.family)

    @property
    def type(self) -> int:
        """The socket type, SOCK_STREAM."""
        return self._call(lambda sock: sock.type)

    @property
    def proto(self) -> int:
        """The protocol number."""
        return self._call(lambda sock: sock.proto)

    def fileno(self) -> int:
        """Return the descriptor, -1 once the connection is closed."""
        return self._transport.fileno()

    def getsockname(self) -> Any:
        """Return our own address."""
        return self._call(socket.socket.getsockname)

    def getpeername(self) -> Any:
        """Return the peer's address."""
        return self._call(socket.socket.getpeername)

    def getsockopt(self, *args: int) -> Any:
        """Read a socket option, as socket.getsockopt does."""
        return self._call(lambda sock: sock.getsockopt(*args))

    def setsockopt(self, *args: Any) -> None:
        """Set a socket option, as socket.setsockopt does."""
        self._call(lambda sock: sock.setsockopt(*args))

    def dup(self) -> socket.socket:
        """Return a socket object of its own for the same connection."""
        return self._call(socket.socket.dup)

    def __repr__(self) -> str:
        """Return the descriptor."""
        return f"<TransportSocket fd={self.fileno()}>"

    def _call(self, function: Callable[[socket.socket], _T]) -> _T:
        """Call `function` with a socket object that does not own the descriptor."""
        copy = self._transport._dup_elsewhere()  # where the number may change hands
        fd = self._transport.fileno() if copy == -1 else copy
        if fd < 0:
            raise OSError(errno.EBADF, "the connection is closed")
        sock = socket.socket(fileno=fd)
        try:
            return function(sock)
        finally:
            sock.close() if copy >= 0 else sock.detach()


_EXTRA: dict[str, Callable[[Transport], Any]] = {
    "peername": lambda transport: TransportSocket(transport).getpeername(),
    "sockname": lambda transport: TransportSocket(transport).getsockname(),
    "socket": lambda transport: TransportSocket(transport) if transport.fileno() >= 0 else None,
    "worker": lambda transport: transport.worker,
}


class BaseProtocol:
    """What every protocol may answer to. Methods are called on the connection's worker thread."""

    __slots__ = ()

    def connection_made(self, transport: Transport) -> None:
        """Take note that the connection exists; called first, once."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take note that it is gone; called last, once. None: an orderly end, or our abort."""

    def pause_writing(self) -> None:
        """Stop writing if you can: more is unsent than the high-water mark allows."""

    def resume_writing(self) -> None:
        """Go on writing: what was unsent has fallen to the low-water mark."""


class Protocol(BaseProtocol):
    """A protocol that is given bytes."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """Take the next bytes of the stream; where they are cut means nothing."""

    def eof_received(self) -> bool | None:
        """Take note that the peer writes no more.

        Return True to keep the connection open for writing (F56); otherwise it is closed once
        everything queued is sent.
        """
        return None


class BufferedProtocol(BaseProtocol):
    """A protocol that owns the memory it receives into."""

    __slots__ = ()

    def get_buffer(self, sizehint: int) -> Any:
        """Return a writable buffer for the next bytes; never an empty one."""
        raise NotImplementedError

    def buffer_updated(self, nbytes: int) -> None:
        """Take note that so many bytes were put at the buffer's beginning."""

    def eof_received(self) -> bool | None:
        """Take note that the peer writes no more; as Protocol.eof_received."""
        return None
