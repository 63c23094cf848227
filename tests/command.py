"""The command as a user runs it: a process, its line when it is ready, its end.

It owns the process: leaving the block kills what is still there.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Where pyuring is installed its script runs the installed package even from the clone's root.
SCRIPT = Path(sys.executable).parent / "pyuring"
COMMAND = [
    sys.executable,
    "-X",
    "faulthandler",
    *([str(SCRIPT)] if SCRIPT.exists() else ["-m", "pyuring"]),
]
READY = re.compile(r"pyuring: listening on (\S+) \(tier (\w+), (\d+) workers?\)\n")


class Served:
    """`pyuring serve` with some arguments, ready when the block begins."""

    def __init__(self, *arguments: str, cwd: Path = ROOT, **popen: Any) -> None:
        command = [*COMMAND, "serve", *arguments]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, cwd=cwd, **popen
        )
        assert self.process.stderr is not None
        self.stderr = self.process.stderr
        self.line = self.stderr.readline()
        found = READY.fullmatch(self.line)
        if found is None:
            self.process.kill()
            rest = self.line + self.stderr.read()
            self.close()
            raise AssertionError(f"not ready: {rest}")
        self.address, self.tier, workers = found.groups()
        self.workers = int(workers)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, timeout: float = 20) -> int:
        """Return the exit status."""
        return self.process.wait(timeout)

    def close(self) -> None:
        """Kill the process if it is still there."""
        self.process.kill()
        self.process.wait()
        self.stderr.close()

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run(*arguments: str, cwd: Path = ROOT, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=30,
        check=False,
        **options,
    )
