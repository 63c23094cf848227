"""Bodies of requests on a real engine: whole, in parts, unread, cut off."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import pytest
from http_client import Client, echo, resident, served
from peers import PATIENCE, reset, until

from pyuring import ClientDisconnectedError, Request

MIB = 1 << 20


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


def test_a_reader_gets_what_came_unless_it_waits_for_more() -> None:
    """A block that is still being filled goes up at once to whoever takes what there is."""
    reads: SimpleQueue[int] = SimpleQueue()
    size = 3 * 256 * 1024 + 70_000

    def handler(request: Request) -> str:
        digest = hashlib.sha256()
        for read in (
            request.stream.read1,
            request.stream.read1,
            partial(request.stream.read, 200_000),
        ):
            digest.update(data := read())
            reads.put(len(data))
        digest.update(request.stream.read())
        return digest.hexdigest()

    with served(handler) as engine, Client(engine.address) as client:
        body = random.Random(7).randbytes(size)
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        at = 0
        for length in (1000, 2000):
            client.send(body[at : at + length])
            assert reads.get(timeout=PATIENCE) == length
            at += length
        client.send(body[at : at + 150_000])
        with pytest.raises(Empty):  # it asked for more than that, and sleeps
            reads.get(timeout=0.1)
        client.send(body[at + 150_000 :])
        assert reads.get(timeout=PATIENCE) == 200_000
        assert client.reply().body.decode() == hashlib.sha256(body).hexdigest()


def test_a_reader_of_more_than_may_go_up_gets_it_whatever_came_before_it_asked() -> None:
    size = 400_000

    def handler(request: Request) -> str:
        return hashlib.sha256(request.stream.read(size - 5) + request.stream.read()).hexdigest()

    head = b"PUT /%s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (b"x" * 500, size)
    # The head fills a buffer to its end: what comes behind it is kept until the handler asks, and
    # goes up first. What follows is just above 256 KiB with it, in a block that has room still.
    with served(handler, engine_buffer_size=len(head)) as engine, Client(engine.address) as client:
        body = random.Random(8).randbytes(size)
        client.send(head + body[:1000])
        client.send(body[1000:262_500])
        until(lambda: engine.metrics().bytes_received >= len(head) + 262_500)
        client.send(body[262_500:])
        assert client.reply().body.decode() == hashlib.sha256(body).hexdigest()


def test_what_came_of_a_block_is_read_before_the_client_is_missed() -> None:
    got: SimpleQueue[object] = SimpleQueue()

    def handler(request: Request) -> str:
        got.put(request.stream.read1())
        with pytest.raises(ClientDisconnectedError):
            request.stream.read(200_000)
        got.put(request.stream.read1())
        return "nobody hears it"

    with served(handler) as engine, Client(engine.address) as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n")
        client.send(b"a" * 10)
        assert got.get(timeout=PATIENCE) == b"a" * 10
        client.send(b"b" * 1234)
        client.sock.close()
        assert got.get(timeout=PATIENCE) == b"b" * 1234


def test_a_reader_that_is_content_with_less_gets_each_byte_once(rng: random.Random) -> None:
    data = rng.randbytes(400_000)
    parts = [data[:30_000], data[30_000:70_000], data[70_000:]]
    go_on: SimpleQueue[None] = SimpleQueue()

    def handler(request: Request) -> bytes:
        stream = request.stream
        stream._ask(200_000)  # as a reader does that has read on before this is carried out
        go_on.put(None)
        until(lambda: came() >= 30_000, "the first part")
        stream._ask(1)  # the block goes up while a receive into the rest of it is under way
        first = stream.read(30_000)
        go_on.put(None)
        return first + stream.read()

    with served(handler) as engine, Client(engine.address) as client:

        def came() -> int:
            return engine.metrics().bytes_received - len(head)

        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(data)
        client.send(head)
        for part in parts[:2]:
            go_on.get(timeout=PATIENCE)
            client.send(part)
        client.send(parts[2])
        assert client.reply().body == data


def test_the_next_request_is_not_taken_for_the_unread_rest_of_a_body() -> None:
    with served(lambda request: "no", drain_unread=MIB) as engine:
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


@pytest.mark.parametrize("tier", ["none", "base", "mid", "high", "optional"])
def test_bodies_come_and_go_whole_on_every_tier(tier: str, rng: random.Random) -> None:
    data = rng.randbytes(3 * MIB)
    with served(echo, engine_tier=tier) as engine, Client(engine.address) as client:
        if engine.tier.name != tier.upper():
            pytest.skip(f"this kernel has no tier {tier}")
        for length in (0, 10, 70_000, 3 * MIB):
            assert client.post("/", data[:length]).body == data[:length]
