"""What a supervisor is told: a value, checked once, when it is made.

Owns the defaults. Never reads the environment or the command line.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pyuring.addresses import AddressLike

if TYPE_CHECKING:
    from pyuring.identity import Identity
    from pyuring.supervisor import Supervisor

__all__ = ["SupervisorSettings"]


def _to_stderr(text: str) -> None:
    """Write a line where a server's lines go; nothing where stderr is closed."""
    try:
        sys.stderr.write(f"pyuring: {text}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorSettings:
    """What a supervisor needs to know; all else is the children's command line."""

    bind: list[AddressLike]
    """Where to listen: one to eight addresses, as Engine takes them."""
    processes: int = 1
    workers: int = 1
    """Threads in each process; for the line that says so only."""
    backlog: int = 4096
    reuse_port: bool = False
    max_requests: int = 0
    """A process is replaced after so many requests; 0: never."""
    max_requests_jitter: int = 0
    """Up to so many more, at random, so that processes are not replaced all at once."""
    graceful_timeout: float = 30.0
    """How many seconds a process may take to drain; then what is left is aborted."""
    reload: bool = False
    """Reload when a source file of the application changes; for development."""
    log: Callable[[str], object] = _to_stderr
    """Called with each line that is worth a line, on the main thread."""
    sources: Callable[[], Iterable[str]] = tuple
    """Files that are watched with `reload` besides those that the application imports; asked for
    again and again, so that new ones count."""
    user: Identity | None = None
    """Whom to be once everything that may need root is bound, and the processes with us."""
    bound: Callable[[], object] | None = None
    """Called once when everything is bound, as that user, on the main thread."""
    started: Callable[[Supervisor], object] | None = None
    """Called once with the supervisor when all processes serve, on the main thread."""

    def __post_init__(self) -> None:
        """Check every field; the first wrong one raises ValueError."""
        for name, least in (("processes", 1), ("max_requests", 0), ("max_requests_jitter", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: must be at least {least}, not {getattr(self, name)}")
        if not 0 <= self.graceful_timeout < 1e6:
            raise ValueError(f"graceful_timeout: must be 0 to 1e6, not {self.graceful_timeout}")
        if not 1 <= len(self.bind) <= 8:
            raise ValueError("a server listens on one to eight addresses")
