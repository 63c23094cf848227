"""The raw ring: set-up, submission, waiting, batches, registrations."""

from __future__ import annotations

import errno
import os
import random
import select
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from raw import DEFER, collect, need, open_ring, prepared, result

import pyuring
from pyuring import Batch, Op, Ring, SetupFlags, SqeFlags


def test_set_up_reports_what_the_kernel_made() -> None:
    with open_ring(100, cq_entries=1000, flags=SetupFlags.CLAMP) as ring:
        assert (ring.sq_entries, ring.cq_entries) == (128, 1024)
        assert SetupFlags.CLAMP in ring.flags
        assert pyuring.Features.NODROP in ring.features
        assert not os.get_inheritable(ring.fileno())
        assert Op.NOP in ring.operations()


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"flags": SetupFlags.DEFER_TASKRUN}, "needs SINGLE_ISSUER"),
        ({"flags": SetupFlags.SQPOLL | SetupFlags.COOP_TASKRUN}, "excludes COOP_TASKRUN"),
        ({"flags": SetupFlags.SQPOLL | DEFER}, "excludes DEFER_TASKRUN"),
        ({"flags": SetupFlags.TASKRUN_FLAG}, "needs COOP_TASKRUN"),
        ({"flags": SetupFlags.HYBRID_IOPOLL}, "needs IOPOLL"),
        ({"flags": SetupFlags.NO_MMAP}, "not supported"),
        ({"flags": SetupFlags.CQE_MIXED}, "not supported"),
        ({"flags": SetupFlags.CQSIZE}, "needs cq_entries"),
        ({"flags": SetupFlags.ATTACH_WQ}, "needs attach"),
        ({"sq_thread_cpu": 0}, "needs SQPOLL"),
        ({"cq_entries": 4}, "at least entries"),
    ],
)
def test_f13_an_impossible_combination_names_its_rule(options: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Ring(8, **options)
    with pytest.raises(ValueError, match="entries"):
        Ring(0)


def test_f16_no_memory_names_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ring, "_setup", lambda *_: -errno.ENOMEM)
    monkeypatch.setattr(Ring, "closed", True)
    with pytest.raises(pyuring.RingUnavailableError, match="RLIMIT_MEMLOCK") as caught:
        Ring(8)
    assert caught.value.errno == errno.ENOMEM
    assert "ulimit -l" in caught.value.remedy


def test_attached_rings_and_polling_threads() -> None:
    with (
        open_ring(8, flags=SetupFlags.SQPOLL, sq_thread_idle=0.01, sq_thread_cpu=0) as one,
        Ring(8, attach=one, flags=SetupFlags.SQPOLL) as other,
    ):
        assert result(other, "nop") == 0


def test_operations_complete_under_every_set_up(any_ring: Ring) -> None:
    done = []
    for number in range(50):
        sqe = any_ring.get_sqe()
        while sqe is None:  # SQPOLL's thread says in its own time that it has taken them
            any_ring.submit()  # no wait: all may have completed before it says so
            done += [c.user_data for c in any_ring.completions()]
            sqe = any_ring.get_sqe()
        sqe.prep_nop()
        sqe.user_data = number
    any_ring.submit()
    while len(done) < 50:
        any_ring.submit_and_wait(1)
        done += [c.user_data for c in any_ring.completions()]
    assert sorted(done) == list(range(50))
    assert (any_ring.in_flight, any_ring.sq_pending) == (0, 0)


def test_f1_a_refused_sqe_does_not_stop_the_batch(ring: Ring) -> None:
    for number in range(5):
        sqe = prepared(ring, "nop", user_data=number)
        if number == 2:
            sqe.personality = 4242  # nobody's credentials: refused when it is prepared
    ring.submit()
    assert ring.sq_pending == 0
    seen = {c.user_data: c.res for c in collect(ring, 5)}
    assert seen == {0: 0, 1: 0, 2: -errno.EINVAL, 3: 0, 4: 0}


def test_f2_a_full_queue_says_so_and_takes_more_after_a_submit() -> None:
    with open_ring(4, cq_entries=64) as ring:
        for _ in range(3):
            for number in range(4):
                prepared(ring, "nop", user_data=number)
            assert ring.get_sqe() is None
            assert ring.submit() == 4
        assert len(ring.reap()) == 12


def test_f3_f4_a_polling_thread_runs_whole_sqes_and_is_woken() -> None:
    with open_ring(8, flags=SetupFlags.SQPOLL, sq_thread_idle=0.001, cq_entries=64) as ring:
        for number in range(2000):
            prepared(ring, "nop", user_data=number)
            if number % 500 == 0:
                while not ring.sq_flags & 1:  # until the thread asks to be woken
                    select.select([], [], [], 0.001)
            ring.submit_and_wait(1)
            assert [c.user_data for c in ring.completions()] == [number]
        ring.wakeup_sqpoll()


