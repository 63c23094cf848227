"""The whole suite: every scenario and server in one run, a document, a page and tables.

Run as `nox -s bench`, or `python bench/suite.py`; see bench/README.md. Owns the order of a run. How
anything is measured is in the modules it calls, how it looks in report_html.py and report_docs.py.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import document
import echo
import http_servers
import http_slow
import proxying
import publish
import report
import servers
import suite_bars
import suite_plan
from beside_idle import one_round
from churn import CHURN
from generator import Sample
from harness import MISSED, MISTAKES, BenchError, default_nice, exit_with, peers_python, serving
from http_session import Session
from lowlevel import WORKS, measure as measure_ring
from rounds import Rounds
from startup import measure as measure_start
from suite_plan import Plan
from suite_scenarios import is_ours
from tail import Tail

IDLE_CLIENTS = 10_000
RING_FILE_MIB = 64


class Suite:
    """One run."""

    def __init__(self, plan: Plan, python: str, nice: int) -> None:
        self.plan = plan
        self.python = python
        self.nice = nice
        self.rounds = Rounds(plan.rounds, plan.seconds, plan.counting)
        self.session = Session(self.rounds, python, nice, suite_plan.excluded)
        self.tail = Tail(self.rounds, python, nice)
        self.left_out: dict[str, str] = {}
        self.idle_bytes: dict[str, list[float]] = {}
        self.ring: dict[tuple[str, str], list[float]] = {}
        self.starts: tuple[list[float], list[float]] = ([], [])
        self.began = time.monotonic()

    def run(self) -> None:
        """Measure everything in its order; what cannot be measured is noted, the rest goes on."""
        self.available = self.session.available(self.plan.http_servers())
        self.left_out |= self.session.left_out
        self.peers = servers.python_for(self.plan.named(suite_plan.ECHO_SERVERS), self.python)
        steps: list[tuple[str, Callable[[], None]]] = [
            ("echo", self.echo),
            ("http", self.http),
            ("the tail", self.tails),
            ("broadcast, proxy, churn", self.streams),
            ("slow clients", self.slow),
            ("idle connections", self.idle),
            ("the ring", self.low_level),
            ("start-up", self.start_up),
        ]
        for name, step in steps:
            self.say(name)
            try:
                step()
            except (BenchError, OSError, subprocess.TimeoutExpired) as error:
                self.left_out[name] = str(error).strip().rpartition("\n")[2]
                print(f"{name}: {error}", file=sys.stderr, flush=True)
        self.say("done")

    def say(self, what: str) -> None:
        """A line of progress."""
        minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
        print(f"{minutes:3d}:{seconds:02d} {what}", flush=True)

    def http(self) -> None:
        """The HTTP scenarios, group by group."""
        wanted = self.plan.http_scenarios()
        for group in dict.fromkeys(one.group for one in wanted):
            self.say(f"  {group}")
            names = [
                name
                for name in self.available
                if any(suite_plan.takes_part(name, one) for one in wanted if one.group == group)
            ]
            self.session.group(names, [one for one in wanted if one.group == group])

    def tails(self) -> None:
        """The fixed rates."""
        names = [
            name
            for name in self.available
            if http_servers.TAIL in http_servers.SERVERS[name].groups
            and (not self.plan.tail_servers or name in self.plan.tail_servers)
        ]
        self.tail.run(names, self.plan.tail_seconds)

    def echo(self) -> None:
        """The echo scenarios."""
        scenarios = [one for one in echo.SCENARIOS if one.name in self.plan.echo]
        with self.running(self.plan.named(suite_plan.ECHO_SERVERS)) as running:
            echo.measure(self.rounds, running, scenarios, self.nice, 0.2)

    def streams(self) -> None:
        """Bytes for somebody else, and short connections."""
        if not self.plan.streams:
            return
        with self.running(self.plan.named(suite_plan.CHURN_SERVERS)) as running:
            echo.measure(self.rounds, running, [CHURN], self.nice, 0.2)
        with self.running(self.plan.named(suite_plan.LOOPS), "broadcast") as running:
            echo.measure(self.rounds, running, [suite_plan.BROADCAST], self.nice, 0.2)
        names = []
        for name in self.plan.named(suite_plan.PROXIES):
            reason = proxying.unavailable(name, self.peers)
            if reason:
                self.left_out[name] = reason
            else:
                names.append(name)
        proxying.measure(self.rounds, names, self.peers, self.nice)

    @contextlib.contextmanager
    def running(self, names: list[str], service: str = "protocol") -> Any:
        """Servers of messages for the length of the block; those that cannot start are noted."""
        with contextlib.ExitStack() as stack:
            started = []
            for name in names:
                if not servers.available(name, self.peers):
                    self.left_out[name] = "it cannot be imported"
                    continue
                try:
                    start = servers.start(stack, name, self.peers, self.nice, service)
                except BenchError as error:
                    self.left_out[name] = str(error)
                    continue
                started.append(start)
            yield started

    def slow(self) -> None:
        """Fast clients beside slow ones; two scenarios, with and without."""
        if not self.plan.slow_rounds:
            return
        rounds, self.rounds.count = self.rounds.count, self.plan.slow_rounds
        self.session.beside_slow_clients(self.available, http_slow.COUNT)
        self.rounds.count = rounds
        for name, found in self.session.slow.items():
            self.add("slow-alone", name, [one.without for one in found])
            self.add("slow-beside", name, [one.beside for one in found])

    def idle(self) -> None:
        """Busy connections beside idle ones; each round has a new server."""
        for turn in range(self.plan.idle_rounds):
            pairs = [("echo", name) for name in self.plan.named(suite_plan.IDLE_ECHO)]
            pairs += [
                ("http", name)
                for name in self.available
                if http_servers.IDLE in http_servers.SERVERS[name].groups
            ]
            shift = turn % max(1, len(pairs))
            for kind, name in pairs[shift:] + pairs[:shift]:
                try:
                    self.beside_idle(kind, name)
                except BenchError as error:
                    self.rounds.fail(name, f"idle-{kind}-beside", str(error))

    def beside_idle(self, kind: str, name: str) -> None:
        """One round of one server."""
        if (name, f"idle-{kind}-beside") in self.rounds.wrong:
            return
        if kind == "echo":
            start = serving(servers.server(name, self.peers), self.nice)
        else:
            python = http_servers.interpreter(name, self.python)
            start = http_servers.start(name, http_servers.IDLE, python, self.nice)
        with start as one:
            found = one_round(one, kind, IDLE_CLIENTS, self.plan.seconds, self.nice)
        self.add(f"idle-{kind}-alone", name, [found.before, found.after])
        self.add(f"idle-{kind}-beside", name, [found.beside])
        self.idle_bytes.setdefault(f"{kind} {name}", []).append(found.bytes_each)

    def add(self, scenario: str, server: str, samples: list[Sample]) -> None:
        """Put samples into the rounds; one with mistakes takes the server out of the scenario."""
        if (server, scenario) in self.rounds.wrong:
            return
        there = self.rounds.found.setdefault(scenario, {}).setdefault(server, [])
        there += samples
        wrong = [one for one in samples if one.errors or not one.messages]
        if wrong:
            self.rounds.fail(server, scenario, str(wrong[0]))

    def low_level(self) -> None:
        """NOPs and reads; an operation's CPU time is the whole of the process's."""
        plan = self.plan
        if not plan.ring_seconds:
            return
        python = peers_python(self.python)
        self.ring = measure_ring(
            python, list(WORKS), plan.rounds, plan.ring_seconds, RING_FILE_MIB, self.nice
        )
        for (library, work), rates in self.ring.items():
            kind = "ring-nops" if work.startswith("nops") else "ring-reads"
            second = 10**9
            samples = [Sample(int(rate), second, second, 0, 0, 0, 0, 0) for rate in rates]
            self.add(kind, f"{library} {work}", samples)

    def start_up(self) -> None:
        """What importing pyuring adds to an interpreter's start."""
        if self.plan.starts:
            self.starts = measure_start(self.python, self.plan.starts, self.nice)

    def notes(self) -> dict[str, str]:
        """What must be known of some servers."""
        found = {name: http_servers.SERVERS[name].note for name in self.available}
        if self.plan.wants("zloop"):
            found["zloop"] = servers.server("zloop", self.peers).note
        return {name: note for name, note in found.items() if note}

    def document(self, began: dict[str, Any]) -> dict[str, Any]:
        """Everything that was found."""
        rounds = self.rounds
        return {
            "form": document.FORM,
            "plan": document.plain(self.plan),
            "environment": began,
            "took_seconds": round(time.monotonic() - self.began),
            "left_out": self.left_out,
            "wrong": rounds.failed,
            "notes": self.notes(),
            "no_syscalls": rounds.no_syscalls,
            "rates": self.tail.rates,
            "collections": self.tail.collections,
            "idle_bytes": {
                name: [round(one) for one in all] for name, all in self.idle_bytes.items()
            },
            "alone_us": [round(one, 2) for one in self.session.alone_us],
            "bars": suite_bars.verdicts(self),
            "cells": document.cells(rounds),
        }


