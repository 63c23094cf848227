"""An echo server on a tier's strategy with one decision changed: `python variant.py NAME`.

Owns the list of variants. The engine, the protocol and the rest of the configuration are the same.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from examples.echo import Echo
from pyuring import Engine, EpollTier, HighTier, OptionalTier, SetupFlags, TierStrategy


class Immediate(HighTier):
    """Completions are made in interrupts of the thread, as they come."""

    @property
    def setup_flags(self) -> SetupFlags:
        """HIGH's, with COOP_TASKRUN in place of DEFER_TASKRUN."""
        return super().setup_flags & ~SetupFlags.DEFER_TASKRUN | SetupFlags.COOP_TASKRUN


class NoArray(HighTier):
    """Without the array of indices between the submission queue and its entries."""

    @property
    def setup_flags(self) -> SetupFlags:
        """HIGH's and NO_SQARRAY."""
        return super().setup_flags | SetupFlags.NO_SQARRAY


class SingleReceive(HighTier):
    """A receive for each message, its memory picked by the kernel."""

    @property
    def supports_multishot_recv(self) -> bool:
        """False."""
        return False


class OwnBuffers(SingleReceive):
    """A receive for each message, into memory of the connection's own."""

    @property
    def supports_provided_buffers(self) -> bool:
        """False."""
        return False


class SingleAccept(HighTier):
    """An accept for each connection."""

    @property
    def supports_multishot_accept(self) -> bool:
        """False."""
        return False


VARIANTS: dict[str, type[TierStrategy]] = {
    "default": HighTier,
    "without DEFER_TASKRUN": Immediate,
    "NO_SQARRAY": NoArray,
    "single receives": SingleReceive,
    "own buffers": OwnBuffers,
    "single accepts": SingleAccept,
    "SQPOLL": OptionalTier,
    "epoll": EpollTier,
}


def main(name: str) -> None:
    """Serve until it is killed."""
    engine = Engine(Echo, "127.0.0.1:0", tier=VARIANTS[name]())
    engine.start()
    assert engine.ladder is not None
    if engine.ladder.steps:
        sys.exit(f"{name}: {engine.ladder}")
    print(f"listening on {engine.address} (tier {engine.tier.name})", flush=True)
    engine.listen()


if __name__ == "__main__":
    main(sys.argv[1])
