"""What soak.py does to servers and clients while they work: stops, reloads, pauses, kills.

Owns the client processes of one tier and the times of what was done, for judging what they tell.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from harness import BENCH, processes
from soak_servers import CountedServer, HttpServer

CLIENTS = str(BENCH / "peers" / "soak_clients.py")
LONGEST_STOP = 1.5
RELOAD_EVERY = 12.0
# A process that leaves listens so long to who has just connected (docs/processes.md), less what
# a connection waits in its queue before it is accepted.
FIRST_WORD = 0.9


class Clients:
    """One process of clients; what it says is kept."""

    def __init__(self, arguments: list[str]) -> None:
        self.counts: Counter[str] = Counter()
        self.events: list[dict[str, Any]] = []
        self.killed = False
        self.process = subprocess.Popen(
            [sys.executable, CLIENTS, *arguments], stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.endswith("\n"):
                break  # killed in the middle of it
            said = json.loads(line)
            self.counts.update(said.get("counts", {}))
            if "event" in said:
                self.events.append(said)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def wait(self, timeout: float) -> str:
        """Wait for its end; return what is wrong with it, or nothing."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.killed = True
            self.process.kill()
            self.process.wait()
            return "clients do not end"
        finally:
            self._reader.join()
        return "" if status == 0 or self.killed else f"clients ended with {status}"


