"""The tail: latencies under a fixed rate, timed from when each request was due (bar 3 of evidence).

Owns the rates, which are half of what each server can do at most, and our rate for those that are
compared with us. A request that waits for an earlier one's reply has its waiting counted: what a
closed loop leaves out ("coordinated omission"). A server that does not keep up has no figure.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
from collections.abc import Iterable

import http_servers
import report
from generator import Sample
from harness import CELL_FAILURES, Running, awake, failure, put_to_sleep
from http_load import Scenario, Turn, check, measure
from rounds import Overloaded, Rounds, Samples
from syscalls import Counters

GROUP = http_servers.TAIL
PEAK = Scenario("tail-peak", GROUP, "full")
HALF, OURS = "tail-half", "tail-at-ours"
REFERENCE = "pyuring-gc"  # whose rate the others of OURS get
FLOOR = "floor"
LIMIT = 2.0
BEHIND = 0.05  # the share of requests that may not have been sent when the window ends


class Tail:
    """The tail's part of a run, and what the collector did in it."""

    def __init__(self, rounds: Rounds, python: str, nice: int) -> None:
        self.rounds = rounds
        self.python = python
        self.nice = nice
        self.rates: dict[str, int] = {}
        self.collections: list[int] = []

    def run(self, names: Iterable[str], seconds: float) -> None:
        """Find each server's peak, then load it with half of that, and with half of ours."""
        usual = self.rounds.seconds
        try:
            self._run(names, seconds)
        finally:
            self.rounds.seconds = usual

    def _run(self, names: Iterable[str], seconds: float) -> None:
        rounds = self.rounds
        with contextlib.ExitStack() as stack:
            running = []
            for name in names:
                python = http_servers.interpreter(name, self.python)
                start = http_servers.start(name, GROUP, python, self.nice)
                try:
                    running.append(stack.enter_context(start))
                except CELL_FAILURES as error:
                    rounds.fail(name, GROUP, failure(error))
                    continue
                put_to_sleep(running[-1].pid)
            rounds.scenario(PEAK.name, running, self._closed, self._check)
            peaks = rounds.found[PEAK.name]
            self.rates = {
                name: int(report.median([one.rate for one in samples]) / 2)
                for name, samples in peaks.items()
            }
            rounds.seconds = seconds
            there = [one for one in running if one.server.name in self.rates]
            before = self._collections(there)
            rounds.scenario(HALF, there, functools.partial(self._paced, ""))
            ours = self.rates.get(REFERENCE)
            if ours is not None:
                able = [one for one in there if self.rates[one.server.name] >= 0.6 * ours]
                rounds.scenario(OURS, able, functools.partial(self._paced, REFERENCE))
            after = self._collections(there)
            self.collections = [b - a for a, b in zip(before, after, strict=False)]

    def _check(self, one: Running) -> str:
        return check(one, PEAK)

    def _closed(self, one: Running, seconds: float, counters: Counters | None) -> Sample:
        return measure(Turn(one, PEAK, seconds, self.nice, counters))

    def _paced(self, whose: str, one: Running, seconds: float, counters: Counters | None) -> Sample:
        rate = self.rates[whose or one.server.name]
        scenario = Scenario("paced", GROUP, "full", rate=rate)
        sample = measure(Turn(one, scenario, seconds, self.nice, counters))
        if sample.behind > BEHIND * rate * seconds:
            raise Overloaded(f"{sample.behind} requests at {rate} a second were not sent in time")
        return sample

    def _collections(self, running: list[Running]) -> list[int]:
        """How often each generation has been collected in the server with the collector at work."""
        for one in running:
            if one.server.name != REFERENCE:
                continue
            with awake(one.pid):
                connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=10)
                connection.request("GET", "/collections")
                said = connection.getresponse().read().decode()
                connection.close()
            return [int(word) for word in said.split()]
        return []


def bars(results: Samples) -> list[dict[str, object]]:
    """The 99.9th percentile at our half rate to the floor's, the collector at work in ours."""
    found = results.get(OURS, {})
    if REFERENCE not in found or FLOOR not in found:
        return []
    pairs = zip(found[REFERENCE], found[FLOOR], strict=True)
    ratio = report.median([ours.p999_ns / floor.p999_ns for ours, floor in pairs])
    name = f"p99.9 at half of the peak, collecting garbage / {FLOOR}"
    return [report.verdict(name, ratio, LIMIT)]
