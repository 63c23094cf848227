"""HTTP as a client sees it, on a real engine: framing, order, limits and ends of connections."""

from __future__ import annotations

import hashlib
import os
import pathlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import pytest
from http_client import HOST, Client
from peers import PATIENCE, connect, read_to_end, reset, until

from pyuring import ClientDisconnectedError, Engine, Http, Request, Response, Worker, current_worker
from pyuring.testing import HandlerError, serve

MIB = 1 << 20


@contextmanager
def served(handler: Callable[[Request], Any], **options: Any) -> Iterator[Engine]:
    """Serve a handler over HTTP; options of EngineConfig begin with "engine_"."""
    ours = {name[7:]: options.pop(name) for name in list(options) if name.startswith("engine_")}
    with serve(Http(handler, **options), **ours) as engine:
        yield engine


def hello(request: Request) -> str:
    return "Hello, world!"


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


def mixed(request: Request) -> Any:
    """Answer in every manner there is: at once, in parts, from a file, large."""
    kind, number = request.path[1:].split("/")
    body = b"%s-" % number.encode() * 5000
    if kind == "text":
        return number
    if kind == "parts":
        return (body[at : at + 777] for at in range(0, len(body), 777))
    if kind == "file":
        place = pathlib.Path(os.environ["PYURING_TEST_FILES"], number)
        place.write_bytes(body)
        return open(place, "rb")
    return body


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

    with (
        pytest.raises(HandlerError, match="no such thing"),
        served(handler) as engine,
        Client(engine.address) as client,
    ):
        assert client.get("/bad").status == 500
        assert client.get("/good").body == b"fine"
        assert engine.metrics().errors_handler == 1


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


def echo(request: Request) -> bytes:
    return request.body


def chunked(data: bytes, size: int) -> bytes:
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("length", [0, 1, 1000, 65536, 65537, 300_000, 3 * MIB])
def test_bodies_come_whole_in_either_framing(length: int, threads: int, rng: random.Random) -> None:
    data = rng.randbytes(length)
    with served(echo, threads=threads) as engine, Client(engine.address) as client:
        assert client.post("/", data).body == data
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        sender = threading.Thread(target=client.send, args=(head + chunked(data, 4099),))
        sender.start()
        assert client.reply().body == data
        sender.join()
        assert client.post("/", data).body == data


def test_a_request_in_single_bytes_is_the_same_request() -> None:
    with served(echo) as engine, Client(engine.address) as client:
        body = b"4\r\nabcd\r\n3;x=y\r\nefg\r\n0\r\nA: b\r\n\r\n"
        text = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body
        for byte in text:
            client.send(bytes([byte]))
        assert client.reply().body == b"abcdefg"


def test_an_upload_is_read_in_constant_memory() -> None:
    def count(request: Request) -> str:
        digest, total = hashlib.sha256(), 0
        while block := request.stream.read(MIB):
            digest.update(block)
            total += len(block)
        return f"{total} {digest.hexdigest()}"

    block = os.urandom(MIB)
    before = resident()
    with served(count) as engine, Client(engine.address) as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (256 * MIB))
        digest = hashlib.sha256()
        for _ in range(256):
            client.send(block)
            digest.update(block)
        assert client.reply().body.decode() == f"{256 * MIB} {digest.hexdigest()}"
        assert resident() - before < 64 * MIB


def resident() -> int:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def test_a_slow_reader_of_an_upload_holds_the_client_back() -> None:
    go, begun = threading.Event(), threading.Event()

    def lazy(request: Request) -> str:
        request.stream.read(1)
        begun.set()
        go.wait(PATIENCE)
        return str(1 + len(request.stream.read()))

    with served(lazy) as engine, Client(engine.address) as client:
        client.sock.settimeout(0.3)
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
        with pytest.raises(TimeoutError):
            client.send(bytes(64 * MIB))
        begun.wait(PATIENCE)
        taken = engine.metrics().bytes_received
        assert taken < 16 * MIB  # the buffers' worth, not the body
        client.sock.close()
        go.set()


def test_the_next_request_is_not_taken_for_the_unread_rest_of_a_body() -> None:
    with served(lambda request: "no") as engine:
        with Client(engine.address) as client:
            smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
            body = smuggled + bytes(70_000)
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
            client.send(body)
            assert client.reply().body == b"no"
            client.get()
        with Client(engine.address) as client:  # too much to read for nothing
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (9 * MIB))
            assert client.reply()["Connection"] == "close"
        assert engine.metrics().requests == 3


def test_100_continue_is_said_once_when_the_body_is_first_read() -> None:
    def picky(request: Request) -> Any:
        return request.body if request.path == "/read" else ("403 No", [], b"no")

    ask = b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    with served(picky) as engine:
        with Client(engine.address) as client:
            client.send(ask % b"/read")
            assert client.head() == (100, [])
            client.send(b"body")
            assert client.reply().body == b"body"
            client.send(ask % b"/read" + b"body")  # it did not wait: none is needed
            status, _ = client.head()
            if status == 100:
                status, _ = client.head()
            assert status == 200
            assert client.exactly(4) == b"body"
        with Client(engine.address) as client:
            client.send(ask % b"/refuse")
            reply = client.reply()
            assert (reply.status, reply["Connection"]) == (403, "close")


