"""Listening sockets: bound, handed over by a service manager, stopped without losing anybody.

Owns a `Listener` for each socket that a worker accepts from. Never accepts a connection itself:
the worker's ring does.

Stopping without a reset (F23, F24, F59) takes three steps, in this order:
 1. `refuse()`: nobody new gets in. TCP: a socket filter drops SYN segments, while handshakes
    under way are finished; a SYN that is dropped is sent again a second later, and finds the
    port closed or another listener. Unix: the path is removed.
 2. The ring goes on accepting until `waiting()` says that the queue is empty, then its accept
    is cancelled and its completion awaited: a closed listener with an armed accept stays in
    its SO_REUSEPORT group as a phantom.
 3. `close()` puts a placeholder under the same descriptor number, so that the ring's listener
    can be revived by `reopen()` on the same address.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import stat
import struct
import time
from collections.abc import Sequence
from typing import Any

from pyuring import addresses
from pyuring.addresses import Address, Sockaddr

__all__ = ["Listener", "handed_over", "inherited", "open_listeners", "release_all"]

_BIND_SECONDS = 1.0  # F57: how long a predecessor's port may still be busy
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_FIRST_INHERITED = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h; not in the socket module

# A classic BPF program (linux/filter.h): (code, jump if true, jump if false, constant).
# A = byte 13 of the TCP header; A &= SYN|ACK; drop when A == SYN, else keep the whole segment.
_DROP_SYN = (
    (0x30, 0, 0, 13),
    (0x54, 0, 0, 0x12),
    (0x15, 0, 1, 0x02),
    (0x06, 0, 0, 0),
    (0x06, 0, 0, 0xFFFFFFFF),
)


class Listener:
    """One listening socket. Made by `open_listeners`; used by one thread at a time."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        owned: bool,
        backlog: int,
        reuse_port: bool = False,
        borrowed: socket.socket | None = None,
    ) -> None:
        """Take a listening socket; one that is not `owned` is never filtered nor closed."""
        self._sock = sock
        self._owned = owned
        self._backlog = backlog
        self._reuse_port = reuse_port
        self._borrowed = borrowed  # keeps a caller's socket object alive
        self.name: Any = sock.getsockname()
        # Opened now, because `close` must not need a descriptor: there may be none left (F21).
        self._placeholder = socket.socket(sock.family, socket.SOCK_STREAM) if owned else None
        self.sharers = 1  # who accept from this very socket: workers, of other processes too
        self.closed = False
        self._inode = self._file_id()

    @property
    def fd(self) -> int:
        """The descriptor, the same one for the listener's whole life."""
        return self._sock.fileno()

    @property
    def family(self) -> int:
        """The socket's address family."""
        return self._sock.family

    def __str__(self) -> str:
        """Return the address, the real port included."""
        return addresses.format_sockaddr(self.name)

    @property
    def has_handshakes(self) -> bool:
        """Whether a peer may be shaking hands now, which takes a while to show in the queue."""
        return self._owned and not self.closed and self.family != socket.AF_UNIX

    def refuse(self) -> None:
        """Let nobody new in; those who are in the queue, or shaking hands, stay (step 1).

        Where the filter is refused they are let in until `close`: a kindness is not done.
        """
        if self.closed or not self._owned:
            return
        if self.family == socket.AF_UNIX:
            self._unlink()
        else:
            with contextlib.suppress(OSError):
                _attach_filter(self._sock)

    def waiting(self) -> bool:
        """Return whether a connection waits in the queue of a listener that is to be closed."""
        if self.closed or not self._owned:
            return False
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return bool(poll.poll(0))

    def limit_blocking(self) -> None:
        """Let a blocking accept(2) give up after a moment, for a queue that others empty too.

        Whoever empties it looks first, and would wait for ever for a connection that another
        has taken meanwhile. Accepted sockets inherit the time; they are non-blocking.
        """
        moment = struct.pack("@ll", 0, 1000)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, moment)

    def join(self) -> Listener:
        """Return one more listener on the same TCP address; the kernel shares connections out."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._reuse_port = True
        sock = _bind(Sockaddr(self.family, self.name), self._backlog, True, True)
        return Listener(sock, owned=True, backlog=self._backlog, reuse_port=True)

    @property
    def can_be_joined(self) -> bool:
        """Whether `join` works: a TCP socket of our own."""
        return self._owned and self.family != socket.AF_UNIX

    def close(self) -> None:
        """Stop listening, keeping the descriptor's number (step 3); again is nothing."""
        if self.closed or self._placeholder is None:
            return
        self.closed = True
        os.dup2(self._placeholder.fileno(), self.fd, inheritable=False)

    def reopen(self) -> None:
        """Listen again on the same address after `close`; raises OSError when it is taken."""
        if not self.closed:
            return
        wanted = Sockaddr(self.family, self.name)
        fresh = _bind(wanted, self._backlog, self._reuse_port, self._reuse_port)
        os.dup2(fresh.fileno(), self.fd, inheritable=False)
        fresh.close()
        self.closed = False
        self._inode = self._file_id()

    def release(self) -> None:
        """Give everything back: the socket, and the path of a Unix socket."""
        if self._owned:
            self._unlink()
        self.forget()
        if self._borrowed is not None:
            self._sock.detach()

    def forget(self) -> None:
        """Close the descriptors only; for a forked child, which must not unlink nor filter."""
        if self._placeholder is not None:
            self._placeholder.close()
        if self._borrowed is None:
            self._sock.close()

    def _file_id(self) -> tuple[int, int] | None:
        """Return the identity of a Unix socket's file; None for other sockets."""
        if not self._owned or self.family != socket.AF_UNIX or self.name[:1] in ("", "\0", b"\0"):
            return None
        found = os.stat(self.name)
        return found.st_dev, found.st_ino

    def _unlink(self) -> None:
        """Remove the path, unless a successor has put its own socket there, or we may not."""
        if self._inode is None:
            return
        with contextlib.suppress(OSError):  # gone, or privileges were dropped: not worth a stop
            found = os.stat(self.name)
            if (found.st_dev, found.st_ino) == self._inode:
                os.unlink(self.name)
        self._inode = None


