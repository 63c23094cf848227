"""Batches: prepared once, run as one call, with the results in the batch's order."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyuring import Batch, Ring, SetupFlags, SqeFlags


@pytest.fixture(params=[0, SetupFlags.SINGLE_ISSUER | SetupFlags.DEFER_TASKRUN])
def ring(request: pytest.FixtureRequest) -> Iterator[Ring]:
    """A ring of eight entries, far fewer than the batches have."""
    try:
        made = Ring(8, flags=request.param)
    except ValueError:
        pytest.skip("this kernel has no DEFER_TASKRUN (6.1)")
    with made:
        yield made


def test_results_come_in_the_batchs_order_whatever_the_rings_size(
    ring: Ring, tmp_path: Path
) -> None:
    text = os.urandom(1000 * 8 + 3)
    path = tmp_path / "file"
    path.write_bytes(text)
    batch, buffers = Batch(1001), [bytearray(8) for _ in range(1001)]
    with path.open("rb") as file:
        for index, buffer in enumerate(buffers):
            batch[index].prep_read(file.fileno(), buffer, index * 8)
        for _ in range(3):
            for buffer in buffers:
                buffer[:] = bytes(8)
            assert ring.run_batch(batch) == [8] * 1000 + [3]
            assert b"".join(buffers)[: len(text)] == text
        for index in range(1001):
            batch[index].offset = (1000 - index) * 8
        assert ring.run_batch(batch) == [3] + [8] * 1000
        assert buffers[1000] == text[:8]


def test_a_failed_operation_is_a_result_or_with_check_an_error(ring: Ring) -> None:
    batch = Batch(3)
    for index in range(3):
        batch[index].prep_nop()
    batch[1].prep_close(1 << 20)
    assert ring.run_batch(batch) == [0, -errno.EBADF, 0]
    with pytest.raises(OSError, match="operation 1 of the batch") as caught:
        ring.run_batch(batch, True)
    assert caught.value.errno == errno.EBADF


def test_what_cannot_be_run_is_refused_and_nothing_is_started(ring: Ring) -> None:
    batch = Batch(2)
    batch[0].prep_nop()
    with pytest.raises(ValueError, match="not prepared"):
        ring.run_batch(batch)
    batch[1].prep_nop()
    batch[1].flags = SqeFlags.CQE_SKIP_SUCCESS
    with pytest.raises(ValueError, match="CQE_SKIP_SUCCESS"):
        ring.run_batch(batch)
    batch[1].prep_poll_multishot(0, 1)
    with pytest.raises(ValueError, match="multishot"):
        ring.run_batch(batch)
    with pytest.raises(TypeError):
        ring.run_batch([batch])  # type: ignore[arg-type]
    assert ring.peek() is None


def test_a_ring_with_something_in_flight_is_refused_and_loses_nothing(ring: Ring) -> None:
    batch = Batch(1)
    batch[0].prep_nop()
    sqe = ring.get_sqe()
    assert sqe is not None
    sqe.prep_nop()
    sqe.user_data = 7
    with pytest.raises(RuntimeError, match="to itself"):
        ring.run_batch(batch)
    assert ring.submit_and_wait() == 1
    with pytest.raises(RuntimeError, match="to itself"):
        ring.run_batch(batch)
    cqe = ring.pop()
    assert cqe is not None
    assert cqe.user_data == 7
    assert ring.run_batch(batch) == [0]


def test_another_rings_message_stays_for_its_reader() -> None:
    with Ring(8) as ring, Ring(8) as sender:
        message = sender.get_sqe()
        assert message is not None
        message.prep_msg_ring(ring.fileno(), 5, 77, 0)
        sender.submit_and_wait()
        batch = Batch(20)
        for index in range(20):
            batch[index].prep_nop()
        for _ in range(3):
            assert ring.run_batch(batch) == [0] * 20
        cqe = ring.pop()
        assert cqe is not None
        assert (cqe.res, cqe.user_data) == (5, 77)
        assert ring.pop() is None


def test_f48_a_signal_that_raises_cancels_the_batch_and_leaves_a_ring_that_works(
    ring: Ring,
) -> None:
    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        with pytest.raises(RuntimeError, match="running a batch"):
            ring.pop()
        raise Stop

    read, write = os.pipe()
    buffer = bytearray(8)
    batch = Batch(2)
    batch[0].prep_nop()
    batch[1].prep_read(read, buffer, -1)
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        timer = threading.Timer(0.05, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1))
        timer.start()
        with pytest.raises(Stop):
            ring.run_batch(batch)
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    del batch
    buffer.extend(b"x")  # nobody holds it any more: the read was cancelled, not abandoned
    os.write(write, b"12345678")
    assert ring.pop() is None
    again = Batch(1)
    again[0].prep_read(read, into := bytearray(8), -1)
    assert ring.run_batch(again) == [8]
    assert into == b"12345678"
    os.close(read)
    os.close(write)


def test_other_threads_may_prepare_a_batch_that_is_being_submitted(ring: Ring) -> None:
    """On a free-threaded build nothing but the SQE's own lock lies between them."""
    batch, over = Batch(4), threading.Event()
    for sqe in batch:
        sqe.prep_nop()
    zero = os.open("/dev/zero", os.O_RDONLY)

    def prepare(first: int) -> None:
        sqe, memory = batch[first], bytearray(64)
        while not over.is_set():
            sqe.prep_read(zero, memory)
            sqe.hold(bytearray(64))
            sqe.user_data = id(memory)
            assert len(bytes(sqe)) == 64
            sqe.prep_nop()

    threads = [threading.Thread(target=prepare, args=(number % 4,)) for number in range(6)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(300):
            if turn % 2:
                assert set(ring.run_batch(batch)) <= {0, 64}
            else:
                ring.submit_batch(batch, 4)
                assert len(ring.reap()) == 4
    finally:
        over.set()
        for thread in threads:
            thread.join()
        os.close(zero)
