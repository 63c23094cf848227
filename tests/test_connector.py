"""Outgoing connections: names, several addresses, time-outs, and the caller told once."""

from __future__ import annotations

import errno
import socket
import threading
from queue import SimpleQueue
from typing import Any

import pytest
from peers import (
    PATIENCE,
    Notebook,
    Notes,
    on_worker,
    run_on,
    silent_listener,
)

from pyuring import (
    Engine,
    Worker,
    addresses,
)
from pyuring.testing import serve


def test_connects_on_its_own_ring(engine: Engine, notebook: Notebook) -> None:
    outgoing = Notebook()
    worker = engine.workers[0]
    run_on(worker, lambda _: worker.connect(outgoing.protocol, engine.address))
    accepted, made = notebook.expect("made"), outgoing.expect("made")
    assert made.worker is worker
    on_worker(made, lambda: made.transport.write(b"hello"))
    assert notebook.expect("data") == b"hello"
    on_worker(accepted, accepted.transport.close)
    outgoing.expect("eof")
    outgoing.expect("lost")
    assert engine.metrics().connected == 1


@pytest.mark.parametrize("kind", ["port", "path", "name", "late"])
def test_a_connect_that_fails_says_so_once(worker: Worker, kind: str, monkeypatch: Any) -> None:
    answers: SimpleQueue[OSError] = SimpleQueue()

    def attempt(address: str, timeout: float | None = None) -> OSError:
        worker.connect(Notes, address, failed=answers.put, timeout=timeout)  # from this thread
        return answers.get(timeout=PATIENCE)

    if kind == "port":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = addresses.format_sockaddr(free.getsockname())
            error = attempt(address)
        assert isinstance(error, ConnectionRefusedError)
        assert address in str(error)
    elif kind == "path":
        assert isinstance(attempt("unix:/nowhere/at/all"), FileNotFoundError)
    elif kind == "name":
        assert "nowhere.invalid" in str(attempt("nowhere.invalid:80"))
    else:
        with silent_listener() as address:
            assert isinstance(attempt(address, timeout=0.05), TimeoutError)
    run_on(worker, lambda _: None)
    assert answers.empty()


def test_a_names_addresses_are_tried_one_after_the_other(
    engine: Engine, notebook: Notebook, monkeypatch: Any
) -> None:
    port = int(engine.address.rpartition(":")[2])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = addresses.Sockaddr(socket.AF_INET, free.getsockname())
        alive = addresses.Sockaddr(socket.AF_INET, ("127.0.0.1", port))
        monkeypatch.setattr(addresses, "resolve", lambda _: [dead, alive])
        outgoing = Notebook()
        engine.workers[0].connect(outgoing.protocol, "a.name:1")
        outgoing.expect("made")


def test_f41_a_slow_resolver_does_not_hold_the_loop(worker: Worker, monkeypatch: Any) -> None:
    asked, answer = threading.Event(), threading.Event()

    def slow(_: object) -> list[Any]:
        asked.set()
        answer.wait(PATIENCE)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(addresses, "resolve", slow)
    failures: SimpleQueue[OSError] = SimpleQueue()
    worker.connect(Notes, "slow.example:80", failed=failures.put, timeout=0.05)
    assert asked.wait(PATIENCE)
    run_on(worker, lambda _: None)  # it turns meanwhile
    assert isinstance(failures.get(timeout=PATIENCE), TimeoutError)
    answer.set()


def test_a_lookup_under_way_at_the_end_fails(monkeypatch: Any) -> None:
    answer = threading.Event()
    failures: SimpleQueue[OSError] = SimpleQueue()
    with serve(Notes) as engine:
        monkeypatch.setattr(addresses, "resolve", lambda _: answer.wait(PATIENCE) and [])
        engine.workers[0].connect(Notes, "slow.example:80", failed=failures.put)
        run_on(engine.workers[0], lambda _: None)
    answer.set()
    assert failures.get(timeout=PATIENCE).errno == errno.ECONNABORTED
    assert failures.empty()
