"""What the fuzzer of the border passes: junk of every kind, and things that almost fit (F53).

Owns the tables of both. A value is made anew for each use by a function that is given the world;
its name is what a report prints, so that a finding can be typed in again. Never a descriptor that
is not of the test itself, and never an address outside of this machine.
"""

from __future__ import annotations

import array
import gc
import os
import sys
from collections.abc import Callable
from typing import Any

import pyuring

Make = Callable[[Any], Any]


class PlantedError(Exception):
    """Raised by arguments that are not what they seem; it has to come through as it is."""


class Index:
    """An int by __index__, which does something else first."""

    def __init__(self, value: object, first: Callable[[], object] = int) -> None:
        self.value = value
        self.first = first

    def __index__(self) -> Any:
        self.first()
        return self.value


class Fails:
    """Whatever native code asks of it raises."""

    def _fail(self, *_: object) -> Any:
        raise PlantedError("planted")

    __index__ = __float__ = __len__ = __iter__ = __bool__ = __fspath__ = fileno = _fail
    __getitem__ = __buffer__ = __call__ = __eq__ = _fail
    __hash__ = None  # type: ignore[assignment]


class Text(str):
    __slots__ = ()


class Number(int):
    pass


def _released() -> memoryview:
    view = memoryview(bytearray(64))
    view.release()
    return view


def _cyclic() -> list[Any]:
    cycle: list[Any] = []
    cycle.append(cycle)
    return cycle


def _plain(value: Any) -> Make:
    return lambda _: value


