"""What a client says it has already, and which part it wants: RFC 9110 §13 and §14.

Owns the reading of If-* and Range fields and the verdict on them. Never opens a file and never
sends: dates, tags and a size come in, a verdict goes out.
"""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyuring.request import Request

__all__ = ["precondition", "ranges"]

_MOST_RANGES = 8  # more in one request is an attack, or worth the whole file (RFC 9110 §14.2)

_is_range = re.compile(r"([0-9]{0,19})-([0-9]{0,19})").fullmatch
_tags = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"').findall


def precondition(request: Request, etag: str, modified: int) -> int | None:
    """Return 304 or 412 if the request's conditions say so, else None (RFC 9110 §13.2.2).

    `modified` is a Unix time in whole seconds; `etag` has its quotes, and is strong.
    """
    header = request.header
    if (wanted := header("if-match")) is not None:
        if not _matches(wanted, etag, weak=False):
            return 412
    elif (since := _date(header("if-unmodified-since"))) is not None and modified > since:
        return 412
    if (known := header("if-none-match")) is not None:
        return 304 if _matches(known, etag, weak=True) else None
    since = _date(header("if-modified-since"))
    return 304 if since is not None and modified <= since else None


def ranges(request: Request, size: int, etag: str, modified: int) -> list[tuple[int, int]] | None:
    """Return the (offset, count)s that are wanted; [] when none can be had; None: all of it.

    What is not understood is ignored (RFC 9110 §14.2), and so are a condition that does not hold
    (If-Range), too many ranges, and several that together are more than the whole.
    """
    text = request.header("range")
    if text is None or request.method != "GET":
        return None
    condition = request.header("if-range")
    if condition is not None and not _still(condition, etag, modified):
        return None
    unit, equals, rest = text.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    wanted: list[tuple[int, int]] = []
    items = [item.strip(" \t") for item in rest.split(",")]
    items = [item for item in items if item]
    if not items or len(items) > _MOST_RANGES:
        return None
    for item in items:
        found = _is_range(item)
        if found is None or item == "-":
            return None
        first, last = found[1], found[2]
        if first and last and int(last) < int(first):
            return None
        start = int(first) if first else max(0, size - int(last))
        end = min(size, int(last) + 1) if first and last else size
        if start < end:
            wanted.append((start, end - start))
    if len(wanted) > 1 and sum(count for _, count in wanted) > size:
        return None
    return wanted


def _still(condition: str, etag: str, modified: int) -> bool:
    """Return whether If-Range holds: the very same tag, or exactly the date (RFC 9110 §13.1.5)."""
    if condition.startswith(('"', "W/")):
        return condition == etag and not etag.startswith("W/")
    # A date that is a second old at least: within it the file may have changed twice (§8.8.2.2).
    return _date(condition) == modified and modified < time.time() - 1


def _matches(listed: str, etag: str, *, weak: bool) -> bool:
    if listed.strip() == "*":
        return True
    if weak:
        return any(tag.removeprefix("W/") == etag.removeprefix("W/") for tag in _tags(listed))
    return not etag.startswith("W/") and etag in _tags(listed)


def _date(text: str | None) -> int | None:
    """Return a date's Unix time; None for none, and for what is no date (RFC 9110 §13.1.3)."""
    if text is None:
        return None
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
