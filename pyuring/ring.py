"""io_uring from Python: a ring, its operations, and the few structs that operations take.

Owns what is rare: set-up and its rules, registrations, closing. The hot methods (get_sqe, submit,
wait, reap) are native, in `RingCore`. Never runs an event loop, and never retries an operation.

A ring belongs to one thread: the one that made it, or that enabled it (F9). Memory handed to an
operation stays alive until its last completion is consumed (F51).
"""

from __future__ import annotations

import errno
import os
import struct
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pyuring import errors
from pyuring.constants import Features, Op, RegisterOp, SetupFlags
from pyuring.messages import Message, pack_address, pack_numbers, unpack_address

if TYPE_CHECKING:
    from types import TracebackType

    from pyuring._ring_types import Batch, Buffer, Cqe, Pin, RingCore, Sqe
else:
    from pyuring._native import Batch, Cqe, Pin, RingCore, Sqe

__all__ = ["Batch", "Cqe", "Message", "Ring", "Sqe", "pack_address", "unpack_address"]

_MAX_ENTRIES = 32768
_S = SetupFlags

# What the kernel answers with EINVAL, and why (F13): flags that need others, and that exclude.
_NEEDS = (
    (_S.DEFER_TASKRUN, _S.SINGLE_ISSUER, "DEFER_TASKRUN needs SINGLE_ISSUER"),
    (_S.SQ_AFF, _S.SQPOLL, "sq_thread_cpu (SQ_AFF) needs SQPOLL"),
    (_S.HYBRID_IOPOLL, _S.IOPOLL, "HYBRID_IOPOLL needs IOPOLL"),
)
_EXCLUDE = (
    (_S.SQPOLL, _S.COOP_TASKRUN, "SQPOLL excludes COOP_TASKRUN: its thread runs the work"),
    (_S.SQPOLL, _S.DEFER_TASKRUN, "SQPOLL excludes DEFER_TASKRUN: its thread runs the work"),
    (_S.SQPOLL, _S.TASKRUN_FLAG, "SQPOLL excludes TASKRUN_FLAG: its thread runs the work"),
)
_REFUSED = (
    (_S.NO_MMAP, "NO_MMAP: the ring maps its queues itself"),
    (_S.REGISTERED_FD_ONLY, "REGISTERED_FD_ONLY needs NO_MMAP; use register_ring_fd()"),
    (_S.CQE_MIXED, "CQE_MIXED: use CQE32 for 32-byte completions"),
)


