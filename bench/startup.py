"""Start-up: what `import pyuring` adds to the bare interpreter (bar 8).

Run as `python bench/startup.py [PYTHON …]`. Both are started alternately many times on one core;
the figure is the difference of the medians of the wall clock, in milliseconds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

import report
from harness import MISSED, ROOT, SERVER_CORE, BenchError, default_nice, exit_with, pinned

LIMIT_MS = 15.0
BARE = "pass"
OURS = "import pyuring"
CHECK = "import sys, pyuring; sys.exit(any(n.partition('.')[0] == 'asyncio' for n in sys.modules))"


def once(python: str, code: str, nice: int) -> float:
    """The wall clock of one interpreter that runs the code and ends, in milliseconds."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    prepare = pinned(SERVER_CORE, nice)
    began = time.perf_counter_ns()
    done = subprocess.run([python, "-c", code], env=environment, preexec_fn=prepare, check=False)
    if done.returncode != 0:
        raise BenchError(f"{python} -c {code!r} ended with {done.returncode}")
    return (time.perf_counter_ns() - began) / 1e6


def measure(python: str, rounds: int, nice: int) -> tuple[list[float], list[float]]:
    """Alternate the two after one run that fills the caches and writes the byte code."""
    once(python, OURS, nice)
    bare, ours = [], []
    for _ in range(rounds):
        bare.append(once(python, BARE, nice))
        ours.append(once(python, OURS, nice))
    return bare, ours


def main(argv: list[str] | None = None) -> int:
    """Measure each interpreter; MISSED when one misses the bar or imports asyncio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pythons", nargs="*", default=[sys.executable], metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--nice", type=int, default=default_nice())
    parser.add_argument("--json")
    options = parser.parse_args(argv)
    bars, rows, samples = [], [], {}
    for python in options.pythons:
        bare, ours = measure(python, options.rounds, options.nice)
        added = report.median(ours) - report.median(bare)
        rows.append((python, *(f"{report.median(v):.1f}" for v in (bare, ours)), f"{added:.1f}"))
        bars.append(report.verdict(f"ms added, {python}", added, LIMIT_MS))
        samples[python] = {"bare": bare, "ours": ours}
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        asyncio = subprocess.run([python, "-c", CHECK], env=environment, check=False).returncode
        bars.append(report.verdict(f"asyncio imported, {python}", asyncio, 0))
    print(report.table(("python", "bare ms", "import ms", "added ms"), rows), end="\n\n")
    print(report.verdicts(bars))
    report.save(options.json, {"machine": report.machine(), "bars": bars, "samples": samples})
    return 0 if all(bar["met"] for bar in bars) else MISSED


if __name__ == "__main__":
    exit_with(main)
