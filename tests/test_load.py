"""Many connections at once: nothing is lost, mixed up, kept, or starved."""

from __future__ import annotations

import os
import random
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from peers import (
    PATIENCE,
    Echo,
    Notebook,
    connect,
    on_worker,
    read_exactly,
    read_to_end,
    reset,
    until,
)

from pyuring import Engine, EngineMetrics, Transport
from pyuring.testing import serve

ROOT = Path(__file__).resolve().parent.parent


def exchange(peers: list[socket.socket], texts: list[bytes], rng: random.Random) -> None:
    """Send each peer's text in random pieces, all of them at once, and check what comes back."""
    selector = selectors.DefaultSelector()
    sent, got = [0] * len(peers), [b""] * len(peers)
    for number, peer in enumerate(peers):
        peer.setblocking(False)
        selector.register(peer, selectors.EVENT_READ | selectors.EVENT_WRITE, number)
    deadline = time.monotonic() + 6 * PATIENCE
    while any(len(echo) < len(text) for echo, text in zip(got, texts, strict=True)):
        assert time.monotonic() < deadline, "not everything came back"
        for key, events in selector.select(1.0):
            number, peer = key.data, peers[key.data]
            if events & selectors.EVENT_READ:
                got[number] += peer.recv(rng.randint(1, 100_000))
            if events & selectors.EVENT_WRITE:
                piece = texts[number][sent[number] :][: rng.randint(1, 50_000)]
                sent[number] += peer.send(piece) if piece else 0
                if sent[number] == len(texts[number]):
                    selector.modify(peer, selectors.EVENT_READ, number)
    selector.close()
    assert got == texts


@pytest.mark.parametrize("tier", ["none", "base", "mid", "high"])
def test_f26_two_buffers_serve_64_talkers(tier: str, rng: random.Random) -> None:
    with serve(Echo, tier=tier, buffer_count=2, buffer_size=512) as engine:
        peers = [connect(engine.address) for _ in range(64)]
        exchange(peers, [rng.randbytes(20_000) for _ in peers], rng)
        for peer in peers:
            peer.close()
        until(lambda: engine.metrics().active == 0)
        found = engine.metrics()
        assert (found.bytes_received, found.buffers_held) == (64 * 20_000, 0)


@pytest.mark.parametrize("tier", ["none", "base", "mid", "high"])
def test_f32_random_pieces_arrive_in_order(tier: str, rng: random.Random) -> None:
    with serve(Echo, tier=tier) as engine:
        peers = [connect(engine.address) for _ in range(16)]
        exchange(peers, [rng.randbytes(300_000) for _ in peers], rng)
        for peer in peers:
            peer.close()


@pytest.mark.parametrize("tier", ["none", "base", "mid", "high"])
def test_f35_short_sends_stay_in_order(tier: str, rng: random.Random) -> None:
    class Tiny(Echo):
        def connection_made(self, transport: Transport) -> None:
            super().connection_made(transport)
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)

        def data_received(self, data: bytes) -> None:
            self.transport.writelines([data[:7], data[7:1000], data[1000:]])

    with serve(Tiny, tier=tier) as engine:
        peers = [connect(engine.address) for _ in range(8)]
        exchange(peers, [rng.randbytes(100_000) for _ in peers], rng)
        for peer in peers:
            peer.close()


def churn(engine: Engine, rounds: int, rng: random.Random) -> None:
    """Connect, talk and leave in every manner, some with bytes that nobody waits for."""
    for _ in range(rounds):
        peer = connect(engine.address)
        peer.sendall(rng.randbytes(rng.choice((1, 1000, 100_000))))
        if rng.random() < 0.5:
            peer.recv(100)
        if rng.random() < 0.5:
            reset(peer)
        else:
            peer.close()


