"""Where a request's time goes: the server's CPU time for one, split by whose work it is.

Run as `python bench/profile_request.py`; it needs perf, addr2line, and root, for the
kernel's symbols. A server runs on a library with names, compiled for it; perf looks five thousand
times a second of its CPU time what it is doing. The rules for whose work that is are
profile_groups.py's; `--symbols N` shows the functions behind each group.
"""

from __future__ import annotations

import argparse
import collections
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import http_load
import profile_groups as groups
import report
from generator import Scenario, load
from harness import (
    CACHE,
    LOAD_CORE,
    ROOT,
    BenchError,
    Running,
    Server,
    default_nice,
    exit_with,
    pinned,
    serving,
    version_of,
)

FREQUENCY = 4999
NAMED = CACHE / "named"
RINGS = {"io_uring": "auto", "epoll": "none"}

_HTTP = "bench.peers.http_apps"
# Scenario -> application, interface, load; each with 64 connections and one request on each.
CELLS: dict[str, tuple[str, str, http_load.Scenario | Scenario]] = {
    "hello": (f"{_HTTP}:handler", "handler", http_load.Scenario("hello", "hello", "full")),
    "8 headers": (
        f"{_HTTP}:handler",
        "handler",
        http_load.Scenario("8 headers", "hello", "full", browser=True),
    ),
    "WSGI hello": (f"{_HTTP}:wsgi", "wsgi", http_load.Scenario("WSGI hello", "hello", "full")),
    "echo 64 B": ("examples.echo:Echo", "protocol", Scenario("echo 64 B")),
}


@dataclass
class Profile:
    """What one server's process was doing in one window."""

    scenario: str
    ring: str
    cpu_us: float  # for a request, with perf looking
    samples: int
    shares: dict[str, float]
    symbols: dict[str, list[tuple[str, float]]] = field(default_factory=dict)


def named_library() -> Path:
    """Compile the library with names, beside a copy of the modules, and return its path."""
    package, library = NAMED / "pyuring", "libpyuring.so"
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(ROOT / "pyuring", package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    command = [sys.executable, "-m", "ziglang", "build", "-Doptimize=ReleaseSafe"]
    machine = Path("/proc/sys/kernel/arch").read_text().strip()
    command += [f"-Dtarget={machine}-linux-gnu.2.17", "-Dstrip=false", "--prefix", str(NAMED)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"cannot compile the library:\n{done.stderr.strip()}")
    return Path(shutil.copy2(NAMED / "lib" / library, package / library))


def server(cell: str, ring: str, python: str) -> Server:
    """`pyuring serve` on the library with names."""
    app, interface, _ = CELLS[cell]
    serve = (python, "-m", "pyuring", "serve", app, "--interface", interface)
    more = ("--bind", "127.0.0.1:0", "--tier", RINGS[ring])
    # Safe path: the current directory's pyuring has no names.
    return Server(cell, (*serve, *more), {"PYTHONPATH": f"{NAMED}:{ROOT}", "PYTHONSAFEPATH": "1"})


def profile(cell: str, ring: str, library: Path, options: argparse.Namespace) -> Profile:
    """Sample one server under load."""
    scenario = CELLS[cell][2]
    data = CACHE / "perf.data"
    with serving(server(cell, ring, options.python), options.nice) as running:
        command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(FREQUENCY), "-g"]
        command += ["-p", str(running.pid), "-o", str(data)]
        command += ["--", "sh", "-c", f"echo looking; exec sleep {options.seconds}"]
        _load(running, scenario, 1, options.nice)
        mapped = _mapping(running.pid, library)
        pipe, core = subprocess.PIPE, pinned(LOAD_CORE)
        perf = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, preexec_fn=core)
        assert perf.stdout is not None
        perf.stdout.readline()  # it takes seconds to begin
        cpu_us, errors = _load(running, scenario, options.seconds + 1, options.nice)
        said = perf.communicate(timeout=60)[1]
        if perf.returncode:
            raise BenchError(f"perf record: {said.strip()}")
    if errors:
        raise BenchError(f"{cell} on {ring}: {errors} mistakes in the replies")
    return classify(cell, ring, cpu_us, list(_samples(data)), library, mapped)


def _load(running: Running, scenario: Any, seconds: int, nice: int) -> tuple[float, int]:
    if isinstance(scenario, Scenario):
        sample = load(running, scenario, seconds, nice=nice)
    else:
        sample = http_load.measure(http_load.Turn(running, scenario, seconds, nice))
    return sample.cpu_us, sample.errors


@dataclass(frozen=True)
class Mapping:
    """Where the library's code lies: in the process less in the file, in its numbering likewise."""

    process: int
    numbering: int

    def address(self, printed: int) -> int:
        """The library's own address for what perf prints: a place in the file, or in memory."""
        place = printed - self.process if printed >= self.process else printed
        return place + self.numbering


def _mapping(pid: int, library: Path) -> Mapping:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        words = line.split()
        if words[-1] == str(library) and "x" in words[1]:
            offset = int(words[2], 16)
            begin = int(words[0].partition("-")[0], 16)
            return Mapping(begin - offset, _numbering(library, offset))
    raise BenchError(f"{library} is not mapped: is another pyuring installed in that interpreter?")


