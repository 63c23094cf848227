"""Ends what a call is about while the call looks at its arguments: every call and argument (F53).

`python enders.py GROUP NOTES` runs in a process of its own, for fuzz.py's reason. Where the fuzzer
draws, this one is complete: each parameter once with each argument that acts, and what fits in the
other places. Prints how many calls were tried.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from border.fuzz import (
    GROUPS,
    HANG_SECONDS,
    TABLES,
    Notes,
    complaint_about,
    group_of,
    guarded,
    prepare,
    subjects_of,
)
from border.surface import Call, public_calls
from border.values import ANYTHING, FITTING, Index
from border.worlds import World

import pyuring

Acting = Callable[[Callable[[], object]], Any]  # makes an argument, given its act
Case = tuple[Call, str, int, str, str]
GONE = ("closed ", "spent ", "ended ", "lost ")  # nothing to end there
CLASSES = ("Ring", "Batch", "Sqe", "Cqe", "BufferGroup", "Message", "Transport", "Request")


class Acts:
    """Whatever it is asked for, it acts first; then it answers as well as it can."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    def __index__(self) -> int:
        self.act()
        return 1

    def __float__(self) -> float:
        self.act()
        return 0.001

    def __bool__(self) -> bool:
        self.act()
        return True

    def __len__(self) -> int:
        self.act()
        return 1

    def __getitem__(self, key: Any) -> Any:
        self.act()
        return (1, 2)[key]

    def __iter__(self) -> Iterator[int]:
        self.act()
        return iter((1,))

    def __fspath__(self) -> str:
        self.act()
        return "a"

    def fileno(self) -> int:
        self.act()
        return 0

    def __call__(self, *_: Any) -> Any:
        self.act()


def impostor(kind: type, act: Callable[[], object]) -> object:
    """Return what isinstance() takes for a `kind`, as it does a mock, and which acts when asked."""

    def claim(_: object) -> type:
        act()
        return kind

    return type("Impostor", (Acts,), {"__class__": property(claim)})(act)


def acting() -> dict[str, Acting]:
    """Return makers of arguments that act."""
    found: dict[str, Acting] = {
        "an index": lambda act: Index(1, act),
        "large index": lambda act: Index(1 << 40, act),
        "anything": lambda act: Acts(act),
        "a sequence": lambda act: [Index(0, act), Index(0, act), Index(1, act)],
    }
    for name in CLASSES:
        kind = getattr(pyuring, name)
        found[f"claims to be a {name}"] = lambda act, kind=kind: impostor(kind, act)
    for name in ("a buffer that ends it", "a buffer whose release ends it"):
        if name in ANYTHING:  # 3.12
            found[name] = lambda act, make=ANYTHING[name]: make(SimpleNamespace(end=act))
    return found


def cases(call: Call) -> Iterator[Case]:
    """Yield each (call, subject, place of the argument that acts, its name, the act's name)."""
    subjects = [s for s in subjects_of(call) if not s.startswith(GONE)] if call.owner else [""]
    for subject in subjects:
        for place in range(len(call.parameters)):
            for name in acting():
                for act in ("end", "use"):
                    yield call, subject, place, name, act


def run(case: Case, world: World, notes: Notes) -> None:
    """Try one case."""
    call, subject, place, name, act = case
    notes.add(f"{call.name} on {subject or 'nothing'}: {name} for {call.parameters[place]}, {act}")
    arguments = [_fitting(world, parameter) for parameter in call.parameters]
    thing = world.thing(subject) if subject else None
    action = world.end if act == "end" else lambda: world.use(thing)
    arguments[place] = acting()[name](action)
    problem = guarded(call, world, subject, arguments, {})
    notes.count(problem, complaint_about(problem, call))


def _fitting(world: World, parameter: str) -> Any:
    table = FITTING.get(parameter) or dict(TABLES.get(parameter) or TABLES[""])
    return next(iter(table.values()))(world)


def main(group: str, path: str) -> None:
    """Try a group's calls, each case in a world of its own."""
    answer = os.dup(1)
    complaints = os.fdopen(os.dup(2), "w")
    faulthandler.enable(complaints)
    prepare()
    notes = Notes(path)
    only = os.environ.get("PYURING_BORDER_ONLY", "")
    for call in public_calls():
        if group_of(call) != group or not call.name.startswith(only):
            continue
        for case in cases(call):
            notes.begin()
            faulthandler.dump_traceback_later(HANG_SECONDS, exit=True, file=complaints)
            world = GROUPS[group]()
            try:
                run(case, world, notes)
            finally:
                notes.add("the end")
                world.close()
                faulthandler.cancel_dump_traceback_later()
    notes.tell(answer)
    os._exit(bool(notes.findings))


if __name__ == "__main__":
    main(*sys.argv[1:])
