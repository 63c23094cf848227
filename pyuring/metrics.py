"""What an engine counts: one snapshot, added up over its workers.

Owns `EngineMetrics`, a value. The counting is native (zig/metrics.zig); nothing is counted here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["EngineMetrics"]


@dataclasses.dataclass(frozen=True, slots=True)
class EngineMetrics:
    """Counters since the start, and a few levels of this moment. Every field is live."""

    accepted: int = 0
    """Connections accepted, those refused included."""
    connected: int = 0
    """Outgoing connections that came about."""
    active: int = 0
    """Connections open now, those that are closing included."""
    closed: int = 0
    """Connections that have ended."""
    bytes_received: int = 0
    bytes_sent: int = 0
    messages_received: int = 0
    """Receives that brought data: calls of data_received or buffer_updated."""
    sends: int = 0
    """Send operations completed; each may carry many writes."""
    errors_accept: int = 0
    errors_receive: int = 0
    errors_send: int = 0
    errors_connect: int = 0
    errors_handler: int = 0
    """Exceptions that handlers raised (F49)."""
    enobufs: int = 0
    """Receives that found no free buffer; the data waited in the socket (F26)."""
    cq_overflows: int = 0
    """Times the completion queue was too small (F6)."""
    rearms: int = 0
    """Multishot operations that ended and were armed again."""
    turns: int = 0
    """Turns of the loop: system calls, nearly."""
    completions: int = 0
    send_queue_high_water: int = 0
    """The most unsent bytes one connection has had in memory; of all workers, the largest."""
    stale_completions: int = 0
    """Completions for a connection that was gone, dropped (F12)."""
    unknown_completions: int = 0
    """Completions nobody had asked for; anything but 0 is a bug of ours (F11)."""
    buffers_held: int = 0
    """Receive buffers that are not with the kernel now."""
    refused: int = 0
    """Connections closed at once: over max_connections, or out of descriptors."""
    timeouts: int = 0
    """Connections ended by a deadline."""
    ops_in_flight: int = 0
    """Operations the kernel holds now."""
    requests: int = 0
    """HTTP requests whose head was complete and well-formed."""
    requests_active: int = 0
    """Of these, those whose reply is not complete now."""
    requests_malformed: int = 0
    """Requests refused or cut off by the server itself: malformed, over a limit, late."""
    responses_2xx: int = 0
    responses_3xx: int = 0
    responses_4xx: int = 0
    responses_5xx: int = 0
    """Replies by the class of their status, those of refused requests included."""
    request_ns: int = 0
    """The times of `request_us` added up, in nanoseconds."""
    request_us: tuple[int, ...] = (0,) * 24
    """Exchanges by the time from their request's head to their reply's last byte queued: entry i
    counts those of less than 2**i microseconds that no earlier entry counts; the last one has no
    bound. All zero unless the time is taken (HttpConfig.timed)."""

    @property
    def completions_per_turn(self) -> float:
        """How many completions one turn handled on average: what batching is worth."""
        return self.completions / self.turns if self.turns else 0.0

    @classmethod
    def total(cls, parts: Iterable[Mapping[str, Any]]) -> EngineMetrics:
        """Add the workers' counters up; a high-water mark is the highest of them."""
        sums: dict[str, Any] = {}
        for part in parts:
            for name, value in part.items():
                sums[name] = _sum(name, sums[name], value) if name in sums else value
        return cls(**sums)


def _sum(name: str, before: Any, value: Any) -> Any:
    if name in _LARGEST:
        return max(before, value)
    if isinstance(value, (tuple, list)):  # a list comes from another process
        return tuple(a + b for a, b in zip(before, value, strict=True))
    return before + value


_LARGEST = frozenset({"send_queue_high_water"})
