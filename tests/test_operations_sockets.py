"""A live test for each socket operation that the kernel carries out."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator

import pytest
from raw import collect, need, open_ring, prepared, result, run

import pyuring
from pyuring import BufferGroup, Message, Op, RecvSendFlags, Ring, SqeFlags

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def ring() -> Iterator[Ring]:
    with open_ring() as ring:
        yield ring


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.fixture
def tcp() -> Iterator[Pair]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    with client, accepted:
        yield client, accepted


def test_a_server_without_python_sockets(ring: Ring) -> None:
    need(ring, Op.BIND)
    server = result(ring, "socket", socket.AF_INET, socket.SOCK_STREAM)
    assert result(ring, "bind", server, pyuring.pack_address(("127.0.0.1", 0))) == 0
    assert result(ring, "listen", server, 8) == 0
    with socket.socket(fileno=server) as listener, socket.socket() as client:
        address = pyuring.pack_address(listener.getsockname())
        room = bytearray(128)
        prepared(ring, "accept", listener, room, socket.SOCK_CLOEXEC, user_data=1)
        prepared(ring, "connect", client, address, user_data=2)
        ring.submit()
        done = {c.user_data: c.result() for c in collect(ring, 2)}
        assert done[2] == 0
        assert pyuring.unpack_address(room) == client.getsockname()
        with socket.socket(fileno=done[1]) as accepted:
            assert result(ring, "shutdown", client, socket.SHUT_WR) == 0
            assert accepted.recv(1) == b""


def test_multishot_accept(ring: Ring) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        prepared(ring, "multishot_accept", server, None, socket.SOCK_CLOEXEC, user_data=3)
        ring.submit()
        for _ in range(3):
            with socket.create_connection(server.getsockname()):
                (cqe,) = collect(ring, 1)
                assert (cqe.user_data, cqe.more) == (3, True)
                socket.socket(fileno=cqe.result()).close()
        prepared(ring, "cancel", 3, user_data=4)
        ring.submit()
        seen = {c.user_data: (c.res, c.more) for c in collect(ring, 2)}
        assert seen == {3: (-errno.ECANCELED, False), 4: (0, False)}


def test_f18_accepts_into_the_fixed_files(ring: Ring) -> None:
    ring.register_files(4)
    ring.register_file_alloc_range(2, 2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        arguments = (server, None, socket.SOCK_CLOEXEC, 0)
        assert run(ring, "accept_direct", *arguments).res == -errno.EINVAL
        for _ in range(40):
            with socket.create_connection(address) as client:
                client.sendall(b"hello")
                assert result(ring, "accept_direct", server, None, 0, 1) == 0
                buffer = bytearray(5)
                assert result(ring, "recv", 1, buffer, flags=SqeFlags.FIXED_FILE) == 5
                assert run(ring, "close", 1, flags=SqeFlags.FIXED_FILE).res == -errno.EBADF
                assert result(ring, "close_direct", 1) == 0
        prepared(ring, "multishot_accept_direct", server, user_data=7)
        ring.submit()
        slots = set()
        for _ in range(2):
            with socket.create_connection(address):
                (cqe,) = collect(ring, 1)
                slots.add(cqe.result())
        assert slots == {2, 3}
    assert result(ring, "close_direct", 2) == 0
    assert result(ring, "socket_direct", socket.AF_INET, socket.SOCK_STREAM, 0, 0) == 0
    assert result(ring, "socket_direct_alloc", socket.AF_INET, socket.SOCK_STREAM) == 2


def test_send_and_receive(ring: Ring, pair: Pair) -> None:
    one, other = pair
    assert result(ring, "send", one, b"hello") == 5
    buffer = bytearray(9)
    assert result(ring, "recv", other, buffer, socket.MSG_PEEK) == 5
    assert result(ring, "recv", other, buffer) == 5
    assert buffer[:5] == b"hello"


def test_sendto_and_recvmsg(ring: Ring) -> None:
    with (
        socket.socket(type=socket.SOCK_DGRAM) as one,
        socket.socket(type=socket.SOCK_DGRAM) as other,
    ):
        other.bind(("127.0.0.1", 0))
        one.bind(("127.0.0.1", 0))
        address = pyuring.pack_address(other.getsockname())
        assert result(ring, "sendto", one, b"datagram", 0, address) == 8
        room, part = bytearray(128), bytearray(4)
        message = Message([part], room, bytearray(32))
        assert result(ring, "recvmsg", other, message) == 4
        assert part == b"data"
        assert message.flags & socket.MSG_TRUNC
        assert pyuring.unpack_address(room[: message.address_length]) == one.getsockname()
        assert message.control_length == 0


def test_sendmsg_passes_descriptors(ring: Ring, pair: Pair) -> None:
    control = struct.pack("=QiiI4x", 20, socket.SOL_SOCKET, socket.SCM_RIGHTS, pair[0].fileno())
    message = Message([b"he", b"llo"], None, control)
    assert result(ring, "sendmsg", pair[0], message) == 5
    data, fds, _, _ = socket.recv_fds(pair[1], 10, 1)
    assert data == b"hello"
    socket.socket(fileno=fds[0]).close()


def test_recvmsg_multishot(ring: Ring) -> None:
    with (
        socket.socket(type=socket.SOCK_DGRAM) as one,
        socket.socket(type=socket.SOCK_DGRAM) as other,
        BufferGroup(ring, 1, 4, 256) as group,
    ):
        other.bind(("127.0.0.1", 0))
        message = Message((), bytearray(16))
        select = {"flags": SqeFlags.BUFFER_SELECT, "buf_group": 1}
        prepared(ring, "recvmsg_multishot", other, message, user_data=1, **select)
        ring.submit()
        for text in (b"first", b"second one"):
            one.sendto(text, other.getsockname())
            (cqe,) = collect(ring, 1)
            assert cqe.more
            with group.view(cqe) as data:
                # struct io_uring_recvmsg_out, the name, the payload
                name, _, payload, _ = struct.unpack_from("=IIII", data)
                assert (name, payload) == (16, len(text))
                assert data[32 : 32 + payload] == text
            group.return_buffer(cqe.buffer_id or 0)
        prepared(ring, "cancel", 1, user_data=2)
        ring.submit()
        list(collect(ring, 2))


def test_recv_multishot_into_provided_buffers(ring: Ring, pair: Pair) -> None:
    with BufferGroup(ring, 1, 4, 8) as group:
        fields = {"flags": SqeFlags.BUFFER_SELECT, "buf_group": 1, "user_data": 5}
        prepared(ring, "recv_multishot", pair[0], **fields)
        ring.submit()
        pair[1].sendall(b"0123456789")
        text = b""
        while len(text) < 10:
            (cqe,) = collect(ring, 1)
            assert cqe.more
            with group.view(cqe) as data:
                text += data
            group.return_buffer(cqe.buffer_id or 0)
        assert text == b"0123456789"
        pair[1].close()
        (cqe,) = collect(ring, 1)
        assert (cqe.res, cqe.more) == (0, False)
        assert group.available_count == 4


@pytest.mark.parametrize("name", ["send_zc", "sendmsg_zc", "send_zc_fixed"])
def test_f19_zero_copy_holds_the_buffer_until_the_notification(
    ring: Ring, tcp: Pair, name: str
) -> None:
    need(ring, Op.SENDMSG_ZC if "msg" in name else Op.SEND_ZC)
    memory = bytearray(b"x" * 65536)
    if name == "sendmsg_zc":
        sqe = prepared(ring, name, tcp[0], Message([memory]))
    elif name == "send_zc":
        sqe = prepared(ring, name, tcp[0], memory, 0, RecvSendFlags.SEND_ZC_REPORT_USAGE)
    else:
        ring.register_buffers([memory])
        sqe = prepared(ring, name, tcp[0], memory, 0, 0, 0)
    sqe.user_data = -7
    del sqe
    ring.submit()
    (first,) = collect(ring, 1)
    assert first.res > 0
    assert first.more
    assert not first.notification
    with pytest.raises(BufferError):
        memory.append(1)
    received = 0
    while received < first.res:
        received += len(tcp[1].recv(65536))
    (last,) = collect(ring, 1)
    assert (last.notification, last.more, last.user_data) == (True, False, -7)
    if name == "send_zc":  # the loopback copies: the bit is 1 << 31
        assert last.res % 2**32 == pyuring.NOTIF_USAGE_ZC_COPIED
    if name == "send_zc_fixed":
        ring.unregister_buffers()
    memory.append(1)


def test_sendmsg_zc_fixed(ring: Ring, tcp: Pair) -> None:
    need(ring, Op.WRITEV_FIXED)  # the same kernel, 6.15
    memory = bytearray(b"x" * 4096)
    ring.register_buffers([memory])
    prepared(ring, "sendmsg_zc_fixed", tcp[0], Message([memory]), 0, 0)
    ring.submit()
    assert [c.res for c in collect(ring, 1)] == [4096]
    assert len(tcp[1].recv(4096, socket.MSG_WAITALL)) == 4096
    assert [c.notification for c in collect(ring, 1)] == [True]


def test_send_bundle(ring: Ring, pair: Pair) -> None:
    if pyuring.Features.RECVSEND_BUNDLE not in ring.features:
        pytest.skip("this kernel lacks bundles (6.10)")
    with BufferGroup(ring, 1, 4, 8) as group:
        fields = {"flags": SqeFlags.BUFFER_SELECT, "buf_group": 1}
        prepared(ring, "send_bundle", pair[0], 0, **fields)
        ring.submit()
        (cqe,) = collect(ring, 1)
        assert cqe.res == 32
        assert len(pair[1].recv(99)) == 32
        assert group.available_count == 0
        group.return_buffers(range(4))


def test_socket_commands(ring: Ring, tcp: Pair) -> None:
    need(ring, Op.URING_CMD)
    inquiry, getsockopt = 0, 2
    tcp[1].sendall(b"12345")
    assert result(ring, "poll_add", tcp[0], 1)
    assert result(ring, "cmd_sock", inquiry, tcp[0], 0, 0) == 5
    value = bytearray(4)
    level, option = socket.SOL_SOCKET, socket.SO_TYPE
    assert result(ring, "cmd_sock", getsockopt, tcp[0], level, option, value) == 4
    assert struct.unpack("=i", value) == (socket.SOCK_STREAM,)
    room = bytearray(128)
    cqe = run(ring, "cmd_getsockname", tcp[0], room, 0)
    if cqe.res == -errno.EOPNOTSUPP:
        pytest.skip("this kernel lacks the command getsockname (6.19)")
    assert pyuring.unpack_address(room) == tcp[0].getsockname()


def test_zero_copy_receive_needs_a_registered_queue(ring: Ring, tcp: Pair) -> None:
    need(ring, Op.RECV_ZC)  # a network card's own queue: no machine of ours has one
    assert run(ring, "recv_zc", tcp[0], 0, 0).res == -errno.EINVAL


@pytest.mark.parametrize(
    "address",
    [("127.0.0.1", 80), ("::1", 443, 5, 7), "/run/socket", b"\0abstract"],
)
def test_addresses_round_trip(address: tuple[str, int] | str | bytes) -> None:
    packed = pyuring.pack_address(address)
    expected = address.encode() if isinstance(address, str) else address
    assert pyuring.unpack_address(packed) == expected


@pytest.mark.parametrize("address", [("localhost", 1), ("1.2.3.4", 70000), ("a",), "x" * 108, 7])
def test_f53_addresses_are_checked(address: object) -> None:
    with pytest.raises((TypeError, ValueError, OSError)):
        pyuring.pack_address(address)  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [b"", b"\2", b"\2\0", b"\n\0" + bytes(20)])
def test_f53_an_address_that_is_cut_off_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="end of the memory"):
        pyuring.unpack_address(data)


def test_f53_a_number_that_does_not_fit_a_registration_is_refused(ring: Ring) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        ring.register_files([1 << 40])
    with pytest.raises(TypeError, match="whole number"):
        ring.register_files(["x"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="does not fit"):
        ring.limit_workers(-1)
