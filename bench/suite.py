"""The whole suite: every scenario and server in one run, a document, a page and tables.

Run as `nox -s bench`, or `python bench/suite.py`; see bench/README.md. Owns the order of a run. How
anything is measured is in the modules it calls, how it looks in report_html.py and report_docs.py.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
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
from harness import (
    CELL_FAILURES,
    MISSED,
    MISTAKES,
    BenchError,
    default_nice,
    exit_with,
    failure,
    last_line,
    peers_python,
    serving,
)
from http_session import Session
from lowlevel import WORKS, measure as measure_ring
from rounds import Rounds
from startup import measure as measure_start
from suite_plan import Plan
from suite_results import Results
from suite_scenarios import is_ours
from tail import Tail

IDLE_CLIENTS = 10_000
RING_FILE_MIB = 64
WARMUP = 0.2
LEAST_ROUNDS = 3


class Suite:
    """One run. What it has found is in `results` at any moment, and on disk behind each step."""

    def __init__(self, plan: Plan, python: str, nice: int, target: Path | None = None) -> None:
        """`target` is where the document will be: until then what there is lies beside it."""
        self.plan = plan
        self.python = python
        self.nice = nice
        self.target = target
        self.rounds = Rounds(plan.rounds, plan.seconds, plan.counting)
        self.results = Results(plan, self.rounds, report.machine())
        self.session = Session(self.rounds, python, nice, suite_plan.excluded)
        self.tail = Tail(self.rounds, python, nice)
        self.results.slow, self.results.alone_us = self.session.slow, self.session.alone_us
        self.available: list[str] = []
        self.peers = python
        self.began = time.monotonic()

    def run(self) -> None:
        """Measure everything in its order; what cannot be measured is noted, the rest goes on."""
        self.prepare()
        for name, step in self.steps():
            self.say(name)
            try:
                step()
            except Exception as error:  # whatever it is, the other steps' figures are worth more
                traceback.print_exc(file=sys.stderr)
                self.results.left_out[name] = f"ended early: {last_line(error)}"
            self.keep()
        self.say("done")

    def prepare(self) -> None:
        """Find out who is there, and on what this runs: before anything is measured."""
        results = self.results
        self.available = self.session.available(self.plan.http_servers())
        results.left_out |= self.session.left_out
        try:
            self.peers = servers.python_for(self.plan.named(suite_plan.ECHO_SERVERS), self.python)
        except BenchError as error:
            results.left_out["the loops of PyPI"] = last_line(error)
        pythons = [self.python, self.peers]
        pythons += [http_servers.interpreter(name, self.python) for name in self.available]
        # An environment of its own must not hide another's version of what both have.
        there = document.environment(dict.fromkeys(reversed(pythons)), tools())
        results.environment = there | results.environment  # the load before anything was started
        results.notes = self.notes()

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """What is measured: one that fails leaves the others alone."""
        found: list[tuple[str, Callable[[], None]]] = [("echo", self.echo)]
        for group in dict.fromkeys(one.group for one in self.plan.http_scenarios()):
            found.append((f"http {group}", functools.partial(self.http, group)))
        found.append(("the tail", self.tails))
        if self.plan.streams:
            found += [("churn", self.churn), ("broadcast", self.broadcast), ("proxy", self.proxy)]
        found += [("slow clients", self.slow), ("idle connections", self.idle)]
        return [*found, ("the ring", self.low_level), ("start-up", self.start_up)]

    def keep(self) -> None:
        """Write what there is so far beside where the document will be: the former, or all."""
        if self.target is not None:
            partial = partial_of(self.target)
            document.save(self.document(partial=True), f"{partial}.new").replace(partial)

    def say(self, what: str) -> None:
        """A line of progress."""
        minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
        print(f"{minutes:3d}:{seconds:02d} {what}", flush=True)

    def http(self, group: str) -> None:
        """The HTTP scenarios of one group."""
        wanted = [one for one in self.plan.http_scenarios() if one.group == group]
        names = [
            name
            for name in self.available
            if any(suite_plan.takes_part(name, one) for one in wanted)
        ]
        self.session.group(names, wanted)

    def tails(self) -> None:
        """The fixed rates."""
        names = [
            name
            for name in self.available
            if http_servers.TAIL in http_servers.SERVERS[name].groups
            and (not self.plan.tail_servers or name in self.plan.tail_servers)
        ]
        try:
            self.tail.run(names, self.plan.tail_seconds)
        finally:
            self.results.rates, self.results.collections = self.tail.rates, self.tail.collections

    def echo(self) -> None:
        """The echo scenarios."""
        scenarios = [one for one in echo.SCENARIOS if one.name in self.plan.echo]
        with self.running(self.plan.named(suite_plan.ECHO_SERVERS)) as running:
            echo.measure(self.rounds, running, scenarios, self.nice, WARMUP)

    def churn(self) -> None:
        """Short connections."""
        with self.running(self.plan.named(suite_plan.CHURN_SERVERS)) as running:
            echo.measure(self.rounds, running, [CHURN], self.nice, WARMUP)

    def broadcast(self) -> None:
        """Bytes for everybody else."""
        with self.running(self.plan.named(suite_plan.LOOPS), "broadcast") as running:
            echo.measure(self.rounds, running, [suite_plan.BROADCAST], self.nice, WARMUP)

    def proxy(self) -> None:
        """Bytes for one other."""
        names = []
        for name in self.plan.named(suite_plan.PROXIES):
            reason = proxying.unavailable(name, self.peers)
            if reason:
                self.results.left_out[name] = reason
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
                    self.results.left_out[name] = "it cannot be imported"
                    continue
                try:
                    start = servers.start(stack, name, self.peers, self.nice, service)
                except CELL_FAILURES as error:
                    self.results.left_out[name] = last_line(error)
                    continue
                started.append(start)
            yield started

    def slow(self) -> None:
        """Fast clients beside slow ones; two scenarios, with and without."""
        if not self.plan.slow_rounds:
            return
        rounds, self.rounds.count = self.rounds.count, self.plan.slow_rounds
        try:
            self.session.beside_slow_clients(self.available, http_slow.COUNT)
        finally:
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
                except CELL_FAILURES as error:
                    self.rounds.fail(name, f"idle-{kind}-beside", failure(error))

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
        self.results.idle_bytes.setdefault(f"{kind} {name}", []).append(found.bytes_each)

    def add(self, scenario: str, server: str, samples: list[Sample]) -> None:
        """Put samples into the rounds; one with mistakes takes the server out of the scenario."""
        if (server, scenario) in self.rounds.wrong:
            return
        there = self.rounds.found.setdefault(scenario, {}).setdefault(server, [])
        there += samples
        wrong = [one for one in samples if one.errors or not one.messages]
        if wrong:
            self.rounds.fail(server, scenario, wrong[0].mistakes)

    def low_level(self) -> None:
        """NOPs and reads; an operation's CPU time is the whole of the process's."""
        plan = self.plan
        if not plan.ring_seconds:
            return
        python = peers_python(self.python)
        self.results.ring = measure_ring(
            python, list(WORKS), plan.rounds, plan.ring_seconds, RING_FILE_MIB, self.nice
        )
        for (library, work), rates in self.results.ring.items():
            kind = "ring-nops" if work.startswith("nops") else "ring-reads"
            second = 10**9
            samples = [Sample(int(rate), second, second, 0, 0, 0, 0, 0) for rate in rates]
            self.add(kind, f"{library} {work}", samples)

    def start_up(self) -> None:
        """What importing pyuring adds to an interpreter's start."""
        if self.plan.starts:
            self.results.starts = measure_start(self.python, self.plan.starts, self.nice)

    def notes(self) -> dict[str, str]:
        """What must be known of some servers."""
        found = {name: http_servers.SERVERS[name].note for name in self.available}
        if self.plan.wants("zloop"):
            found["zloop"] = servers.server("zloop", self.peers).note
        return {name: note for name, note in found.items() if note}

    def document(self, partial: bool = False) -> dict[str, Any]:
        """Everything that was found; judged when it is all."""
        bars = [] if partial else suite_bars.verdicts(self.results)
        return self.results.document(bars, time.monotonic() - self.began, partial)


