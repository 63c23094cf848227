"""Which of io_uring's features pay here: each as a ratio to doing without it, or with the default.

Run as `python bench/features.py`; see bench/README.md. First the engine's own choices: an echo
server whose strategy has one decision changed, against the default one, in interleaved rounds.
Then pairs of ways to do one thing with a ring, in turns on one core.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
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
VARIANTS = (
    "default",
    "without DEFER_TASKRUN",
    "NO_SQARRAY",
    "single receives",
    "own buffers",
    "single accepts",
    "SQPOLL",
    "epoll",
)
PAIRS = (
    *(f"SEND_ZC of {kib} KiB" for kib in (4, 16, 64, 256, 1024)),
    "registered files",
    "registered ring descriptor",
    "linked sends",
    "one gathered send",
)

Ratios = dict[str, list[float]]  # one a round, by what is compared


def variants(options: argparse.Namespace) -> tuple[dict[str, Ratios], list[str]]:
    """CPU time for a message to the default's, by variant and scenario; and the mistakes."""
    rounds = Rounds(options.rounds, options.seconds)
    program = str(BENCH / "peers" / "variant.py")
    with contextlib.ExitStack() as stack:
        running = []
        for name in VARIANTS:
            server = Server(name, (options.python, program, name))
            running.append(stack.enter_context(serving(server, options.nice)))
            put_to_sleep(running[-1].pid)
        echo.measure(rounds, running, SCENARIOS, options.nice)
    found: dict[str, Ratios] = {name: {} for name in VARIANTS[1:]}
    for scenario, results in rounds.found.items():
        for name in set(results) - {"default"}:
            both = zip(results[name], results["default"], strict=True)
            found[name][scenario] = [one.cpu_us / other.cpu_us for one, other in both]
    return found, rounds.failed


def pairs(options: argparse.Namespace) -> Ratios:
    """CPU time for an operation with the feature to that without it."""
    found: Ratios = {}
    sink = Server("sink", (options.python, str(BENCH / "peers" / "sink.py")))
    program = str(BENCH / "peers" / "ring_features.py")
    with serving(sink, options.nice, core=LOAD_CORE) as running:
        for _ in range(options.rounds):
            for name in PAIRS:
                command = [
                    options.python,
                    program,
                    name,
                    str(options.seconds / 2),
                    str(running.port),
                ]
                done = subprocess.run(
                    command,
                    env={"PYTHONPATH": str(ROOT)},
                    capture_output=True,
                    text=True,
                    preexec_fn=pinned(SERVER_CORE, options.nice),
                    check=False,
                )
                if done.returncode != 0:
                    raise BenchError(f"{name}:\n{done.stderr.strip()}")
                without, with_it = json.loads(done.stdout)
                found.setdefault(name, []).append(with_it / without)
    return found


def cell(values: list[float] | None) -> str:
    """The median and its spread, or a dash where there is none."""
    if not values:
        return "-"
    return f"{report.median(values):.2f} +-{report.spread(values) * 100:.0f}%"


def tables(found: dict[str, Ratios], raw: Ratios) -> list[tuple[list[str], list[list[str]]]]:
    """Headers and rows of what was found."""
    headers = ["CPU of a message / default's", *(scenario.name for scenario in SCENARIOS)]
    rows = [
        [name, *(cell(results.get(scenario.name)) for scenario in SCENARIOS)]
        for name, results in found.items()
    ]
    pairs = [[name, cell(values)] for name, values in raw.items()]
    return [(headers, rows), (["CPU of an operation / without it", "ratio"], pairs)]


def main(argv: list[str] | None = None) -> int:
    """Measure, print, save; MISTAKES when a server made one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a window")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--nice", type=int, default=default_nice())
    parser.add_argument("--json", help="also write every ratio here")
    parser.add_argument(
        "--page", type=Path, help="also put the tables into this page, by its marks"
    )
    options = parser.parse_args(argv)
    machine = {**report.machine(), "python": version_of(options.python)}
    found, failed = variants(options)
    raw = pairs(options)
    both = tables(found, raw)
    print("\n\n".join(report.table(*one) for one in both))
    if options.page:
        parts = [report.ground(machine), *(markdown(*one) for one in both)]
        report.put_into_page(options.page, "bench/features.py", "\n\n".join(parts))
    document: dict[str, Any] = {"machine": machine, "failed": failed}
    report.save(options.json, {**document, "variants": found, "pairs": raw})
    return MISTAKES if failed else 0


if __name__ == "__main__":
    exit_with(main)
