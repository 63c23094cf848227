"""How much of io_uring is used: a strategy for each tier, and the choice between them.

Owns what each tier asks of a ring and of its operations. Never asks the kernel itself: what it
can do is in a CapabilityProfile; which tier a ring can really be had for, ladder.py finds out.

    OPTIONAL   HIGH's operations, SQPOLL in place of DEFER_TASKRUN; only where it was asked for
    HIGH       SINGLE_ISSUER and DEFER_TASKRUN, multishot accept and receive, provided buffers
    MID        COOP_TASKRUN, multishot accept, one receive at a time into provided buffers
    BASE       one accept, one receive, one send at a time, into the caller's memory
    NONE       no io_uring: the worker's ring stands on epoll, and takes HIGH's operations
"""

from __future__ import annotations

import errno
import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyuring.capability import CapabilityProfile, Tier, probe
from pyuring.constants import SetupFlags, SqeFlags

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from pyuring.buffers import BufferGroup
    from pyuring.ring import Ring, Sqe

__all__ = [
    "BaseTier",
    "EpollTier",
    "HighTier",
    "MidTier",
    "OptionalTier",
    "TierDecisions",
    "TierStrategy",
    "decisions",
    "lower_tiers",
    "select_tier",
    "strategy_of",
]

# Seconds in which a busy SQPOLL thread has taken at least one SQE.
_PATIENCE = 1.0

# Accepted sockets belong to this process alone and never block it (F22).
_ACCEPT_FLAGS = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


class TierStrategy:
    """What an engine does with its rings: nine members, each of which a subclass may replace.

    A strategy is a value: it holds no ring and may be shared by threads. Without a profile it
    takes this process's own, from `probe()`, when it is first needed.
    """

    def __init__(self, profile: CapabilityProfile | None = None) -> None:
        self._profile = profile

    @property
    def profile(self) -> CapabilityProfile:
        """The kernel's answers that this strategy goes by."""
        if self._profile is None:
            self._profile = probe()
        return self._profile

    @property
    def tier(self) -> Tier:
        """The tier this strategy stands for."""
        return Tier.BASE

    @property
    def setup_flags(self) -> SetupFlags:
        """The flags a ring is set up with. Source: io_uring_setup(2)."""
        return self._common_flags()

    @property
    def sqpoll_idle(self) -> float:
        """Seconds the submission thread spins before it sleeps; 0.0 where there is none."""
        return 0.0

    @property
    def supports_provided_buffers(self) -> bool:
        """Whether receives take their memory from a buffer group."""
        return False

    @property
    def supports_multishot_accept(self) -> bool:
        """Whether one accept serves all connections to come."""
        return False

    @property
    def supports_multishot_recv(self) -> bool:
        """Whether one receive serves all data to come."""
        return False

    def prepare_accept(self, ring: Ring, fd: int) -> Sqe:
        """Queue an accept on the listening socket `fd`; its completions carry descriptors.

        Multishot where the tier has it: armed until a completion comes without F_MORE.
        """
        sqe = _next_sqe(ring)
        if self.supports_multishot_accept:
            sqe.prep_multishot_accept(fd, None, _ACCEPT_FLAGS)
        else:
            sqe.prep_accept(fd, None, _ACCEPT_FLAGS)
        return sqe

    def prepare_recv(self, ring: Ring, fd: int, buf: WriteableBuffer | BufferGroup) -> Sqe:
        """Queue a receive from the stream socket `fd` into `buf`; never two on one socket (F32).

        `buf` is writable memory, lent until the last completion, or a BufferGroup where the tier
        supports provided buffers (TypeError where it does not). Into a group, and where the tier
        has it, the receive is multishot.
        """
        from pyuring.buffers import BufferGroup

        if not isinstance(buf, BufferGroup):
            sqe = _next_sqe(ring)
            sqe.prep_recv(fd, buf)
            return sqe
        if not self.supports_provided_buffers:
            raise TypeError(f"tier {self.tier.name} receives into memory, not a BufferGroup")
        sqe = _next_sqe(ring)
        # No memory: the kernel picks a buffer and fills as much of it as there is. A single receive
        # says how much that may be: before 6.1 at the latest, no length is a receive of no bytes.
        if self.supports_multishot_recv:
            sqe.prep_recv_multishot(fd, 0)
        else:
            sqe.prep_recv(fd, buf.size)
        sqe.flags |= SqeFlags.BUFFER_SELECT
        sqe.buf_group = buf.group_id
        return sqe

    def prepare_send(self, ring: Ring, fd: int, buf: ReadableBuffer, linked: bool) -> Sqe:
        """Queue a send of `buf` on the stream socket `fd`; the completion says how much went.

        With `linked` the next SQE starts only after this one has sent everything: a short send
        breaks the link, for MSG_WAITALL is set (io_uring_enter(2), IOSQE_IO_LINK).
        """
        sqe = _next_sqe(ring)
        flags = socket.MSG_NOSIGNAL | (socket.MSG_WAITALL if linked else 0)
        sqe.prep_send(fd, buf, flags)
        if linked:
            sqe.flags |= SqeFlags.IO_LINK
        return sqe

    def _common_flags(self) -> SetupFlags:
        """Return what every tier wants, where the kernel has it.

        SUBMIT_ALL keeps one refused SQE from stopping its batch (F1); CLAMP turns too large a
        queue into the largest.
        """
        flags = SetupFlags(0)
        if self.profile.submit_all:
            flags |= SetupFlags.SUBMIT_ALL
        if self.profile.clamp:
            flags |= SetupFlags.CLAMP
        return flags

    def __repr__(self) -> str:
        return f"<{type(self).__name__} tier {self.tier.name}>"


