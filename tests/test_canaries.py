"""The simulator's smoke run: seeds without a finding, and planted bugs that it finds.

Compiles the copy of the sources that tests/canaries.py makes; `nox -s simulate` hunts for all.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from canaries import CANARIES, ROOT, build, hunt, plant, planted

SEEDS = 1000
# One each of what is found by the kernel's rules, by the books, and by the bytes.
HUNTED = ("forgets_whom_it_refuses", "loses_buffers_of_former_owners", "shares_own_buffers")


@pytest.fixture(scope="module")
def program() -> Path:
    pytest.importorskip("ziglang", reason="the simulator is compiled with ziglang")
    copy = ROOT / "zig-out" / "canaries-smoke"
    plant(copy)
    return build(copy, "Debug")


def test_each_bug_has_its_place_in_the_sources() -> None:
    for canary in CANARIES:
        source = (ROOT / "zig" / canary.file).read_text("utf-8")
        assert planted(source, canary, 0) != source, canary.name


def test_a_bug_whose_place_is_gone_is_told() -> None:
    with pytest.raises(ValueError, match="has 0 of its text"):
        planted("", CANARIES[0], 0)


def test_each_class_of_faults_has_its_bugs() -> None:
    assert len({canary.name for canary in CANARIES}) == len(CANARIES) >= 12
    assert {canary.kind for canary in CANARIES} == set("ABCDEF")


def test_many_seeds_run_without_a_finding(program: Path) -> None:
    command = [str(program), "0", str(SEEDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{SEEDS} seeds" in done.stderr
    assert ", 0 failed" in done.stderr


@pytest.mark.parametrize("name", HUNTED)
def test_a_planted_bug_is_found(program: Path, name: str) -> None:
    (canary,) = (each for each in CANARIES if each.name == name)
    found = hunt(program, canary)
    assert found.seeds is not None, found.text


def test_a_finding_says_how_to_see_it_again(program: Path) -> None:
    command = [str(program), "0", "100", "shares_own_buffers"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    again = done.stderr.strip().rpartition("again: ")[2].split()
    assert again[1:] == [done.stderr.split()[1].rstrip(":"), "1", "shares_own_buffers"]
    replayed = subprocess.run(
        [str(program), *again[1:]], capture_output=True, text=True, check=False
    )
    assert replayed.stderr.splitlines()[-1] == done.stderr.splitlines()[-1]


def test_a_bug_that_is_not_planted_is_refused(program: Path) -> None:
    command = [str(program), "0", "1", "never_heard_of"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "not planted" in done.stderr) == (2, True)
