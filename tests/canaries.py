"""Bugs planted in a copy of the worker's sources, to show that the simulator finds their like.

Each is a piece of a Zig file and what it is replaced by: several for each class A to F of faults.
The sources themselves are never touched; one program has all bugs, one switched on at a time.

    python tests/canaries.py [NAME ...]     plant them, and say after how many seeds each is found
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from canary_table import CANARIES, Canary

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "zig-out" / "canaries"
# Where the search starts: three numbers that mean nothing.
STARTS = (0, 1_000_000, 2_000_000)


class Found(NamedTuple):
    """After how many seeds, and as what, or None."""

    seeds: int | None
    text: str


def planted(source: str, canary: Canary, depth: int) -> str:
    """Return the file's text with the bug in it, which waits to be switched on."""
    if source.count(canary.old) != 1:
        raise ValueError(f"{canary.name}: {canary.file} has {source.count(canary.old)} of its text")
    switch = f'@import("{"../" * depth}testing/canary.zig").on("{canary.name}")'
    return source.replace(canary.old, re.sub(r"\bON\b", lambda _: switch, canary.new))


def plant(copy: Path = COPY, canaries: Iterable[Canary] = CANARIES) -> None:
    """Copy the Zig sources and plant every bug."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(ROOT / "zig", copy / "zig")
    names = ", ".join(f'"{canary.name}"' for canary in canaries)
    for canary in canaries:
        path = copy / "zig" / canary.file
        path.write_text(planted(path.read_text("utf-8"), canary, canary.file.count("/")), "utf-8")
    path = copy / "zig" / "testing" / "canary.zig"
    text = path.read_text("utf-8")
    assert "[_][]const u8{}" in text
    path.write_text(text.replace("[_][]const u8{}", f"[_][]const u8{{ {names} }}"), "utf-8")


def build(copy: Path = COPY, mode: str = "ReleaseSafe") -> Path:
    """Compile the simulator of the copy; return the program."""
    program = copy / "simulate"
    command = [sys.executable, "-m", "ziglang", "build-exe", "-O", mode]
    command += [
        "--cache-dir",
        str(ROOT / ".zig-cache"),
        f"-femit-bin={program}",
        "zig/simulate.zig",
    ]
    subprocess.run(command, cwd=copy, check=True)
    return program


def hunt(program: Path, canary: Canary, start: int = 0, limit: int | None = None) -> Found:
    """Run seeds from `start` on, with the bug switched on, until one fails."""
    command = [str(program), str(start), str(limit or canary.limit), canary.name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    first, _, rest = done.stderr.partition(": ")
    if done.returncode == 0 or not first.startswith("seed "):
        return Found(None, done.stderr.strip())
    return Found(int(first.removeprefix("seed ")) - start + 1, rest.partition(";")[0])


def main(names: list[str]) -> int:
    """Hunt for each from three places; 1 when one got away."""
    unknown = set(names) - {canary.name for canary in CANARIES}
    if unknown:
        raise SystemExit(f"not planted: {', '.join(sorted(unknown))}")
    plant()
    program = build()
    missed = 0
    print(
        f"{'canary':<34} {'class':<5} {'fault':<5} {'seeds':>6} {'limit':>6}  seen as", flush=True
    )
    for canary in CANARIES:
        if names and canary.name not in names:
            continue
        found = [hunt(program, canary, start) for start in STARTS]
        seeds = [each.seeds for each in found if each.seeds is not None]
        missed += len(seeds) < len(STARTS)
        median = str(int(statistics.median(seeds))) if len(seeds) == len(STARTS) else "missed"
        line = f"{canary.name:<34} {canary.kind:<5} {canary.fault:<5} {median:>6} {canary.limit:>6}"
        print(f"{line}  {found[0].text}", flush=True)
    print(f"{missed} of {len(names) or len(CANARIES)} got away")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
