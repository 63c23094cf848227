"""Files of a directory as replies, never one outside of it.

Owns the way from a path to an open descriptor, and the reply that describes it. Never follows a
link unless asked, never lists a directory, never reads a file: the kernel sends it.

Some facts about the way: each component is opened below the one before (openat(2), O_NOFOLLOW),
so that what was checked is what is sent, whatever is renamed meanwhile. Names with a NUL, and "..",
are refused before that; the path was percent-decoded once, natively, and is not decoded again.
"""

from __future__ import annotations

import errno
import functools
import mimetypes
import os
import secrets
import stat
import time
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

from pyuring.conditions import precondition, ranges
from pyuring.errors import HttpError
from pyuring.files import FileBody, FileOwner
from pyuring.response import Response, http_date

if TYPE_CHECKING:
    from pyuring.request import Request

__all__ = ["StaticFiles"]

# O_NONBLOCK: opening a FIFO must not hang; on a regular file it means nothing.
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_ENTER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC

_METHODS = ("GET", "HEAD")
_FIRST = -62135596800  # the year 1, as a Unix time

_MORE_TYPES = (
    ("text/javascript", ".js"), ("text/javascript", ".mjs"), ("application/wasm", ".wasm"),
    ("application/manifest+json", ".webmanifest"), ("image/webp", ".webp"),
    ("image/avif", ".avif"), ("font/woff", ".woff"), ("font/woff2", ".woff2"),
    ("font/ttf", ".ttf"), ("font/otf", ".otf"), ("text/markdown", ".md"),
    ("application/json", ".json"), ("image/svg+xml", ".svg"), ("video/webm", ".webm"),
)  # fmt: skip


class StaticFiles:
    """A handler that serves the files below `root`.

    `prefix` is what of the path comes before the file's; a mount sets it. `index` is sent for a
    directory, None: such are 404. Links are followed only with `follow_symlinks`, and then
    wherever they lead. `cache_control` is the field's value for every file. Names that begin with
    a dot (.git, .env) are 404 unless `dotfiles`; /.well-known/ (RFC 8615) is there for everybody.
    """

    __slots__ = ("cache_control", "dotfiles", "follow_symlinks", "index", "prefix", "root")

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        prefix: str = "/",
        index: str | None = "index.html",
        follow_symlinks: bool = False,
        cache_control: str | None = None,
        dotfiles: bool = False,
    ) -> None:
        if not prefix.startswith("/"):
            raise ValueError(f"prefix: {prefix!r} does not begin with a slash")
        if index is not None and ("/" in index or index in ("", ".", "..")):
            raise ValueError(f"index: {index!r} is not the name of a file")
        self.root = os.path.abspath(os.fspath(root))
        if not os.path.isdir(self.root):
            raise NotADirectoryError(f"{self.root} is not a directory")
        self.prefix = prefix.rstrip("/")
        self.index = index
        self.follow_symlinks = follow_symlinks
        self.cache_control = cache_control
        self.dotfiles = dotfiles

    def at(self, prefix: str) -> StaticFiles:
        """Return the same for another prefix."""
        return type(self)(
            self.root,
            prefix=prefix,
            index=self.index,
            follow_symlinks=self.follow_symlinks,
            cache_control=self.cache_control,
            dotfiles=self.dotfiles,
        )

    def __call__(self, request: Request) -> Response:
        """Reply with the file that the request's path names."""
        if request.method not in _METHODS:
            return _not_allowed()
        path = request.path
        if path == self.prefix:  # "/static": what is below "/static/"
            return self._with_slash(request)
        if not path.startswith(self.prefix + "/"):
            raise HttpError(404)
        names = path[len(self.prefix) + 1 :].split("/")
        is_directory = not names[-1]
        if is_directory:
            names.pop()
        if not all(map(_is_plain, names)) or not (self.dotfiles or _is_shown(names)):
            raise HttpError(404)
        if is_directory:
            if self.index is None:
                raise HttpError(404)
            names.append(self.index)
        owner = self._open(names)
        status = os.fstat(owner.fd)
        if stat.S_ISDIR(status.st_mode) and not is_directory and self.index is not None:
            return self._with_slash(request)
        reply = Response(b"", content_type=_type_of(names[-1]))
        if self.cache_control is not None:
            reply.headers["Cache-Control"] = self.cache_control
        return _described(request, reply, owner, status)

    def _with_slash(self, request: Request) -> Response:
        """Send the client to the directory's own path, where relative links are right."""
        path = "/" + request.raw_path.decode("latin-1").lstrip("/")  # never "//host"
        query = f"?{request.query_string}" if request.query_string else ""
        return Response.redirect(f"{quote(request.root_path)}{path}/{query}", 301)

    def _open(self, names: list[str]) -> FileOwner:
        """Open the file step by step, or raise HttpError 404."""
        if not names:  # no way to get here but for an index of None
            raise HttpError(404)
        extra = 0 if self.follow_symlinks else os.O_NOFOLLOW
        try:
            place = os.open(self.root, _ENTER)
            try:
                for name in names[:-1]:
                    below = os.open(name, _ENTER | extra, dir_fd=place)
                    os.close(place)
                    place = below
                return FileOwner(os.open(names[-1], _OPEN | extra, dir_fd=place))
            finally:
                os.close(place)
        except (OSError, ValueError) as error:
            raise _not_there(error) from None

    def __repr__(self) -> str:
        """Return the directory and the prefix."""
        return f"<StaticFiles {self.root!r} at {self.prefix or '/'!r}>"