def test_f56_a_client_that_writes_no_more_gets_its_replies() -> None:
    with served(mixed) as engine, Client(engine.address) as client:
        client.send(
            b"GET /parts/1 HTTP/1.1\r\nHost: a\r\n\r\nGET /large/2 HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        client.sock.shutdown(1)
        assert client.reply().body == b"1-" * 5000
        assert client.reply().body == b"2-" * 5000
        assert client.ended()


def test_an_incomplete_request_is_never_handed_over() -> None:
    seen: list[str] = []

    def handler(request: Request) -> bytes:
        seen.append(request.path)
        return request.body

    with served(handler) as engine:
        for part in (
            b"GET / HTTP/1.1\r\nHost: a\r\n",
            b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n12",
        ):
            with Client(engine.address) as client:
                client.send(part)
                client.sock.shutdown(1)
                answer = client.to_end()
                assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    assert seen == []


def test_a_reader_is_told_that_the_client_has_gone() -> None:
    outcome: SimpleQueue[Any] = SimpleQueue()

    def handler(request: Request) -> bytes:
        try:
            return request.stream.read()
        except ClientDisconnectedError as error:
            outcome.put(error)
            raise

    with served(handler) as engine, Client(engine.address) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\nabc")
        until(lambda: engine.metrics().requests == 1)
        reset(client.sock)
        assert isinstance(outcome.get(timeout=PATIENCE), ClientDisconnectedError)


def test_a_generator_is_closed_when_the_client_has_gone() -> None:
    closed = threading.Event()

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield bytes(10_000)
        finally:
            closed.set()

    with served(lambda request: endless()) as engine, Client(engine.address) as client:
        client.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        client.exactly(100_000)
        before = resident()
        time.sleep(0.2)  # an iterator that ran ahead of the client would fill memory meanwhile
        assert resident() - before < 64 * MIB
        reset(client.sock)
        assert closed.wait(PATIENCE)


def test_f44_a_slow_head_ends_with_408_on_time_however_it_trickles() -> None:
    with served(hello, head_timeout=0.5) as engine, Client(engine.address) as client:
        start = time.monotonic()
        client.sock.settimeout(0.05)
        text = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 200
        for byte in text:
            try:
                client.send(bytes([byte]))
                client.rest += client.sock.recv(1000)
                break
            except TimeoutError:
                continue
        assert 0.45 < time.monotonic() - start < 2
        assert client.reply().status == 408
        assert engine.metrics().timeouts == 1


def test_a_body_that_stops_ends_with_408_and_an_idle_connection_in_silence() -> None:
    with served(hello, body_timeout=0.2, keep_alive_timeout=0.3) as engine:
        with Client(engine.address) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
            assert client.reply().status == 408
            assert client.ended()
        with Client(engine.address) as client:
            client.get()
            assert client.ended()
        with Client(engine.address) as client:
            assert client.ended()


def test_a_handler_that_takes_long_is_no_idle_connection() -> None:
    def slow(request: Request) -> str:
        time.sleep(0.5)
        return "done"

    limits = {"head_timeout": 0.1, "body_timeout": 0.1, "keep_alive_timeout": 0.1}
    with (
        served(slow, threads=1, engine_idle_timeout=0.1, **limits) as engine,
        Client(engine.address) as client,
    ):
        assert client.get().body == b"done"


def test_a_client_that_does_not_read_stops_its_own_requests_only() -> None:
    body = os.urandom(MIB)
    with served(lambda request: body, engine_send_queue_limit=8 * MIB) as engine:
        greedy = connect(engine.address)
        greedy.settimeout(0.2)
        try:
            for _ in range(200):
                greedy.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
        except TimeoutError:
            pass
        with Client(engine.address) as client:
            assert client.get().body == body
        assert engine.metrics().send_queue_high_water < 4 * MIB
        reset(greedy)


def test_shutdown_lets_a_request_finish_and_says_close() -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(request: Request) -> str:
        begun.set()
        go.wait(PATIENCE)
        return "finished"

    with served(slow, threads=1) as engine, Client(engine.address) as client:
        client.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        begun.wait(PATIENCE)
        ended: SimpleQueue[bool] = SimpleQueue()
        thread = threading.Thread(target=lambda: ended.put(engine.shutdown(PATIENCE)))
        thread.start()
        time.sleep(0.3)  # longer than drain_quiet: a connection at work is not quiet
        go.set()
        reply = client.reply()
        assert (reply.body, reply["Connection"]) == (b"finished", "close")
        client.sock.close()
        assert ended.get(timeout=PATIENCE) is True
        thread.join()


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


def test_replies_that_a_reset_cuts_off_leave_nothing_behind() -> None:
    with served(lambda request: bytes(5 * MIB)) as engine:
        for _ in range(20):
            sock = connect(engine.address)
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
            sock.recv(100)
            reset(sock)
        until(lambda: engine.metrics().active == 0)
        assert engine.metrics().requests_active == 0


def test_a_unix_socket_serves_as_well(tmp_path: pathlib.Path) -> None:
    with serve(Http(lambda request: repr(request.peer)), f"unix:{tmp_path / 's'}") as engine:
        sock = connect(engine.address)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert read_to_end(sock).endswith(b"\r\n\r\nNone")
        sock.close()