def _numbering(library: Path, offset: int) -> int:
    """How far address and place in the file are apart, in the segment there (elf(5))."""
    data = library.read_bytes()
    (start,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for number in range(count):
        kind, flags, place, address = struct.unpack_from("<IIQQ", data, start + number * size)
        if kind == 1 and flags & 1 and place & ~0xFFF == offset & ~0xFFF:
            return int(address - place)
    raise BenchError(f"{library}: no code at {offset:#x}")


Frame = tuple[int, str, str]  # address, function, file


def _samples(data: Path) -> Iterator[list[Frame]]:
    """The call chain of each sample, the innermost frame first."""
    command = ["perf", "script", "-i", str(data), "-F", "ip,sym,dso"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"perf script: {done.stderr.strip()}")
    for block in done.stdout.split("\n\n"):
        found = re.findall(r"^\s*([0-9a-f]+) (.*) \((.*)\)$", block, re.M)
        if found:
            yield [(int(address, 16), name, path) for address, name, path in found]


def classify(
    cell: str, ring: str, cpu_us: float, samples: list[list[Frame]], library: Path, mapped: Mapping
) -> Profile:
    """Count the samples of each group."""
    ours = {mapped.address(chain[0][0]) for chain in samples if chain[0][2] == str(library)}
    files = _files(library, sorted(ours))
    counted: collections.Counter[tuple[str, str]] = collections.Counter()
    for chain in samples:
        address, name, path = chain[0]
        if path == str(library):
            file = files.get(mapped.address(address), "")
            group = groups.first(groups.ZIG_RULES, name) or groups.of_file(file)
            name = f"{file.rpartition('/')[2]}: {name}"
        elif path.startswith("["):
            inside = [frame[1] for frame in chain if frame[2] == path]
            vdso = path == "[vdso]"
            group = groups.of_user(path, name) if vdso else groups.of_kernel(inside)
        else:
            group = groups.of_user(path, name)
        counted[group, name] += 1
    total = len(samples)
    shares = dict.fromkeys(groups.GROUPS, 0.0)
    symbols: dict[str, list[tuple[str, float]]] = {group: [] for group in groups.GROUPS}
    for (group, name), count in counted.most_common():
        shares[group] += count / total
        symbols[group].append((name, count / total))
    return Profile(cell, ring, cpu_us, total, shares, symbols)


def _files(library: Path, addresses: list[int]) -> dict[int, str]:
    """For each address of the library the file of ours that its innermost line lies in."""
    asked = "\n".join(f"{address:#x}" for address in addresses)
    command = ["addr2line", "-a", "-i", "-e", str(library)]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
    found: dict[int, str] = {}
    address = 0
    for line in done.stdout.splitlines():
        if line.startswith("0x"):
            address = int(line, 16)
        elif f"{ROOT / 'zig'}/" in line:
            found.setdefault(address, line.partition(":")[0])
    return found


def markdown(found: list[Profile]) -> str:
    """The table for the documentation: each group's share in each cell, and what the groups are."""
    heads = ["share of CPU time", *(f"{one.scenario}, {one.ring}" for one in found)]
    lines = [heads, ["---", *("---:" for _ in found)]]
    for group in groups.GROUPS:
        lines.append([group, *(f"{one.shares[group]:.1%}" for one in found)])
    lines.append(["µs a request", *(f"{one.cpu_us:.2f}" for one in found)])
    lines.append(["samples", *(str(one.samples) for one in found)])
    about = "\n".join(f"- **{group}**: {text}." for group, text in groups.GROUPS.items())
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{about}\n"


def text(found: list[Profile], symbols: int) -> str:
    """The table for a terminal, in shares, and the functions behind it."""
    heads = ["share of CPU time", *(f"{one.scenario}/{one.ring}" for one in found)]
    rows = [[group, *(f"{one.shares[group]:.1%}" for one in found)] for group in groups.GROUPS]
    rows.append(["µs a request", *(f"{one.cpu_us:.2f}" for one in found)])
    parts = [report.table(heads, rows)]
    for one in found if symbols else ():
        for group, names in one.symbols.items():
            parts += [f"\n{one.scenario}/{one.ring}, {group}"]
            parts += [f"  {share:6.2%}  {name}" for name, share in names[:symbols]]
    return "\n".join(parts)


def main(argv: list[str] | None = None) -> int:
    """Profile every cell, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenarios", default=",".join(CELLS))
    parser.add_argument("--rings", default=",".join(RINGS))
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--symbols", type=int, default=0, metavar="N")
    parser.add_argument("--python", default=sys.executable, help="CPython of the servers (3.11+)")
    parser.add_argument("--nice", type=int, default=default_nice())
    parser.add_argument("--json", help="also write every share here")
    parser.add_argument("--page", type=Path, help="also put the table into this page, by its marks")
    options = parser.parse_args(argv)
    for tool in ("perf", "addr2line"):
        if shutil.which(tool) is None:
            raise BenchError(f"{tool} is not installed (Debian: linux-perf, binutils)")
    machine = {**report.machine(), "python": version_of(options.python)}
    library = named_library()
    cells = [(c, r) for c in options.scenarios.split(",") for r in options.rings.split(",")]
    found = [profile(cell, ring, library, options) for cell, ring in cells]
    print(text(found, options.symbols))
    profiles = [{**vars(one), "symbols": _top(one)} for one in found]
    report.save(options.json, {"machine": machine, "profiles": profiles})
    if options.page:
        table = f"{report.ground(machine)}\n\n{markdown(found)}"
        report.put_into_page(options.page, "bench/profile_request.py", table)
    return 0


def _top(one: Profile) -> dict[str, list[tuple[str, float]]]:
    return {group: names[:20] for group, names in one.symbols.items()}


if __name__ == "__main__":
    exit_with(main)
