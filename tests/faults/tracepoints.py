"""The kernel's own counts of what a process's rings went through, by its tracepoints.

It owns the perf events of one process; they end with it. tracefs is mounted in a mount namespace
of a child's, for as long as it takes to read three numbers there: the machine's mounts stay.
Source: perf_event_open(2), include/trace/events/io_uring.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import subprocess

import pytest

EVENTS = ("io_uring_cqe_overflow", "io_uring_req_failed", "io_uring_short_write")

_CALLS = {"x86_64": 298, "aarch64": 241}
_SCRIPT = """
mount -t tracefs none /sys/kernel/tracing 2>/dev/null || true
for name in "$@"; do cat /sys/kernel/tracing/events/io_uring/$name/id; done
"""


class Tracepoints:
    """Counts of `EVENTS` in every thread of a process, from here on and in threads to come."""

    def __init__(self, pid: int) -> None:
        self._files: dict[str, list[int]] = {}
        numbers = _numbers()
        threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
        for name, number in zip(EVENTS, numbers, strict=True):
            files = [_open(number, thread) for thread in threads]
            self._files[name] = [file for file in files if file >= 0]

    def read(self) -> dict[str, int]:
        """Return how often each has been passed."""
        return {
            name: sum(int.from_bytes(os.read(file, 8), "little") for file in files)
            for name, files in self._files.items()
        }

    def close(self) -> None:
        """Stop counting."""
        for files in self._files.values():
            for file in files:
                os.close(file)

    def __enter__(self) -> Tracepoints:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _numbers() -> list[int]:
    """Return the events' numbers, or skip the test, saying what is missing."""
    if os.geteuid() != 0 or platform.machine() not in _CALLS:
        pytest.skip("reading the kernel's tracepoints needs root")
    command = ["unshare", "--mount", "sh", "-c", _SCRIPT, "sh", *EVENTS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    numbers = done.stdout.split()
    if len(numbers) != len(EVENTS):
        pytest.skip(f"this kernel shows no io_uring tracepoints: {done.stderr.strip()}")
    return [int(number) for number in numbers]


def _open(number: int, thread: int) -> int:
    """Return a count's descriptor; -1 for a thread that has ended meanwhile."""
    # struct perf_event_attr: type TRACEPOINT, size, config; then bit 1 of the flags: inherit.
    attributes = struct.pack("=IIQQQQQ", 2, 64, number, 0, 0, 0, 1 << 1).ljust(64, b"\0")
    libc = ctypes.CDLL(None, use_errno=True)
    call = _CALLS[platform.machine()]
    file = libc.syscall(call, ctypes.c_char_p(attributes), thread, -1, -1, 8)
    if file < 0 and ctypes.get_errno() != errno.ESRCH:
        pytest.skip(f"perf_event_open: {os.strerror(ctypes.get_errno())}")
    return int(file)
