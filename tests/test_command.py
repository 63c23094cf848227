"""The command: the line when it is ready, signals, and one clear line for each mistake."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command import COMMAND, ROOT, Served, run
from peers import connect, echoes, read_exactly, read_to_end, refused, until

from pyuring import Ladder, LadderStep, Tier
from pyuring.serving import announce

ECHO = "examples.echo:Echo"
FREE = ("--bind", "127.0.0.1:0")

MISTAKES = """
class NoProtocol:
    pass

class Deaf:
    def data_received(self, data): ...

class NeedsMore:
    def __init__(self, thing): ...
    def connection_made(self, transport): ...
    def data_received(self, data): ...

async def coroutine(): ...

number = 5

def factory():
    from examples.echo import Echo
    return Echo()
"""


@pytest.fixture
def mistakes(tmp_path: Path) -> Path:
    (tmp_path / "mistakes.py").write_text(MISTAKES)
    (tmp_path / "broken.py").write_text("import not_there_at_all\n")
    (tmp_path / "raising.py").write_text("\n\n1 / 0\n")
    (tmp_path / "unfinished.py").write_text("\nx = (\n")
    return tmp_path


@pytest.mark.parametrize("workers", [1, 2])
def test_says_where_it_listens_and_serves(workers: int) -> None:
    with Served(ECHO, *FREE, "--workers", str(workers)) as served:
        assert served.address.startswith("127.0.0.1:")
        assert not served.address.endswith(":0")
        assert served.workers == workers
        assert ("1 worker)" if workers == 1 else "2 workers)") in served.line
        assert echoes(served.address)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_drains_and_exits_0(number: signal.Signals) -> None:
    with Served(ECHO, *FREE) as served, connect(served.address) as peer:
        peer.sendall(b"x")
        assert read_exactly(peer, 1) == b"x"
        served.signal(number)
        assert read_to_end(peer) == b""
        peer.close()
        assert served.wait() == 0
        assert served.stderr.read().startswith("pyuring: stopping within 30 s")
        assert refused(served.address)


@contextmanager
def hang_ups(disposition: Any) -> Iterator[None]:
    """Have SIGHUP ignored or not by what is started within; the tests may run under nohup."""
    before = signal.signal(signal.SIGHUP, disposition)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_hang_up_drains_one_process_and_says_what_would_reload() -> None:
    with hang_ups(signal.SIG_DFL):
        server = Served(ECHO, *FREE)
    with server as served, connect(served.address) as peer:
        peer.sendall(b"x")
        assert read_exactly(peer, 1) == b"x"
        served.signal(signal.SIGHUP)
        assert "pyuring: SIGHUP reloads where there are several processes" in (
            served.stderr.readline()
        )
        served.signal(signal.SIGHUP)  # the shell's, after the terminal's
        assert read_to_end(peer) == b""
        peer.close()
        assert served.wait() == 0


def test_a_hang_up_that_is_ignored_stays_so() -> None:
    with hang_ups(signal.SIG_IGN):
        server = Served(ECHO, *FREE)
    with server as served:
        served.signal(signal.SIGHUP)
        assert echoes(served.address)
        served.signal(signal.SIGTERM)
        assert served.wait() == 0
        assert "SIGHUP" not in served.stderr.read()


_STUCK = """
import pathlib, time

def app(request):
    (pathlib.Path(__file__).parent / "asleep").touch()
    time.sleep(600)
