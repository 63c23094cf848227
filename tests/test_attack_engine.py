"""What a hostile or careless application does to an engine's life: it must not hang or die."""

from __future__ import annotations

import gc
import math
import os
import signal
import socket
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from conftest import RunPython
from peers import (
    PATIENCE,
    Echo,
    Notebook,
    connect,
    echoes,
    on_worker,
    read_exactly,
    refused,
    until,
)

from pyuring import Engine, Protocol, Transport
from pyuring.testing import serve

WRONG_TIMES = [math.inf, math.nan, -1, "x", 1e300]


def started_by(engine: Engine, between: Callable[[], object]) -> None:
    """Start an engine that calls `between` after its workers run, before start() returns."""
    opened = engine._open

    def slow_start() -> None:
        opened()
        between()

    engine._open = slow_start  # type: ignore[method-assign]
    engine.start()


def test_a_shutdown_by_a_handler_during_the_start_is_carried_out() -> None:
    class Ender(Echo):
        def connection_made(self, transport: Transport) -> None:
            engine.shutdown()

    engine = Engine(Ender, "127.0.0.1:0")

    def begin() -> None:
        peer = connect(engine.address)
        until(lambda: engine._asked, "the handler's shutdown")
        peer.close()

    started_by(engine, begin)
    engine.listen()
    assert not engine.running


def test_a_shutdown_by_a_signals_handler_during_the_start_does_not_wait_for_itself() -> None:
    engine = Engine(Echo, "127.0.0.1:0")
    answers: list[bool] = []
    began = time.monotonic()
    started_by(engine, lambda: answers.append(engine.shutdown()))
    engine.listen()
    assert answers == [False]
    assert time.monotonic() - began < PATIENCE


def test_a_worker_that_dies_during_the_start_ends_the_engine() -> None:
    class Fatal(Echo):
        def connection_made(self, transport: Transport) -> None:
            raise SystemExit(3)

    engine = Engine(Fatal, "127.0.0.1:0")

    def kill() -> None:
        with connect(engine.address):
            until(lambda: engine.failure, "the worker's death")
            until(lambda: engine._alive == 0)

    started_by(engine, kill)
    with pytest.raises(SystemExit):
        engine.listen()


def test_resuming_at_once_after_pausing_leaves_the_engine_listening() -> None:
    class Flipper(Echo):
        def data_received(self, data: bytes) -> None:
            engine.pause_accept()
            engine.resume_accept()
            self.transport.write(data)

    with serve(Flipper, workers=2) as engine:
        for _ in range(3):
            with connect(engine.address) as peer:
                peer.sendall(b"flip")
                assert read_exactly(peer, 4) == b"flip"
            assert engine._gate._stopped.wait(PATIENCE)
            assert not refused(engine.address)


def test_resuming_on_an_address_that_is_taken_raises_and_may_be_tried_again(tmp_path: Path) -> None:
    path = f"unix:{tmp_path}/socket"
    problems: list[tuple[str, str]] = []

    def hook(error: BaseException, where: str, _: object) -> None:
        problems.append((type(error).__name__, where))

    with serve(Echo, path, exception_hook=hook) as engine:
        engine.pause_accept()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(f"{tmp_path}/socket")
            with pytest.raises(OSError, match="cannot listen"):
                engine.resume_accept()
        os.unlink(f"{tmp_path}/socket")
        engine.resume_accept()
        assert echoes(path)
    assert problems == []


@pytest.mark.parametrize("timeout", WRONG_TIMES)
def test_a_wrong_timeout_is_refused_and_the_engine_can_still_be_shut_down(timeout: Any) -> None:
    with serve(Echo) as engine:
        with pytest.raises((ValueError, TypeError), match="timeout"):
            engine.shutdown(timeout)
        assert echoes(engine.address)
        assert engine.shutdown(PATIENCE)


@pytest.mark.parametrize("timeout", WRONG_TIMES)
def test_a_wrong_connect_timeout_is_refused(
    engine: Engine, notebook: Notebook, timeout: Any
) -> None:
    with connect(engine.address):
        protocol = notebook.expect("made")
        with pytest.raises((ValueError, TypeError), match="timeout"):
            protocol.worker.connect(Protocol, engine.address, timeout=timeout)


@pytest.mark.parametrize("address", ["é..x:1", "\udc80:1", "a" * 300 + ":1"])
def test_connecting_to_what_is_no_name_tells_the_caller(
    engine: Engine, notebook: Notebook, address: str
) -> None:
    errors: list[OSError] = []
    with connect(engine.address):
        worker = notebook.expect("made").worker
        worker.connect(Protocol, address, failed=errors.append)
        until(lambda: errors)
    assert "not a host name" in str(errors[0])


def test_a_unix_path_with_a_zero_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="zero byte"):
        Engine(Echo, "unix:/tmp/a\0b")


@pytest.mark.parametrize("when", [math.nan, "x", None])
def test_a_time_that_is_none_is_refused(engine: Engine, notebook: Notebook, when: Any) -> None:
    with connect(engine.address):
        protocol = notebook.expect("made")
        with pytest.raises((ValueError, TypeError)):
            on_worker(protocol, lambda: protocol.worker.call_at(when, print))
        assert echo_of(protocol) == "alive"


def test_a_timer_that_is_never_due_does_not_end_the_worker(
    engine: Engine, notebook: Notebook
) -> None:
    with connect(engine.address):
        protocol = notebook.expect("made")
        for when in (math.inf, 1e300):
            on_worker(protocol, lambda at=when: protocol.worker.call_at(at, print))
        assert echo_of(protocol) == "alive"


