"""What the raw ring's tests share: one operation from SQE to completion.

Owns no test. Skips, naming what is missing, where the kernel lacks an operation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import pyuring
from pyuring import Cqe, Op, Ring, SetupFlags, Sqe

DEFER = SetupFlags.SINGLE_ISSUER | SetupFlags.DEFER_TASKRUN
MATRIX = [
    SetupFlags(0),
    SetupFlags.COOP_TASKRUN,
    SetupFlags.COOP_TASKRUN | SetupFlags.TASKRUN_FLAG,
    DEFER,
    SetupFlags.NO_SQARRAY,
    SetupFlags.SQPOLL,
    SetupFlags.SQE128 | SetupFlags.CQE32,
]


def open_ring(entries: int = 16, **options: Any) -> Ring:
    """Return a ring, or skip where io_uring is refused."""
    try:
        return Ring(entries, **options)
    except pyuring.RingUnavailableError as error:
        pytest.skip(f"io_uring: {error.reason}")


def need(ring: Ring, op: Op) -> None:
    if op not in ring.operations():
        pytest.skip(f"this kernel lacks {op.name}")


def prepared(ring: Ring, name: str, *arguments: Any, flags: int = 0, **fields: Any) -> Sqe:
    """Return an SQE of the ring, prepared."""
    sqe = ring.get_sqe()
    assert sqe is not None
    getattr(sqe, f"prep_{name}")(*arguments)
    sqe.flags |= flags
    for field, value in fields.items():
        setattr(sqe, field, value)
    return sqe


def run(ring: Ring, name: str, *arguments: Any, **fields: Any) -> Cqe:
    """Carry one operation out and return its completion."""
    prepared(ring, name, *arguments, **fields)
    assert ring.submit_and_wait(1) == 1
    (cqe,) = ring.completions()
    return cqe


def result(ring: Ring, name: str, *arguments: Any, **fields: Any) -> int:
    """Carry one operation out; its result, or the OSError that it stands for."""
    return run(ring, name, *arguments, **fields).result()


def collect(ring: Ring, count: int) -> Iterator[Cqe]:
    """Yield `count` completions, waiting at most ten seconds for each."""
    for _ in range(count):
        yield ring.wait_cqe(10)
        ring.advance_cq()
