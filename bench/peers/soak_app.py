"""The HTTP application of soak.py: bodies that the client can compute, and sums of what it sent.

`GET /bytes/SEED/SIZE` in one piece, `/parts/…` in many, `/file/…` from a file; `POST /sum` answers
with length and CRC of the body, `POST /echo` with the body. `GET /trim` gives back what is free
of the heap. Every reply names its process.
"""

from __future__ import annotations

import ctypes
import os
import random
import re
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PIECE = 64 * 1024
PERIOD = 4093  # a prime: no block size of anybody's fits it, so a lost or swapped block shows

_BODY = re.compile(r"/(bytes|parts|file)/(\d{1,10})/(\d{1,7})", re.ASCII)


def content(seed: int, size: int) -> bytes:
    """The bytes that belong to a seed: random, and repeated when there are many."""
    period = random.Random(seed).randbytes(min(size, PERIOD) or 1)
    return (period * (size // len(period) + 1))[:size]


def app(request: Any) -> Any:
    """Answer by the first part of the path."""
    from pyuring.http import Response

    if request.path == "/sum":
        reply = Response.text(_sum_of(request))
    elif request.path == "/echo":
        reply = Response(request.body)
    elif request.path == "/trim":
        ctypes.CDLL(None).malloc_trim(0)
        reply = Response("")
    elif found := _BODY.fullmatch(request.path):
        kind, seed, size = found[1], int(found[2]), int(found[3])
        reply = Response(_body(kind, seed, size), content_type="application/octet-stream")
    else:
        reply = Response("what somebody has made up", 404)
    reply.headers["X-Pid"] = str(os.getpid())
    return reply


def _sum_of(request: Any) -> str:
    count = crc = 0
    while piece := request.stream.read(PIECE):
        count, crc = count + len(piece), zlib.crc32(piece, crc)
    return f"{count} {crc}"


def _body(kind: str, seed: int, size: int) -> Any:
    body = content(seed, size)
    if kind == "parts":
        return _parts(body, seed)
    if kind == "file":
        return _file(body)
    return body


def _parts(body: bytes, seed: int) -> Iterator[bytes]:
    """Blocks of random sizes."""
    rng = random.Random(~seed)
    at = 0
    while at < len(body):
        step = rng.choice((1, 100, 4096, 30_000, 200_000))
        yield body[at : at + step]
        at += step


def _file(body: bytes) -> Any:
    """An open file of these bytes that has no name any more: the reply closes it."""
    fd, name = tempfile.mkstemp()
    os.close(fd)
    place = Path(name)
    place.write_bytes(body)
    file = place.open("rb")
    place.unlink()
    return file
