"""What the sites reply with; asked for by name, so that the tests can compare."""

from __future__ import annotations

import hashlib

LARGE = bytes(range(256)) * (40 * 1024)  # 10 MiB
BLOCKS = [b"block %d\n" % number for number in range(200)]


class BrokenError(Exception):
    """What the route /error raises."""


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
