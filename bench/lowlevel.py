"""The low level: operations per second of a ring driven from Python, against `liburing` (bar 6).

Run as `python bench/lowlevel.py`. Batches of 64 NOPs, and random 4 KiB reads at depth 32 through
registered buffers from a file that lies in the page cache. Each round is a process per library,
one after the other on one core.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import report
from harness import (
    BENCH,
    CACHE,
    MISSED,
    ROOT,
    SERVER_CORE,
    BenchError,
    default_nice,
    exit_with,
    peers_python,
    pinned,
)

BLOCK = 4096
WORKS = ("nops", "nops_premade", "reads")
LIMITS = {"nops": 3.0, "reads": 1.0}

Rates = dict[str, dict[str, list[float]]]


def data_file(mebibytes: int) -> str:
    """A file whose blocks begin with their number, read once so that it is in the page cache."""
    CACHE.mkdir(exist_ok=True)
    path = CACHE / f"blocks-{mebibytes}"
    count = mebibytes * 2**20 // BLOCK
    if not path.exists() or path.stat().st_size != count * BLOCK:
        with path.open("wb") as file:
            for number in range(count):
                file.write(number.to_bytes(8, "little") * (BLOCK // 8))
    path.read_bytes()
    return str(path)


def once(python: str, library: str, work: str, file: str, options: argparse.Namespace) -> float:
    """One process, one measurement: operations per second."""
    ops = str(BENCH / "peers" / "ops.py")
    done = subprocess.run(
        [python, ops, library, work, str(options.seconds), file],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        preexec_fn=pinned(SERVER_CORE, options.nice),
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"{library}, {work}:\n{done.stderr.strip()}")
    operations, nanoseconds = done.stdout.split()
    return int(operations) / int(nanoseconds) * 1e9


def measure(python: str, libraries: list[str], options: argparse.Namespace) -> Rates:
    """Interleaved rounds of each kind of work."""
    file = data_file(options.file_mib)
    found: Rates = {work: {} for work in WORKS}
    for turn in range(options.rounds):
        for work in WORKS:
            for library in libraries if turn % 2 == 0 else libraries[::-1]:
                rate = once(python, library, work, file, options)
                found[work].setdefault(library, []).append(rate)
    return found


def ratio(rates: dict[str, list[float]]) -> float:
    """The median over the rounds of ours to theirs."""
    pairs = zip(rates["pyuring"], rates["liburing"], strict=True)
    return report.median([ours / theirs for ours, theirs in pairs])


def main(argv: list[str] | None = None) -> int:
    """Measure, print, save; MISSED when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--file-mib", type=int, default=64)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--nice", type=int, default=default_nice())
    parser.add_argument("--json")
    options = parser.parse_args(argv)
    python = peers_python(options.python)
    libraries = ["pyuring", "liburing"]
    if not Path(ROOT / "pyuring" / "ring.py").exists():
        print("left out, not available here: pyuring", file=sys.stderr)
        libraries = ["liburing"]
    found = measure(python, libraries, options)
    rows = []
    bars: list[dict[str, Any]] = []
    for work, rates in found.items():
        both = len(rates) == 2
        for library, values in rates.items():
            middle = report.median(values)
            row = [f"{work}, {library}", f"{middle:.0f}", f"{1e9 / middle:.1f}"]
            row += [f"{report.spread(values) * 100:.0f}"]
            rows.append([*row, f"{ratio(rates):.2f}" if both and library == "pyuring" else ""])
        if both and work in LIMITS:
            name = f"{work}, operations per second / liburing"
            bars.append(report.verdict(name, ratio(rates), LIMITS[work], at_most=False))
    print(report.table(("work", "ops/s", "ns/op", "+-%", "/liburing"), rows), end="\n\n")
    print(report.verdicts(bars))
    document = {"machine": report.machine(), "bars": bars, "rates": found}
    report.save(options.json, document)
    return 0 if all(bar["met"] for bar in bars) else MISSED


if __name__ == "__main__":
    exit_with(main)
