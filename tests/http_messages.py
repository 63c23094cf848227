"""A case of the HTTP table, and the small words that requests are put together from.

The table itself is http_cases.py; nothing here decides what is accepted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

INCOMPLETE = 0


@dataclass(frozen=True)
class Case:
    """One request (or what claims to be one), and what becomes of it."""

    name: str
    section: str
    request: bytes
    status: int | None
    note: str = ""


def cut_points(case: Case, most: int = 400) -> Iterator[int]:
    """Yield where to cut a case in two: everywhere, or at its edges and evenly when it is long."""
    length = len(case.request)
    if length <= most:
        yield from range(1, length)
    else:
        edge, step = most // 4, max(1, length // (most // 2))
        yield from range(1, edge)
        yield from range(edge, length - edge, step)
        yield from range(length - edge, length)


def get(*fields: bytes, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join([line, b"Host: a", *fields, b"", b""])


def post(*fields: bytes, body: bytes = b"", line: bytes = b"POST / HTTP/1.1") -> bytes:
    return get(*fields, line=line) + body


def chunked(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


def coding(*values: bytes, body: bytes = b"0\r\n\r\n") -> bytes:
    return post(*(b"Transfer-Encoding:" + value for value in values), body=body)


def lengths(*values: bytes, body: bytes = b"hello") -> bytes:
    return post(*(b"Content-Length: " + value for value in values), body=body)


def host(value: bytes | None, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return line + b"\r\n" + (b"" if value is None else b"Host:" + value + b"\r\n") + b"\r\n"


def target(text: bytes, method: bytes = b"GET") -> bytes:
    return get(line=method + b" " + text + b" HTTP/1.1")


Rows = list[tuple[str, bytes, "int | None"]]


def group(section: str, rows: Rows, note: str = "") -> list[Case]:
    return [Case(name, section, request, status, note) for name, request, status in rows]
