"""strace as a fault injector: a system call that fails each so often, without being carried out.

It owns the strace process. Skips, saying so, where there is no strace or it may not trace.
Source: strace(1), "Tampering".
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def strace() -> str:
    """Return the program, or skip."""
    found = shutil.which("strace")
    if found is None:
        pytest.skip("this machine has no strace")
    return found


@contextmanager
def injected(pid: int, log: Path, *faults: str) -> Iterator[None]:
    """Inject into every thread of a process during the block; fails when nothing was injected."""
    command = [strace(), "-f", "-o", str(log), "-e", "trace=/io_uring", "-p", str(pid)]
    for fault in faults:
        command += ["-e", f"inject={fault}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        if "attached" not in said:
            tracer.kill()
            pytest.skip(f"strace may not trace here: {said}")
        try:
            yield
        finally:
            tracer.send_signal(signal.SIGINT)  # it detaches
            tracer.communicate(timeout=20)
    assert count(log) > 0, f"{faults}: nothing was injected"


def count(log: Path) -> int:
    """Return how many calls were tampered with, as strace wrote down."""
    return log.read_text("utf-8", "replace").count("(INJECTED)")
