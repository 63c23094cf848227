"""HTTP: the server's CPU time for a request, against the servers that others use.

Run as `python bench/http1.py`; see bench/README.md. The servers of a group are all up at once, each
stopped but the one under load; rounds are interleaved and the order turns. A server whose reply is
wrong, before or after a scenario, has no figure in it.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
from typing import Any

import http_report
import http_servers
import http_slow
import report
from harness import MISSED, MISTAKES, BenchError, default_nice, exit_with
from http_scenarios import QUICK, SCENARIOS
from http_session import Session
from rounds import Rounds

SLOW_SCENARIO = "slow"
OURS = ("pyuring", "floor")  # whose mistakes make the run fail


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="length of a window")
    parser.add_argument("--servers", default=",".join(http_servers.SERVERS))
    parser.add_argument("--scenarios", default="")
    parser.add_argument("--slow-clients", type=int, default=http_slow.COUNT)
    parser.add_argument("--python", default=sys.executable, help="CPython for all servers (3.13)")
    parser.add_argument("--nice", type=int, default=default_nice())
    parser.add_argument("--json", help="also write every sample here")
    parser.add_argument(
        "--quick", action="store_true", help="three minutes: few scenarios and rounds"
    )
    options = parser.parse_args(argv)
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.seconds = options.seconds or (1 if options.quick else 2)
    if options.quick:
        options.scenarios = options.scenarios or ",".join(QUICK)
    everything = [*(one.name for one in SCENARIOS), SLOW_SCENARIO]
    options.scenarios = options.scenarios or ",".join(everything)
    return options


def run(session: Session, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure and print; the bars."""
    names = session.available(options.servers.split(","))
    wanted = [one for one in SCENARIOS if one.name in options.scenarios.split(",")]
    for group in dict.fromkeys(one.group for one in wanted):
        session.group(names, [one for one in wanted if one.group == group])
    found = session.rounds.found
    print(http_report.tables(found, wanted))
    if session.alone_us:
        print(http_report.own_shares(found["flask-mix"], session.alone_us))
    verdicts = http_report.bars(found)
    if SLOW_SCENARIO in options.scenarios.split(","):
        session.beside_slow_clients(names, options.slow_clients)
        print(http_slow.table(session.slow))
        verdicts += http_slow.bars(session.slow, options.slow_clients)
    notes = {name: http_servers.SERVERS[name].note for name in names}
    print("\n".join(f"* {name}: {note}" for name, note in notes.items() if note), end="\n\n")
    print(report.verdicts(verdicts))
    return verdicts


def main(argv: list[str] | None = None) -> int:
    """Measure, print, save; MISSED or MISTAKES as the exit status."""
    options = arguments(argv)
    if shutil.which("wrk") is None:
        raise BenchError("the load generator wrk is not installed (Debian: wrk)")
    http_servers.prepare_files()
    rounds = Rounds(options.rounds, options.seconds)
    session = Session(rounds, options.python, options.nice)
    verdicts = run(session, options)
    samples: dict[str, Any] = {
        scenario: {name: [dataclasses.asdict(s) for s in many] for name, many in results.items()}
        for scenario, results in rounds.found.items()
    }
    slow = {name: [dataclasses.asdict(s) for s in many] for name, many in session.slow.items()}
    document = {"machine": report.machine(), "bars": verdicts, "left_out": session.left_out}
    more: dict[str, Any] = {
        "failed": rounds.failed,
        "app_alone_us": session.alone_us,
        "slow": slow,
    }
    report.save(options.json, {**document, **more, "samples": samples})
    if any(line.startswith(OURS) for line in rounds.failed):
        return MISTAKES
    return 0 if options.quick or all(bar["met"] for bar in verdicts) else MISSED


if __name__ == "__main__":
    exit_with(main)
