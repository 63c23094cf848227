"""HTTP under attack: clients and handlers that do what nobody should, one way at a time.

It owns no server of its own. Each test stands for something that once went wrong.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from http_client import HOST, Client, served
from peers import until

from pyuring import HttpError, Request

POST = b"POST / HTTP/1.1\r\n" + HOST
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"


def test_no_100_goes_out_once_the_reply_has_begun() -> None:
    asked = threading.Event()

    def handler(request: Request) -> Iterator[bytes]:
        yield b"start"
        asked.set()
        yield request.stream.read()

    with served(handler) as engine, Client(engine.address) as client:
        client.send(POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert asked.wait(10)
        client.send(b"abc")
        assert client.reply().body == b"startabc"


@pytest.mark.parametrize("by", ["_reply", "_begin"])
def test_fields_that_reply_themselves_while_they_are_taken_raise(by: str) -> None:
    problems: list[BaseException] = []

    def handler(request: Request) -> Any:
        def fields() -> Iterator[tuple[str, str]]:
            if by == "_reply":
                request._reply(200, [], b"inner")
            else:
                request._begin(200, [], 5)
            yield ("X-Outer", "1")

        return 200, fields(), b"outer"

    def hook(problem: BaseException, where: str, _: object) -> None:
        problems.append(problem)

    with served(handler, engine_exception_hook=hook) as engine, Client(engine.address) as client:
        client.send(GET)
        assert b"X-Outer" not in client.to_end()
    assert [type(problem) for problem in problems] == [RuntimeError]


@pytest.mark.parametrize("threads", [0, 1])
@pytest.mark.parametrize("fields", [None, []])
@pytest.mark.parametrize("body", ["text", bytearray(b"text"), ["te", b"xt"]])
def test_a_tuple_is_the_same_reply_on_either_thread(threads: int, fields: Any, body: Any) -> None:
    handler = lambda request: (201, fields, body)  # noqa: E731
    with served(handler, threads=threads) as engine, Client(engine.address) as client:
        reply = client.get()
        assert (reply.status, reply.body) == (201, b"text")


@pytest.mark.parametrize("threads", [0, 1])
@pytest.mark.parametrize("fields", [[], [("X-A", "b")]])
def test_an_http_error_after_the_head_is_reported_as_what_it_is(
    threads: int, fields: list[tuple[str, str]]
) -> None:
    problems: list[BaseException] = []

    def handler(request: Request) -> Iterator[bytes]:
        yield b"start"
        raise HttpError(404, "gone", fields)

    def hook(problem: BaseException, where: str, _: object) -> None:
        problems.append(problem)

    options: dict[str, Any] = {"threads": threads, "engine_exception_hook": hook}
    with served(handler, **options) as engine, Client(engine.address) as client:
        client.send(GET)
        assert not client.to_end().endswith(b"0\r\n\r\n")
    assert [str(problem) for problem in problems] == ["404 gone"]


def test_a_file_whose_size_nobody_knows_is_read() -> None:
    handler = lambda request: open("/proc/self/status", "rb")  # noqa: E731, SIM115
    with served(handler) as engine, Client(engine.address) as client:
        assert client.get().body.startswith(b"Name:")


@pytest.mark.parametrize("threads", [0, 1])
def test_a_body_that_ends_with_its_connection_is_not_cut_off_in_silence(threads: int) -> None:
    def handler(request: Request) -> Iterator[bytes]:
        yield b"x" * 100_000
        raise ValueError("in the middle")

    options: dict[str, Any] = {"threads": threads, "engine_exception_hook": lambda *_: None}
    with served(handler, **options) as engine, Client(engine.address) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.to_end()


def test_nor_is_one_whose_client_is_too_slow() -> None:
    def handler(request: Request) -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 100_000

    # Room for all of it: the reply is complete here, and not there.
    options: dict[str, Any] = {"engine_write_high_water": 1 << 26, "engine_write_timeout": 0.3}
    with served(handler, **options) as engine, Client(engine.address) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        until(lambda: engine.metrics().timeouts == 1)
        with pytest.raises(ConnectionResetError):
            client.to_end()


def test_a_request_keeps_its_head_while_its_handler_answers_another() -> None:
    held: list[Request] = []

    def handler(request: Request) -> Any:
        if request.path == "/hold":
            request._begin(200, [], None)
            held.append(request)
            return None
        if request.path == "/next":
            return "next"
        before = request.header_list()
        other = held.pop()
        other._end()  # and what its client has sent meanwhile is parsed and handled
        return "same" if request.header_list() == before else "another's"

    with served(handler) as engine, Client(engine.address) as one, Client(engine.address) as two:
        fields = b"".join(b"X-Field-Number-%d: %d\r\n" % (i, i) for i in range(20))
        one.send(b"GET /hold HTTP/1.1\r\n" + HOST + b"\r\n")
        one.send(b"GET /next HTTP/1.1\r\n" + HOST + fields + b"\r\n")
        until(lambda: held)
        assert two.get("/", b"X-Mine: mine\r\n").body == b"same"
        assert (one.reply().body, one.reply().body) == (b"", b"next")


def test_an_exception_that_will_not_tell_its_class_does_no_more_harm_than_that() -> None:
    class Shy(Exception):
        @property
        def __class__(self) -> Any:
            raise KeyError("not yours to know")

    def handler(request: Request) -> Any:
        raise Shy

    problems: list[type] = []
    hook = lambda problem, *_: problems.append(type(problem))  # noqa: E731
    with served(handler, engine_exception_hook=hook) as engine, Client(engine.address) as client:
        client.send(GET)
        assert client.to_end() == b""
    assert problems == [KeyError]  # the gateway's, who wants to know; not a SystemError


SHARED = """
import sys, threading
from http_client import Client
from pyuring import Http, Wsgi
from pyuring.testing import serve

