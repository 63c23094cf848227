"""The raw ring's owners: one thread, one process, memory on loan, and how it all ends."""

from __future__ import annotations

import gc
import os
import random
import struct
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from raw import open_ring, prepared, result

import pyuring
from pyuring import Ring, SetupFlags, SqeFlags


def in_thread(function: Callable[[], object]) -> Exception | None:
    caught: list[Exception] = []

    def run() -> None:
        try:
            function()
        except Exception as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return caught[0] if caught else None


def test_f9_a_ring_belongs_to_one_thread(ring: Ring) -> None:
    for method in ("get_sqe", "submit", "submit_and_wait", "peek", "reap", "close", "enable"):
        assert isinstance(in_thread(getattr(ring, method)), pyuring.WrongThreadError), method
    assert isinstance(in_thread(ring.unregister_files), pyuring.WrongThreadError)
    assert in_thread(lambda: ring.in_flight) is None
    assert result(ring, "nop") == 0


def test_f9_a_disabled_ring_belongs_to_the_thread_that_enables_it() -> None:
    with open_ring(8, flags=SetupFlags.R_DISABLED | SetupFlags.SINGLE_ISSUER) as ring:
        prepared(ring, "nop")
        with pytest.raises(OSError, match="io_uring_enter"):
            ring.submit()
        ring.enable()
        assert ring.submit_and_wait(1) == 1
        assert isinstance(in_thread(ring.submit), pyuring.WrongThreadError)


@pytest.mark.parametrize("flags", [0, SetupFlags.NO_SQARRAY], ids=repr)
def test_f10_a_stale_sqe_is_never_run_again(flags: int, rng: random.Random) -> None:
    try:
        ring = open_ring(4, flags=flags)
    except ValueError as error:
        pytest.skip(str(error))
    with ring:
        reader, writer = os.pipe()
        for round_number in range(500):
            names = [rng.choice(["nop", "poll_add", "write"]) for _ in range(rng.randint(1, 4))]
            for place, name in enumerate(names):
                arguments = {"nop": (), "poll_add": (writer, 4), "write": (writer, b"x")}[name]
                prepared(ring, name, *arguments, user_data=round_number * 4 + place)
            ring.submit_and_wait(len(names))
            done = {c.user_data for c in ring.completions()}
            assert done == {round_number * 4 + place for place in range(len(names))}
            os.read(reader, 99) if "write" in names else None
        os.close(reader)
        os.close(writer)


CHILD = """
import os, signal, sys, pyuring
ring = pyuring.Ring(8)
reader, writer = os.pipe()
sqe = ring.get_sqe(); sqe.prep_read(reader, memory := bytearray(5)); sqe.user_data = 7
ring.submit()
child = os.fork()
if child == 0:
    try:
        ring.submit()
    except pyuring.ForkedError:
        with pyuring.Ring(8) as own:
            own.get_sqe().prep_nop()
            assert own.submit_and_wait(1) == 1
        {end}
    os._exit(1)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0, status
os.write(writer, b"hello")
assert ring.wait_cqe(5).user_data == 7 and memory == b"hello"
ring.close()
print("done")
"""


@pytest.mark.parametrize("end", ["os._exit(0)", "ring.close(); os._exit(0)", "sys.exit(0)"])
def test_f20_a_forked_child_leaves_its_parents_ring_alone(run_python: Any, end: str) -> None:
    with open_ring():
        pass
    process = run_python(CHILD.format(end=end))
    assert process.stdout.split()[-1:] == ["done"], process.stderr


def test_a_closed_ring_says_so() -> None:
    ring = open_ring()
    sqe = ring.get_sqe()
    assert sqe is not None
    ring.close()
    ring.close()
    assert ring.closed
    assert repr(ring) == "<Ring closed>"
    for use in (ring.submit, ring.get_sqe, ring.wait_cqe, ring.fileno, lambda: ring.in_flight):
        with pytest.raises(pyuring.RingClosedError):
            use()
    with pytest.raises(pyuring.SqeStateError):
        sqe.prep_nop()


def test_a_submitted_sqe_is_spent(ring: Ring) -> None:
    sqe = prepared(ring, "nop")
    ring.submit()
    with pytest.raises(pyuring.SqeStateError):
        sqe.prep_nop()
    with pytest.raises(pyuring.SqeStateError):
        sqe.user_data = 1


def test_an_sqe_whose_arguments_raised_is_left_out(ring: Ring) -> None:
    sqe = ring.get_sqe()
    assert sqe is not None
    with pytest.raises(TypeError):
        sqe.prep_read("x", 1)  # type: ignore[arg-type]
    prepared(ring, "nop", user_data=5)
    assert ring.submit_and_wait(1) == 1
    assert [c.user_data for c in ring.completions()] == [5]


