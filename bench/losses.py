"""Losses: what a million connections leave behind in one process, which must be nothing (bar 6).

Run as `python bench/losses.py [--connections N] [--kinds echo,http] [--tiers auto,none]`. Short
connections, one after the other in 64 lanes: echo ones whose every byte is checked (load.zig), and
HTTP ones by wrk where it is installed. Descriptors, buffers, slots, operations in flight, Python's
objects and memory blocks, resident memory are counted before and after, and printed.
"""

from __future__ import annotations

import argparse
import shutil
import time
from typing import Any

import http_load
import report
from churn import CHURN
from generator import load
from harness import MISSED, BenchError, Running, Server, exit_with
from soak_servers import CountedServer, temporary_folder

# What may be more afterwards: nothing that is the engine's; of the interpreter's what does not
# grow with the number of connections.
LIMITS = {
    "descriptors": 0,
    "threads": 0,
    "connections open": 0,
    "accepted less closed": 0,
    "buffers held": 0,
    "operations in flight": 0,
    "completions unknown": 0,
    "objects": 100,
    "memory blocks": 300,
    "resident KiB": 1024,
}
WARM_UP = 20_000  # or a tenth, if that is less
SETTLE_SECONDS = 10.0


def held(server: CountedServer) -> dict[str, int]:
    """Count what the process holds."""
    state = server.state()
    metrics, interpreter = state.metrics, state.interpreter
    return {
        "descriptors": interpreter["files"],
        "threads": interpreter["threads"],
        "connections open": metrics["active"],
        "accepted less closed": metrics["accepted"] - metrics["closed"],
        "buffers held": metrics["buffers_held"],
        "operations in flight": metrics["ops_in_flight"],
        "completions unknown": metrics["unknown_completions"],
        "objects": interpreter["objects"],
        "memory blocks": interpreter["blocks"],
        "resident KiB": sum(state.resident.values()) // 1024,
    }


def quiet(server: CountedServer) -> dict[str, int]:
    """Count when the last connections have closed."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while (found := held(server))["connections open"] and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def connect(server: CountedServer, count: int, nice: int) -> int:
    """Open and close at least so many connections; return how many of them failed."""
    running = Running(Server("pyuring", ()), server.process, server.port, "")  # type: ignore[arg-type]
    wanted = server.state().metrics["accepted"] + count
    errors, left, rate = 0, count, 5000.0
    while left > 0:
        before = time.monotonic()
        seconds = min(30.0, max(0.5, left / rate))
        if server.name == "echo":
            errors += load(running, CHURN, seconds, 0.1, nice).errors
        else:
            scenario = http_load.Scenario("close", "hello", "close")
            turn = http_load.Turn(running, scenario, max(1, round(seconds)), nice)
            errors += http_load.wrk(turn).errors
        now = wanted - server.state().metrics["accepted"]
        rate = max(1.0, (left - now) / (time.monotonic() - before))
        left = now
    return errors


def measure(kind: str, tier: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run one server through all of it; return the counts before, after, and the failures."""
    with temporary_folder() as folder:
        server = CountedServer(kind, tier, folder, workers=1)
        try:
            connect(server, min(WARM_UP, options.connections // 10), options.nice)
            before, first = quiet(server), server.state().metrics["accepted"]
            began = time.monotonic()
            errors = connect(server, options.connections, options.nice)
            seconds = time.monotonic() - began
            after, last = quiet(server), server.state().metrics["accepted"]
            server.end()
        finally:
            server.kill()
    return {
        "name": f"{kind} {tier}", "connections": last - first, "seconds": seconds,
        "errors": errors, "before": before, "after": after,
    }  # fmt: skip


def bars(result: dict[str, Any]) -> list[dict[str, Any]]:
    """What is more than before, and may not be."""
    found = [report.verdict(f"{result['name']}: failed connections", result["errors"], 0)]
    for what, limit in LIMITS.items():
        more = result["after"][what] - result["before"][what]
        found.append(report.verdict(f"{result['name']}: {what} lost", more, limit))
    return found


def main(argv: list[str] | None = None) -> int:
    """Measure each kind on each tier; MISSED when something was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=1_000_000)
    parser.add_argument("--kinds", default="echo,http")
    parser.add_argument("--tiers", default="auto,none")
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--json")
    options = parser.parse_args(argv)
    kinds = options.kinds.split(",")
    if "http" in kinds and shutil.which("wrk") is None:
        if kinds == ["http"]:
            raise BenchError("the HTTP load generator wrk is missing")
        kinds.remove("http")
    results = []
    for kind in kinds:
        for tier in options.tiers.split(","):
            results.append(measure(kind, tier, options))
            print(table(results[-1]), end="\n\n", flush=True)
    found = [bar for result in results for bar in bars(result)]
    missed = [bar for bar in found if not bar["met"]]
    print(report.verdicts(missed) if missed else f"ok     nothing is lost: {len(found)} bars met")
    report.save(options.json, {"machine": report.machine(), "bars": found, "results": results})
    return MISSED if missed else 0


def table(result: dict[str, Any]) -> str:
    """The counts of one server."""
    title = f"{result['name']}: {result['connections']:,} connections, {result['seconds']:.0f} s"
    rows = [
        (what, str(result["before"][what]), str(result["after"][what])) for what in result["before"]
    ]
    return report.table((title, "before", "after"), rows)


if __name__ == "__main__":
    exit_with(main)
