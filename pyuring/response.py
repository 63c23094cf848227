"""A reply that is more than bytes: status, header fields, and a body of many kinds.

Owns `Response` and the checks of what is put into it. Never sends: native code reads `status`,
`_fields` and `_body` of one whose body is bytes, the gateway takes every other kind.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from email.utils import format_datetime, formatdate
from http.cookies import CookieError, SimpleCookie
from typing import Any, BinaryIO, Literal, Union
from urllib.parse import quote

from pyuring.headers import Field, ResponseHeaders, check_field

__all__ = ["Response"]

Body = Union[bytes, str, bytearray, memoryview, Iterable[bytes | str], BinaryIO, "os.PathLike[str]"]
Fields = Mapping[str, str] | Iterable[Field]

OCTETS = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
JSON = "application/json"
_TEXT_FIELD = ("Content-Type", TEXT)
_OCTETS_FIELD = ("Content-Type", OCTETS)

# NaN and the infinities have no form in JSON (RFC 8259 §6).
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


class Response:
    """A reply. A handler returns it; it is sent once, and may be kept and returned again.

    `body` is bytes or str (encoded at once, as UTF-8), an iterable of them (sent as it yields), a
    binary file (sent by the kernel where that is possible, and closed) or a path. `status` is an
    int, or a str such as "404 Not Found". `headers` is a mapping, or (name, value) pairs.

    Without `content_type` and without such a field, str is text/plain, anything else
    application/octet-stream. Content-Length, Date and Connection are the server's to add.
    """

    __slots__ = ("_body", "_fields", "status")

    def __init__(
        self,
        body: Body = b"",
        status: int | str = 200,
        headers: Fields | None = None,
        content_type: str | None = None,
    ) -> None:
        # Handlers make one for each request: the plain cases first, and without a call.
        plain = type(status) is int and 200 <= status <= 599
        self.status = status if plain else _checked_status(status)
        self._fields: list[Field]
        if headers is None:
            if content_type is None:
                if isinstance(body, os.PathLike):  # its name says
                    self._fields = []
                else:
                    self._fields = [_TEXT_FIELD if isinstance(body, str) else _OCTETS_FIELD]
            else:
                self._fields = [check_field("Content-Type", content_type)]
        else:
            self._fields = _fields_of(body, headers, content_type)
        self._body: Any = body if type(body) is bytes else _encoded(body)

    # --- what there is to be made ----------------------------------------------------------

    @classmethod
    def json(cls, data: Any, status: int | str = 200, headers: Fields | None = None) -> Response:
        """Make a reply of `data` as JSON; TypeError or ValueError for what has no form in it."""
        return cls(_encode(data).encode(), status, headers, JSON)

    @classmethod
    def text(cls, text: str, status: int | str = 200, headers: Fields | None = None) -> Response:
        """Make a reply of plain text."""
        return cls(text, status, headers, TEXT)

    @classmethod
    def html(cls, text: str, status: int | str = 200, headers: Fields | None = None) -> Response:
        """Make a reply of HTML."""
        return cls(text, status, headers, HTML)

    @classmethod
    def redirect(cls, location: str, status: int = 302, headers: Fields | None = None) -> Response:
        """Make a reply that sends the client to `location`, which is percent-encoded if need be."""
        if status not in (300, 301, 302, 303, 307, 308):
            raise ValueError(f"{status} redirects nobody")
        reply = cls(b"", status, headers, TEXT)
        reply.headers["Location"] = quote(location, safe=_URL_SAFE)
        return reply

    @classmethod
    def file(
        cls,
        path: str | os.PathLike[str],
        *,
        content_type: str | None = None,
        download: str | None = None,
        cache_control: str | None = None,
        headers: Fields | None = None,
    ) -> Response:
        """Make a reply of the file `path`, with Range, ETag and the rest of static files.

        The file is opened when the reply is sent: 404 if it is not there. `download` is the name
        under which a browser saves it. The path is the application's: it is not confined.
        """
        from pathlib import Path

        reply = cls(Path(path), 200, headers, content_type)
        if cache_control is not None:
            reply.headers["Cache-Control"] = cache_control
        if download is not None:
            reply.headers["Content-Disposition"] = _attachment(download)
        return reply

    # --- changes --------------------------------------------------------------------------

    @property
    def headers(self) -> ResponseHeaders:
        """The header fields; a mapping without case that can be changed."""
        return ResponseHeaders(self._fields)

    @property
    def body(self) -> Any:
        """The body; str is encoded when it is set."""
        return self._body

    @body.setter
    def body(self, body: Body) -> None:
        self._body = _encoded(body)

    @property
    def status_code(self) -> int:
        """The status as a number."""
        return self.status if isinstance(self.status, int) else int(self.status[:3])

    def set_cookie(
        self,
        name: str,
        value: str = "",
        *,
        max_age: int | None = None,
        expires: datetime | float | None = None,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: Literal["Lax", "Strict", "None"] | None = "Lax",
    ) -> None:
        """Add a Set-Cookie field (RFC 6265 §4.1); ValueError for what cannot be in one.

        `max_age` is in seconds, `expires` a datetime or a Unix time. The value is quoted as
        http.cookies does it.
        """
        if any(c < " " or c == "\x7f" for c in value):
            raise ValueError(f"cookie {name!r}: a value cannot have control characters")
        cookie: SimpleCookie = SimpleCookie()
        try:
            cookie[name] = value
        except CookieError as error:
            raise ValueError(f"cookie {name!r}: {error}") from None
        morsel = cookie[name]
        if max_age is not None:
            morsel["max-age"] = int(max_age)
        if expires is not None:
            morsel["expires"] = http_date(expires)
        for key, given in (("path", path), ("domain", domain), ("samesite", samesite)):
            if given is not None:
                if _bad_in_cookie(given):
                    raise ValueError(f"cookie {name!r}: {given!r} cannot be its {key}")
                morsel[key] = given
        morsel["secure"], morsel["httponly"] = secure, httponly
        self._fields.append(check_field("Set-Cookie", morsel.OutputString()))

    def delete_cookie(
        self, name: str, *, path: str | None = "/", domain: str | None = None
    ) -> None:
        """Have the client forget a cookie; path and domain must be those it was set with."""
        self.set_cookie(name, max_age=0, expires=0, path=path, domain=domain)

    def set_etag(self, tag: str, *, weak: bool = False) -> None:
        """Name this version of the resource (RFC 9110 §8.8.3); `tag` without its quotes."""
        if not tag or any(c == '"' or not "!" <= c <= "~" for c in tag):
            raise ValueError(f"{tag!r} cannot be an entity tag")
        self.headers["ETag"] = f'W/"{tag}"' if weak else f'"{tag}"'

    def set_last_modified(self, when: datetime | float) -> None:
        """Say when the resource was last changed: a datetime or a Unix time."""
        self.headers["Last-Modified"] = http_date(when)

    def __repr__(self) -> str:
        """Return the status and what the body is."""
        body = self._body
        what = f"{len(body)} bytes" if isinstance(body, bytes) else type(body).__name__
        return f"<Response {self.status} {what}>"


def http_date(when: datetime | float) -> str:
    """Return a time as HTTP writes it (RFC 9110 §5.6.7); a naive datetime is taken as UTC."""
    if isinstance(when, datetime):
        aware = when if when.tzinfo is not None else when.replace(tzinfo=timezone.utc)
        return format_datetime(aware.astimezone(timezone.utc), usegmt=True)
    return formatdate(when, usegmt=True)


_URL_SAFE = "!#$%&'()*+,/:;=?@[]~"


def _encoded(body: Any) -> Any:
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, (bytearray, memoryview)):
        return bytes(body)
    if isinstance(body, dict) or not (
        hasattr(body, "__iter__") or hasattr(body, "read") or isinstance(body, (bytes, os.PathLike))
    ):
        raise TypeError(f"a body cannot be {type(body).__name__}; Response.json makes JSON")
    return body


def _checked_status(status: int | str) -> int | str:
    if isinstance(status, int):
        if not 200 <= status <= 599:
            raise ValueError(f"a status is 200 to 599, not {status}")
        return int(status)
    number = status[:3]
    if not (number.isascii() and number.isdigit() and 200 <= int(number) <= 599) or (
        len(status) > 3 and status[3] != " "
    ):
        raise ValueError(f'a status is 200 to 599 or like "404 Not Found", not {status!r}')
    check_field("status", status)
    return status


def _fields_of(body: Any, headers: Fields, content_type: str | None) -> list[Field]:
    """Return the fields that were given, with the type that was given or goes without saying."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    fields = [check_field(name, value) for name, value in pairs]
    if content_type is not None:
        ResponseHeaders(fields)["Content-Type"] = content_type
    elif not isinstance(body, os.PathLike) and not _has_type(fields):
        fields.append(_TEXT_FIELD if isinstance(body, str) else _OCTETS_FIELD)
    return fields


def _has_type(fields: list[Field]) -> bool:
    return any(len(name) == 12 and name.lower() == "content-type" for name, _ in fields)


def _bad_in_cookie(text: str) -> bool:
    return any(c == ";" or not " " <= c <= "~" for c in text)


def _attachment(name: str) -> str:
    """Return a Content-Disposition (RFC 6266), in the extended form only if it has to be."""
    plain = "".join(c if " " <= c <= "~" and c not in '"\\' else "_" for c in name)
    if plain == name:
        return f'attachment; filename="{plain}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