def test_f50_a_forgotten_ring_warns_and_closes() -> None:
    ring = open_ring()
    fd = ring.fileno()
    memory = bytearray(5)
    reader, writer = os.pipe()
    prepared(ring, "read", reader, memory)
    ring.submit()
    rings = [ring]
    del ring
    with pytest.warns(ResourceWarning, match="unclosed ring"):
        rings.clear()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)
    memory.append(1)  # drained: the loan is over
    os.close(reader)
    os.close(writer)


def test_f50_close_drains_what_is_in_flight(any_ring: Ring, pipe: tuple[int, int]) -> None:
    memories = [bytearray(5) for _ in range(6)]
    for memory in memories:
        prepared(any_ring, "read", pipe[0], memory)
    any_ring.submit()
    prepared(any_ring, "read", pipe[0], memories[0])  # never submitted
    any_ring.close()
    for memory in memories:
        memory.append(1)
    os.write(pipe[1], b"late bytes")
    assert {bytes(memory) for memory in memories} == {b"\0\0\0\0\0\1"}


@pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="a free-threaded build hands the ring back to its own thread, which drains it",
)
def test_f50_a_ring_that_dies_elsewhere_keeps_what_it_lent(pipe: tuple[int, int]) -> None:
    memory = bytearray(5)
    rings = [open_ring()]
    prepared(rings[0], "read", pipe[0], memory)
    rings[0].submit()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a recorded warning would keep the ring
        in_thread(rings.clear)
    with pytest.raises(BufferError):
        memory.append(1)


def test_f51_memory_is_held_until_the_last_completion(ring: Ring, pipe: tuple[int, int]) -> None:
    memory = bytearray(5)
    sqe = prepared(ring, "readv", pipe[0], [memory])
    ring.submit()
    del sqe
    gc.collect()
    with pytest.raises(BufferError):
        memory.append(1)
    os.write(pipe[1], b"hello")
    ring.wait_cqe(5)
    with pytest.raises(BufferError):
        memory.append(1)
    ring.advance_cq()
    memory.append(1)
    assert memory == b"hello\1"


def test_f51_provided_memory_is_held_until_the_ring_closes() -> None:
    memory = bytearray(256)
    with open_ring() as ring:
        assert result(ring, "provide_buffers", memory, 64, 4, 1, 0) >= 0
        with pytest.raises(BufferError):
            memory.append(1)
    memory.append(1)


def test_f52_references_are_counted(ring: Ring) -> None:
    import sys

    data, memory = 1 << 100, bytearray(8)
    counts = sys.getrefcount(data), sys.getrefcount(memory)
    for _ in range(2000):
        prepared(ring, "read", 999999, memory, user_data=data)
        prepared(ring, "cancel", data, user_data=data)
        prepared(ring, "poll_update", data, data, 0, 2, user_data=data)
        ring.submit_and_wait(3)
        for cqe in ring.completions():
            assert cqe.user_data is data
    del cqe
    assert (sys.getrefcount(data), sys.getrefcount(memory)) == counts


def test_f53_every_public_call_refuses_junk(ring: Ring) -> None:
    junk: list[Any] = [None, "x", -1, 1 << 70, 1.5, object(), [], (), Ring]
    harmless = {"close", "get_sqe", "enable", "wait_cqe", "submit_and_wait", "limit_workers"}
    for name in sorted(set(dir(Ring)) - harmless):
        method = getattr(ring, name)
        if name.startswith("_") or not callable(method):
            continue
        for value in junk:
            for count in range(1, 4):
                try:
                    method(*[value] * count)
                except (TypeError, ValueError, OverflowError, OSError, struct.error):
                    pass
    assert result(ring, "nop") == 0


@pytest.mark.skipif(sys.version_info < (3, 12), reason="__release_buffer__ is of Python 3.12")
def test_f50_a_release_that_closes_the_ring() -> None:
    class Closing:
        def __init__(self, ring: Ring) -> None:
            self.ring = ring

        def __buffer__(self, flags: int) -> memoryview:
            return memoryview(bytearray(8))

        def __release_buffer__(self, view: memoryview) -> None:
            self.ring.close()

    for end in ("close", "reap", "advance_cq", "wait_cqe"):
        ring = open_ring()
        for _ in range(3):
            prepared(ring, "fsync", 999999, flags=SqeFlags.CQE_SKIP_SUCCESS)
            prepared(ring, "write", 999999, Closing(ring))
        ring.submit_and_wait(3)
        getattr(ring, end)()
        ring.close()
        assert ring.closed
