"""A connection as the application meets it: asyncio's interface, flow control, names, ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import sys
import threading
from typing import Any

import pytest
from peers import (
    Notebook,
    Notes,
    connect,
    on_worker,
    read_exactly,
    read_to_end,
    reset,
    until,
)

from pyuring import BufferedProtocol, Engine, Transport
from pyuring.testing import serve

MIB = 1 << 20


def test_events_come_in_asyncios_order(engine: Engine, notebook: Notebook) -> None:
    with connect(engine.address) as peer:
        protocol = notebook.expect("made")
        assert isinstance(protocol.transport, Transport)
        peer.sendall(b"one")
        assert notebook.expect("data") == b"one"
        peer.shutdown(socket.SHUT_WR)
        notebook.expect("eof")
        assert notebook.expect("lost") is None
        assert read_to_end(peer) == b""


def test_an_asyncio_protocol_runs_unchanged() -> None:
    class Echo(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.writelines([data, b"!"])

    with serve(Echo) as engine, connect(engine.address) as peer:
        peer.sendall(b"hello")
        assert read_exactly(peer, 6) == b"hello!"


def test_a_buffered_protocol_receives_into_its_own_memory() -> None:
    class Buffered(BufferedProtocol):
        def connection_made(self, transport: Transport) -> None:
            self.transport = transport
            self.memory = bytearray(7)

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.memory

        def buffer_updated(self, nbytes: int) -> None:
            self.transport.write(self.memory[:nbytes])

    text = bytes(range(256)) * 40
    with serve(Buffered) as engine, connect(engine.address) as peer:
        peer.sendall(text)
        assert read_exactly(peer, len(text)) == text


def test_write_takes_what_shows_bytes_and_copies_what_can_change(
    engine: Engine, notebook: Notebook
) -> None:
    with connect(engine.address) as peer:
        protocol = notebook.expect("made")
        changing = bytearray(b"before")

        def write() -> None:
            protocol.transport.write(changing)
            changing[:] = b"after!"
            protocol.transport.write(memoryview(b"view"))
            protocol.transport.writelines([b"a", bytearray(b"b"), memoryview(b"c")])
            protocol.transport.write(b"")

        on_worker(protocol, write)
        assert read_exactly(peer, 13) == b"beforeviewabc"
        for wrong in ("text", None, 5):
            with pytest.raises(TypeError):
                on_worker(protocol, lambda wrong=wrong: protocol.transport.write(wrong))
        with pytest.raises(TypeError):
            on_worker(protocol, lambda: protocol.transport.writelines([b"not sent", "text"]))
        on_worker(protocol, lambda: protocol.transport.write(b"."))
        assert read_exactly(peer, 1) == b"."


def test_a_written_object_lives_until_it_is_sent(engine: Engine, notebook: Notebook) -> None:
    with connect(engine.address) as peer:
        protocol = notebook.expect("made")
        data = bytes(1000)
        before = sys.getrefcount(data)
        for _ in range(10):
            on_worker(protocol, lambda: protocol.transport.write(data))
        read_exactly(peer, 10_000)
        until(lambda: sys.getrefcount(data) == before, "the reference's release")


def test_writes_from_another_thread_arrive_in_order(engine: Engine, notebook: Notebook) -> None:
    with connect(engine.address) as peer:
        transport = notebook.expect("made").transport
        lines = [b"%d\n" % number for number in range(2000)]
        for line in lines:
            transport.write(line)
        transport.close()
        assert read_to_end(peer) == b"".join(lines)


def test_after_the_end_everything_still_works_and_does_nothing(
    engine: Engine, notebook: Notebook
) -> None:
    connect(engine.address).close()
    transport = notebook.expect("made").transport
    notebook.skip_to("lost")
    transport.write(b"x")
    transport.writelines([b"x"])
    transport.write_eof()
    transport.pause_reading()
    transport.resume_reading()
    transport.close()
    transport.abort()
    assert transport.is_closing()
    assert transport.fileno() == -1
    assert transport.get_write_buffer_size() == 0
    assert transport.get_extra_info("peername", "gone") == "gone"
    assert transport.get_extra_info("socket") is None
    assert "closed" in repr(transport)


def test_the_socket_is_asked_when_you_ask(engine: Engine, notebook: Notebook) -> None:
    with connect(engine.address) as peer:
        protocol = notebook.expect("made")
        info = protocol.transport.get_extra_info
        assert info("peername") == peer.getsockname()
        assert info("sockname") == peer.getpeername()
        assert info("worker") is protocol.worker is engine.workers[0]
        assert info("cipher") is None
        assert "open" in repr(protocol.transport)
        assert info("cipher", 5) == 5
        sock = info("socket")
        assert sock.family == socket.AF_INET
        assert sock.type == socket.SOCK_STREAM
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        peer.sendall(b"still open")
        assert notebook.expect("data") == b"still open"


def test_the_peers_name_is_remembered_after_the_end() -> None:
    class Named(Notes):
        def connection_made(self, transport: Transport) -> None:
            super().connection_made(transport)
            transport.get_extra_info("peername")

        def connection_lost(self, exc: BaseException | None) -> None:
            self.events.put(("lost", self.transport.get_extra_info("peername")))

    notebook = Notebook()
    named = type("Named", (Named,), {"events": notebook.events})
    with serve(named) as engine, connect(engine.address) as peer:
        name = peer.getsockname()
        peer.close()
        assert notebook.skip_to("lost") == name


def test_f22_accepted_sockets_neither_block_nor_are_inherited(
    engine: Engine, notebook: Notebook
) -> None:
    with connect(engine.address):
        number = notebook.expect("made").transport.fileno()
        assert fcntl.fcntl(number, fcntl.F_GETFL) & os.O_NONBLOCK
        assert fcntl.fcntl(number, fcntl.F_GETFD) & fcntl.FD_CLOEXEC


def test_f60_every_client_is_told_apart(engine: Engine, notebook: Notebook) -> None:
    places = [(f"127.0.0.{number}", 0) for number in range(1, 201)]
    peers = [connect(engine.address, place) for place in places]
    found = {notebook.expect("made").transport.get_extra_info("peername") for _ in peers}
    assert found == {peer.getsockname() for peer in peers}
    for peer in peers:
        peer.close()


def test_f33_a_paused_reader_holds_a_fast_sender_back() -> None:
    class Slow(Notes):
        def connection_made(self, transport: Transport) -> None:
            super().connection_made(transport)
            transport.pause_reading()

    notebook = Notebook()
    slow = type("Slow", (Slow,), {"events": notebook.events})
    text = os.urandom(MIB) * 8
    with serve(slow) as engine, connect(engine.address) as peer:
        protocol = notebook.expect("made")
        assert not protocol.transport.is_reading()
        peer.setblocking(False)
        sent = 0
        while sent < 64 * MIB:  # the kernel's buffers fill up, ours stay empty
            try:
                sent += peer.send(text[sent % len(text) :])
            except BlockingIOError:
                break
        assert sent < 64 * MIB
        assert notebook.events.empty()
        on_worker(protocol, protocol.transport.resume_reading)
        got = b""
        while len(got) < sent:
            got += notebook.expect("data")
        assert got == (text * 8)[:sent]


def test_pause_and_resume_between_pieces_keeps_their_order() -> None:
    class Stutter(Notes):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()
            self.worker.call_later(0.001, self.transport.resume_reading)

    notebook = Notebook()
    text = os.urandom(MIB)
    stutter = type("Stutter", (Stutter,), {"events": notebook.events})
    with serve(stutter) as engine, connect(engine.address) as peer:
        notebook.expect("made")
        threading.Thread(target=peer.sendall, args=(text,), daemon=True).start()
        got = b""
        while len(got) < len(text):
            got += notebook.expect("data")
        assert got == text


def test_f37_a_peer_that_does_not_read_pauses_the_writer_then_loses() -> None:
    notebook = Notebook()
    limits = {"write_high_water": 1000, "write_low_water": 100, "send_queue_pause": 1 * MIB}
    with (
        serve(notebook.protocol, send_queue_limit=8 * MIB, **limits) as engine,
        connect(engine.address) as peer,
    ):
        protocol = notebook.expect("made")
        transport = protocol.transport
        assert transport.get_write_buffer_limits() == (100, 1000)
        on_worker(protocol, lambda: transport.write(bytes(6 * MIB)))
        notebook.expect("pause")
        assert transport.get_write_buffer_size() > 0
        assert len(read_exactly(peer, 6 * MIB)) == 6 * MIB
        notebook.expect("resume")
        assert transport.get_write_buffer_size() <= 100
        for _ in range(20):
            on_worker(protocol, lambda: transport.write(bytes(MIB)))
        assert isinstance(notebook.skip_to("lost"), OSError)
        assert engine.metrics().send_queue_high_water <= 9 * MIB


def test_limits_of_a_transport_are_its_own(engine: Engine, notebook: Notebook) -> None:
    with connect(engine.address):
        protocol = notebook.expect("made")
        transport = protocol.transport
        on_worker(protocol, lambda: transport.set_write_buffer_limits(high=4000))
        assert transport.get_write_buffer_limits() == (1000, 4000)
        on_worker(protocol, lambda: transport.set_write_buffer_limits(low=10))
        assert transport.get_write_buffer_limits() == (10, 40)
        with pytest.raises(ValueError, match="high"):
            transport.set_write_buffer_limits(high=1, low=2)


def test_f36_a_peer_that_resets_ends_the_queue_once(engine: Engine, notebook: Notebook) -> None:
    peer = connect(engine.address)
    protocol = notebook.expect("made")
    on_worker(protocol, lambda: protocol.transport.write(bytes(10 * MIB)))
    notebook.expect("pause")
    assert read_exactly(peer, 1000) == bytes(1000)
    reset(peer)
    assert isinstance(notebook.skip_to("lost"), ConnectionError)
    assert protocol.transport.get_write_buffer_size() == 0
    until(lambda: engine.metrics().active == 0)
    assert notebook.events.empty()


def test_f40_a_reply_survives_input_that_nobody_reads() -> None:
    class Hasty(Notes):
        def data_received(self, data: bytes) -> None:
            self.transport.write(b"reply" * 1000)
            self.transport.close()

    notebook = Notebook()
    hasty = type("Hasty", (Hasty,), {"events": notebook.events})
    with serve(hasty, linger_timeout=2.0) as engine, connect(engine.address) as peer:
        peer.sendall(b"request")
        notebook.skip_to("lost")
        peer.sendall(bytes(100_000))  # would be answered by a reset, were the socket closed
        assert read_to_end(peer) == b"reply" * 1000


def test_f55_closing_tells_the_peer_although_a_receive_is_armed(
    engine: Engine, notebook: Notebook
) -> None:
    with connect(engine.address) as peer:
        protocol = notebook.expect("made")
        on_worker(protocol, protocol.transport.close)
        peer.settimeout(0.1)
        assert peer.recv(1) == b""


@pytest.mark.parametrize("end", ["close", "abort"])
def test_both_ways_of_closing_tell_both_sides(engine: Engine, notebook: Notebook, end: str) -> None:
    with connect(engine.address) as peer:
        protocol = notebook.expect("made")
        on_worker(protocol, getattr(protocol.transport, end))
        assert protocol.transport.is_closing()
        assert notebook.expect("lost") is None
        try:
            assert read_to_end(peer) == b""
        except ConnectionResetError:
            assert end == "abort"


def test_f56_a_half_closed_client_gets_its_whole_reply() -> None:
    notebook = Notebook(keep_open=True)
    with serve(notebook.protocol) as engine, connect(engine.address) as peer:
        protocol = notebook.expect("made")
        peer.sendall(b"request")
        peer.shutdown(socket.SHUT_WR)
        notebook.skip_to("eof")
        on_worker(protocol, lambda: protocol.transport.write(bytes(3 * MIB)))
        on_worker(protocol, protocol.transport.close)
        assert len(read_to_end(peer)) == 3 * MIB


def test_write_eof_ends_one_direction_only(engine: Engine, notebook: Notebook) -> None:
    with connect(engine.address) as peer:
        protocol = notebook.expect("made")
        assert protocol.transport.can_write_eof()

        def finish() -> None:
            protocol.transport.write(b"last")
            protocol.transport.write_eof()

        on_worker(protocol, finish)
        assert read_to_end(peer) == b"last"
        with pytest.raises(RuntimeError, match="write_eof"):
            on_worker(protocol, lambda: protocol.transport.write(b"more"))
        peer.sendall(b"heard")
        assert notebook.expect("data") == b"heard"


def test_a_protocol_can_be_replaced(engine: Engine, notebook: Notebook) -> None:
    other = Notebook()
    with connect(engine.address) as peer:
        protocol = notebook.expect("made")
        successor = other.protocol()
        on_worker(protocol, lambda: protocol.transport.set_protocol(successor))
        assert protocol.transport.get_protocol() is successor
        peer.sendall(b"x")
        assert other.expect("data") == b"x"
        with pytest.raises(TypeError, match="not a protocol"):
            on_worker(protocol, lambda: protocol.transport.set_protocol(object()))
