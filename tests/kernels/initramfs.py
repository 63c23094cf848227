"""Packs what a kernel starts from: a cpio archive with a Python, pyuring, and the guest's modules.

The archive is a function of the files that go in: their names, contents, permission bits and times.
Owners are root and nothing depends on the machine's clock, so that the same tree gives the same
bytes. It asks no network and needs no root. Format: the kernel's
Documentation/driver-api/early-userspace/buffer-format.rst, "newc".
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["Archive", "build"]

TESTS = Path(__file__).resolve().parent.parent
GUEST = "/guest"  # the guest's modules; beside it the wheel's, in /wheel
WHEEL = "/wheel"
# Of the standard library; nothing in a machine asks for these, and some need half of a desktop.
LEFT_OUT = {
    "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "site-packages",
    "dist-packages", "pydoc_data", "venv",
}  # fmt: skip
LEFT_OUT_NAMES = re.compile(
    r"config-|_test|xx|_tkinter|_sqlite3|_curses|readline|_dbm|_gdbm|nis|_uuid|_ssl|.*\.opt-\d\.pyc$|.*\.a$"
)
FROM_TESTS = ("peers.py", "http_client.py", "kernels/__init__.py")

_INIT = """#!{python} -B
import sys
sys.path[:0] = ["{guest}", "{wheel}"]
from kernels.guest import init
init.main()
"""


class Archive:
    """The files of one archive; `pack` gives its bytes."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, int, bytes]] = {}

    def add(self, name: str, content: bytes, mode: int = 0o644, time: int = 0) -> None:
        """Add a file under an absolute name, and the directories above it."""
        self._above(name)
        self._entries[name.lstrip("/")] = (stat.S_IFREG | mode, time, content)

    def add_file(self, path: Path, name: str | None = None) -> None:
        """Add a file of this machine, by default under the name it has here; links are followed."""
        found = path.stat()
        self.add(name or str(path), path.read_bytes(), found.st_mode & 0o777, int(found.st_mtime))

    def add_directory(self, name: str) -> None:
        """Add an empty directory."""
        self._above(name + "/.")

    def _above(self, name: str) -> None:
        parts = name.strip("/").split("/")[:-1]
        for count in range(1, len(parts) + 1):
            self._entries.setdefault("/".join(parts[:count]), (stat.S_IFDIR | 0o755, 0, b""))

    def names(self) -> list[str]:
        """Return what is in it, in the order of the archive: a directory before what it holds."""
        return sorted(self._entries)

    def pack(self) -> bytes:
        """Return the archive, not compressed: the kernel reads it from memory."""
        pieces: list[bytes] = []
        for number, name in enumerate(self.names(), start=1):
            mode, time, content = self._entries[name]
            pieces += _entry(name, number, mode, time, content)
        pieces += _entry("TRAILER!!!", 0, 0, 0, b"")
        return b"".join(pieces)


def _entry(name: str, number: int, mode: int, time: int, content: bytes) -> Iterator[bytes]:
    """Yield one entry: thirteen numbers and the name, then the content, each padded to four."""
    raw = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (number, mode, 0, 0, links, time, len(content), 0, 0, 0, 0, len(raw), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + raw
    yield head + bytes(-len(head) % 4)
    yield content + bytes(-len(content) % 4)


def build(wheel: Path) -> bytes:
    """Return the archive for the wheel, with the Python that runs this: Debian's, pyenv's, any."""
    archive = Archive()
    for name in ("/proc", "/sys", "/dev", "/tmp"):
        archive.add_directory(name)
    add_python(archive)
    with zipfile.ZipFile(wheel) as packed:
        for info in packed.infolist():
            if not info.is_dir():
                archive.add(f"{WHEEL}/{info.filename}", packed.read(info))
    for path in (*(TESTS / name for name in FROM_TESTS), *(TESTS / "kernels/guest").glob("*.py")):
        archive.add(f"{GUEST}/{path.relative_to(TESTS)}", path.read_bytes())
    init = _INIT.format(python=python_program(), guest=GUEST, wheel=WHEEL)
    archive.add("/init", init.encode(), 0o755)
    return archive.pack()


def python_program() -> Path:
    """Return this Python's real program, outside of any virtual environment."""
    name = f"python{sysconfig.get_config_var('VERSION')}{getattr(sys, 'abiflags', '')}"
    return Path(sys.base_prefix, "bin", name)


def add_python(archive: Archive) -> None:
    """Add the program, its standard library, and every shared library that one of these needs."""
    program = python_program()
    files = [program, *standard_library(Path(sysconfig.get_path("stdlib")))]
    needing = [program, *(path for path in files if path.suffix == ".so")]
    for path in (*files, *shared_libraries(needing)):
        archive.add_file(path)


def standard_library(top: Path) -> Iterator[Path]:
    """Yield the files below `top` that a machine may need, in a stable order."""
    for directory, names, files in os.walk(top):
        names[:] = sorted(n for n in names if n not in LEFT_OUT and not LEFT_OUT_NAMES.match(n))
        for name in sorted(files):
            if not LEFT_OUT_NAMES.match(name):
                yield Path(directory, name)


def shared_libraries(programs: Iterable[Path]) -> list[Path]:
    """Return what the dynamic linker would load for these, itself included (ldd(1))."""
    command = ["ldd", *map(str, programs)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"LC_ALL": "C"})
    missing = sorted(set(re.findall(r"^\s*(\S+) => not found", done.stdout, re.M)))
    if missing:
        raise FileNotFoundError(f"this Python needs {', '.join(missing)}, which ldd does not find")
    found = re.findall(r"^\s*(?:\S+ => )?(/\S+) \(0x", done.stdout, re.M)
    return [Path(name) for name in sorted(set(found))]
