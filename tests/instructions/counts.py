"""Runs child.py under callgrind and adds up what a request took, in whose code.

`python tests/instructions/counts.py [SCENARIO …]` prints the lines of table.py;
`--functions N` the dearest functions as well (ours have names in a library that is not stripped:
`zig build -Dstrip=false …`). Owns the way callgrind is run and read. Never judges a number.
"""

from __future__ import annotations

import argparse
import collections
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

CHILD = Path(__file__).with_name("child.py")
ROUNDS = 12
VALGRIND = (
    *("valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no"),
    *("--dump-line=no", "--callgrind-out-file={directory}/counts"),
)
OURS, PYTHON, REST = "pyuring", "python", "rest"


@dataclass
class Counts:
    """What one request of a scenario took on one ring, in instructions."""

    scenario: str
    ring: str
    by_owner: dict[str, float]
    calls: float  # from our library into the interpreter
    functions: list[tuple[float, str, str]] = field(default_factory=list)
    callees: list[tuple[float, str]] = field(default_factory=list)


def environment() -> dict[str, str]:
    """Return an environment in which two runs take the same way."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYURING")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**kept, "PYTHONHASHSEED": "0"}


def run(names: tuple[str, ...] = (), python: str = sys.executable) -> tuple[list[Counts], str]:
    """Count; returns the counts, and what the child had to say: which ring is missing, and why."""
    with tempfile.TemporaryDirectory() as directory:
        env = {**environment(), "PYTHONPYCACHEPREFIX": f"{directory}/cache"}
        child = [python, "-X", "frozen_modules=on", str(CHILD)]
        # Once without valgrind: to compile the modules, and to fail fast.
        for prefix, rounds in ((), "1"), (VALGRIND, str(ROUNDS)):
            command = [word.format(directory=directory) for word in prefix] + [
                *child,
                rounds,
                *names,
            ]
            done = subprocess.run(
                command, env=env, capture_output=True, text=True, timeout=300, check=False
            )
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
        files = sorted(Path(directory).glob("counts.*"), key=lambda path: int(path.suffix[1:]))
        found = [counts for path in files if (counts := read(path.read_text(errors="replace")))]
        return found, done.stdout


def read(text: str) -> Counts | None:
    """Read one of callgrind's files (callgrind-format(5)); None for one that has no name."""
    asked = re.search(r"^desc: Trigger: Client Request: (\S+) (\S+) (\d+)$", text, re.M)
    if asked is None:
        return None
    scenario, ring, requests = asked[1], asked[2], int(asked[3])
    costs: collections.Counter[tuple[str, str]] = collections.Counter()
    calls: collections.Counter[str] = collections.Counter()
    names: dict[str, str] = {}  # a name is written once: "(7) name", then "(7)"
    objects = functions = called = callee = ""
    skip = False
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and key in ("ob", "fn", "cob", "cfn", "calls"):
            if key == "calls":
                skip = True  # the next line is the callee's
                if owner_of(objects) == OURS and owner_of(called) == PYTHON:
                    calls[callee] += int(value.split()[0])
                called = objects
                continue
            number, _, name = value.partition(" ")
            name = names.setdefault(key[-2:] + number, name)
            if key == "ob":
                objects = called = name
            elif key == "fn":
                functions = name
            elif key == "cob":
                called = name
            else:
                callee = name
        elif re.match(r"[-+*\d]", line):  # a position, maybe relative, and a cost
            if not skip:
                costs[objects, functions] += int(line.split()[1])
            skip = False
    by_owner = dict.fromkeys((OURS, PYTHON, REST), 0.0)
    for (library, _), cost in costs.items():
        by_owner[owner_of(library)] += cost / requests
    ranked = [(cost / requests, Path(ob).name, fn) for (ob, fn), cost in costs.most_common()]
    callees = [(count / requests, name) for name, count in calls.most_common()]
    return Counts(scenario, ring, by_owner, calls.total() / requests, ranked, callees)


def owner_of(library: str) -> str:
    """Return whose code an object file is."""
    name = library.rpartition("/")[2]
    if name.startswith("libpyuring"):
        return OURS
    return PYTHON if name.startswith(("libpython", "python3")) else REST


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("scenarios", nargs="*")
    parser.add_argument("--functions", type=int, default=0, metavar="N")
    asked = parser.parse_args()
    found, said = run(tuple(asked.scenarios))
    print(said, end="")
    for counts in found:
        ours, python, rest = (round(counts.by_owner[owner]) for owner in (OURS, PYTHON, REST))
        place = f'("{counts.scenario}", "{counts.ring}"):'
        print(f"    {place:26} Budget({ours}, {python}, {counts.calls:.1f}),  # beside them {rest}")
        for cost, library, function in counts.functions[: asked.functions]:
            print(f"{cost:12.1f}  {library:24} {function}")
        for count, function in counts.callees[: asked.functions]:
            print(f"{count:12.1f}  calls of {function}")


if __name__ == "__main__":
    main()
