"""Copy a file with the raw ring: many reads in flight, each followed by its write.

    python examples/copy_file.py SOURCE TARGET

Reads carry their offset as user_data; a read that completes becomes a write of the same buffer.
"""

from __future__ import annotations

import os
import sys

from pyuring import Ring

DEPTH = 32
BLOCK = 64 * 1024


def copy(source: int, target: int) -> int:
    """Copy all bytes from one descriptor to another; return how many."""
    size = os.fstat(source).st_size
    offsets = iter(range(0, size, BLOCK))
    buffers: dict[int, bytearray] = {}
    written: dict[int, int] = {}
    copied = 0
    with Ring(DEPTH) as ring:

        def read_next() -> None:
            offset = next(offsets, None)
            sqe = ring.get_sqe() if offset is not None else None
            if sqe is not None and offset is not None:
                buffers[offset] = bytearray(min(BLOCK, size - offset))
                sqe.prep_read(source, buffers[offset], offset)
                sqe.user_data = offset

        def write(offset: int, done: int) -> None:
            sqe = ring.get_sqe()
            assert sqe is not None, "each completion leaves room for one operation"
            sqe.prep_write(target, memoryview(buffers[offset])[done:], offset + done)
            sqe.user_data = -1 - offset  # a write: any int will do

        for _ in range(DEPTH):
            read_next()
        while buffers:
            ring.submit_and_wait()
            for cqe in ring.reap():
                done = cqe.result()  # raises the OSError of a failed operation
                if cqe.user_data >= 0:
                    del buffers[cqe.user_data][done:]  # the file became shorter meanwhile
                    write(cqe.user_data, 0)
                    continue
                copied += done
                offset = -1 - cqe.user_data
                written[offset] = written.get(offset, 0) + done
                if written[offset] < len(buffers[offset]):  # a short write: the rest
                    write(offset, written[offset])
                    continue
                del buffers[offset]
                read_next()
    return copied


def main() -> int:
    """Copy the file that the first argument names to the second."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    with open(sys.argv[1], "rb") as source, open(sys.argv[2], "wb") as target:
        print(f"{copy(source.fileno(), target.fileno())} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
