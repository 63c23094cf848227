"""Medians, tables, machine facts and JSON for every benchmark.

Owns how results look. Never knows what was measured.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def median(values: Sequence[float]) -> float:
    """The median; of nothing it is not-a-number, so that a missing figure shows."""
    return statistics.median(values) if values else float("nan")


def spread(values: Sequence[float]) -> float:
    """Half the distance between the extremes, as a share of the median."""
    return (max(values) - min(values)) / 2 / median(values) if values else float("nan")


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first aligned left, the others right."""
    widths = [max(len(row[i]) for row in [headers, *rows]) for i in range(len(headers))]
    lines = []
    for row in [headers, ["-" * width for width in widths], *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What a reader must know to compare: kernel, processor, Python, load when it began."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "kernel": platform.release(),
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }


def verdict(name: str, value: float, limit: float, at_most: bool = True) -> dict[str, Any]:
    """One bar: its figure, its limit, and whether it is met (never when the figure is missing)."""
    met = value <= limit if at_most else value >= limit
    return {"bar": name, "value": value, "limit": limit, "at_most": at_most, "met": bool(met)}


def verdicts(found: Sequence[dict[str, Any]]) -> str:
    """The bars as lines of text."""
    lines = []
    for bar in found:
        sign = "<=" if bar["at_most"] else ">="
        mark = "ok    " if bar["met"] else "MISSED"
        lines.append(f"{mark} {bar['bar']}: {bar['value']:.3f} {sign} {bar['limit']:g}")
    return "\n".join(lines)


def ground(machine: dict[str, Any]) -> str:
    """What a table of a page was measured on, in a sentence."""
    place = f"CPython {machine['python']}, Linux {machine['kernel']}, {machine['cpu']}"
    load = f"the machine's load was {machine['load_average']:.1f} before it began"
    return f"{place}, {machine['time'][:10]}; {load}."


def put_into_page(page: Path, program: str, text: str) -> None:
    """Replace what stands in a page between a program's mark and the next end mark."""
    before, begin, rest = page.read_text().partition(f"<!-- begin: {program} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    if not begin or not end:
        raise ValueError(f"{page} has no marks of {program}")
    page.write_text(f"{before}{begin}{text}\n{end}{after}")


def save(path: str | None, document: dict[str, Any]) -> None:
    """Write the JSON document where it was asked for, if it was."""
    if path is not None:
        Path(path).write_text(json.dumps(document, indent=2) + "\n")
