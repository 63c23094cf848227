"""WSGI on a real engine: what is on the wire of what an application says.

The standard library's validator stands around every application but those it would refuse.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest
from http_client import HOST, Client
from peers import PATIENCE, read_to_end, reset, until
from wsgi_apps.content import digest

from pyuring import Wsgi
from pyuring.testing import HandlerError, serve

MIB = 1 << 20
TEXT = [("Content-Type", "text/plain")]


def replying(*blocks: bytes, status: str = "200 OK", fields: Any = TEXT) -> Any:
    """Return an application that replies with a generator of `blocks`."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response(status, list(fields))
        yield from blocks

    return app


@pytest.mark.parametrize("threads", [0, 1])
def test_a_generator_is_chunked_and_the_connection_stays(threads: int) -> None:
    wsgi = Wsgi(validator(replying(b"one", b"", b"two")), threads=threads)
    with serve(wsgi) as engine, Client(engine.address) as client:
        for _ in range(2):
            reply = client.get()
            assert (reply.status, reply.body) == (200, b"onetwo")
            assert reply["Transfer-Encoding"] == "chunked"


def test_a_generator_ends_with_the_connection_for_an_old_client() -> None:
    with (
        serve(Wsgi(validator(replying(b"one", b"two")))) as engine,
        Client(engine.address) as client,
    ):
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        reply = client.reply()
        assert "Transfer-Encoding" not in reply
        assert "Content-Length" not in reply
        assert reply.body == b"onetwo"


@pytest.mark.parametrize("threads", [0, 1])
def test_a_large_generator_comes_whole(threads: int) -> None:
    block = os.urandom(100_000)
    wsgi = Wsgi(replying(*[block] * 50), threads=threads)
    with serve(wsgi) as engine, Client(engine.address) as client:
        for _ in range(2):
            assert digest(client.get().body) == digest(block * 50)


@pytest.mark.parametrize("threads", [0, 1])
def test_fewer_bytes_than_promised_end_the_connection(threads: int) -> None:
    seen: list[BaseException] = []
    wsgi = Wsgi(replying(b"one", b"two", fields=[("Content-Length", "7")]), threads=threads)
    with serve(wsgi, exception_hook=lambda exc, *_: seen.append(exc)) as engine:
        with Client(engine.address) as client, pytest.raises((EOFError, ConnectionError)):
            client.get()
        until(lambda: seen)
    assert "shorter" in str(seen[0])


@pytest.mark.parametrize("threads", [0, 1])
def test_more_bytes_than_promised_are_an_error_and_never_sent(threads: int) -> None:
    wsgi = Wsgi(replying(b"one", b"two", fields=[("Content-Length", "5")]), threads=threads)
    with (
        pytest.raises(HandlerError, match="longer"),
        serve(wsgi) as engine,
        Client(engine.address) as client,
        pytest.raises((EOFError, ConnectionError)),
    ):
        client.get()


@pytest.mark.parametrize("threads", [0, 1])
def test_an_error_after_the_head_is_no_end(threads: int) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", list(TEXT))
        yield b"one"
        yield b"two"
        raise LookupError("in a block")

    wsgi = Wsgi(app, threads=threads)
    with (
        pytest.raises(HandlerError, match="in a block"),
        serve(wsgi) as engine,
        Client(engine.address) as client,
        pytest.raises((EOFError, ConnectionError)),
    ):
        client.get()


@pytest.mark.parametrize("threads", [0, 1])
@pytest.mark.parametrize(
    ("name", "value"),
    [("X-A", "b\r\nX-Evil: 1"), ("X-A", "b\nSet-Cookie: c"), ("X-A", "\0"), ("X-A\r\nB", "c")],
)
def test_a_field_that_would_be_two_is_a_500(threads: int, name: str, value: str) -> None:
    seen: list[BaseException] = []
    wsgi = Wsgi(replying(b"x", fields=[(name, value)]), threads=threads)
    with (
        serve(wsgi, exception_hook=lambda exc, *_: seen.append(exc)) as engine,
        Client(engine.address) as client,
    ):
        reply = client.get()
        assert reply.status == 500
        assert "X-Evil" not in reply
        assert "Set-Cookie" not in reply
        assert client.get().status == 500  # over the same connection
    assert [type(exc) for exc in seen] == [ValueError, ValueError]


