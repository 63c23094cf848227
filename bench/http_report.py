"""Tables and bars of the HTTP benchmarks. Never measures anything."""

from __future__ import annotations

from typing import Any

import report
from generator import Sample
from http_load import Scenario
from http_scenarios import BARS
from rounds import Samples


def cpu(samples: list[Sample]) -> float:
    """The median of the server's CPU time for a request, in microseconds."""
    return report.median([sample.cpu_us for sample in samples])


def ratio(ours: list[Sample], peers: list[Sample]) -> float:
    """The median over the rounds of our CPU time for a request to the peer's."""
    pairs = zip(ours, peers, strict=True)
    return report.median([one.cpu_us / other.cpu_us for one, other in pairs])


def table(scenario: Scenario, found: dict[str, list[Sample]]) -> str:
    """One scenario: CPU per request (and KiB), latency, rate, how busy both sides were."""
    large = scenario.unit >= 1024
    headers = [scenario.name, "us/req", "+-%", *(["ns/KiB"] if large else []), "/floor", "p50 us"]
    headers += ["p99 us", "req/s", "busy %", "load %", ""]
    rows = []
    for name, samples in sorted(found.items(), key=lambda item: cpu(item[1])):
        figure = cpu(samples)
        busy = report.median([s.busy for s in samples])
        load = report.median([s.load_busy for s in samples])
        row = [name, f"{figure:.2f}", f"{report.spread([s.cpu_us for s in samples]) * 100:.0f}"]
        row += [f"{figure * 1e3 / scenario.unit * 1024:.0f}"] if large else []
        row += [f"{ratio(samples, found['floor']):.2f}" if "floor" in found else "-"]
        row += [f"{report.median([s.p50_ns / 1e3 for s in samples]):.0f}"]
        row += [f"{report.median([s.p99_ns / 1e3 for s in samples]):.0f}"]
        row += [f"{report.median([s.rate for s in samples]):.0f}", f"{busy * 100:.0f}"]
        row += [f"{load * 100:.0f}", "load-bound" if load > 0.9 > busy else ""]
        rows.append(row)
    return report.table(headers, rows)


def tables(found: Samples, scenarios: list[Scenario]) -> str:
    """Every scenario's table."""
    made = [table(one, found[one.name]) for one in scenarios if found.get(one.name)]
    return "\n\n".join(made) + "\n"


def own_shares(found: dict[str, list[Sample]], alone_us: list[float]) -> str:
    """What each server adds to the application of the mix."""
    alone = report.median(alone_us)
    headers = (f"flask-mix, alone {alone:.1f} us", "us/req", "own us", "own %")
    rows = []
    for name, samples in sorted(found.items(), key=lambda item: cpu(item[1])):
        whole = cpu(samples)
        own = whole - alone
        rows.append((name, f"{whole:.2f}", f"{own:.2f}", f"{own / whole * 100:.0f}"))
    return report.table(headers, rows) + "\n"


def bars(found: Samples) -> list[dict[str, Any]]:
    """The bars whose two sides were both measured."""
    verdicts = []
    for scenario, ours, peers, limit in BARS:
        results = found.get(scenario, {})
        there = [name for name in peers if name in results]
        if ours not in results or not there:
            continue
        best = min(there, key=lambda name: cpu(results[name]))
        value = ratio(results[ours], results[best])
        verdicts.append(report.verdict(f"{scenario}: {ours} / {best}", value, limit))
    return verdicts
