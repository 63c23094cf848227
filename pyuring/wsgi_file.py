"""`wsgi.file_wrapper`: files that the kernel sends itself, and file-like objects read in blocks.

Owns the wrapper that an application puts around a file, and the `wsgi.input` of requests that have
no body. Never decides which of the two ways a file goes: files.py does, and trusts no `fileno()`
that may lead to other bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from pyuring.files import FileBody, file_body

__all__ = ["FileWrapper", "NoBody"]

_BLOCK = 64 * 1024


class FileWrapper:
    """Give a file-like object as a reply: `environ["wsgi.file_wrapper"](file, block_size)`.

    Sent from where the file stands to its end, or as many bytes as Content-Length says. `close`
    closes the file. It is an iterable of blocks too, for middleware that looks inside.
    """

    __slots__ = ("_file", "block_size")

    def __init__(self, file: Any, block_size: int = _BLOCK) -> None:
        self._file = file
        self.block_size = block_size if block_size > 0 else _BLOCK

    def __iter__(self) -> Iterator[bytes]:
        """Return itself."""
        return self

    def __next__(self) -> bytes:
        """Read the next block."""
        block: bytes = self._file.read(self.block_size)
        if block:
            return block
        raise StopIteration

    def close(self) -> None:
        """Close the file, if it can be closed."""
        close = getattr(self._file, "close", None)
        if close is not None:
            close()

    def body(self, length: int | None) -> FileBody | None:
        """Return `length` bytes of a regular file, None for all that is left, without reading it.

        None when it has to be read; ValueError when it has fewer bytes.
        """
        whole = file_body(self._file)
        if whole is None or length is None or length == whole.length:
            return whole
        if length > whole.length:
            whole.owner.close()
            raise ValueError(f"Content-Length is {length}, the file has {whole.length} bytes left")
        ((offset, _),) = whole.parts
        return FileBody(whole.owner, [(offset, length)])


class NoBody(io.BytesIO):
    """The input of all requests without a body: nothing to read, and nothing that changes it."""

    def __init__(self) -> None:
        super().__init__()

    def __setattr__(self, name: str, value: Any, /) -> None:
        raise AttributeError(f"{name!r}: the input of requests without a body is shared by them")

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Stay at the end."""
        return 0

    def close(self) -> None:
        """Stay open, for the other requests."""

    def write(self, data: Any, /) -> int:
        """Raise: it is read only."""
        raise io.UnsupportedOperation("a request's body cannot be written to")

    def truncate(self, size: int | None = None, /) -> int:
        """Raise: it is read only."""
        raise io.UnsupportedOperation("a request's body cannot be written to")

    def writelines(self, lines: Any, /) -> None:
        """Raise: it is read only."""
        raise io.UnsupportedOperation("a request's body cannot be written to")

    def __setstate__(self, state: Any, /) -> None:
        raise io.UnsupportedOperation("a request's body cannot be written to")
