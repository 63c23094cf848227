"""The PROXY protocol, versions 1 and 2: what HAProxy and load balancers send before the client.

Owns a parser that takes bytes and gives addresses. Never reads a socket, and never asks for more
bytes than a header can have. After HAProxy's doc/proxy-protocol.txt (2.1, 2.2).
"""

from __future__ import annotations

import ipaddress
import socket
import struct

__all__ = ["MOST_BYTES", "ProxyProtocolError", "parse"]

Place = tuple[str, int] | None

MOST_BYTES = 4096
"""The longest header that is taken; version 2 with its TLVs. Version 1 has 107 bytes at most."""

_MOST_V1 = 107
_V1 = b"PROXY "
_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_HEAD = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0, 1
_SIZES = {0: 0, 1: 12, 2: 36, 3: 216}  # unspec, IPv4, IPv6, Unix


class ProxyProtocolError(ValueError):
    """The bytes are no PROXY header; the connection must be closed without an answer."""


def parse(data: bytes) -> tuple[int, Place, Place] | None:
    """Return (bytes of the header, source, destination), or None when more bytes are needed.

    The places are None where the header names none: LOCAL, UNKNOWN, Unix sockets. Raises
    ProxyProtocolError as soon as the bytes cannot become a header.
    """
    if data[: len(_V1)] == _V1[: len(data)]:
        return _version_1(bytes(data[: _MOST_V1 + 1]))
    if data[: len(_V2)] == _V2[: len(data)]:
        return _version_2(data)
    raise ProxyProtocolError("the connection does not begin with a PROXY header")


def _version_1(data: bytes) -> tuple[int, Place, Place] | None:
    end = data.find(b"\n", 0, _MOST_V1)
    if end < 0:
        if len(data) >= _MOST_V1:
            raise ProxyProtocolError("a PROXY header of version 1 without an end")
        return None
    line = data[: end + 1]
    if not line.endswith(b"\r\n") or not line.isascii():
        raise ProxyProtocolError("a PROXY header of version 1 ends in CRLF")
    words = line[:-2].decode("ascii").split(" ")
    if words[1] == "UNKNOWN":  # the rest of the line must be ignored
        return end + 1, None, None
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise ProxyProtocolError("a PROXY header of version 1 has a protocol and four values")
    wanted = 4 if words[1] == "TCP4" else 6
    source = (_address(words[2], wanted), _port(words[4]))
    return end + 1, source, (_address(words[3], wanted), _port(words[5]))


def _address(text: str, version: int) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or address.version != version or "%" in text:
        raise ProxyProtocolError(f"a PROXY header with {text!r} for an IPv{version} address")
    return str(address)


def _port(text: str) -> int:
    if not text.isdigit() or len(text) > 5 or (text[0] == "0" and text != "0"):
        raise ProxyProtocolError(f"a PROXY header with {text!r} for a port")
    if int(text) > 65535:
        raise ProxyProtocolError(f"a PROXY header with {text!r} for a port")
    return int(text)


def _version_2(data: bytes) -> tuple[int, Place, Place] | None:
    if len(data) > 12 and (data[12] >> 4 != 2 or data[12] & 15 > _PROXY):
        raise ProxyProtocolError("a PROXY header of an unknown version or command")
    if len(data) > 13 and (data[13] >> 4 not in _SIZES or data[13] & 15 > 2):
        raise ProxyProtocolError("a PROXY header of an unknown family or transport")
    if len(data) < _HEAD.size:
        return None
    _, command, family, length = _HEAD.unpack_from(data)
    total = _HEAD.size + length
    if total > MOST_BYTES:
        raise ProxyProtocolError(f"a PROXY header of {total} bytes; {MOST_BYTES} are taken")
    size = _SIZES[family >> 4]
    if command & 15 == _PROXY and length < size:
        raise ProxyProtocolError("a PROXY header shorter than its addresses")
    if len(data) < total:
        return None
    if command & 15 == _LOCAL:
        return total, None, None
    _check_extras(bytes(data[_HEAD.size + size : total]) if family >> 4 else b"")
    # UNSPEC as family or transport: whatever addresses there are must be ignored.
    if not family & 15 or family >> 4 not in (1, 2):
        return total, None, None
    kind = socket.AF_INET if family >> 4 == 1 else socket.AF_INET6
    half = (size - 4) // 2
    at = _HEAD.size
    source, destination = data[at : at + half], data[at + half : at + 2 * half]
    ports = struct.unpack_from("!HH", data, at + 2 * half)
    return (
        total,
        (socket.inet_ntop(kind, source), ports[0]),
        (socket.inet_ntop(kind, destination), ports[1]),
    )


def _check_extras(data: bytes) -> None:
    """Raise unless the type-length-value records fill the rest exactly."""
    at = 0
    while at < len(data):
        if len(data) - at < 3:
            raise ProxyProtocolError("a PROXY header whose records do not fill it")
        at += 3 + int.from_bytes(data[at + 1 : at + 3], "big")
    if at != len(data):
        raise ProxyProtocolError("a PROXY header whose records do not fill it")
