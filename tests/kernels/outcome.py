"""Judges a machine's console: what kind of end it came to, and which answers were wrong.

It knows what init.py prints and what Debian's kernels of a version are expected to have. It starts
nothing and reads no file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kernels.guest.init import BEGIN, END, STARTED
from kernels.machine import Console
from pyuring import reasons

__all__ = ["Outcome", "judge"]

FINE, WRONG, PANIC, HANG, SILENT, NOT_BOOTED, ABSENT = (
    "fine", "wrong", "panic", "hang", "silent", "not booted", "absent",
)  # fmt: skip
# A kernel that never came as far as our first process says nothing about pyuring.
FAILURES = {WRONG, PANIC, HANG, SILENT}

# Capability -> versions [from, to) in which a kernel may lack what mainline "has since".
MAY_LACK: Mapping[str, tuple[tuple[int, int], tuple[int, int]]] = {
    # A receive bundle on a Unix socket, which the probe uses, filled one buffer only
    # (docs/tiers.md); stable releases were repaired.
    "recv_bundle": ((6, 10), (6, 17)),
}

# Series whose stable releases carry a later io_uring: 5.10's answers with the feature bits that
# 5.12 and 5.13 brought (NATIVE_WORKERS, RSRC_TAGS), in Debian's 5.10.223 as in 5.10.262.
ANSWERS_AS: Mapping[tuple[int, ...], tuple[int, ...]] = {(5, 10): (5, 13)}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one kernel's machine ended; `answers` is init.py's line where there was one."""

    kind: str
    problems: tuple[str, ...] = ()
    answers: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether pyuring, or the kernel under it, did something wrong."""
        return self.kind in FAILURES


def judge(console: Console, tier: str) -> Outcome:
    """Tell a panic, a hang, a silent end and wrong answers apart; `tier` is the one expected."""
    line = re.search(rf"{BEGIN} (.*?) {END}", console.text)
    if line is not None:
        try:
            answers = json.loads(line[1])
        except ValueError as error:
            return Outcome(
                SILENT, (f"the line of answers is garbled: {error}",), {}, console.seconds
            )
        problems = tuple(wrong(answers, tier))
        return Outcome(WRONG if problems else FINE, problems, answers, console.seconds)
    kind, why = _end(console)
    if STARTED not in console.text and kind != PANIC:
        kind = NOT_BOOTED
    elif STARTED not in console.text:
        kind, why = NOT_BOOTED, f"panic before our first process: {why}"
    return Outcome(kind, (why,), {}, console.seconds)


def _end(console: Console) -> tuple[str, str]:
    """Return the kind of an end without answers, and why."""
    panic = re.search(r"Kernel panic - not syncing: (.*)", console.text)
    lines = [line.strip() for line in console.text.splitlines()]
    last = next((line for line in reversed(lines) if line and "reboot: " not in line), "")
    if panic is not None:
        return PANIC, panic[1].strip()
    if console.ended_by_limit:
        return HANG, f"no end within {console.seconds:.0f} s; the last line: {last!r}"
    return SILENT, f"ended with status {console.status} and no line of answers; the last: {last!r}"


def wrong(answers: Mapping[str, Any], tier: str) -> Iterator[str]:
    """Yield a sentence for each answer that is not as it should be."""
    if "crash" in answers:
        yield f"init: {answers['crash']}"
        return
    for who in ("root", "nobody", "refused"):
        run = answers.get(who)
        if run is None:
            continue
        if "crash" in run:
            yield f"{who}: {run['crash']}"
            continue
        for name, result in run["checks"].items():
            if not result["ok"]:
                yield f"{who}: {name}: {result['detail']}"
        if who != "refused" and run["tier"] != tier:
            yield f"{who}: tier {run['tier']}, expected {tier}: {run['probe']['missing']}"
    if "probe" in answers["root"]:
        yield from _versions(answers["root"]["probe"])
    yield from (f"the kernel's log: {text}" for text in answers.get("complaints", ()))


def _versions(profile: Mapping[str, Any]) -> Iterator[str]:
    """Yield where the kernel's answer and the version that brought a capability disagree (F14)."""
    release = tuple(profile["kernel_version"][:2])
    version = ANSWERS_AS.get(release, release)
    for name, has in profile["capabilities"].items():
        since = tuple(map(int, reasons.SINCE[name][1].split(".")))
        wanted = version >= since
        first, last = MAY_LACK.get(name, ((0, 0), (0, 0)))
        if first <= version < last:
            continue
        if has and not wanted:
            yield f"{name} is there, before Linux {reasons.SINCE[name][1]}"
        if not has and "no completion came" in profile["missing"].get(name, ""):
            yield f"{name}: the probe waited in vain: {profile['missing'][name]}"
        if wanted and not has:
            yield f"{name} is missing: {profile['missing'].get(name)}"
