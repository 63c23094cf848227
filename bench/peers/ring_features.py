"""The CPU time of one operation in two ways: `python ring_features.py NAME SECONDS PORT`.

Owns the pairs. Each way is run in turns of the same number of operations, one after the other, on
one ring; prints CPU nanoseconds an operation for either, as JSON. PORT is a sink's (sink.py).
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

from pyuring import Batch, Ring, SetupFlags, SqeFlags

Turn = Callable[[], object]
COUNT = 16  # operations in a turn
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


PAIRS: dict[str, Callable[[int], tuple[Turn, Turn]]] = {
    **{
        f"SEND_ZC of {size >> 10} KiB": lambda port, size=size: zero_copy(size, port)
        for size in (4096, 16384, 65536, 262144, 1048576)
    },
    "registered files": fixed_file,
    "registered ring descriptor": ring_descriptor,
    "linked sends": linked,
    "one gathered send": gathered,
}


def cost(turn: Turn, seconds: float) -> float:
    """CPU nanoseconds an operation."""
    turn()
    count, began = 0, time.process_time_ns()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        turn()
        count += COUNT
    return (time.process_time_ns() - began) / count


def main(name: str, seconds: str, port: str) -> None:
    """Measure both ways."""
    print(json.dumps([cost(turn, float(seconds)) for turn in PAIRS[name](int(port))]))


if __name__ == "__main__":
    main(*sys.argv[1:])
