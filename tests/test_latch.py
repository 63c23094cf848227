"""Latches: set once, waited for by anybody, a signal's handler in the middle of a wait included.

Owns threads that wait. What an engine does with them is tests/test_lifecycle.py's.
"""

from __future__ import annotations

import sys
import threading
import time
from types import FrameType
from typing import Any

from peers import PATIENCE

from pyuring.latch import Latch


def test_everybody_who_waits_goes_on_and_who_comes_later_does_not_wait() -> None:
    latch, passed = Latch(), threading.Semaphore(0)
    threads = [
        threading.Thread(target=lambda: passed.release() if latch.wait(PATIENCE) else None)
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    assert not latch.is_set()
    assert not latch.wait(0)
    assert not latch.wait(0.01)
    latch.set()
    latch.set()
    for _ in threads:
        assert passed.acquire(timeout=PATIENCE)
    assert latch.is_set()
    assert latch.wait()
    assert latch.wait(0)
    for thread in threads:
        thread.join()


def test_a_handler_may_wait_wherever_its_thread_is_in_a_wait_of_its_own() -> None:
    latch, nested = Latch(), 0

    def at_each_line(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal nested
        if frame.f_code is not Latch.wait.__code__ or event == "call":
            return at_each_line
        sys.settrace(None)  # a handler is not interrupted by itself
        latch.wait(0.02)
        nested += 1
        sys.settrace(at_each_line)
        return at_each_line

    timer = threading.Timer(0.1, latch.set)
    timer.start()
    before, began = sys.gettrace(), time.monotonic()
    sys.settrace(at_each_line)
    try:
        assert latch.wait(PATIENCE)
    finally:
        sys.settrace(before)
        timer.join()
    assert nested > 3
    assert time.monotonic() - began < PATIENCE / 2
