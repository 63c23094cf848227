"""Kinds of option values: how each is read from text (flag, environment) and from TOML.

Owns the conversion and the ranges. Never knows where a value came from: it raises ValueError
with what is wrong, and the caller says where.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

__all__ = [
    "Kind",
    "address",
    "addresses",
    "choice",
    "flag",
    "integer",
    "networks",
    "prefix",
    "seconds",
    "size",
    "text",
    "texts",
    "words",
]

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SIZE = re.compile(r"([0-9]{1,15})([kmg]?)(?:i?b)?")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """One kind: `read` takes text, `check` what TOML gave; both return the value to use."""

    metavar: str
    read: Callable[[str], Any]
    check: Callable[[Any], Any]
    is_flag: bool = False
    is_list: bool = False

    def read_all(self, values: list[str]) -> Any:
        """Read what was given one or several times; the last one counts unless it is a list."""
        if not self.is_list:
            return self.read(values[-1])
        return tuple(one for value in values for one in self.read(value))


def text(metavar: str) -> Kind:
    """Return the kind of free text; empty is None."""

    def check(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError(f"must be text, not {value!r}")
        if "\0" in value:
            raise ValueError("must not have a NUL")
        return value or None

    return Kind(metavar, check, check)


def texts(metavar: str) -> Kind:
    """Return the kind of a list of texts: separated by commas, or a TOML array."""
    return _many(metavar, str)


def addresses(metavar: str = "ADDR") -> Kind:
    """Return the kind of a list of addresses to listen on."""
    return _many(metavar, _address, most=8)


def networks(metavar: str = "LIST") -> Kind:
    """Return the kind of a list of IP addresses and networks, "unix" and "*"."""
    return _many(metavar, _network)


def address(metavar: str = "ADDR") -> Kind:
    """Return the kind of one address; a port alone is one on loopback."""

    def read(value: str) -> Any:
        if not value:
            return None
        if value.removeprefix(":").isdecimal():
            value = f"127.0.0.1:{value.removeprefix(':')}"
        return _address(value)

    def check(value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise ValueError(f"must be an address, not {value!r}")
        return read(value)

    return Kind(metavar, read, check)


def choice(*names: str) -> Kind:
    """Return the kind of a word out of several; case does not matter."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value.lower() not in names:
            raise ValueError(f"invalid choice: {value!r} (choose from {', '.join(names)})")
        return value.lower()

    return Kind("NAME", check, check)


def words(*names: str) -> Kind:
    """Return the kind of a list of words out of several."""
    return _many("LIST", choice(*names).check)


def integer(least: int, most: int) -> Kind:
    """Return the kind of a whole number within a range."""

    def check(value: Any) -> int:
        if type(value) is not int:
            raise ValueError(f"invalid int value: {value!r}")
        return _within(value, least, most)

    return Kind("N", lambda value: check(_int(value)), check)


def size(least: int, most: int = 1 << 40) -> Kind:
    """Return the kind of a number of bytes: 65536, 64K, 10M, 1G."""

    def check(value: Any) -> int:
        found = _SIZE.fullmatch(value.lower()) if isinstance(value, str) else None
        if found is not None:
            value = int(found[1]) * _UNITS[found[2]]
        if type(value) is not int:
            raise ValueError(f"invalid size: {value!r} (such as 65536, 64K, 10M)")
        return _within(value, least, most)

    return Kind("BYTES", check, check)


def seconds() -> Kind:
    """Return the kind of a time in seconds; fractions are allowed, 0 stands for never."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"invalid number of seconds: {value!r}")
        if not 0 <= value < 1e9:
            raise ValueError(f"must be at least 0 and below 1e9 seconds, not {value}")
        return float(value)

    def read(value: str) -> float:
        try:
            return check(float(value) if value.isascii() and "_" not in value else value)
        except ValueError as error:
            if "could not convert" not in str(error):
                raise
            raise ValueError(f"invalid number of seconds: {value!r}") from None

    return Kind("SECONDS", read, check)


def flag() -> Kind:
    """Return the kind of yes or no."""

    def read(value: str) -> bool:
        if value.lower() in _TRUE or value.lower() in _FALSE:
            return value.lower() in _TRUE
        raise ValueError(f"must be true or false, not {value!r}")

    def check(value: Any) -> bool:
        if type(value) is not bool:
            raise ValueError(f"must be true or false, not {value!r}")
        return value

    return Kind("", read, check, is_flag=True)


def prefix() -> Kind:
    """Return the kind of a path in a URL: empty, or "/" and no "/" at the end."""

    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"must be text, not {value!r}")
        value = str(value).rstrip("/")
        if value and not value.startswith("/"):
            raise ValueError(f"must start with '/', not {value!r}")
        if any(char in value for char in "?#\0") or not value.isprintable():
            raise ValueError(f"is no path of a URL: {value!r}")
        return str(value)

    return Kind("PATH", check, check)


def _many(metavar: str, one: Callable[[str], str], most: int = 1000) -> Kind:
    def check(value: Any) -> tuple[str, ...]:
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise ValueError(f"must be text or a list of texts, not {value!r}")
        parts = [part.strip() for each in value for part in each.split(",")]
        found = tuple(one(part) for part in parts if part)
        if len(found) > most:
            raise ValueError(f"at most {most} of them, not {len(found)}")
        return found

    return Kind(metavar, check, check, is_list=True)


def _address(value: str) -> str:
    from pyuring.addresses import parse

    parse(value)
    return value


def _network(value: str) -> str:
    import ipaddress

    if value in ("*", "unix"):
        return value
    try:
        if "/" in value:
            return str(ipaddress.ip_network(value))
        return str(ipaddress.ip_address(value))
    except ValueError as error:
        if "host bits" in str(error):
            network = ipaddress.ip_network(value, strict=False)
            raise ValueError(f"{value!r} is an address within {network}: say which") from None
        raise ValueError(
            f"{value!r} is neither an IP address, a network such as 10.0.0.0/8, 'unix' nor '*'"
        ) from None


def _int(value: str) -> int | str:
    """Return the number, or the text itself where it is none: the check then refuses it."""
    plain = value.removeprefix("-")
    return int(value) if plain.isascii() and plain.isdigit() and len(plain) < 20 else value


def _within(value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise ValueError(f"must be {least} to {most}, not {value}")
    return value