class Trouble:
    """One cycle of load on the two servers of a tier, with everything that happens to them."""

    def __init__(
        self,
        http: HttpServer,
        echo: CountedServer,
        seed: int,
        seconds: float,
        tasks: int,
        *,
        reloads: bool = True,
    ) -> None:
        self.http, self.echo, self.tasks, self.reloads = http, echo, tasks, reloads
        self.rng = random.Random(seed)
        self.deadline = time.monotonic() + seconds
        self.counts: Counter[str] = Counter()
        self.findings: list[str] = []
        self.done: list[tuple[float, str]] = []
        self.pauses: list[tuple[float, float]] = []
        self.leaves: list[tuple[float, float]] = []  # from a reload to the last old process's end
        self._leaving: set[int] = set()
        self.clients: list[Clients] = []
        self.steady = self._start("steady")
        self.rough = self._start("rough")
        self.thread = threading.Thread(target=self._guarded)
        self.thread.start()

    def _start(self, kind: str) -> Clients:
        left = self.deadline - time.monotonic()
        arguments = [kind, str(self.http.port), str(self.echo.port)]
        arguments += [str(self.rng.randrange(1 << 30)), f"{left:.3f}", str(self.tasks)]
        self.clients.append(Clients(arguments))
        return self.clients[-1]

    def _guarded(self) -> None:
        try:
            self._work()
        except Exception as error:  # the driver tells it, and goes on to the verdict
            self.findings.append(f"{self.http.tier}: the driver: {error!r}")
        finally:
            self._look_at_leaves(wait=60.0)

    def _work(self) -> None:
        actions = (
            (3, self._stop_http),
            (3, self._stop_echo),
            (2, self._stop_clients),
            (2, self._kill_clients),
            (4 * self.reloads, self._reload),
            (2 * self.reloads, self._recycle),
            (3, self._pause),
        )
        weights, calls = zip(*actions, strict=True)
        while (left := self.deadline - time.monotonic()) > 0:
            time.sleep(min(left, self.rng.uniform(0.2, 2.5)))
            (call,) = self.rng.choices(calls, weights)
            call()
            self._look_at_leaves()

    def _note(self, name: str) -> None:
        self.counts[name] += 1
        self.done.append((time.monotonic(), name))

    def _stop_for_a_while(self, name: str, send: Any) -> None:
        self._note(name)
        send(signal.SIGSTOP)
        try:
            time.sleep(self.rng.uniform(0, LONGEST_STOP))
        finally:
            send(signal.SIGCONT)
            self.done.append((time.monotonic(), "continued"))

    def _stop_http(self) -> None:
        self._stop_for_a_while("http stopped", self.http.signal_all)

    def _stop_echo(self) -> None:
        self._stop_for_a_while("echo stopped", self.echo.signal_all)

    def _stop_clients(self) -> None:
        self._stop_for_a_while("clients stopped", self.rng.choice((self.steady, self.rough)).signal)

    def _kill_clients(self) -> None:
        """Kill the rough ones in the middle of what they do, and start others."""
        self._note("clients killed")
        self.rough.killed = True
        self.rough.signal(signal.SIGKILL)
        if self.deadline - time.monotonic() > 1.0:
            self.rough = self._start("rough")

    def _reload(self) -> None:
        self._replace("reloads", lambda children: os.kill(self.http.process.pid, signal.SIGHUP))

    def _recycle(self) -> None:
        self._replace(
            "processes replaced",
            lambda children: os.kill(self.rng.choice(children), signal.SIGTERM),
        )

    def _replace(self, name: str, do: Any) -> None:
        """Have processes replaced, unless such a thing is under way."""
        if self._leaving or (self.leaves and time.monotonic() < self.leaves[-1][0] + RELOAD_EVERY):
            return
        children = self.http.pids[1:]
        self._note(name)
        self.leaves.append((time.monotonic(), float("inf")))
        self._leaving = set(children)
        do(children)

    def _look_at_leaves(self, wait: float = 0.0) -> None:
        """See whether those who are to leave have done so: two processes are left, both serving."""
        deadline = time.monotonic() + wait
        while self._leaving:
            children = set(processes(self.http.process.pid)[1:])
            if len(children) == 2 and not self._leaving <= children:
                began, _ = self.leaves[-1]
                self.leaves[-1] = (began, time.monotonic())
                self.done.append((time.monotonic(), "replaced"))
                self._leaving = set()
            elif time.monotonic() > deadline:
                return
            else:
                time.sleep(0.2)

    def _pause(self) -> None:
        """Stop accepting for a moment; who connects meanwhile is refused or waits."""
        self._note("accepting paused")
        began = time.monotonic()
        self.pauses.append((began, float("inf")))
        self.echo.tell("pause")
        time.sleep(self.rng.uniform(0, 0.5))
        self.echo.tell("resume")
        self.pauses[-1] = (began, time.monotonic())
        self.done.append((time.monotonic(), "resumed"))

    def end(self) -> list[str]:
        """Wait for the cycle's end; return what nothing that was done accounts for."""
        self.thread.join()
        for clients in self.clients:
            problem = clients.wait(150)
            if problem:
                self.findings.append(f"{self.http.tier}: {problem}")
            self.counts.update(clients.counts)
            for event in clients.events:
                self._judge(event)
        return self.findings

    def _judge(self, event: dict[str, Any]) -> None:
        what, at = event["event"], event["at"]
        if what == "retired":
            self.counts["retired"] += 1
            if Path(f"/proc/{event['pid']}").exists() and event["pid"] in self.http.pids:
                self.findings.append(f"{self.http.tier}: a process that stays closed {event}")
        elif (
            what == "closed" and event["server"] == "http" and event["step"] == "wait"
            and event["silence"] > FIRST_WORD and _within(self.leaves, at, at)
        ):  # fmt: skip
            self.counts["silent for a second to a leaving process"] += 1
        elif (
            what == "refused" and event["server"] == "echo"
            and _within(self.pauses, event["began"], at)
        ):  # fmt: skip
            self.counts["refused in a pause"] += 1
        else:
            before = [f"{what} {at - when:.2f} s before" for when, what in self.done if when < at]
            self.findings.append(f"{self.http.tier}: {event} ({', '.join(before[-6:])})")


def _within(spans: list[tuple[float, float]], began: float, ended: float) -> bool:
    return any(begin <= ended and began <= end for begin, end in spans)
