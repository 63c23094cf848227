"""HTTP as a client sees it, on a real engine: replies, their framing and their order."""

from __future__ import annotations

import gc
import pathlib
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from http_client import Client, echo, hello, mixed, served
from peers import connect, read_to_end

from pyuring import Engine, Http, Request, Response, Worker, current_worker
from pyuring.testing import HandlerError, serve

MIB = 1 << 20


def test_a_str_is_text_with_its_length_and_the_date() -> None:
    with served(hello) as engine, Client(engine.address) as client:
        reply = client.get()
        assert (reply.status, reply.body) == (200, b"Hello, world!")
        assert reply["Content-Type"] == "text/plain; charset=utf-8"
        assert reply["Content-Length"] == "13"
        stamp = time.strptime(reply["Date"], "%a, %d %b %Y %H:%M:%S GMT")
        assert abs(time.time() - time.mktime(stamp) + time.timezone) < 5
        assert "Connection" not in reply


def test_connections_are_kept_and_old_clients_asked_for_it() -> None:
    with served(hello) as engine, Client(engine.address) as client:
        for _ in range(3):
            client.get()
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert client.reply()["Connection"] == "keep-alive"
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.reply()["Connection"] == "close"
        assert client.ended()


def test_a_client_that_asks_for_the_end_gets_it_after_its_reply() -> None:
    with served(hello) as engine, Client(engine.address) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")  # nothing after it is processed
        assert client.reply().body == b"Hello, world!"
        assert client.ended()
        assert engine.metrics().requests == 1


def test_requests_per_connection_are_limited() -> None:
    with served(hello, requests_per_connection=2) as engine, Client(engine.address) as client:
        assert "Connection" not in client.get()
        assert client.get()["Connection"] == "close"
        assert client.ended()