def partial_of(target: Path) -> str:
    """Where a run lies that is not complete: under a name that no other program takes for one."""
    return f"{target}.partial"


def tools() -> dict[str, str]:
    """The versions of what comes from the distribution."""
    found = {"nginx": proxying.nginx_version()}
    with contextlib.suppress(OSError):
        said = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout
        found["wrk"] = said.split()[1] if len(said.split()) > 1 else ""
    return {name: version for name, version in found.items() if version}


def enough(text: str) -> int:
    """A number of rounds of which a median and a spread can be told."""
    rounds = int(text)
    if rounds < LEAST_ROUNDS:
        raise argparse.ArgumentTypeError(f"{LEAST_ROUNDS} at least: of fewer nothing can be told")
    return rounds


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under five minutes, few scenarios")
    parser.add_argument("--smoke", action="store_true", help="seconds: does it run at all")
    parser.add_argument("--rounds", type=enough, help="other than the plan has them; 3 at least")
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
    estimate = f"about {plan.estimate() / 60:.0f} minutes, and the peers' installation"
    print(f"{plan.name}: {estimate}", flush=True)
    suite = Suite(plan, options.python, options.nice)  # reads the load before it makes any
    http_servers.prepare_files()
    suite.target = document.path_for(suite.results.environment, plan.name, options.json)
    return finish(suite, options.html)


def finish(suite: Suite, page: str | None) -> int:
    """Run, save, tell. A run that is broken off keeps what it has, and says where."""
    assert suite.target is not None
    partial = Path(partial_of(suite.target))
    try:
        suite.run()
    except BaseException:  # Ctrl-C and SIGTERM too
        suite.keep()
        print(f"broken off; what it has found: {partial}", file=sys.stderr)
        raise
    found = suite.document()
    path = document.save(found, str(suite.target))
    partial.unlink(missing_ok=True)
    print(f"\n{report.verdicts(found['bars'])}\n\nkept: {path}", flush=True)
    publish.page(found, page or str(path.with_suffix(".html")))
    publish.tables(found, path)
    if any(is_ours(server) or server == "floor" for server in suite.rounds.mistaken):
        return MISTAKES
    return 0 if suite.plan.name != "full" or all(bar["met"] for bar in found["bars"]) else MISSED


if __name__ == "__main__":
    exit_with(main)
