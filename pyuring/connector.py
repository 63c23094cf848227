"""Outgoing connections: from an address to a socket that the worker's ring connects.

Owns one attempt after the other for the addresses of a name, within one deadline. Never blocks
the loop: names are looked up elsewhere (F41), and connecting is the ring's.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyuring import addresses
from pyuring.config import check_seconds
from pyuring.errors import EngineClosedError

if TYPE_CHECKING:
    from pyuring.addresses import AddressLike, Sockaddr
    from pyuring.worker import Worker

__all__ = ["Connector"]


class Connector:
    """One call of Worker.connect(): tells the protocol factory or `failed`, once."""

    def __init__(
        self,
        worker: Worker,
        protocol_factory: Callable[[], Any],
        address: AddressLike,
        failed: Callable[[OSError], object],
        timeout: float | None,
    ) -> None:
        self._worker = worker
        self._factory = protocol_factory
        self._address = addresses.parse(address)
        if self._address.kind not in ("inet", "unix"):
            raise ValueError(f"{self._address} is nothing to connect to")
        if timeout is not None:
            check_seconds("timeout", timeout)
        self._failed: Callable[[OSError], object] | None = failed
        self._timeout = worker.connect_timeout if timeout is None else timeout
        self._deadline = 0.0
        self._places: list[Sockaddr] = []

    def start(self) -> None:
        """Begin; on the worker's thread, or sent there."""
        if not self._worker.is_current():
            self._worker.call_soon_threadsafe(self.start)
            return
        if self._timeout is not None:
            self._deadline = self._worker.time() + self._timeout
        known = addresses.numeric(self._address)
        if known is not None:
            self._places = [known]
            self._worker.call_soon(self._next, _unreachable(self._address))
            return
        self._worker.lookups.add(self)
        if self._timeout is not None:
            self._worker.call_at(self._deadline, self._lookup_late)
        addresses.resolve_soon(self._address, self._found_elsewhere)

    def give_up(self) -> None:
        """Fail now, because the worker ends; only while a name is looked up."""
        self._fail(OSError(errno.ECONNABORTED, f"{self._address}: the worker has ended"))

    def _found_elsewhere(self, places: list[Sockaddr], error: OSError | None) -> None:
        """Take the resolver's answer, on its thread."""
        try:
            self._worker.call_soon_threadsafe(self._found, places, error)
        except EngineClosedError:
            pass  # give_up() has told the caller

    def _found(self, places: list[Sockaddr], error: OSError | None) -> None:
        self._worker.lookups.discard(self)
        self._places = list(reversed(places))
        self._next(error or _unreachable(self._address))

    def _lookup_late(self) -> None:
        if self in self._worker.lookups:
            self._fail(
                TimeoutError(errno.ETIMEDOUT, f"{self._address}: no answer from the resolver")
            )

    def _next(self, error: OSError) -> None:
        """Try the next address; without one fail with the last error."""
        if self._failed is None:
            return
        if not self._places:
            self._fail(error)
            return
        left = 0
        if self._timeout is not None:
            left = round((self._deadline - self._worker.time()) * 1e9)
            if left <= 0:
                self._fail(TimeoutError(errno.ETIMEDOUT, f"{self._address}: timed out"))
                return
        place = self._places.pop()
        try:
            self._connect(place, left)
        except OSError as problem:
            self._next(problem)
        except Exception as problem:  # whatever it is, the caller hears of it
            self._fail(OSError(errno.EINVAL, f"{self._address}: {problem}"))

    def _connect(self, place: Sockaddr, timeout_ns: int) -> None:
        """Hand a fresh socket to the native worker, which owns it from then on."""
        sock = socket.socket(place.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            if place.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            result = self._worker.connect_socket(
                self._factory, self._attempt_failed, sock.fileno(), place.pack(), timeout_ns
            )
            if result < 0:
                raise OSError(-result, f"{self._address}: {os.strerror(-result)}")
        except BaseException:
            sock.close()
            raise
        sock.detach()

    def _attempt_failed(self, error: OSError) -> None:
        if isinstance(error, OSError) and error.errno is not None:
            error = OSError(error.errno, f"{self._address}: {os.strerror(error.errno)}")
        self._next(error)

    def _fail(self, error: OSError) -> None:
        """Tell the caller, once."""
        self._worker.lookups.discard(self)
        failed, self._failed = self._failed, None
        if failed is None:
            return
        try:
            failed(error)
        except BaseException as problem:
            self._worker.exception(problem, "connect")


def _unreachable(address: addresses.Address) -> OSError:
    return OSError(errno.EADDRNOTAVAIL, f"{address}: the name has no address")
