"""The engine: its life, its addresses, pausing without a loss, tiers, metrics."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from peers import (
    PATIENCE,
    Echo,
    Notebook,
    Notes,
    connect,
    echoes,
    read_exactly,
    read_to_end,
    refused,
    until,
)

from pyuring import (
    Engine,
    EngineClosedError,
    RingUnavailableError,
    Tier,
    probe,
)
from pyuring.testing import serve

Run = Callable[..., Any]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "address", ["127.0.0.1:0", "[::1]:0", "localhost:0", "unix:@name", "unix:"]
)
def test_serves_on_every_kind_of_address(address: str, workers: int, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    wanted = f"unix:{path}" if address == "unix:" else address.replace("name", str(os.getpid()))
    with serve(Echo, wanted, workers=workers) as engine:
        assert all(echoes(each) for each in engine.addresses for _ in range(4))
        assert engine.type == ("io_uring" if engine.tier else "epoll")
        assert engine.address in repr(engine)
    assert refused(engine.address)
    assert not path.exists()


def test_serves_several_addresses_and_sockets_it_is_given(tmp_path: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        wanted = ["127.0.0.1:0", f"unix:{tmp_path}/socket", bound]
        with Engine(Echo, wanted, workers=2, linger_timeout=0.1) as engine:
            assert len(engine.addresses) == 3
            assert all(echoes(each) for each in engine.addresses)
        bound.getsockname()  # still its owner's


def test_a_busy_port_is_named_and_nothing_is_left(descriptors_kept: None) -> None:
    with serve(Echo) as engine:
        second = Engine(Echo, engine.address, workers=2)
        with pytest.raises(OSError, match=f"cannot listen on {engine.address}"):
            second.start()
        with pytest.raises(EngineClosedError):
            second.start()
        assert echoes(engine.address)


def test_its_life_is_start_shutdown_and_no_more() -> None:
    engine = Engine(Echo, "127.0.0.1:0")
    assert engine.start() is engine.start()
    assert engine.running
    assert engine.shutdown()
    assert engine.shutdown()
    assert not engine.running
    engine.listen()  # it was started, and has ended: nothing to wait for
    for use in (engine.start, engine.listen, engine.pause_accept, engine.resume_accept):
        with pytest.raises(EngineClosedError, match="shut down"):
            use()
    assert engine.metrics().turns > 0
    unused = Engine(Echo, "127.0.0.1:0")
    assert unused.shutdown()
    for use in (unused.start, unused.listen):
        with pytest.raises(EngineClosedError):
            use()


def test_wrong_arguments_raise_at_once() -> None:
    with pytest.raises(TypeError, match="protocol factory"):
        Engine("Echo", "127.0.0.1:0")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one to eight"):
        Engine(Echo, [])
    with pytest.raises(ValueError, match="no address"):
        Engine(Echo, "nonsense")


def test_descriptors_and_threads_come_back(descriptors_kept: None) -> None:
    before = threading.active_count()
    for _ in range(20):
        with serve(Echo, workers=2, linger_timeout=0.0) as engine:
            assert echoes(engine.address)
    assert threading.active_count() == before


def test_shutdown_lets_busy_connections_finish() -> None:
    class Slow(Notes):
        def data_received(self, data: bytes) -> None:
            self.transport.write(data)
            if data == b"last":
                self.events.put(("asked", None))
                self.worker.call_later(0.05, self.transport.write, b"late")

    notebook = Notebook()
    slow = type("Slow", (Slow,), {"events": notebook.events})
    engine = Engine(slow, "127.0.0.1:0", drain_quiet=0.3).start()
    with connect(engine.address) as peer:
        notebook.expect("made")
        peer.sendall(b"last")
        notebook.expect("asked")
        ended = threading.Thread(target=engine.shutdown)
        ended.start()
        assert read_to_end(peer) == b"lastlate"
    ended.join(PATIENCE)
    assert engine.metrics().active == 0


def test_shutdown_aborts_what_does_not_end_in_time() -> None:
    engine = Engine(Echo, "127.0.0.1:0").start()
    stop = threading.Event()

    def chatter() -> None:
        with connect(engine.address) as peer:
            try:
                while not stop.is_set():
                    peer.sendall(b"x")
                    peer.recv(100)
            except OSError:
                pass

    thread = threading.Thread(target=chatter)
    thread.start()
    until(lambda: engine.metrics().messages_received > 10)
    begun = time.monotonic()
    assert not engine.shutdown(0.3)
    assert time.monotonic() - begun < 3
    stop.set()
    thread.join()
    assert engine.metrics().active == 0


def test_a_handler_may_shut_down() -> None:
    class Quits(Echo):
        def data_received(self, data: bytes) -> None:
            assert engine.shutdown(1.0) is False

    engine = Engine(Quits, "127.0.0.1:0", workers=2, linger_timeout=0.1)
    engine.start()
    with connect(engine.address) as peer:
        peer.sendall(b"quit")
        engine.listen()
        assert read_to_end(peer) == b""


def pause_under_a_connect_loop(workers: int) -> tuple[list[Any], list[Any]]:
    """Pause and resume while clients come and go; return who was served and who was not."""
    stop = threading.Event()
    served: list[Any] = []
    lost: list[Any] = []
    turned_away: list[Any] = []

    def client() -> None:
        while not stop.is_set():
            try:
                with connect(engine.address) as peer:
                    peer.sendall(b"ping")
                    (served if read_exactly(peer, 4) == b"ping" else lost).append(1)
            except ConnectionRefusedError:
                turned_away.append(1)
                stop.wait(0.005)
            except OSError as error:
                lost.append(error)

    with serve(Echo, workers=workers) as engine:
        threads = [threading.Thread(target=client) for _ in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(4):
            grows(served)
            engine.pause_accept()
            engine.pause_accept()
            assert refused(engine.address)
            grows(turned_away)
            engine.resume_accept()
            engine.resume_accept()
        grows(served)
        stop.set()
        for thread in threads:
            thread.join()
    return served, lost


def grows(counted: list[Any]) -> None:
    """Wait until something more is counted."""
    before = len(counted)
    until(lambda: len(counted) > before, "another one")


def test_f23_no_phantom_listener_stays_behind_a_pause() -> None:
    assert pause_under_a_connect_loop(workers=2)[1] == []


def test_f24_who_connects_while_it_pauses_is_served() -> None:
    assert pause_under_a_connect_loop(workers=1)[1] == []


def test_f59_a_reload_under_load_resets_nobody() -> None:
    stop = threading.Event()
    served: list[Any] = []
    lost: list[Any] = []

    def client() -> None:
        while not stop.is_set():
            try:
                with connect(first.address) as peer:
                    peer.sendall(b"ping")
                    (served if read_exactly(peer, 4) == b"ping" else lost).append(1)
            except OSError as error:
                lost.append(error)

    first = Engine(Echo, "127.0.0.1:0", workers=2, reuse_port=True).start()
    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    generation = first
    for _ in range(5):
        successor = Engine(Echo, first.address, workers=2, reuse_port=True).start()
        generation.shutdown()
        generation = successor
        grows(served)
    stop.set()
    for thread in threads:
        thread.join()
    generation.shutdown()
    assert not lost


def test_open_connections_go_on_while_accepting_is_paused() -> None:
    with serve(Echo) as engine, connect(engine.address) as peer:
        engine.pause_accept()
        peer.sendall(b"still")
        assert read_exactly(peer, 5) == b"still"


@pytest.mark.parametrize("address", ["127.0.0.1:0", "unix:@paused"])
def test_a_paused_and_idle_engine_shuts_down_at_once(address: str) -> None:
    engine = Engine(Echo, address.replace("paused", str(os.getpid())))
    engine.start()
    engine.pause_accept()
    time.sleep(0.1)  # the worker sleeps by now, and nothing is in flight that would wake it again
    began = time.monotonic()
    assert engine.shutdown(20)
    assert time.monotonic() - began < PATIENCE


def test_at_the_connection_limit_further_ones_wait_their_turn() -> None:
    with serve(Echo, max_connections=4) as engine:
        peers = [connect(engine.address) for _ in range(4)]
        until(lambda: engine.metrics().active == 4)
        turns = engine.metrics().turns
        while engine.metrics().turns < turns + 4:  # the accept is cancelled meanwhile
            engine.workers[0].call_soon_threadsafe(int)
        peers += [connect(engine.address) for _ in range(6)]
        for peer in peers:
            peer.sendall(b"ping")
        for peer in peers:
            assert read_exactly(peer, 4) == b"ping"
            peer.close()
        assert (engine.metrics().accepted, engine.metrics().refused) == (10, 0)


def test_a_crowd_at_the_connection_limit_is_shed() -> None:
    with serve(Echo, max_connections=4) as engine:
        peers = [connect(engine.address) for _ in range(50)]
        until(lambda: engine.metrics().active == 4)
        for peer in peers:
            peer.close()
        until(lambda: engine.metrics().closed + engine.metrics().refused == 50)
        assert echoes(engine.address)


@pytest.mark.parametrize("tier", ["none", "base", "mid", "high", "optional"])
def test_f13_the_tier_asked_for_is_achieved_or_the_steps_say_why(tier: str) -> None:
    with serve(Echo, tier=tier) as engine:
        assert echoes(engine.address)
        ladder = engine.ladder
        assert ladder is not None
        assert ladder.asked is Tier[tier.upper()]
        assert engine.tier is ladder.achieved
        if probe(sqpoll=True).allows(ladder.asked):
            assert engine.tier is ladder.asked
        else:
            assert ladder.steps[0].tier is ladder.asked


def test_metrics_are_live_and_add_up() -> None:
    with serve(Echo, workers=3) as engine:
        peers = [connect(engine.address) for _ in range(30)]
        for peer in peers:
            peer.sendall(bytes(1000))
            assert len(read_exactly(peer, 1000)) == 1000
        # A client may have its reply before the server has seen its send complete.
        until(lambda: engine.metrics().bytes_sent == 30_000)
        found = engine.metrics()
        assert (found.accepted, found.active, found.closed) == (30, 30, 0)
        assert (found.bytes_received, found.bytes_sent) == (30_000, 30_000)
        assert found.messages_received >= 30
        assert 1 <= found.sends <= found.messages_received
        assert found.turns > 0
        assert found.completions_per_turn > 0
        assert found.ops_in_flight >= 30
        assert found.send_queue_high_water >= 1000
        for peer in peers:
            peer.close()
        until(lambda: engine.metrics().closed == 30)
    assert engine.metrics().active == 0
    assert engine.metrics().unknown_completions == 0


def test_where_no_tier_is_left_start_raises(monkeypatch: Any) -> None:
    from pyuring import startup
    from pyuring.errors import unavailable

    def refuse(*_: object) -> None:
        raise unavailable(38)

    monkeypatch.setattr(startup, "descend", refuse)
    engine = Engine(Echo, "127.0.0.1:0", tier="high")
    with pytest.raises(RingUnavailableError, match="has no io_uring"):
        engine.start()
    assert refused(engine.address)
    assert "pyuring" in sys.modules
