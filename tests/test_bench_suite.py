"""The order of a run of the suite: what one failure costs, and what is kept of a broken run.

Owns fakes of servers and steps. Nothing is measured or started here.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parent.parent / "bench"
sys.path.append(str(BENCH))

import document  # noqa: E402
import echo  # noqa: E402
import http_servers  # noqa: E402
import publish  # noqa: E402
import rounds as rounds_module  # noqa: E402
import suite as suite_module  # noqa: E402
from generator import Sample  # noqa: E402
from harness import BenchError, Running, Server  # noqa: E402
from http_session import Session  # noqa: E402
from rounds import Rounds  # noqa: E402
from suite import Suite  # noqa: E402
from suite_plan import PLANS, SMOKE  # noqa: E402
from tail import Tail  # noqa: E402

SAMPLE = Sample(1000, 10**9, 5 * 10**8, 10**8, 0, 0, 1000, 2000)
ENVIRONMENT = {
    "time": "2026-01-02T03:04:05Z",
    "kernel": "6.18",
    "cpu": "a cpu",
    "cores": 2,
    "governor": "unknown",
    "load_average": 0.1,
    "commit": "0123456789ab",
    "dirty": False,
    "versions": {"python": "3.13.0"},
}
Step = Callable[[Suite], None]


class Faked(Suite):
    """A run whose steps are given."""

    def __init__(self, target: Path, *steps: tuple[str, Step]) -> None:
        super().__init__(SMOKE, sys.executable, 0, target)
        self.given = steps

    def prepare(self) -> None:
        """Nobody is there."""
        self.results.environment = dict(ENVIRONMENT)

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """Those that were given."""
        return [(name, lambda step=step: step(self)) for name, step in self.given]  # type: ignore[misc]


def measuring(scenario: str, server: str = "pyuring") -> tuple[str, Step]:
    """A step that finds one cell."""
    return scenario, lambda suite: suite.add(scenario, server, [SAMPLE])


def raising(error: BaseException) -> tuple[str, Step]:
    """A step that fails."""

    def step(suite: Suite) -> None:
        raise error

    return "failing", step


def cells_of(path: str | Path) -> list[str]:
    """The scenarios of a document, in its order."""
    return [cell["scenario"] for cell in document.load(path)["cells"]]


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the document goes; no page is made."""
    monkeypatch.setattr(publish, "page", lambda *_: None)
    return tmp_path / "20260102T030405-full-01234567.json"


@pytest.mark.parametrize("error", [BenchError("it crashed"), OSError("gone"), KeyError("ours")])
def test_a_step_that_fails_is_named_and_the_others_figures_are_kept(
    target: Path, error: Exception
) -> None:
    suite = Faked(target, measuring("64B"), raising(error), measuring("1KiB"))
    suite_module.finish(suite, None)
    assert cells_of(target) == ["64B", "1KiB"]
    assert "ended early" in document.load(target)["left_out"]["failing"]
    assert not Path(suite_module.partial_of(target)).exists()


def test_what_there_is_lies_on_disk_behind_each_step(target: Path) -> None:
    seen = []

    def look(suite: Suite) -> None:
        seen.append(cells_of(suite_module.partial_of(target)))

    looks = ("looking", look)
    suite = Faked(target, measuring("64B"), looks, measuring("1KiB"), looks)
    suite_module.finish(suite, None)
    assert seen == [["64B"], ["64B", "1KiB"]]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143)])
