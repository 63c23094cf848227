"""The build hook: compiles libpyuring.so with the pinned zig and puts it into the wheel.

It owns the wheel's tag and the target handed to zig, and nothing else; how the library is
compiled is written in build.zig. It never uses a compiler other than the `ziglang` package
that the build requires, and never builds for "this processor": a target is always named.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
LIBRARY = "libpyuring.so"


class BuildError(Exception):
    """The library cannot be built here; the message is the one line that is shown."""


def host_architecture(system: str, machine: str) -> str:
    """Return this machine's name among the wheels', or raise `BuildError`."""
    if system != "Linux":
        raise BuildError(f"pyuring runs on Linux only (io_uring and epoll); this is {system}")
    name = ARCHITECTURES.get(machine.lower())
    if name is None:
        raise BuildError(f"pyuring supports x86_64 and aarch64; this machine is {machine}")
    return name


def target_architecture(host: str, wanted: str | None) -> str:
    """Return what to build for: PYURING_TARGET where it is set, otherwise the host."""
    if not wanted:
        return host
    if wanted not in ARCHITECTURES.values():
        raise BuildError(f"PYURING_TARGET is x86_64 or aarch64, not {wanted!r}")
    return wanted


def wheel_tag(arch: str) -> str:
    """Return the tag of a library that needs no libc: any CPython 3, glibc and musl."""
    return f"py3-none-manylinux_2_17_{arch}.manylinux2014_{arch}.musllinux_1_1_{arch}"


def compile_library(root: Path, arch: str) -> Path:
    """Run zig and return the stripped library for `arch`, below zig-out."""
    prefix = root / "zig-out" / arch
    command = [sys.executable, "-m", "ziglang", "build", "-Doptimize=ReleaseSafe"]
    command += [f"-Dtarget={arch}-linux-gnu.2.17", "--prefix", str(prefix)]
    # A pipe, because zig writes to a redirected regular file from position 0.
    result = subprocess.run(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if result.returncode != 0:
        print(result.stdout, file=sys.stderr)
        raise BuildError(f"zig could not build {LIBRARY} (exit status {result.returncode})")
    return prefix / "lib" / LIBRARY


def place_in_tree(library: Path, package: Path) -> None:
    """Put the library beside the Python modules, for editable installs and `python -m pyuring`."""
    # By way of a rename: a running process may have the old file mapped.
    scratch = package / f".{LIBRARY}.{os.getpid()}"
    shutil.copy2(library, scratch)
    scratch.replace(package / LIBRARY)


class LibraryBuildHook(BuildHookInterface[Any]):
    """Builds the library before hatchling collects the wheel's files."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and name the file and the tag to hatchling."""
        root = Path(self.root)
        try:
            host = host_architecture(platform.system(), platform.machine())
            arch = target_architecture(host, os.environ.get("PYURING_TARGET"))
            library = compile_library(root, arch)
        except BuildError as error:
            self.app.abort(f"error: {error}")
            raise
        if arch == host:
            place_in_tree(library, root / "pyuring")
        build_data["pure_python"] = False
        build_data["tag"] = wheel_tag(arch)
        if version != "editable":
            build_data["force_include"][str(library)] = f"pyuring/{LIBRARY}"