@pytest.mark.parametrize("threads", [0, 3])
def test_pipelined_replies_keep_the_order_of_their_requests(
    threads: int, rng: random.Random, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYURING_TEST_FILES", str(tmp_path))
    kinds = [rng.choice(["text", "parts", "file", "large"]) for _ in range(60)]
    heads = b"".join(
        f"GET /{kind}/{n} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for n, kind in enumerate(kinds)
    )
    with served(mixed, threads=threads) as engine, Client(engine.address) as client:

        def trickle() -> None:
            at = 0
            while at < len(heads):
                count = rng.randrange(1, 400)
                client.send(heads[at : at + count])
                at += count

        sender = threading.Thread(target=trickle)
        sender.start()
        for number, kind in enumerate(kinds):
            wanted = str(number).encode()
            body = client.reply().body
            assert body == (wanted if kind == "text" else (wanted + b"-") * 5000), (number, kind)
        sender.join()


def test_head_has_the_fields_and_no_body() -> None:
    with served(mixed) as engine, Client(engine.address) as client:
        for kind in ("text", "parts", "large"):
            full = client.get(f"/{kind}/7")
            bare = client.get(f"/{kind}/7", method="HEAD")
            assert bare.status == 200
            names = [[n for n, _ in reply.fields] for reply in (full, bare)]
            assert names[0] == names[1]
        assert client.get("/text/8").body == b"8"


@pytest.mark.parametrize("status", [204, 304])
def test_replies_that_have_no_body_send_none(status: int) -> None:
    with (
        served(lambda request: Response(b"dropped", status)) as engine,
        Client(engine.address) as client,
    ):
        reply = client.get()
        assert reply.status == status
        assert "Transfer-Encoding" not in reply
        assert status == 304 or "Content-Length" not in reply
        assert client.get().status == status


def test_what_would_inject_a_field_is_the_handlers_error_and_never_sent() -> None:
    bad = [
        ("200 OK\r\nX: y", [], b""),
        (200, [("A\r\nB", "c")], b""),
        (200, [("A", "b\nSet-Cookie: c")], b""),
        (200, [("A", "b\x00")], b""),
        (200, [("Transfer-Encoding", "chunked")], b""),
        (200, [("Content-Length", "5")], b"four"),
        (200, [("Content-Length", "+4")], b"four"),
        (99, [], b""),
        (200, [("A", "\u20ac")], b""),
        (200, [("A", 5)], b""),
        (200, [("A",)], b""),
    ]
    seen: list[BaseException] = []
    with (
        served(
            lambda request: bad[int(request.path[1:])],
            engine_exception_hook=lambda error, where, transport: seen.append(error),
        ) as engine,
        Client(engine.address) as client,
    ):
        for number in range(len(bad)):
            reply = client.get(f"/{number}")
            assert reply.status == 500
            assert reply.body == b"Internal Server Error\n"
            assert len(seen) == number + 1
    assert all(isinstance(error, (ValueError, TypeError)) for error in seen)


def test_an_exception_is_reported_once_and_the_connection_goes_on() -> None:
    def handler(request: Request) -> str:
        if request.path == "/bad":
            raise LookupError("no such thing")
        return "fine"

    seen: list[tuple[BaseException, str, Any]] = []
    with (
        served(handler, engine_exception_hook=lambda *what: seen.append(what)) as engine,
        Client(engine.address) as client,
    ):
        assert client.get("/bad").status == 500
        assert client.get("/good").body == b"fine"
        assert engine.metrics().errors_handler == 1
    assert [type(error) for error, *_ in seen] == [LookupError]
    assert repr(seen[0][2]) == "<Request GET '/bad'>"  # whose it was


def test_an_iterator_that_raises_midway_never_looks_complete() -> None:
    def broken() -> Iterator[bytes]:
        yield b"a" * 100
        raise LookupError("no more")

    with (
        pytest.raises(HandlerError, match="no more"),
        served(lambda request: broken()) as engine,
        Client(engine.address) as client,
        pytest.raises((EOFError, ConnectionResetError)),
    ):
        client.get()


def test_a_body_shorter_than_promised_aborts() -> None:
    def short(request: Request) -> Response:
        return Response(iter([b"four"]), headers={"Content-Length": "5"})

    with (
        pytest.raises(HandlerError, match="shorter"),
        served(short) as engine,
        Client(engine.address) as client,
        pytest.raises((EOFError, ConnectionResetError)),
    ):
        client.get()


def test_handlers_run_on_the_worker_or_on_its_pool() -> None:
    def where(request: Request) -> str:
        worker: Worker | None = current_worker()
        return "worker" if worker is not None else threading.current_thread().name

    with served(where) as engine, Client(engine.address) as client:
        assert client.get().body == b"worker"
    with served(where, threads=2) as engine, Client(engine.address) as client:
        assert client.get().body.startswith(b"pyuring-handler-0-")


def test_a_request_that_is_kept_keeps_its_own_bytes() -> None:
    kept: list[Request] = []

    def handler(request: Request) -> str:
        kept.append(request)
        return "ok"

    with served(handler) as engine, Client(engine.address) as client:
        for number in range(50):
            client.get(f"/{number}?q={number}", b"X-Number: %d\r\n" % number)
        for number, request in enumerate(kept):
            assert (request.path, request.query_string) == (f"/{number}", f"q={number}")
            assert request.headers["x-number"] == str(number)
    assert kept[7].header("X-NUMBER") == "7"  # also when the engine has gone


def test_a_request_that_is_kept_is_no_other_one(rng: random.Random) -> None:
    kept: dict[int, Request] = {}
    bodies = [rng.randbytes(rng.choice([0, 0, 10, 3000])) for _ in range(60)]
    chosen = set(rng.sample(range(60), 20))

    def handler(request: Request) -> bytes:
        number = int(request.path[1:])
        assert (request._state, request.header("X-Only")) == (None, "0" if number == 0 else None)
        assert request.stream.read(5) == bodies[number][:5]  # makes a state
        if number in chosen:
            kept[number] = request
        return request.body

    with served(handler) as engine, Client(engine.address) as client:
        for number, body in enumerate(bodies):
            only = b"X-Only: 0\r\n" if number == 0 else b""
            head = b"POST /%d HTTP/1.1\r\nHost: a\r\n%sContent-Length: %d\r\n\r\n"
            client.send(head % (number, only, len(body)) + body)
        assert [client.reply().body for _ in bodies] == bodies
        assert {number: (one.path, one.body) for number, one in kept.items()} == {
            number: (f"/{number}", bodies[number]) for number in chosen
        }


def test_who_finds_a_request_after_its_exchange_sees_an_empty_one() -> None:
    mine = f"/{time.monotonic_ns()}"
    with served(lambda request: request.path) as engine, Client(engine.address) as client:
        client.get(mine)
        found = [one for one in gc.get_objects() if isinstance(one, Request)]
        assert [client.get(mine).body for _ in range(3)] == [mine.encode()] * 3
        assert mine not in [one.path for one in found]
        assert all((one.header_list(), one.body) == ([], b"") for one in found if one.path == "")


@pytest.mark.parametrize("count", [1, 3])
def test_many_clients_of_every_kind_at_once(count: int, rng: random.Random) -> None:
    bodies = [rng.randbytes(rng.choice([10, 5000, 200_000])) for _ in range(200)]
    failures: list[BaseException] = []

    def work(engine: Engine, part: list[bytes]) -> None:
        try:
            with Client(engine.address) as client:
                for body in part:
                    assert client.post("/", body).body == body
        except BaseException as error:
            failures.append(error)

    with served(echo, engine_workers=count) as engine:
        threads = [
            threading.Thread(target=work, args=(engine, bodies[start::20])) for start in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert failures == []
        metrics = engine.metrics()
        assert (metrics.requests, metrics.requests_active) == (200, 0)


def test_a_unix_socket_serves_as_well(tmp_path: pathlib.Path) -> None:
    with serve(Http(lambda request: repr(request.peer)), f"unix:{tmp_path / 's'}") as engine:
        sock = connect(engine.address)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert read_to_end(sock).endswith(b"\r\n\r\nNone")
        sock.close()