JUNK: dict[str, Make] = {
    **{repr(value): _plain(value) for value in (
        None, True, False, "", "x", "a\0b", "\udc80", "é" * 40, "x" * 5000, "GET", "/", ".",
        b"", b"x", b"a\0b", bytes(16), bytes(64), bytes(5000), (), [], {}, 1.5, -0.0, 1e300,
        float("inf"), float("-inf"), float("nan"), 2j, ..., NotImplemented,
    )},
    **{hex(value): _plain(value) for value in (
        *(sign * (1 << power) + step for power in (7, 8, 15, 16, 31, 32, 62, 63, 64, 200)
          for sign in (1, -1) for step in (-1, 0, 1)),
        -1, -2, -100, 2**16 * 3, 999_999,
    )},
    "object()": lambda _: object(),
    "type": _plain(type),
    "Ring": _plain(pyuring.Ring),
    "bytearray()": lambda _: bytearray(),
    "bytearray(64)": lambda _: bytearray(64),
    "a released view": lambda _: _released(),
    "a read-only view": lambda _: memoryview(bytes(64)),
    "every second byte": lambda _: memoryview(bytearray(64))[::2],
    "a view backwards": lambda _: memoryview(bytearray(64))[::-1],
    "two dimensions": lambda _: memoryview(bytearray(64)).cast("B", (8, 8)),
    "no dimensions": lambda _: memoryview(bytearray(8)).cast("Q", ()),
    "doubles": lambda _: array.array("d", [1.0, 2.0]),
    "an odd address": lambda _: memoryview(bytearray(65))[1:],
    "ints": lambda _: array.array("i", [-1, -1]),
    "a number": lambda _: Number(3),
    "a text": lambda _: Text("x"),
    "Fails()": lambda _: Fails(),
    "Index(1)": lambda _: Index(1),
    "Index('x')": lambda _: Index("x"),
    "Index(1 << 70)": lambda _: Index(1 << 70),
    "Index that collects": lambda _: Index(1, gc.collect),
    "Index that ends it": lambda world: Index(1, world.end),
    "a list of itself": lambda _: _cyclic(),
    "2000 items": lambda _: [b"x"] * 2000,
    "an iterator that fails": lambda _: (1 // 0 if i else b"x" for i in range(2)),
    "print of nothing": _plain(lambda *_: None),
    "a function that raises": _plain(Fails()._fail),
    "an exception": lambda _: PlantedError("planted"),
}  # fmt: skip

_SMALL = {repr(number): _plain(number) for number in (0, 1, 2, 3, 4, 7, 8, 16, 64, 100)}
_MEMORY: dict[str, Make] = {
    "bytearray(64)": lambda _: bytearray(64),
    "b'hello'": _plain(b"hello"),
    "a view": lambda _: memoryview(bytearray(64))[8:24],
    "bytearray(4096)": lambda _: bytearray(4096),
    "a view of the group": lambda world: world.view(),
}
_FILES: dict[str, Make] = {
    **{place: (lambda world, place=place: world.descriptor(place)) for place in (
        "reader", "writer", "left", "right", "null", "zero",
    )},
    "a file object": lambda world: world.file(),
}  # fmt: skip
_PATHS = {repr(path): _plain(path) for path in ("a", b"b", "no/such", os.curdir)}
_SECONDS = {repr(seconds): _plain(seconds) for seconds in (0, 0.0, 0.001, 0.01)}
_ADDRESSES: dict[str, Make] = {
    repr(address): _plain(address)
    for address in ("127.0.0.1:0", ("127.0.0.1", 0), "unix:socket", "[::1]:0", "fd:9999", "x")
}
_CALLS: dict[str, Make] = {
    "print of nothing": _plain(lambda *_: None),
    "pyuring.Protocol": _plain(pyuring.Protocol),
    "a function that raises": JUNK["a function that raises"],
}
_FIELDS: dict[str, Make] = {
    "[('a', 'b')]": lambda _: [("a", "b")],
    "{'a': 'b'}": lambda _: {"a": "b"},
    "[('a', 'b\\r\\nc: d')]": lambda _: [("a", "b\r\nc: d")],
    "[(1, 2), 3]": lambda _: [(1, 2), 3],
    "pairs from a generator": lambda _: (("a", str(i)) for i in range(3)),
    "500 fields": lambda _: [("a", "b" * 500)] * 500,
}


def _of_world(*names: str) -> dict[str, Make]:
    return {name: (lambda world, name=name: world.thing(name)) for name in names}


# What a parameter of this name is for; every other one gets small numbers, memory and junk.
FITTING: dict[str, dict[str, Make]] = {
    **dict.fromkeys(("fd", "fd_in", "fd_out", "epfd", "source"), _FILES),
    **dict.fromkeys(("buffer", "memory", "data", "control", "info", "futex", "buf"), _MEMORY),
    **dict.fromkeys(("path", "old_path", "new_path", "root", "name"), _PATHS),
    **dict.fromkeys(
        ("seconds", "min_seconds", "timeout", "delay", "when", "grace", "sq_thread_idle"), _SECONDS
    ),
    **dict.fromkeys(
        ("callback", "protocol_factory", "factory", "failed", "handler", "app", "attempt"), _CALLS
    ),
    **dict.fromkeys(("fields", "headers"), _FIELDS),
    "address": {**_ADDRESSES, **_MEMORY, "packed": _plain(pyuring.pack_address("socket"))},
    "buffers": {
        "[bytearray(8)] * 3": lambda _: [bytearray(8) for _ in range(3)],
        "one of it twice": lambda _: [bytearray(64)] * 2,
        "mixed": lambda _: [bytearray(8), b"x", memoryview(bytearray(8))],
        **_SMALL,
    },
    "files": {
        "[reader, -1]": lambda world: [world.descriptor("reader"), -1],
        **_SMALL,
    },
    "fds": {"ints": JUNK["ints"], "[-1, -1]": lambda _: [-1, -1]},
    "message": {
        **_of_world("Message"),
        "Message(nothing)": lambda _: pyuring.Message(),
        "Message of junk": lambda _: pyuring.Message([1, None], "x", 3),  # type: ignore[list-item]
        "Message without a header": lambda _: _headless(),
    },
    "ring": _of_world("Ring", "closed Ring"),
    "attach": _of_world("Ring", "closed Ring"),
    "cqe": _of_world("Cqe", "Cqe of a buffer"),
    "batch": _of_world("Batch"),
    "strategy": _of_world("HighTier", "BaseTier"),
    "asked": _of_world("HighTier", "BaseTier"),
    "profile": _of_world("CapabilityProfile"),
    "transport": _of_world("Transport"),
    "protocol": {"Protocol()": lambda _: pyuring.Protocol(), **_CALLS},
    "request": _of_world("Request"),
    "config": {
        "EngineConfig()": lambda _: pyuring.EngineConfig(),
        "HttpConfig()": lambda _: pyuring.HttpConfig(),
    },
    "body": {**_MEMORY, "'text'": _plain("text"), "[b'a', b'b']": lambda _: [b"a", b"b"]},
    "how": {"(0, 0, 0)": _plain((0, 0, 0)), "(1, 2)": _plain((1, 2))},
    "event": {"(1, 2)": _plain((1, 2)), "(-1, 'x')": _plain((-1, "x"))},
    "waiters": {"one": lambda _: [(bytearray(4), 0, 2)], "half": lambda _: [(bytearray(4), 0)]},
    "status": {**_SMALL, **{repr(s): _plain(s) for s in (200, 204, 404, 599, "200 OK", "2")}},
    "tier": {repr(t): _plain(t) for t in ("auto", "base", pyuring.Tier.HIGH, pyuring.Tier.NONE)},
}
ANYTHING: dict[str, Make] = {**_SMALL, **_MEMORY, **JUNK}


def _headless() -> pyuring.Message:
    message = pyuring.Message([bytearray(8)])
    message.header = bytearray(3)
    return message


if sys.version_info >= (3, 12):  # PEP 688: a buffer that Python code hands out

    class Closing:
        """Ends the world while it is asked for its memory, or gives it back."""

        def __init__(self, world: Any, at_release: bool) -> None:
            self.world, self.at_release = world, at_release

        def __buffer__(self, flags: int) -> memoryview:
            if not self.at_release:
                self.world.end()
            return memoryview(bytearray(64))

        def __release_buffer__(self, view: memoryview) -> None:
            if self.at_release:
                self.world.end()

    _MEMORY["a buffer that ends it"] = lambda world: Closing(world, False)
    _MEMORY["a buffer whose release ends it"] = lambda world: Closing(world, True)
    ANYTHING.update(_MEMORY)
