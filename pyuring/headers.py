"""Header fields as people read and write them: names without case, several values to a name.

Owns the view of a request's fields, the view of a reply's, and the check that keeps a field from
becoming two. Never folds, joins or decodes a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping

__all__ = ["Headers", "ResponseHeaders"]

Field = tuple[str, str]

_is_name = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch  # RFC 9110 §5.6.2
_bad_in_value = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search  # RFC 9110 §5.5


_MOST_NAMES = 512
_names: set[str] = set()  # those that have been found good: an application has few


def check_field(name: str, value: str) -> Field:
    """Return the field, or raise: ValueError when it would be none, or more than one."""
    try:
        if name in _names and value.isascii() and value.isprintable():
            return name, value
    except (AttributeError, TypeError):
        pass  # not two strings
    return _check_slowly(name, value)


def _check_slowly(name: str, value: str) -> Field:
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(f"a header field is two strings, not {name!r}: {value!r}")
    if not _is_name(name):
        raise ValueError(f"{name!r} is no header field's name")
    if _bad_in_value(value):
        raise ValueError(f"{name}: a value cannot have control characters: {value!r}")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"{name}: a value is latin-1 text, not {value!r}") from None
    if len(_names) < _MOST_NAMES:
        _names.add(name)
    return name, value


class Headers(Mapping[str, str]):
    """A request's header fields: a mapping without case, from a name to its first value.

    Iteration gives each name once, as it was sent first; `items(multi=True)` is `fields`.
    """

    __slots__ = ("_index", "fields")

    def __init__(self, fields: list[Field]) -> None:
        self.fields = fields
        """Every field as it was sent, in order."""
        self._index: dict[str, list[str]] | None = None

    def __getitem__(self, name: str) -> str:
        """Return the first value of `name`."""
        try:
            return self._values()[name.lower()][0]
        except KeyError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        seen = set()
        for name, _ in self.fields:
            lower = name.lower()
            if lower not in seen:
                seen.add(lower)
                yield name

    def __len__(self) -> int:
        """Return the number of different names."""
        return len(self._values())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values()

    def get_all(self, name: str) -> list[str]:
        """Return every value of `name`, in order; [] when there is none."""
        return list(self._values().get(name.lower(), ()))

    getlist = get_all

    def __repr__(self) -> str:
        """Return the fields."""
        return f"Headers({self.fields!r})"

    def _values(self) -> dict[str, list[str]]:
        index = self._index
        if index is None:
            index = {}
            for name, value in self.fields:
                index.setdefault(name.lower(), []).append(value)
            self._index = index
        return index


class ResponseHeaders(MutableMapping[str, str]):
    """A reply's header fields, which can be changed; names have no case. Checks what is set."""

    __slots__ = ("fields",)

    def __init__(self, fields: list[Field]) -> None:
        self.fields = fields
        """The reply's own list: (name, value), in the order they are sent."""

    def __getitem__(self, name: str) -> str:
        """Return the first value of `name`."""
        lower = name.lower()
        for known, value in self.fields:
            if known.lower() == lower:
                return value
        raise KeyError(name)

    def __setitem__(self, name: str, value: str) -> None:
        """Give `name` this value alone, where its first one stood."""
        field = check_field(name, value)
        lower = name.lower()
        places = [at for at, (known, _) in enumerate(self.fields) if known.lower() == lower]
        if not places:
            self.fields.append(field)
            return
        self.fields[places[0]] = field
        for at in reversed(places[1:]):
            del self.fields[at]

    def __delitem__(self, name: str) -> None:
        """Drop every value of `name`."""
        lower = name.lower()
        kept = [field for field in self.fields if field[0].lower() != lower]
        if len(kept) == len(self.fields):
            raise KeyError(name)
        self.fields[:] = kept

    def __iter__(self) -> Iterator[str]:
        return iter(Headers(self.fields))

    def __len__(self) -> int:
        """Return the number of different names."""
        return len({name.lower() for name, _ in self.fields})

    def add(self, name: str, value: str) -> None:
        """Add a value besides those that `name` has."""
        self.fields.append(check_field(name, value))

    def get_all(self, name: str) -> list[str]:
        """Return every value of `name`, in order; [] when there is none."""
        lower = name.lower()
        return [value for known, value in self.fields if known.lower() == lower]

    getlist = get_all

    def __repr__(self) -> str:
        """Return the fields."""
        return f"ResponseHeaders({self.fields!r})"
