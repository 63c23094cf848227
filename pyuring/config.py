"""Every limit of an engine: its default, its unit, and why it is there.

Owns `EngineConfig`, a value that is checked once, when it is made. Never reads the environment,
and asks the kernel nothing: what is refused here is refused on every machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyuring.tiers import TierStrategy

__all__ = ["EngineConfig", "ExceptionHook"]

# Called with the exception, where it came from ("data_received", "call_later" …), and whose it is:
# the transport of the connection that is closed for it, the Request that a handler had, or None.
ExceptionHook = Callable[[BaseException, str, Any], None]

KIB, MIB = 1024, 1024 * 1024
TIER_NAMES = ("auto", "none", "base", "mid", "high", "optional")

_MOST_ENTRIES = 32768  # IORING_MAX_ENTRIES
_MOST_BUFFERS = 32768  # a buffer ring's id has 16 bits, its size at most 15 (io_uring_register(2))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """What an engine may use, and when it gives up. Times are seconds, sizes are bytes.

    Frozen: make a changed copy with `dataclasses.replace`. Wrong values raise ValueError or
    TypeError that name the field.
    """

    workers: int = 1
    """Threads, each with its own ring and its own listener. One a core that may be used."""

    tier: str | TierStrategy = "auto"
    """The way to use the ring. A name asks for a tier (none, which is epoll, base, mid, high or
    optional), and gets a lower one where the kernel refuses; "auto" is what the environment
    variable PYURING_TIER names, or else the best this kernel has short of SQPOLL. A strategy of
    one's own is taken as it is."""

    ring_entries: int = 1024
    """Submissions that one system call can carry, a worker. A power of two; memory: 64 B each."""

    cq_entries: int | None = None
    """Completions that can wait, a worker; None is four times `ring_entries`, because multishot
    operations complete often. A power of two."""

    sqpoll_cpu: int | None = None
    """The CPU of the submission thread; None leaves it to the scheduler. Tier OPTIONAL only."""

    buffer_count: int = 128
    """Receive buffers that all connections of a worker share. A power of two."""

    buffer_size: int = 16 * KIB
    """The size of one: what a single data_received gives at most, unless more lies in the socket:
    then up to 128 KiB."""

    max_connections: int = 16384
    """Connections a worker keeps open. Further ones wait in the backlog until one ends; those
    that the kernel had accepted already are closed and counted as refused."""

    backlog: int = 4096
    """Connections that wait in the kernel to be accepted; net.core.somaxconn caps it."""

    reuse_port: bool = False
    """Let other processes listen on the same port (SO_REUSEPORT). Workers share it anyway."""

    idle_timeout: float | None = None
    """Close a connection after so long without a byte in either direction. None: never."""

    write_timeout: float | None = 60.0
    """Abort a connection whose peer has taken no byte of a waiting reply for so long."""

    linger_timeout: float = 2.0
    """After close(): how long the peer may still send before the socket goes away, so that the
    last reply is not lost to a reset (F40)."""

    connect_timeout: float | None = 30.0
    """How long Worker.connect() tries, every address of a name together."""

    write_high_water: int = 64 * KIB
    """Above so many unsent bytes a protocol's pause_writing() is called …"""

    write_low_water: int = 16 * KIB
    """… and below so many its resume_writing()."""

    send_queue_pause: int = 1 * MIB
    """Above so many unsent bytes in memory (those of files are not) the engine stops reading from
    that connection: a peer that does not take its replies gets no further requests served. 0: it
    goes on reading."""

    send_queue_limit: int = 64 * MIB
    """Above so many unsent bytes in memory a connection is aborted with an error. 0: no limit."""

    turn_budget: float = 0.005
    """Replies that are ready are sent when handlers have run for so long within one turn of the
    loop, not only at its end. 0: at its end."""

    drain_quiet: float = 0.1
    """On shutdown, a connection is closed once it has been quiet for so long."""

    exception_hook: ExceptionHook | None = None
    """Told about every exception of a handler, on the thread it was raised; None writes it with
    its traceback to stderr. The connection is closed, the others live on (F49)."""

    def __post_init__(self) -> None:
        """Check every field; the first wrong one raises."""
        self._check_counts()
        self._check_times()
        self._check_waters()
        self._check_tier()
        if self.exception_hook is not None and not callable(self.exception_hook):
            raise TypeError(f"exception_hook: {self.exception_hook!r} cannot be called")
        if type(self.reuse_port) is not bool:
            raise TypeError(f"reuse_port: must be True or False, not {self.reuse_port!r}")

    @property
    def completion_entries(self) -> int:
        """The completion queue's size, the default filled in."""
        return min(self.cq_entries or 4 * self.ring_entries, 2 * _MOST_ENTRIES)

    def _check_counts(self) -> None:
        _integer("workers", self.workers, 1, 1024)
        _power("ring_entries", self.ring_entries, 2, _MOST_ENTRIES)
        if self.cq_entries is not None:
            _power("cq_entries", self.cq_entries, self.ring_entries, 2 * _MOST_ENTRIES)
        if self.sqpoll_cpu is not None:
            _integer("sqpoll_cpu", self.sqpoll_cpu, 0, 65535)
        _power("buffer_count", self.buffer_count, 2, _MOST_BUFFERS)
        _integer("buffer_size", self.buffer_size, 64, 16 * MIB)
        _integer("max_connections", self.max_connections, 1, 1 << 20)
        _integer("backlog", self.backlog, 1, 65535)

    def _check_tier(self) -> None:
        if isinstance(self.tier, str):
            if self.tier.lower() not in TIER_NAMES:
                raise ValueError(f"tier: {self.tier!r} is none of {', '.join(TIER_NAMES)}")
        elif not hasattr(self.tier, "setup_flags"):
            raise TypeError(f"tier: must be a name or a TierStrategy, not {self.tier!r}")

    def _check_times(self) -> None:
        for name in ("idle_timeout", "write_timeout", "connect_timeout"):
            if getattr(self, name) is not None:
                check_seconds(name, getattr(self, name), above_zero=True)
        for name in ("linger_timeout", "turn_budget", "drain_quiet"):
            check_seconds(name, getattr(self, name))

    def _check_waters(self) -> None:
        _integer("write_high_water", self.write_high_water, 0, 1 << 40)
        _integer("write_low_water", self.write_low_water, 0, 1 << 40)
        if self.write_low_water > self.write_high_water:
            raise ValueError("write_low_water: must not be above write_high_water")
        _integer("send_queue_pause", self.send_queue_pause, 0, 1 << 40)
        _integer("send_queue_limit", self.send_queue_limit, 0, 1 << 40)
        if 0 < self.send_queue_limit < self.send_queue_pause:
            raise ValueError("send_queue_limit: must not be below send_queue_pause")


def nanoseconds(seconds: float | None) -> int:
    """Return a time as the native side takes it; None is 0, which means: none there."""
    return 0 if seconds is None else round(seconds * 1e9)


def _integer(name: str, value: Any, least: int, most: int) -> None:
    if type(value) is not int:
        raise TypeError(f"{name}: must be an integer, not {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name}: must be {least} to {most}, not {value}")


def _power(name: str, value: Any, least: int, most: int) -> None:
    _integer(name, value, least, most)
    if value & (value - 1):
        raise ValueError(f"{name}: must be a power of two, not {value}")


def check_seconds(name: str, value: Any, *, above_zero: bool = False) -> None:
    """Raise TypeError or ValueError, naming the value, unless it is a time that makes sense."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}: must be a number of seconds, not {value!r}")
    if not (value > 0 if above_zero else value >= 0) or not value < 1e9:
        least = "above" if above_zero else "at least"
        raise ValueError(f"{name}: must be {least} 0 and below 1e9 seconds, not {value}")