def echo_of(protocol: Any) -> str:
    """Return "alive" by way of two turns of the protocol's worker."""
    on_worker(protocol, lambda: None)
    return str(on_worker(protocol, lambda: "alive"))


def test_f21_without_a_free_descriptor_accepting_stops_and_resumes(run_python: RunPython) -> None:
    code = """
import os, resource, sys
sys.path.insert(0, "tests")
from pyuring import Engine
from peers import Echo, connect, echoes, read_exactly
engine = Engine(Echo, "127.0.0.1:0").start()
peer = connect(engine.address)
peer.sendall(b"ping"); read_exactly(peer, 4)
resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1,) * 2)
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    pass
engine.pause_accept()
peer.sendall(b"ping")
assert read_exactly(peer, 4) == b"ping" and engine.running and engine.failure is None
for fd in taken:
    os.close(fd)
peer.close()
assert engine.shutdown(5) and engine.failure is None
print("well")
"""
    done = run_python(code)
    assert done.stdout == "well\n", done.stderr


def test_f59_a_worker_empties_its_queues_before_it_ends() -> None:
    with serve(Echo) as engine:
        worker = engine.workers[0]
        assert engine.shutdown(PATIENCE)
        assert worker._accepting.state == "off"


def test_a_socket_path_that_cannot_be_removed_does_not_delay_the_end(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    engine = Engine(Echo, f"unix:{home}/socket").start()
    home.rename(tmp_path / "elsewhere")
    home.write_text("no directory any more")
    began = time.monotonic()
    assert engine.shutdown(PATIENCE)
    assert time.monotonic() - began < PATIENCE / 2


def test_callbacks_at_the_end_may_shut_down_and_may_raise() -> None:
    engine = Engine(Echo, "127.0.0.1:0").start()
    called: list[object] = []
    engine.on_end(lambda: called.append(engine.shutdown()))
    engine.on_end(lambda: 1 / 0)
    engine.on_end(lambda: called.append("last"))
    assert engine.shutdown(PATIENCE)
    assert called == [False, "last"]


def test_a_signals_handler_may_interrupt_the_very_call_it_makes(
    engine: Engine, notebook: Notebook
) -> None:
    with connect(engine.address):
        protocol = notebook.expect("made")
        handled = 0

        def handle(_: int, __: FrameType | None) -> None:
            nonlocal handled
            handled += 1
            protocol.transport.resume_reading()

        before = signal.signal(signal.SIGALRM, handle)
        try:
            with protocol.worker._lock:  # as in the midst of call_soon_threadsafe
                signal.raise_signal(signal.SIGALRM)
        finally:
            signal.signal(signal.SIGALRM, before)
        assert handled == 1


def test_what_the_application_keeps_of_a_connection_does_not_keep_the_engine() -> None:
    class Server:
        def __init__(self) -> None:
            self.all: list[Echo] = []

        def make(self) -> Echo:
            self.all.append(Echo())
            return self.all[-1]

    def serve_once() -> weakref.ref[Server]:
        server = Server()
        with serve(server.make) as engine:
            assert echoes(engine.address)
        return weakref.ref(server)

    left = serve_once()
    gc.collect()
    assert left() is None


def test_f50_warnings_as_errors_do_not_keep_an_engine_alive_at_exit(run_python: RunPython) -> None:
    done = run_python(
        "import threading, warnings; from pyuring import Engine, Protocol\n"
        "warnings.simplefilter('error', ResourceWarning)\n"
        "engine = Engine(Protocol, '127.0.0.1:0').start()\n"
        "engine.on_end(lambda: print('ended', flush=True))\n"
    )
    assert done.stdout == "ended\n", done.stderr
    assert done.returncode == 0


def test_f49_a_report_that_cannot_be_written_does_not_end_the_worker(run_python: RunPython) -> None:
    code = """
import io, sys
sys.path.insert(0, "tests")
from pyuring import Engine
from peers import Echo, echoes
class Broken(io.StringIO):
    def write(self, text):
        raise BrokenPipeError
sys.stderr = Broken()
with Engine(Echo, "127.0.0.1:0") as engine:
    engine.workers[0].call_soon_threadsafe(lambda: 1 / 0)
    assert echoes(engine.address)
    print(engine.failure)
"""
    assert run_python(code).stdout == "None\n"


def test_a_descriptor_that_the_application_closed_is_reported() -> None:
    class Closer(Echo):
        def data_received(self, data: bytes) -> None:
            os.close(self.transport.fileno())
            self.transport.abort()

    told: list[tuple[type[BaseException], str]] = []
    done = threading.Event()

    def hook(error: BaseException, where: str, _: object) -> None:
        told.append((type(error), where))
        done.set()

    with serve(Closer, exception_hook=hook) as engine, connect(engine.address) as peer:
        peer.sendall(b"x")
        assert done.wait(PATIENCE)
    assert told == [(OSError, "close")]


def test_f20_a_child_that_returns_from_a_handler_ends_and_says_why(run_python: RunPython) -> None:
    code = """
import os, sys
sys.path.insert(0, "tests")
from pyuring import Engine
from peers import Echo, connect, echoes, read_exactly
class Forker(Echo):
    def data_received(self, data):
        child = os.fork()
        if child:
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            self.transport.write(b"%d" % status)
with Engine(Forker, "127.0.0.1:0") as engine, connect(engine.address) as peer:
    peer.sendall(b"x")
    print(read_exactly(peer, 2))
"""
    done = run_python(code)
    assert done.stdout == "b'70'\n", done.stderr
    assert "os._exit()" in done.stderr
