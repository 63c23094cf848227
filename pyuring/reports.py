"""What people are told unasked: an uncaught exception, a ring that could not be had, a fork's end.

Owns the default exception hook and the logger "pyuring". Never raises, whatever state stderr is
in.
"""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["end_forked_child", "notice", "notice_nothing", "report"]

_FORKED = b"""\
pyuring: a child that a handler forked returned from the handler; end it by os._exit() (F20)
"""

_notices = True


def report(exc: BaseException, where: str, transport: object = None) -> None:
    """Write an exception with its traceback to stderr: the hook when none is configured.

    What cannot be written, to a pipe that is closed say, is lost: it must not end the worker.
    """
    import traceback

    with contextlib.suppress(Exception):
        whom = f" of {transport!r}" if transport is not None else ""
        text = "".join(traceback.format_exception(type(exc), exc, exc.__traceback__))
        sys.stderr.write(f"pyuring: exception in {where}{whom}\n{text}")


def notice(text: str) -> None:
    """Log a warning that the application did not ask for; without a handler it goes to stderr."""
    if _notices:
        import logging

        logging.getLogger("pyuring").warning("%s", text)


def notice_nothing() -> None:
    """Keep notices back in this process: the command says the same itself, once for all of its."""
    global _notices
    _notices = False


def end_forked_child() -> None:
    """End this process, a child that was forked where it must not go on (F20), and say why."""
    os.write(2, _FORKED)
    os._exit(70)  # EX_SOFTWARE, as native code does where it notices
