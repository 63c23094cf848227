"""What an application may hand to start_response: the checks of PEP 3333, each with its message.

Owns the rules for a status and for header fields, and the short lists of what has passed them
already. Never looks for CR, LF or NUL in a value: native code refuses those when the head is
written, whatever gateway it comes from.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    KNOWN_STATUSES: set[str]
    KNOWN_NAMES: set[str]
else:
    from pyuring._native import KNOWN_NAMES, KNOWN_STATUSES

__all__ = ["KNOWN_NAMES", "KNOWN_STATUSES", "Fields", "check_field", "check_status", "length_of"]

Fields = list[tuple[str, str]]

_STATUS = re.compile(r"[2-5][0-9][0-9](?: [ -~\x80-\xff]*)?\Z")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # RFC 9110 §5.6.2
_DIGITS = re.compile(r"[0-9]{1,19}\Z")

# RFC 2616 §13.5.1, which PEP 3333 refers to: they are the server's, never the application's.
_HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailers",
        "transfer-encoding",
        "upgrade",
    )
)

# What has passed, as written by the application: one look-up instead of a check a reply, in native
# code as a rule. Plain strings only, which compare without Python code. An application that makes
# its names up must not fill the memory, so the lists end.
_MOST_KNOWN = 1000


def check_status(status: Any) -> None:
    """Raise unless `status` is a string like "200 OK"; remember it when it is.

    1xx are no replies, and PEP 3333 has no way to send one.
    """
    if not isinstance(status, str):
        raise TypeError(f"the status must be a str like '200 OK', not {status!r}")
    if not _STATUS.match(status):
        raise ValueError(f"the status must be like '200 OK', from 200 to 599, not {status!r}")
    if type(status) is str and len(KNOWN_STATUSES) < _MOST_KNOWN:
        KNOWN_STATUSES.add(status)


def check_field(field: Any) -> None:
    """Raise unless `field` is a header field that an application may set; remember its name."""
    if not isinstance(field, tuple) or len(field) != 2:
        raise TypeError(f"a header field must be a tuple (name, value), not {field!r}")
    name, value = field
    if not isinstance(name, str):
        raise TypeError(f"a header field's name must be a str, not {name!r}")
    if not isinstance(value, str):  # a subclass will do: template engines mark safe text so
        raise TypeError(f"the value of the header field {name} must be a str, not {value!r}")
    if not _TOKEN.match(name):
        raise ValueError(f"not a header field's name: {name!r}")
    if name.lower() in _HOP_BY_HOP:
        raise ValueError(f"the header field {name} is the server's to set (PEP 3333, hop-by-hop)")
    if type(name) is str and len(KNOWN_NAMES) < _MOST_KNOWN:
        KNOWN_NAMES.add(name)


def length_of(fields: Fields) -> int | None:
    """Return the Content-Length among the fields, None if there is none; ValueError if wrong."""
    for name, value in fields:
        if len(name) == 14 and name.lower() == "content-length":
            if not _DIGITS.match(value):
                raise ValueError(f"Content-Length must be a number of bytes, not {value!r}")
            return int(value)
    return None
