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
from generator import Sample, Scenario, load
from harness import (
    MISSED,
    BenchError,
    Running,
    Server,
    default_nice,
    exit_with,
    open_files,
    processes,
    resident_bytes,
    serving,
)
from idle import clients, wait_for_files

LIMIT = 0.9
PROCESSES = 2
SPARE = 8  # descriptors that a server may open for itself at the first request
APPS = {"echo": "examples.echo:Echo", "http": "bench.peers.http_apps:handler"}
# Where the idle ones come from moves on: a closed connection keeps its port for a minute.
_addresses = itertools.cycle(range(10, 250, 2))


@dataclass(frozen=True)
class Beside:
    """One round: the server's CPU time for a message in microseconds, and memory by connection."""

    before: Sample
    beside: Sample
    after: Sample
    bytes_each: float

    @property
    def errors(self) -> int:
        """Everything that went wrong in the three windows."""
        return self.before.errors + self.beside.errors + self.after.errors

    @property
    def alone_us(self) -> float:
        """CPU time for a message without idle ones."""
        return (self.before.cpu_us + self.after.cpu_us) / 2

    @property
    def ratio(self) -> float:
        """The rate per CPU second beside idle ones to that without."""
        return self.alone_us / self.beside.cpu_us


def server(kind: str, tier: str, python: str, count: int) -> Server:
    """`pyuring serve` with room for that many."""
    command: tuple[str, ...] = (
        python,
        "-m",
        "pyuring",
        "serve",
        APPS[kind],
        "--bind",
        "127.0.0.1:0",
    )
    if kind == "http":
        command += ("--interface", "handler")
    room = str(count + 256)
    return Server(f"{kind} {tier}", (*command, "--tier", tier, "--limit-concurrency", room))


def busy(running: Running, kind: str, seconds: float, nice: int) -> Sample:
    """One window of the busy ones."""
    if kind == "echo":
        return load(running, Scenario("64B"), seconds, 0.3, nice)
    scenario = http_load.Scenario("full-64", "hello", "full")
    return http_load.measure(http_load.Turn(running, scenario, seconds, nice))


@contextlib.contextmanager
def idle_ones(running: Running, count: int, files: int) -> Iterator[float]:
    """Have so many connections that say nothing; the bytes that each takes of the server.

    `files` are the descriptors that it has without any connection.
    """
    name, pid = running.server.name, serving_process(running)
    if wait_for_files(pid, at_most=files) > files:
        raise BenchError(f"{name} keeps descriptors of connections that are closed")
    start = resident_bytes(pid)
    each = count // PROCESSES
    with contextlib.ExitStack() as stack:
        many = [
            stack.enter_context(clients(running.port, each, next(_addresses)))
            for _ in range(PROCESSES)
        ]
        for one in many:
            one.expect("connected")
        wanted = files - SPARE + each * PROCESSES
        if wait_for_files(pid, at_least=wanted) < wanted:
            raise BenchError(f"{name} did not accept {count} connections")
        yield (resident_bytes(pid) - start) / (each * PROCESSES)
        for one in many:
            one.tell("close")
    if wait_for_files(pid, at_most=files) > files:
        raise BenchError(f"{name} keeps descriptors of idle connections")


def one_round(running: Running, kind: str, count: int, seconds: float, nice: int) -> Beside:
    """Alone, beside `count` idle ones, alone again."""
    files = open_files(serving_process(running)) + SPARE
    before = busy(running, kind, seconds, nice)
    with idle_ones(running, count, files) as bytes_each:
        beside = busy(running, kind, seconds, nice)
    return Beside(before, beside, busy(running, kind, seconds, nice), bytes_each)


def serving_process(running: Running) -> int:
    """The process that has the connections: the worker, where the server has a parent for it."""
    return processes(running.pid)[-1]


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
                beside = one_round(
                    running, kind, options.connections, options.seconds, options.nice
                )
                found.setdefault(what.name, []).append(beside)
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
                f"{report.median([one.alone_us for one in rounds]):.2f}",
                f"{report.median([one.beside.cpu_us for one in rounds]):.2f}",
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
