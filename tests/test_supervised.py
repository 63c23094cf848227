"""Several processes: what the supervisor is told, what each process does."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pyuring import serving, supervised
from pyuring.options import Options
from pyuring.usage import UsageError

ECHO = "examples.echo:Echo"


def _fields(settings: Any) -> list[tuple[str, Any]]:
    names = [field.name for field in dataclasses.fields(settings)]
    return [(name, getattr(settings, name)) for name in names]


class Parent:
    def metrics(self) -> list[dict[str, Any]]:
        ended = {"pid": 0, "state": "ended", "metrics": {"accepted": 2}}
        return [{"pid": 77, "state": "ready", "metrics": {"accepted": 1}}, ended]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, list[str]]]:
    """Stand in for the supervisor, and note how it is run."""
    noted: list[tuple[Any, list[str]]] = []

    def run(settings: Any, arguments: list[str]) -> int:
        noted.append((settings, arguments))
        return 7

    module = ModuleType("pyuring.supervisor")
    vars(module).update(run=run)
    monkeypatch.setitem(sys.modules, "pyuring.supervisor", module)
    return noted


def test_the_supervisor_is_told_what_the_options_say(runs: list[Any]) -> None:
    options = Options(
        app=ECHO, processes=3, workers=2, bind=("127.0.0.1:0",), backlog=9, max_requests=5,
        max_requests_jitter=2, graceful_timeout=4.0, reload=True, reuse_port=True,
    )  # fmt: skip
    assert supervised.serve(options, ["serve", ECHO]) == 7
    ((settings, arguments),) = runs
    assert arguments == ["serve", ECHO]
    told = {name: value for name, value in _fields(settings) if not callable(value)}
    assert told == {
        "bind": ["127.0.0.1:0"],
        "processes": 3,
        "workers": 2,
        "backlog": 9,
        "reuse_port": True,
        "max_requests": 5,
        "max_requests_jitter": 2,
        "graceful_timeout": 4.0,
        "reload": True,
        "user": None,
        "bound": None,
    }


@pytest.mark.parametrize("name", ["processes", "max_requests", "reload"])
def test_each_of_these_options_makes_a_parent(runs: list[Any], name: str) -> None:
    options: dict[str, Any] = {name: 2 if name != "reload" else True}
    supervised.serve(Options(app=ECHO, **options), [])
    assert len(runs) == 1


def test_one_process_has_no_parent(runs: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "serve", lambda options: 3)
    assert supervised.serve(Options(app=ECHO), []) == 3
    assert runs == []
    with pytest.raises(UsageError, match="arguments are required: MODULE:NAME"):
        supervised.serve(Options(), [])


def test_a_quiet_parent_tells_of_trouble_only(
    runs: list[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    for level in ("info", "warning"):
        supervised.serve(Options(app=ECHO, processes=2, log_level=level), [])
        settings = runs.pop()[0]
        settings.log("listening on 127.0.0.1:1")
        settings.log("stopping within 30 s; a second signal ends at once")
        settings.log("process 5 died")
    assert capfd.readouterr().err.splitlines() == [
        "pyuring: listening on 127.0.0.1:1",
        "pyuring: stopping within 30 s; a second signal ends at once",
        "pyuring: process 5 died",
        "pyuring: process 5 died",
    ]


def test_the_parent_serves_the_metrics_and_has_the_pid_file(
    runs: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyuring import top

    (tmp_path / "src" / ".git").mkdir(parents=True)
    for name in ("src/a.py", "src/b.txt", "src/.git/c.py"):
        (tmp_path / name).touch()
    seen: list[Any] = []
    watched: list[str] = []
    parent = Parent()

    def run(settings: Any, arguments: list[str]) -> int:
        settings.started(parent)
        watched.extend(settings.sources())
        seen.extend(top.look(f"unix:{tmp_path}/m").workers)
        seen.append((tmp_path / "pid").read_text())
        return 0

    monkeypatch.setattr(sys.modules["pyuring.supervisor"], "run", run)
    options = Options(
        app=ECHO, processes=2, metrics=f"unix:{tmp_path}/m", pid=f"{tmp_path}/pid",
        reload_dir=(f"{tmp_path}/src",),
    )  # fmt: skip
    assert supervised.serve(options, []) == 0
    assert seen == [
        {"process": "77", "worker": "all", "accepted": 1},
        {"process": "ended", "worker": "all", "accepted": 2},
        f"{os.getpid()}\n",
    ]
    assert watched == [f"{tmp_path}/src/a.py"]
    assert not (tmp_path / "pid").exists()
    assert not (tmp_path / "m").exists()


def test_a_process_that_serves_tells_its_tier() -> None:
    process: dict[str, Any] = {"pid": 77, "tier": 0, "metrics": {"accepted": 1}}
    (found,) = supervised.snapshots([process])
    assert found["tier"] == 0
    assert "tier" not in supervised.snapshots([process | {"tier": None}])[0]


def test_before_any_process_has_ended_none_is_told_of() -> None:
    ended: dict[str, Any] = {"pid": 0, "metrics": {"accepted": 0, "request_us": [0, 0]}}
    assert supervised.snapshots([ended]) == []
    ended["metrics"] = {"accepted": 0, "request_us": [0, 1]}
    assert len(supervised.snapshots([ended])) == 1


def test_a_directory_to_watch_must_be_there() -> None:
    with pytest.raises(UsageError, match="--reload-dir: /no/such/place is no directory"):
        supervised.serve(Options(app=ECHO, reload=True, reload_dir=("/no/such/place",)), [])


# --- a process ---------------------------------------------------------------------------------


class Child:
    """A process's side, as pyuring.child has it."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def addresses(self) -> list[str]:
        return ["127.0.0.1:0"]

    def failed(self, text: str) -> int:
        self.told.append(("failed", text))
        return 2

    def ready(self, engine: Any) -> None:
        self.told.append(("ready", engine.address, len(engine.workers)))

    def serve_until_told(self, engine: Any) -> int:
        engine.shutdown(0)
        return 5


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Child:
    """Make this process a supervised one."""
    found = Child()
    module = ModuleType("pyuring.child")
    vars(module).update(channel=lambda: found)
    monkeypatch.setitem(sys.modules, "pyuring.child", module)
    return found


def test_a_process_serves_what_its_parent_listens_on(child: Child, runs: list[Any]) -> None:
    options = Options(app=ECHO, processes=4, workers=2, bind=("127.0.0.1:1",))
    assert supervised.serve(options, []) == 5
    ((what, address, workers),) = child.told
    assert (what, workers) == ("ready", 2)
    assert address.startswith("127.0.0.1:")
    assert address != "127.0.0.1:1"
    assert runs == []


def test_a_process_tells_its_parent_of_a_mistake(
    child: Child, capfd: pytest.CaptureFixture[str]
) -> None:
    from pyuring.__main__ import main

    assert main(["serve", "no_such_module:x", "--config", "/dev/null"]) == 2
    ((what, text),) = child.told
    assert what == "failed"
    assert "no module named 'no_such_module'" in text
    assert capfd.readouterr().err == ""