def tools() -> dict[str, str]:
    """The versions of what comes from the distribution."""
    found = {"nginx": proxying.nginx_version()}
    with contextlib.suppress(OSError):
        said = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout
        found["wrk"] = said.split()[1] if len(said.split()) > 1 else ""
    return {name: version for name, version in found.items() if version}


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under five minutes, few scenarios")
    parser.add_argument("--smoke", action="store_true", help="seconds: does it run at all")
    parser.add_argument("--rounds", type=int, help="other than the plan has them")
    parser.add_argument("--seconds", type=float, help="length of a window, other than the plan's")
    parser.add_argument("--servers", help="only these, divided by commas")
    parser.add_argument("--python", default=sys.executable, help="CPython for all servers (3.13)")
    parser.add_argument("--nice", type=int, default=default_nice())
    parser.add_argument("--json", help="write the document here, not into bench/results")
    parser.add_argument("--html", help="write the page here as well")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Measure, save, tell; MISSED or MISTAKES as the exit status."""
    options = arguments(argv)
    plan = suite_plan.PLANS["smoke" if options.smoke else "quick" if options.quick else "full"]
    if options.servers:
        plan = replace(plan, servers=tuple(options.servers.split(",")))
    rounds = options.rounds or plan.rounds
    plan = replace(
        plan,
        rounds=rounds,
        slow_rounds=min(rounds, plan.slow_rounds),
        idle_rounds=min(rounds, plan.idle_rounds),
        seconds=options.seconds or plan.seconds,
    )
    if shutil.which("wrk") is None and not options.smoke:
        raise BenchError("the load generator wrk is not installed (Debian: wrk)")
    print(f"{plan.name}: about {plan.estimate() / 60:.0f} minutes, and the peers' installation")
    before = report.machine()  # the load average before anything is started
    http_servers.prepare_files()
    suite = Suite(plan, options.python, options.nice)
    suite.run()
    pythons = [options.python, suite.peers]
    pythons += [http_servers.interpreter(name, options.python) for name in suite.available]
    # An environment of its own must not hide another's version of what both have.
    began = document.environment(dict.fromkeys(reversed(pythons)), tools()) | before
    found = suite.document(began)
    path = document.save(found, options.json)
    print(f"\n{report.verdicts(found['bars'])}\n\nkept: {path}")
    publish.page(found, options.html or str(path.with_suffix(".html")))
    publish.tables(found, path)
    if any(is_ours(server) or server == "floor" for server in suite.rounds.mistaken):
        return MISTAKES
    return 0 if plan.name != "full" or all(bar["met"] for bar in found["bars"]) else MISSED


if __name__ == "__main__":
    exit_with(main)
