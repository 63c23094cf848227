"""The places that processes have under a supervisor, and how soon one is filled again.

Owns a place's memory: who serves in it, who is to follow, how often it has failed. Never starts
or ends a process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyuring.processes import Process
    from pyuring.timers import TimerHandle

__all__ = ["Slot"]

_FIRST_SECONDS, _MOST_SECONDS = 0.5, 30.0
_LONG_SECONDS = 10.0  # who has served so long did not die at once


class Slot:
    """One place: the process that serves, and its successor while that one starts."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.current: Process | None = None
        self.successor: Process | None = None
        self.failures = 0  # processes that died at once, one after the other
        self.retry: TimerHandle | None = None
        self.wants_successor = False  # who serves has asked to be followed

    def is_stale(self, generation: int) -> bool:
        """Return whether nobody of this generation serves here."""
        return self.current is None or self.current.generation < generation

    @property
    def is_forgotten(self) -> bool:
        """Whether somebody is to start here, and nothing is under way for it."""
        wanted = self.current is None or self.wants_successor
        return wanted and self.successor is None and self.retry is None

    def forget_failures(self) -> None:
        """Begin afresh: whatever kept processes from living may have been put right."""
        self.failures = 0
        self.cancel_retry()

    def cancel_retry(self) -> None:
        """Do not try again later."""
        if self.retry is not None:
            self.retry.cancel()
            self.retry = None

    def pause_after(self, served: float) -> float:
        """Return how many seconds to wait when a process ends that served for `served` of them.

        None for the first one, so that a process that was killed is missed for no longer than
        it takes to start; then half a second, doubled each time up to half a minute.
        """
        self.failures = 1 if served >= _LONG_SECONDS else self.failures + 1
        if self.failures == 1:
            return 0.0
        return min(_FIRST_SECONDS * 2.0 ** min(self.failures - 2, 10), _MOST_SECONDS)
