"""The engines that run in this process: what becomes of them at exit and after a fork.

Owns the set of running engines and the two hooks. Never starts or keeps one alive: only its
worker threads do that.
"""

from __future__ import annotations

import atexit
import os
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyuring.engine import Engine

__all__ = ["add", "discard"]

_EXIT_SECONDS = 1.0

_engines: list[Engine] = []
_hooked = False


def add(engine: Engine) -> None:
    """Watch over an engine that has started."""
    global _hooked
    if not _hooked:
        atexit.register(_at_exit)
        os.register_at_fork(after_in_child=_after_fork_in_child)
        _hooked = True
    _engines.append(engine)


def discard(engine: Engine) -> None:
    """Forget an engine that has ended."""
    if engine in _engines:
        _engines.remove(engine)


def _at_exit() -> None:
    """Shut down what still runs, while threads still can run (F50)."""
    for engine in list(_engines):
        try:
            warnings.warn(f"{engine!r} was never shut down", ResourceWarning, stacklevel=1)
        finally:  # under -W error the warning raises
            engine.shutdown(_EXIT_SECONDS)


def _after_fork_in_child() -> None:
    for engine in list(_engines):
        engine._after_fork_in_child()
    _engines.clear()
