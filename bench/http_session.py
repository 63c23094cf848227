"""The HTTP scenarios of one run: groups of servers, their rounds, slow clients beside fast ones.

Owns what is particular to HTTP about a run; rounds.py owns what was found. Prints what is left out.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterable

import http_excluded
import http_servers
from generator import Sample
from harness import CELL_FAILURES, BenchError, Running, failure, last_line, put_to_sleep
from http_load import Scenario, Turn, check, measure, reply_length, wrong_bytes
from http_slow import Slow, app_alone_us, beside_slow_clients
from rounds import Rounds
from syscalls import Counters


class Session:
    """One run's HTTP part; its figures are put into the rounds."""

    def __init__(
        self,
        rounds: Rounds,
        python: str,
        nice: int,
        excluded: Callable[[str, str], str] = http_excluded.reason,
    ) -> None:
        self.excluded = excluded
        self.rounds = rounds
        self.python = python
        self.nice = nice
        self.left_out: dict[str, str] = {}
        self.slow: dict[str, list[Slow]] = {}
        self.alone_us: list[float] = []

    def available(self, wanted: Iterable[str]) -> list[str]:
        """Those of the servers that can be started here; the others are told, with the reason."""
        names = []
        for name in wanted:
            try:
                python = http_servers.interpreter(name, self.python)
                reason = http_servers.unavailable(name, python)
            except BenchError as error:  # its environment cannot be made
                reason = last_line(error)
            if reason:
                self.left_out[name] = reason
                print(f"left out, not available here: {name} ({reason})", file=sys.stderr)
            else:
                names.append(name)
        return names

    def group(self, names: list[str], scenarios: list[Scenario]) -> None:
        """Start the servers of one group and run its scenarios."""
        group = scenarios[0].group
        with contextlib.ExitStack() as stack:
            running = self._start(stack, names, group)
            for scenario in scenarios:
                self.scenario(running, scenario)
            if group == http_servers.MIX and running:
                self.application_alone()

    def _start(self, stack: contextlib.ExitStack, names: list[str], group: str) -> list[Running]:
        running = []
        for name in names:
            if group not in http_servers.SERVERS[name].groups:
                continue
            python = http_servers.interpreter(name, self.python, group)
            start = http_servers.start(name, group, python, self.nice)
            try:
                running.append(stack.enter_context(start))
            except CELL_FAILURES as error:
                self.rounds.fail(name, group, failure(error))
                continue
            # Some poll even when idle, on the core of the one that is measured.
            put_to_sleep(running[-1].pid)
        return running

    def scenario(self, running: list[Running], scenario: Scenario) -> None:
        """Interleaved rounds of one scenario, its replies looked at before and after."""
        lengths: dict[str, int] = {}

        def window(one: Running, seconds: float, counters: Counters | None) -> Sample:
            name = one.server.name
            sample = measure(Turn(one, scenario, seconds, self.nice, counters))
            if name not in lengths:
                lengths[name] = reply_length(one, scenario)
            if wrong_bytes(sample, scenario, lengths[name]):
                count = f"{sample.messages} replies of {lengths[name]} bytes"
                words = f"{count} were {sample.bytes} bytes"
                raise BenchError(words)
            return sample

        wanted = [one for one in running if not self.excluded(one.server.name, scenario.name)]
        looked_at = functools.partial(check, scenario=scenario)
        self.rounds.scenario(scenario.name, wanted, window, looked_at)

    def beside_slow_clients(self, names: list[str], count: int) -> None:
        """Every server by itself, round after round: each is a comparison with itself."""
        rounds = self.rounds
        for name in names:
            if http_servers.SLOW not in http_servers.SERVERS[name].groups:
                continue
            python = http_servers.interpreter(name, self.python)
            start = http_servers.start(name, http_servers.SLOW, python, self.nice)
            try:
                with start as one:
                    for _ in range(rounds.count):
                        found = beside_slow_clients(one, count, rounds.seconds, self.nice)
                        self.slow.setdefault(name, []).append(found)
            except CELL_FAILURES as error:
                self.slow.pop(name, None)
                rounds.fail(name, http_servers.SLOW, failure(error))

    def application_alone(self) -> None:
        """The Flask application's own time, as often as there are rounds."""
        python = http_servers.interpreter("gunicorn-sync", self.python)
        for _ in range(self.rounds.count):
            self.alone_us.append(app_alone_us(python, self.rounds.seconds, self.nice))
