"""The native load generator's windows: what is asked of bench/load.zig, and what it found.

Owns the sample that every other load (http_load.py) fills as well. Never starts a server.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import harness
from harness import LOAD_CORE, BenchError, Running, pinned
from syscalls import Counters


@dataclass(frozen=True)
class Scenario:
    """One load of messages: connections, size in bytes, messages in flight per connection."""

    name: str
    connections: int = 64
    size: int = 64
    depth: int = 1
    mode: str = "echo"
    rate: int = 0


@dataclass(frozen=True)
class Sample:
    """One window of load against one server: times in ns, `load_work_ns` without idle looking."""

    messages: int
    window_ns: int
    server_cpu_ns: int
    load_cpu_ns: int
    load_work_ns: int
    p50_ns: float
    p99_ns: float
    p999_ns: float
    mismatches: int = 0
    disconnects: int = 0
    refused: int = 0
    missing: int = 0
    behind: int = 0
    counted: int = 0
    bytes: int = 0

    @property
    def errors(self) -> int:
        """Everything that went wrong in the window."""
        return self.mismatches + self.disconnects + self.refused + self.missing

    @property
    def cpu_us(self) -> float:
        """The server's CPU time per message, in microseconds."""
        return self.server_cpu_ns / max(1, self.messages) / 1e3

    @property
    def mistakes(self) -> str:
        """What went wrong, in words; an empty string when nothing did."""
        kinds = ("mismatches", "disconnects", "refused", "missing")
        found = [f"{getattr(self, kind)} {kind}" for kind in kinds if getattr(self, kind)]
        found += [] if self.messages else ["no reply"]
        return ", ".join(found)

    @property
    def load_us(self) -> float:
        """The load's own work per message, in microseconds."""
        return self.load_work_ns / max(1, self.messages) / 1e3

    @property
    def rate(self) -> float:
        """Messages per second of wall clock."""
        return self.messages / self.window_ns * 1e9

    @property
    def busy(self) -> float:
        """The share of the window that the server was on its core."""
        return self.server_cpu_ns / self.window_ns

    @property
    def load_busy(self) -> float:
        """The share of the window that the load was at work on its core."""
        return self.load_work_ns / self.window_ns


def load(
    running: Running,
    scenario: Scenario,
    seconds: float,
    warmup: float = 0.5,
    nice: int = 0,
    spin: bool = True,
    counters: Counters | None = None,
) -> Sample:
    """Put one window of messages on a running server, from the other core."""
    arguments = ["--mode", scenario.mode, "--size", str(scenario.size)]
    arguments += ["--depth", str(scenario.depth), "--verify", str(int(running.server.verify))]
    arguments += ["--connections", str(scenario.connections), "--rate", str(scenario.rate)]
    arguments += ["--spin", str(int(spin))]
    return window(running, arguments, seconds, warmup, nice, counters)


def window(
    running: Running,
    arguments: Sequence[str],
    seconds: float,
    warmup: float,
    nice: int,
    counters: Counters | None = None,
    texts: bytes = b"",
) -> Sample:
    """Run the load generator; `texts` are its standard input, `counters` what it is to read."""
    pids = ",".join(map(str, harness.processes(running.pid)[:15]))
    command = [harness.native("load"), "--port", str(running.port), "--pid", pids, *arguments]
    command += ["--warmup-ms", str(round(warmup * 1e3)), "--window-ms", str(round(seconds * 1e3))]
    fds = counters.fds if counters else ()
    if fds:
        command += ["--counters", ",".join(map(str, fds))]
    done = subprocess.run(
        command,
        input=texts,
        capture_output=True,
        timeout=seconds + warmup + 30,
        preexec_fn=pinned(LOAD_CORE, nice),
        pass_fds=fds,
        check=False,
    )
    if not done.stdout.strip():
        raise BenchError(f"{running.server.name}: {done.stderr.decode().strip()}")
    return Sample(**json.loads(done.stdout))
