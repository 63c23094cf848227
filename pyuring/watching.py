"""Which source files have changed: their times are read again and again, nothing more.

Owns what the files looked like. Never opens one, and never sleeps: its user does.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

__all__ = ["Watch"]


class Watch:
    """Files by path. One that disappears counts as changed; one that comes back, again."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int] | None] = {}

    def __len__(self) -> int:
        """Return how many files are watched."""
        return len(self._seen)

    def add(self, paths: Iterable[str], since_ns: int) -> None:
        """Watch these too; those that are watched already stay.

        One that was written after `since_ns` (time.time_ns) may have been read before: changed.
        """
        for path in paths:
            if path not in self._seen:
                found = _look(path)
                self._seen[path] = None if found and found[0] > since_ns else found

    def changed(self) -> list[str]:
        """Return what has changed since the last call, sorted."""
        found = []
        for path, before in self._seen.items():
            now = _look(path)
            if now != before:
                self._seen[path] = now
                found.append(path)
        return sorted(found)


def _look(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
