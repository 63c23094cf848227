"""The parts of a supervisor, each on its own: sockets, places, files, questions, words."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
from conftest import RunPython
from peers import connect, read_exactly, read_to_end, until
from supervised import APPLICATION, Supervised, write

from pyuring import Engine, Protocol, Transport
from pyuring.addresses import Address
from pyuring.channel import Channel
from pyuring.listeners import Listener
from pyuring.processes import describe_status
from pyuring.settings import SupervisorSettings
from pyuring.slots import Slot
from pyuring.sockets import Sockets
from pyuring.watching import Watch

# --- channel --------------------------------------------------------------------------------


def test_a_channel_keeps_messages_apart_and_tells_the_end() -> None:
    ours, theirs = Channel.pair()
    other = Channel(theirs)
    with pytest.raises(BlockingIOError):
        ours.receive(wait=False)
    assert other.send({"ready": "HIGH"})
    assert other.send({"n": 1})
    assert ours.receive() == {"ready": "HIGH"}
    assert ours.receive(wait=False) == {"n": 1}
    other.close()
    assert ours.receive() is None
    assert not ours.send({"do": "drain"})
    ours.close()


def test_a_channel_does_not_wait_for_who_does_not_read() -> None:
    ours, theirs = Channel.pair()
    while ours.send({"do": "metrics", "question": 1}, wait=False):
        pass
    theirs.close()
    ours.close()


# --- slots, settings, words ------------------------------------------------------------------


def test_a_place_is_filled_at_once_and_then_ever_later() -> None:
    slot = Slot(0)
    assert [slot.pause_after(0.1) for _ in range(5)] == [0.0, 0.5, 1.0, 2.0, 4.0]
    assert [slot.pause_after(0.1) for _ in range(20)][-1] == 30.0
    assert slot.pause_after(60.0) == 0.0
    assert slot.pause_after(0.1) == 0.5
    slot.forget_failures()
    assert slot.pause_after(0.1) == 0.0


@pytest.mark.parametrize(
    ("field", "value"),
    [("processes", 0), ("max_requests", -1), ("graceful_timeout", -1.0), ("bind", [])],
)
def test_settings_that_make_no_sense_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"must be|one to eight"):
        SupervisorSettings(**{"bind": ["127.0.0.1:0"], field: value})  # type: ignore[arg-type]


def test_an_end_is_told_in_words() -> None:
    assert describe_status(3) == "ended with status 3"
    assert describe_status(-signal.SIGKILL) == "was ended by SIGKILL"
    assert describe_status(-63) == "was ended by signal 63"


# --- watching -------------------------------------------------------------------------------


def test_a_changed_file_is_seen_once(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("1")
    watch = Watch()
    watch.add([str(path)], path.stat().st_mtime_ns)
    assert watch.changed() == []
    write(path, "2")
    watch.add([str(path)], 0)  # again: nothing new
    assert watch.changed() == [str(path)]
    assert watch.changed() == []
    path.unlink()
    assert watch.changed() == [str(path)]
    write(path, "3")
    assert watch.changed() == [str(path)]


def test_a_file_that_is_younger_than_its_reader_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("1")
    watch = Watch()
    watch.add([str(path)], path.stat().st_mtime_ns - 1)
    assert watch.changed() == [str(path)]
    assert watch.changed() == []


# --- sockets ---------------------------------------------------------------------------------


@pytest.fixture
def sockets() -> Sockets:
    return Sockets(workers=1, backlog=64, reuse_port=False)


def waiting(listener: int) -> int:
    """Return how many connections wait in a listener's queue, and let them go."""
    count = 0
    with socket.socket(fileno=os.dup(listener)) as sock:
        sock.settimeout(0)
        while True:
            try:
                sock.accept()[0].close()
            except BlockingIOError:
                return count
            count += 1


def test_new_connections_go_where_they_are_steered(sockets: Sockets) -> None:
    sockets.open(["127.0.0.1:0"], 3)
    fds = [sockets.of(place)[0]["fds"][0] for place in range(3)]
    for places in ({1}, {0, 2}, {2}, {0, 1, 2}):
        sockets.steer(places)
        peers = [connect(sockets.addresses[0]) for _ in range(60)]
        found = [waiting(fd) for fd in fds]
        assert sum(found) == 60
        assert {place for place, count in enumerate(found) if count} == places
        for peer in peers:
            peer.close()
    sockets.release()


def test_places_come_and_go(sockets: Sockets) -> None:
    sockets.open(["127.0.0.1:0", "127.0.0.1:0"], 1)
    for number in (1, 2):
        sockets.add(number)
    assert len({fd for place in range(3) for each in sockets.of(place) for fd in each["fds"]}) == 6
    sockets.remove(2)
    sockets.steer({1})
    for address, place in zip(sockets.addresses, sockets.of(1), strict=True):
        with connect(address):
            assert waiting(place["fds"][0]) == 1
    sockets.release()


def test_one_unix_socket_is_for_all(sockets: Sockets, tmp_path: Path) -> None:
    sockets.open([f"unix:{tmp_path}/socket"], 2)
    assert sockets.of(0) == sockets.of(1)
    assert sockets.of(0)[0]["shared"]
    sockets.release()
    assert not (tmp_path / "socket").exists()


