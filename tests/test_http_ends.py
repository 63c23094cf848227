"""How HTTP connections end on a real engine: deadlines, half-closed and vanished clients."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

from http_client import HOST, Client, hello, mixed, resident, served
from peers import PATIENCE, connect, reset, until

from pyuring import Request

MIB = 1 << 20


def test_f56_a_client_that_writes_no_more_gets_its_replies() -> None:
    with served(mixed) as engine, Client(engine.address) as client:
        client.send(
            b"GET /parts/1 HTTP/1.1\r\nHost: a\r\n\r\nGET /large/2 HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        client.sock.shutdown(1)
        assert client.reply().body == b"1-" * 5000
        assert client.reply().body == b"2-" * 5000
        assert client.ended()


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


def test_a_file_is_longer_than_any_queue_may_be_and_none_is_opened_behind_it(
    tmp_path: Path,
) -> None:
    file, many = tmp_path / "file", 50
    file.write_bytes(os.urandom(8 * MIB))
    with served(lambda request: file, engine_send_queue_limit=MIB) as engine:
        before = len(os.listdir("/proc/self/fd"))
        with Client(engine.address) as client:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * many)
            assert client.reply().body == file.read_bytes()
            until(lambda: len(os.listdir("/proc/self/fd")) - before == 3)  # both ends, one file
            # Under way until its end is near, and none of those behind it.
            assert (engine.metrics().requests, engine.metrics().requests_active) == (2, 1)
        assert engine.metrics().send_queue_high_water < 64 * 1024
        until(lambda: engine.metrics().active == 0)


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


def test_shutdown_waits_for_the_rest_of_a_head_that_has_begun() -> None:
    quiet = 0.1
    with served(hello, engine_drain_quiet=quiet) as engine, Client(engine.address) as client:
        client.send(b"GET / HTTP/1.1\r\n")
        until(lambda: engine.metrics().bytes_received > 0)
        with Client(engine.address) as silent:
            thread = threading.Thread(target=engine.shutdown)
            thread.start()
            assert silent.ended()
        time.sleep(2 * quiet)  # the pause itself
        client.send(HOST + b"\r\n")
        reply = client.reply()
        assert (reply.body, reply["Connection"]) == (b"Hello, world!", "close")
    thread.join(PATIENCE)


def test_replies_that_a_reset_cuts_off_leave_nothing_behind() -> None:
    with served(lambda request: bytes(5 * MIB)) as engine:
        for _ in range(20):
            sock = connect(engine.address)
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
            sock.recv(100)
            reset(sock)
        until(lambda: engine.metrics().active == 0)
        assert engine.metrics().requests_active == 0
