"""A library that does not belong to this Python code is refused, and the error says what to do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import pyuring._native as native

PACKAGE = Path(native.LIBRARY_PATH).parent


def remove(library: Path) -> None:
    library.unlink()


def truncate(library: Path) -> None:
    library.write_bytes(b"#!/bin/sh\n")


def other_machine(library: Path) -> None:
    data = bytearray(library.read_bytes())
    data[18:20] = (243).to_bytes(2, "little")  # EM_RISCV
    library.write_bytes(data)


def other_version(library: Path) -> None:
    source = library.parent / "_native.py"
    text = source.read_text("utf-8")
    changed = text.replace(f"ABI_VERSION = {native.ABI_VERSION}\n", "ABI_VERSION = 4242\n")
    assert changed != text
    source.write_text(changed, encoding="utf-8")


def other_layout(library: Path) -> None:
    data = library.read_bytes()
    layouts = native.layouts().encode()
    assert layouts in data
    library.write_bytes(data.replace(layouts, layouts.replace(b"@0+", b"@8+", 1)))


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (remove, "cannot be read"),
        (truncate, "is not a library"),
        (other_machine, "is for ELF machine 243"),
        (other_version, "ABI version"),
        (other_layout, "lays structs out"),
    ],
)
def test_f54_a_wrong_library_is_refused(
    tmp_path: Path, tamper: Callable[[Path], None], words: str
) -> None:
    copy = tmp_path / "pyuring"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    tamper(copy / "libpyuring.so")
    code = "import pyuring; pyuring.Ring"
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert process.returncode == 1
    last = process.stderr.strip().splitlines()[-1]
    assert "NativeLibraryError" in last
    assert words in last
    assert "install pyuring-engine again" in last


def test_results_become_errors() -> None:
    assert native.check(7, "asking") == 7
    with pytest.raises(FileNotFoundError, match="asking: No such file"):
        native.check(-2, "asking")
