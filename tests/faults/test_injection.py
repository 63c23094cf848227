"""io_uring's system calls fail: now and then while clients are served, once for good, at the start.

What passes (EINTR, EAGAIN, EBUSY) nobody notices. What does not ends the engine with the kernel's
number, or keeps it from starting with the reason: never a hang, never half an answer.
"""

from __future__ import annotations

import errno
import os
import random
import re
import subprocess
from pathlib import Path

import pytest
from command import COMMAND, READY, ROOT, Served
from peers import connect, echoes, read_to_end, refused

from faults.churn import Churn
from faults.injection import count, injected, strace
from faults.subject import Server, terminate_traced

FULL = os.environ.get("PYURING_FAULTS") == "1"

PASSING = ["EAGAIN", "EBUSY", "EINTR"]
TIERS = ["base", "high"] if FULL else ["high"]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("error", PASSING if FULL else ["EBUSY"])
def test_f8_an_enter_that_fails_now_and_then_costs_nobody_a_byte(
    error: str, tier: str, rng: random.Random, tmp_path: Path
) -> None:
    with Server("churn_server.py", tier=tier) as server:
        clients = Churn(server.address, rng)
        with injected(server.pid, tmp_path / "log", f"io_uring_enter:error={error}:when=2+3"):
            clients.run(10 if FULL else 0.1, width=32)
        assert clients.problems == []
        assert server.end() == ""
    print(f"{tier} {error}: {count(tmp_path / 'log')} of {server.metrics['turns']} turns")
    assert server.left_over() == []
    assert server.metrics["accepted"] == clients.counts["connections"]


@pytest.mark.parametrize("error", ["ENOMEM", "EBADR", "EFAULT", "ENXIO"] if FULL else ["ENOMEM"])
def test_f8_an_enter_that_fails_for_good_ends_the_server_with_its_number(
    error: str, tmp_path: Path
) -> None:
    with Served("examples.echo:Echo", "--bind", "127.0.0.1:0") as served:
        with connect(served.address) as peer:
            with injected(served.process.pid, tmp_path / "log", f"io_uring_enter:error={error}"):
                peer.sendall(b"ping")
                status = served.wait()
            try:
                assert read_to_end(peer) in (b"", b"ping")
            except ConnectionResetError:
                pass
        said = served.stderr.read()
        assert status == 1, said
        assert f"[Errno {getattr(errno, error)}]" in said.splitlines()[-1]
        assert refused(served.address)


def start(fault: str, log: Path) -> str:
    """Start the command under a fault; return its words, having tried the engine that runs."""
    command = [strace(), "-f", "-qq", "-o", str(log), "-e", "trace=/io_uring", "-e"]
    command += [f"inject={fault}", *COMMAND, "serve", "examples.echo:Echo", "--bind", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as server:
        assert server.stderr is not None
        line = server.stderr.readline()
        found = READY.fullmatch(line)
        if found is not None:
            assert echoes(found[1]), fault
            terminate_traced(server)
        said = line + server.stderr.read()
        server.wait(30)
        if found is not None:
            assert server.returncode == 0, fault
            reasons = [each for each in said.splitlines()[1:] if "stopping within" not in each]
            assert all(re.match("pyuring: (not|epoll serves)", each) for each in reasons), said
            return "\n".join([f"runs on {found[2]}", *reasons])
        assert server.returncode != 0, fault
        assert "Traceback" not in said, f"{fault}: {said}"
        assert said.startswith("pyuring: "), f"{fault}: {said!r}"
        return said


REFUSED_AT_START = [
    ("io_uring_setup:error=EPERM", "runs on NONE"),
    ("io_uring_setup:error=ENOSYS", "runs on NONE"),
    ("io_uring_setup:error=ENOMEM", "runs on NONE"),
    ("io_uring_setup:error=EMFILE", "RLIMIT_NOFILE"),
    ("io_uring_register:error=EINVAL", "runs on BASE"),
    ("io_uring_register:error=ENOMEM", "runs on BASE"),
]


@pytest.fixture(autouse=True)
def best_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails here are io_uring's calls, whatever tier the tests run on."""
    monkeypatch.delenv("PYURING_TIER", raising=False)


@pytest.mark.parametrize(("fault", "words"), REFUSED_AT_START if FULL else REFUSED_AT_START[4:5])
def test_f15_a_call_refused_at_the_start_is_a_lower_tier_or_a_reason(
    fault: str, words: str, tmp_path: Path
) -> None:
    assert words in start(fault, tmp_path / "log")


@pytest.mark.skipif(not FULL, reason="hundreds of starts: nox -s faults")
@pytest.mark.parametrize("call", ["io_uring_setup", "io_uring_register"])
@pytest.mark.parametrize("error", ["EINVAL", "ENOMEM", "EPERM"])
def test_f15_any_one_call_of_the_start_may_fail(call: str, error: str, tmp_path: Path) -> None:
    outcomes: dict[str, list[int]] = {}
    number = 0
    while True:
        number += 1
        log = tmp_path / str(number)
        outcomes.setdefault(start(f"{call}:error={error}:when={number}", log), []).append(number)
        if count(log) == 0:
            break
    print(f"{call} {error}: {outcomes}")
    assert number > 3
