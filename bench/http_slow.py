"""HTTP beside slow clients, and an application without a server: what fits no round of http1.py.

Owns two comparisons: the rate per CPU second of 64 fast clients with and without thousands that
send a byte a second, and the Flask application's own CPU time. Never starts a server by itself.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import report
from generator import Sample
from harness import BENCH, LOAD_CORE, SERVER_CORE, BenchError, Running, pinned
from http_load import Scenario, Turn, wrk

SCENARIO = Scenario("slow", "slow")
CLIENTS = str(BENCH / "peers" / "http_slow.py")
ALONE = str(BENCH / "peers" / "http_app_alone.py")
COUNT = 5_000
HEAD_TIMEOUT = 10.0  # the servers' setting
EARLY, LATE = 0.5, 2.0


@dataclass(frozen=True)
class Slow:
    """One round: the fast clients' window without and with the slow ones, and how those ended."""

    without: Sample
    beside: Sample
    ends: dict[str, int]
    off_time: int
    left: int

    @property
    def ratio(self) -> float:
        """The rate per CPU second beside slow clients to that without."""
        return self.without.cpu_us / self.beside.cpu_us


def beside_slow_clients(running: Running, count: int, seconds: float, nice: int) -> Slow:
    """Measure without slow clients, then beside them, and wait until those have ended."""
    turn = Turn(running, SCENARIO, seconds, nice)
    without = wrk(turn)
    with _clients(running.port, count, nice) as process:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "connected":
            raise BenchError(f"{running.server.name}: the slow clients could not connect")
        beside = wrk(turn)
        said = json.loads(process.stdout.readline())
    return _judged(without, beside, said)


def _judged(without: Sample, beside: Sample, said: dict[str, Any]) -> Slow:
    ends = Counter(end["how"] for end in said["ends"])
    off = [
        end
        for end in said["ends"]
        if not HEAD_TIMEOUT - EARLY <= end["seconds"] <= HEAD_TIMEOUT + LATE
    ]
    return Slow(without, beside, dict(ends), len(off), said["left"])


@contextlib.contextmanager
def _clients(port: int, count: int, nice: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, CLIENTS, str(port), str(count), str(HEAD_TIMEOUT + LATE + 3)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, preexec_fn=pinned(LOAD_CORE, nice)
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def table(found: dict[str, list[Slow]]) -> str:
    """The rounds of every server."""
    headers = ("slow clients", "us/req without", "us/req beside", "rate/CPU s", "how they ended")
    rows = []
    for name, rounds in found.items():
        ends: Counter[str] = Counter()
        for one in rounds:
            ends.update(one.ends)
            ends["off time"] += one.off_time
            ends["not ended"] += one.left
        rows.append(
            (
                name,
                f"{report.median([one.without.cpu_us for one in rounds]):.2f}",
                f"{report.median([one.beside.cpu_us for one in rounds]):.2f}",
                f"{report.median([one.ratio for one in rounds]):.2f}",
                ", ".join(f"{how}: {number}" for how, number in ends.items() if number),
            )
        )
    return report.table(headers, rows) + "\n"


def bars(found: dict[str, list[Slow]], count: int) -> list[dict[str, Any]]:
    """Pyuring's: the rate of the fast ones, and that each slow one got its 408 on time."""
    rounds = found.get("pyuring")
    if not rounds:
        return []
    ratio = report.median([one.ratio for one in rounds])
    wrong = sum(count - one.ends.get("408", 0) + one.off_time for one in rounds)
    return [
        report.verdict("rate per CPU second beside slow clients", ratio, 0.9, at_most=False),
        report.verdict("slow clients without a 408 on time", wrong, 0),
    ]


def app_alone_us(python: str, seconds: float, nice: int) -> float:
    """The CPU time of a request to the Flask application when it is called without a server."""
    done = subprocess.run(
        [python, ALONE, str(seconds)],
        capture_output=True,
        text=True,
        preexec_fn=pinned(SERVER_CORE, nice),
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"the application alone: {done.stderr.strip()}")
    return float(done.stdout)