def open_listeners(
    address: Address, *, workers: int, backlog: int, reuse_port: bool
) -> list[list[Listener]]:
    """Bind `address` for every worker: one list of listeners a worker.

    TCP: each worker has a socket of its own in one SO_REUSEPORT group; the first binds, the
    others join its port (F25). Unix and inherited sockets are shared. A busy address is tried
    again for a second (F57); then OSError names it. Name lookup may block.
    """
    if address.fds:
        adopted = [_adopt(Address("fd", fd=each), backlog) for each in address.fds]
        return [[adopted[index % len(adopted)]] for index in range(workers)]
    if address.kind in ("fd", "socket"):
        return _share(_adopt(address, backlog), workers, others=address.shared)
    if address.kind == "unix":
        _remove_stale(address.path)
        sock = _bind(Sockaddr(socket.AF_UNIX, address.path), backlog, False, False)
        _open_to_all(address.path)
        return _share(Listener(sock, owned=True, backlog=backlog), workers)
    found = addresses.resolve(address)
    for _ in range(10):
        try:
            return _open_groups(found, address.port, workers, backlog, reuse_port)
        except OSError as error:
            # The port that the first address was given may be taken on the second.
            if address.port or len(found) == 1 or error.errno != errno.EADDRINUSE:
                raise
            refusal = error
    raise refusal


def release_all(groups: Sequence[Sequence[Listener]]) -> None:
    """Release each listener of every worker once."""
    for listener in {id(each): each for group in groups for each in group}.values():
        listener.release()


def handed_over() -> range:
    """Return the descriptors that a service manager gave this process (sd_listen_fds(3))."""
    pid, count = os.environ.get("LISTEN_PID", ""), os.environ.get("LISTEN_FDS", "")
    ours = pid == str(os.getpid()) and count.isascii() and count.isdigit()
    return range(_FIRST_INHERITED, _FIRST_INHERITED + (int(count) if ours else 0))


def inherited() -> list[Address]:
    """Return the sockets that a service manager handed over, if any, to be listened on.

    Takes LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES out of the environment, so that children
    do not take them for theirs, and marks the descriptors close-on-exec. Raises OSError where
    one is not open.
    """
    fds = handed_over()
    if not fds:
        return []
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    for fd in fds:
        try:
            os.set_inheritable(fd, False)
        except OSError as error:
            what = f"LISTEN_FDS is {len(fds)}, but descriptor {fd} is not open"
            raise OSError(error.errno, what) from None
    return [Address("fd", fd=fd) for fd in fds]


