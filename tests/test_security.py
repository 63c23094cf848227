"""SECURITY.md says what is so: its numbers are the code's, and what it claims of `serve` is shown.

What the engine and HTTP promise is tested where they are; here is what only the page puts together.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from command import ROOT, Served
from http_client import HOST, Client, hello, served
from peers import until

from pyuring import EngineConfig, HttpConfig, Request
from pyuring.conditions import _MOST_RANGES
from pyuring.metrics_server import _MOST_CLIENTS, _PATIENCE_SECONDS
from pyuring.options import TABLE
from pyuring.proxy_protocol import MOST_BYTES
from pyuring.request import _MOST_QUERY_FIELDS

PAGE = (ROOT / "SECURITY.md").read_text("utf-8")
WORDS = {5: "five", 8: "eight", 10: "ten", 16: "sixteen"}


def default_of(name: str) -> object:
    if name.startswith("--"):
        return next(option.default for option in TABLE if f"--{option.key}" == name)
    owner, field = name.split(".")
    return getattr({"HttpConfig": HttpConfig, "EngineConfig": EngineConfig}[owner](), field)


def test_every_limit_is_told_with_the_default_that_it_has() -> None:
    table = PAGE.split("## What it may cost")[1].split("## ")[0]
    told = dict(re.findall(r"^\| `([^`]+)` \| (\S+) \|", table, re.M))
    assert told == {name: str(default_of(name)) for name in told}
    limits = {f"--{option.key}" for option in TABLE if re.match("(limit|timeout)-", option.key)}
    assert limits <= set(told)


def test_numbers_within_sentences_are_the_codes() -> None:
    http, engine = HttpConfig(), EngineConfig()
    head_seconds = round(http.head_timeout or 0)
    for sentence in (
        f"{WORDS[head_seconds]} seconds for a head, {http.keep_alive_timeout:g} between requests",
        f"more than {http.buffered_body // 1024} KiB occupies one of the worker's "
        f"{http.stream_threads} streaming threads",
        f"with {WORDS[http.stream_threads]} such bodies",
        f"up to {http.head // 1024} KiB of a head, {http.buffered_body // 1024} KiB of a body",
        f"{engine.send_queue_pause // 2**20} MiB of replies",
        f"the default of {engine.max_connections} is",
        f"query beyond {_MOST_QUERY_FIELDS} are 400, ranges beyond {WORDS[_MOST_RANGES]}",
        f"PROXY header beyond {MOST_BYTES} bytes",
        f"At most {_MOST_CLIENTS} clients at a time, {WORDS[round(_PATIENCE_SECONDS)]} seconds",
    ):
        assert sentence in PAGE.replace("\n", " "), sentence


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_tier_none_makes_no_io_uring_call(tmp_path: Path) -> None:
    """As a flag of `serve`, from the environment, and of an engine: none of the three calls."""
    code = (
        "import sys, socket\n"
        "from pyuring import Engine, Protocol\n"
        "with Engine(Protocol, '127.0.0.1:0', **dict(a.split('=') for a in sys.argv[1:])) as e:\n"
        "    print(e.type)\n"
    )
    calls = "io_uring_setup,io_uring_enter,io_uring_register"
    for arguments, tier in (((), "none"), (("tier=none",), "auto")):
        out = tmp_path / f"calls-{tier}"
        traced = [
            "strace",
            "-f",
            "-qq",
            "-e",
            f"trace={calls}",
            "-e",
            "signal=none",
            "-o",
            str(out),
        ]
        done = subprocess.run(
            [*traced, sys.executable, "-c", code, *arguments],
            env={**os.environ, "PYURING_TIER": tier}, cwd=ROOT, capture_output=True, text=True,
            check=False, timeout=60,
        )  # fmt: skip
        if "ptrace" in done.stderr:
            pytest.skip(f"strace may not trace here: {done.stderr.strip()}")
        assert done.stdout == "epoll\n", done.stderr
        assert "io_uring" not in out.read_text()


def test_unix_sockets_are_open_to_every_user_the_metrics_too(tmp_path: Path) -> None:
    places = [tmp_path / "app", tmp_path / "metrics"]
    with Served(
        "examples.echo:Echo", "--bind", f"unix:{places[0]}", "--metrics", f"unix:{places[1]}"
    ):
        until(places[1].exists)
        assert [stat.S_IMODE(place.stat().st_mode) for place in places] == [0o666, 0o666]


def test_nobodys_forwarding_headers_are_believed_by_default() -> None:
    def tell(request: Request) -> str:
        return f"{request.client} {request.scheme}"

    fields = b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nForwarded: for=7.7.7.7\r\n"
    with served(tell) as engine, Client(engine.address) as client:
        assert client.get("/", fields).body == b"127.0.0.1 http"


def test_with_proxy_protocol_every_peer_is_believed() -> None:
    def tell(request: Request) -> str:
        return str(request.client)

    with served(tell, proxy_protocol=True) as engine, Client(engine.address) as client:
        client.send(b"PROXY TCP4 9.9.9.9 1.1.1.1 1 2\r\n")
        assert client.get().body == b"9.9.9.9"


def test_a_refused_request_is_counted_and_neither_logged_nor_shown_to_anybody() -> None:
    logged: list[str] = []
    with served(hello, access_log=lambda request, *_: logged.append(request.path)) as engine:
        with Client(engine.address) as client:
            client.send(b"GET /bad HTTP/1.1\n\n")
            assert client.reply().status == 400
        with Client(engine.address) as client:
            assert "Server" not in client.get("/good")
        assert engine.metrics().requests_malformed == 1
    assert logged == ["/good"]


def test_uploads_that_trickle_hold_up_large_ones_and_not_the_small() -> None:
    def count(request: Request) -> str:
        return str(len(request.stream.read()))

    with served(count, stream_threads=2, buffered_body=1000) as engine:
        head = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5000\r\n\r\n"
        slow = [Client(engine.address) for _ in range(2)]
        for client in slow:
            client.send(head)
        until(lambda: engine.metrics().requests_active == 2)
        with Client(engine.address) as large, Client(engine.address) as small:
            large.send(head + bytes(5000))
            until(lambda: engine.metrics().requests_active == 3)
            assert small.post("/", bytes(100)).body == b"100"
            large.sock.settimeout(0.2)  # it waits for a thread all this time
            with pytest.raises(socket.timeout):
                large.reply()
            slow[0].sock.close()
            large.sock.settimeout(10)
            assert large.reply().body == b"5000"
        slow[1].sock.close()
