"""Every public call of pyuring, found by looking: what the fuzzer of the border is to try (F53).

Owns the list and the reasons for what is left out; a name that appears in `pyuring.__all__`, or a
method that a public class gains, is in the list by itself. Never calls anything.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyuring

# Names that are no calls of ours, with the reason; checked for staleness by test_border.py.
LEFT_OUT = {
    "AccessLog": "a type alias",
    "ExceptionHook": "a type alias",
    "FILE_INDEX_ALLOC": "a number",
    "NOTIF_USAGE_ZC_COPIED": "a number",
    "serve": "serves until it is told to end; what it takes, Http and Engine take",
    "BaseProtocol": "empty methods, for subclasses",
    "Protocol": "empty methods, for subclasses",
    "BufferedProtocol": "empty methods, for subclasses",
    "Worker.join": "waits for an end that nobody has asked for",
    "Worker.exception": "calls the hook with whatever it is given, which is what it is for",
    "Engine.listen": "serves until it is told to end; test_lifecycle_exit.py has it",
}
# What every class has from object, or dataclasses and dict write: not code of this project.
_COMMON = {name for name in dir(object) if name != "__init__"} | {
    "__getstate__", "__setstate__", "__setattr__", "__delattr__", "__hash__", "__eq__",
    "__class_getitem__", "__subclasshook__", "__init_subclass__", "__abstractmethods__",
    "__replace__", "__post_init__", "__del__", "__new__", "__dict__", "__weakref__",
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """One thing to try: a function, a constructor, a method, or a property read or written."""

    name: str  # "probe", "Ring", "Ring.submit", "Sqe.fd", "Sqe.fd="
    owner: str  # the class whose instance it needs, "" for none
    attribute: str
    kind: str  # "function", "method", "read", "write"
    parameters: tuple[str, ...]


def public_calls() -> list[Call]:
    """Return every public call, in the order of their names."""
    # 3.10 takes an alias for a class, so what is left out is not even looked into.
    names = [name for name in pyuring.__all__ if name not in LEFT_OUT]
    found = [call for name in names for call in _of_name(name)]
    return [call for call in found if call.name not in LEFT_OUT and call.owner not in LEFT_OUT]


def _of_name(name: str) -> Iterator[Call]:
    thing = getattr(pyuring, name)
    if isinstance(thing, type):
        if issubclass(thing, enum.Enum):
            return  # Python's own code, from the class statement on
        yield Call(name, "", name, "function", parameters_of(thing))
        if not issubclass(thing, BaseException):
            yield from _of_class(name, thing)
    elif inspect.isroutine(thing):
        yield Call(name, "", name, "function", parameters_of(thing))


def _of_class(name: str, thing: type) -> Iterator[Call]:
    for attribute in sorted(dir(thing)):
        special = attribute.startswith("__") and attribute.endswith("__")
        if attribute in getattr(thing, "__dataclass_fields__", ()):
            continue  # frozen: Python's own code again
        if attribute in _COMMON | {"__init__"} or (attribute.startswith("_") and not special):
            continue
        found = inspect.getattr_static(thing, attribute)
        where = f"{name}.{attribute}"
        if isinstance(found, (staticmethod, classmethod)) or inspect.isroutine(found):
            method = getattr(thing, attribute)
            yield Call(where, name, attribute, "method", parameters_of(method))
        elif inspect.isdatadescriptor(found):
            yield Call(where, name, attribute, "read", ())
            yield Call(f"{where}=", name, attribute, "write", ("value",))


def parameters_of(function: Any) -> tuple[str, ...]:
    """Return the names of a call's parameters without self; three nameless ones if unknown."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return ("a", "b", "c")
    plain = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    names = [n for n, p in signature.parameters.items() if n != "self" and p.kind not in plain]
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            names += _FIELDS.get(getattr(function, "__qualname__", ""), ())
        elif parameter.kind is parameter.VAR_POSITIONAL:
            names += ["argument"]
    return tuple(names)


# Whose keyword arguments are the fields of a configuration.
_FIELDS = {
    "Engine": tuple(pyuring.EngineConfig.__dataclass_fields__),
    "Http": tuple(pyuring.HttpConfig.__dataclass_fields__),
    "Wsgi": tuple(pyuring.HttpConfig.__dataclass_fields__),
}
