"""The bars of a run: those of every benchmark in one list, and who is ahead of pyuring.

Owns only the bars that need the whole suite; the others come from the module they belong to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import beside_idle
import churn
import echo
import http_report
import http_slow
import idle
import lowlevel
import report
import startup
from rounds import Samples
from suite_scenarios import SCENARIOS, is_ours, is_peer

if TYPE_CHECKING:
    from suite import Suite

# The evidence's own: scenario, limit of our CPU time for a request to the floor's.
FLOOR_BARS = (("full-64", 1.10), ("full-pipeline-16", 1.5))
HTTP_SECTIONS = ("HTTP: hello, world", "HTTP: bodies", "HTTP: connections")


def verdicts(suite: Suite) -> list[dict[str, Any]]:
    """All bars whose sides were measured."""
    found = suite.rounds.found
    bars = [{**bar, "bar": f"echo {bar['bar']}"} for bar in echo.bars(found)]
    if "churn" in found:
        bars += [{**bar, "bar": f"churn: {bar['bar']}"} for bar in churn.bars_of(found["churn"])]
    bars += http_report.bars(found)
    for scenario, limit in FLOOR_BARS:
        both = found.get(scenario, {})
        if "pyuring" in both and "floor" in both:
            ratio = http_report.ratio(both["pyuring"], both["floor"])
            bars.append(report.verdict(f"{scenario}: pyuring / floor (evidence)", ratio, limit))
    bars += ahead(found)
    bars += suite.tail.bars()
    bars += http_slow.bars(suite.session.slow, http_slow.COUNT)
    bars += _idle(suite)
    if suite.ring:
        bars += lowlevel.bars_of(suite.ring)
    bare, ours = suite.starts
    if ours:
        added = report.median(ours) - report.median(bare)
        bars.append(report.verdict("import pyuring, ms added", added, startup.LIMIT_MS))
    return bars


def ahead(found: Samples) -> list[dict[str, Any]]:
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


def _idle(suite: Suite) -> list[dict[str, Any]]:
    bars = []
    for kind in ("echo", "http"):
        alone = suite.rounds.found.get(f"idle-{kind}-alone", {})
        beside = suite.rounds.found.get(f"idle-{kind}-beside", {})
        for name in beside:
            if is_ours(name):
                ratio = http_report.cpu(alone[name]) / http_report.cpu(beside[name])
                text = f"{kind} {name}: rate per CPU second beside 10,000 idle connections"
                bars.append(report.verdict(text, ratio, beside_idle.LIMIT, at_most=False))
    each = suite.idle_bytes.get("echo pyuring")
    if each:
        text = "echo pyuring: resident bytes for an idle connection"
        bars.append(report.verdict(text, report.median(each), idle.LIMIT_BYTES))
    return bars