class BaseTier(TierStrategy):
    """Tier BASE: what Linux 5.10 has. One operation for each thing that happens."""


class MidTier(BaseTier):
    """Tier MID: what Linux 5.19 brought. No interrupts for completions, fewer SQEs."""

    @property
    def tier(self) -> Tier:
        """Tier.MID."""
        return Tier.MID

    @property
    def setup_flags(self) -> SetupFlags:
        """BASE's, COOP_TASKRUN, and TASKRUN_FLAG so that a look at the queue misses nothing."""
        return self._common_flags() | SetupFlags.COOP_TASKRUN | SetupFlags.TASKRUN_FLAG

    @property
    def supports_provided_buffers(self) -> bool:
        """True."""
        return True

    @property
    def supports_multishot_accept(self) -> bool:
        """True."""
        return True


class HighTier(MidTier):
    """Tier HIGH: what Linux 6.1 brought. Completions are made when the thread asks for them."""

    @property
    def tier(self) -> Tier:
        """Tier.HIGH."""
        return Tier.HIGH

    @property
    def setup_flags(self) -> SetupFlags:
        """BASE's, SINGLE_ISSUER and DEFER_TASKRUN, which includes what COOP_TASKRUN does."""
        return self._common_flags() | SetupFlags.SINGLE_ISSUER | SetupFlags.DEFER_TASKRUN

    @property
    def supports_multishot_recv(self) -> bool:
        """True."""
        return True


class OptionalTier(HighTier):
    """Tier OPTIONAL: HIGH's operations, submitted by a kernel thread that polls (SQPOLL).

    Costs a core a ring while it is busy, so it is never chosen unasked.
    """

    @property
    def tier(self) -> Tier:
        """Tier.OPTIONAL."""
        return Tier.OPTIONAL

    @property
    def setup_flags(self) -> SetupFlags:
        """BASE's, SINGLE_ISSUER and SQPOLL; never COOP_ or DEFER_TASKRUN beside SQPOLL (F13)."""
        return self._common_flags() | SetupFlags.SINGLE_ISSUER | SetupFlags.SQPOLL

    @property
    def sqpoll_idle(self) -> float:
        """Two seconds: spinning past a pause between requests is cheaper than a wake-up."""
        return 2.0


