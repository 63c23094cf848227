"""Interrupts a program that uses pyuring at random moments: Ctrl-C anywhere (F48).

`python ctrl_c.py WHAT ROUNDS SEED`: in every round one or two SIGINT reach the main thread while
it does WHAT; afterwards what it used must be closed by ordinary means, and leave no thread and no
descriptor. A hang ends the process with everybody's traceback.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

sys.path.insert(0, str(Path(__file__).parent.parent))

from peers import Echo, connect, read_exactly

from pyuring import Engine, Http, Ring

HANG_SECONDS = 30
counted: Counter[str] = Counter()


class Storm:
    """A thread that sends SIGINT to the main thread, at the moments it is given."""

    def __init__(self) -> None:
        self._moments: list[float] = []
        self._code: CodeType | None = None
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            self._go.acquire()
            for moment in self._moments:
                time.sleep(moment)  # the interrupt's moment, not a way to wait for anything
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            self._done.release()

    def surround(self, moments: list[float], call: Callable[[], object]) -> None:
        """Make a call in the storm; return once both are over, however the call ended."""
        self._moments, self._code = moments, call.__code__
        self._go.release()
        try:
            call()
            counted["whole"] += 1
        except KeyboardInterrupt:
            counted["interrupted"] += 1
        self._done.acquire()

    def interrupt(self, _: int, frame: FrameType | None) -> None:
        """Raise as Python's own handler does, but only while the call is on the stack."""
        while frame is not None:
            if frame.f_code is self._code:
                raise KeyboardInterrupt
            frame = frame.f_back
        counted["late"] += 1


def use_engine(engine: Engine) -> None:
    """Do what programs do with an engine."""
    engine.start()
    for _ in range(2):
        with connect(engine.address) as peer:
            peer.sendall(b"ping")
            read_exactly(peer, 4)
    engine.metrics()
    engine.pause_accept()
    engine.resume_accept()
    engine.shutdown(1.0)


def listen(engine: Engine) -> None:
    engine.start()
    threading.Timer(0.02, engine.shutdown).start()
    engine.listen()


slow: list[float] = []


def engine_round(rng: random.Random, storm: Storm, use: Callable[[Engine], None]) -> None:
    factory = rng.choice([Echo, Http(lambda request: b"")])
    workers = rng.choice([1, 2])
    engine = Engine(factory, "127.0.0.1:0", workers=workers, linger_timeout=0.05, drain_quiet=0.0)
    storm.surround(moments(rng, 0.03), lambda: use(engine))
    began = time.monotonic()
    engine.shutdown(1.0)
    took = time.monotonic() - began
    if took > 4:  # once is a machine that has other things to do, twice is a stop that hangs
        slow.append(took)
    assert len(slow) < 2, f"stops took {slow} seconds"
    assert took < 20, f"a stop took {took} seconds"
    assert not engine.running
    assert not any(worker._alive for worker in engine.workers)


def ring_round(rng: random.Random, storm: Storm) -> None:
    """Operate a ring whose memory is watched: what is lent stays lent, and comes back."""
    ring = Ring(16)
    memories = [bytearray(64) for _ in range(32)]
    reader, writer = os.pipe()

    def operate() -> None:
        for memory in memories:
            sqe = ring.get_sqe()
            if sqe is None:
                ring.submit()
                ring.submit_and_wait_timeout(0.001)
                continue
            sqe.prep_read(reader, memory)
            sqe.user_data = id(memory)
        ring.submit()
        os.write(writer, b"x" * 64 * 8)
        for _ in ring.completions():
            pass
        ring.submit_and_wait_timeout(0.01, 2)
        with contextlib.suppress(TimeoutError):
            ring.wait_cqe(0.01)
        ring.reap()
        ring.close(grace=1.0)

    storm.surround(moments(rng, 0.004), operate)
    ring.close()
    assert ring.closed
    for memory in memories:
        memory.append(1)  # a BufferError, if it is still lent
    os.close(reader)
    os.close(writer)


def moments(rng: random.Random, longest: float) -> list[float]:
    return [rng.uniform(0, longest) for _ in range(rng.choice([1, 1, 2, 3]))]


ROUNDS: dict[str, Callable[[random.Random, Storm], None]] = {
    "engine": lambda rng, storm: engine_round(rng, storm, use_engine),
    "listen": lambda rng, storm: engine_round(rng, storm, listen),
    "ring": ring_round,
}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def main(what: str, rounds: str, seed: str) -> None:
    rng, storm = random.Random(int(seed)), Storm()
    signal.signal(signal.SIGINT, storm.interrupt)
    ROUNDS[what](rng, storm)
    gc.collect()
    fds = descriptors()
    for number in range(int(rounds)):
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        try:
            ROUNDS[what](rng, storm)
        except BaseException:
            print(f"round {number} of {what}, seed {seed}")
            raise
        faulthandler.cancel_dump_traceback_later()
    # One whose start() was interrupted before there was a thread stays in the list, and is none.
    workers = [t for t in threading.enumerate() if t.name.startswith("pyuring-worker")]
    left = [thread for thread in workers if thread.ident is not None]
    for thread in left:
        thread.join(5)
    with contextlib.suppress(ValueError):
        gc.collect()
    print(f"{what}: {rounds} rounds, {dict(counted)}, descriptors {fds} -> {descriptors()}")
    assert not any(thread.is_alive() for thread in left), left
    assert descriptors() <= fds


if __name__ == "__main__":
    main(*sys.argv[1:])