"""


def test_a_handler_that_does_not_return_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "stuck.py").write_text(_STUCK)
    arguments = ("stuck:app", "--app-dir", str(tmp_path), *FREE, "--graceful-timeout", "0.1")
    with Served(*arguments) as served, connect(served.address) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        until((tmp_path / "asleep").exists, "the handler's sleep")
        served.signal(signal.SIGTERM)
        began = time.monotonic()
        assert served.wait() == 0
        assert time.monotonic() - began < 9  # the backstop of 6 s (F38) once, not twice
        assert "1 of the workers left behind" in served.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_exits_at_once(number: signal.Signals) -> None:
    with Served(ECHO, *FREE) as served, connect(served.address) as peer:
        served.signal(number)
        assert read_to_end(peer) == b""  # it drains, and waits for us to close as well
        served.signal(number)
        assert served.wait(1.5) == 128 + number


@pytest.mark.parametrize("tier", ["auto", "none", "base", "mid", "high", "optional"])
def test_takes_the_tier_it_is_told(tier: str) -> None:
    with Served(ECHO, *FREE, "--tier", tier) as served:
        assert echoes(served.address)
        asked = (os.environ.get("PYURING_TIER") or tier) if tier == "auto" else tier
        assert (served.tier == "NONE") == (asked == "none")


def test_serves_a_unix_socket(tmp_path: Path) -> None:
    with Served(ECHO, "--bind", f"unix:{tmp_path}/socket") as served:
        assert served.address == f"unix:{tmp_path}/socket"
        assert echoes(served.address)
        served.signal(signal.SIGTERM)
        assert served.wait() == 0
    assert not (tmp_path / "socket").exists()


def test_serves_a_factory_from_the_current_directory(mistakes: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with Served("mistakes:factory", *FREE, cwd=mistakes, env=environment) as served:
        assert echoes(served.address)


def test_takes_the_sockets_of_a_service_manager() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        # The descriptor must be 3, and LISTEN_PID that of the process itself.
        code = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ.update(LISTEN_FDS='1', "
            "LISTEN_PID=str(os.getpid())); os.execv(sys.argv[2], sys.argv[2:])"
        )
        from subprocess import PIPE, Popen

        number = str(listener.fileno())
        command = [sys.executable, "-c", code, number, *COMMAND, "serve", ECHO]
        with Popen(
            command, pass_fds=[listener.fileno()], stderr=PIPE, text=True, cwd=ROOT
        ) as process:
            assert process.stderr is not None
            port = listener.getsockname()[1]
            assert f"listening on 127.0.0.1:{port} (tier" in process.stderr.readline()
            assert echoes(f"127.0.0.1:{port}")
            process.terminate()
            assert process.wait(20) == 0


@pytest.mark.parametrize("processes", [1, 2])
def test_no_socket_gets_the_number_of_a_closed_stdin_stdout_or_stderr(
    processes: int, tmp_path: Path
) -> None:
    address, pid = f"unix:{tmp_path}/socket", tmp_path / "pid"
    # Without COMMAND's faulthandler, which needs a stderr.
    command = [sys.executable, *COMMAND[3:], "serve", ECHO, "--bind", address, "--pid", str(pid)]
    command += ["--processes", str(processes), "--access-log", "-"]
    closing = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    with subprocess.Popen([*closing, *command], cwd=ROOT) as process:
        try:
            until(lambda: not refused(address) and echoes(address))
            below = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            for each in (process.pid, *below):
                for number in range(3):
                    found = os.readlink(f"/proc/{each}/fd/{number}")
                    assert not found.startswith(("socket:", "anon_inode:")), f"{number} is {found}"
            assert os.readlink(f"/proc/{process.pid}/fd/1") == os.devnull
        finally:
            process.terminate()
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("nonsense",), "no module named 'nonsense'"),
        ((":x",), "':x' is not MODULE:NAME"),
        (("mistakes:",), "'mistakes:' is not MODULE:NAME"),
        (("mistakes",), "module 'mistakes' has neither 'app' nor 'application'"),
        (("no_such_module:x",), "no module named 'no_such_module'"),
        (("broken:x",), "module 'broken' needs 'not_there_at_all', which is not installed"),
        (("raising:x",), "module 'raising' cannot be imported: ZeroDivisionError"),
        (("unfinished:x",), "SyntaxError(\"'(' was never closed\") at "),
        (("unfinished:x",), "unfinished.py:2\n"),
        (
            ("./mistakes.py:factory",),
            "'./mistakes.py' is a file; write the module: mistakes:factory",
        ),
        (("mistakes:Deaf",), "mistakes:Deaf has no connection_made"),
        (("mistakes:absent",), "module 'mistakes' has no 'absent'"),
        (("mistakes:number",), "mistakes:number is int, not a protocol class or a factory"),
        (("mistakes:NoProtocol",), "neither data_received nor get_buffer"),
        (("mistakes:NeedsMore",), "cannot be called without arguments"),
        (("mistakes:coroutine",), "is a coroutine function"),
        (("mistakes:factory", "--bind", "nonsense"), "'nonsense' is no address"),
        (("mistakes:factory", "--bind", "256.0.0.1:0"), "256.0.0.1: "),
        (("mistakes:factory", "--bind", "unix:/no/such/directory/s"), "cannot listen on unix:"),
        (("mistakes:factory", "--workers", "0"), "workers: must be 1 to 1024, not 0"),
        (("mistakes:factory", "--workers", "many"), "argument --workers: invalid int value"),
        (("mistakes:factory", "--tier", "top"), "argument --tier: invalid choice"),
        (("mistakes:factory", "--nonsense"), "unrecognized arguments: --nonsense"),
        ((), "the following arguments are required: MODULE:NAME, or --static DIR"),
    ],
)
def test_a_mistake_gets_one_line_and_status_2(
    mistakes: Path, arguments: tuple[str, ...], line: str
) -> None:
    done = run("serve", *arguments, cwd=mistakes, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("pyuring: ")
    assert done.stderr.count("\n") == 1
    assert line in done.stderr
    assert done.stdout == ""


def test_a_busy_port_gets_one_line_and_status_2() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        address = f"127.0.0.1:{busy.getsockname()[1]}"
        done = run("serve", ECHO, "--bind", address, "--workers", "2")
    assert done.returncode == 2
    assert done.stderr == f"pyuring: cannot listen on {address}: Address already in use\n"


def test_probe_speaks_to_people_and_to_programs() -> None:
    people, programs = run("probe"), run("probe", "--json")
    assert people.returncode == programs.returncode == 0, people.stderr + programs.stderr
    found = json.loads(programs.stdout)
    assert found["tier"] in people.stdout
    assert people.stderr == programs.stderr == ""


def test_help_is_there() -> None:
    assert "serve" in run("--help").stdout
    assert "MODULE:NAME" in run("serve", "--help").stdout
    assert run("--version").stdout.startswith("pyuring ")


def test_probe_stands_a_reader_that_goes_away() -> None:
    command = f"{' '.join(COMMAND)} probe | true"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_says_why_the_tier_is_not_the_one_asked(capfd: pytest.CaptureFixture[str]) -> None:
    steps = (LadderStep(Tier.HIGH, "too old"), LadderStep(Tier.MID, "odd"))
    ladder = Ladder(Tier.HIGH, Tier.BASE, steps)
    engine: Any = SimpleNamespace(addresses=["unix:@x"], tier=Tier.BASE, ladder=ladder)
    announce(engine, 1)
    first, *rest = capfd.readouterr().err.splitlines()
    assert first == "pyuring: listening on unix:@x (tier BASE, 1 worker)"
    assert rest == ["pyuring: not HIGH: too old", "pyuring: not MID: odd"]
