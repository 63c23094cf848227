"""Churn: connections opened, used once and closed, per second of the server's CPU (bar 7).

Run as `python bench/churn.py`; `--soak MINUTES` then keeps pyuring under churn and watches its
memory and descriptors, which must not grow.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

import echo
import report
import servers
from generator import Sample, Scenario, load
from harness import (
    MISSED,
    Running,
    default_nice,
    exit_with,
    open_files,
    resident_bytes,
    serving,
)
from rounds import Rounds

CHURN = Scenario("churn", connections=64, size=64, mode="churn")
LIMIT = 1.2
SINGLE_SHOT_LIMIT = 0.95  # not below, but for the noise of a run
# What a soak may end with beyond its beginning: allocator noise, not a leak per connection.
GROWTH_BYTES = 512 * 1024


@dataclass(frozen=True)
class Reading:
    """The server's memory and descriptors at one moment of a soak."""

    seconds: float
    resident: int
    files: int


def per_cpu_second(sample: Sample) -> float:
    """Connections per second of the server's CPU time."""
    return sample.messages / sample.server_cpu_ns * 1e9


def compare(names: list[str], python: str, options: argparse.Namespace) -> dict[str, list[Sample]]:
    """Interleaved rounds of churn against each server."""
    rounds = Rounds(options.rounds, options.seconds)
    with contextlib.ExitStack() as stack:
        running = [servers.start(stack, name, python, options.nice) for name in names]
        echo.measure(rounds, running, [CHURN], options.nice, options.warmup)
    return rounds.found[CHURN.name]


def soak(running: Running, minutes: float, nice: int, every: float = 5.0) -> tuple[Any, ...]:
    """Churn for so long, reading memory and descriptors; then wait for the last to close."""
    files = open_files(running.pid)
    readings: list[Reading] = []
    ended = threading.Event()

    def watch() -> None:
        began = time.monotonic()
        while not ended.wait(every):
            at = time.monotonic() - began
            readings.append(Reading(at, resident_bytes(running.pid), open_files(running.pid)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        sample = load(running, CHURN, minutes * 60, warmup=2.0, nice=nice)
    finally:
        ended.set()
        watcher.join()
    time.sleep(1.0)
    return sample, readings, open_files(running.pid) - files


def growth(readings: list[Reading]) -> float:
    """The median memory of the last fifth less that of the second fifth, in bytes.

    The first fifth is left out: pools grow to their working size there.
    """
    fifth = max(1, len(readings) // 5)
    early = [reading.resident for reading in readings[fifth : 2 * fifth]]
    return report.median([r.resident for r in readings[-fifth:]]) - report.median(early)


def print_comparison(found: dict[str, list[Sample]]) -> list[dict[str, Any]]:
    """The table, and the bar when both sides are there."""
    rows = [
        (
            name,
            f"{report.median([per_cpu_second(s) for s in samples]):.0f}",
            f"{report.spread([per_cpu_second(s) for s in samples]) * 100:.0f}",
            f"{report.median([s.rate for s in samples]):.0f}",
            f"{report.median([s.busy for s in samples]) * 100:.0f}",
            str(sum(s.errors for s in samples)),
        )
        for name, samples in found.items()
    ]
    headers = ("churn", "conn/CPU s", "+-%", "conn/s", "busy %", "errors")
    print(report.table(headers, rows), end="\n\n")
    return bars_of(found)


def bars_of(found: dict[str, list[Sample]]) -> list[dict[str, Any]]:
    """The bars whose two sides are there."""
    bars = []
    # Multishot receives must not lose to single-shot ones when connections are short (F31).
    for peer, limit in (("uvloop", LIMIT), ("pyuring-mid", SINGLE_SHOT_LIMIT)):
        if "pyuring" in found and peer in found:
            pairs = zip(found["pyuring"], found[peer], strict=True)
            ratio = report.median([per_cpu_second(a) / per_cpu_second(b) for a, b in pairs])
            name = f"connections per CPU second / {peer}"
            bars.append(report.verdict(name, ratio, limit, at_most=False))
    if bars:
        errors = sum(sample.errors for sample in found["pyuring"])
        bars.append(report.verdict("failed connections", errors, 0))
    return bars


def run_soak(python: str, options: argparse.Namespace) -> tuple[list[dict[str, Any]], Any]:
    """Soak the named server; its bars and its readings."""
    with serving(servers.server(options.soak_server, python), options.nice) as running:
        sample, readings, files_left = soak(running, options.soak, options.nice, options.every)
    print(f"{sample.messages} connections, {sample.errors} errors")
    grown = growth(readings)
    bars = [
        report.verdict("soak: growth of resident bytes", grown, GROWTH_BYTES),
        report.verdict("soak: descriptors left", files_left, 0),
        report.verdict("soak: failed connections", sample.errors, 0),
    ]
    return bars, [asdict(reading) for reading in readings]


def main(argv: list[str] | None = None) -> int:
    """Compare, soak if asked to, print and save; MISSED when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--warmup", type=float, default=0.5)
    parser.add_argument(
        "--servers", default="pyuring,pyuring-mid,uvloop,zloop-epoll,rloop,asyncio,epoll"
    )
    parser.add_argument("--soak", type=float, default=0.0, metavar="MINUTES")
    parser.add_argument("--soak-server", default="pyuring")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between readings")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--nice", type=int, default=default_nice())
    parser.add_argument("--json")
    options = parser.parse_args(argv)
    wanted = options.servers.split(",")
    python = servers.python_for(wanted if options.rounds else [options.soak_server], options.python)
    names = [name for name in wanted if servers.available(name, python)]
    found = compare(names, python, options) if options.rounds else {}
    bars = print_comparison(found) if found else []
    readings: Any = []
    if options.soak:
        soaked, readings = run_soak(python, options)
        bars += soaked
    print(report.verdicts(bars))
    samples = {name: [asdict(sample) for sample in many] for name, many in found.items()}
    document = {"machine": report.machine(), "bars": bars, "samples": samples}
    report.save(options.json, {**document, "soak": readings})
    return 0 if all(bar["met"] for bar in bars) else MISSED


if __name__ == "__main__":
    exit_with(main)
