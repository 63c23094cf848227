"""pyuring with the library whose freed memory nobody may touch (zig/poison.zig), in a folder.

It owns the folder. A sabotage of the sources shows that the library notices what it is built for.
"""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pyuring

ROOT = Path(__file__).resolve().parents[2]
STOPPED = "the kernel used memory after it was given back"

# F38 as it was in other engines: the descriptor is closed and the slot freed, its buffer with it,
# while the receive is armed. Texts of zig/ that are replaced: file -> (before, after).
RELEASED_AT_CLOSE = {
    "closing.zig": [
        (
            "if (connection.receive == .armed) {\n        if (!worker.issue_cancel",
            "if (false) {\n        if (!worker.issue_cancel",
        ),
        (
            "if (connection.ops > 0 or connection.flags.close_in_flight) return true;",
            "if (connection.send != .none or connection.flags.close_in_flight) return true;\n"
            "    if (connection.target) |target| worker.handler.release(target.owner);\n"
            "    connection.target = null;",
        ),
    ],
    "connection.zig": [
        ("assert(connection.ops == 0 and connection.phase", "assert(connection.phase"),
    ],
}
Sabotage = dict[str, list[tuple[str, str]]]


def poisoned_package(folder: Path, sabotage: Sabotage | None = None) -> str:
    """Build the library from the sources, and return a path to import pyuring with it from."""
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("building the poisoned library needs the package ziglang")
    sources = folder / "sources"
    shutil.copytree(ROOT / "zig", sources / "zig")
    for name in ("build.zig", "build.zig.zon", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, sources)
    for name, changes in (sabotage or {}).items():
        path = sources / "zig" / name
        text = path.read_text("utf-8")
        for before, after in changes:
            assert text.count(before) == 1, f"{name}: {before!r} is to be sabotaged, and not there"
            text = text.replace(before, after)
        path.write_text(text, "utf-8")
    command = [sys.executable, "-m", "ziglang", "build", "-Dpoison=true", "-Doptimize=ReleaseSafe"]
    command += [f"-Dtarget={platform.machine()}-linux-gnu.2.17", "--prefix", str(folder / "out")]
    done = subprocess.run(command, cwd=sources, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    package = folder / "package"
    ignored = shutil.ignore_patterns("__pycache__", "libpyuring.so")
    shutil.copytree(Path(pyuring.__file__).parent, package / "pyuring", ignore=ignored)
    shutil.copy(folder / "out" / "lib" / "libpyuring.so", package / "pyuring")
    return str(package)
