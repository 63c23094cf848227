"""Buffer groups: memory that the kernel picks from when bytes arrive.

Owns the choice between a ring-mapped group (5.19) and legacy PROVIDE_BUFFERS, and the arguments'
checks. The memory itself, and who holds which buffer, is native. Never decides when a buffer is
done with: the application returns it.
"""

from __future__ import annotations

import errno
import os
import warnings
from typing import TYPE_CHECKING, Any

from pyuring.constants import CqeFlags

if TYPE_CHECKING:
    from types import TracebackType

    from pyuring._ring_types import BufferGroupCore, Cqe
    from pyuring.ring import Ring
else:
    from pyuring._native import BufferGroupCore

__all__ = ["BufferGroup"]

_INCREMENTAL = 2  # IOU_PBUF_RING_INC
_MOST = 32768
_MEMORY = 1 << 31


class BufferGroup(BufferGroupCore):
    """`count` buffers of `size` bytes under `group_id`, all the kernel's at first.

    `count` is a power of two up to 32768. With `incremental` (6.12) one buffer serves several
    completions, each at its own offset. `legacy` None takes PROVIDE_BUFFERS only where the kernel
    lacks ring-mapped groups. An operation asks for a buffer with SqeFlags.BUFFER_SELECT and
    `sqe.buf_group`; its completion's `buffer_id` names the one that the application holds then,
    until return_buffer(). Belongs to the ring's thread.
    """

    def __init__(
        self,
        ring: Ring,
        group_id: int,
        count: int,
        size: int,
        *,
        incremental: bool = False,
        legacy: bool | None = None,
    ) -> None:
        _check(group_id, count, size)
        if incremental and legacy:
            raise ValueError("a legacy group cannot be incremental")
        flags = _INCREMENTAL if incremental else 0
        number = -self._setup(ring, group_id, count, size, flags, bool(legacy))
        if number == errno.EINVAL and legacy is None and not incremental:
            legacy, number = True, -self._setup(ring, group_id, count, size, 0, True)
        if number == errno.EINVAL and incremental:
            raise OSError(number, "this kernel has no incremental buffer groups (Linux 6.12)")
        if number:
            what = f"group {group_id} exists" if number == errno.EEXIST else "registering buffers"
            raise OSError(number, f"{what}: {os.strerror(number)}")
        self.group_id = group_id
        self.count = count
        self.size = size
        self.incremental = incremental
        self.legacy = bool(legacy)
        if legacy:
            ring.submit()

    def view(self, cqe: Cqe) -> memoryview:
        """Return the bytes that a completion brought; ValueError where it names no buffer."""
        if cqe.buffer_id is None:
            raise ValueError("the completion names no buffer")
        return self.get_buffer(cqe.buffer_id, max(cqe.res, 0), cqe.buffer_offset)

    def views(self, cqe: Cqe) -> list[memoryview]:
        """Return the bytes of a bundle (RecvSendFlags.BUNDLE), a view a buffer, in order."""
        if cqe.buffer_id is None:
            raise ValueError("the completion names no buffer")
        left, start, parts = max(cqe.res, 0), cqe.buffer_offset, []
        for buf_id in self.bundle_ids(cqe.buffer_id, left + start):
            length = min(left, self.size - start)
            parts.append(self.get_buffer(buf_id, length, start))
            left, start = left - length, 0
        return parts

    @staticmethod
    def is_done(cqe: Cqe) -> bool:
        """Whether the buffer is the application's: an incremental one may get more bytes."""
        return not cqe.flags & CqeFlags.BUF_MORE

    def __enter__(self) -> BufferGroup:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if not self.closed:
            _warn(f"unclosed buffer group {self!r}", ResourceWarning, source=self)

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self.available_count} available"
        return f"<BufferGroup {self.group_id}: {self.count} of {self.size} bytes, {state}>"


def _check(group_id: int, count: int, size: int) -> None:
    """Raise ValueError for what the kernel would only call EINVAL."""
    if not 0 <= group_id <= 65535:
        raise ValueError("group_id must be between 0 and 65535")
    if not 1 <= count <= _MOST or count & (count - 1):
        raise ValueError(f"count must be a power of two up to {_MOST}")
    if not 1 <= size <= _MEMORY:
        raise ValueError("size must be between 1 and 2 GiB")