def file_reply(request: Request, response: Response) -> Response:
    """Return the reply that sends the file a Response.file names; 404 if there is none."""
    path = os.fspath(response._body)
    try:
        owner = FileOwner(os.open(path, _OPEN))
    except (OSError, ValueError) as error:
        raise _not_there(error) from None
    reply = Response(b"", response.status, response._fields, _given_type(response, path))
    return _described(request, reply, owner, os.fstat(owner.fd))


def _described(
    request: Request, reply: Response, owner: FileOwner, status: os.stat_result
) -> Response:
    """Complete a reply for an open file: conditions, ranges, validators."""
    if not stat.S_ISREG(status.st_mode):
        raise HttpError(404)
    # Never later than the reply's own Date (RFC 9110 §8.8.2.1), nor before the first year.
    size, modified = status.st_size, max(_FIRST, min(int(status.st_mtime), int(time.time())))
    fields = reply.headers
    etag = fields.setdefault("ETag", f'"{status.st_mtime_ns:x}-{size:x}"')
    fields.setdefault("Last-Modified", http_date(modified))
    fields.setdefault("Accept-Ranges", "bytes")
    safe = request.method in _METHODS  # else the file is what came of it, not what is asked for
    verdict = precondition(request, etag, modified) if safe else None
    if verdict is not None:
        reply.status, reply.body = verdict, b""
        del fields["Content-Type"]
        return reply
    wanted = ranges(request, size, etag, modified) if reply.status_code == 200 else None
    if wanted is None:
        reply._body = FileBody(owner, [(0, size)])
    elif not wanted:
        reply.status, reply.body = 416, b""
        fields["Content-Range"] = f"bytes */{size}"
    elif len(wanted) == 1:
        (offset, count) = wanted[0]
        reply.status = 206
        fields["Content-Range"] = f"bytes {offset}-{offset + count - 1}/{size}"
        reply._body = FileBody(owner, [(offset, count)])
    else:
        _several(reply, owner, size, wanted)
    return reply


def _several(reply: Response, owner: FileOwner, size: int, wanted: list[tuple[int, int]]) -> None:
    """Make the reply multipart/byteranges (RFC 9110 §14.6)."""
    boundary = secrets.token_hex(12)
    content_type = reply.headers["Content-Type"]
    line_end = ""
    parts: list[bytes | tuple[int, int]] = []
    for offset, count in wanted:
        head = (
            f"{line_end}--{boundary}\r\nContent-Type: {content_type}\r\n"
            f"Content-Range: bytes {offset}-{offset + count - 1}/{size}\r\n\r\n"
        )
        line_end = "\r\n"
        parts += [head.encode("latin-1"), (offset, count)]
    parts.append(f"\r\n--{boundary}--\r\n".encode())
    reply.status = 206
    reply.headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
    reply._body = FileBody(owner, parts)


_NOT_THERE = (
    errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG,
    errno.ENXIO, errno.ENODEV,
)  # fmt: skip


def _not_there(error: OSError | ValueError) -> Exception:
    """Return 404 for a file that cannot be had, the error itself if the fault is ours (EMFILE)."""
    if isinstance(error, OSError) and error.errno not in _NOT_THERE:
        return error
    return HttpError(404)


def _is_plain(name: str) -> bool:
    """Return whether a component names something in its directory."""
    return name not in ("", ".", "..") and "\0" not in name


def _is_shown(names: list[str]) -> bool:
    return not any(name.startswith(".") for name in names[names[:1] == [".well-known"] :])


@functools.cache
def _types() -> mimetypes.MimeTypes:
    """Return the table of endings: the same on each machine, which the module's own is not."""
    types = mimetypes.MimeTypes()
    for kind, ending in _MORE_TYPES:
        types.add_type(kind, ending)
    return types


def _type_of(name: str) -> str:
    """Return a media type by a name's ending; compressed files are what they are."""
    kind, encoding = _types().guess_type(name, strict=False)
    if encoding is not None:
        kind = {"gzip": "application/gzip", "bzip2": "application/x-bzip2"}.get(encoding)
    if kind is None:
        return "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def _given_type(response: Response, path: str) -> str:
    given = response.headers.get("Content-Type")
    return _type_of(path) if given is None else given


def _not_allowed() -> Response:
    text = f"{HTTPStatus.METHOD_NOT_ALLOWED.phrase}\n"
    return Response(text, 405, {"Allow": ", ".join(_METHODS)})