class Ring(RingCore):
    """One io_uring, as io_uring_setup(2) makes it.

    `entries` SQEs are rounded up to a power of two; `cq_entries` is at least twice that, 0 for the
    kernel's choice. `sq_thread_idle` is in seconds. `attach` is a ring whose kernel workers are
    shared. SUBMIT_ALL is added where the kernel has it, so that a refused SQE completes with its
    error and does not stop the rest (F1).

    Raises ValueError naming the rule for flags that exclude each other, and RingUnavailableError
    with the reason and the remedy where io_uring is refused. Close it, or use `with`.
    """

    def __init__(
        self,
        entries: int,
        *,
        flags: SetupFlags | int = 0,
        cq_entries: int = 0,
        sq_thread_cpu: int | None = None,
        sq_thread_idle: float = 0.0,
        attach: Ring | None = None,
    ) -> None:
        wanted = SetupFlags(int(flags))
        if sq_thread_cpu is not None:
            wanted |= SetupFlags.SQ_AFF
        if attach is not None:
            wanted |= SetupFlags.ATTACH_WQ
        _check_setup(wanted, entries, cq_entries, attach)
        idle = int(sq_thread_idle * 1000)
        fd = attach.fileno() if attach is not None else 0
        plain = int(wanted & ~SetupFlags.CQSIZE)
        arguments = (cq_entries, sq_thread_cpu or 0, idle, fd)
        number = self._try(entries, plain | SetupFlags.SUBMIT_ALL, *arguments)
        if number == errno.EINVAL and not wanted & SetupFlags.SUBMIT_ALL:
            number = self._try(entries, plain, *arguments)  # before 5.18
        if number == errno.EINVAL:
            raise ValueError(
                f"this kernel refuses {wanted!r}: a flag is newer than Linux {os.uname().release}"
            )
        if number:
            raise errors.unavailable(number)
        self._registered: list[Pin | None] = []

    def _try(self, entries: int, flags: int, cq: int, cpu: int, idle: int, fd: int) -> int:
        return -self._setup(entries, cq, flags, cpu, idle, fd)

    @property
    def flags(self) -> SetupFlags:
        """The flags the ring was set up with."""
        return SetupFlags(self._flags)

    @property
    def features(self) -> Features:
        """What the kernel's io_uring has (IORING_FEAT_*)."""
        return Features(self._features)

    def fileno(self) -> int:
        """Return the ring's descriptor, readable by poll(2) while completions are there."""
        return self._fd

    def completions(self) -> Iterator[Cqe]:
        """Iterate over the completions that are there, consuming each as it is handed over."""
        return iter(self.pop, None)

    def operations(self) -> frozenset[Op]:
        """Return the operations that this kernel has (IORING_REGISTER_PROBE)."""
        table = bytearray(16 + 8 * 256)
        self._check(self._register(RegisterOp.REGISTER_PROBE, table, 256), "REGISTER_PROBE")
        known = {int(op) for op in Op}
        entries = struct.iter_unpack("<BxHxxxx", table[16 : 16 + 8 * table[1]])
        return frozenset(Op(op) for op, flags in entries if flags & 1 and op in known)

    def register_files(self, files: Sequence[int] | int) -> None:
        """Register descriptors as fixed files, -1 for an empty slot; an int makes empty slots."""
        if isinstance(files, int):
            argument = pack_numbers("<IIQQQ", files, 1, 0, 0, 0)
            result = self._register(RegisterOp.REGISTER_FILES2, argument, len(argument))
        else:
            argument = pack_numbers(f"<{len(files)}i", *files)
            result = self._register(RegisterOp.REGISTER_FILES, argument, len(files))
        self._check(result, "registering files")

    def update_files(self, offset: int, files: Sequence[int]) -> int:
        """Put descriptors into slots from `offset` on; -1 empties a slot, -2 leaves it alone."""
        with _Held(pack_numbers(f"<{len(files)}i", *files)) as fds:
            argument = pack_numbers("<IIQ", offset, 0, fds.address)
            result = self._register(RegisterOp.REGISTER_FILES_UPDATE, argument, len(files))
        return self._check(result, "updating files")

    def unregister_files(self) -> None:
        """Drop the fixed files; waits for operations that use them."""
        self._check(self._register(RegisterOp.UNREGISTER_FILES, None, 0), "unregistering files")

    def register_file_alloc_range(self, offset: int, length: int) -> None:
        """Limit the slots that FILE_INDEX_ALLOC picks from (6.0)."""
        argument = pack_numbers("<IIQ", offset, length, 0)
        result = self._register(RegisterOp.REGISTER_FILE_ALLOC_RANGE, argument, 0)
        self._check(result, "registering a range of slots")

    def register_buffers(self, buffers: Sequence[Buffer] | int) -> None:
        """Register writable buffers for read_fixed and write_fixed; an int makes empty slots.

        The buffers cannot be resized until they are unregistered or the ring is closed.
        """
        if isinstance(buffers, int):
            argument = pack_numbers("<IIQQQ", buffers, 1, 0, 0, 0)
            result = self._register(RegisterOp.REGISTER_BUFFERS2, argument, len(argument))
            self._check(result, "registering buffers")
            self._registered = [None] * buffers
            return
        pins = [Pin(buffer, True) for buffer in buffers]
        result = self._register(RegisterOp.REGISTER_BUFFERS, _iovecs(pins), len(pins))
        self._check(result, "registering buffers")
        self._registered = list(pins)

    def update_buffers(self, offset: int, buffers: Sequence[Buffer]) -> None:
        """Replace registered buffers from slot `offset` on (5.13)."""
        pins = [Pin(buffer, True) for buffer in buffers]
        if offset < 0 or offset + len(pins) > len(self._registered):
            raise ValueError(f"there are {len(self._registered)} slots")
        with _Held(_iovecs(pins)) as vectors:
            argument = pack_numbers("<IIQQII", offset, 0, vectors.address, 0, len(pins), 0)
            result = self._register(RegisterOp.REGISTER_BUFFERS_UPDATE, argument, len(argument))
        self._check(result, "updating buffers")
        self._registered[offset : offset + len(pins)] = pins

    def unregister_buffers(self) -> None:
        """Drop the registered buffers; operations in flight keep their own hold on theirs."""
        self._check(self._register(RegisterOp.UNREGISTER_BUFFERS, None, 0), "unregistering buffers")
        self._registered = []

    def register_eventfd(self, fd: int, *, only_async: bool = False) -> None:
        """Have the kernel write to an eventfd(2) at each completion."""
        op = RegisterOp.REGISTER_EVENTFD_ASYNC if only_async else RegisterOp.REGISTER_EVENTFD
        self._check(self._register(op, pack_numbers("<i", fd), 1), "registering an eventfd")

    def unregister_eventfd(self) -> None:
        """Undo register_eventfd()."""
        result = self._register(RegisterOp.UNREGISTER_EVENTFD, None, 0)
        self._check(result, "unregistering an eventfd")

    def register_personality(self) -> int:
        """Register the credentials of this moment; return the id for Sqe.personality."""
        result = self._register(RegisterOp.REGISTER_PERSONALITY, None, 0)
        return self._check(result, "registering credentials")

    def unregister_personality(self, personality: int) -> None:
        """Undo register_personality()."""
        result = self._register(RegisterOp.UNREGISTER_PERSONALITY, None, personality)
        self._check(result, "unregistering credentials")

    def limit_workers(self, bounded: int = 0, unbounded: int = 0) -> tuple[int, int]:
        """Limit the kernel's worker threads (0: leave); return the limits before (5.15)."""
        argument = bytearray(pack_numbers("<II", bounded, unbounded))
        result = self._register(RegisterOp.REGISTER_IOWQ_MAX_WORKERS, argument, 2)
        self._check(result, "limiting the kernel's workers")
        before: tuple[int, int] = struct.unpack("<II", argument)
        return before

    @staticmethod
    def _check(result: int, what: str) -> int:
        if result < 0:
            raise OSError(-result, f"{what}: {os.strerror(-result)}")
        return result

    def close(self, grace: float = 5.0) -> None:
        """Cancel what is in flight, wait for it up to `grace` seconds, and close. Idempotent.

        What the kernel has not finished by then keeps its memory for ever (F50), with a
        ResourceWarning. In a forked child only the child's descriptor is closed (F20).
        """
        left = self._close(int(grace * 1e9))
        if left:
            warnings.warn(
                f"ring closed with {left} operations that did not end within {grace} s; "
                "the memory lent to them is never freed",
                ResourceWarning,
                stacklevel=2,
            )
        else:
            self._registered = []

    def __enter__(self) -> Ring:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(
        self, _warn: Any = warnings.warn, _ending: Callable[[], bool] = sys.is_finalizing
    ) -> None:
        # Native code closes the ring after this; at the interpreter's end, when this module's
        # names may be gone, nobody is told.
        if not self.closed and not _ending():
            _warn(f"unclosed ring {self!r}", ResourceWarning, source=self)

    def __repr__(self) -> str:
        if self.closed:
            return "<Ring closed>"
        return f"<Ring fd={self._fd} entries={self.sq_entries}/{self.cq_entries} {self.flags!r}>"


