"""The CPU time of one operation in two ways: `python ring_features.py NAME SECONDS PORT`.

Owns the pairs. Each way is run in turns of the same number of operations, in slices of which the
ways take turns; prints CPU nanoseconds an operation for either, as JSON. PORT is that of sink.py.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from ring_receives import COUNT, PATIENCE, Stream, drips, flood

from pyuring import Batch, BufferGroup, Ring, SetupFlags, SqeFlags

Turn = Callable[[], object]
SLICE = 0.05  # seconds
FLAGS = SetupFlags.SINGLE_ISSUER | SetupFlags.DEFER_TASKRUN


def ring_of() -> Ring:
    """A ring as an engine's is set up."""
    return Ring(64, flags=FLAGS)


def zero_copy(size: int, port: int) -> tuple[Turn, Turn]:
    """SEND against SEND_ZC, to a client on this machine who drops what comes."""
    ring, data = ring_of(), bytes(size)
    sock = socket.create_connection(("127.0.0.1", port))
    plain, zero = Batch(1), Batch(1)
    plain[0].prep_send(sock.fileno(), data, socket.MSG_WAITALL)
    zero[0].prep_send_zc(sock.fileno(), data, socket.MSG_WAITALL)

    def turn(batch: Batch) -> None:
        for _ in range(COUNT):
            if ring.run_batch(batch, True) != [size]:
                raise OSError("a short send")

    return (lambda: (sock, turn(plain))), (lambda: turn(zero))


def fixed_file(_: int) -> tuple[Turn, Turn]:
    """Reads of 64 bytes from the page cache, by descriptor and by registered descriptor."""
    ring, file = ring_of(), os.open(__file__, os.O_RDONLY)
    ring.register_files([file])
    plain, fixed = Batch(COUNT), Batch(COUNT)
    for batch in (plain, fixed):
        for sqe in batch:
            sqe.prep_read(file if batch is plain else 0, bytearray(64), 0)
    for sqe in fixed:
        sqe.flags |= SqeFlags.FIXED_FILE
    return (lambda: ring.run_batch(plain, True)), (lambda: ring.run_batch(fixed, True))


def ring_descriptor(_: int) -> tuple[Turn, Turn]:
    """A system call for each NOP, with the ring's descriptor and with its registered one."""
    plain, known, batch = ring_of(), ring_of(), Batch(1)
    batch[0].prep_nop()
    known.register_ring_fd()

    def turn(ring: Ring) -> None:
        for _ in range(COUNT):
            ring.run_batch(batch)

    return (lambda: turn(plain)), (lambda: turn(known))


def linked(port: int) -> tuple[Turn, Turn]:
    """Sends of 1 KiB: each submitted when the one before is complete, or all as one chain."""
    ring, data = ring_of(), bytes(1024)
    sock = socket.create_connection(("127.0.0.1", port))
    one, chain = Batch(1), Batch(COUNT)
    for batch in (one, chain):
        for sqe in batch:
            sqe.prep_send(sock.fileno(), data, socket.MSG_WAITALL)
    for index in range(COUNT - 1):
        chain[index].flags |= SqeFlags.IO_LINK

    def apart() -> None:
        for _ in range(COUNT):
            ring.run_batch(one, True)

    return (lambda: (sock, apart())), (lambda: ring.run_batch(chain, True))


def gathered(port: int) -> tuple[Turn, Turn]:
    """Sixteen pieces of 64 bytes as a chain of sends, or as one gathered send."""
    ring, data = ring_of(), bytes(64)
    sock = socket.create_connection(("127.0.0.1", port))
    chain, one = Batch(COUNT), Batch(1)
    for sqe in chain:
        sqe.prep_send(sock.fileno(), data, socket.MSG_WAITALL)
        sqe.flags |= SqeFlags.IO_LINK
    chain[COUNT - 1].flags = SqeFlags(0)
    one[0].prep_writev(sock.fileno(), [data] * COUNT)
    return (lambda: (sock, ring.run_batch(chain, True))), (lambda: ring.run_batch(one, True))


def same(port: int) -> tuple[Turn, Turn]:
    """The same sends in both ways: what a ratio is when there is nothing to find."""
    ring, data = ring_of(), bytes(1024)
    sock = socket.create_connection(("127.0.0.1", port))
    batch = Batch(COUNT)
    for sqe in batch:
        sqe.prep_send(sock.fileno(), data, socket.MSG_WAITALL)
    return (lambda: (sock, ring.run_batch(batch, True))), (lambda: ring.run_batch(batch, True))


def fixed_socket(port: int) -> tuple[Turn, Turn]:
    """Sends of 64 bytes, by descriptor and by registered descriptor."""
    ring, data = ring_of(), bytes(64)
    sock = socket.create_connection(("127.0.0.1", port))
    ring.register_files([sock.fileno()])
    plain, fixed = Batch(COUNT), Batch(COUNT)
    for batch in (plain, fixed):
        for sqe in batch:
            sqe.prep_send(sock.fileno() if batch is plain else 0, data, socket.MSG_WAITALL)
    for sqe in fixed:
        sqe.flags |= SqeFlags.FIXED_FILE
    return (lambda: (sock, ring.run_batch(plain, True))), (lambda: ring.run_batch(fixed, True))


