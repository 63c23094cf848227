"""One window of HTTP load against one server: wrk, bench/load.zig, or a client for large bodies.

Owns what is sent and what must come back. Never starts a server and prints nothing.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, BinaryIO

from harness import (
    BENCH,
    CACHE,
    LOAD_CORE,
    BenchError,
    Running,
    native_load,
    pinned,
    tree_cpu_ns,
)

BULK = str(BENCH / "peers" / "http_bulk.py")
SCRIPT = str(BENCH / "http_load.lua")
HELLO = b"Hello, world!"
# What a browser sends with a request beside Host: eight fields.
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Connection": "keep-alive",
    "Cookie": "session=8f14e45fceea167a5a36dedd4bea2543; theme=dark",
    "Upgrade-Insecure-Requests": "1",
    "Cache-Control": "max-age=0",
}


@dataclass(frozen=True)
class Scenario:
    """One load: its kind (for wrk the name in http_load.lua), how much, and the reply's body.

    `size` is the body's for "post" and "upload", the requests in flight for "pipeline" and "full".
    """

    name: str
    group: str
    load: str = "hello"
    connections: int = 64
    size: int = 0
    path: str = "/"
    reply: int = len(HELLO)
    browser: bool = False

    @property
    def bulk(self) -> bool:
        """Whether bench/peers/http_bulk.py is the load: it takes the bytes faster than wrk."""
        return self.load in ("get", "upload")

    @property
    def unit(self) -> int:
        """The bytes of body that a request moves, for figures per byte."""
        return max(self.size if self.load in ("post", "upload") else 0, self.reply)


@dataclass(frozen=True)
class Sample:
    """One window: what wrk counted, and the CPU time of both sides."""

    requests: int
    window_ns: int
    server_cpu_ns: int
    load_cpu_ns: int
    bytes: int
    p50_us: float
    p99_us: float
    broken: int
    statuses: int
    timeouts: int

    @property
    def errors(self) -> int:
        """Everything that went wrong in the window."""
        return self.broken + self.statuses + self.timeouts

    @property
    def cpu_us(self) -> float:
        """The server's CPU time for a request, in microseconds."""
        return self.server_cpu_ns / max(1, self.requests) / 1e3

    @property
    def rate(self) -> float:
        """Requests per second of wall clock."""
        return self.requests / self.window_ns * 1e9

    @property
    def busy(self) -> float:
        """The share of the window that the server was on its core."""
        return self.server_cpu_ns / self.window_ns

    @property
    def load_busy(self) -> float:
        """The share of the window that the load generator was on its core."""
        return self.load_cpu_ns / self.window_ns


def measure(running: Running, scenario: Scenario, seconds: int, nice: int) -> Sample:
    """One window, by the scenario's load."""
    load = _bulk if scenario.bulk else _full if scenario.load == "full" else wrk
    return load(running, scenario, seconds, nice)


def wrk(running: Running, scenario: Scenario, seconds: int, nice: int) -> Sample:
    """Load the server for so long; its CPU time is read before and after, connecting included."""
    command = ["wrk", "-t", "1", "-c", str(scenario.connections), "-d", f"{seconds}s"]
    command += ["-s", SCRIPT, f"http://127.0.0.1:{running.port}{scenario.path}"]
    environment = {**os.environ, "BENCH_LOAD": scenario.load, "BENCH_SIZE": str(scenario.size)}
    if scenario.browser:
        environment["BENCH_HEADERS"] = "\n".join(f"{k}: {v}" for k, v in BROWSER.items())
    said, server_cpu, load_cpu = _run(running, scenario, command, environment, seconds, nice)
    said["window_ns"] = said.pop("window_us") * 1000
    return Sample(server_cpu_ns=server_cpu, load_cpu_ns=load_cpu, **said)


