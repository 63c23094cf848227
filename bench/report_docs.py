"""docs/performance.md, made of the newest full run that is kept: `report_docs.py [--check]`.

Owns the page's words; its figures come from figures.py. Never written by hand: a test compares.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import document
import figures
import http_excluded
import report
import suite_plan
import suite_scenarios
from figures import Cell, number
from harness import ROOT
from suite_scenarios import SCENARIOS, SECTIONS

PAGE = ROOT / "docs" / "performance.md"
_HOW = """\
Every figure is the median of interleaved rounds, the order of the servers turned in each: one
process, one worker, no access log, the server alone on one core, the load on another. Replies are
compared byte by byte; a server with one wrong reply has no figure."""
_COLUMNS = (
    ("CPU", "what the server's processes spent for a unit, user and system"),
    ("±", "half the distance between the extremes of the rounds, of the figure before it"),
    (
        "× ours, × floor",
        "the figure to pyuring's, and to that of the floor (our ring and worker without Python): "
        "above 1 it needs more",
    ),
    ("load, core", "the load's own work for a unit, and how full that made its core"),
    (
        "≈",
        "no order: it is not clear of the server above. Of clear ones no rounds overlap, and the "
        "medians are more than 3 % apart",
    ),
    (
        "⚠",
        "the load's core was full and the server's was not: the load was the limit. Such a server "
        "waits in between, which costs it more for each unit",
    ),
    (
        "p50, p99, p99.9",
        "latency in a closed loop; in the tail's scenarios on a schedule, from when a request was "
        "due",
    ),
    (
        "RSS, calls",
        "resident memory, and system calls for a unit, looked at once behind the rounds",
    ),
)


def page(found: dict[str, Any], source: str) -> str:
    """The whole page."""
    parts = [
        "# Performance",
        f"Made by `nox -s bench` from [{source}](../bench/results/{source}), never by hand. The "
        "command below a heading measures that alone, the whole is `nox -s bench`. What the "
        "scenarios are and how the servers run is in [bench/README.md](../bench/README.md).",
        markdown(("", ""), ground(found)),
        "## Bars",
        bars(found),
        "## How to read the tables",
        _HOW,
        markdown(("column", ""), _COLUMNS),
    ]
    by_scenario = figures.cells(found)
    for section, words in SECTIONS.items():
        entries = [one for one in SCENARIOS if one.section == section and one.key in by_scenario]
        if entries:
            parts += [f"## {section}", words]
        for entry in entries:
            title = entry.title[0].upper() + entry.title[1:]
            parts += [f"### {title}", *_gist(entry.key), table(by_scenario[entry.key])]
    parts += ["## Left out", "\n".join(f"- {line}" for line in omissions(found))]
    return "\n\n".join(parts) + "\n"


def _gist(key: str) -> list[str]:
    gist = figures.entry(key).gist
    said = [f"`{suite_scenarios.command(key)}`" + (f": {gist}." if gist else "")]
    if key in suite_plan.GROUP_REASON:
        said[0] += f" {suite_plan.GROUP_REASON[key].capitalize()}."
    return said


def ground(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What it ran on: name and text."""
    there = found["environment"]
    versions = sorted(shown(there["versions"]).items())
    broken_off = ": broken off, not all is here" if found.get("partial") else ""
    rows = [
        ("when", f"{there['time']}, {found['took_seconds'] / 60:.0f} minutes" + broken_off),
        ("commit", there["commit"] + (", with changes" if there["dirty"] else "")),
        ("processor", f"{there['cpu']}, {there['cores']} cores, governor {there['governor']}"),
        ("kernel", there["kernel"]),
        ("load average before", f"{there['load_average']:.2f}"),
        ("rounds", f"{found['plan']['rounds']} of {found['plan']['seconds']:g} s"),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions)),
    ]
    idle = [(name, report.median(each)) for name, each in found["idle_bytes"].items()]
    if idle:
        text = ", ".join(f"{name} {each:.0f}" for name, each in idle)
        rows.append(("resident bytes for an idle connection", text))
    if found["collections"]:
        text = ", ".join(map(str, found["collections"])) + " of each generation"
        rows.append(("collections in pyuring-gc in the tail", text))
    if found["alone_us"]:
        text = f"{report.median(found['alone_us']):.1f} µs of CPU for a call"
        rows.append(("the Flask application without a server", text))
    return rows


