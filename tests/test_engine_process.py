"""The engine and its process: limits, a seccomp filter, signals, forks, the interpreter's end."""

from __future__ import annotations

import errno
import os
import platform
import socket
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from peers import Echo, connect, echoes, read_exactly

from pyuring import Engine, EngineClosedError, ForkedError
from pyuring.testing import serve

Run = Callable[..., Any]

EPOLL_CTL = {"x86_64": 233, "aarch64": 21}[platform.machine()]


def test_f21_out_of_descriptors_is_a_pause_not_an_end(run_python: Run) -> None:
    done = run_python(_F21)
    assert done.stdout.split() == ["full", "served", "calm"], done.stderr


_F21 = """
import os, resource, socket, sys
sys.path.insert(0, "tests")
from peers import Echo, read_exactly, until
from pyuring import Engine
engine = Engine(Echo, "127.0.0.1:0", linger_timeout=0.1).start()
place = ("127.0.0.1", int(engine.address.rpartition(":")[2]))
peers = [socket.create_connection(place)] + [socket.socket() for _ in range(23)]
until(lambda: engine.metrics().active == 1)
used = len(os.listdir("/proc/self/fd")) - 1
resource.setrlimit(resource.RLIMIT_NOFILE, (used + 10, 20000))
engine.pause_accept()
engine.resume_accept()  # an accept obeys the limit of the time when it was armed
for peer in peers[1:]:
    peer.settimeout(10)
    peer.connect(place)
until(lambda: engine.metrics().errors_accept > 0, "EMFILE")
assert engine.metrics().active < 24
print("full")
for peer in peers[:14]:
    peer.sendall(b"ping")
for peer in peers[:14]:
    if peers.index(peer) < 8:
        assert read_exactly(peer, 4) == b"ping"
    peer.close()
for peer in peers[14:]:
    peer.sendall(b"ping")
    assert read_exactly(peer, 4) == b"ping"
    peer.close()
print("served")
spent = engine.metrics().errors_accept
print("calm" if spent < 50 else f"{spent} failing accepts")
engine.shutdown()
"""


@pytest.mark.parametrize(
    ("number", "words"),
    [("EPERM", "forbidden by a seccomp filter"), ("ENOSYS", "has no io_uring")],
)
def test_f15_where_io_uring_is_refused_epoll_serves_and_one_line_says_why(
    run_python: Run, number: str, words: str
) -> None:
    done = run_python(_F15, number)
    assert done.stdout.split() == ["NONE", "epoll", "served", "unavailable"], done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("epoll serves in place of io_uring: ")
    assert words in line


_F15 = """
import errno, sys
sys.path.insert(0, "tests")
import kernel_filter
for call in (kernel_filter.SETUP, kernel_filter.ENTER, kernel_filter.REGISTER):
    kernel_filter.refuse(call, getattr(errno, sys.argv[1]))
from peers import Echo, echoes
from pyuring import Engine, Ring, RingUnavailableError
with Engine(Echo, "127.0.0.1:0", workers=2, tier="high") as engine:
    print(engine.tier.name, engine.type, "served" if echoes(engine.address) else "deaf")
try:
    Ring(8)
except RingUnavailableError as error:
    assert error.remedy
    print("unavailable")
"""


def test_f16_a_worker_whose_ring_finds_no_memory_serves_on_epoll(run_python: Run) -> None:
    done = run_python(_F16)
    tier, kinds, answered = done.stdout.split()
    assert (kinds, answered) == ("0,1,1", "all"), done.stderr
    assert tier != "NONE"
    one, two = done.stderr.splitlines()
    assert one.startswith("epoll serves in place of io_uring in worker 1: ")
    assert "no memory for the ring (RLIMIT_MEMLOCK is " in one
    assert "worker 2" in two
    assert "ulimit -l" in two


_F16 = """
import errno, sys
sys.path.insert(0, "tests")
import kernel_filter
from peers import Echo, connect
from pyuring import Engine
class Short(Engine):
    def _new_worker(self, index, settings):
        if index == 1:
            kernel_filter.refuse(kernel_filter.SETUP, errno.ENOMEM)
        return super()._new_worker(index, settings)
with Short(Echo, "127.0.0.1:0", workers=3, tier="base") as engine:
    answered = set()
    while len(answered) < 3:  # the kernel spreads them by their addresses
        with connect(engine.address) as peer:
            peer.sendall(b"x")
            assert peer.recv(1) == b"x"
        answered = {worker.index for worker in engine.workers if worker.metrics()["accepted"]}
    kinds = ",".join(str(worker.settings["epoll"]) for worker in engine.workers)
    print(engine.tier.name, kinds, "all")
"""


def test_f48_a_signal_handler_that_raises_ends_listen_in_order(run_python: Run) -> None:
    done = run_python(_F48, timeout=30)
    assert done.stdout.split() == ["KeyboardInterrupt", "closed"], done.stderr


_F48 = """
import os, signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
sys.path.insert(0, "tests")
from peers import connect, read_to_end, refused
from peers import Echo
from pyuring import Engine
engine = Engine(Echo, "127.0.0.1:0", workers=2, linger_timeout=0.1)
engine.start()
with connect(engine.address) as peer:
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        engine.listen()
    except KeyboardInterrupt:
        print("KeyboardInterrupt")
    assert read_to_end(peer) == b""
assert not engine.running and refused(engine.address)
engine.shutdown()
print("closed")
"""


