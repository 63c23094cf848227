"""Buffer groups: ring-mapped, incremental, legacy; who holds which buffer (F28, F29, F30, F34)."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from raw import collect, open_ring, prepared, run

import pyuring
from pyuring import BufferGroup, Cqe, Features, RecvSendFlags, Ring, SqeFlags

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def ring() -> Iterator[Ring]:
    with open_ring(32) as ring:
        yield ring


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.fixture(params=["mapped", "legacy"])
def legacy(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "legacy")


def make_group(ring: Ring, *arguments: int, **options: Any) -> BufferGroup:
    try:
        return BufferGroup(ring, *arguments, **options)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        pytest.skip(str(error))


def receive(ring: Ring, sock: socket.socket, group: BufferGroup, length: int = 0) -> Cqe:
    """Carry one receive into the group out."""
    fields = {"flags": SqeFlags.BUFFER_SELECT, "buf_group": group.group_id}
    return run(ring, "recv", sock, length, 0, **fields)


@pytest.mark.parametrize(
    ("group_id", "count", "size"),
    [(-1, 4, 8), (65536, 4, 8), (0, 0, 8), (0, 3, 8), (0, 65536, 8), (0, 4, 0), (0, 4, 1 << 32)],
)
def test_f53_count_and_size_are_checked(ring: Ring, group_id: int, count: int, size: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        BufferGroup(ring, group_id, count, size)
    with pytest.raises(TypeError):
        BufferGroup("ring", 0, 4, 8)  # type: ignore[arg-type]


def test_a_group_exists_once(ring: Ring) -> None:
    with BufferGroup(ring, 5, 4, 8), pytest.raises(FileExistsError, match="group 5"):
        BufferGroup(ring, 5, 4, 8)
    BufferGroup(ring, 5, 4, 8).close()


def test_a_group_of_the_largest_size(ring: Ring) -> None:
    with BufferGroup(ring, 0, 32768, 1) as group:
        assert group.available_count == 32768


def test_f28_f29_buffers_come_back_out_of_order_over_many_wraps(
    ring: Ring, pair: Pair, legacy: bool, rng: random.Random
) -> None:
    with BufferGroup(ring, 7, 8, 32, legacy=legacy) as group:
        assert group.legacy == legacy
        held: list[tuple[int, bytes]] = []
        for number in range(1000):
            text = b"message %d" % number
            pair[1].send(text)
            cqe = receive(ring, pair[0], group)
            with group.view(cqe) as data:
                assert data == text
            assert cqe.buffer_id not in [buf_id for buf_id, _ in held]
            held.append((cqe.buffer_id or 0, text))
            assert group.available_count == 8 - len(held)
            while len(held) > rng.randint(0, 7):
                buf_id, expected = held.pop(rng.randrange(len(held)))
                with group.get_buffer(buf_id, len(expected)) as data:
                    assert data == expected
                group.return_buffer(buf_id)
        group.return_buffers(buf_id for buf_id, _ in held)
        assert group.available_count == 8


def test_f29_a_drained_group_answers_enobufs_and_recovers(
    ring: Ring, pair: Pair, legacy: bool
) -> None:
    with BufferGroup(ring, 65535, 2, 4, legacy=legacy) as group:
        pair[1].send(b"aaaabbbbcccc")
        first, second = receive(ring, pair[0], group), receive(ring, pair[0], group)
        assert {first.buffer_id, second.buffer_id} == {0, 1}
        assert receive(ring, pair[0], group).res == -errno.ENOBUFS
        group.return_buffers([second.buffer_id or 0, first.buffer_id or 0])
        assert receive(ring, pair[0], group).res == 4


def test_f30_a_view_pins_its_buffer(ring: Ring, pair: Pair, legacy: bool) -> None:
    with BufferGroup(ring, 1, 2, 16, legacy=legacy) as group:
        pair[1].send(b"secret")
        cqe = receive(ring, pair[0], group)
        buf_id = cqe.buffer_id
        assert buf_id is not None
        view = group.view(cqe)
        part = view[2:4]
        view.release()
        with pytest.raises(pyuring.BufferInUseError):
            group.return_buffer(buf_id)
        with pytest.raises(BufferError):
            group.return_buffers([buf_id])
        for _ in range(5):  # the other buffer goes round; the pinned one keeps its bytes
            pair[1].send(b"others")
            other = receive(ring, pair[0], group)
            assert other.buffer_id != buf_id
            group.return_buffer(other.buffer_id or 0)
        assert part == b"cr"
        part.release()
        group.return_buffer(buf_id)


def test_f30_a_view_outlives_group_and_ring(pair: Pair) -> None:
    ring = open_ring()
    group = BufferGroup(ring, 1, 2, 16)
    pair[1].send(b"secret")
    view = group.view(receive(ring, pair[0], group))
    group.close()
    ring.close()
    del group, ring
    assert view == b"secret"


def test_returning_twice_raises(ring: Ring, pair: Pair, legacy: bool) -> None:
    with BufferGroup(ring, 1, 2, 16, legacy=legacy) as group:
        with pytest.raises(pyuring.BufferNotHeldError):
            group.return_buffer(0)
        with pytest.raises(pyuring.BufferNotHeldError):
            group.get_buffer(0)
        pair[1].send(b"x")
        buf_id = receive(ring, pair[0], group).buffer_id
        assert buf_id is not None
        with pytest.raises(ValueError, match="no such buffer"):
            group.return_buffers([buf_id, 2])
        group.return_buffers([buf_id, buf_id])
        with pytest.raises(pyuring.BufferNotHeldError):
            group.return_buffer(buf_id)
        assert group.available_count == 2
        with pytest.raises(ValueError, match="length"):
            group.get_buffer(buf_id, 17)


def test_f34_incremental_buffers_give_each_byte_once(rng: random.Random, pair: Pair) -> None:
    with open_ring() as ring, make_group(ring, 1, 4, 100, incremental=True) as group:
        sent = received = b""
        for _ in range(500):
            text = rng.randbytes(rng.randint(1, 60))
            pair[1].send(text)
            sent += text
            got = 0
            while got < len(text):
                cqe = receive(ring, pair[0], group)
                got += cqe.result()
                with group.view(cqe) as data:
                    received += data
                if group.is_done(cqe):
                    group.return_buffer(cqe.buffer_id or 0)
        assert received == sent
        assert group.available_count == 4


def test_f34_bundles_cover_several_buffers(ring: Ring, rng: random.Random, pair: Pair) -> None:
    if Features.RECVSEND_BUNDLE not in ring.features:
        pytest.skip("this kernel lacks bundles (6.10)")
    with BufferGroup(ring, 1, 16, 10) as group:
        for _ in range(300):
            text = rng.randbytes(rng.randint(1, 150))
            pair[1].send(text)
            received, used = b"", []
            while len(received) < len(text):
                fields = {"flags": SqeFlags.BUFFER_SELECT, "buf_group": 1}
                cqe = run(ring, "recv", pair[0], 0, 0, ioprio=RecvSendFlags.BUNDLE, **fields)
                views = group.views(cqe)
                received += b"".join(views)
                used += group.bundle_ids(cqe.buffer_id or 0, cqe.res)
                for view in views:
                    view.release()
            assert received == text
            assert group.available_count == 16 - len(used)
            rng.shuffle(used)
            group.return_buffers(used)
        assert group.available_count == 16


def test_f50_memory_outlives_a_group_that_is_closed_in_flight(ring: Ring, pair: Pair) -> None:
    group = BufferGroup(ring, 1, 4, 64)
    fields = {"flags": SqeFlags.BUFFER_SELECT, "buf_group": 1, "user_data": 1}
    prepared(ring, "recv_multishot", pair[0], **fields)
    ring.submit()
    group.close()
    with pytest.raises(pyuring.BufferGroupError, match="closed"):
        group.get_buffer(0)
    pair[1].send(b"late")
    (cqe,) = collect(ring, 1)
    assert cqe.res == -errno.ENOBUFS
    with BufferGroup(ring, 1, 4, 64) as group:
        assert group.available_count == 4


def test_a_forgotten_group_warns(ring: Ring) -> None:
    groups = [BufferGroup(ring, 1, 4, 64)]
    with pytest.warns(ResourceWarning, match="unclosed buffer group"):
        groups.clear()


def test_f9_a_group_belongs_to_the_rings_thread(ring: Ring) -> None:
    import threading

    caught: list[BaseException] = []
    with BufferGroup(ring, 1, 4, 64) as group:

        def use() -> None:
            try:
                group.return_buffer(0)
            except pyuring.WrongThreadError as error:
                caught.append(error)

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
    assert caught
