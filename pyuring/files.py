"""Bodies that are parts of files: which bytes of which descriptor, and who keeps it open.

Owns descriptors of its own, closed when the last reference goes: native code keeps one to the
owner until the kernel has sent its bytes. Never reads a file.
"""

from __future__ import annotations

import io
import os
import stat
from typing import Any

__all__ = ["FileBody", "FileOwner", "file_body"]


class FileOwner:
    """A descriptor, closed when this object goes."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def fileno(self) -> int:
        """Return the descriptor."""
        return self.fd

    def close(self) -> None:
        """Close it now; again is nothing."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        """Close it."""
        self.close()


class FileBody:
    """Bytes and ranges of one file, one behind the other; `length` bytes together."""

    __slots__ = ("length", "owner", "parts")

    def __init__(self, owner: FileOwner, parts: list[bytes | tuple[int, int]]) -> None:
        """`parts` are bytes, or (offset, count) in the file."""
        self.owner = owner
        self.parts = parts
        self.length = sum(len(part) if isinstance(part, bytes) else part[1] for part in parts)


def file_body(file: Any) -> FileBody | None:
    """Return what is left of an open regular file, or None: it has to be read block by block.

    The file may be closed at once: the body has a descriptor of its own. Only what open(…, "rb")
    gives is taken: another object's fileno() may lead to other bytes (gzip's to the compressed).
    """
    raw = file.raw if type(file) in (io.BufferedReader, io.BufferedRandom) else file
    if type(raw) is not io.FileIO:
        return None
    try:
        if file.writable():
            file.flush()
        status = os.fstat(raw.fileno())
        if not stat.S_ISREG(status.st_mode):
            return None
        offset = file.tell()
        if status.st_size == 0 and os.pread(raw.fileno(), 1, offset):
            return None  # /proc's: their size is not known before they are read
        owner = FileOwner(os.dup(raw.fileno()))
    except (OSError, ValueError):  # not seekable, or closed: reading it will say so
        return None
    return FileBody(owner, [(offset, max(0, status.st_size - offset))])
