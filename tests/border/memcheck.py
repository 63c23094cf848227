"""Runs events of every kind under valgrind's memcheck, and fails on an error that is ours.

`python memcheck.py [EVENTS]`. CPython has findings of its own, ours are those with libpyuring.so in
their stack. What the kernel writes valgrind does not see (docs/faults.md, H). Never run by pytest:
everything takes thirty times as long.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from border.events import KINDS

EVENTS = Path(__file__).resolve().parent / "events.py"

# Without fair-sched a thread that turns keeps the others from valgrind's own lock.
VALGRIND = ("valgrind", "--fair-sched=yes", "--error-limit=no", "--num-callers=30")


def check(kind: str, events: str) -> list[str]:
    """Return the findings that have the library in their stack."""
    with tempfile.NamedTemporaryFile("r", suffix=".log") as log:
        command = [*VALGRIND, f"--log-file={log.name}", sys.executable, str(EVENTS), kind, events]
        env = {**os.environ, "PYTHONMALLOC": "malloc", "PYURING_WARM_UP": "50"}
        done = subprocess.run(command, env=env, check=False, timeout=1200)
        text = log.read()
    blocks = text.split("== \n")
    ours = [block for block in blocks if "libpyuring" in block]
    print(
        f"{kind}: exit {done.returncode}, {text.count(' at 0x')} stacks, {len(ours)} of them ours"
    )
    # The library is stripped: a stack names its addresses, `-Dstrip=false` builds have names.
    return ours + ([f"{kind}: exit {done.returncode}"] if done.returncode else [])


def too_old() -> str:
    """Return the version of a valgrind that waits for ever, or ""; 3.27 is known to work.

    3.19 keeps its own lock while io_uring_enter(2) waits, so that no other thread runs.
    """
    said = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True)
    version = said.stdout.strip().removeprefix("valgrind-")
    return version if tuple(map(int, version.split(".")[:2])) < (3, 20) else ""


def main(events: str = "500") -> None:
    if version := too_old():
        print(f"valgrind {version} hangs in io_uring_enter(2): left out; 3.27 works")
        return
    findings = [each for kind in KINDS if kind != "canary" for each in check(kind, events)]
    print("\n\n".join(findings))
    sys.exit(bool(findings))


if __name__ == "__main__":
    main(*sys.argv[1:])
