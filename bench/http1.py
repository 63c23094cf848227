"""HTTP: the server's CPU time for a request, against the servers that others use.

Run as `python bench/http1.py`; see bench/README.md. The servers of a group are all up at once, each
stopped but the one under load; rounds are interleaved and the order turns. A server whose reply is
wrong, before or after a scenario, has no figure in it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shutil
import subprocess
import sys
from typing import Any

import http_report
import http_servers
import http_slow
import report
from harness import (
    MISSED,
    MISTAKES,
    BenchError,
    Running,
    awake,
    default_nice,
    exit_with,
    put_to_sleep,
)
from http_load import Sample, Scenario, check, measure, reply_length, wrong_bytes
from http_scenarios import QUICK, SCENARIOS
from http_slow import Slow, app_alone_us, beside_slow_clients

SLOW_SCENARIO = "slow"
OURS = ("pyuring", "floor")  # whose mistakes make the run fail

Samples = dict[str, dict[str, list[Sample]]]


class Session:
    """What one run has found, and what it could not do."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.found: Samples = {}
        self.failed: list[str] = []
        self.left_out: dict[str, str] = {}
        self.slow: dict[str, list[Slow]] = {}
        self.alone_us: list[float] = []

    def fail(self, name: str, scenario: str, reason: str) -> None:
        """Note a mistake; the cell has no figure."""
        line = f"{name}, {scenario}: {reason}"
        print(line, file=sys.stderr)
        self.failed.append(line)
        self.found.get(scenario, {}).pop(name, None)

    def group(self, names: list[str], scenarios: list[Scenario]) -> None:
        """Start the servers of one group and run its scenarios."""
        group = scenarios[0].group
        with contextlib.ExitStack() as stack:
            running = []
            for name in names:
                if group not in http_servers.SERVERS[name].groups:
                    continue
                python = http_servers.interpreter(name, self.options.python, group)
                start = http_servers.start(name, group, python, self.options.nice)
                try:
                    running.append(stack.enter_context(start))
                except BenchError as error:
                    self.fail(name, group, str(error))
                    continue
                # Some poll even when idle, on the core of the one that is measured.
                put_to_sleep(running[-1].pid)
            for scenario in scenarios:
                self.scenario(running, scenario)
            if group == http_servers.MIX and running:
                self.application_alone()

    def beside_slow_clients(self, names: list[str]) -> None:
        """Every server by itself, round after round: each is a comparison with itself."""
        options = self.options
        for name in names:
            if http_servers.SLOW not in http_servers.SERVERS[name].groups:
                continue
            python = http_servers.interpreter(name, options.python)
            start = http_servers.start(name, http_servers.SLOW, python, options.nice)
            try:
                with start as one:
                    for _ in range(options.rounds):
                        found = beside_slow_clients(
                            one, options.slow_clients, options.seconds, options.nice
                        )
                        self.slow.setdefault(name, []).append(found)
            except BenchError as error:
                self.fail(name, http_servers.SLOW, str(error))

    def application_alone(self) -> None:
        """The Flask application's own time, as often as there are rounds."""
        python = http_servers.interpreter("gunicorn-sync", self.options.python)
        for _ in range(self.options.rounds):
            self.alone_us.append(app_alone_us(python, self.options.seconds, self.options.nice))

    def scenario(self, running: list[Running], scenario: Scenario) -> None:
        """Interleaved rounds of one scenario, its replies looked at before and after."""
        self.found[scenario.name] = {}
        lengths: dict[str, int] = {}
        wanted = []
        for one in running:
            if scenario.name in http_servers.SERVERS[one.server.name].leaves_out:
                continue
            if one.process.poll() is not None:
                self.fail(one.server.name, scenario.name, "the server has ended before")
                continue
            with awake(one.pid):
                wrong = check(one, scenario)
                if wrong:
                    self.fail(one.server.name, scenario.name, wrong)
                    continue
                lengths[one.server.name] = reply_length(one, scenario)
            wanted.append(one)
        for turn in range(self.options.rounds):
            shift = turn % max(1, len(wanted))
            for one in wanted[shift:] + wanted[:shift]:
                self.window(one, scenario, lengths[one.server.name])
        for one in wanted:
            with awake(one.pid):
                wrong = check(one, scenario)
            if wrong:
                self.fail(one.server.name, scenario.name, f"after the load: {wrong}")

    def window(self, one: Running, scenario: Scenario, length: int) -> None:
        """One window; a mistake in it removes the server from the scenario."""
        name = one.server.name
        if any(line.startswith(f"{name}, {scenario.name}: ") for line in self.failed):
            return
        try:
            with awake(one.pid):
                sample = measure(one, scenario, self.options.seconds, self.options.nice)
        except (BenchError, subprocess.TimeoutExpired) as error:
            return self.fail(name, scenario.name, str(error))
        self.found[scenario.name].setdefault(name, []).append(sample)
        if sample.errors or not sample.requests:
            self.fail(name, scenario.name, str(sample))
        elif wrong_bytes(sample, scenario, length):
            self.fail(name, scenario.name, f"replies of another length than {length}: {sample}")


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, help="length of a window")
    parser.add_argument("--servers", default=",".join(http_servers.SERVERS))
    parser.add_argument("--scenarios", default="")
    parser.add_argument("--slow-clients", type=int, default=5000)
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


def available(session: Session) -> list[str]:
    """The wanted servers that can be started here; the others are told, with the reason."""
    names = []
    for name in session.options.servers.split(","):
        python = http_servers.interpreter(name, session.options.python)
        reason = http_servers.unavailable(name, python)
        if reason:
            session.left_out[name] = reason
            print(f"left out, not available here: {name} ({reason})", file=sys.stderr)
        else:
            names.append(name)
    return names


def run(session: Session) -> list[dict[str, Any]]:
    """Measure and print; the bars."""
    options = session.options
    names = available(session)
    wanted = [one for one in SCENARIOS if one.name in options.scenarios.split(",")]
    for group in dict.fromkeys(one.group for one in wanted):
        session.group(names, [one for one in wanted if one.group == group])
    print(http_report.tables(session.found, wanted))
    if session.alone_us:
        print(http_report.own_shares(session.found["flask-mix"], session.alone_us))
    verdicts = http_report.bars(session.found)
    if SLOW_SCENARIO in options.scenarios.split(","):
        session.beside_slow_clients(names)
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
    session = Session(options)
    verdicts = run(session)
    samples: dict[str, Any] = {
        scenario: {name: [dataclasses.asdict(s) for s in many] for name, many in results.items()}
        for scenario, results in session.found.items()
    }
    slow = {name: [dataclasses.asdict(s) for s in many] for name, many in session.slow.items()}
    document = {"machine": report.machine(), "bars": verdicts, "left_out": session.left_out}
    more: dict[str, Any] = {
        "failed": session.failed,
        "app_alone_us": session.alone_us,
        "slow": slow,
    }
    report.save(options.json, {**document, **more, "samples": samples})
    if any(line.startswith(OURS) for line in session.failed):
        return MISTAKES
    return 0 if options.quick or all(bar["met"] for bar in verdicts) else MISSED


if __name__ == "__main__":
    exit_with(main)