def _open_groups(
    found: Sequence[Sockaddr], port: int, workers: int, backlog: int, reuse_port: bool
) -> list[list[Listener]]:
    """Bind every address of a name for every worker, all on one port."""
    groups: list[list[Listener]] = [[] for _ in range(workers)]
    try:
        for wanted in found:
            place = Sockaddr(wanted.family, (wanted.address[0], port, *wanted.address[2:]))
            try:
                port = _open_group(groups, place, backlog, reuse_port)
            except OSError as error:
                # `localhost` also means ::1, which a machine without IPv6 does not have.
                if error.errno not in _NOT_HERE or (wanted is found[-1] and not groups[0]):
                    raise
    except BaseException:
        release_all(groups)
        raise
    return groups


def _open_group(
    groups: list[list[Listener]], place: Sockaddr, backlog: int, reuse_port: bool
) -> int:
    """Bind one socket a worker to `place` and return the port."""
    shared = reuse_port or len(groups) > 1
    for group in groups:
        # The first bind is exclusive, so that another server's group is not joined by mistake.
        first = group is groups[0]
        sock = _bind(place, backlog, shared, reuse_port or not first)
        group.append(Listener(sock, owned=True, backlog=backlog, reuse_port=shared))
        place = Sockaddr(place.family, sock.getsockname())
    return int(place.address[1])


def _share(listener: Listener, workers: int, others: bool = False) -> list[list[Listener]]:
    """Give one listener to every worker; `others` are further processes that accept from it."""
    listener.sharers = workers + (1 if others else 0)
    if listener.sharers > 1:
        listener.limit_blocking()
    return [[listener] for _ in range(workers)]


def _open_to_all(path: str) -> None:
    """Let every user connect, as other servers do: a proxy runs as another user than we.

    Who must not is kept out by the directory. Connecting takes write permission (unix(7)).
    """
    if not path.startswith("\0"):
        os.chmod(path, 0o666)


def _bind(place: Sockaddr, backlog: int, shared: bool, join: bool) -> socket.socket:
    """Return a listening socket; `shared` lets others join it, `join` lets it join others."""
    deadline = time.monotonic() + _BIND_SECONDS
    while True:
        sock = socket.socket(place.family, socket.SOCK_STREAM)
        try:
            _prepare(sock, join)
            sock.bind(place.address)
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.listen(backlog)
            return sock
        except OSError as error:
            sock.close()
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                name = addresses.format_sockaddr(place.address)
                raise OSError(error.errno, f"cannot listen on {name}: {error.strerror}") from None
        time.sleep(0.02)


def _prepare(sock: socket.socket, join: bool) -> None:
    """Set the options that must stand before bind; accepted sockets inherit TCP_NODELAY."""
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if join:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _adopt(address: Address, backlog: int) -> Listener:
    """Take a socket that somebody else made: by descriptor number, or as an object."""
    try:
        sock = socket.socket(fileno=os.dup(address.fd) if address.sock else address.fd)
    except OSError as error:
        raise OSError(error.errno, f"{address} is not a socket: {error.strerror}") from None
    if sock.type != socket.SOCK_STREAM:
        sock.detach()
        raise ValueError(f"{address} is not a stream socket")
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.listen(backlog)
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Listener(sock, owned=False, backlog=backlog)


def _remove_stale(path: str) -> None:
    """Remove the socket file that a dead server left; raise when the path is in use."""
    if path.startswith("\0"):
        return
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        text = f"cannot listen on unix:{path}: {error.strerror}"
        raise OSError(error.errno, text) from None
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EADDRINUSE, f"cannot listen on unix:{path}: it is a file")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:
            pass  # its queue is full: somebody listens
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, f"cannot listen on unix:{path}: another process does")


def _attach_filter(sock: socket.socket) -> None:
    """Make a TCP listener drop new SYN segments (socket(7), SO_ATTACH_FILTER)."""
    import array

    code = b"".join(struct.pack("=HBBI", *line) for line in _DROP_SYN)
    memory = array.array("B", code)
    program = struct.pack("@HP", len(_DROP_SYN), memory.buffer_info()[0])
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
