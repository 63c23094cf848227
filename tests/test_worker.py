"""A worker's thread: calls and timers, messages, deadlines, its end."""

from __future__ import annotations

import resource
import socket
import threading
import time
from queue import SimpleQueue
from typing import Any

import pytest
from peers import (
    PATIENCE,
    Notebook,
    Notes,
    connect,
    on_worker,
    read_exactly,
    read_to_end,
    refused,
    run_on,
    until,
)

from pyuring import (
    Engine,
    EngineClosedError,
    OptionalTier,
    Protocol,
    Tier,
    Transport,
    Worker,
    WrongThreadError,
    current_worker,
)
from pyuring.testing import HandlerError, serve
from pyuring.timers import TimerQueue


def test_timers_are_due_in_order_and_swept_when_cancelled() -> None:
    queue = TimerQueue()
    ran: list[int] = []
    handles = [queue.add(when, ran.append, (when,)) for when in (3, 1, 2, 1)]
    handles[2].cancel()
    handles[2].cancel()
    assert queue.next_due() == 1
    for handle in queue.pop_due(2):
        handle.run()
    assert ran == [1, 1]
    assert handles[2].cancelled()
    assert not handles[0].cancelled()
    many = [queue.add(5, ran.append, (5,)) for _ in range(1000)]
    for handle in many:
        handle.cancel()
    assert len(queue) < 200


def test_calls_run_on_the_worker_in_order(worker: Worker) -> None:
    seen: SimpleQueue[Any] = SimpleQueue()

    def here(tag: str) -> None:
        assert current_worker() is worker
        seen.put(tag)

    def begin(_: Worker) -> None:
        now = worker.time()
        worker.call_later(0.02, here, "later")
        worker.call_at(now + 0.01, here, "at")
        worker.call_soon(here, "cancelled").cancel()
        worker.call_later(0.015, here, "cancelled").cancel()
        worker.call_soon(here, "soon")

    run_on(worker, begin)
    assert [seen.get(timeout=PATIENCE) for _ in range(3)] == ["soon", "at", "later"]
    assert current_worker() is None


def test_calls_keep_their_order_when_the_worker_comes_late(worker: Worker) -> None:
    seen: SimpleQueue[str] = SimpleQueue()

    def begin(_: Worker) -> None:
        worker.call_later(0.002, seen.put, "later")
        worker.call_later(0.001, seen.put, "sooner")
        worker.call_soon(seen.put, "soon")
        time.sleep(0.01)  # all are due now

    run_on(worker, begin)
    assert [seen.get(timeout=PATIENCE) for _ in range(3)] == ["soon", "sooner", "later"]


def test_a_timer_set_by_a_handler_wakes_a_worker_without_any_other(
    engine: Engine, notebook: Notebook
) -> None:
    rang = threading.Event()
    with connect(engine.address):
        protocol = notebook.expect("made")
        on_worker(protocol, lambda: protocol.worker.call_later(0.01, rang.set))
        assert rang.wait(PATIENCE)


