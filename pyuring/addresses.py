"""Addresses as people write them, as the socket module takes them, and as the kernel reads them.

Owns the spelling (`host:port`, `[v6]:port`, `unix:/path`, `unix:@abstract`, `fd:3`) and the lookup
of names. Never opens a socket that stays, and never looks a name up on the thread of a worker:
a resolver can block for seconds (F41).
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, NamedTuple, Union

__all__ = ["Address", "Sockaddr", "format_sockaddr", "numeric", "parse", "resolve", "resolve_soon"]

# What a caller may give: text, a path-like or socket-module tuple, or a bound socket.
AddressLike = Union[str, tuple[str, int], socket.socket, "Address"]


class Address(NamedTuple):
    """A parsed address: `kind` is "inet", "unix", "fd" or "socket"; unused fields are empty."""

    kind: str
    host: str = ""
    port: int = 0
    path: str = ""
    fd: int = -1
    sock: socket.socket | None = None
    fds: tuple[int, ...] = ()  # of kind "fd": a socket for each worker, all on one address
    shared: bool = False  # processes accept from it side by side: take turns

    def __str__(self) -> str:
        """Return the address as `parse` reads it."""
        if self.kind == "unix":
            return f"unix:{_printable(self.path)}"
        if self.kind == "fd":
            return f"fd:{self.fd}"
        if self.sock is not None:
            return format_sockaddr(self.sock.getsockname())
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Sockaddr(NamedTuple):
    """One resolved address: the family, and what socket.bind() or connect() takes."""

    family: int
    address: Any

    def pack(self) -> bytes:
        """Return the struct sockaddr that the kernel reads (ip(7), ipv6(7), unix(7))."""
        if self.family == socket.AF_UNIX:
            path = os.fsencode(self.address)
            return struct.pack("=H", socket.AF_UNIX) + path + (b"" if path[:1] == b"\0" else b"\0")
        host, port = self.address[:2]
        packed = socket.inet_pton(self.family, host.partition("%")[0])
        if self.family == socket.AF_INET:
            return struct.pack("=H", self.family) + struct.pack("!H", port) + packed + bytes(8)
        flow, scope = self.address[2:4]
        return (
            struct.pack("=H", self.family)
            + struct.pack("!HI", port, flow)
            + packed
            + struct.pack("=I", scope)
        )


def parse(address: AddressLike) -> Address:
    """Return the parts of an address; raise ValueError or TypeError that says what is wrong."""
    if isinstance(address, Address):
        return address
    if isinstance(address, socket.socket):
        return Address("socket", fd=address.fileno(), sock=address)
    if isinstance(address, tuple) and len(address) == 2:
        return Address("inet", _host(address[0]), _port(address[1], address))
    if not isinstance(address, str):
        raise TypeError(f"an address is text, (host, port) or a socket, not {address!r}")
    kind, _, rest = address.partition(":")
    if kind == "unix":
        return Address("unix", path=_path(rest))
    if kind == "fd":
        return Address("fd", fd=_number(rest, "a descriptor", address))
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host or not colon:
        raise ValueError(f"{address!r} is no address: write host:port, [v6]:port or unix:/path")
    return Address("inet", _host(host), _port(_number(port, "a port", address), address))


def format_sockaddr(name: Any) -> str:
    """Return what getsockname() gave, in the spelling that `parse` reads."""
    if isinstance(name, tuple):
        host, port = name[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"unix:{_printable(os.fsdecode(name))}"


def numeric(address: Address) -> Sockaddr | None:
    """Return the socket address when no name must be looked up, None otherwise; never blocks."""
    if address.kind == "unix":
        return Sockaddr(socket.AF_UNIX, address.path)
    if not address.host:
        return Sockaddr(socket.AF_INET, ("0.0.0.0", address.port))
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
    except (socket.gaierror, UnicodeError):
        return None
    return Sockaddr(found[0][0], found[0][4])


def resolve(address: Address) -> list[Sockaddr]:
    """Return every socket address of a name, in the resolver's order; blocks while it looks.

    Raises socket.gaierror, an OSError, that names the host.
    """
    known = numeric(address)
    if known is not None:
        return [known]
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        number = error.errno if isinstance(error, OSError) else socket.EAI_NONAME
        text = getattr(error, "strerror", None) or "not a host name"
        raise socket.gaierror(number, f"{address.host}: {text}") from None
    return [Sockaddr(entry[0], entry[4]) for entry in found]


def resolve_soon(address: Address, done: Callable[[list[Sockaddr], OSError | None], None]) -> None:
    """Look a name up on a helper thread and call `done(addresses, error)` there.

    At most eight names are looked up at a time; further ones wait their turn.
    """
    _lookups.put((address, done))
    with _resolvers_lock:
        _resolvers[:] = [thread for thread in _resolvers if thread.is_alive()]
        if len(_resolvers) < 8:
            thread = threading.Thread(target=_resolve_loop, name="pyuring-resolver", daemon=True)
            _resolvers.append(thread)
            thread.start()


_lookups: SimpleQueue[Any] = SimpleQueue()
_resolvers: list[threading.Thread] = []
_resolvers_lock = threading.Lock()


def _resolve_loop() -> None:
    """Serve lookups until none has come for a second."""
    from queue import Empty

    while True:
        try:
            address, done = _lookups.get(timeout=1.0)
        except Empty:
            return
        try:
            done(resolve(address), None)
        except OSError as error:
            done([], error)


def _host(host: object) -> str:
    if not isinstance(host, str):
        raise TypeError(f"a host is text, not {host!r}")
    return "" if host == "*" else host


def _path(path: str) -> str:
    if not path or path == "@":
        raise ValueError("unix: needs a path: unix:/run/app.socket, or unix:@name (abstract)")
    if "\0" in path:
        raise ValueError(f"{path!r} has a zero byte, where the kernel would cut it off")
    if len(os.fsencode(path)) > 107:
        raise ValueError(f"{path!r} is longer than the 107 bytes that a socket's path may have")
    return "\0" + path[1:] if path.startswith("@") else path


def _printable(path: str) -> str:
    return "@" + path[1:] if path.startswith("\0") else path


def _number(text: str, what: str, address: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{address!r} is no address: {text!r} is not {what}")
    return int(text)


def _port(port: object, address: object) -> int:
    if not isinstance(port, int):
        raise TypeError(f"a port is an integer, not {port!r}")
    if not 0 <= port <= 65535:
        raise ValueError(f"{address!r} is no address: a port is 0 to 65535")
    return port


def _after_fork_in_child() -> None:
    """Start afresh: a child has none of its parent's threads, which may hold the lock."""
    global _lookups, _resolvers_lock
    _lookups, _resolvers_lock = SimpleQueue(), threading.Lock()
    _resolvers.clear()


if sys.platform.startswith("linux"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
