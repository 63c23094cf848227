"""A supervisor as an operator runs it: its lines, its processes, its end.

It owns the command and what that has started: leaving the block kills what is still there.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from command import ROOT
from peers import read_exactly, until

PATIENCE = 30.0
FREE = ("--bind", "127.0.0.1:0")
TWO = ("application:App", *FREE, "--processes", "2")
READY = re.compile(r"pyuring: listening on (\S+) \(tier \w+, (\d+) process(?:es)?, .*\)")

# Says which version it is and which process, then sends everything back.
APPLICATION = """
import os
from pyuring import Protocol

VERSION = b"one"

class App(Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if data == b"who\\n":
            self.transport.write(b"%s %d\\n" % (VERSION, os.getpid()))
        elif data == b"die\\n":
            os.abort()
        else:
            self.transport.write(data)
"""


class Supervised:
    """`pyuring serve` with some arguments; its lines come into a queue as they are written."""

    def __init__(self, *arguments: str, cwd: Path = ROOT, ready: bool = True, **popen: Any) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": f"{cwd}{os.pathsep}{ROOT}",
            # Bytecode is told apart by second and size: tests edit faster, and keep the size.
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.process = subprocess.Popen(
            [*self.command(), "serve", *arguments],
            stderr=subprocess.PIPE, text=True, cwd=cwd, env=environment, **popen,
        )  # fmt: skip
        self.seen: list[str] = []
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.ever: set[int] = set()
        if ready:
            try:
                self.address = self.expect(READY)[1]
            except BaseException:
                self.close()
                raise

    def command(self) -> list[str]:
        """Return the words that start the command."""
        return [sys.executable, "-X", "faulthandler", "-m", "pyuring"]

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line)
        self._lines.put("")

    def line(self, timeout: float = PATIENCE) -> str:
        """Return the next line, "" at the end."""
        try:
            line = self._lines.get(timeout=timeout)
        except Empty:
            raise AssertionError(f"no line came after {self.seen}") from None
        self.seen.append(line)
        return line

    def expect(self, pattern: str | re.Pattern[str]) -> re.Match[str]:
        """Return the match in the next line that has one; lines before it are passed over."""
        while True:
            line = self.line()
            found = re.search(pattern, line)
            if found:
                return found
            assert line, f"{pattern!r} is not among {self.seen}"

    def rest(self) -> list[str]:
        """Return the lines that are left when the command has ended."""
        found = []
        while line := self.line():
            found.append(line)
        return found

    def children(self) -> list[int]:
        """Return the pids of the processes that it has, zombies included."""
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        found = [int(pid) for pid in Path(path).read_text().split()]
        self.ever.update(found)
        return found

    def signal(self, number: signal.Signals) -> None:
        """Send the parent a signal."""
        self.process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Return the exit status."""
        return self.process.wait(timeout)

    def stop(self) -> None:
        """End it in order, and look at how it has."""
        self.children()
        self.signal(signal.SIGTERM)
        assert self.wait() == 0, self.seen
        assert not any(alive(pid) for pid in self.ever)

    def close(self) -> None:
        """Kill everything that is still there."""
        with contextlib.suppress(OSError):
            self.children()
        self.process.kill()
        self.process.wait()
        for pid in self.ever:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._reader.join(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def __enter__(self) -> Supervised:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def state(pid: int, thread: int | None = None) -> str:
    """Return the state of a process, or of one of its threads, as ps(1) tells it: R, S, T, Z …

    Nothing when there is none of that number.
    """
    stat = Path(f"/proc/{pid}/task/{thread or pid}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def at_a_standstill(pid: int) -> bool:
    """Return whether every thread of a process has stopped: SIGSTOP stops one after the other."""
    return all(state(pid, int(task.name)) == "T" for task in Path(f"/proc/{pid}/task").iterdir())


def alive(pid: int) -> bool:
    """Return whether a process runs: there, and no zombie."""
    return state(pid) not in ("", "Z")


def gone(*pids: int) -> None:
    """Wait until none of these processes runs."""
    until(lambda: not any(alive(pid) for pid in pids), "the processes' end")


def write(path: Path, text: str) -> None:
    """Replace a module as an editor does, with a time that differs from the former one's."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    before = path.stat().st_mtime_ns if path.exists() else 0
    if fresh.stat().st_mtime_ns <= before:
        os.utime(fresh, ns=(time.time_ns(), before + 10_000_000))
    fresh.replace(path)


def who(peer: socket.socket) -> tuple[str, int]:
    """Return the version and the process at the other end."""
    peer.sendall(b"who\n")
    answer = b""
    while not answer.endswith(b"\n"):
        piece = read_exactly(peer, 1)
        assert piece, "the connection was lost"
        answer += piece
    version, pid = answer.split()
    return version.decode(), int(pid)
