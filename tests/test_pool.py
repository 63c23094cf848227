"""Threads for handlers that wait: no more than allowed, none that keeps the process."""

from __future__ import annotations

import threading

import pytest

from pyuring import pool as pool_module
from pyuring.pool import Pool


def make(limit: int) -> tuple[Pool, list[BaseException]]:
    problems: list[BaseException] = []
    return Pool(limit, "test", problems.append), problems


def test_jobs_run_at_once_up_to_the_limit_and_then_in_order() -> None:
    pool, problems = make(3)
    together = threading.Barrier(4)
    go = threading.Event()
    done: list[int] = []

    def wait() -> None:
        together.wait(10)
        go.wait(10)

    for _ in range(3):
        pool.submit(wait)
    for number in range(10):
        pool.submit(done.append, number)
    together.wait(10)  # the three run at the same time
    assert len(pool) == 3
    assert done == []
    go.set()
    assert pool.close(10)
    assert sorted(done) == list(range(10))
    assert problems == []


def test_threads_are_started_when_needed_and_used_again() -> None:
    pool, _ = make(8)
    assert len(pool) == 0
    names = set()
    for _ in range(20):
        done = threading.Event()
        pool.submit(lambda done=done: (names.add(threading.current_thread().name), done.set()))
        assert done.wait(10)
    assert len(names) <= 20
    assert len(pool) <= 8
    assert all(name.startswith("test-") for name in names)
    assert pool.close(10)
    assert len(pool) == 0


def test_an_idle_thread_ends_and_another_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_IDLE_SECONDS", 0.001)
    pool, _ = make(2)
    for _ in range(50):
        done = threading.Event()
        pool.submit(done.set)
        assert done.wait(10)
        threads = [t for t in threading.enumerate() if t.name.startswith("test-")]
        if _ % 10 == 0:
            for thread in threads:
                thread.join(10)
            assert len(pool) == 0
    assert pool.close(10)


def test_a_job_that_raises_is_told_and_costs_no_thread() -> None:
    pool, problems = make(1)
    error = ValueError("oops")

    def fail() -> None:
        raise error

    done = threading.Event()
    pool.submit(fail)
    pool.submit(done.set)
    assert done.wait(10)
    assert problems == [error]
    assert pool.close(10)


def test_a_closed_pool_takes_nothing_and_does_not_wait_for_ever() -> None:
    pool, _ = make(1)
    go = threading.Event()
    pool.submit(go.wait, 10)
    assert not pool.close(0.01)
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(print)
    go.set()
    assert pool.close(10)


def test_a_system_without_threads_uses_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, _ = make(4)
    begun, go, done = threading.Event(), threading.Event(), threading.Event()
    pool.submit(lambda: (begun.set(), go.wait(10)))
    assert begun.wait(10)

    def no_more(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more)
    pool.submit(done.set)  # waits for the only one
    empty, _ = make(4)
    with pytest.raises(RuntimeError, match="start new thread"):
        empty.submit(print)
    go.set()
    assert done.wait(10)
    assert pool.close(10)


def test_threads_are_daemons() -> None:
    pool, _ = make(1)
    daemon: list[bool] = []
    pool.submit(lambda: daemon.append(threading.current_thread().daemon))
    assert pool.close(10)
    assert daemon == [True]
