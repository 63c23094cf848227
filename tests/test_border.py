"""The border between Python and native code: every public call with junk (F53), in a child.

The fuzzer lies in tests/border. A few hundred examples run here; `nox -s border` runs many more.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from border import events, surface
from border.fuzz import GROUPS, group_of, subjects_of
from conftest import RunPython

import pyuring

ROOT = Path(__file__).resolve().parent.parent
# Examples by group, some ten calls each; a number from outside multiplies them.
EXAMPLES = {"values": 60, "ring": 150, "engine": 25}
TIMES = int(os.environ.get("PYURING_BORDER_TIMES", "1"))


@pytest.mark.parametrize("group", GROUPS)
def test_f53_every_public_call_refuses_junk_in_words(group: str, seed: int, tmp_path: Path) -> None:
    try_border(tmp_path, "fuzz.py", group, str(TIMES * EXAMPLES[group]), str(seed))


@pytest.mark.parametrize("group", GROUPS)
def test_f53_no_argument_ends_what_its_call_is_about(group: str, tmp_path: Path) -> None:
    try_border(tmp_path, "enders.py", group)


def try_border(directory: Path, script: str, *arguments: str) -> None:
    """Run a script of tests/border; its findings, or the calls before its crash, fail the test."""
    notes = directory / "notes"
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "border" / script), *arguments, str(notes)],
        capture_output=True,
        text=True,
        errors="replace",
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(pyuring.__file__).parent.parent),
            "PYTHONMALLOC": "debug",  # what is freed is overwritten, so that its use shows
        },
        # Seconds, but minutes where a busy machine has to run SQPOLL's threads (tier OPTIONAL).
        timeout=600 * TIMES,
        check=False,
    )
    print(done.stdout[-200:])
    trail = notes.read_text("utf-8") if done.returncode not in (0, 1) else ""
    assert done.returncode == 0, f"{done.stdout[:8000]}\n{done.stderr[-4000:]}\n{trail}"


@pytest.mark.parametrize("kind", [k for k in events.KINDS if k not in ("echo", "ring", "canary")])
def test_f52_many_events_leave_nothing_behind(kind: str, run_python: RunPython) -> None:
    # echo and ring: test_interpreters.py
    done = run_python(COUNT, kind, str(3000 if kind != "errors" else 600))
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_many_events_leave_behind_is_noticed(run_python: RunPython) -> None:
    assert run_python(COUNT, "canary", "3000").returncode == 1


COUNT = """
import sys
sys.path.insert(0, "tests")
from border import events
events.main(*sys.argv[1:])
"""


def test_every_public_call_is_tried_or_left_out_with_a_reason() -> None:
    calls = surface.public_calls()
    assert {group_of(call) for call in calls} == set(GROUPS)
    without = [call.name for call in calls if call.owner and not subjects_of(call)]
    assert not without, "tests/border/worlds.py makes none of these, surface.LEFT_OUT has no reason"


def test_what_is_left_out_exists() -> None:
    for name in surface.LEFT_OUT:
        thing = pyuring
        for part in name.split("."):
            thing = getattr(thing, part)


def test_a_new_public_name_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Novelty:
        def method(self, number: int) -> None: ...

    monkeypatch.setattr(pyuring, "Novelty", Novelty, raising=False)
    monkeypatch.setattr(pyuring, "__all__", [*pyuring.__all__, "Novelty"])
    found = {call.name: call for call in surface.public_calls()}
    assert "Novelty" in found
    assert not subjects_of(found["Novelty.method"])
