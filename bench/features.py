"""Which of io_uring's features pay here: each as a ratio to doing without it, or with the default.

Run as `python bench/features.py`; see bench/README.md. First the engine's own choices: an echo
server whose strategy has one decision changed, against the default one, window by window. Then
pairs of ways to do one thing with a ring, in turns on one core. The first row of either compares
a thing with itself: how far from 1 it is, and how wide, is what a ratio here is good for.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import echo
import report
from generator import Scenario
from harness import (
    BENCH,
    LOAD_CORE,
    MISTAKES,
    ROOT,
    SERVER_CORE,
    BenchError,
    Running,
    Server,
    default_nice,
    exit_with,
    pinned,
    put_to_sleep,
    serving,
    version_of,
)
from report_docs import markdown
from rounds import Rounds

SCENARIOS = (
    Scenario("64B", size=64),
    Scenario("16KiB", size=16 * 1024),
    Scenario("64B-1conn", connections=1, size=64),
    Scenario("churn", size=64, mode="churn"),
)
DEFAULT = "default"
VARIANTS = (
    DEFAULT,
    "without DEFER_TASKRUN",
    "NO_SQARRAY",
    "single receives",
    "own buffers",
    "single accepts",
    "SQPOLL",
    "epoll",
)
PAIRS = (
    "the same twice",
    "provided buffers",
    "multishot receive",
    *(f"receive bundles of {kib} KiB" for kib in (4, 16)),
    "min-wait",
    *(f"SEND_ZC of {kib} KiB" for kib in (4, 16, 64, 256, 1024)),
    "registered files",
    "registered sockets",
    "direct sockets",
    "registered ring descriptor",
    "linked sends",
    "one gathered send",
    "one send bundle",
)

OTHER = "other"
WARMUP = 0.2  # seconds
Ratios = dict[str, list[float]]  # one a round, by what is compared


def variants(options: argparse.Namespace) -> tuple[dict[str, Ratios], list[str]]:
    """CPU time for a message to the default's, by variant and scenario; and the mistakes.

    Each variant has windows of the default's beside its own: what the machine does meanwhile, it
    does to both.
    """
    program = str(BENCH / "peers" / "variant.py")
    scenarios = [one for one in SCENARIOS if one.name in options.scenarios.split(",")]
    found: dict[str, Ratios] = {}
    failed: list[str] = []

    def start(stack: contextlib.ExitStack, name: str) -> Running:
        server = Server(name, (options.python, program, name))
        running = stack.enter_context(serving(server, options.nice))
        put_to_sleep(running.pid)
        return running

    for name in options.variants.split(",") if options.variants else ():
        rounds = Rounds(options.rounds, options.seconds)
        with contextlib.ExitStack() as stack:
            both = [start(stack, DEFAULT), start(stack, name)]
            both[1].server = replace(both[1].server, name=OTHER)  # the default may be both
            echo.measure(rounds, both, scenarios, options.nice, WARMUP)
        failed += [line.replace(OTHER, name, 1) for line in rounds.failed]
        found[name] = {
            scenario: [
                one.cpu_us / other.cpu_us
                for one, other in zip(results[OTHER], results[DEFAULT], strict=True)
            ]
            for scenario, results in rounds.found.items()
            if OTHER in results and DEFAULT in results
        }
    return found, failed


def pairs(options: argparse.Namespace) -> tuple[Ratios, list[str]]:
    """CPU time for an operation with the feature to that without it; and what could not be done."""
    found: Ratios = {}
    failed: dict[str, str] = {}
    sink = Server("sink", (options.python, str(BENCH / "peers" / "sink.py")))
    with serving(sink, options.nice, core=LOAD_CORE) as running:
        for _ in range(options.rounds):
            for name in options.pairs.split(",") if options.pairs else ():
                if name in failed:
                    continue
                try:
                    found.setdefault(name, []).append(once(options, name, running.port))
                except BenchError as error:
                    failed[name] = str(error)
                    found.pop(name, None)
    return found, [f"{name}: {why}" for name, why in failed.items()]


def once(options: argparse.Namespace, name: str, port: int) -> float:
    """One pair's ratio, by a process of its own."""
    program = str(BENCH / "peers" / "ring_features.py")
    done = subprocess.run(
        [options.python, program, name, str(options.seconds), str(port)],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        preexec_fn=pinned(SERVER_CORE, options.nice),
        check=False,
    )
    if done.returncode != 0:
        raise BenchError((done.stderr.strip() or f"status {done.returncode}").splitlines()[-1])
    without, with_it = json.loads(done.stdout)
    return float(with_it / without)


def cell(values: list[float] | None) -> str:
    """The median and its spread, or a dash where there is none."""
    if not values:
        return "-"
    return f"{report.median(values):.2f} +-{report.spread(values) * 100:.0f}%"


def tables(found: dict[str, Ratios], raw: Ratios) -> list[tuple[list[str], list[list[str]]]]:
    """Headers and rows of what was found."""
    headers = ["CPU of a message / default's", *(scenario.name for scenario in SCENARIOS)]
    rows = [
        [
            "default again" if name == DEFAULT else name,
            *(cell(results.get(scenario.name)) for scenario in SCENARIOS),
        ]
        for name, results in found.items()
    ]
    pairs = [[name, cell(values)] for name, values in raw.items()]
    return [(headers, rows), (["CPU of an operation / without it", "ratio"], pairs)]


def main(argv: list[str] | None = None) -> int:
    """Measure, print, save; MISTAKES when a server made one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a window")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="only these, by commas")
    parser.add_argument("--scenarios", default=",".join(one.name for one in SCENARIOS))
    parser.add_argument("--pairs", default=",".join(PAIRS), help="only these, by commas")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--nice", type=int, default=default_nice())
    parser.add_argument("--json", help="also write every ratio here")
    parser.add_argument(
        "--page", type=Path, help="also put the tables into this page, by its marks"
    )
    options = parser.parse_args(argv)
    machine = {**report.machine(), "python": version_of(options.python)}
    found, failed = variants(options)
    raw, missing = pairs(options)
    failed += missing
    both = tables(found, raw)
    print("\n\n".join(report.table(*one) for one in both))
    for line in failed:
        print(f"no figure: {line}", file=sys.stderr)
    if options.page:
        parts = [report.ground(machine), *(markdown(*one) for one in both)]
        report.put_into_page(options.page, "bench/features.py", "\n\n".join(parts))
    document: dict[str, Any] = {"machine": machine, "failed": failed}
    report.save(options.json, {**document, "variants": found, "pairs": raw})
    return MISTAKES if failed else 0


if __name__ == "__main__":
    exit_with(main)