@pytest.mark.parametrize("method", ["peek", "pop", "reap", "completions"])
def test_f5_deferred_work_is_seen_by_every_way_of_reaping(method: str) -> None:
    one, other = socket.socketpair()
    with one, other, open_ring(8, flags=DEFER) as ring:
        prepared(ring, "recv", one, bytearray(1), user_data=1)
        ring.submit()
        other.send(b"x")
        deadline = time.monotonic() + 10
        seen: Any = None
        while not seen and time.monotonic() < deadline:
            found = getattr(ring, method)()
            seen = list(found) if method == "completions" else found
        assert seen


def test_f6_an_overflowing_queue_loses_nothing() -> None:
    with open_ring(4, cq_entries=4) as ring:
        for number in range(0, 64, 4):
            for part in range(4):
                prepared(ring, "nop", user_data=number + part)
            ring.submit()
        assert ring.sq_flags & 2
        assert [c.user_data for c in ring.completions()] == list(range(64))
        assert ring.overflow_flushes > 0
        assert ring.cq_dropped == 0


def test_f8_f48_signals_are_handled_during_a_wait(ring: Ring) -> None:
    count = 0

    def tick(*_: object) -> None:
        nonlocal count
        count += 1

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        prepared(ring, "timeout", 0.1, user_data=1)
        assert ring.submit_and_wait(1) == 1
        assert ring.wait_cqe().user_data == 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert count > 10


def test_f48_a_handler_that_raises_ends_the_wait_and_the_ring_works_on(ring: Ring) -> None:
    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(Stop):
            ring.wait_cqe()
        prepared(ring, "timeout", 60, user_data=1)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(Stop):
            ring.submit_and_wait(1)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert ring.in_flight == 1
    prepared(ring, "timeout_remove", 1, user_data=2)
    ring.submit()
    assert {c.user_data for c in collect(ring, 2)} == {1, 2}


def test_waits_end_in_time(ring: Ring) -> None:
    assert ring.submit_and_wait_timeout(0.001) == 0
    prepared(ring, "timeout", 60)
    assert ring.submit_and_wait_timeout(0.001, 1) == 1
    with pytest.raises(TimeoutError):
        ring.wait_cqe(0.001)
    with pytest.raises(ValueError, match="larger than the completion queue"):
        ring.submit_and_wait(ring.cq_entries + 1)


@pytest.fixture
def min_waiting(any_ring: Ring) -> Ring:
    if pyuring.Features.MIN_TIMEOUT not in any_ring.features:
        pytest.skip("this kernel lacks the minimal wait (6.12)")
    return any_ring


def min_wait(ring: Ring, seconds: float, count: int, min_seconds: float) -> tuple[float, int]:
    """How long it took, and how many completions are there."""
    began = time.monotonic()
    ring.submit_and_wait_min_timeout(seconds, count, min_seconds)
    return time.monotonic() - began, len(ring.reap())


def test_behind_a_minimal_wait_one_completion_is_enough(min_waiting: Ring) -> None:
    prepared(min_waiting, "nop")
    took, count = min_wait(min_waiting, 10, 2, 0.02)
    assert 0.02 <= took < 8
    assert count == 1


def test_a_minimal_wait_ends_at_once_when_all_are_there(min_waiting: Ring) -> None:
    for _ in range(2):
        prepared(min_waiting, "nop")
    took, count = min_wait(min_waiting, 10, 2, 10)
    assert took < 8
    assert count == 2


def test_the_first_completion_after_a_minimal_wait_ends_it(min_waiting: Ring) -> None:
    # Not the ring's own timeout: one that runs out ends a wait, however many are wanted.
    one, other = socket.socketpair()
    with one, other:
        prepared(min_waiting, "poll_add", one, select.POLLIN)
        timer = threading.Timer(0.03, other.send, (b"x",))
        timer.start()
        took, count = min_wait(min_waiting, 10, 2, 0.001)
        timer.join()
    assert took < 8
    assert count == 1


def test_a_minimal_wait_is_never_longer_than_the_whole(min_waiting: Ring) -> None:
    took, count = min_wait(min_waiting, 0.001, 2, 10)
    assert took < 8
    assert count == 0


