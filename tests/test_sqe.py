"""The SQE builders, byte for byte against liburing's own, and what they refuse (F53).

tests/golden/sqes.json was made by tests/golden/make.py from liburing 2.15.
"""

from __future__ import annotations

import array
import ctypes
import json
import os
import platform
import re
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

import pyuring
from pyuring import Message, Sqe

sys.path.insert(0, str(Path(__file__).parent))
from golden import make
from golden.cases import CASES, symbol

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = json.loads((Path(__file__).parent / "golden" / "sqes.json").read_text("utf-8"))
FIELDS = ["off", "addr", "addr3"]
SQE = struct.Struct("<BBHiQQIIQHHIQQ")
NAMES = ["opcode", "flags", "ioprio", "fd", "off", "addr", "len", "op_flags"]
NAMES += ["user_data", "buf_index", "personality"]
NAMES += ["file_index", "addr3", "pad"]


def address_of(memory: Any) -> int:
    return ctypes.addressof((ctypes.c_char * len(memory)).from_buffer(memory))


class Memory:
    """Makes arguments, and remembers what liburing's symbolic addresses stand for."""

    epoll_size = 12 if platform.machine() == "x86_64" else 16

    def __init__(self) -> None:
        self.addresses: dict[int, int] = {}
        self.pointees: dict[int, bytes] = {}
        self.kept: list[Any] = []

    def target(self, number: int, size: int) -> bytearray:
        memory = bytearray(size)
        self.kept.append(memory)
        self.addresses[symbol(number)] = address_of(memory)
        return memory

    source = target

    def path(self, number: int) -> str:
        self.pointees[symbol(number)] = f"/path/{number}\0".encode()
        return f"/path/{number}"

    def expect(self, number: int, pointee: bytes, argument: Any) -> Any:
        self.pointees[symbol(number)] = pointee
        return argument

    def room(self, number: int, length: int, size: int) -> bytearray:
        self.pointees[symbol(length)] = struct.pack("=I", size)
        return self.target(number, size)

    def vector(self, number: int, *sizes: int) -> list[bytearray]:
        parts = [bytearray(size) for size in sizes]
        self.kept.append(parts)
        vectors = [struct.pack("=QQ", address_of(part), len(part)) for part in parts]
        self.pointees[symbol(number)] = b"".join(vectors)
        return parts

    def message(self, number: int) -> Message:
        message = Message([bytearray(5)], address=bytearray(16), control=bytearray(24))
        self.kept.append(message)
        self.addresses[symbol(number)] = address_of(message.header)
        return message

    def waiters(self, number: int) -> list[tuple[bytearray, int, int]]:
        futexes = [bytearray(4), bytearray(4)]
        self.kept.append(futexes)
        entries = [struct.pack("=QQII", 7, address_of(futex), 2, 0) for futex in futexes]
        self.pointees[symbol(number)] = b"".join(entries)
        return [(futex, 7, 2) for futex in futexes]


@pytest.mark.parametrize(
    ("case", "golden"),
    list(zip(CASES, GOLDEN, strict=True)),
    ids=[call for _, call, _ in CASES],
)
def test_a_builder_writes_what_liburing_writes(case: Any, golden: dict[str, str]) -> None:
    name, call, make_arguments = case
    assert golden["call"] == call, "tests/golden/make.py was not run after a change of the cases"
    memory = Memory()
    sqe = Sqe()
    getattr(sqe, f"prep_{name}")(*make_arguments(memory))
    expected = dict(zip(NAMES, SQE.unpack(bytes.fromhex(golden["sqe"])), strict=True))
    written = dict(zip(NAMES, SQE.unpack(bytes(sqe)), strict=True))
    for field in FIELDS:
        pointer = expected[field]
        if pointer in memory.pointees:
            pointee = memory.pointees.pop(pointer)
            assert ctypes.string_at(written[field], len(pointee)) == pointee, field
            expected[field] = written[field]
        elif pointer in memory.addresses:
            expected[field] = memory.addresses.pop(pointer)
    assert written == expected
    assert not memory.pointees
    assert not memory.addresses


def test_every_builder_has_a_golden_case() -> None:
    builders = {name[5:] for name in dir(Sqe) if name.startswith("prep_")}
    assert builders == {name for name, _, _ in CASES}


def test_every_opcode_of_linux_6_18_has_a_builder() -> None:
    opcodes = {bytes.fromhex(entry["sqe"])[0] for entry in GOLDEN}
    assert opcodes == set(range(len(pyuring.Op)))


def test_the_golden_table_is_what_a_current_liburing_says() -> None:
    include = Path(os.environ.get("LIBURING_INCLUDE", "/usr/include"))
    version = include / "liburing" / "io_uring_version.h"
    if not version.exists():
        pytest.skip("no liburing.h here (LIBURING_INCLUDE names its directory)")
    found = re.findall(r"VERSION_(?:MAJOR|MINOR)\s+(\d+)", version.read_text("utf-8"))
    if tuple(map(int, found)) < (2, 15):
        pytest.skip(f"liburing {'.'.join(found)} is older than 2.15")
    pytest.importorskip("ziglang")
    assert make.generate(include) == [entry["sqe"] for entry in GOLDEN]


