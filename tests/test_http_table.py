"""The table of what is accepted and refused, sent to a real server: whole, cut in two, in bytes.

It owns no case (http_cases.py does). What is refused must get its status, then the end, and no
handler may have seen it; the verdict must not depend on how the bytes are cut into packets.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Iterator

import pytest
from http_cases import CASES, INCOMPLETE, Case, cut_points
from peers import PATIENCE, connect, until

from pyuring import Engine, EngineMetrics, Http, Request
from pyuring.testing import serve

# Everywhere when asked for the long tests, at the edges and evenly in between otherwise.
CUTS = 400 if os.environ.get("PYURING_STRESS") else 16
BODY_LIMIT = 1 << 20
LONG = 4096  # above it a case is not sent in single bytes: thousands of packets say no more


class Server:
    """An engine that echoes bodies and notes each request that a handler has seen."""

    def __init__(self, engine: Engine, seen: list[str]) -> None:
        self.engine, self.seen = engine, seen

    def verdict(self, case: Case, cuts: list[int]) -> int | None:
        """Send the case in pieces, each taken in before the next; return the reply's status.

        None: the handler has seen it. INCOMPLETE: nobody has, and no reply came.
        """
        until(lambda: self.engine.metrics().active == 0, "the end of the case before")
        self.seen.clear()
        before = self.engine.metrics()
        with connect(self.engine.address) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            edges = [0, *cuts, len(case.request)]
            for start, end in itertools.pairwise(edges):
                try:
                    sock.sendall(case.request[start:end])
                except ConnectionError:
                    break  # refused before its last byte
                if end < len(case.request) and not self.taken(before, end):
                    break
            try:
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the server has ended it
            reply = b""
            try:
                while piece := sock.recv(65536):
                    reply += piece
            except ConnectionResetError:
                pass  # bytes that nobody wanted any more; the reply came before
        return self.judge(reply)

    def taken(self, before: EngineMetrics, count: int) -> bool:
        """Wait until the server has received so much; False once it has refused."""
        deadline = time.monotonic() + PATIENCE
        while True:
            now = self.engine.metrics()
            if now.requests_malformed > before.requests_malformed:
                return False
            if now.bytes_received - before.bytes_received >= count:
                return True
            assert time.monotonic() < deadline

    def judge(self, reply: bytes) -> int | None:
        reply = reply.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        status = int(reply[9:12]) if reply.startswith(b"HTTP/1.1 ") else INCOMPLETE
        if status == 200:
            assert self.seen, "a reply of 200 without a handler"
            return None
        assert self.seen == [], f"a handler has seen what was answered by {status}"
        return status


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    seen: list[str] = []

    def handler(request: Request) -> bytes:
        seen.append(request.target)
        return request.body

    limits = {"body": BODY_LIMIT, "drain_unread": 0, "head_timeout": 60.0, "body_timeout": 60.0}
    with serve(Http(handler, **limits), linger_timeout=0.05) as engine:
        yield Server(engine, seen)


def wanted(case: Case) -> tuple[int | None, ...]:
    # An incomplete body is answered when the client says that no more will come.
    return (INCOMPLETE, 400) if case.status == INCOMPLETE else (case.status,)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_gets_the_same_verdict_whole_cut_and_in_bytes(case: Case, server: Server) -> None:
    assert server.verdict(case, []) in wanted(case), "whole"
    for cut in list(cut_points(case, most=CUTS)):
        assert server.verdict(case, [cut]) in wanted(case), f"cut at {cut}"
    if len(case.request) <= LONG:
        assert server.verdict(case, list(range(1, len(case.request)))) in wanted(case), "in bytes"
