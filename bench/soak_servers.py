"""The servers of soak.py: started, asked what they hold, ended; with everything they have said.

Owns their processes and logs. Never decides what they may hold: soak.py compares.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import BENCH, ROOT, BenchError, open_files, processes, resident_bytes

# Short enough that what bad clients leave behind is over before a quiet moment is given up.
HTTP_OPTIONS = ["--timeout-head", "20", "--timeout-write", "20", "--graceful-timeout", "60"]
LEVELS = ("active", "requests_active", "buffers_held", "ops_in_flight")
# Anything but 0 is a mistake of ours, whatever the clients do.
NEVER = ("unknown_completions", "errors_handler", "errors_accept", "refused")
_BAD_WORDS = re.compile(r"Traceback|Error|panic|killed|died|leak|Warning", re.IGNORECASE)


@dataclass
class State:
    """What a server holds: its levels, and memory and descriptors of each of its processes."""

    metrics: dict[str, Any]
    resident: dict[int, int]
    files: dict[int, int]
    interpreter: dict[str, int]


class SoakServer:
    """A process that says where it listens; a context manager that ends it in order."""

    name = ""

    def __init__(self, tier: str, folder: str, command: list[str]) -> None:
        self.tier = tier
        self.log = Path(folder, f"{self.name}-{tier}.log")
        # glibc keeps what has been freed by heap, of which each thread may get one of its own:
        # noise in which a leak would hide.
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "MALLOC_ARENA_MAX": "1"}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", *command],
                cwd=ROOT, env=environment, stderr=log,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
        try:
            self.port = self._port()
        except BaseException:
            self.kill()
            raise

    def _port(self) -> int:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            found = re.search(r"listening on \S*:(\d+) \(tier (\w+)", self.log.read_text())
            if found:
                if (found[2] == "NONE") != (self.tier == "none"):
                    raise BenchError(f"tier {self.tier} was asked for, {found[2]} it is")
                return int(found[1])
            time.sleep(0.02)
        raise BenchError(f"{self.name} does not listen: {self.log.read_text()}")

    @property
    def pids(self) -> list[int]:
        """All processes, the first one first."""
        return processes(self.process.pid)

    def signal_all(self, number: signal.Signals) -> None:
        """Send every process a signal, parents first."""
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """End what is still there."""
        self.signal_all(signal.SIGKILL)
        self.process.wait()

    def mistakes(self) -> list[str]:
        """Return the lines of the log that tell of something wrong."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [f"{self.name} {self.tier}: {line}" for line in lines if _BAD_WORDS.search(line)]

    def state(self) -> State:
        """Ask what it holds now."""
        self.trim()
        metrics, interpreter = self.ask()
        pids = self.pids
        return State(
            metrics,
            {pid: resident_bytes(pid) for pid in pids},
            {pid: open_files(pid) for pid in pids},
            interpreter,
        )

    def trim(self) -> None:
        """Have memory that is free given back, where that is not yet so."""

    def ask(self) -> tuple[dict[str, Any], dict[str, int]]:
        """Return the metrics, added up, and what the interpreter counts."""
        raise NotImplementedError


class HttpServer(SoakServer):
    """`pyuring serve` with two processes."""

    name = "http"

    def __init__(self, tier: str, folder: str) -> None:
        self._metrics = str(Path(folder, f"metrics-{tier}"))
        command = ["-m", "pyuring", "serve", "bench.peers.soak_app:app", "--bind", "127.0.0.1:0"]
        command += ["--processes", "2", "--tier", tier, "--metrics", f"unix:{self._metrics}"]
        super().__init__(tier, folder, [*command, *HTTP_OPTIONS])

    def trim(self) -> None:
        """Ask until each process has answered: else resident memory is what a burst once took.

        Who comes while processes are replaced may be refused; what is missing then is looked at
        the next time.
        """
        left = {str(pid) for pid in self.pids[1:]}
        for _ in range(100):
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), 5) as client,
            ):
                client.sendall(b"GET /trim HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                reply = b"".join(iter(lambda: client.recv(65536), b""))
                left -= {pid.decode() for pid in re.findall(rb"(?i)x-pid: (\d+)", reply)}
            if not left:
                return

    def ask(self) -> tuple[dict[str, Any], dict[str, int]]:
        """Return the sums over the processes, those that have ended included."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(self._metrics)
            client.sendall(b"GET /metrics.json HTTP/1.0\r\n\r\n")
            page = b"".join(iter(lambda: client.recv(65536), b"")).partition(b"\r\n\r\n")[2]
        workers = json.loads(page)["workers"]
        names = (*LEVELS, *NEVER, "accepted", "closed", "requests", "requests_malformed")
        return {name: sum(each.get(name, 0) for each in workers) for name in names}, {}

    def end(self) -> int:
        """End in order; return the status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)


class CountedServer(SoakServer):
    """peers/counted.py: an engine, `echo` or `http`, that counts what it holds."""

    def __init__(self, kind: str, tier: str, folder: str, workers: int = 2) -> None:
        self.name = kind
        self._lock = threading.Lock()
        program = str(BENCH / "peers" / "counted.py")
        super().__init__(tier, folder, [program, kind, tier, str(workers)])

    def tell(self, word: str) -> dict[str, Any]:
        """Have it do something; return its answer when it is done."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with self._lock:
            self.process.stdin.write(f"{word}\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        if not line:
            raise BenchError(f"echo {self.tier} has ended: {self.log.read_text()[-2000:]}")
        return dict(json.loads(line))

    def ask(self) -> tuple[dict[str, Any], dict[str, int]]:
        """Return the engine's metrics, and objects, blocks and threads."""
        found = self.tell("state")
        metrics = found.pop("metrics")
        return metrics, found

    def end(self) -> int:
        """End in order; return the status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(90)


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A place for logs and sockets."""
    return tempfile.TemporaryDirectory(prefix="pyuring-soak-")
