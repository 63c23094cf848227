"""Clocks that jump: the wall clock moves nothing but Date, whatever the monotonic one begins with.

No clock of the machine's is touched: one process's view of the time of day is altered on its way
out of the kernel, and a time namespace shifts the monotonic clock of another.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import COMMAND, READY, ROOT
from http_client import Client
from peers import connect, read_exactly, read_to_end

from faults.subject import Server, terminate_traced

TRACER = Path(__file__).with_name("clock_tracer.py")
PREFIX = [sys.executable, str(TRACER)]


def looks(said: str) -> dict[str, int]:
    """Return who looked at the wall clock: the first thread, and the others."""
    if "PermissionError" in said:
        pytest.skip("this process may not trace its child: ptrace is refused")
    return dict(json.loads(said.splitlines()[-1])["looks"])


def test_f62_a_wall_clock_that_jumps_by_days_moves_no_deadline() -> None:
    with Server("echo_server.py", prefix=PREFIX, idle_timeout=0.5) as server:
        began = time.monotonic()
        with connect(server.address) as idle, connect(server.address) as busy:
            while time.monotonic() - began < 0.4:
                busy.sendall(b"ping")
                assert read_exactly(busy, 4) == b"ping"
            assert read_to_end(idle) == b""
            assert 0.45 < time.monotonic() - began < 5
        seen = looks(server.end())
    assert server.left_over() == []
    assert server.metrics["timeouts"] == 1
    assert seen["first"] > 0, "the tracer saw nothing"
    assert seen.get("others", 0) == 0, "the worker looked at the wall clock"


def test_f62_the_wall_clock_is_for_date_alone() -> None:
    command = [*PREFIX, *COMMAND, "serve", "examples.hello:app", "--bind", "127.0.0.1:0"]
    command += ["--timeout-keep-alive", "1", "--timeout-head", "1"]
    dates = set()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as server:
        assert server.stderr is not None
        found = READY.fullmatch(server.stderr.readline())
        assert found is not None
        with Client(found[1]) as client:
            began = time.monotonic()
            while len(dates) < 2:
                assert time.monotonic() - began < 20
                reply = client.get()
                assert reply.status == 200
                dates.add(reply["Date"])
            took = time.monotonic() - began
        terminate_traced(server)
        seen = looks(server.communicate(timeout=20)[1])
        assert server.returncode == 0
    assert 0 < seen["others"] <= took + 2  # Date, once a second


@pytest.mark.parametrize("start", [300_000_000, "zero"])
def test_f62_any_beginning_of_the_monotonic_clock_will_do(start: int | str) -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("this machine has no unshare")
    # Nine years of uptime; or none, which is where a machine that has just booted stands.
    shift = start if isinstance(start, int) else -int(time.monotonic()) + 1
    prefix = [unshare, "--time", "--monotonic", str(shift), "--fork"]
    probe = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no time namespace: {probe.stderr.strip()}")
    with Server("echo_server.py", prefix=prefix, idle_timeout=0.3) as server:
        began = time.monotonic()
        with connect(server.address) as idle:
            idle.sendall(b"ping")
            assert read_exactly(idle, 4) == b"ping"
            assert read_to_end(idle) == b""
            assert 0.25 < time.monotonic() - began < 5
        assert server.end() == ""
    assert server.left_over() == []
