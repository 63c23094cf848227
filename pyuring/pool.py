"""Threads for handlers that wait: started when there is work for them, one pool a worker.

Owns the threads and the queue before them. Never keeps a process from ending: the threads are
daemons, and an idle one ends by itself after a while.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import Any

from pyuring.reports import end_forked_child

__all__ = ["Pool"]

_IDLE_SECONDS = 30.0


class Pool:
    """Up to `limit` threads. `submit` never blocks: what finds no thread free waits in order."""

    def __init__(self, limit: int, name: str, report: Callable[[BaseException], object]) -> None:
        """`report(exception)` is told what a job raises: jobs should catch their own."""
        self._limit = limit
        self._name = name
        self._report = report
        self._jobs: queue.SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]] | None] = (
            queue.SimpleQueue()
        )
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._free = 0  # threads that wait, less the jobs that wait for them
        self._started = 0
        self._closed = False
        self._process = os.getpid()

    def submit(self, function: Callable[..., object], *args: Any) -> None:
        """Have `function(*args)` called on one of the threads; any thread may ask."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is closed")
            if self._free > 0 or len(self._threads) >= self._limit or not self._start():
                self._free -= 1
            self._jobs.put((function, args))

    def close(self, timeout: float | None = 0.0) -> bool:
        """Take no more jobs, let the threads end; wait for them up to `timeout` seconds."""
        with self._lock:
            self._closed = True
            threads = list(self._threads)
            for _ in threads:
                self._jobs.put(None)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(timeout)
        return not any(thread.is_alive() for thread in threads)

    def __len__(self) -> int:
        """Return the number of threads."""
        return len(self._threads)

    def _start(self) -> bool:
        """Start one more thread, with the lock held; False: there can be no more, but others."""
        self._started += 1
        thread = threading.Thread(
            target=self._run, name=f"{self._name}-{self._started}", daemon=True
        )
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads
            self._threads.discard(thread)
            if not self._threads:
                raise
            return False
        return True

    def _run(self) -> None:
        jobs = self._jobs
        while True:
            try:
                job = jobs.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                if self._may_end():
                    return
                continue
            if job is None:
                break
            function, args = job
            try:
                function(*args)
            except BaseException as error:
                self._report(error)
            if os.getpid() != self._process:  # the lock may be held by a thread that is not here
                end_forked_child()
            del job, function, args  # nothing is kept alive while it waits
            with self._lock:
                self._free += 1
        with self._lock:
            self._threads.discard(threading.current_thread())

    def _may_end(self) -> bool:
        """Take this thread out unless a job is on its way to it."""
        with self._lock:
            if self._free <= 0 and not self._closed:
                return False
            self._free -= 1
            self._threads.discard(threading.current_thread())
            return True
