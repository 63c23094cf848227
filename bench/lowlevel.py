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
WORKS = {
    "liburing": ("nops", "nops_premade", "reads"),
    "pyuring": ("nops", "nops_premade", "nops_batch", "reads", "reads_batch"),
}
# ours, theirs, the bar where there is one
COMPARISONS: tuple[tuple[str, str, float | None], ...] = (
    ("nops_batch", "nops", 3.0),
    ("nops_batch", "nops_premade", None),
    ("nops_premade", "nops_premade", None),
    ("nops", "nops", None),
    ("reads_batch", "reads", 1.0),
    ("reads", "reads", None),
)

Rates = dict[tuple[str, str], list[float]]  # by library and work


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


def once(python: str, library: str, work: str, file: str, seconds: float, nice: int) -> float:
    """One process, one measurement: operations per second."""
    ops = str(BENCH / "peers" / "ops.py")
    done = subprocess.run(
        [python, ops, library, work, str(seconds), file],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        preexec_fn=pinned(SERVER_CORE, nice),
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"{library}, {work}:\n{done.stderr.strip()}")
    operations, nanoseconds = done.stdout.split()
    return int(operations) / int(nanoseconds) * 1e9


def measure(
    python: str, libraries: list[str], rounds: int, seconds: float, mebibytes: int, nice: int
) -> Rates:
    """Interleaved rounds of each kind of work."""
    file = data_file(mebibytes)
    found: Rates = {}
    pairs = [(library, work) for library in libraries for work in WORKS[library]]
    pairs.sort(key=lambda pair: pair[1])  # the same work of both, one after the other
    for turn in range(rounds):
        for library, work in pairs if turn % 2 == 0 else pairs[::-1]:
            rate = once(python, library, work, file, seconds, nice)
            found.setdefault((library, work), []).append(rate)
    return found


def ratio(found: Rates, ours: str, theirs: str) -> float:
    """The median over the rounds of ours to theirs."""
    pairs = zip(found["pyuring", ours], found["liburing", theirs], strict=True)
    return report.median([mine / other for mine, other in pairs])


def bars_of(found: Rates) -> list[dict[str, Any]]:
    """The comparisons that are bars."""
    return [
        report.verdict(
            f"pyuring {ours} / liburing {theirs}", ratio(found, ours, theirs), limit, False
        )
        for ours, theirs, limit in COMPARISONS
        if limit is not None
    ]


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
    found = measure(
        python, libraries, options.rounds, options.seconds, options.file_mib, options.nice
    )
    rows = []
    for (library, work), values in found.items():
        middle = report.median(values)
        row = [f"{library}, {work}", f"{middle:.0f}", f"{1e9 / middle:.1f}"]
        rows.append([*row, f"{report.spread(values) * 100:.0f}"])
    print(report.table(("library, work", "ops/s", "ns/op", "+-%"), rows), end="\n\n")
    for ours, theirs, _ in COMPARISONS if "pyuring" in libraries else ():
        print(f"pyuring {ours} / liburing {theirs}: {ratio(found, ours, theirs):.2f}")
    bars = bars_of(found) if "pyuring" in libraries else []
    print("\n" + report.verdicts(bars))
    document = {
        "machine": report.machine(),
        "bars": bars,
        "rates": {" ".join(pair): rates for pair, rates in found.items()},
    }
    report.save(options.json, document)
    return 0 if all(bar["met"] for bar in bars) else MISSED


if __name__ == "__main__":
    exit_with(main)
