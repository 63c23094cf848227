"""Counting a server's system calls, exactly: the kernel's own tracepoint, on each of its threads.

Owns the counters' descriptors (perf_event_open(2)); a load reads them at the edges of its window.
Counting slows each call a little, so it is done in a window of its own. Never traces, never stops
anybody; where the kernel does not let us count, `Unavailable` says why.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import harness

# perf_event_open(2): its number, and what of struct perf_event_attr is used.
_NUMBERS = {"x86_64": 298, "aarch64": 241}
_TYPE_TRACEPOINT = 2
_FLAG_CLOEXEC = 8
_INHERIT = 1 << 1  # threads and children that begin later are counted as well
_ATTR = struct.Struct("=IIQQQQQ")  # type, size, config, period, sample_type, read_format, flags
_SIZE = 64  # PERF_ATTR_SIZE_VER0
_MOST = 63  # as many as load.zig takes
_TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")


class Unavailable(Exception):
    """System calls cannot be counted here, with the reason."""


class Counters:
    """Open counters, one for each thread."""

    def __init__(self, fds: tuple[int, ...]) -> None:
        self.fds = fds

    def read(self) -> int:
        """What they have counted by now."""
        return sum(int.from_bytes(os.read(fd, 8), "little") for fd in self.fds)


@contextlib.contextmanager
def counting(pid: int) -> Iterator[Counters]:
    """Count for the length of the block, all processes and threads that descend from this one."""
    with contextlib.ExitStack() as stack:
        fds = []
        for thread in _threads(pid):
            fds.append(_open(thread))
            stack.callback(os.close, fds[-1])
        if len(fds) > _MOST:
            raise Unavailable(f"{len(fds)} threads, {_MOST} can be counted")
        yield Counters(tuple(fds))


def _threads(pid: int) -> list[int]:
    found = []
    for process in harness.processes(pid):
        with contextlib.suppress(FileNotFoundError):
            found += [int(thread) for thread in os.listdir(f"/proc/{process}/task")]
    return found


@cache
def _tracepoint() -> int:
    """The number of raw_syscalls:sys_enter in this kernel."""
    for root in _TRACEFS:
        with contextlib.suppress(OSError):
            return int(Path(root, "events/raw_syscalls/sys_enter/id").read_text())
    raise Unavailable("tracefs is not mounted, or not for us to read")


def _open(thread: int) -> int:
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise Unavailable(f"not known how on {platform.machine()}")
    attr = _ATTR.pack(_TYPE_TRACEPOINT, _SIZE, _tracepoint(), 0, 0, 0, _INHERIT).ljust(_SIZE, b"\0")
    call = ctypes.CDLL(None, use_errno=True).syscall
    fd: int = call(number, attr, thread, -1, -1, _FLAG_CLOEXEC)
    if fd < 0:
        raise Unavailable(f"perf_event_open: {os.strerror(ctypes.get_errno())}")
    return fd
