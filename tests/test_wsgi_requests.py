"""WSGI on a real engine: what an application finds in its environ, and how it reads a body.

The standard library's validator stands around every application but those it would refuse.
"""

from __future__ import annotations

import ast
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest
from http_client import HOST, Client
from peers import PATIENCE, reset
from wsgi_apps.content import digest

from pyuring import Wsgi
from pyuring.testing import serve

MIB = 1 << 20
TEXT = [("Content-Type", "text/plain")]


def telling(*keys: str) -> Any:
    """Return an application that replies with values of the environ, a line each."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", list(TEXT))
        lines = [f"{environ.get(key)!r}\n" for key in keys]
        return ["".join(lines).encode("latin-1")]

    return app


def told(app: Any, head: bytes, **options: Any) -> list[str]:
    """Return what a `telling` application tells of one request."""
    with serve(Wsgi(validator(app)), **options) as engine, Client(engine.address) as client:
        client.send(head)
        return client.reply().body.decode("latin-1").splitlines()


# --- the environ -------------------------------------------------------------------------


def test_the_request_is_in_the_environ() -> None:
    keys = ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REQUEST_URI", "RAW_URI")
    head = b"PUT /a%20b/%C3%BC?x=%20&y HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n"
    assert told(telling(*keys), head) == [
        "'PUT'",
        "''",
        "'/a b/\xc3\xbc'",
        "'x=%20&y'",
        "'/a%20b/%C3%BC?x=%20&y'",
        "'/a%20b/%C3%BC?x=%20&y'",
    ]


def test_fields_are_in_the_environ() -> None:
    keys = ("CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_X_A", "HTTP_COOKIE", "HTTP_HOST")
    absent = ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH", "HTTP_X_FORWARDED_FOR")
    head = (
        b"POST / HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n"
        b"x-a: one\r\nCookie: a=1\r\nX-A: two\r\nCookie: b=2\r\nX_Forwarded_For: 1.2.3.4\r\n\r\n"
    )
    assert told(telling(*keys, *absent), head) == [
        "'text/plain'",
        "'0'",
        "'one,two'",
        "'a=1; b=2'",
        "'test'",
        "None",
        "None",
        "None",
    ]


def test_fields_are_those_of_the_request_whatever_came_before(rng: random.Random) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", list(TEXT))
        fields = {key: value for key, value in environ.items() if key.startswith("HTTP_")}
        return [repr(fields).encode("latin-1")]

    names = ("X-A", "x-a", "Accept", "aCCept", "X_A", "X-" + "n" * 50)
    with serve(Wsgi(app)) as engine, Client(engine.address) as client:
        for _ in range(200):
            host = rng.choice(("a", "b", "test:80", "x" * 70, ""))
            fields = [(rng.choice(("Host", "host")), host)]
            for _ in range(rng.randrange(4)):
                fields.append((rng.choice(names), rng.choice(("", "1", "two", "\xe9"))))
            rng.shuffle(fields)
            lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
            client.send(f"GET / HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))
            expected: dict[str, str] = {}
            for name, value in fields:
                key = "HTTP_" + name.upper().replace("-", "_")
                if "_" not in name:
                    expected[key] = f"{expected[key]},{value}" if key in expected else value
            assert ast.literal_eval(client.reply().body.decode("latin-1")) == expected


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        ("http://other:81/a?b", "other:81", "/a"),
        ("HTTP://other", "other", "/"),
        ("https://other?b", "other", "/"),
        ("/a?c=http://other/", "test", "/a"),
    ],
)
def test_the_authority_of_an_absolute_target_wins(target: str, host: str, path: str) -> None:
    head = f"OPTIONS {target} HTTP/1.1\r\nHost: test\r\n\r\n".encode()
    assert told(telling("HTTP_HOST", "PATH_INFO"), head) == [f"'{host}'", f"'{path}'"]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_the_protocol_is_in_the_environ(version: str) -> None:
    head = f"GET / HTTP/{version}\r\nHost: test\r\n\r\n".encode()
    assert told(telling("SERVER_PROTOCOL"), head) == [f"'HTTP/{version}'"]


def test_what_most_requests_have_comes_back_after_one_that_differs() -> None:
    seen = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        names = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "REQUEST_URI", "SERVER_PROTOCOL")
        seen.append((*(environ[name] for name in names), environ["wsgi.input"].read()))
        environ.update(REQUEST_METHOD="X", QUERY_STRING="x", SERVER_PROTOCOL="x")
        environ["wsgi.input"].close()
        start_response("200 OK", list(TEXT))
        return [b""]

    with serve(Wsgi(app)) as engine, Client(engine.address) as client:
        client.get()
        client.post("/a%2Fb?c=d", b"xy")
        client.get()
        client.send(b"GET /%41 HTTP/1.0\r\n" + HOST + b"Connection: keep-alive\r\n\r\n")
        client.reply()
        client.get()
    plain = ("GET", "/", "", "/", "HTTP/1.1", b"")
    assert seen[0] == seen[2] == seen[4] == plain
    assert seen[1] == ("POST", "/a/b", "c=d", "/a%2Fb?c=d", "HTTP/1.1", b"xy")
    assert seen[3] == ("GET", "/A", "", "/%41", "HTTP/1.0", b"")


def test_both_ends_are_in_the_environ() -> None:
    app = telling("SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR", "REMOTE_PORT")
    with serve(Wsgi(validator(app))) as engine, Client(engine.address) as client:
        lines = client.get().body.decode().splitlines()
        port = engine.address.rpartition(":")[2]
        peer = client.sock.getsockname()
    assert lines == ["'127.0.0.1'", f"'{port}'", "'127.0.0.1'", f"'{peer[1]}'"]


def test_each_environ_has_its_own_connections_ends_whatever_became_of_others() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        told = [environ["REMOTE_ADDR"], int(environ.pop("REMOTE_PORT")), "HTTP_X" in environ]
        environ.update(REMOTE_ADDR="x", HTTP_X="left behind")
        start_response("200 OK", list(TEXT))
        return [repr(told).encode()]

    with (
        serve(Wsgi(app)) as engine,
        Client(engine.address) as one,
        Client(engine.address) as other,
    ):
        for _ in range(4):
            for client in (one, other):
                expected = [*client.sock.getsockname(), False]
                assert ast.literal_eval(client.get().body.decode()) == expected


def test_a_unix_socket_has_no_addresses(tmp_path: Path) -> None:
    app = telling("SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR", "REMOTE_PORT")
    head = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
    lines = told(app, head, address=f"unix:{tmp_path}/socket")
    assert lines == ["'localhost'", "'80'", "''", "None"]


def test_a_trusted_proxy_is_believed() -> None:
    app = validator(telling("REMOTE_ADDR", "REMOTE_PORT", "wsgi.url_scheme"))
    fields = b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n"
    with serve(Wsgi(app, trust=("127.0.0.0/8",))) as engine, Client(engine.address) as client:
        assert client.get(fields=fields).body == b"'192.0.2.1'\nNone\n'https'\n"
        for _ in range(2):
            lines = client.get().body.decode().splitlines()
            assert (lines[0], lines[2]) == ("'127.0.0.1'", "'http'")
        assert client.get(fields=fields).body == b"'192.0.2.1'\nNone\n'https'\n"


# --- the input ---------------------------------------------------------------------------


def reading(read: Callable[[Any], bytes]) -> Any:
    """Return an application that replies with what `read(input)` makes of the body."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        result = read(environ["wsgi.input"])
        start_response("200 OK", list(TEXT))
        return [result]

    return app


