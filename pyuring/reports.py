"""What becomes of an exception that nobody catches: the report on stderr.

Owns the default exception hook. Never raises, whatever state stderr is in.
"""

from __future__ import annotations

import contextlib
import sys

__all__ = ["report"]


def report(exc: BaseException, where: str, transport: object = None) -> None:
    """Write an exception with its traceback to stderr: the hook when none is configured.

    What cannot be written, to a pipe that is closed say, is lost: it must not end the worker.
    """
    import traceback

    with contextlib.suppress(Exception):
        whom = f" of {transport!r}" if transport is not None else ""
        text = "".join(traceback.format_exception(type(exc), exc, exc.__traceback__))
        sys.stderr.write(f"pyuring: exception in {where}{whom}\n{text}")
