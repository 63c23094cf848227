"""One window of HTTP load against one server: wrk, bench/load.zig, or a client for large bodies.

Owns what is sent and what must come back. Never starts a server and prints nothing.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import resource
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from generator import Sample, window
from harness import (
    BENCH,
    CACHE,
    LOAD_CORE,
    BenchError,
    Running,
    pinned,
    tree_cpu_ns,
)
from syscalls import Counters

BULK = str(BENCH / "peers" / "http_bulk.py")
SCRIPT = str(BENCH / "http_load.lua")
HELLO = b"Hello, world!"
WARMUP = 0.2
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

    `size` is the body's of a request, `depth` the requests in flight on each connection, `rate` a
    schedule of so many requests a second (for "full" only).
    """

    name: str
    group: str
    load: str = "hello"
    connections: int = 64
    size: int = 0
    depth: int = 1
    rate: int = 0
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
        return max(self.size, self.reply)


@dataclass(frozen=True)
class Turn:
    """One server's turn under one load: a window of so many seconds, at that priority."""

    running: Running
    scenario: Scenario
    seconds: float
    nice: int
    counters: Counters | None = None


def measure(turn: Turn) -> Sample:
    """One window, by the scenario's load."""
    scenario = turn.scenario
    load = _bulk if scenario.bulk else _full if scenario.load == "full" else wrk
    return load(turn)


def wrk(turn: Turn) -> Sample:
    """Load the server for so long; its CPU time is read before and after, connecting included."""
    running, scenario = turn.running, turn.scenario
    whole = math.ceil(turn.seconds)  # wrk knows whole seconds only
    command = ["wrk", "-t", "1", "-c", str(scenario.connections), "-d", f"{whole}s"]
    command += ["-s", SCRIPT, f"http://127.0.0.1:{running.port}{scenario.path}"]
    environment = {**os.environ, "BENCH_LOAD": scenario.load, "BENCH_DEPTH": str(scenario.depth)}
    if scenario.browser:
        environment["BENCH_HEADERS"] = "\n".join(f"{k}: {v}" for k, v in BROWSER.items())
    return _run(turn, command, environment)


def _full(turn: Turn) -> Sample:
    """The same request and reply again and again, by a load so cheap that it is not the limit."""
    running, scenario = turn.running, turn.scenario
    request, (reply, begin, end) = _request(running.port, scenario), _reply(running, scenario)
    arguments = ["--mode", "fixed", "--size", str(len(request)), "--reply", str(len(reply))]
    arguments += ["--vary-from", str(begin), "--vary-to", str(end), "--rate", str(scenario.rate)]
    arguments += ["--depth", str(scenario.depth), "--connections", str(scenario.connections)]
    texts = request + reply
    sample = window(running, arguments, turn.seconds, WARMUP, turn.nice, turn.counters, texts)
    return replace(sample, bytes=sample.messages * len(reply))


def _request(port: int, scenario: Scenario) -> bytes:
    fields = {"Host": f"127.0.0.1:{port}", **(BROWSER if scenario.browser else {})}
    body = b"x" * scenario.size
    if body:
        fields |= {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(len(body)),
        }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    method = "POST" if body else "GET"
    return f"{method} {scenario.path} HTTP/1.1\r\n{head}\r\n".encode() + body


def _reply(running: Running, scenario: Scenario) -> tuple[bytes, int, int]:
    """The server's reply on the wire, and from where to where its date stands."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
        connection.sendall(_request(running.port, scenario))
        stream = connection.makefile("rb")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = stream.readline()
            if not line:
                raise BenchError(f"the connection ended after {head!r}")
            head += line
        length = _content_length(head)
        if length is None:
            raise BenchError(f"a reply without Content-Length: {head!r}")
        reply = head + stream.read(length)
    at = head.lower().find(b"\r\ndate: ")
    if at < 0:
        return reply, 0, 0
    begin = at + len("\r\ndate: ")
    return reply, begin, head.index(b"\r\n", begin)


def _content_length(head: bytes) -> int | None:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return None


def _bulk(turn: Turn) -> Sample:
    """The same with one connection and a large body."""
    running, scenario = turn.running, turn.scenario
    name = running.server.name
    what, path = "get", scenario.path
    if scenario.load == "upload":
        what, path = ("put", "/upload/file") if name == "nginx" else ("post", "/")
    file = CACHE / "www" / "bytes" / str(scenario.unit)
    command = [sys.executable, BULK, str(running.port), what, path, str(file), str(turn.seconds)]
    return _run(turn, command)


def _run(turn: Turn, command: list[str], environment: dict[str, str] | None = None) -> Sample:
    """Run a load to its end; the server's CPU time and calls are read before and after it."""
    counters, server = turn.counters, turn.running.pid
    used, counted = _children_cpu(), counters.read() if counters else 0
    before = tree_cpu_ns(server)
    done = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=turn.seconds + 60,
        preexec_fn=pinned(LOAD_CORE, turn.nice),
        check=False,
    )
    server_cpu = tree_cpu_ns(server) - before
    if not done.stdout.strip():
        raise BenchError(done.stderr.strip() or f"the load ended with {done.returncode}")
    said: dict[str, Any] = json.loads(done.stdout.strip().rpartition("\n")[2])
    load_cpu = int((_children_cpu() - used) * 1e9)
    counted = counters.read() - counted if counters else 0
    return Sample(
        server_cpu_ns=server_cpu,
        load_cpu_ns=load_cpu,
        load_work_ns=load_cpu,
        counted=counted,
        **said,
    )


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def check(running: Running, scenario: Scenario, times: int = 3) -> str:
    """Ask with a client that is not wrk, on one connection; what is wrong, or an empty string."""
    if scenario.bulk:
        return ""  # the load looks at every byte itself
    try:
        if scenario.depth > 1:
            return _check_pipeline(running.port, scenario.depth)
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
    elif scenario.size:
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
    if scenario.size:
        return body == str(scenario.size).encode() or scenario.group == "hello"
    if scenario.path == "/":
        return body == HELLO
    period = bytes(range(251))
    return body == (period * (scenario.reply // 251 + 1))[: scenario.reply]


def reply_length(running: Running, scenario: Scenario) -> int:
    """The bytes of one whole reply on the wire, or 0 when its head does not tell (chunked)."""
    if scenario.load in ("mix", "full") or scenario.bulk:
        return 0
    close = "Connection: close\r\n" if scenario.load == "close" else ""
    request = f"GET {scenario.path} HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\n{close}\r\n"
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
        connection.sendall(request.encode())
        reply = b""
        while b"\r\n\r\n" not in reply:
            reply += connection.recv(65536)
    head = reply.partition(b"\r\n\r\n")[0].lower()
    length = _content_length(head)
    return 0 if length is None else len(head) + 4 + length


def wrong_bytes(sample: Sample, scenario: Scenario, length: int) -> bool:
    """Whether wrk read another number of bytes than its requests' replies have.

    It counts whole replies, but all bytes: those of one reply a connection may be in the sum.
    """
    if length == 0:
        return False
    spare = length * scenario.connections * scenario.depth
    return not 0 <= sample.bytes - sample.messages * length <= spare