def test_a_minimal_wait_refuses_what_it_cannot_do(ring: Ring) -> None:
    for wrong in ((1,), (1, 2)):
        with pytest.raises(TypeError, match="needs seconds, count and min_seconds"):
            ring.submit_and_wait_min_timeout(*wrong)  # type: ignore[call-arg]
    for seconds in (-1.0, 5000.0, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 4000"):
            ring.submit_and_wait_min_timeout(1, 2, seconds)
    if pyuring.Features.MIN_TIMEOUT not in ring.features:
        prepared(ring, "nop")
        with pytest.raises(OSError, match=r"6\.12"):
            ring.submit_and_wait_min_timeout(1, 2, 0.1)
        assert ring.sq_pending == 1


def test_f47_other_threads_run_during_a_wait(ring: Ring) -> None:
    counted, stop = 0, threading.Event()

    def count() -> None:
        nonlocal counted
        while not stop.is_set():
            counted += 1

    thread = threading.Thread(target=count)
    thread.start()
    before = counted
    with pytest.raises(TimeoutError):
        ring.wait_cqe(0.1)
    after = counted
    stop.set()
    thread.join()
    assert after - before > 100


def test_wait_peek_and_advance(ring: Ring) -> None:
    for number in range(3):
        prepared(ring, "nop", user_data=number)
    ring.submit_and_wait(3)
    assert ring.wait_cqe().user_data == 0
    peeked = ring.peek()
    assert peeked is not None
    assert peeked.user_data == 0
    ring.advance_cq()
    popped = ring.pop()
    assert popped is not None
    assert (popped.user_data, ring.cq_ready) == (1, 1)
    with pytest.raises(ValueError, match="fewer"):
        ring.advance_cq(2)
    ring.advance_cq(1)
    assert ring.peek() is None
    assert ring.in_flight == 0


def test_hidden_successes_and_shown_failures(ring: Ring) -> None:
    for number, fd in enumerate((-1, 999999, -1)):
        if fd < 0:
            prepared(ring, "nop", user_data=number, flags=SqeFlags.CQE_SKIP_SUCCESS)
        else:
            prepared(ring, "fsync", fd, user_data=number, flags=SqeFlags.CQE_SKIP_SUCCESS)
    prepared(ring, "nop", user_data=9)
    ring.submit_and_wait(2)
    assert sorted((c.user_data, c.res) for c in ring.completions()) == [(1, -errno.EBADF), (9, 0)]
    assert ring.in_flight == 0


def test_batches_are_submitted_again_and_again(tmp_path: Path) -> None:
    data = bytes(range(256)) * 16
    (tmp_path / "file").write_bytes(data)
    with open_ring(4, cq_entries=64) as ring, (tmp_path / "file").open("rb") as file:
        batch, buffers = Batch(8), [bytearray(16) for _ in range(8)]
        for number, buffer in enumerate(buffers):
            batch[number].prep_read(file, buffer, 0)
            batch[number].user_data = -number
        for start in range(0, 1024, 128):
            for number in range(8):
                batch[number].offset = start + number * 16
            assert ring.submit_batch(batch, 8) == 8
            assert {c.user_data for c in ring.reap()} == {-number for number in range(8)}
            assert b"".join(buffers) == data[start : start + 128]
        with pytest.raises(BufferError):
            buffers[0].append(1)
        del batch
        buffers[0].append(1)
    with pytest.raises(ValueError, match="32768"):
        Batch(0)


def test_registrations(ring: Ring, tmp_path: Path) -> None:
    ring.register_ring_fd()
    assert result(ring, "nop") == 0
    ring.unregister_ring_fd()
    wake = os.eventfd(0) if hasattr(os, "eventfd") else os.open("/dev/null", os.O_RDONLY)
    if hasattr(os, "eventfd"):
        ring.register_eventfd(wake)
        assert result(ring, "nop") == 0
        assert os.eventfd_read(wake) == 1
        ring.unregister_eventfd()
    os.close(wake)
    personality = ring.register_personality()
    assert result(ring, "nop", personality=personality) == 0
    ring.unregister_personality(personality)
    assert len(ring.limit_workers()) == 2
    with pytest.raises(OSError, match="unregistering files"):
        ring.unregister_files()


def test_wide_entries() -> None:
    with open_ring(8, flags=SetupFlags.SQE128 | SetupFlags.CQE32) as ring:
        need(ring, Op.URING_CMD)
        sqe = prepared(ring, "uring_cmd", 0, ring)
        sqe.set_command(bytes(80))
        prepared(ring, "nop", user_data=3)
        ring.submit_and_wait(2)
        assert [(c.user_data, c.extra) for c in ring.reap()] == [(0, (0, 0)), (3, (0, 0))]


def test_foreign_and_shared_user_data(ring: Ring, rng: random.Random) -> None:
    need(ring, Op.MSG_RING)
    with open_ring() as sender:
        for value in (rng.getrandbits(64) for _ in range(200)):
            assert result(sender, "msg_ring", ring, 1, value) == 0
            assert [c.user_data for c in ring.completions()] == [value]
    for _ in range(5):
        prepared(ring, "nop", user_data=77)
    ring.submit_and_wait(5)
    assert [c.user_data for c in ring.reap(5)] == [77] * 5
