"""The gateway: what becomes of results, exceptions, bodies that come, and clients that go."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_core import (
    HIGH,
    FakeRequest,
    FakeWorker,
    Watched,
    answered,
    make_gateway,
    raises,
    threaded,
)

from pyuring import HttpError, Response

TEXT, OCTETS = "text/plain; charset=utf-8", "application/octet-stream"


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker()


# A result, and the status, Content-Type and body of its reply.
RESULTS: list[tuple[Callable[[], Any], int | str, str, bytes]] = [
    (lambda: b"abc", 200, OCTETS, b"abc"),
    (lambda: "grüezi", 200, TEXT, "grüezi".encode()),
    (lambda: bytearray(b"abc"), 200, OCTETS, b"abc"),
    (lambda: memoryview(b"abc"), 200, OCTETS, b"abc"),
    (lambda: Response("abc", 201), 201, TEXT, b"abc"),
    (lambda: Response(iter([b"a", "b"]), content_type="a/b"), 200, "a/b", b"ab"),
    (lambda: ("202 Accepted", [("Content-Type", "c/d")], b"x"), "202 Accepted", "c/d", b"x"),
    (lambda: [b"a", "", "b", bytearray(b"c")], 200, OCTETS, b"abc"),
    (lambda: (b"a", b"b"), 200, OCTETS, b"ab"),
    (lambda: (c for c in "abc"), 200, OCTETS, b"abc"),
    (lambda: iter([]), 200, OCTETS, b""),
    (lambda: io.BytesIO(b"abc" * 50_000), 200, OCTETS, b"abc" * 50_000),
    (lambda: Path(__file__), 200, "text/x-python; charset=utf-8", Path(__file__).read_bytes()),
    (lambda: open(__file__, "rb"), 200, OCTETS, Path(__file__).read_bytes()),  # noqa: SIM115
]


@pytest.mark.parametrize("send", [answered, lambda w, r: threaded(w, lambda _: r)])
@pytest.mark.parametrize(("make", "status", "kind", "body"), RESULTS)
def test_results_become_replies(
    make: Callable[[], Any], status: int, kind: str, body: bytes, send: Any, worker: FakeWorker
) -> None:
    reply = send(worker, make())
    assert (reply.status, reply.field("content-type"), reply.content) == (status, kind, body)
    assert reply.stage == "ended"
    assert not reply.aborted
    assert worker.exceptions == []


@pytest.mark.parametrize("send", [answered, lambda w, r: threaded(w, lambda _: r)])
@pytest.mark.parametrize("result", [None, 1, 1.5, {"a": 1}, object(), [1]])
def test_what_is_no_reply_is_a_mistake(result: Any, send: Any, worker: FakeWorker) -> None:
    reply = send(worker, result)
    assert (reply.status, reply.content) == (500, b"Internal Server Error\n")
    assert [type(error) for error, _ in worker.exceptions] == [TypeError]


def test_an_exception_is_500_once_and_told_once(worker: FakeWorker) -> None:
    error = ValueError("oops")
    reply = threaded(worker, lambda _: raises(error))
    assert (reply.status, reply.content) == (500, b"Internal Server Error\n")
    assert worker.exceptions == [(error, "handler")]


def test_an_http_error_is_its_reply_and_not_told(worker: FakeWorker) -> None:
    error = HttpError(429, "slowly", [("Retry-After", "3")])
    reply = threaded(worker, lambda _: raises(error))
    assert (reply.status, reply.content, reply.field("retry-after")) == (429, b"slowly\n", "3")
    assert threaded(worker, lambda _: raises(HttpError(404))).content == b"Not Found\n"
    assert worker.exceptions == []


def test_an_http_error_with_a_bad_field_is_500(worker: FakeWorker) -> None:
    reply = threaded(worker, lambda _: raises(HttpError(400, "\ud800", [("X", "a\r\nb")])))
    assert (reply.status, reply.content) == (500, b"Internal Server Error\n")
    assert [type(error) for error, _ in worker.exceptions] == [ValueError]
    assert threaded(worker, lambda _: raises(HttpError(400, "\ud800"))).content == b"?\n"


def test_a_body_that_raises_first_is_500_and_later_an_abort(worker: FakeWorker) -> None:
    def broken(count: int) -> Iterator[bytes]:
        yield from [b"x"] * count
        raise ValueError("oops")

    for send in (answered, lambda w, r: threaded(w, lambda _: r)):
        worker.exceptions.clear()
        at_once, later = send(worker, broken(0)), send(worker, broken(1))
        assert (at_once.status, at_once.aborted) == (500, False)
        assert (later.status, later.aborted) == (200, True)
        assert [str(error) for error, _ in worker.exceptions] == ["oops", "oops"]


def test_a_bad_field_is_500_and_its_body_closed(worker: FakeWorker) -> None:
    body = Watched([b"abc"])
    response = Response(body)
    response._fields.append(("X", "a\r\nb"))
    reply = answered(worker, response)
    assert (reply.status, body.closed) == (500, 1)


@pytest.mark.parametrize("send", [answered, lambda w, r, **k: threaded(w, lambda _: r, **k)])
def test_a_body_of_another_length_aborts(send: Any, worker: FakeWorker) -> None:
    for blocks, length in (([b"ab", b"cd"], "3"), ([b"ab"], "3")):
        worker.exceptions.clear()
        body = Watched(blocks)
        reply = send(worker, Response(body, headers={"Content-Length": length}))
        assert reply.aborted
        assert body.closed == 1
        assert [type(error) for error, _ in worker.exceptions] == [ValueError]


@pytest.mark.parametrize("send", [answered, lambda w, r, **k: threaded(w, lambda _: r, **k)])
def test_nothing_is_pulled_for_a_reply_without_a_body(send: Any, worker: FakeWorker) -> None:
    body = Watched(raises(AssertionError) for _ in "a")
    reply = send(worker, body, method="HEAD")
    assert (reply.status, reply.content, body.closed) == (200, b"", 1)
    body = Watched(raises(AssertionError) for _ in "a")
    reply = send(worker, Response(body, 304))
    assert (reply.status, reply.content, body.closed) == (304, b"", 1)
    assert send(worker, Path(__file__), method="HEAD").content == b""
    assert worker.exceptions == []


def test_no_more_is_pulled_than_the_client_takes(worker: FakeWorker) -> None:
    pulled: list[int] = []
    body = Watched(pulled.append(n) or bytes(10_000) for n in range(100))
    gateway, request = make_gateway(None, worker), FakeRequest(worker=worker)
    gateway.reply(request, body)
    while request.stage == "begun":
        worker.run()
        assert HIGH < request.queued <= HIGH + 10_000 or len(pulled) == 100
        request.take(gateway)
    assert request.total == 1_000_000
    assert body.closed == 1


def test_a_pools_thread_waits_for_the_client(worker: FakeWorker) -> None:
    pulled: list[int] = []
    body = Watched(pulled.append(n) or bytes(10_000) for n in range(100))
    gateway = make_gateway(lambda _: body, worker, threads=1)
    request = FakeRequest(worker=worker)
    gateway.start(request)
    taken = 0
    while request.stage != "ended":
        worker.run(lambda: request.congested or request.stage == "ended")
        taken += request.queued
        assert len(pulled) * 10_000 <= taken + 2 * HIGH + 20_000
        request.take(gateway)
    assert request.total == taken == 1_000_000
    assert body.closed == 1


def test_slow_bodies_take_turns(worker: FakeWorker) -> None:
    clock = threading.Event()

    def slow() -> Iterator[bytes]:
        for _ in range(3):
            clock.wait(0.006)  # longer than a turn's budget
            yield b"x"

    gateway, request = make_gateway(None, worker), FakeRequest(worker=worker)
    gateway.reply(request, slow())
    assert request.stage == "begun"
    assert len(worker.calls) == 1
    worker.run(lambda: request.stage == "ended")
    assert request.content == b"xxx"


def test_a_client_that_goes_closes_the_body(worker: FakeWorker) -> None:
    ends: list[str] = []

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield bytes(50_000)
        except GeneratorExit:
            ends.append("closed")
            raise

    gateway, request = make_gateway(None, worker), FakeRequest(worker=worker)
    gateway.reply(request, endless())
    request.lose(gateway)
    assert ends == ["closed"]
    gateway = make_gateway(lambda _: endless(), worker, threads=1)
    request = FakeRequest(worker=worker)
    gateway.start(request)
    worker.run(lambda: request.congested)
    request.lose(gateway, ConnectionResetError())
    assert gateway.close(10)
    worker.run()
    assert ends == ["closed", "closed"]
    assert worker.exceptions == []


def test_a_body_may_end_its_own_connection(worker: FakeWorker) -> None:
    gateway, request = make_gateway(None, worker), FakeRequest(worker=worker)

    def suicidal() -> Iterator[bytes]:
        yield b"x"
        request.lose(gateway)  # within next(): a generator that runs cannot be closed
        yield b"y"

    body = suicidal()
    gateway.reply(request, body)
    assert list(body) == []
    assert worker.exceptions == []


def test_what_close_raises_is_told_and_harms_nothing(worker: FakeWorker) -> None:
    body = Watched([b"abc"])
    body.close = lambda: raises(ValueError("close"))  # type: ignore[method-assign]
    reply = answered(worker, body)
    assert (reply.content, reply.aborted) == (b"abc", False)
    assert [str(error) for error, _ in worker.exceptions] == ["close"]
