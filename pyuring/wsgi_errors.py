"""`wsgi.errors`: a text stream on stderr.

Owns the line that each thread has begun. Never raises and never ends: what an application says
about an error must not become the next one.
"""

from __future__ import annotations

import io
import sys
import threading
from typing import Any

__all__ = ["ErrorStream"]

_LONGEST_LINE = 64 * 1024  # a line that never ends is written in pieces


class _Begun(threading.local):
    line = ""


class ErrorStream(io.TextIOBase):
    """Writes whole lines to stderr, so that those of several threads do not mix; any thread.

    `flush` writes a line that is only begun. `close` only flushes: the stream is everybody's.
    """

    def __init__(self) -> None:
        self._begun = _Begun()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of stderr."""
        return getattr(sys.stderr, "encoding", None) or "utf-8"

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: Any) -> int:
        """Write what completes a line, and keep the rest for later; returns len(text)."""
        text = text if isinstance(text, str) else str(text)
        whole, newline, rest = (self._begun.line + text).rpartition("\n")
        if len(rest) > _LONGEST_LINE:
            whole, newline, rest = whole + newline + rest, "", ""
        self._begun.line = rest
        if whole or newline:
            _put(whole + newline)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write the line that is begun, and flush stderr."""
        begun, self._begun.line = self._begun.line, ""
        _put(begun, flush=True)

    def close(self) -> None:
        """Flush; the stream stays open."""
        self.flush()


def _put(text: str, *, flush: bool = False) -> None:
    """Write to what stderr is now; a stderr that is closed, full or gone is no error here."""
    try:
        stderr = sys.stderr
        if stderr is None:
            return
        if text:
            encoding = getattr(stderr, "encoding", None) or "utf-8"
            stderr.write(text.encode(encoding, "backslashreplace").decode(encoding))
        if flush:
            stderr.flush()
    except Exception:
        pass