LINES = b"".join(b"line %d\n" % number for number in range(20_000)) + b"no end"


def by_line(stream: Any) -> bytes:
    lines = []
    while line := stream.readline():
        lines.append(line)
    return digest(b"".join(lines)).encode() + b" %d" % len(lines)


def by_block(stream: Any) -> bytes:
    blocks = []
    while block := stream.read(10_007):
        blocks.append(block)
    assert stream.read(1) == b""
    return digest(b"".join(blocks)).encode() + b" 20001"


def by_iteration(stream: Any) -> bytes:
    lines = list(stream)
    return digest(b"".join(lines)).encode() + b" %d" % len(lines)


def by_readlines(stream: Any) -> bytes:
    lines = stream.readlines()
    return digest(b"".join(lines)).encode() + b" %d" % len(lines)


@pytest.mark.parametrize("read", [by_line, by_block, by_iteration, by_readlines])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("buffered", [0, 2 * MIB], ids=["streamed", "buffered"])
def test_a_body_is_read_to_its_end(
    read: Callable[[Any], bytes], chunked: bool, buffered: int
) -> None:
    wsgi = Wsgi(validator(reading(read)), buffered_body=buffered)
    with serve(wsgi) as engine, Client(engine.address) as client:
        for _ in range(2):
            if chunked:
                client.send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + b"\r\n")
                for start in range(0, len(LINES), 30_000):
                    piece = LINES[start : start + 30_000]
                    client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
                client.send(b"0\r\n\r\n")
                reply = client.reply()
            else:
                reply = client.post("/", LINES)
            assert reply.body == digest(LINES).encode() + b" 20001"


def test_a_body_that_nobody_reads_does_no_harm() -> None:
    with (
        serve(Wsgi(validator(telling("CONTENT_LENGTH")))) as engine,
        Client(engine.address) as client,
    ):
        assert client.post("/", b"x" * 1000).body == b"'1000'\n"
        assert client.get().body == b"None\n"


def test_the_client_is_told_to_go_on_when_the_application_reads() -> None:
    reading_now = threading.Event()
    go = threading.Event()

    def read(stream: Any) -> bytes:
        reading_now.set()
        assert go.wait(PATIENCE)
        return bytes(stream.read(5))

    with serve(Wsgi(validator(reading(read)))) as engine, Client(engine.address) as client:
        client.send(
            b"POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n" + HOST + b"\r\n"
        )
        assert reading_now.wait(PATIENCE)
        client.sock.setblocking(False)
        with pytest.raises(BlockingIOError):  # not before it has read
            client.sock.recv(1)
        client.sock.settimeout(PATIENCE)
        go.set()
        assert client.head()[0] == 100
        client.send(b"hello")
        assert client.reply().body == b"hello"


def test_an_application_that_reads_is_told_that_the_client_has_gone() -> None:
    seen: list[BaseException] = []
    done = threading.Event()

    def read(stream: Any) -> bytes:
        try:
            return bytes(stream.read())
        except Exception as error:
            seen.append(error)
            raise
        finally:
            done.set()

    with serve(Wsgi(reading(read), buffered_body=0)) as engine, Client(engine.address) as client:
        client.send(b"POST / HTTP/1.1\r\nContent-Length: 500000\r\n" + HOST + b"\r\n" + b"x" * 1000)
        reset(client.sock)
        assert done.wait(PATIENCE)
    assert isinstance(seen[0], ConnectionResetError)
