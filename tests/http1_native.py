"""The native HTTP parser as the tests ask it: one process, requests in, verdicts out.

Compiles zig/http1_check.zig once a run; never starts a server.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

# Manners of feeding, as zig/http1_check.zig numbers them; any other number is where to cut.
WHOLE, BYTES, EVERY = 0xFFFF_FFFF, 0xFFFF_FFFE, 0xFFFF_FFFD
ACCEPTED, INCOMPLETE = 0, 1


class Verdict(NamedTuple):
    """What the parser made of one request."""

    status: int
    reason: str
    consumed: int
    body_len: int
    body_hash: str


@lru_cache(maxsize=1)
def check_program() -> Path:
    """Compile the program that answers; the directory lives as long as the process."""
    prefix = ROOT / "zig-out"
    command = [sys.executable, "-m", "ziglang", "build", "http1-check", "--prefix", str(prefix)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return prefix / "bin" / "http1_check"


def ask(requests: Iterable[tuple[bytes, int]], limits: Sequence[str] = ()) -> list[Verdict]:
    """Put (request, manner) pairs to the parser and return its verdicts in order."""
    with tempfile.TemporaryFile() as records:
        for request, manner in requests:
            records.write(struct.pack("<II", len(request), manner) + request)
        records.seek(0)
        command = [str(check_program()), *limits]
        done = subprocess.run(command, stdin=records, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [_verdict(line) for line in done.stdout.splitlines()]


def _verdict(line: str) -> Verdict:
    parts = line.split()
    assert parts[0] != "DIFFERS", f"the verdict depends on where the input is cut: {line}"
    return Verdict(int(parts[0]), parts[1], int(parts[2]), int(parts[3]), parts[4])
