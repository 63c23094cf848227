"""The gateway with files, and with bodies that are still coming."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_core import FakeRequest, FakeWorker, answered, make_gateway, raises

from pyuring import ClientDisconnectedError
from pyuring.gateway import Gateway


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker()


# --- files ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("descriptors_kept")
def test_a_files_last_piece_waits_for_the_others_and_it_is_closed(
    tmp_path: Path, worker: FakeWorker
) -> None:
    data = os.urandom(3_500_000)
    (tmp_path / "file").write_bytes(data)
    file = (tmp_path / "file").open("rb")
    assert file.read(5) == data[:5]
    reply = answered(worker, file)
    assert file.closed
    assert reply.length == len(data) - 5
    assert [part[2] for part in reply.sent] == [len(data) - 5 - (1 << 20), 1 << 20]
    assert reply.content == data[5:]
    del reply.sent
    gc.collect()


def test_a_compressed_files_own_bytes_are_sent(tmp_path: Path, worker: FakeWorker) -> None:
    import gzip

    with gzip.open(tmp_path / "file", "wb") as file:
        file.write(b"plain text")
    reader = gzip.open(tmp_path / "file")  # noqa: SIM115
    assert answered(worker, reader).content == b"plain text"
    assert reader.closed


def test_a_pipe_is_read_in_blocks(worker: FakeWorker) -> None:
    ours, theirs = os.pipe()
    with open(theirs, "wb") as writer:
        writer.write(b"from a pipe")
    reader = open(ours, "rb")  # noqa: SIM115
    assert answered(worker, reader).content == b"from a pipe"
    assert reader.closed


# --- bodies that come ----------------------------------------------------------------------


def upload(worker: FakeWorker, handler: Callable[[Any], Any], **config: Any) -> tuple[Gateway, Any]:
    gateway = make_gateway(handler, worker, **config)
    request = FakeRequest("POST", body=None, worker=worker)
    gateway.start(request)
    return gateway, request


def test_a_large_body_is_read_while_it_comes(worker: FakeWorker) -> None:
    gateway, request = upload(worker, lambda r: b"|".join(r.stream))
    worker.run(lambda: request.wants)
    gateway.body_data(request, b"one\ntw")
    gateway.body_data(request, b"o\nthree")
    gateway.body_end(request)
    worker.run(lambda: request.stage == "ended")
    assert request.content == b"one\n|two\n|three"
    assert gateway.close(10)


def test_a_client_that_goes_ends_the_reading(worker: FakeWorker) -> None:
    caught: list[BaseException] = []

    def read(request: Any) -> Any:
        try:
            return request.body
        except ClientDisconnectedError as error:
            caught.append(error)
            assert request.is_disconnected
            raise

    gateway, request = upload(worker, read)
    worker.run(lambda: request.wants)
    gateway.body_data(request, b"begi")
    request.lose(gateway, ConnectionResetError("reset by peer"))
    assert gateway.close(10)
    worker.run()
    assert len(caught) == 1
    assert worker.exceptions == []


def test_other_errors_are_told_though_the_client_is_gone(worker: FakeWorker) -> None:
    gateway, request = upload(worker, lambda r: raises(KeyError("mine")))
    request.lose(gateway)
    assert gateway.close(10)
    worker.run()
    assert [type(error) for error, _ in worker.exceptions] == [KeyError]


def test_reading_ends_with_the_reply(worker: FakeWorker) -> None:
    kept: list[Any] = []
    gateway, request = upload(worker, lambda r: kept.append(r.stream) or b"done")
    gateway.body_data(request, b"unread")
    worker.run(lambda: request.stage == "ended")
    gateway.body_data(request, b"late")
    gateway.body_end(request)
    with pytest.raises(ValueError, match="reply is complete"):
        kept[0].read()
    assert gateway.close(10)


@pytest.mark.parametrize("end", ["reply", "error", "blocks", "lost"])
def test_nothing_holds_a_request_that_is_over(end: str, worker: FakeWorker) -> None:
    """Native objects are not seen by the garbage collector: a ring of references would stay."""
    results = {"reply": b"x", "blocks": iter([b"a"]), "lost": b"x"}
    handler: Any = lambda r: r.stream.read() and results[end]  # noqa: E731
    gateway, request = upload(worker, handler)
    worker.run(lambda: request.wants)
    if end == "lost":
        request.lose(gateway)
    else:
        gateway.body_data(request, b"body")
        gateway.body_end(request)
        worker.run(lambda: request.stage == "ended")
    assert gateway.close(10)
    worker.run()
    worker.exceptions.clear()
    gone = weakref.ref(request)
    gc.disable()
    try:
        request = None
        assert gone() is None
    finally:
        gc.enable()


def test_a_worker_that_has_ended_needs_no_reply(worker: FakeWorker) -> None:
    begun, go = threading.Event(), threading.Event()
    gateway = make_gateway(lambda r: begun.set() or (go.wait(10) and b"x"), worker, threads=1)
    gateway.start(FakeRequest(worker=worker))
    assert begun.wait(10)
    worker.ended = True
    go.set()
    assert gateway.close(10)
    assert worker.exceptions == []


def test_the_access_log_gets_what_there_is(worker: FakeWorker) -> None:
    lines: list[tuple[Any, ...]] = []
    gateway = make_gateway(None, worker, access_log=lambda *line: lines.append(line))
    request = FakeRequest(worker=worker)
    assert gateway.log
    gateway.finished(request, 200, 5, 0)
    assert lines[0][:3] == (request, 200, 5)
    assert lines[0][3] > 0
