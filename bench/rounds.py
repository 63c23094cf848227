"""Interleaved rounds of one scenario over several servers, the order turned in each round.

Owns what was found and what went wrong: a server with one wrong reply has no figure in a scenario.
All servers are stopped but for the one whose turn it is. Never starts a server.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import syscalls
from generator import Sample
from harness import CELL_FAILURES, BenchError, Running, awake, failure, tree_resident_bytes
from syscalls import Counters, Unavailable

# One window of so many seconds; with counters it reads them at its edges.
Window = Callable[[Running, float, "Counters | None"], Sample]
Check = Callable[[Running], str]  # what is wrong with a reply, or an empty string
WARM = 0.3  # seconds
Samples = dict[str, dict[str, list[Sample]]]


@dataclass(frozen=True)
class Extras:
    """What is looked at once after the rounds: resident bytes, system calls for a message."""

    rss: int
    syscalls: float | None


class Overloaded(BenchError):
    """A server that did not keep up with a fixed rate: no figure, and no mistake either."""


class Rounds:
    """What one run has found, by scenario and server."""

    def __init__(self, count: int, seconds: float, extras: float = 0.0) -> None:
        """`extras` is the length of the window in which system calls are counted, 0 for none."""
        self.count = count
        self.seconds = seconds
        self.counting = extras
        self.found: Samples = {}
        self.extras: dict[str, dict[str, Extras]] = {}
        self.wrong: dict[tuple[str, str], str] = {}
        self.overloaded: set[tuple[str, str]] = set()
        self.no_syscalls = ""
        self.warm: set[int] = set()

    @property
    def failed(self) -> list[str]:
        """The mistakes as lines of text: server, scenario: what."""
        lines = []
        for (server, scenario), why in self.wrong.items():
            words = why.strip().splitlines()
            lines.append(f"{server}, {scenario}: {words[-1][:300] if words else 'no reply'}")
        return lines

    @property
    def mistaken(self) -> set[str]:
        """The servers that replied wrongly, or not at all, in some scenario."""
        return {cell[0] for cell in self.wrong if cell not in self.overloaded}

    def fail(self, server: str, scenario: str, reason: str) -> None:
        """Note a mistake; the cell has no figure."""
        print(f"{server}, {scenario}: {reason}", file=sys.stderr, flush=True)
        self.wrong.setdefault((server, scenario), reason)
        self.found.get(scenario, {}).pop(server, None)
        self.extras.get(scenario, {}).pop(server, None)

    def scenario(
        self, name: str, servers: Sequence[Running], window: Window, check: Check | None = None
    ) -> None:
        """Check, measure in rounds, look at memory and system calls, check again."""
        self.found.setdefault(name, {})
        self.extras.setdefault(name, {})
        wanted = [one for one in servers if self._is_right(one, name, check, "before")]
        for one in wanted:
            self._warm(one, name, window)
        for turn in range(self.count):
            shift = turn % max(1, len(wanted))
            for one in wanted[shift:] + wanted[:shift]:
                self._window(one, name, window)
        for one in wanted:
            if self.counting and (one.server.name, name) not in self.wrong:
                self._extras(one, name, window)
            self._is_right(one, name, check, "after the load")

    def _is_right(self, one: Running, name: str, check: Check | None, when: str) -> bool:
        server = one.server.name
        if (server, name) in self.wrong:
            return False
        if one.process.poll() is not None:
            self.fail(server, name, f"{when}: the server has ended")
            return False
        if check is not None:
            try:
                with awake(one.pid):
                    wrong = check(one)
            except CELL_FAILURES as error:
                wrong = failure(error)
            if wrong:
                self.fail(server, name, f"{when}: {wrong}")
                return False
        return True

    def _warm(self, one: Running, name: str, window: Window) -> None:
        """A window that counts for nothing before a server's first: interpreters adapt."""
        if one.pid in self.warm:
            return
        self.warm.add(one.pid)
        try:
            with awake(one.pid):
                window(one, min(WARM, self.seconds), None)
        except Overloaded:
            pass
        except CELL_FAILURES as error:
            self.fail(one.server.name, name, f"while it was warmed: {failure(error)}")

    def _window(self, one: Running, name: str, window: Window) -> None:
        if (one.server.name, name) in self.wrong:
            return
        try:
            with awake(one.pid):
                sample = window(one, self.seconds, None)
        except Overloaded as error:
            self.overloaded.add((one.server.name, name))
            self.fail(one.server.name, name, str(error))
            return
        except CELL_FAILURES as error:
            self.fail(one.server.name, name, failure(error))
            return
        self.found[name].setdefault(one.server.name, []).append(sample)
        if sample.errors or not sample.messages:
            self.fail(one.server.name, name, sample.mistakes)

    def _extras(self, one: Running, name: str, window: Window) -> None:
        calls = None
        try:
            with awake(one.pid):
                rss = tree_resident_bytes(one.pid)
                if not self.no_syscalls:
                    with syscalls.counting(one.pid) as counters:
                        sample = window(one, self.counting, counters)
                    calls = sample.counted / max(1, sample.messages)
        except Unavailable as reason:
            self.no_syscalls = str(reason)
        except Overloaded:
            pass  # counting costs it a little: the cell's own windows are not concerned
        except CELL_FAILURES as error:
            self.fail(one.server.name, name, f"while system calls were counted: {failure(error)}")
            return
        self.extras[name][one.server.name] = Extras(rss, calls)
