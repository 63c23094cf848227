"""What the command says when something is wrong: one line on stderr, and status 2.

Owns the error for mistakes of the caller's, and the way a line is written. Never prints a
traceback, and never fails itself: a stderr that is gone is no second error.
"""

from __future__ import annotations

import sys

__all__ = ["UsageError", "importing", "say"]

# Whether the command is importing the application: what it serves then is the command's to say.
importing = False


class UsageError(Exception):
    """Something the caller can put right; the text is the one line that is printed."""


def say(*lines: object) -> None:
    """Write each line to stderr with the command's name before it; any thread."""
    text = "".join(f"pyuring: {line}\n" for line in lines)
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass  # closed, full, or none at all (a service without one)