def _full(running: Running, scenario: Scenario, seconds: int, nice: int) -> Sample:
    """The same request and reply again and again, by a load so cheap that it is not the limit."""
    request, reply = _request(running.port, scenario), _template(running.port, scenario)
    command = [native_load(), "--mode", "fixed", "--port", str(running.port)]
    command += ["--size", str(len(request)), "--reply", str(len(reply))]
    command += ["--depth", str(scenario.size or 1), "--connections", str(scenario.connections)]
    command += ["--warmup-ms", "0", "--window-ms", str(seconds * 1000)]
    texts = (request + reply).decode("latin-1")
    said, server_cpu, load_cpu = _run(running, scenario, command, None, seconds, nice, texts)
    return Sample(
        requests=said["messages"],
        window_ns=said["window_ns"],
        server_cpu_ns=server_cpu,
        load_cpu_ns=load_cpu,
        bytes=said["messages"] * len(reply),
        p50_us=said["p50_ns"] / 1e3,
        p99_us=said["p99_ns"] / 1e3,
        broken=said["disconnects"] + said["refused"] + said["missing"],
        statuses=said["mismatches"],
        timeouts=0,
    )


def _request(port: int, scenario: Scenario) -> bytes:
    fields = {"Host": f"127.0.0.1:{port}", **(BROWSER if scenario.browser else {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"GET {scenario.path} HTTP/1.1\r\n{head}\r\n".encode()


def _template(port: int, scenario: Scenario) -> bytes:
    """The server's reply, its date taken out: the load lets anything stand in place of a NUL."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(_request(port, scenario))
        reply = b""
        while not reply.endswith(HELLO):
            piece = connection.recv(65536)
            if not piece:
                raise BenchError(f"the connection ended after {reply!r}")
            reply += piece
    at = reply.lower().find(b"\r\ndate: ")
    if at < 0:
        return reply
    begin = at + len("\r\ndate: ")
    end = reply.index(b"\r\n", begin)
    return reply[:begin] + bytes(end - begin) + reply[end:]


def _bulk(running: Running, scenario: Scenario, seconds: int, nice: int) -> Sample:
    """The same with one connection and a large body."""
    name = running.server.name
    what, path = "get", scenario.path
    if scenario.load == "upload":
        what, path = ("put", "/upload/file") if name == "nginx" else ("post", "/")
    file = CACHE / "www" / "bytes" / str(scenario.unit)
    command = [sys.executable, BULK, str(running.port), what, path, str(file), str(seconds)]
    said, server_cpu, load_cpu = _run(running, scenario, command, None, seconds, nice)
    none = {"broken": 0, "statuses": 0, "timeouts": 0}
    return Sample(server_cpu_ns=server_cpu, load_cpu_ns=load_cpu, **said, **none)


def _run(
    running: Running,
    scenario: Scenario,
    command: list[str],
    environment: dict[str, str] | None,
    seconds: int,
    nice: int,
    texts: str | None = None,
) -> tuple[dict[str, Any], int, int]:
    """Run a load to its end: what it said, the server's CPU time, its own."""
    used = _children_cpu()
    before = tree_cpu_ns(running.pid)
    done = subprocess.run(
        command,
        env=environment,
        input=texts,
        capture_output=True,
        encoding="latin-1",
        timeout=seconds + 60,
        preexec_fn=pinned(LOAD_CORE, nice),
        check=False,
    )
    server_cpu = tree_cpu_ns(running.pid) - before
    if not done.stdout.strip():
        raise BenchError(done.stderr.strip() or f"the load ended with {done.returncode}")
    said: dict[str, Any] = json.loads(done.stdout.strip().rpartition("\n")[2])
    return said, server_cpu, int((_children_cpu() - used) * 1e9)


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def check(running: Running, scenario: Scenario, times: int = 3) -> str:
    """Ask with a client that is not wrk, on one connection; what is wrong, or an empty string."""
    if scenario.bulk:
        return ""  # the load looks at every byte itself
    try:
        if scenario.load in ("pipeline", "full") and scenario.size > 1:
            return _check_pipeline(running.port, scenario.size)
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
        for number in range(1, times + 1):
            wrong = _check_once(connection, scenario, number)
            if wrong:
                return wrong
            if scenario.load == "close":
                connection.close()
        connection.close()
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _check_once(connection: http.client.HTTPConnection, scenario: Scenario, number: int) -> str:
    fields = dict(BROWSER) if scenario.browser else {}
    if scenario.load == "close":
        fields["Connection"] = "close"
    if scenario.load == "mix":
        sent = {"name": "a name", "tags": ["one", "two"], "text": "x" * 950}
        fields["Content-Type"] = "application/json"
        path = f"/items/{number * 5 if number > 1 else 1}"
        connection.request("POST", path, json.dumps(sent), fields)
    elif scenario.load == "post":
        connection.request("POST", scenario.path, b"x" * scenario.size, fields)
    else:
        connection.request("GET", scenario.path, headers=fields)
    reply = connection.getresponse()
    body = reply.read()
    if reply.status != 200:
        return f"status {reply.status}: {body[:200]!r}"
    kind = (reply.getheader("Content-Type") or "").partition(";")[0]
    wanted = "application/json" if scenario.load == "mix" else "text/plain"
    if kind != wanted:
        return f"Content-Type {kind!r}"
    return "" if _right(body, scenario, number) else f"{len(body)} bytes: {body[:60]!r}"


def _check_pipeline(port: int, depth: int) -> str:
    """Send all requests at once, and read as many replies, in their order."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * depth)
        stream = connection.makefile("rb")
        for number in range(depth):
            reply = http.client.HTTPResponse(_Stream(stream))  # type: ignore[arg-type]
            reply.begin()
            if reply.status != 200 or reply.read() != HELLO:
                return f"pipelined reply {number} is wrong"
    return ""


class _Stream:
    """What HTTPResponse asks of a socket, so that one buffer serves several replies."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream

    def makefile(self, mode: str) -> BinaryIO:
        return _Unclosed(self.stream)  # type: ignore[return-value]


class _Unclosed:
    """A reply closes its stream when it has been read; the next reply still needs it."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def close(self) -> None:
        pass


def _right(body: bytes, scenario: Scenario, number: int) -> bool:
    if scenario.load == "mix":
        item = json.loads(body)
        if number > 1:
            return bool(item["number"] == number * 5) and 16_000 < len(body) < 17_000
        return bool(item["number"] == 1 and item["text"] == "x" * 950)
    if scenario.load == "post":
        return body == str(scenario.size).encode() or scenario.group == "hello"
    if scenario.path == "/":
        return body == HELLO
    period = bytes(range(251))
    return body == (period * (scenario.reply // 251 + 1))[: scenario.reply]


def reply_length(running: Running, scenario: Scenario) -> int:
    """The bytes of one whole reply on the wire, or 0 when its head does not tell (chunked)."""
    if scenario.load in ("mix", "post", "full") or scenario.bulk:
        return 0
    close = "Connection: close\r\n" if scenario.load == "close" else ""
    request = f"GET {scenario.path} HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\n{close}\r\n"
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
        connection.sendall(request.encode())
        reply = b""
        while b"\r\n\r\n" not in reply:
            reply += connection.recv(65536)
    head = reply.partition(b"\r\n\r\n")[0].lower()
    for line in head.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(head) + 4 + int(line.partition(b":")[2])
    return 0


def wrong_bytes(sample: Sample, scenario: Scenario, length: int) -> bool:
    """Whether wrk read another number of bytes than its requests' replies have.

    It counts whole replies, but all bytes: those of one reply a connection may be in the sum.
    """
    if length == 0:
        return False
    spare = length * scenario.connections * (scenario.size if scenario.load == "pipeline" else 1)
    return not 0 <= sample.bytes - sample.requests * length <= spare