class _Held:
    """Bytes at an address, for the length of a `with`."""

    def __init__(self, data: bytes) -> None:
        self._pin = Pin(data, False)

    def __enter__(self) -> Pin:
        return self._pin

    def __exit__(self, *_: object) -> None:
        self._pin.release()


def _iovecs(pins: Sequence[Pin]) -> bytes:
    return b"".join(pack_numbers("<QQ", pin.address, pin.length) for pin in pins)


def _check_setup(flags: SetupFlags, entries: int, cq_entries: int, attach: object) -> None:
    """Raise ValueError for what the kernel would only call EINVAL (F13)."""
    most = sys.maxsize if flags & _S.CLAMP else _MAX_ENTRIES
    if not 1 <= entries <= most:
        raise ValueError(f"entries must be between 1 and {_MAX_ENTRIES} (CLAMP cuts a larger one)")
    if cq_entries and cq_entries < entries:
        raise ValueError("cq_entries must be at least entries")
    if flags & _S.CQSIZE and not cq_entries:
        raise ValueError("CQSIZE needs cq_entries")
    if flags & _S.ATTACH_WQ and attach is None:
        raise ValueError("ATTACH_WQ needs attach")
    for flag, other, rule in _NEEDS:
        if flags & flag and not flags & other:
            raise ValueError(rule)
    for flag, other, rule in _EXCLUDE:
        if flags & flag and flags & other:
            raise ValueError(rule)
    if flags & _S.TASKRUN_FLAG and not flags & (_S.COOP_TASKRUN | _S.DEFER_TASKRUN):
        raise ValueError("TASKRUN_FLAG needs COOP_TASKRUN or DEFER_TASKRUN")
    for flag, reason in _REFUSED:
        if flags & flag:
            raise ValueError(f"not supported: {reason}")