def test_an_error_is_a_500_and_the_connection_stays() -> None:
    seen: list[BaseException] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/error":
            raise LookupError("no page")
        start_response("200 OK", list(TEXT))
        return [b"fine"]

    def hook(exc: BaseException, *_: object) -> None:
        seen.append(exc)

    with (
        serve(Wsgi(validator(app)), exception_hook=hook) as engine,
        Client(engine.address) as client,
    ):
        reply = client.get("/error")
        assert reply.status == 500
        assert b"no page" not in reply.body
        assert client.get().body == b"fine"
    assert [type(exc) for exc in seen] == [LookupError]


def test_a_client_that_goes_has_the_iterable_closed() -> None:
    closed = threading.Event()

    class Endless:
        def __iter__(self) -> Iterator[bytes]:
            return self

        def __next__(self) -> bytes:
            return bytes(10_000)

        def close(self) -> None:
            closed.set()

    def app(environ: dict[str, Any], start_response: Any) -> Endless:
        start_response("200 OK", list(TEXT))
        return Endless()

    for threads in (0, 1):
        closed.clear()
        with serve(Wsgi(app, threads=threads)) as engine, Client(engine.address) as client:
            client.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
            client.exactly(100_000)
            assert not closed.is_set()
            reset(client.sock)
            assert closed.wait(PATIENCE)


def test_requests_may_come_all_at_once() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", list(TEXT))
        body = environ["PATH_INFO"].encode()
        return [body] if environ["QUERY_STRING"] else iter([body, body])

    with serve(Wsgi(validator(app))) as engine, Client(engine.address) as client:
        client.send(
            b"".join(
                b"GET /%d%s HTTP/1.1\r\n%b\r\n" % (number, b"?x" * (number % 2), HOST)
                for number in range(50)
            )
        )
        for number in range(50):
            assert client.reply().body == b"/%d" % number * (2 - number % 2)


@pytest.mark.parametrize("threads", [0, 1])
def test_a_file_goes_out_whole_and_is_closed(
    threads: int, tmp_path: Path, descriptors_kept: None
) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(5 * MIB + 1))

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", list(TEXT))
        return environ["wsgi.file_wrapper"](path.open("rb"))

    with serve(Wsgi(app, threads=threads)) as engine, Client(engine.address) as client:
        for _ in range(2):
            reply = client.get()
            assert reply["Content-Length"] == str(5 * MIB + 1)
            assert digest(reply.body) == digest(path.read_bytes())
        assert client.get(method="HEAD")["Content-Length"] == str(5 * MIB + 1)


def test_clients_that_go_while_a_file_is_sent_harm_nobody(
    tmp_path: Path, descriptors_kept: None
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100_000))

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", list(TEXT))
        return environ["wsgi.file_wrapper"](path.open("rb"))

    with serve(Wsgi(app)) as engine:
        for _ in range(200):
            with Client(engine.address) as client:  # gone with the reply unread: a reset
                client.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        with Client(engine.address) as client:
            assert len(client.get().body) == 100_000


@pytest.mark.parametrize("threads", [0, 1])
def test_write_comes_before_what_is_returned(threads: int) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", list(TEXT))
        for number in range(100):
            write(b"%d," % number * 1000)
        return [b"end"]

    expected = b"".join(b"%d," % number * 1000 for number in range(100)) + b"end"
    with serve(Wsgi(validator(app), threads=threads)) as engine, Client(engine.address) as client:
        for _ in range(2):
            assert client.get().body == expected


def test_what_is_written_on_a_pool_s_thread_is_sent_at_once() -> None:
    go = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", list(TEXT))
        write(b"one")
        assert go.wait(PATIENCE)
        return [b"two"]

    with serve(Wsgi(app, threads=1)) as engine, Client(engine.address) as client:
        client.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert client.head()[0] == 200
        assert client.exactly(8) == b"3\r\none\r\n"
        go.set()
        assert client.chunks() == b"two"


def test_a_first_block_does_not_wait_for_the_second() -> None:
    go = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", list(TEXT))
        yield b"one"
        assert go.wait(PATIENCE)
        yield b"two"

    with serve(Wsgi(validator(app), threads=1)) as engine, Client(engine.address) as client:
        client.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert client.head()[0] == 200
        assert client.exactly(8) == b"3\r\none\r\n"
        go.set()
        assert client.chunks() == b"two"


def test_a_connection_that_is_to_close_closes() -> None:
    with (
        serve(Wsgi(validator(replying(b"one", b"two")))) as engine,
        Client(engine.address) as client,
    ):
        assert client.get(fields=b"Connection: close\r\n").body == b"onetwo"
        assert read_to_end(client.sock) == b""
