"""Calls every public call of pyuring with junk, in every state of what it is called on (F53).

`python fuzz.py GROUP EXAMPLES SEED NOTES` runs in a process of its own, because what it looks for
is a crash: NOTES is a file that says which calls led to it. Prints how many calls were tried.
Never decides what may be called: surface.py finds that.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from border.surface import Call, public_calls
from border.values import ANYTHING, FITTING, JUNK, PlantedError
from border.worlds import PLAIN, EngineWorld, RingWorld, World
from hypothesis import HealthCheck, Phase, given, seed as seeded, settings, strategies as st

from pyuring import PyuringError

GROUPS: dict[str, type[World]] = {"ring": RingWorld, "engine": EngineWorld, "values": World}
# What people are told; anything else is a finding, and so is one of these without a word.
EXPECTED = (TypeError, ValueError, OSError, OverflowError, BufferError, LookupError, PyuringError)
# Of our own making: by the arguments, the clock, or the smallness of this world.
ALLOWED = (PlantedError, ZeroDivisionError, RecursionError, MemoryError, RuntimeError)
WAITING = {"submit_and_wait", "wait_cqe", "run_batch", "submit_batch", "close", "enable", "Ring"}
HANG_SECONDS = 60


class Alarm(BaseException):
    """A call has waited long enough: raised by a signal's handler, as Ctrl-C is."""


def group_of(call: Call) -> str:
    """Return whose world has the instance that a call needs, or the arguments that fit it."""
    name = call.owner or call.name
    if name in RingWorld.makers or name.endswith("Tier") or name in ("TierStrategy", "Message"):
        return "ring"
    return "engine" if name in EngineWorld.makers else "values"


def subjects_of(call: Call) -> list[str]:
    """Return the names of the things that a method can be tried on."""
    known = {**PLAIN, **RingWorld.makers, **EngineWorld.makers}
    return [name for name in known if name == call.owner or name.endswith(f" {call.owner}")]


