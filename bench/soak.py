"""Soak: `python bench/soak.py MINUTES`, everything at once, and then nothing may be left of it.

Two tiers at a time, each with `pyuring serve` (two processes, HTTP) and an echo engine (two
workers). Cycles of load: churn, uploads and downloads in every form, slow readers and writers,
malformed input, clients that go or are killed in the middle; servers and clients are stopped and
continued, processes reloaded, accepting paused. After each cycle all must be as before: no byte
was wrong, no well-behaved client was closed, and connections, operations in flight, buffers held,
descriptors and memory have returned to where they were. Exit status 1 when something was found.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import time
from collections import Counter
from dataclasses import asdict
from typing import Any

import report
from harness import exit_with
from soak_servers import (
    LEVELS,
    NEVER,
    CountedServer,
    HttpServer,
    SoakServer,
    State,
    temporary_folder,
)
from soak_trouble import Trouble

SETTLE_SECONDS = 60.0
# Processes are replaced in every sixth cycle only, so that their memory has time for growing.
RELOAD_CYCLES = 6
# What the level that a process falls back to may have risen by: the allocator's noise.
GROWTH_BYTES = {"http parent": 1 << 20, "http processes": 2 << 20, "echo": 2 << 20}
GROWTH_BLOCKS = 2000


def at_rest(server: SoakServer) -> State:
    """Return what a server holds when its start is over: two readings that agree."""
    deadline = time.monotonic() + SETTLE_SECONDS
    state = server.state()
    while time.monotonic() < deadline:
        time.sleep(0.3)
        before, state = state, server.state()
        if all(state.metrics[name] == before.metrics[name] for name in LEVELS):
            break
    return state


class Watched:
    """A server, what it held at first, and its readings in quiet moments."""

    def __init__(self, server: SoakServer) -> None:
        self.server = server
        self.name = f"{server.name} {server.tier}"
        self.before = at_rest(server)
        self.files: list[int] = []  # by generation of the process tree: parent, then the largest
        self.readings: list[State] = []

    def settle(self, warm: bool) -> list[str]:
        """Wait until it holds what it held at first; return what it does not give back."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            state = self.server.state()
            wrong = self._wrong(state, warm)
            if not wrong or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        if warm:
            self.readings.append(state)
        if not self.files or not warm:
            self.files = self._most_files(state)
        wrong += [f"{name} is {state.metrics[name]}" for name in NEVER if state.metrics[name]]
        return [f"{self.name}: {each}" for each in wrong]

    def _wrong(self, state: State, warm: bool) -> list[str]:
        wrong = [
            f"{name} is {state.metrics[name]}, was {self.before.metrics[name]}"
            for name in LEVELS
            if state.metrics[name] != self.before.metrics[name]
        ]
        if len(state.files) != len(self.before.files):
            wrong.append(f"{len(state.files)} processes, were {len(self.before.files)}")
        files = self._most_files(state)
        if warm and self.files and any(a > b for a, b in zip(files, self.files, strict=False)):
            wrong.append(f"descriptors are {files}, were {self.files}")
        return wrong

    @staticmethod
    def _most_files(state: State) -> list[int]:
        first, *others = state.files.values()
        return [first, *([max(others)] if others else [])]

    def bars(self) -> list[dict[str, Any]]:
        """How memory has grown over the quiet moments."""
        first = [next(iter(one.resident.values())) for one in self.readings]
        if self.server.name == "http":
            return [
                self._bar("http parent", growth(first[len(first) // 5 :])),
                self._bar("http processes", growth_of_each([r.resident for r in self.readings])),
            ]
        # Pools grow to their working size in the first fifth; what lives shorter has no such time.
        blocks = growth([one.interpreter["blocks"] for one in self.readings])
        return [
            self._bar("echo", growth(first[len(first) // 5 :])),
            report.verdict(f"{self.name}: growth of memory blocks", blocks, GROWTH_BLOCKS),
        ]

    def _bar(self, who: str, value: float) -> dict[str, Any]:
        name = f"{who} {self.server.tier}: growth of resident bytes"
        return report.verdict(name, value, GROWTH_BYTES[who])


def growth(values: list[int]) -> float:
    """The lowest reading of the second half less that of the first: a leak raises it."""
    half = len(values) // 2
    return min(values[half:]) - min(values[:half] or values)


def growth_of_each(readings: list[dict[int, int]]) -> float:
    """The median growth of the processes that come and go, 0 when none has lived long enough."""
    lives: dict[int, list[int]] = {}
    for reading in readings:
        for pid in list(reading)[1:]:
            lives.setdefault(pid, []).append(reading[pid])
    return report.median([growth(life) for life in lives.values() if len(life) >= 5] or [0])


class Soak:
    """The servers of every tier, the cycles, and what was found."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.rng = random.Random(options.seed)
        self.counts: Counter[str] = Counter()
        self.findings: list[str] = []
        self.pairs: list[tuple[Watched, Watched]] = []
        self.began = time.monotonic()

    def run(self) -> None:
        """Start everything, go through the cycles, end everything in order."""
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(temporary_folder())
            servers: list[SoakServer] = []
            for tier in self.options.tiers.split(","):
                servers.append(HttpServer(tier, folder))
                stack.callback(servers[-1].kill)
                servers.append(CountedServer("echo", tier, folder))
                stack.callback(servers[-1].kill)
                self.pairs.append((Watched(servers[-2]), Watched(servers[-1])))
            self._cycle(self.options.warmup, warm=False)
            self.began = time.monotonic()
            while (left := self.began + self.options.minutes * 60 - time.monotonic()) > 0:
                self._cycle(min(left, self.options.cycle), warm=True)
            for server in servers:
                status = server.end()  # type: ignore[attr-defined]
                if status:
                    self.findings.append(f"{server.name} {server.tier} ended with {status}")
                self.findings += server.mistakes()

    def _cycle(self, seconds: float, warm: bool) -> None:
        cycles = [
            Trouble(
                http.server,  # type: ignore[arg-type]
                echo.server,  # type: ignore[arg-type]
                self.rng.randrange(1 << 30),
                seconds,
                self.options.tasks,
                reloads=self.counts["cycles"] % RELOAD_CYCLES == 0,
            )
            for http, echo in self.pairs
        ]
        found: list[str] = []
        for cycle in cycles:
            found += cycle.end()
            self.counts.update(cycle.counts)
        for watched in (each for pair in self.pairs for each in pair):
            found += watched.settle(warm)
        self.counts["cycles"] += 1
        self._tell(found)

    def _tell(self, found: list[str]) -> None:
        minutes = (time.monotonic() - self.began) / 60
        counts = self.counts
        memory = " ".join(
            f"{watched.name} {max(watched.readings[-1].resident.values()) / 2**20:.1f}"
            for pair in self.pairs
            for watched in pair
            if watched.readings
        )
        print(
            f"{minutes:6.1f} min  {counts['connections']} connections,"
            f" {counts['requests']} requests, {counts['messages']} messages,"
            f" {len(found)} findings; MiB: {memory}",
            flush=True,
        )
        for each in found[:20]:
            print(f"  {each}", flush=True)
        self.findings += found


def main(argv: list[str] | None = None) -> int:
    """Soak, print the counts and the verdict; 1 when something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("minutes", type=float, nargs="?", default=10.0)
    parser.add_argument("--cycle", type=float, default=45.0, help="seconds of load at a time")
    parser.add_argument("--warmup", type=float, default=15.0, help="seconds before what counts")
    parser.add_argument("--tiers", default="auto,none")
    parser.add_argument("--tasks", type=int, default=24, help="clients in each of two processes")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--nice", type=int, default=0, help="taken by nobody here")
    parser.add_argument("--json")
    options = parser.parse_args(argv)
    print(f"--seed {options.seed}", flush=True)
    soak = Soak(options)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        soak.run()
    except KeyboardInterrupt:
        soak.findings.append("interrupted before the end")
    watched = [each for pair in soak.pairs for each in pair]
    bars = [bar for each in watched for bar in each.bars()]
    for name, count in sorted(soak.counts.items()):
        print(f"{count:>15,}  {name}")
    print(report.verdicts(bars))
    for each in soak.findings[:100]:
        print(f"  {each}")
    print(f"{len(soak.findings)} findings" if soak.findings else "nothing found")
    document = {"machine": report.machine(), "bars": bars, "findings": soak.findings}
    document |= {"counts": soak.counts, "seed": options.seed}
    document["readings"] = {each.name: [asdict(one) for one in each.readings] for each in watched}
    report.save(options.json, document)
    return 1 if soak.findings or not all(bar["met"] for bar in bars) else 0


if __name__ == "__main__":
    exit_with(main)
