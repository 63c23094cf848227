"""Beside idle ones: what 64 busy connections cost while thousands say nothing (bar 5).

Run as `python bench/beside_idle.py`. One worker has 18,000 idle connections (a process has 20,000
descriptors on many machines) from two processes, and 64 busy ones: echo of 64 bytes, or small
HTTP requests. In each round the busy ones are measured alone, beside the idle ones, and alone
again; the figure is their rate per second of the server's CPU, with to without.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import http_load
import report
from harness import (
    MISSED,
    BenchError,
    Running,
    Scenario,
    Server,
    default_nice,
    exit_with,
    load,
    open_files,
    resident_bytes,
    serving,
)
from idle import clients, wait_for_files

LIMIT = 0.9
PROCESSES = 2
APPS = {"echo": "examples.echo:Echo", "http": "bench.peers.http_apps:handler"}
# Where the idle ones come from moves on: a closed connection keeps its port for a minute.
_addresses = itertools.cycle(range(10, 250, 2))


@dataclass(frozen=True)
class Beside:
    """One round: the server's CPU time for a message in microseconds, and memory by connection."""

    before_us: float
    beside_us: float
    after_us: float
    bytes_each: float
    errors: int

    @property
    def ratio(self) -> float:
        """The rate per CPU second beside idle ones to that without."""
        return (self.before_us + self.after_us) / 2 / self.beside_us


def server(kind: str, tier: str, python: str, count: int) -> Server:
    """`pyuring serve` with room for that many."""
    command = (python, "-m", "pyuring", "serve", APPS[kind], "--bind", "127.0.0.1:0")
    if kind == "http":
        command += ("--interface", "handler")
    room = str(count + 256)
    return Server(f"{kind} {tier}", (*command, "--tier", tier, "--limit-concurrency", room))


def busy(running: Running, kind: str, options: argparse.Namespace) -> tuple[float, int]:
    """One window of the busy ones: CPU time for a message, and errors."""
    if kind == "echo":
        sample = load(running, Scenario("64B"), options.seconds, 0.3, options.nice)
        return sample.cpu_us, sample.errors
    scenario = http_load.Scenario("full-64", "hello", "full")
    found = http_load.measure(running, scenario, max(1, round(options.seconds)), options.nice)
    return found.cpu_us, found.errors


@contextlib.contextmanager
def idle_ones(running: Running, count: int, files: int) -> Iterator[float]:
    """Have so many connections that say nothing; the bytes that each takes of the server.

    `files` are the descriptors that it has without any connection.
    """
    if wait_for_files(running, at_most=files) > files:
        raise BenchError(f"{running.server.name} keeps descriptors of connections that are closed")
    start = resident_bytes(running.pid)
    each = count // PROCESSES
    with contextlib.ExitStack() as stack:
        many = [
            stack.enter_context(clients(running.port, each, next(_addresses)))
            for _ in range(PROCESSES)
        ]
        for one in many:
            one.expect("connected")
        if wait_for_files(running, at_least=files + each * PROCESSES) < files + each * PROCESSES:
            raise BenchError(f"{running.server.name} did not accept {count} connections")
        yield (resident_bytes(running.pid) - start) / (each * PROCESSES)
        for one in many:
            one.tell("close")
    if wait_for_files(running, at_most=files) > files:
        raise BenchError(f"{running.server.name} keeps descriptors of idle connections")


def one_round(running: Running, kind: str, options: argparse.Namespace) -> Beside:
    """Alone, beside idle ones, alone again."""
    files = open_files(running.pid)
    before, errors_before = busy(running, kind, options)
    with idle_ones(running, options.connections, files) as bytes_each:
        beside, errors_beside = busy(running, kind, options)
    after, errors_after = busy(running, kind, options)
    return Beside(before, beside, after, bytes_each, errors_before + errors_beside + errors_after)


def main(argv: list[str] | None = None) -> int:
    """Interleave the rounds, print and save; MISSED when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=18_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--kinds", default="echo,http")
    parser.add_argument("--tiers", default="auto,none")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--nice", type=int, default=default_nice())
    parser.add_argument("--json")
    options = parser.parse_args(argv)
    found: dict[str, list[Beside]] = {}
    pairs = list(itertools.product(options.kinds.split(","), options.tiers.split(",")))
    for turn in range(options.rounds):
        shift = turn % len(pairs)
        for kind, tier in pairs[shift:] + pairs[:shift]:
            what = server(kind, tier, options.python, options.connections)
            with serving(what, options.nice) as running:
                found.setdefault(what.name, []).append(one_round(running, kind, options))
    bars = told(found)
    samples = {name: [asdict(one) for one in rounds] for name, rounds in found.items()}
    report.save(options.json, {"machine": report.machine(), "bars": bars, "samples": samples})
    return 0 if all(bar["met"] for bar in bars) else MISSED


def told(found: dict[str, list[Beside]]) -> list[dict[str, Any]]:
    """Print the table and the bars; return the bars."""
    rows, bars = [], []
    for name, rounds in found.items():
        ratios = [one.ratio for one in rounds]
        rows.append(
            (
                name,
                f"{report.median([(one.before_us + one.after_us) / 2 for one in rounds]):.2f}",
                f"{report.median([one.beside_us for one in rounds]):.2f}",
                f"{report.median(ratios):.3f}",
                f"{report.spread(ratios) * 100:.0f}",
                f"{report.median([one.bytes_each for one in rounds]):.0f}",
            )
        )
        wanted = f"{name}: rate per CPU second beside idle ones"
        bars.append(report.verdict(wanted, report.median(ratios), LIMIT, at_most=False))
        errors = sum(one.errors for one in rounds)
        bars.append(report.verdict(f"{name}: mistakes", errors, 0))
    headers = ("beside idle ones", "us alone", "us beside", "rate/CPU s", "+-%", "B/idle conn")
    print(report.table(headers, rows), end="\n\n")
    print(report.verdicts(bars))
    return bars


if __name__ == "__main__":
    exit_with(main)