def direct(_: int) -> tuple[Turn, Turn]:
    """Making a socket and closing it, in the process's table and in the ring's."""
    ring = ring_of()
    ring.register_files(1)
    made, closed = Batch(1), Batch(1)
    made_direct, closed_direct = Batch(1), Batch(1)
    made[0].prep_socket(socket.AF_INET, socket.SOCK_STREAM)
    made_direct[0].prep_socket_direct(socket.AF_INET, socket.SOCK_STREAM, 0, 0)
    closed_direct[0].prep_close_direct(0)
    (number,) = ring.run_batch(made, True)  # the lowest that is free: the same each time
    closed[0].prep_close(number)
    ring.run_batch(closed, True)

    def turn(first: Batch, second: Batch, result: int) -> None:
        for _ in range(COUNT):
            if ring.run_batch(first, True) != [result]:
                raise OSError("another descriptor")
            ring.run_batch(second, True)

    return (lambda: turn(made, closed, number)), (lambda: turn(made_direct, closed_direct, 0))


def send_bundle(port: int) -> tuple[Turn, Turn]:
    """Sixteen pieces of 64 bytes as one gathered send, or as one bundle of provided buffers.

    The pieces lie in their buffers already: writing them there would come on top.
    """
    ring, data = ring_of(), bytes(64)
    sock = socket.create_connection(("127.0.0.1", port))
    group = BufferGroup(ring, 1, COUNT, len(data))
    one, bundle = Batch(1), Batch(1)
    one[0].prep_writev(sock.fileno(), [data] * COUNT)
    bundle[0].prep_send_bundle(sock.fileno(), 0, socket.MSG_WAITALL)
    bundle[0].flags |= SqeFlags.BUFFER_SELECT
    bundle[0].buf_group = 1

    def turn() -> None:
        if ring.submit_batch(bundle, 1) != 1:
            raise OSError("nothing was submitted")
        for cqe in ring.reap():
            group.return_buffers(group.bundle_ids(cqe.buffer_id or 0, cqe.result()))

    return (lambda: (sock, ring.run_batch(one, True))), turn


def provided(port: int) -> tuple[Turn, Turn]:
    """Receives of 4 KiB: into memory of the caller's, or into a buffer that the kernel picks."""
    one = flood(ring_of(), port, 4096)
    own, picked = one.single_batch(True), one.single_batch(False)
    return (lambda: one.singles(own)), (lambda: one.singles(picked))


def multishot(port: int) -> tuple[Turn, Turn]:
    """Into a buffer that the kernel picks: a receive for each, or one for all."""
    one = flood(ring_of(), port, 4096)
    picked = one.single_batch(False)
    return (lambda: one.singles(picked)), Stream(flood(ring_of(), port, 4096)).turn


def bundles(size: int, port: int) -> tuple[Turn, Turn]:
    """Multishot receives: a buffer for each completion, or as many as there are bytes for."""
    one, other = flood(ring_of(), port, size), flood(ring_of(), port, size)
    return Stream(one).turn, Stream(other, bundle=True).turn


def min_wait(port: int) -> tuple[Turn, Turn]:
    """Messages that come one by one on 16 connections: taken as they come, or as a batch."""
    stream = Stream(drips(ring_of(), port))
    return stream.turn, (lambda: stream.turn(PATIENCE))


PAIRS: dict[str, Callable[[int], tuple[Turn, Turn]]] = {
    **{
        f"SEND_ZC of {size >> 10} KiB": lambda port, size=size: zero_copy(size, port)
        for size in (4096, 16384, 65536, 262144, 1048576)
    },
    "the same twice": same,
    "registered files": fixed_file,
    "registered sockets": fixed_socket,
    "direct sockets": direct,
    "registered ring descriptor": ring_descriptor,
    "linked sends": linked,
    "one gathered send": gathered,
    "one send bundle": send_bundle,
    "provided buffers": provided,
    "multishot receive": multishot,
    "receive bundles of 4 KiB": lambda port: bundles(4096, port),
    "receive bundles of 16 KiB": lambda port: bundles(16384, port),
    "min-wait": min_wait,
}


def costs(turns: tuple[Turn, Turn], seconds: float) -> list[float]:
    """CPU nanoseconds an operation of each; the ways alternate, so that both see the same times."""
    counts, used = [0, 0], [0, 0]
    for turn in turns:
        turn()
    for slice_number in range(2 * max(1, round(seconds / SLICE))):
        which = slice_number % 2
        began, until = time.process_time_ns(), time.monotonic() + SLICE
        while time.monotonic() < until:
            turns[which]()
            counts[which] += COUNT
        used[which] += time.process_time_ns() - began
    return [nanoseconds / count for nanoseconds, count in zip(used, counts, strict=True)]


def main(name: str, seconds: str, port: str) -> None:
    """Measure both ways."""
    print(json.dumps(costs(PAIRS[name](int(port)), float(seconds))))


if __name__ == "__main__":
    main(*sys.argv[1:])