def test_f9_messages_from_many_threads_keep_each_threads_order(worker: Worker) -> None:
    seen: list[tuple[int, int]] = []

    def send(name: int) -> None:
        for number in range(500):
            worker.call_soon_threadsafe(seen.append, (name, number))

    threads = [threading.Thread(target=send, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run_on(worker, lambda _: None)
    assert len(seen) == 4000
    for name in range(8):
        assert [number for who, number in seen if who == name] == list(range(500))


def test_a_message_wakes_a_sleeping_worker_at_once(worker: Worker) -> None:
    for _ in range(200):
        rang = threading.Event()
        worker.call_soon_threadsafe(rang.set)
        assert rang.wait(PATIENCE)


def test_an_exception_of_a_call_reaches_the_hook() -> None:
    told: SimpleQueue[Any] = SimpleQueue()
    with serve(Notes, exception_hook=lambda *args: told.put(args)) as engine:
        worker = engine.workers[0]
        worker.call_soon_threadsafe(lambda: 1 // 0)
        problem, where, transport = told.get(timeout=PATIENCE)
        assert isinstance(problem, ZeroDivisionError)
        assert problem.__traceback__ is not None
        assert (where, transport) == ("call_soon", None)
        run_on(worker, lambda _: worker.call_later(0, lambda: [][1]))
        assert told.get(timeout=PATIENCE)[1] == "call_later"


def test_f49_a_raising_handler_costs_its_own_connection_only() -> None:
    class Picky(Notes):
        def data_received(self, data: bytes) -> None:
            if data == b"bad":
                raise RuntimeError("as asked")
            self.transport.write(data)

    told: SimpleQueue[Any] = SimpleQueue()
    notebook = Notebook()
    picky = type("Picky", (Picky,), {"events": notebook.events})
    with serve(picky, exception_hook=lambda *args: told.put(args)) as engine:
        peers = [connect(engine.address) for _ in range(10)]
        peers[3].sendall(b"bad")
        problem, where, transport = told.get(timeout=PATIENCE)
        assert (str(problem), where) == ("as asked", "data_received")
        assert isinstance(transport, Transport)
        assert notebook.skip_to("lost") is problem
        for number, peer in enumerate(peers):
            if number != 3:
                peer.sendall(b"fine")
                assert read_exactly(peer, 4) == b"fine"
            peer.close()
        assert engine.metrics().errors_handler == 1
        assert told.empty()


@pytest.mark.parametrize(
    "where",
    ["protocol_factory", "connection_made", "eof_received", "pause_writing", "connection_lost"],
)
def test_f49_every_handler_is_covered(where: str) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(where)

    class Writes(Notes):
        def data_received(self, data: bytes) -> None:
            self.transport.write(bytes(8 << 20))

    notebook = Notebook()
    made = type("Writes", (Writes,), {"events": notebook.events, where: fail})
    told: SimpleQueue[Any] = SimpleQueue()
    factory = fail if where == "protocol_factory" else made
    with serve(factory, exception_hook=lambda *args: told.put(args)) as engine:
        with connect(engine.address) as peer:
            try:
                peer.sendall(b"go")
                peer.shutdown(socket.SHUT_WR)
                if where == "pause_writing":
                    told.put(told.get(timeout=PATIENCE))
                read_to_end(peer)
            except OSError:
                pass  # reset, which is as good an end
            assert told.get(timeout=PATIENCE)[1] == where
        until(lambda: engine.metrics().active == 0)


def test_a_hook_that_raises_is_reported_too(capfd: Any) -> None:
    def hook(*_: object) -> None:
        raise LookupError("hook")

    with serve(Notes, exception_hook=hook) as engine:
        engine.workers[0].call_soon_threadsafe(lambda: 1 // 0)
        run_on(engine.workers[0], lambda _: None)
    text = capfd.readouterr().err
    assert "ZeroDivisionError" in text
    assert "LookupError: hook" in text


def test_the_testing_module_raises_what_a_handler_raised() -> None:
    def serve_a_mistake() -> None:
        with serve(Notes) as engine:
            engine.workers[0].call_soon_threadsafe(lambda: 1 // 0)
            run_on(engine.workers[0], lambda _: None)

    with pytest.raises(HandlerError, match="ZeroDivisionError") as caught:
        serve_a_mistake()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_after_its_end_a_worker_refuses_calls(notebook: Notebook) -> None:
    with serve(notebook.protocol) as engine:
        worker = engine.workers[0]
    with pytest.raises(EngineClosedError):
        worker.call_soon_threadsafe(print)
    with pytest.raises(EngineClosedError):
        worker.connect(Notes, "127.0.0.1:1")
    assert worker.metrics()["turns"] > 0


def test_f7_a_peer_that_never_reads_holds_nobody_up(engine: Engine, notebook: Notebook) -> None:
    with connect(engine.address) as deaf:
        protocol = notebook.expect("made")
        deaf.sendall(b"x")
        notebook.expect("data")
        on_worker(protocol, lambda: protocol.transport.write(bytes(8 << 20)))
        rang = threading.Event()
        run_on(engine.workers[0], lambda worker: worker.call_later(0.01, rang.set))
        assert rang.wait(PATIENCE)
        engine.pause_accept()
        assert refused(engine.address)
        assert not engine.shutdown(0.05)


def test_a_peer_that_takes_nothing_is_aborted_in_time(notebook: Notebook) -> None:
    with serve(notebook.protocol, write_timeout=0.1) as engine, connect(engine.address):
        protocol = notebook.expect("made")
        on_worker(protocol, lambda: protocol.transport.write(bytes(8 << 20)))
        assert isinstance(notebook.skip_to("lost"), OSError)
        assert engine.metrics().timeouts == 1


def ends_when_idle(notebook: Notebook, messages: int) -> None:
    with serve(notebook.protocol, idle_timeout=0.1) as engine, connect(engine.address) as peer:
        notebook.expect("made")
        for _ in range(messages):
            peer.sendall(b"x")
            notebook.expect("data")
        begun = time.monotonic()
        assert read_to_end(peer) == b""
        assert 0.05 < time.monotonic() - begun < 2
        notebook.skip_to("lost")
        assert engine.metrics().timeouts == 1


def test_f44_the_idle_deadline_counts_from_the_last_byte(notebook: Notebook) -> None:
    ends_when_idle(notebook, messages=10)


def test_f46_an_idle_connection_ends_although_nothing_happens(notebook: Notebook) -> None:
    ends_when_idle(notebook, messages=0)


def test_f47_other_threads_run_while_it_waits(engine: Engine) -> None:
    begun = time.monotonic()
    count = 0
    while count < 100_000:
        count += 1
    assert time.monotonic() - begun < 2


def test_f63_idle_costs_nothing(engine: Engine, notebook: Notebook) -> None:
    peers = [connect(engine.address) for _ in range(10)]
    for _ in peers:
        notebook.expect("made")
    run_on(engine.workers[0], lambda _: None)
    if engine.tier is Tier.OPTIONAL:  # the kernel's thread spins for a while before it sleeps
        threading.Event().wait(OptionalTier().sqpoll_idle + 0.5)
    turns = engine.metrics().turns
    before = resource.getrusage(resource.RUSAGE_SELF)
    threading.Event().wait(1.0)  # the span that is measured
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert engine.metrics().turns - turns <= 1
    assert spent < 0.02
    for peer in peers:
        peer.close()


def test_f58_an_exception_in_the_loop_still_drains_the_ring() -> None:
    engine = Engine(Notebook(keep_open=True).protocol, "127.0.0.1:0", linger_timeout=0.1).start()
    peers = [connect(engine.address) for _ in range(5)]

    def leave() -> None:
        raise SystemExit(7)

    engine.workers[0].call_soon_threadsafe(leave)
    with pytest.raises(SystemExit):
        engine.listen()
    for peer in peers:
        try:
            assert peer.recv(1) == b""
        except ConnectionResetError:
            pass
        peer.close()
    assert refused(engine.address)
    Engine(Notes, engine.address).start().shutdown()


def test_f09_calls_for_the_workers_thread_are_refused_elsewhere(worker: Worker) -> None:
    calls: list[Any] = [
        lambda: worker.call_soon(print),
        lambda: worker.call_later(1, print),
        lambda: worker.call_at(1, print),
    ]
    for call in calls:
        with pytest.raises(WrongThreadError, match="call_soon_threadsafe"):
            call()


def test_f49_what_was_written_before_the_exception_still_goes_out() -> None:
    class Careless(Protocol):
        def connection_made(self, transport: Transport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data * 1000)
            raise ValueError("after the reply")

    told: list[str] = []
    with (
        Engine(
            Careless, "127.0.0.1:0", exception_hook=lambda *what: told.append(what[1])
        ) as engine,
        connect(engine.address) as peer,
    ):
        peer.sendall(b"0123456789")
        assert read_to_end(peer) == b"0123456789" * 1000
    assert told == ["data_received"]


def test_f9_what_the_engine_asks_of_a_worker_is_refused_elsewhere_and_after_the_end() -> None:
    def asks(worker: Worker) -> list[Any]:
        return [
            worker.abort,
            worker.resume_accepting,
            lambda: worker.drain(0.0, None),
            lambda: worker.stop_accepting(print),
            lambda: worker.connect_socket(Protocol, print, -1, b"xx", 0),
        ]

    with serve(Protocol) as engine:
        (worker,) = engine.workers
        for ask in asks(worker):
            with pytest.raises(WrongThreadError, match="call_soon_threadsafe"):
                ask()
    for ask in asks(worker):
        with pytest.raises(EngineClosedError):
            ask()