fields, blocks, over = [("X-A", "b")], [b"block"], threading.Event()

def change():
    number = 0
    while not over.is_set():
        number += 1
        fields[:] = [("X-%d" % n, "b%d" % number) for n in range(number % 20)]
        blocks[:] = [b"%d" % number * 9]

def app(environ, start_response):
    start_response("200 OK", fields)
    return blocks

def handler(request):
    return 200, fields, b"body"

changer = threading.Thread(target=change, daemon=True)
changer.start()
with serve(Wsgi(app) if sys.argv[1] == "wsgi" else Http(handler)) as engine:
    with Client(engine.address) as client:
        print({client.get().status for _ in range(3000)})
over.set()
changer.join()
"""


@pytest.mark.skipif(
    getattr(sys, "_is_gil_enabled", lambda: True)(), reason="this interpreter has a global lock"
)
@pytest.mark.parametrize("kind", ["plain", "wsgi"])
def test_a_list_that_another_thread_changes_does_no_harm(kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHARED, kind],
        cwd=pathlib.Path(__file__).parent,
        env={**os.environ, "PYTHONMALLOC": "debug"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "{200}\n", done.stderr


LEAVING = """
import os, signal, sys
from http_client import Client, served
from peers import connect, reset, until
from pyuring import Response

signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as programs do that write to pipes
os.truncate(sys.argv[1], 64 << 20)
with served(lambda request: Response.file(sys.argv[1])) as engine:
    for _ in range(20):
        with connect(engine.address) as peer:
            peer.sendall(b"GET / HTTP/1.1\\r\\nHost: here\\r\\n\\r\\n")
            peer.shutdown(1)  # a reset after the end is EPIPE, not ECONNRESET (tcp_reset)
            peer.recv(100)
            reset(peer)
    until(lambda: engine.metrics().active == 0)
    with Client(engine.address) as client:
        print(len(client.get().body))
"""


def test_clients_that_leave_a_file_do_not_end_the_process(tmp_path: pathlib.Path) -> None:
    (tmp_path / "large").touch()
    done = subprocess.run(
        [sys.executable, "-c", LEAVING, str(tmp_path / "large")],
        cwd=pathlib.Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, f"{64 << 20}\n"), done.stderr


FREED = """
import gc
from http_client import Client, served

