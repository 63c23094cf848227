"""One measurement of one low-level library: `python ops.py LIBRARY WORK SECONDS [FILE]`.

Prints `OPERATIONS NANOSECONDS`. It is a process of its own, so that the libraries do not share an
interpreter. The file holds each block's number in its first eight bytes, which is checked.
"""

from __future__ import annotations

import importlib
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

BATCH = 64
DEPTH = 32
BLOCK = 4096


def random_blocks(fd: int) -> Iterator[int]:
    """An endless sequence of block numbers, the same in every run."""
    count = os.fstat(fd).st_size // BLOCK
    generator = random.Random(7)
    return cycle([generator.randrange(count) for _ in range(1 << 16)])


def timed(turns: Callable[[int], None], per_turn: int, size: int, seconds: float) -> None:
    """Warm up, then call `turns(size)` until the time is over, and print what was done."""
    turns(size)
    operations, began = 0, time.perf_counter_ns()
    end = began + int(seconds * 1e9)
    while (now := time.perf_counter_ns()) < end:
        turns(size)
        operations += size * per_turn
    print(operations, now - began)


def check(buffers: list[Any], fd: int) -> None:
    """Each buffer holds a whole block of the file, whichever was read into it last."""
    for buffer in buffers:
        number = int.from_bytes(bytes(buffer[:8]), "little")
        if bytes(buffer) != os.pread(fd, BLOCK, number * BLOCK):
            sys.exit(f"block {number} was read wrong")


def main() -> None:
    """Do what the command line says."""
    library, work, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    sys.path.insert(0, str(Path(__file__).parent))
    ops = importlib.import_module(f"ops_{library}")
    if not work.startswith("reads"):
        timed(getattr(ops, work)(BATCH), BATCH, 200, seconds)
        return
    fd = os.open(sys.argv[4], os.O_RDONLY)
    kind = ops.BatchReads if work == "reads_batch" else ops.Reads
    reads = kind(fd, DEPTH, random_blocks(fd))
    timed(reads.turns, 1, 4096, seconds)
    reads.drain()
    check(reads.buffers, fd)


if __name__ == "__main__":
    main()