def test_workers_that_share_a_listener_take_turns(tmp_path: Path) -> None:
    class Who(Protocol):
        def connection_made(self, transport: Transport) -> None:
            transport.write(b"%d" % transport.worker.index)

    with Engine(Who, f"unix:{tmp_path}/socket", workers=2) as engine:
        seen: set[bytes] = set()
        peers: list[socket.socket] = []

        def both_have_answered() -> bool:
            peers.append(connect(engine.address))
            seen.add(read_exactly(peers[-1], 1))
            return len(seen) == 2

        until(both_have_answered, "answers of both")  # one has them all, if it stays first
        for peer in peers:
            peer.close()


def test_an_engine_takes_a_socket_for_each_worker() -> None:
    class Who(Protocol):
        def connection_made(self, transport: Transport) -> None:
            transport.write(b"%d" % transport.worker.index)
            transport.close()

    sockets = Sockets(workers=2, backlog=64, reuse_port=False)
    sockets.open(["127.0.0.1:0"], 1)
    fds = tuple(os.dup(fd) for fd in sockets.of(0)[0]["fds"])
    with Engine(Who, Address("fd", fd=fds[0], fds=fds), workers=2) as engine:
        sockets.steer({0})
        found = set()
        for _ in range(64):
            with connect(engine.address) as peer:
                found.add(read_to_end(peer))
        assert found == {b"0", b"1"}
    sockets.release()


def test_who_empties_a_queue_after_another_does_not_wait() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        Listener(sock, owned=False, backlog=1, borrowed=sock).limit_blocking()
        with pytest.raises(BlockingIOError):
            sock._accept()  # type: ignore[attr-defined]


# --- with processes ----------------------------------------------------------------------------


def test_the_parent_loads_no_native_library_and_opens_no_ring(tmp_path: Path) -> None:
    write(tmp_path / "application.py", APPLICATION)
    arguments = ("application:App", "--bind", "127.0.0.1:0", "--processes", "2")
    with Supervised(*arguments, cwd=tmp_path) as served:
        parent = Path(f"/proc/{served.process.pid}/maps").read_text()
        child = Path(f"/proc/{served.children()[0]}/maps").read_text()
        assert "libpyuring" in child
        assert "libpyuring" not in parent
        targets = [os.readlink(path) for path in Path(f"/proc/{served.process.pid}/fd").iterdir()]
        assert not any("io_uring" in target for target in targets)
        served.stop()


def test_takes_a_given_socket_and_leaves_it_open(tmp_path: Path) -> None:
    write(tmp_path / "application.py", APPLICATION)
    with socket.create_server(("127.0.0.1", 0)) as given:
        fd = given.fileno()
        arguments = ("application:App", "--bind", f"fd:{fd}", "--processes", "2")
        with Supervised(*arguments, cwd=tmp_path, pass_fds=[fd]) as served:
            seen: set[bytes] = set()

            def both_have_answered() -> bool:
                with connect(served.address) as peer:
                    peer.sendall(b"who\n")
                    seen.add(peer.recv(64))
                return len(seen) == 2

            until(both_have_answered, "answers of both processes")
            served.stop()
        with connect(served.address):  # it waits for the next server
            pass


METRICS = """
import json, os, signal, sys, threading
from pyuring.supervisor import Supervisor, SupervisorSettings
sys.path.insert(0, "tests")
import peers as clients
from peers import connect, read_exactly, until

clients.PATIENCE = 25

def look(supervisor):
    address = supervisor.addresses[0]
    peers = [connect(address) for _ in range(40)]
    for peer in peers:
        peer.sendall(b"ping")
        read_exactly(peer, 4)
    until(lambda: supervisor.total().bytes_received == 160)
    found = supervisor.metrics()
    total = supervisor.total()
    serving = [each for each in found if each["pid"]]
    assert len(serving) == 2 and all(each["metrics"]["accepted"] for each in serving), found
    assert sum(each["requests"] for each in serving) == 40, found
    assert all(each["tier"] in range(5) for each in serving), found
    assert total.accepted == total.active == 40, total
    for peer in peers:
        peer.close()
    until(lambda: supervisor.total().active == 0)
    os.kill(serving[0]["pid"], signal.SIGKILL)
    until(lambda: serving[0]["pid"] not in [each["pid"] for each in supervisor.metrics()])
    assert supervisor.total().accepted == 40
    os.kill(os.getpid(), signal.SIGHUP)
    before = {each["pid"] for each in found}
    until(lambda: before.isdisjoint(each["pid"] for each in supervisor.metrics() if each["pid"]))
    assert supervisor.total().accepted == 40
    print("seen", flush=True)

def started(supervisor):
    def run():
        try:
            look(supervisor)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
    threading.Thread(target=run).start()

supervisor = Supervisor(
    SupervisorSettings(bind=["127.0.0.1:0"], processes=2, started=started),
    ["serve", "examples.echo:Echo"],
)
status = supervisor.run()
assert supervisor.total().accepted == 40, supervisor.total()
sys.exit(status)
"""


def test_metrics_add_up_and_outlive_their_processes(run_python: RunPython) -> None:
    done = run_python(METRICS)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "seen\n", done.stderr
