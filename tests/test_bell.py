"""Bells: one thread waits until another rings, and no ring is lost.

Owns threads that wait, and a worker that rings in its turn; what bodies do with it is theirs.
"""

from __future__ import annotations

import os
import signal
import threading
from queue import SimpleQueue

import pytest
from peers import PATIENCE, Echo, connect, read_exactly

from pyuring._native import Bell
from pyuring.testing import serve


def test_a_ring_before_the_wait_is_not_lost_and_counts_once() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    bell.wait()
    done = threading.Event()
    waiter = threading.Thread(target=lambda: (bell.wait(), done.set()))
    waiter.start()
    assert not done.wait(0.05)
    bell.ring()
    assert done.wait(PATIENCE)
    waiter.join()


def test_two_threads_hand_each_other_the_turn_many_times() -> None:
    here, there, count = Bell(), Bell(), 5000
    seen: list[int] = []

    def answer() -> None:
        for _ in range(count):
            there.wait()
            seen.append(len(seen))
            here.ring()

    thread = threading.Thread(target=answer)
    thread.start()
    for number in range(count):
        there.ring()
        here.wait()
        assert len(seen) == number + 1
    thread.join(PATIENCE)


def test_what_a_worker_rings_in_its_turn_rings_when_it_lets_go_of_the_lock() -> None:
    bells = [Bell() for _ in range(100)]  # more than a worker keeps
    heard: SimpleQueue[int] = SimpleQueue()

    def listen(number: int) -> None:
        bells[number].wait()
        heard.put(number)

    class Ringing(Echo):
        def data_received(self, data: bytes) -> None:
            for bell in bells:
                bell.ring()
            self.transport.write(data)

    threads = [threading.Thread(target=listen, args=(n,)) for n in range(len(bells))]
    for thread in threads:
        thread.start()
    with serve(Ringing) as engine, connect(engine.address) as peer:
        peer.sendall(b"x")
        assert sorted(heard.get(timeout=PATIENCE) for _ in bells) == list(range(len(bells)))
        assert read_exactly(peer, 1) == b"x"
    for thread in threads:
        thread.join(PATIENCE)


def test_a_signal_handler_that_raises_ends_the_wait() -> None:
    def stop(*_: object) -> None:
        raise InterruptedError

    before = signal.signal(signal.SIGUSR1, stop)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1))
    try:
        timer.start()
        with pytest.raises(InterruptedError):
            Bell().wait()
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
