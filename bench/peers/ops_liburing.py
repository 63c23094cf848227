"""The low-level work on the PyPI `liburing` package, in its fastest idiomatic use.

Functions are bound to local names, submission and waiting are one call, completions are walked by
`CqeIter` and released in one step. `nops_premade` reuses a filled `Sqe(64)`, which the package
copies into the ring in one call; it is its fastest, and no more than a figure for comparison:
nothing about an operation is decided per operation there. Set-up flags made no difference to
it (none, COOP_TASKRUN, DEFER_TASKRUN); the ring takes those that pyuring's half takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from liburing import (
    IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_SINGLE_ISSUER,
    Cqe,
    CqeIter,
    Iovec,
    Ring,
    Sqe,
    io_uring_cq_advance,
    io_uring_get_sqe,
    io_uring_prep_nop,
    io_uring_prep_read_fixed,
    io_uring_queue_init,
    io_uring_register_buffers,
    io_uring_submit_and_wait,
    put_sqe,
)

BLOCK = 4096


def _ring(entries: int) -> Ring:
    ring = Ring()
    flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN
    io_uring_queue_init(entries, ring, flags)
    return ring


def nops(batch: int) -> Callable[[int], None]:
    """Prepare, tag, submit and read back each NOP."""
    ring, cqe = _ring(batch), Cqe()
    get_sqe, prep_nop, advance = io_uring_get_sqe, io_uring_prep_nop, io_uring_cq_advance
    submit_and_wait = io_uring_submit_and_wait

    def turns(count: int) -> None:
        for _ in range(count):
            for tag in range(batch):
                sqe = get_sqe(ring)
                prep_nop(sqe)
                sqe.user_data = tag
            submit_and_wait(ring, batch)
            for _index in CqeIter(ring, cqe):
                entry = cqe[0]
                if entry.res < 0:
                    raise OSError(-entry.res, "nop")
                tag = entry.user_data
            assert _index == tag == batch - 1
            advance(ring, batch)

    return turns


def nops_premade(batch: int) -> Callable[[int], None]:
    """Submit the same filled SQEs again and again, and read back each NOP."""
    ring, cqe, sqes = _ring(batch), Cqe(), Sqe(batch)
    for tag in range(batch):
        io_uring_prep_nop(sqes[tag])
        sqes[tag].user_data = tag
    put, advance, submit_and_wait = put_sqe, io_uring_cq_advance, io_uring_submit_and_wait

    def turns(count: int) -> None:
        for _ in range(count):
            put(ring, sqes)
            submit_and_wait(ring, batch)
            for _index in CqeIter(ring, cqe):
                entry = cqe[0]
                if entry.res < 0:
                    raise OSError(-entry.res, "nop")
                tag = entry.user_data
            assert _index == tag == batch - 1
            advance(ring, batch)

    return turns


class Reads:
    """`depth` reads of random blocks in flight, each into a registered buffer of its own."""

    def __init__(self, fd: int, depth: int, blocks: Iterator[int]) -> None:
        self.ring, self.cqe = _ring(depth), Cqe()
        self.fd, self.blocks, self.depth = fd, blocks, depth
        self.buffers = [bytearray(BLOCK) for _ in range(depth)]
        io_uring_register_buffers(self.ring, Iovec(self.buffers))
        for slot in range(depth):
            sqe = io_uring_get_sqe(self.ring)
            offset = next(blocks) * BLOCK
            io_uring_prep_read_fixed(sqe, fd, self.buffers[slot], slot, offset)
            sqe.user_data = slot

    def turns(self, count: int) -> None:
        """Complete at least `count` reads, replacing each by the next."""
        ring, cqe, fd, buffers, blocks = self.ring, self.cqe, self.fd, self.buffers, self.blocks
        get_sqe, prep, advance = io_uring_get_sqe, io_uring_prep_read_fixed, io_uring_cq_advance
        submit_and_wait = io_uring_submit_and_wait
        while count > 0:
            submit_and_wait(ring, 1)
            for _index in CqeIter(ring, cqe):
                entry = cqe[0]
                if entry.res != BLOCK:
                    raise OSError(-entry.res, "read")
                slot = entry.user_data
                sqe = get_sqe(ring)
                prep(sqe, fd, buffers[slot], slot, next(blocks) * BLOCK)
                sqe.user_data = slot
            advance(ring, _index + 1)
            count -= _index + 1

    def drain(self) -> None:
        """Complete what is in flight."""
        left = self.depth
        while left:
            io_uring_submit_and_wait(self.ring, 1)
            for _index in CqeIter(self.ring, self.cqe):
                assert self.cqe[0].res == BLOCK
            io_uring_cq_advance(self.ring, _index + 1)
            left -= _index + 1
