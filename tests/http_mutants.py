"""Requests for the differential test: cases of the table, changed in a few places.

Owns the randomness; knows neither our parser nor the others.
"""

from __future__ import annotations

import random

from http_cases import CASES

TOKENS = [
    b"\r\n", b"\r", b"\n", b"\0", b" ", b"\t", b":", b",", b";", b"0", b"5", b"a", b"0x", b"+",
    b"-", b"_", b"\x0b", b"\x0c", b"\x1c", b"\x7f", b"\x85", b"\xa0", b"\xc3\xbc", b"/", b"?", b"#",
    b"@", b"[", b"*", b"%", b"chunked", b"gzip", b"close", b"HTTP/1.1", b"HTTP/1.0", b"http://b/",
    b"\r\n\r\n", b"0\r\n\r\n",
]  # fmt: skip

LINES = [
    b"Host: a\r\n", b"Host: b\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Connection: close\r\n",
    b"Connection: keep-alive\r\n", b"Connection: upgrade\r\nUpgrade: x\r\n",
    b"Expect: 100-continue\r\n", b"X: y\r\n", b"X:\r\n", b" z\r\n", b"X : y\r\n",
]  # fmt: skip

SOURCES = [case.request for case in CASES if len(case.request) < 600]
GOOD = [case.request for case in CASES if case.status is None and len(case.request) < 600]


def mutant(rng: random.Random) -> bytes:
    """Return one request with up to three changes."""
    request = rng.choice(rng.choice((SOURCES, GOOD)))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        request = change(request, rng)
    return request


def change(request: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(request) + 1)
    kind = rng.randrange(7)
    if kind == 0:
        return request[:at] + rng.choice(TOKENS) + request[at:]
    if kind == 1:
        return request[:at] + rng.choice(TOKENS) + request[at + 1 :]
    if kind == 2:
        return request[:at] + bytes([rng.randrange(256)]) + request[at + 1 :]
    if kind == 3:
        return request[:at] + request[at + rng.randrange(1, 4) :]
    if kind == 4:
        return request[:at] + request[at : at + rng.randrange(12)] + request[at:]
    end = request.find(b"\r\n", at) + 2
    if end < 2:
        return request + rng.choice(TOKENS)
    if kind == 5:
        return request[:end] + rng.choice(LINES) + request[end:]
    return request[:end] + request[request.find(b"\r\n", end) + 2 :]
