"""Structs that socket operations take: addresses as bytes, and the message of sendmsg(2).

Owns the memory of a Message's header. Never opens, resolves or connects anything: a host is an
address in numbers, as inet_pton(3) reads it.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyuring._ring_types import Buffer

__all__ = ["Message", "pack_address", "pack_numbers", "unpack_address"]

_NATIVE = "="
_HEADER = 56  # struct msghdr: name, namelen, iov, iovlen, control, controllen, flags


def pack_numbers(layout: str, *values: Any) -> bytes:
    """Return struct.pack's bytes; a number that does not fit is a ValueError, no number TypeError.

    struct.error is neither, and says less (F53).
    """
    try:
        return struct.pack(layout, *values)
    except struct.error as error:
        wrong = [value for value in values if not hasattr(value, "__index__")]
        if any(not isinstance(value, bytes) for value in wrong):
            raise TypeError(f"must be a whole number, not {wrong[0]!r}") from None
        raise ValueError(f"a number does not fit its field: {error}") from None


def _unpacked(layout: str, data: Buffer, offset: int = 0) -> tuple[Any, ...]:
    """Return struct.unpack_from's fields; memory that is too short is a ValueError."""
    try:
        return struct.unpack_from(layout, data, offset)
    except struct.error:
        raise ValueError(f"{layout!r} at {offset} lies behind the end of the memory") from None


def pack_address(address: tuple[object, ...] | str | bytes | os.PathLike[str]) -> bytes:
    """Return the sockaddr for (host, port), (host, port, flow, scope), or a Unix socket's path.

    A host in numbers only: nothing is looked up. A path that begins with a zero byte is abstract.
    """
    if isinstance(address, tuple):
        return _pack_internet(*address)
    path = os.fsencode(address)
    if len(path) > 107:
        raise ValueError("a Unix socket's path has at most 107 bytes")
    end = b"" if path.startswith(b"\0") else b"\0"
    return struct.pack(f"{_NATIVE}H", socket.AF_UNIX) + path + end


def _pack_internet(host: object, port: object, flow: object = 0, scope: object = 0) -> bytes:
    if not isinstance(host, str) or not isinstance(port, int):
        raise TypeError("an address is (host: str, port: int[, flow: int, scope: int])")
    if not 0 <= port <= 65535:
        raise ValueError("a port is between 0 and 65535")
    if ":" not in host:
        family, packed = socket.AF_INET, socket.inet_pton(socket.AF_INET, host or "0.0.0.0")
        return struct.pack(f"{_NATIVE}H", family) + struct.pack("!H4s8x", port, packed)
    packed = socket.inet_pton(socket.AF_INET6, host)
    head = struct.pack(f"{_NATIVE}H", socket.AF_INET6) + pack_numbers("!HI16s", port, flow, packed)
    return head + pack_numbers(f"{_NATIVE}I", scope)


def unpack_address(data: Buffer) -> tuple[str, int] | tuple[str, int, int, int] | bytes:
    """Return what pack_address() took from a sockaddr that the kernel wrote.

    A Unix socket's name comes as bytes, up to its first zero byte (abstract: after the first).
    """
    raw = bytes(data)
    (family,) = _unpacked(f"{_NATIVE}H", raw)
    if family == socket.AF_INET:
        port, packed = _unpacked("!H4s", raw, 2)
        return socket.inet_ntop(socket.AF_INET, packed), port
    if family == socket.AF_INET6:
        port, flow, packed = _unpacked("!HI16s", raw, 2)
        (scope,) = _unpacked(f"{_NATIVE}I", raw, 24)
        return socket.inet_ntop(socket.AF_INET6, packed), port, flow, scope
    if family == socket.AF_UNIX:
        name = raw[2:]
        end = name.find(b"\0", 1)
        name = name if end < 0 else name[:end]
        return b"" if name == b"\0" else name  # an unnamed socket
    raise ValueError(f"address family {family} is not IPv4, IPv6 or Unix")


class Message:
    """What sendmsg(2) and recvmsg(2) take: buffers, an address, ancillary data.

    To receive, each is memory to be written (bytearray); afterwards `flags`, `address_length` and
    `control_length` say what came. A message may be in flight once at a time.
    """

    __slots__ = ("address", "buffers", "control", "header")

    def __init__(
        self,
        buffers: Sequence[Buffer] = (),
        address: Buffer | None = None,
        control: Buffer | None = None,
    ) -> None:
        self.buffers = buffers
        self.address = address
        self.control = control
        self.header = bytearray(_HEADER)

    @property
    def address_length(self) -> int:
        """Bytes of the address that the kernel wrote."""
        return int(_unpacked(f"{_NATIVE}I", self.header, 8)[0])

    @property
    def control_length(self) -> int:
        """Bytes of ancillary data that the kernel wrote."""
        return int(_unpacked(f"{_NATIVE}Q", self.header, 40)[0])

    @property
    def flags(self) -> int:
        """MSG_TRUNC, MSG_CTRUNC and others, as the kernel left them."""
        return int(_unpacked(f"{_NATIVE}I", self.header, 48)[0])