class Name(str):
    def __repr__(self):
        fields.clear()
        return "the name"

fields = []

def handler(request):
    fields[:] = [(Name("x-a"), "".join(["bad\\n", "value"]))]
    return 200, fields, b""

problems = []
hook = lambda problem, *_: problems.append(str(problem))
with served(handler, engine_exception_hook=hook) as engine, Client(engine.address) as client:
    print(client.get().status, *problems)
"""


def test_a_names_repr_that_drops_its_field_leaves_the_value_to_its_error() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FREED],
        cwd=pathlib.Path(__file__).parent,
        env={**os.environ, "PYTHONMALLOC": "debug"},  # what is freed is overwritten
        capture_output=True,
        text=True,
        timeout=20,
    )
    words = "the value of the name has a control character: 'bad\\nvalue'"
    assert done.stdout == f"500 {words}\n", done.stderr


FORKING = """
import os, sys
from http_client import Client, served

children = []

def handler(request):
    child = os.fork()
    if child:
        children.append(child)
    return "parent" if child else "child"

with served(handler, threads=1) as engine, Client(engine.address) as client:
    reply = client.get()
    _, status = os.waitpid(children[0], 0)
    print(reply.body, os.waitstatus_to_exitcode(status))
"""


def test_a_child_that_returns_from_a_pools_handler_ends_at_once() -> None:
    tests = str(pathlib.Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", FORKING], cwd=tests, capture_output=True, text=True, timeout=20
    )
    assert done.stdout == "b'parent' 70\n"
    assert "end it by os._exit() (F20)" in done.stderr


@pytest.mark.parametrize("threads", [0, 1])
@pytest.mark.parametrize("where", ["handler", "first", "later"])
def test_an_exception_that_is_none_concerns_its_request_alone(threads: int, where: str) -> None:
    problems: list[BaseException] = []

    def blocks() -> Iterator[bytes]:
        if where == "later":
            yield b"start"
        raise asyncio.CancelledError(where)

    def handler(request: Request) -> Any:
        if request.path == "/well":
            return "well"
        if where == "handler":
            raise asyncio.CancelledError(where)
        return blocks()

    def hook(problem: BaseException, where: str, _: object) -> None:
        problems.append(problem)

    options: dict[str, Any] = {"threads": threads, "engine_exception_hook": hook}
    with served(handler, **options) as engine:
        with Client(engine.address) as client:
            client.send(GET)
            got = client.to_end() if where == "later" else client.until(b" 500 ")
            assert not got.endswith(b"0\r\n\r\n")
        with Client(engine.address) as client:
            assert client.get("/well").body == b"well"
    assert [str(problem) for problem in problems] == [where]


@pytest.mark.parametrize("stamp", [1 << 38, 4_000_000_000, -(1 << 37), -5])
def test_a_files_date_is_never_in_the_future_nor_a_mistake(
    stamp: int, tmp_path: pathlib.Path
) -> None:
    file = pathlib.Path("/dev/shm") / f"pyuring-{tmp_path.parent.name}-{tmp_path.name}"
    file.write_text("x")  # in a file system that knows such dates
    try:
        os.utime(file, (stamp, stamp))
        with served(lambda request: file) as engine, Client(engine.address) as client:
            reply = client.get()
            assert (reply.status, reply.body) == (200, b"x")
            assert parsedate_to_datetime(reply["Last-Modified"]).timestamp() <= time.time()
    finally:
        file.unlink()


@pytest.mark.parametrize("limit", [0, 1 << 20])
def test_more_bytes_of_files_than_there_can_be_are_an_error(limit: int) -> None:
    raised: list[BaseException] = []

    def handler(request: Request) -> None:
        request._begin(200, [], None)
        for offset, count in [(0, (1 << 63) - 1)] * 4 + [(1, (1 << 63) - 1)]:
            try:
                request._send_file(0, offset, count, None)
            except ValueError as error:
                raised.append(error)
        request._abort()

    options: dict[str, Any] = {"engine_send_queue_limit": limit}
    with served(handler, **options) as engine, Client(engine.address) as client:
        client.send(GET)
        client.to_end()
    assert raised