def metrics_after_churn(rng: random.Random, **fields: Any) -> EngineMetrics:
    """Return what is left when 300 connections have come and gone."""
    with serve(Echo, **fields) as engine:
        threads = [
            threading.Thread(target=churn, args=(engine, 50, random.Random(rng.random())))
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(lambda: engine.metrics().closed == 300, "the end of every connection")
        until(lambda: engine.metrics().ops_in_flight <= 2, "the end of every operation")
        return engine.metrics()


@pytest.mark.parametrize("tier", ["none", "base", "mid", "high", "optional"])
def test_f27_churn_leaves_no_buffer_behind(tier: str, rng: random.Random) -> None:
    found = metrics_after_churn(rng, tier=tier)
    assert (found.active, found.buffers_held, found.unknown_completions) == (0, 0, 0)


def test_f45_the_dead_leave_no_timer_in_the_kernel(rng: random.Random) -> None:
    found = metrics_after_churn(rng, idle_timeout=60.0, write_timeout=60.0)
    assert found.ops_in_flight <= 2  # an accept, and the read that wakes the worker


def test_f43_shutdown_with_thousands_open() -> None:
    notebook = Notebook()
    engine = Engine(notebook.protocol, "unix:@pyuring-" + str(os.getpid()), linger_timeout=0.1)
    engine.start()
    peers = [connect(engine.address) for _ in range(2000)]
    until(lambda: engine.metrics().active == 2000)
    assert engine.shutdown()
    found = engine.metrics()
    assert (found.active, found.closed) == (0, 2000)
    events = [notebook.events.get_nowait()[0] for _ in range(notebook.events.qsize())]
    assert events.count("made") == events.count("lost") == 2000
    for peer in peers:
        assert read_to_end(peer) == b""
        peer.close()


def test_f61_a_fire_hose_does_not_starve_the_others() -> None:
    stop = threading.Event()

    def hose() -> None:
        with connect(engine.address) as peer:
            threading.Thread(target=drink, args=(peer,), daemon=True).start()
            data = bytes(1 << 20)
            while not stop.is_set():
                peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            stopped.wait(PATIENCE)

    def drink(peer: socket.socket) -> None:
        while peer.recv(1 << 20):
            pass
        stopped.set()

    stopped = threading.Event()
    with serve(Echo) as engine:
        peers = [connect(engine.address) for _ in range(20)]
        thread = threading.Thread(target=hose)
        thread.start()
        until(lambda: engine.metrics().bytes_received > 8 << 20)
        times = []
        for peer in peers * 5:
            begun = time.monotonic()
            peer.sendall(b"ping")
            assert read_exactly(peer, 4) == b"ping"
            times.append(time.monotonic() - begun)
        stop.set()
        thread.join()
        for peer in peers:
            peer.close()
    assert statistics.median(times) < 0.1, times


_F62 = """
import sys
sys.path.insert(0, "tests")
from peers import Echo
from pyuring import Engine, EngineMetrics, Transport
engine = Engine(Echo, "127.0.0.1:0", idle_timeout=0.4, write_timeout=0.4)
engine.start()
print(engine.address, flush=True)
engine.listen()
"""


def test_f62_after_a_suspension_what_came_meanwhile_is_read_first() -> None:
    command = [sys.executable, "-c", _F62]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            with connect(process.stdout.readline().strip()) as peer:
                peer.sendall(b"ping")
                assert read_exactly(peer, 4) == b"ping"
                process.send_signal(signal.SIGSTOP)
                threading.Event().wait(2.0)  # the suspension itself
                peer.sendall(b"pong")
                process.send_signal(signal.SIGCONT)
                assert read_exactly(peer, 4) == b"pong"
                assert read_to_end(peer) == b""  # and the deadline holds again
        finally:
            process.kill()


def test_f62_what_came_during_a_slow_handler_is_read_before_a_drain_closes_anybody() -> None:
    quiet = 0.3
    entered, leave = threading.Event(), threading.Event()

    class Slow(Echo):
        def data_received(self, data: bytes) -> None:
            if data == b"slow":
                entered.set()
                leave.wait(PATIENCE)
            self.transport.write(data)

    with serve(Slow, drain_quiet=quiet) as engine:
        with connect(engine.address) as slow, connect(engine.address) as other:
            with connect(engine.address) as silent:
                ending = threading.Thread(target=engine.shutdown)
                ending.start()
                silent.settimeout(quiet / 10)
                while True:  # both others speak until the silent one has been closed
                    for peer in (slow, other):
                        peer.sendall(b"tick")
                        assert read_exactly(peer, 4) == b"tick"
                    try:
                        assert silent.recv(1) == b""
                        break
                    except TimeoutError:
                        pass
            slow.sendall(b"slow")
            assert entered.wait(PATIENCE)
            other.sendall(b"ping")
            threading.Event().wait(2 * quiet)  # the handler's time itself
            leave.set()
            assert read_exactly(other, 4) == b"ping"
            assert read_exactly(slow, 4) == b"slow"
        ending.join(PATIENCE)


def test_f62_what_came_just_before_a_drain_is_read_before_anybody_counts_as_quiet() -> None:
    quiet = 0.1
    with serve(Echo, drain_quiet=quiet) as engine, connect(engine.address) as peer:
        peer.sendall(b"ping")
        assert read_exactly(peer, 4) == b"ping"
        threading.Event().wait(2 * quiet)  # the silence itself
        worker = engine.workers[0]

        def drain() -> None:
            peer.sendall(b"pong")  # after the worker has looked, and before it looks again
            worker.drain(quiet, None)

        worker.call_soon_threadsafe(drain)
        assert read_exactly(peer, 4) == b"pong"
        assert read_to_end(peer) == b""


def test_f47_a_thread_of_ones_own_runs_beside_a_busy_engine() -> None:
    notebook = Notebook()
    counted = 0
    with serve(notebook.protocol) as engine, connect(engine.address):
        protocol = notebook.expect("made")
        for _ in range(50):
            on_worker(protocol, lambda: protocol.transport.write(b"x"))
            counted += 1
    assert counted == 50