def tables() -> dict[str, list[Any]]:
    """Return for each parameter's name what to draw from: what fits, three times over junk."""
    found = {}
    junk = list(JUNK.items())
    for name, fitting in {**FITTING, "": ANYTHING}.items():
        some = list(fitting.items())
        found[name] = some * max(1, 2 * len(junk) // len(some)) + junk
    return found


TABLES = tables()


Made = tuple[str, Any]  # the name of a value, and what makes it


def pick_arguments(rng: random.Random, call: Call) -> tuple[list[Made], dict[str, Made]]:
    """Return makers of arguments, some by place and some by name; mostly as many as fit."""
    names = call.parameters
    count = len(names) if rng.random() < 0.7 else rng.randint(0, len(names) + 1)
    picked = []
    for place in range(count):
        name = names[place] if place < len(names) else "?"
        picked.append((name, rng.choice(TABLES.get(name) or TABLES[""])))
    by_place = rng.randint(0, count) if call.kind != "write" else count
    if not names or "argument" in names:
        by_place = count
    return [made for _, made in picked[:by_place]], dict(picked[by_place:])


def step(call: Call, rng: random.Random, world: World, notes: Notes) -> None:
    """Try one call, and judge what came of it."""
    subject = rng.choice(subjects_of(call)) if call.owner else ""
    by_place, by_name = pick_arguments(rng, call)
    elsewhere = rng.randrange(8) == 0 and call.attribute not in WAITING
    words = ", ".join([n for n, _ in by_place] + [f"{k}={n}" for k, (n, _) in by_name.items()])
    notes.add(f"{call.name} on {subject or 'nothing'}, thread {int(elsewhere)}: ({words})")
    arguments = [make(world) for _, make in by_place]
    keywords = {name: make(world) for name, (_, make) in by_name.items()}
    if elsewhere:
        caught: list[BaseException] = []
        thing = world.thing(subject) if subject else None
        run = threading.Thread(
            target=perform, args=(call, world, thing, arguments, keywords, caught.append)
        )
        run.start()
        run.join()
        problem = caught[0] if caught else None
    else:
        problem = guarded(call, world, subject, arguments, keywords)
    notes.count(problem, complaint_about(problem, call))


def guarded(
    call: Call, world: World, subject: str, arguments: list[Any], keywords: dict[str, Any]
) -> BaseException | None:
    """Perform the call here, on the clock."""
    caught: list[BaseException] = []
    thing = world.thing(subject) if subject else None
    try:
        signal.setitimer(signal.ITIMER_REAL, world.blocked_at_most, 0.01)
        try:
            perform(call, world, thing, arguments, keywords, caught.append)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except Alarm:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return caught[0] if caught else None


def perform(
    call: Call,
    world: World,
    thing: Any,
    arguments: list[Any],
    keywords: dict[str, Any],
    tell: Any,
) -> None:
    """Make the call, look at its result as people do, and tell what it raised."""
    import pyuring

    try:
        if call.kind == "write":
            setattr(thing, call.attribute, *arguments[:1] or [None])
            return
        if call.kind == "read":
            result = getattr(thing, call.attribute)
        else:
            function = getattr(thing if call.owner else pyuring, call.attribute)
            result = function(*arguments, **keywords)
        repr(result)
        world.results.append(result)
    except Alarm:
        pass
    except BaseException as error:
        tell(error)


def complaint_about(problem: BaseException | None, call: Call) -> str:
    """Return what is wrong with an outcome; "" when it is what people are told (F53)."""
    if problem is None or isinstance(problem, ALLOWED):
        return ""
    if isinstance(problem, AttributeError) and (call.kind == "write" or "has no" in str(problem)):
        return ""  # what Python says of a property only read, or an object of another kind
    named = isinstance(problem, EXPECTED) and (str(problem) or isinstance(problem, KeyError))
    if named:
        return ""
    places = traceback.extract_tb(problem.__traceback__)
    where = f"{Path(places[-1].filename).name}:{places[-1].lineno}" if places else "?"
    return f"{call.name}: {type(problem).__name__} at {where}: {str(problem)[:100]}"


class Notes:
    """What was tried: kept in a file for whoever finds the process dead."""

    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.outcomes: Counter[str] = Counter()
        self.findings: dict[str, str] = {}  # each with the calls that led to it
        self.lines: list[str] = []
        self.at = 0

    def begin(self) -> None:
        os.ftruncate(self.file, 0)
        self.at = 0
        self.lines.clear()

    def add(self, line: str) -> None:
        self.lines.append(line)
        self.at += os.pwrite(self.file, f"{line}\n".encode("utf-8", "replace"), self.at)

    def count(self, problem: BaseException | None, complaint: str) -> None:
        self.outcomes[type(problem).__name__ if problem else "fine"] += 1
        if complaint:
            self.findings.setdefault(complaint, "\n    ".join(["", *self.lines[-4:]]))

    def tell(self, answer: int) -> None:
        """Write the findings, and how many calls were tried, to a descriptor."""
        text = "".join(f"{what}{how}\n" for what, how in sorted(self.findings.items()))
        text += f"{self.outcomes.total()} calls: {dict(self.outcomes)}\n"
        os.write(answer, text.encode("utf-8", "replace"))


def prepare() -> None:
    """Make this process harmless: nothing to overwrite, nothing large, nothing to answer."""
    os.chdir(tempfile.mkdtemp(prefix="pyuring-border-"))
    with open(os.devnull, "r+b") as null:
        os.dup2(null.fileno(), 0)
        os.dup2(null.fileno(), 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda _: None
    threading.excepthook = lambda _: None

    def alarm(_: int, frame: FrameType | None) -> None:
        while frame is not None:  # a late one must not hit the fuzzer itself
            if frame.f_code is perform.__code__:
                raise Alarm
            frame = frame.f_back

    signal.signal(signal.SIGALRM, alarm)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def main(group: str, examples: str, seed: str, path: str) -> None:
    """Fuzz one group of calls."""
    answer = os.dup(1)
    complaints = os.fdopen(os.dup(2), "w")
    faulthandler.enable(complaints)
    prepare()
    notes = Notes(path)
    calls = [call for call in public_calls() if group_of(call) == group]
    only = os.environ.get("PYURING_BORDER_ONLY")
    if only:
        calls = [call for call in calls if call.name.startswith(only)]

    # What to pass is picked by a number: drawing each argument would be ten times slower.
    steps = st.lists(
        st.tuples(st.sampled_from(calls), st.integers(0, 2**32)), min_size=10, max_size=40
    )

    @seeded(int(seed))
    @settings(
        max_examples=int(examples),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def fuzz(data: Any) -> None:
        notes.begin()
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True, file=complaints)
        world = GROUPS[group]()
        try:
            for call, number in data.draw(steps):
                step(call, random.Random(number), world, notes)
        finally:
            notes.add("the end")
            world.close()
            faulthandler.cancel_dump_traceback_later()

    fuzz()
    with contextlib.suppress(Exception):
        if EngineWorld.engine is not None:
            EngineWorld.engine.shutdown(1)
    notes.tell(answer)
    sys.exit(bool(notes.findings))


if __name__ == "__main__":
    main(*sys.argv[1:])
