"""Idle: what a connection that says nothing costs in the server's resident memory (bar 5).

Run as `python bench/idle.py`. The clients live in another process. Memory is read when the server
has just said that it listens, with all connections open, after each has echoed one message, and
after all are closed.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import report
import servers
from harness import (
    BENCH,
    LOAD_CORE,
    MISSED,
    BenchError,
    Running,
    default_nice,
    exit_with,
    open_files,
    pinned,
    resident_bytes,
    serving,
)

LIMIT_BYTES = 1536


@dataclass(frozen=True)
class Idle:
    """One server's memory, in bytes per connection beyond what it had when it began to listen."""

    server: str
    start_bytes: int
    connected: float
    echoed: float
    closed: float
    files_left: int


class Clients:
    """The process that holds the connections."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def expect(self, word: str) -> None:
        """Wait until the clients have done it."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if line != word:
            raise BenchError(f"the clients stopped before {word!r}: see above")

    def tell(self, word: str) -> None:
        """Have the clients do it, and wait."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        self.expect(word)


@contextlib.contextmanager
def clients(port: int, count: int, first: int = 2) -> Iterator[Clients]:
    """A process with `count` connections to the port, from 127.0.0.`first` on."""
    command = [sys.executable, str(BENCH / "peers" / "idle_clients.py")]
    command += [str(port), str(count), str(first)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=pinned(LOAD_CORE),
    ) as process:
        try:
            yield Clients(process)
        finally:
            process.kill()


def settled(running: Running) -> int:
    """The server's resident bytes once they have stopped moving (ten seconds at most)."""
    before, deadline = -1, time.monotonic() + 10
    while True:
        now = resident_bytes(running.pid)
        if now == before or time.monotonic() > deadline:
            return now
        before = now
        time.sleep(0.5)


def wait_for_files(pid: int, at_least: int = 0, at_most: int = 1 << 30) -> int:
    """How many descriptors the server has, once the number is in the range (ten seconds)."""
    deadline = time.monotonic() + 10
    while True:
        count = open_files(pid)
        if at_least <= count <= at_most or time.monotonic() > deadline:
            return count
        time.sleep(0.05)


def measure(running: Running, count: int) -> Idle:
    """Take one server through connect, echo and close."""
    files = open_files(running.pid)
    start = settled(running)
    with clients(running.port, count) as many:
        many.expect("connected")
        if wait_for_files(running.pid, at_least=files + count) < files + count:
            raise BenchError(f"{running.server.name} did not accept {count} connections")
        connected = settled(running)
        many.tell("echo")
        echoed = settled(running)
        many.tell("close")
        left = wait_for_files(running.pid, at_most=files) - files
        closed = settled(running)
    each = ((value - start) / count for value in (connected, echoed, closed))
    first, second, third = each
    return Idle(running.server.name, start, first, second, third, left)


def main(argv: list[str] | None = None) -> int:
    """Measure each server in turn; MISSED when pyuring misses the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--servers", default="pyuring,uvloop,asyncio,zloop-epoll")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--nice", type=int, default=default_nice())
    parser.add_argument("--json")
    options = parser.parse_args(argv)
    python = servers.python_for(options.servers.split(","), options.python)
    found = []
    for name in options.servers.split(","):
        if not servers.available(name, python):
            print(f"left out, not available here: {name}", file=sys.stderr)
            continue
        with serving(servers.server(name, python), options.nice) as running:
            found.append(measure(running, options.connections))
    headers = ("server", "MiB at start", "B/conn", "after echo", "after close", "files left")
    rows = [
        (
            one.server,
            f"{one.start_bytes / 2**20:.1f}",
            f"{one.connected:.0f}",
            f"{one.echoed:.0f}",
            f"{one.closed:.0f}",
            str(one.files_left),
        )
        for one in found
    ]
    print(report.table(headers, rows), end="\n\n")
    bars = [
        report.verdict(f"{one.server} {state}, bytes per connection", value, LIMIT_BYTES)
        for one in found
        if one.server == "pyuring"
        for state, value in (("connected", one.connected), ("after an echo", one.echoed))
    ]
    print(report.verdicts(bars))
    results = [asdict(one) for one in found]
    report.save(options.json, {"machine": report.machine(), "bars": bars, "results": results})
    return 0 if all(bar["met"] for bar in bars) else MISSED


if __name__ == "__main__":
    exit_with(main)
