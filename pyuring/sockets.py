"""The listening sockets of a supervisor: one a worker of each process, open as long as it runs.

Owns them all and who gets which. Never accepts. A process that dies leaves its queue behind, and
its successor finds it; meanwhile the kernel is told to fill other queues (decision 0008).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from pyuring import addresses, listeners
from pyuring.addresses import Address, AddressLike
from pyuring.channel import Message
from pyuring.listeners import Listener
from pyuring.steering import steer

__all__ = ["Sockets"]


class Sockets:
    """The sockets of every place. A place's number is that of its slot."""

    def __init__(self, *, workers: int, backlog: int, reuse_port: bool) -> None:
        self._workers = workers
        self._backlog = backlog
        self._reuse_port = reuse_port
        # For each address the sockets in the order of their places and workers, which is that
        # of the kernel's group; where they cannot be several, one that all share.
        self._addresses: list[list[Listener]] = []

    def __str__(self) -> str:
        """Return every address."""
        return " and ".join(str(group[0]) for group in self._addresses)

    @property
    def addresses(self) -> list[str]:
        """Every address that is listened on, with the real port."""
        return [str(group[0]) for group in self._addresses]

    def open(
        self,
        bind: Sequence[AddressLike],
        places: int,
        before_paths: Callable[[], object] | None = None,
    ) -> None:
        """Bind everything; raises OSError, ValueError or TypeError as Engine does.

        `before_paths()` is called once, when Unix sockets alone are left: as root, their paths
        would be followed wherever the owner of the directory has them lead.
        """
        parsed = [addresses.parse(wanted) for wanted in bind]
        opened: list[list[list[Listener]]] = [[] for _ in parsed]  # in the order of `bind`
        for are_paths in (False, True):
            if are_paths and before_paths is not None:
                before_paths()
            for number, wanted in enumerate(parsed):
                if (wanted.kind == "unix") is are_paths:
                    opened[number] = self._bind(wanted, places)
                    self._addresses = [group for each in opened for group in each]
        for listener in self._all():
            listener.limit_blocking()

    def _bind(self, wanted: Address, places: int) -> list[list[Listener]]:
        """Return the sockets of an address, a group for each address that its name stands for."""
        groups = listeners.open_listeners(
            wanted,
            workers=places * self._workers,
            backlog=self._backlog,
            reuse_port=self._reuse_port,
        )
        return [list(dict.fromkeys(several)) for several in zip(*groups, strict=True)]

    def of(self, place: int) -> list[Message]:
        """Return what a process in this place is to serve, for its first message."""
        found = []
        for group in self._addresses:
            shared = not group[0].can_be_joined
            mine = group if shared else group[self._range(place)]
            found.append({"fds": [each.fd for each in mine], "shared": shared})
        return found

    def add(self, place: int) -> None:
        """Bind the sockets of one more place, the next number; OSError when that fails."""
        for group in self._addresses:
            while group[0].can_be_joined and len(group) < (place + 1) * self._workers:
                group.append(group[0].join())
                group[-1].limit_blocking()

    def refuse(self, place: int) -> None:
        """Let nobody new into this place's queues; handshakes under way are finished."""
        for listener in self._own(place):
            listener.refuse()

    def remove(self, place: int) -> None:
        """Close the sockets of the last place, from the end, so that the others keep theirs."""
        for group in self._addresses:
            if group[0].can_be_joined:
                for listener in reversed(group[self._range(place)]):
                    listener.release()
                del group[self._range(place)]

    def steer(self, places: Collection[int]) -> None:
        """Let new connections go to these places; with none, to any, where they wait.

        Not where other servers are let into the group: whose members are numbered is unknown.
        """
        if self._reuse_port:
            return
        for group in self._addresses:
            if len(group) > 1:
                members = [n for n in range(len(group)) if n // self._workers in places]
                steer(group[0].fd, members or range(len(group)))

    def refuse_all(self) -> bool:
        """Let nobody new in anywhere; return whether handshakes may be under way."""
        for listener in self._all():
            listener.refuse()
        return any(listener.has_handshakes for listener in self._all())

    def release(self) -> None:
        """Close everything, and remove the paths of Unix sockets."""
        for listener in self._all():
            listener.release()
        self._addresses = []

    def _range(self, place: int) -> slice:
        return slice(place * self._workers, (place + 1) * self._workers)

    def _own(self, place: int) -> list[Listener]:
        owned = (group for group in self._addresses if group[0].can_be_joined)
        return [listener for group in owned for listener in group[self._range(place)]]

    def _all(self) -> list[Listener]:
        return [listener for group in self._addresses for listener in group]
