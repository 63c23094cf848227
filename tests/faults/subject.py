"""A server of this folder as a process: where it listens, its end, what it counted.

It owns the process: leaving the block kills what is still there.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["Server", "terminate_traced"]

_TGKILL = {"x86_64": 234, "aarch64": 131}


def terminate_traced(tracer: subprocess.Popen[str]) -> None:
    """Send SIGTERM to the first thread of what a tracer runs, as the kernel does without one.

    While that thread stands still for its tracer the kernel gives a process's signal to another
    one, and Python, which handles signals in the first thread alone, is not woken from its wait.
    """
    children = Path(f"/proc/{tracer.pid}/task/{tracer.pid}/children").read_text().split()
    child = int(children[0])
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.syscall(_TGKILL[platform.machine()], child, child, int(signal.SIGTERM)) == 0


class Server:
    """`script` with a configuration, ready when the block begins; `prefix` runs it elsewhere."""

    def __init__(
        self,
        script: str,
        *,
        package: str | None = None,
        prefix: Sequence[str] = (),
        **config: Any,
    ) -> None:
        environment = os.environ | {
            # Objects of a page or more on pages of their own, which go away with them; what is
            # smaller is filled when it is freed. So bytes sent too late are wrong or no bytes.
            "PYTHONMALLOC": "malloc",
            "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=4096:glibc.malloc.perturb=221",
        }
        if package is not None:
            environment["PYTHONPATH"] = package
        path = Path(__file__).resolve().parent / script
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-X", "faulthandler", str(path), json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.pid = self.process.pid
        self.address, self.tier = line.split()
        self._own_descriptors = self.descriptors()
        self.counts: dict[str, int] = {}
        self.metrics: dict[str, Any] = {}

    def end(self) -> str:
        """Shut it down and return what it wrote to stderr; its counters are known then."""
        out, err = self.process.communicate(timeout=60)
        if self.process.returncode == 0:
            found = json.loads(out)
            self.counts, self.metrics = found["counts"], found["metrics"]
        return err

    def descriptors(self) -> int:
        """Return how many it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def connections(self) -> int:
        """Return how many descriptors more than at its start."""
        return self.descriptors() - self._own_descriptors

    def resident(self) -> int:
        """Return its memory in bytes."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def left_over(self) -> list[str]:
        """Return what its counters say is still there after the end."""
        found = self.metrics
        wrong = [f"{name}: {found[name]}" for name in ("active", "buffers_held") if found[name]]
        if found["accepted"] != found["closed"]:
            wrong.append(f"{found['accepted']} accepted, {found['closed']} closed")
        for name in ("stale_completions", "unknown_completions", "errors_handler"):
            wrong += [f"{name}: {found[name]}"] if found[name] else []
        if found["ops_in_flight"] > 1:  # the mailbox's own
            wrong.append(f"{found['ops_in_flight']} operations in flight")
        return wrong

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