def test_the_stub_names_every_builder_with_its_parameters() -> None:
    text = (ROOT / "pyuring" / "_ring_types.pyi").read_text("utf-8")
    text = re.sub(r"\(\s+self,", "(self,", text)
    for name in (name for name in dir(Sqe) if name.startswith("prep_")):
        match = re.search(rf"def {name}\(([^)]*(?:\([^)]*\)[^)]*)*)\) -> None", text)
        assert match, name
        wanted = getattr(Sqe, name).__text_signature__.strip("()").split(", ")[2:]
        parts = [part.strip() for part in re.split(r",\s*(?=\w+:|$)", match[1])][1:]
        given = [re.sub(r": [^=]*$", "", re.sub(r": .* = ", "=", part)) for part in parts if part]
        assert given == wanted, name


def test_arguments_may_be_named() -> None:
    one, other = Sqe(), Sqe()
    memory = bytearray(8)
    one.prep_read(3, memory, 9)
    other.prep_read(offset=9, buffer=memory, fd=3)
    assert bytes(one) == bytes(other)


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("read", (), TypeError),
        ("read", (0, bytearray(1), 0, 0), TypeError),
        ("read", ("0", bytearray(1)), TypeError),
        ("read", (0, "text"), TypeError),
        ("read", (0, b"read only"), BufferError),
        ("read", (0, None), TypeError),
        ("read", (-1, bytearray(1)), ValueError),
        ("read", (1 << 31, bytearray(1)), OverflowError),
        ("read", (0, bytearray(1), -2), ValueError),
        ("read", (0, bytearray(1), 1 << 64), OverflowError),
        ("read", (0, bytearray(1), 1.0), TypeError),
        ("read", (0, memoryview(bytearray(8))[::2]), BufferError),
        ("read_fixed", (0, bytearray(1), 0, 65536), OverflowError),
        ("readv", (0, [bytearray(1), b"x"]), BufferError),
        ("readv", (0, 7), TypeError),
        ("writev", (0, [b"x"] * 1025), ValueError),
        ("openat", (-100, "a\0b", 0), ValueError),
        ("openat", (-100, 5, 0), TypeError),
        ("openat2", (-100, "a", (1, 2)), ValueError),
        ("statx", (-100, "a", 0, 0, bytearray(255)), ValueError),
        ("connect", (0, b""), ValueError),
        ("connect", (0, ("127.0.0.1", 80)), TypeError),
        ("timeout", (-1,), ValueError),
        ("timeout", (float("nan"),), ValueError),
        ("timeout", ("1",), TypeError),
        ("sendmsg", (0, b"text"), AttributeError),
        ("recvmsg", (0, Message([b"read only"])), BufferError),
        ("files_update", (bytearray(7), 0), ValueError),
        ("pipe", (bytearray(4),), ValueError),
        ("provide_buffers", (bytearray(99), 10, 10, 0, 0), ValueError),
        ("cancel", ("x",), TypeError),
        ("futex_waitv", ([],), ValueError),
        ("waitid", (1, 1, bytearray(64), 4), ValueError),
    ],
)
def test_f53_a_wrong_argument_raises_at_once(
    name: str, arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    sqe = Sqe()
    before = bytes(sqe)
    with pytest.raises(error):
        getattr(sqe, f"prep_{name}")(*arguments)
    assert bytes(sqe) == before


def test_f53_names_are_checked() -> None:
    sqe = Sqe()
    with pytest.raises(TypeError, match="no parameter 'size'"):
        sqe.prep_read(0, bytearray(1), size=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'fd' twice"):
        sqe.prep_read(0, bytearray(1), fd=1)  # type: ignore[misc]
    with pytest.raises(TypeError, match="'buffer'"):
        sqe.prep_read(0)  # type: ignore[call-arg]


def test_f53_every_builder_refuses_junk() -> None:
    junk: list[Any] = [None, "x", b"", -1, 1 << 70, 1.5, object(), [], (), {}, bytearray(3), Sqe]
    for name in (name for name in dir(Sqe) if name.startswith("prep_")):
        for value in junk:
            for count in range(8):
                try:
                    getattr(Sqe(), name)(*[value] * count)
                except (TypeError, ValueError, OverflowError, BufferError, AttributeError):
                    pass


def test_fields_that_lead_to_memory_cannot_be_set() -> None:
    sqe = Sqe()
    sqe.prep_read(0, bytearray(8))
    for name in ("opcode", "fd", "length", "op_flags"):
        with pytest.raises(AttributeError):
            setattr(sqe, name, 1)
    sqe.offset = 77
    assert sqe.offset == 77
    sqe.prep_accept(0)
    with pytest.raises(ValueError, match="offset"):
        sqe.offset = 77


@pytest.mark.parametrize("value", [0, 1, -1, 1 << 63, 1 << 64, -(1 << 80), True])
def test_user_data_is_any_int(value: int) -> None:
    sqe = Sqe()
    sqe.user_data = value
    assert sqe.user_data == value
    assert SQE.unpack(bytes(sqe))[8] == value % 2**64
    with pytest.raises(TypeError):
        sqe.user_data = 1.5  # type: ignore[assignment]


def test_f51_prepared_memory_cannot_be_resized() -> None:
    sqe, memory = Sqe(), bytearray(8)
    sqe.prep_readv(0, [memory])
    with pytest.raises(BufferError):
        memory.append(1)
    sqe.prep_nop()
    memory.append(1)
    array_memory = array.array("i", [0, 0])
    sqe.prep_pipe(array_memory)
    del sqe
    array_memory.append(1)
