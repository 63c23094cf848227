"""Submissions altered on their way into the kernel: what the engine asked for is not what it gets.

The library is the shipped one, and the kernel answers in earnest: a send that takes a part, a
multishot operation that ends at once, a cancel that finds nothing, an operation it does not know.
Whatever happens, bytes are whole and in order or the connection ends with a reason; nothing hangs
or is left behind, and the next client is served.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from peers import until

from faults.churn import Churn
from faults.subject import Server

FULL = os.environ.get("PYURING_FAULTS") == "1"
TRACER = Path(__file__).with_name("tracer.py")

HARMLESS = [
    ("short_sends", 0.7),
    ("single_shot", 1.0),
    ("no_buffer", 0.5),
    ("asynchronous", 1.0),
    ("missed_cancels", 0.7),
    ("refuse:ASYNC_CANCEL", 0.5),
    ("refuse:CLOSE", 0.5),
    ("refuse:READ", 0.5),
]
# What ends a connection, and what its protocol is told: the kernel's number.
FATAL = [("refuse:RECV", "EINVAL"), ("refuse:SEND", "EINVAL"), ("refuse:SENDMSG", "EINVAL")]
FATAL += [("refuse:SHUTDOWN", "orderly")]
ONLY_GROUPS = ("single_shot", "no_buffer")
ALL = [(name, chance, "") for name, chance in HARMLESS] + [(n, 0.3, reason) for n, reason in FATAL]
CASES = [
    (name, chance, reason, tier)
    for name, chance, reason in ALL
    for tier in ("base", "high")
    if tier == "high" or name not in ONLY_GROUPS
]
SMOKE = [("short_sends", "base"), ("single_shot", "high"), ("asynchronous", "base")]
SMOKE += [("missed_cancels", "high"), ("refuse:RECV", "high")]
if not FULL:
    CASES = [case for case in CASES if (case[0], case[3]) in SMOKE]


@contextmanager
def altered(pid: int, name: str, chance: float, seed: int) -> Iterator[dict[str, int]]:
    """Alter what this process submits during the block; the counts are known behind it."""
    command = [sys.executable, str(TRACER), str(pid), name, str(chance), str(seed)]
    counts: dict[str, int] = {}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as tracer:
        assert tracer.stdout is not None
        assert tracer.stderr is not None
        if tracer.stdout.readline() != "attached\n":
            said = tracer.stderr.read()
            if "PermissionError" in said:
                pytest.skip("this process may not trace its child: ptrace is refused")
            raise AssertionError(said)
        try:
            yield counts
        finally:
            tracer.terminate()
            told, said = tracer.communicate(timeout=30)
    assert tracer.returncode == 0, said
    counts |= json.loads(told)


@pytest.mark.parametrize(("name", "chance", "reason", "tier"), CASES)
def test_whatever_the_kernel_makes_of_a_submission(
    name: str, chance: float, reason: str, tier: str, seed: int
) -> None:
    with Server("churn_server.py", tier=tier) as server:
        assert server.tier == tier.upper()
        clients = Churn(server.address, random.Random(seed), strict=not reason)
        with altered(server.pid, name, chance, seed) as counts:
            clients.run(5 if FULL else 0.1, width=32)
        assert clients.problems == []
        assert counts.get("altered", 0) > 0, counts
        after = Churn(server.address, random.Random(seed))
        after.run(0, width=8)
        assert after.counts["connections"] == 8
        assert after.problems == []
        until(lambda: server.connections() <= 0, "their end")
        assert server.end() == ""
    print(f"{tier} {name}: {counts}, {server.counts}, the slowest took {clients.slowest:.2f} s")
    assert server.left_over() == []
    assert server.counts.get("foreign", 0) == 0
    if reason:
        assert server.counts.get(reason, 0) > 0
    else:
        assert "EINVAL" not in server.counts


def test_f21_a_refused_accept_is_said_aloud_and_the_open_connections_go_on(seed: int) -> None:
    with Server("churn_server.py", tier="base") as server:
        with altered(server.pid, "refuse:ACCEPT", 1.0, seed):
            # The accept in flight takes this client, the next accept is refused.
            Churn(server.address, random.Random(seed)).run(0, width=1)
        said = server.end()
    assert "Invalid argument" in said
    assert server.metrics["errors_accept"] == server.metrics["accepted"] == 1