class EpollTier(TierStrategy):
    """Tier NONE: io_uring is refused, and the engine's ring carries its operations out by epoll.

    For engines alone: a `Ring` is always io_uring's, and raises where that is refused.
    """

    @property
    def tier(self) -> Tier:
        """Tier.NONE."""
        return Tier.NONE

    @property
    def setup_flags(self) -> SetupFlags:
        """None: there is no io_uring to be set up."""
        return SetupFlags(0)

    @property
    def supports_provided_buffers(self) -> bool:
        """True: a receive takes its buffer when data is there, so idle connections need none."""
        return True

    @property
    def supports_multishot_accept(self) -> bool:
        """True."""
        return True

    @property
    def supports_multishot_recv(self) -> bool:
        """True."""
        return True


_CLASSES: dict[Tier, type[TierStrategy]] = {
    Tier.NONE: EpollTier,
    Tier.BASE: BaseTier,
    Tier.MID: MidTier,
    Tier.HIGH: HighTier,
    Tier.OPTIONAL: OptionalTier,
}


def select_tier(profile: CapabilityProfile) -> TierStrategy | None:
    """Return the strategy of the highest tier that `profile` allows; None without io_uring.

    OPTIONAL only when the profile was asked for SQPOLL.
    """
    return None if profile.tier is Tier.NONE else strategy_of(profile.tier, profile)


def strategy_of(tier: Tier, profile: CapabilityProfile | None = None) -> TierStrategy:
    """Return the strategy that stands for `tier`, whether the profile allows it or not."""
    return _CLASSES[tier](profile)


def lower_tiers(strategy: TierStrategy) -> tuple[TierStrategy, ...]:
    """Return the strategies below this one's tier, the highest first, on the same profile.

    The last one is EpollTier, which needs nothing of the kernel.
    """
    tiers = sorted((tier for tier in _CLASSES if tier < strategy.tier), reverse=True)
    return tuple(_CLASSES[tier](strategy.profile) for tier in tiers)


@dataclass(frozen=True, slots=True)
class TierDecisions:
    """A strategy's decisions as plain values, for the native worker."""

    tier: Tier
    setup_flags: int
    sq_thread_idle_ms: int
    provided_buffers: bool
    multishot_accept: bool
    multishot_recv: bool
    epoll: bool


def decisions(strategy: TierStrategy) -> TierDecisions:
    """Return what `strategy` decides, checked. ValueError where its answers exclude each other."""
    if strategy.supports_multishot_recv and not strategy.supports_provided_buffers:
        raise ValueError(f"{strategy!r}: multishot receives need provided buffers")
    idle = strategy.sqpoll_idle
    if not 0 <= idle <= 3600:
        raise ValueError(f"{strategy!r}: sqpoll_idle is 0 to 3600 seconds, not {idle!r}")
    return TierDecisions(
        tier=Tier(strategy.tier),
        setup_flags=int(strategy.setup_flags),
        sq_thread_idle_ms=round(idle * 1000),
        provided_buffers=strategy.supports_provided_buffers,
        multishot_accept=strategy.supports_multishot_accept,
        multishot_recv=strategy.supports_multishot_recv,
        epoll=strategy.tier is Tier.NONE,
    )


def _next_sqe(ring: Ring) -> Sqe:
    """Return a free SQE; with a full queue the ring submits first, so nothing is dropped (F2)."""
    sqe = ring.get_sqe()
    if sqe is not None:
        return sqe
    deadline = time.monotonic() + _PATIENCE
    while sqe is None:
        ring.submit()
        sqe = ring.get_sqe()
        # Without SQPOLL the kernel takes SQEs in the call itself; its thread takes them later.
        if sqe is None and (not ring.flags & SetupFlags.SQPOLL or time.monotonic() > deadline):
            raise BlockingIOError(errno.EAGAIN, "the submission queue is full: reap completions")
        if sqe is None:
            os.sched_yield()
    return sqe