def shown(versions: dict[str, str]) -> dict[str, str]:
    """The versions of what is compared, without what that needs in turn."""
    names = (
        "aiohttp bjoern fastpysgi fastwsgi flask granian gunicorn httptools liburing nginx python"
    )
    names += " rloop robyn socketify uvicorn uvloop wrk zloop"
    return {name: version for name, version in versions.items() if name in names.split()}


def bars(found: dict[str, Any]) -> str:
    """Every bar with its figure."""
    rows = []
    for bar in found["bars"]:
        sign = "≤" if bar["at_most"] else "≥"
        limit = f"{sign} {bar['limit']:g}"
        mark = "met" if bar["met"] else "**missed**"
        rows.append((bar["bar"], f"{bar['value']:.3f}", limit, mark))
    return markdown(("bar", "figure", "limit", ""), rows)


def table(many: list[Cell]) -> str:
    """One scenario, the best server first."""
    return markdown(*rows(many))


def rows(many: list[Cell]) -> tuple[list[str], list[list[str]]]:
    """One scenario's headers and rows; the figure that ranks comes first, with its spread."""
    entry = figures.entry(many[0].scenario)
    reference, floor = figures.ours(many), figures.floor(many)
    columns = {"cpu_us": f"CPU µs/{entry.unit}", "p999_us": "p99.9 µs"}
    others = [column for column in columns if column != entry.figure]
    headers = ["server", columns[entry.figure], "±", "× ours", *(["× floor"] if floor else [])]
    headers += ["rate/s", "load µs, core", "p50 µs", "p99 µs", *(columns[one] for one in others)]
    headers += ["RSS MiB", "calls", ""]
    found = []
    for place, cell in enumerate(many):
        name = f"**{cell.server}**" if cell.server.startswith("pyuring") else cell.server
        load = f"{number(cell.median('load_us'))}, {(cell.median('load_busy') or 0) * 100:.0f} %"
        rounds = cell.columns[cell.figure]
        spread = f"{report.spread(rounds) * 100:.0f} %" if len(rounds) > 1 else "–"
        row = [name, number(cell.median(entry.figure)), spread]
        row += [number(figures.ratio(cell, reference))]
        row += [number(figures.ratio(cell, floor))] if floor else []
        row += [number(cell.median("rate")), load if cell.median("load_us") else "–"]
        row += [number(cell.median(column)) for column in ("p50_us", "p99_us", *others)]
        row += [number(cell.rss / 2**20 if cell.rss else None), number(cell.syscalls)]
        even = place > 0 and not many[place - 1].clearly_before(cell)
        marks = ("≈" if even else "", "⚠" if cell.client_bound else "")
        found.append([*row, " ".join(filter(None, marks))])
    return _without_empty(headers, found)


def _without_empty(headers: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """A column in which nothing was measured is not shown."""
    kept = [
        index
        for index, header in enumerate(headers)
        if header in ("server", "±", "") or any(row[index] not in ("–", "") for row in rows)
    ]
    return [headers[index] for index in kept], [[row[index] for index in kept] for row in rows]


def omissions(found: dict[str, Any]) -> list[str]:
    """What was not measured, and why, a line each."""
    lines = [f"{name}: {why}" for name, why in found["left_out"].items()]
    lines += [f"no figure: {line}" for line in found["wrong"]]
    lines += [f"{name}: {note}" for name, note in found["notes"].items()]
    if found["no_syscalls"]:
        lines.append(f"system calls: {found['no_syscalls']}")
    for servers, scenarios, why in http_excluded.EXCLUDED:
        lines.append(f"{', '.join(servers)} in {', '.join(scenarios)}: {why}")
    lines.append(f"other servers in {', '.join(suite_plan.BY_WRK)}: {suite_plan.WRK_REASON}")
    variants = ", ".join(suite_plan.VARIANTS)
    lines.append(f"{variants} in other scenarios: {suite_plan.VARIANT_REASON}")
    return lines


def markdown(headers: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; a bar within a cell is written so that it stays one."""
    lines = ["| " + " | ".join(headers) + " |"]
    lines.append("|" + "---|" * (lines[0].count("|") - 1))
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def main() -> None:
    """Write the page, or say that it is not what the newest run gives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    newest = document.newest()
    if newest is None:
        sys.exit("bench/results has no full run")
    text = page(document.load(newest), newest.name)
    if not options.check:
        PAGE.write_text(text)
    elif Path(PAGE).read_text() != text:
        sys.exit("docs/performance.md is not the newest run's: python bench/report_docs.py")


if __name__ == "__main__":
    main()