def test_a_run_that_is_broken_off_keeps_what_it_has(
    target: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def stop(suite: Suite) -> None:
        suite.add("1KiB", "pyuring", [SAMPLE])
        raise error

    monkeypatch.setattr(document, "RESULTS", target.parent)
    suite = Faked(target, measuring("64B"), ("stopping", stop), measuring("16KiB"))
    with pytest.raises(type(error)):
        suite_module.finish(suite, None)
    partial = document.load(suite_module.partial_of(target))
    assert [cell["scenario"] for cell in partial["cells"]] == ["64B", "1KiB"]
    assert partial["partial"] is True
    assert document.newest() is None  # neither compared with nor told of


def test_the_document_is_written_before_the_page(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a page that cannot be made")

    monkeypatch.setattr(publish, "page", fail)
    with pytest.raises(ValueError, match="cannot be made"):
        suite_module.finish(Faked(target, measuring("64B")), None)
    assert cells_of(target) == ["64B"]
    assert "partial" not in document.load(target)


def test_a_bar_that_cannot_be_judged_loses_no_figure_and_no_other_bar(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("nothing")

    monkeypatch.setattr(echo, "bars", fail)

    def start(suite: Suite) -> None:
        suite.results.starts = ([1.0], [2.0])

    suite_module.finish(Faked(target, measuring("64B"), ("start-up", start)), None)
    found = document.load(target)
    assert cells_of(target) == ["64B"]
    assert "ZeroDivisionError" in found["left_out"]["bars of echo"]
    assert [bar["bar"] for bar in found["bars"]] == ["import pyuring, ms added"]


def running(name: str) -> Running:
    """A server that is not there, and seems to be."""
    process: Any = SimpleNamespace(poll=lambda: None, pid=0)
    return Running(Server(name, ()), process, 1, "")


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> Rounds:
    """Three rounds in which nobody is stopped or continued."""
    monkeypatch.setattr(rounds_module, "awake", lambda pid: contextlib.nullcontext())
    return Rounds(3, 0.1)


@pytest.mark.parametrize("error", [OSError("no such process"), ValueError("no number"), BenchError])
@pytest.mark.parametrize("when", [1, 3])
def test_a_peer_that_crashes_costs_its_own_cell(three: Rounds, error: Exception, when: int) -> None:
    asked = []

    def window(one: Running, seconds: float, counters: object) -> Sample:
        asked.append(one.server.name)
        if one.server.name == "peer" and asked.count("peer") == when:
            raise error
        return SAMPLE

    both = [running("peer"), running("pyuring")]
    three.scenario("64B", both, window)
    three.scenario("1KiB", both, lambda *_: SAMPLE)
    assert set(three.found["64B"]) == {"pyuring"}
    assert set(three.found["1KiB"]) == {"peer", "pyuring"}
    assert len(three.found["64B"]["pyuring"]) == 3
    assert three.mistaken == {"peer"}


def test_what_went_wrong_is_told_in_words(three: Rounds) -> None:
    samples = {
        "wrong": replace(SAMPLE, mismatches=2, missing=1),
        "silent": replace(SAMPLE, messages=0),
        "right": SAMPLE,
    }
    servers = [running(name) for name in samples]
    three.scenario("64B", servers, lambda one, *_: samples[one.server.name])
    assert three.failed == ["wrong, 64B: 2 mismatches, 1 missing", "silent, 64B: no reply"]


def test_a_check_that_crashes_costs_its_own_cell(three: Rounds) -> None:
    def check(one: Running) -> str:
        if one.server.name == "peer":
            raise ConnectionResetError("it went")
        return ""

    three.scenario("64B", [running("peer"), running("pyuring")], lambda *_: SAMPLE, check)
    assert set(three.found["64B"]) == {"pyuring"}
    assert "ConnectionResetError" in three.failed[0]


def test_a_peer_that_does_not_install_is_left_out_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interpreter(name: str, base: str) -> str:
        if name == "robyn":
            raise BenchError("pip install robyn:\nno wheel")
        return base

    monkeypatch.setattr(http_servers, "interpreter", interpreter)
    monkeypatch.setattr(http_servers, "unavailable", lambda *_: "")
    session = Session(Rounds(1, 0.1), sys.executable, 0)
    assert session.available(["robyn", "pyuring"]) == ["pyuring"]
    assert session.left_out == {"robyn": "no wheel"}


def test_the_length_of_a_window_is_the_usual_one_after_a_tail_that_failed(
    three: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    tail = Tail(three, sys.executable, 0)

    def fail(names: object, seconds: float) -> None:
        three.seconds = seconds
        raise OSError("a server went")

    monkeypatch.setattr(tail, "_run", fail)
    with pytest.raises(OSError, match="went"):
        tail.run([], 2.0)
    assert three.seconds == 0.1


def test_the_plans_keep_to_their_time() -> None:
    # Of the estimate; a run takes less by a tenth or so, and its installation some minutes more.
    assert PLANS["full"].estimate() < 57 * 60
    assert PLANS["quick"].estimate() < 5 * 60


def test_fewer_rounds_than_three_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert suite_module.arguments(["--rounds", "3"]).rounds == 3
    with pytest.raises(SystemExit):
        suite_module.arguments(["--rounds", "2"])
    assert "3 at least" in capsys.readouterr().err
