"""How ps(1) and top(1) tell the processes of one server apart: the parent, and each by its place.

Owns the word behind `python -m pyuring` in a process's command line, and what a process calls
itself. Never renames a process whose program is somebody else's: the command alone does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["call", "place_of", "word_of"]

_WORD = re.compile(r"process-([0-9]+)")


def word_of(place: int) -> str:
    """Return the word that tells a process's place; people count from one."""
    return f"process-{place + 1}"


def place_of(arguments: Sequence[str]) -> int | None:
    """Return the place that the first argument tells, or None."""
    found = _WORD.fullmatch(arguments[0]) if arguments else None
    return int(found[1]) - 1 if found else None


def call(name: str) -> None:
    """Call this process so, in 15 bytes at most; its threads begun from here on as well.

    proc(5): the same as prctl(2)'s PR_SET_NAME.
    """
    try:
        with open("/proc/self/comm", "w", encoding="ascii") as file:
            file.write(name[:15])
    except OSError:
        pass  # no /proc, or one that is read-only: a name is no reason not to serve