@pytest.mark.parametrize("how", ["end", "exit", "error"])
def test_f50_the_interpreter_ends_with_a_running_engine(run_python: Run, how: str) -> None:
    done = run_python(_F50, how, timeout=30)
    assert done.stdout.split() == ["up", "True"], done.stderr
    assert done.returncode == {"end": 0, "exit": 3, "error": 1}[how], done.stderr
    assert "Fatal" not in done.stderr


_F50 = """
import sys
sys.path.insert(0, "tests")
from peers import connect
from peers import Echo
from pyuring import Engine
engine = Engine(Echo, "127.0.0.1:0", workers=2, linger_timeout=0.1).start()
peers = [connect(engine.address) for _ in range(20)]
for peer in peers:
    peer.sendall(bytes(100_000))
print("up", engine.running)
if sys.argv[1] == "exit":
    sys.exit(3)
if sys.argv[1] == "error":
    raise RuntimeError("as asked")
"""


def test_f57_a_successor_gets_the_port_at_once(run_python: Run) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for _ in range(5):
        done = run_python(_F57, str(port))
        assert done.stdout.split() == ["served"], done.stderr


_F57 = """
import sys
sys.path.insert(0, "tests")
from peers import Echo, echoes
from pyuring import Engine
engine = Engine(Echo, f"127.0.0.1:{sys.argv[1]}", workers=2, linger_timeout=0).start()
print("served" if echoes(engine.address) else "deaf")
"""


def test_f20_a_forked_child_cannot_use_the_engine_and_leaves_it_alone() -> None:
    with serve(Echo, workers=2) as engine, connect(engine.address) as peer:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork beside threads
            child = os.fork()
        if child == 0:
            os._exit(_in_child(engine))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        peer.sendall(b"alive")
        assert read_exactly(peer, 5) == b"alive"
        assert echoes(engine.address)


def _in_child(engine: Engine) -> int:
    """Try everything; 0 when each raises, and the child can have an engine of its own."""
    for use in (engine.metrics, engine.start, engine.shutdown, engine.pause_accept):
        try:
            use()
        except ForkedError:
            continue
        return 1
    try:
        engine.workers[0].call_soon_threadsafe(print)
        return 2
    except EngineClosedError:
        pass
    with serve(Echo) as own:
        return 0 if echoes(own.address) else 3


def test_f7_a_worker_that_nobody_can_wake_says_so_once_and_looks_by_itself(run_python: Run) -> None:
    done = run_python(_DEAF, str(EPOLL_CTL))
    assert done.stdout.split() == ["calm", "ended"], done.stderr
    assert done.stderr.count("exception in wake-up") == 1
    assert "[Errno 28] epoll's watches are used up (sysctl fs.epoll.max_user" in done.stderr


# Every descriptor that epoll is to watch from here on is refused, as when a user has too many.
_DEAF = """
import errno, sys, threading
sys.path.insert(0, "tests")
import kernel_filter
from peers import Echo, until
from pyuring import Engine
kernel_filter.refuse(int(sys.argv[1]), errno.ENOSPC, 1)  # EPOLL_CTL_ADD
engine = Engine(Echo, "127.0.0.1:0", tier="none").start()
(worker,) = engine.workers
for delay in (0.0, 0.0, 0.3):
    done = threading.Event()
    worker.call_soon_threadsafe(worker.call_later, delay, done.set)
    assert done.wait(10)
turns = worker.metrics()["turns"]
print("calm" if turns < 200 else f"{turns} turns")
assert engine.shutdown(5)
print("ended")
"""


@pytest.mark.parametrize("tier", ["auto", "none"])
def test_f8_a_ring_that_fails_is_told_to_its_connections_and_to_their_peers(
    run_python: Run, tier: str
) -> None:
    done = run_python(_RING_FAILS, tier)
    *lost, failure, peers = done.stdout.splitlines()
    words = f"OSError [Errno {errno.EBADR}] the worker's ring failed: {os.strerror(errno.EBADR)}"
    assert lost == [words, words], done.stderr
    assert failure == words
    assert peers == "their peers saw the end"


_RING_FAILS = """
import errno, platform, sys, threading
sys.path.insert(0, "tests")
import kernel_filter
from peers import Echo, connect, read_exactly, read_to_end
from pyuring import Engine
told = []
def tell(exc):
    return f"{type(exc).__name__} {exc}"
class Doomed(Echo):
    def data_received(self, data):
        if data == b"fail":
            kernel_filter.refuse(kernel_filter.ENTER, errno.EBADR)
            kernel_filter.refuse({"x86_64": 281, "aarch64": 22}[platform.machine()], errno.EBADR)
        else:
            super().data_received(data)
    def connection_lost(self, exc):
        told.append(tell(exc))
engine = Engine(Doomed, "127.0.0.1:0", tier=sys.argv[1]).start()
ended = threading.Event()
engine.on_end(ended.set)
peers = [connect(engine.address), connect(engine.address)]
for peer in peers:
    peer.sendall(b"ping")
    assert read_exactly(peer, 4) == b"ping"
peers[0].sendall(b"fail")
assert ended.wait(10)
print(*told, tell(engine.failure), sep="\\n")
for peer in peers:
    assert read_to_end(peer) == b""
print("their peers saw the end")
"""
