"""Echo: the server's CPU time per message, and the round trip of one connection (bars 3 and 4).

Run as `python bench/echo.py`; see bench/README.md. All servers are up at once, each idle but the
one under load; rounds are interleaved and the order turns, so that drift meets all of them alike.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
from collections.abc import Iterable
from typing import Any

import report
import servers
from generator import Sample, Scenario, load
from harness import MISSED, MISTAKES, Running, default_nice, exit_with
from rounds import Rounds, Samples
from syscalls import Counters

SCENARIOS = (
    Scenario("64B", size=64),
    Scenario("1KiB", size=1024),
    Scenario("16KiB", size=16 * 1024),
    Scenario("256KiB", size=256 * 1024),
    Scenario("64B-depth16", size=64, depth=16),
    Scenario("64B-1conn", connections=1, size=64),
)
# scenario, ours (the better of them), peer, limit, figure
BARS = (
    ("64B", ("pyuring",), "uvloop", 0.82, "cpu_us"),
    ("64B", ("pyuring",), "zloop", 1.00, "cpu_us"),
    ("64B", ("pyuring",), "floor", 1.20, "cpu_us"),
    ("1KiB", ("pyuring",), "uvloop", 0.82, "cpu_us"),
    ("1KiB", ("pyuring",), "zloop", 1.00, "cpu_us"),
    ("16KiB", ("pyuring", "pyuring-buffered"), "rloop", 1.00, "cpu_us"),
    ("16KiB", ("pyuring", "pyuring-buffered"), "epoll", 1.10, "cpu_us"),
    ("64B-depth16", ("pyuring",), "uvloop", 1.00, "cpu_us"),
    ("64B-depth16", ("pyuring",), "rloop", 1.00, "cpu_us"),
    ("64B-1conn", ("pyuring",), "uvloop", 1.00, "p50_us"),
)
RATIOS = ("uvloop", "zloop", "rloop", "epoll", "floor")


def measure(
    rounds: Rounds,
    running: list[Running],
    scenarios: Iterable[Scenario],
    nice: int,
    warmup: float = 0.5,
    spin: bool = True,
) -> None:
    """Run every scenario in interleaved rounds."""
    for scenario in scenarios:

        def window(
            one: Running, seconds: float, counters: Counters | None, scenario: Scenario = scenario
        ) -> Sample:
            return load(one, scenario, seconds, warmup, nice, spin, counters)

        rounds.scenario(scenario.name, running, window)


def figure(samples: list[Sample], what: str) -> float:
    """The median of one figure over the rounds."""
    if what == "cpu_us":
        return report.median([sample.cpu_us for sample in samples])
    return report.median([sample.p50_ns / 1e3 for sample in samples])


def ratio(ours: list[Sample], peers: list[Sample], what: str) -> float:
    """The median over the rounds of one figure of ours to the peer's."""
    both = zip(ours, peers, strict=True)
    pairs = [(figure([one], what), figure([other], what)) for one, other in both]
    return report.median([one / other for one, other in pairs if other > 0])


def scenario_table(name: str, found: dict[str, list[Sample]]) -> str:
    """One scenario's table: CPU per message, its ratios to the peers, latency, rate, business."""
    peers = [peer for peer in RATIOS if peer in found]
    headers = [name, "us/msg", "+-%", *(f"/{peer}" for peer in peers), "p50 us", "p99 us"]
    headers += ["msg/s", "busy %"]
    rows = []
    for server, samples in found.items():
        cpu = figure(samples, "cpu_us")
        row = [server, f"{cpu:.2f}", f"{report.spread([s.cpu_us for s in samples]) * 100:.0f}"]
        row += [f"{ratio(samples, found[peer], 'cpu_us'):.2f}" for peer in peers]
        row += [f"{figure(samples, 'p50_us'):.1f}"]
        row += [f"{report.median([s.p99_ns / 1e3 for s in samples]):.1f}"]
        row += [f"{report.median([s.rate for s in samples]):.0f}"]
        row += [f"{report.median([s.busy for s in samples]) * 100:.0f}"]
        rows.append(row)
    return report.table(headers, rows)


def bars(found: Samples) -> list[dict[str, Any]]:
    """The bars whose two sides were both measured."""
    verdicts = []
    for scenario, candidates, peer, limit, what in BARS:
        results = found.get(scenario, {})
        ours = [results[name] for name in candidates if name in results]
        if ours and peer in results:
            best = min(ratio(samples, results[peer], what) for samples in ours)
            verdicts.append(report.verdict(f"{scenario} {what} / {peer}", best, limit))
    return verdicts


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a window")
    parser.add_argument("--warmup", type=float, default=0.5)
    parser.add_argument("--servers", default=",".join(servers.NAMES))
    parser.add_argument("--scenarios", default=",".join(s.name for s in SCENARIOS))
    parser.add_argument("--python", default=sys.executable, help="CPython for all servers (3.13)")
    parser.add_argument("--nice", type=int, default=default_nice())
    parser.add_argument("--sleep", action="store_true", help="let the load sleep between replies")
    parser.add_argument("--json", help="also write every sample here")
    parser.add_argument("--quick", action="store_true", help="one short round: a smoke test")
    options = parser.parse_args(argv)
    if options.quick:
        options.rounds, options.seconds, options.warmup = 1, 0.4, 0.1
    return options


def main(argv: list[str] | None = None) -> int:
    """Measure, print, save; MISSED or MISTAKES as the exit status."""
    options = arguments(argv)
    scenarios = [s for s in SCENARIOS if s.name in options.scenarios.split(",")]
    wanted = options.servers.split(",")
    python = servers.python_for(wanted, options.python)
    names = [name for name in wanted if servers.available(name, python)]
    for name in set(wanted) - set(names):
        print(f"left out, not available here: {name}", file=sys.stderr)
    with contextlib.ExitStack() as stack:
        running = [servers.start(stack, name, python, options.nice) for name in names]
        rounds = Rounds(options.rounds, options.seconds)
        measure(rounds, running, scenarios, options.nice, options.warmup, not options.sleep)
    found = rounds.found
    for name, results in found.items():
        print(scenario_table(name, results), end="\n\n")
    for one in running:
        if one.server.note:
            print(f"* {one.server.note}\n")
    verdicts = bars(found)
    print(report.verdicts(verdicts))
    samples = {
        scenario: {name: [dataclasses.asdict(s) for s in many] for name, many in results.items()}
        for scenario, results in found.items()
    }
    started = {one.server.name: one.line for one in running}
    document = {"machine": report.machine(), "servers": started, "bars": verdicts}
    report.save(options.json, {**document, "samples": samples})
    if rounds.failed:
        return MISTAKES
    return 0 if options.quick or all(bar["met"] for bar in verdicts) else MISSED


if __name__ == "__main__":
    exit_with(main)
