"""The low-level work on pyuring's Ring, as ops_liburing.py does it on `liburing`.

The same set-up flags, the same checks, and each completion's result and user_data read as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pyuring.constants import SetupFlags
from pyuring.ring import Batch, Ring

BLOCK = 4096


def _ring(entries: int) -> Ring:
    return Ring(entries, flags=SetupFlags.SINGLE_ISSUER | SetupFlags.DEFER_TASKRUN)


def nops(batch: int) -> Callable[[int], None]:
    """Prepare, tag, submit and read back each NOP."""
    ring = _ring(batch)
    get_sqe, submit_and_wait, reap = ring.get_sqe, ring.submit_and_wait, ring.reap

    def turns(count: int) -> None:
        for _ in range(count):
            for tag in range(batch):
                sqe = get_sqe()
                sqe.prep_nop()  # type: ignore[union-attr]
                sqe.user_data = tag  # type: ignore[union-attr]
            submit_and_wait(batch)
            for _index, entry in enumerate(reap()):
                if entry.res < 0:
                    raise OSError(-entry.res, "nop")
                tag = entry.user_data
            assert _index == tag == batch - 1

    return turns


def nops_premade(batch: int) -> Callable[[int], None]:
    """Submit the same filled SQEs again and again, and read back each NOP."""
    ring, sqes = _ring(batch), Batch(batch)
    for tag in range(batch):
        sqes[tag].prep_nop()
        sqes[tag].user_data = tag
    submit_batch, reap = ring.submit_batch, ring.reap

    def turns(count: int) -> None:
        for _ in range(count):
            submit_batch(sqes, batch)
            for _index, entry in enumerate(reap()):
                if entry.res < 0:
                    raise OSError(-entry.res, "nop")
                tag = entry.user_data
            assert _index == tag == batch - 1

    return turns


def nops_batch(batch: int) -> Callable[[int], None]:
    """Run the same filled SQEs again and again, every result checked, none made an object of."""
    ring, sqes = _ring(batch), Batch(batch)
    for tag in range(batch):
        sqes[tag].prep_nop()
    run_batch = ring.run_batch

    def turns(count: int) -> None:
        for _ in range(count):
            results = run_batch(sqes, True)
            assert len(results) == batch

    return turns


class BatchReads:
    """`depth` reads of random blocks at a time, each into a registered buffer of its own.

    The batch is waited for as a whole; from the page cache every read completes as it is
    submitted, so that the loop of `Reads` has as many in flight, and no more.
    """

    def __init__(self, fd: int, depth: int, blocks: Iterator[int]) -> None:
        self.ring, self.blocks, self.depth = _ring(depth), blocks, depth
        self.buffers = [bytearray(BLOCK) for _ in range(depth)]
        self.ring.register_buffers(self.buffers)
        self.batch = Batch(depth)
        self.sqes = list(self.batch)
        for slot, sqe in enumerate(self.sqes):
            sqe.prep_read_fixed(fd, self.buffers[slot], 0, slot)

    def turns(self, count: int) -> None:
        """Complete at least `count` reads."""
        run_batch, batch, sqes, blocks = self.ring.run_batch, self.batch, self.sqes, self.blocks
        whole = [BLOCK] * self.depth
        while count > 0:
            for sqe in sqes:
                sqe.offset = next(blocks) * BLOCK
            if run_batch(batch, True) != whole:
                raise OSError("short read")
            count -= len(whole)

    def drain(self) -> None:
        """Nothing is in flight between turns."""


class Reads:
    """`depth` reads of random blocks in flight, each into a registered buffer of its own."""

    def __init__(self, fd: int, depth: int, blocks: Iterator[int]) -> None:
        self.ring = _ring(depth)
        self.fd, self.blocks, self.depth = fd, blocks, depth
        self.buffers = [bytearray(BLOCK) for _ in range(depth)]
        self.ring.register_buffers(self.buffers)
        for slot in range(depth):
            sqe = self.ring.get_sqe()
            assert sqe is not None
            sqe.prep_read_fixed(fd, self.buffers[slot], next(blocks) * BLOCK, slot)
            sqe.user_data = slot

    def turns(self, count: int) -> None:
        """Complete at least `count` reads, replacing each by the next."""
        ring, fd, buffers, blocks = self.ring, self.fd, self.buffers, self.blocks
        get_sqe, submit_and_wait, reap = ring.get_sqe, ring.submit_and_wait, ring.reap
        while count > 0:
            submit_and_wait(1)
            ready = reap()
            for entry in ready:
                if entry.res != BLOCK:
                    raise OSError(-entry.res, "read")
                slot = entry.user_data
                sqe = get_sqe()
                sqe.prep_read_fixed(fd, buffers[slot], next(blocks) * BLOCK, slot)  # type: ignore[union-attr]
                sqe.user_data = slot  # type: ignore[union-attr]
            count -= len(ready)

    def drain(self) -> None:
        """Complete what is in flight."""
        left = self.depth
        while left:
            self.ring.submit_and_wait(1)
            ready = self.ring.reap()
            assert all(entry.res == BLOCK for entry in ready)
            left -= len(ready)
