"""The bars of a run: those of every benchmark in one list, and who is ahead of pyuring.

Owns only the bars that need the whole suite; the others come from the module they belong to.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

import beside_idle
import churn
import echo
import http_report
import http_slow
import idle
import lowlevel
import report
import startup
import tail
from rounds import Samples
from suite_results import Results
from suite_scenarios import SCENARIOS, is_ours, is_peer

# The evidence's own: scenario, limit of our CPU time for a request to the floor's.
FLOOR_BARS = (("full-64", 1.10), ("full-pipeline-16", 1.5))
HTTP_SECTIONS = ("HTTP: hello, world", "HTTP: bodies", "HTTP: connections")


Bars = list[dict[str, Any]]


def verdicts(results: Results) -> Bars:
    """All bars whose sides were measured; one that cannot be judged is told, the others stand."""
    found = results.rounds.found
    judges: dict[str, Callable[[], Bars]] = {
        "echo": lambda: [{**bar, "bar": f"echo {bar['bar']}"} for bar in echo.bars(found)],
        "churn": lambda: _churn(found),
        "HTTP": lambda: http_report.bars(found),
        "the floor": lambda: _floor(found),
        "Python servers": lambda: ahead(found),
        "the tail": lambda: tail.bars(found),
        "slow clients": lambda: http_slow.bars(results.slow, http_slow.COUNT),
        "idle connections": lambda: _idle(results),
        "the ring": lambda: lowlevel.bars_of(results.ring) if results.ring else [],
        "start-up": lambda: _start(results),
    }
    bars: Bars = []
    for name, judge in judges.items():
        try:
            bars += judge()
        except Exception as error:  # the figures of an hour are not to be lost by a word on them
            traceback.print_exc(file=sys.stderr)
            results.left_out[f"bars of {name}"] = f"{type(error).__name__}: {error}"
    return bars


def _churn(found: Samples) -> Bars:
    if "churn" not in found:
        return []
    return [{**bar, "bar": f"churn: {bar['bar']}"} for bar in churn.bars_of(found["churn"])]


def _floor(found: Samples) -> Bars:
    bars = []
    for scenario, limit in FLOOR_BARS:
        both = found.get(scenario, {})
        if "pyuring" in both and "floor" in both:
            ratio = http_report.ratio(both["pyuring"], both["floor"])
            bars.append(report.verdict(f"{scenario}: pyuring / floor (evidence)", ratio, limit))
    return bars


def _start(results: Results) -> Bars:
    bare, ours = results.starts
    if not ours:
        return []
    added = report.median(ours) - report.median(bare)
    return [report.verdict("import pyuring, ms added", added, startup.LIMIT_MS)]


def ahead(found: Samples) -> Bars:
    """No Python server may need less CPU for a request than the cheapest of ours."""
    bars = []
    for entry in SCENARIOS:
        cells = found.get(entry.key, {})
        if entry.section not in HTTP_SECTIONS:
            continue
        ours = [name for name in cells if is_ours(name)]
        peers = [name for name in cells if is_peer(name)]
        if not ours or not peers:
            continue
        mine = min(ours, key=lambda name: http_report.cpu(cells[name]))
        best = min(peers, key=lambda name: http_report.cpu(cells[name]))
        ratio = http_report.cpu(cells[mine]) / http_report.cpu(cells[best])
        name = f"{entry.key}: {mine} / the best Python server, {best}"
        bars.append(report.verdict(name, ratio, 1.0))
    return bars


def _idle(results: Results) -> Bars:
    bars = []
    for kind in ("echo", "http"):
        alone = results.rounds.found.get(f"idle-{kind}-alone", {})
        beside = results.rounds.found.get(f"idle-{kind}-beside", {})
        for name in beside:
            if is_ours(name):
                ratio = http_report.cpu(alone[name]) / http_report.cpu(beside[name])
                text = f"{kind} {name}: rate per CPU second beside 10,000 idle connections"
                bars.append(report.verdict(text, ratio, beside_idle.LIMIT, at_most=False))
    each = results.idle_bytes.get("echo pyuring")
    if each:
        text = "echo pyuring: resident bytes for an idle connection"
        bars.append(report.verdict(text, report.median(each), idle.LIMIT_BYTES))
    return bars
