"""Connections that end while bytes are on their way to them: nobody's memory, nobody's bytes (F38).

`nox -s faults` runs it for minutes on the library whose freed memory is forbidden; elsewhere a few
seconds run on the library as it is.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from peers import until

from faults.churn import Churn
from faults.poisoned import RELEASED_AT_CLOSE, STOPPED, poisoned_package
from faults.subject import Server
from faults.tracepoints import Tracepoints

FULL = os.environ.get("PYURING_FAULTS") == "1"
SECONDS = float(os.environ.get("PYURING_FAULTS_SECONDS") or 300)
full_only = pytest.mark.skipif(not FULL, reason="minutes long, with a build: nox -s faults")


def churn(server: Server, rng: random.Random, seconds: float) -> list[str]:
    """Run the clients, end the server, print what was; return what must not be."""
    clients = Churn(server.address, rng)
    with Tracepoints(server.process.pid) as kernel:
        clients.run(seconds / 4)
        size = server.resident()
        clients.run(seconds * 3 / 4)
        grown = server.resident() - size
        seen = kernel.read()
    if server.process.poll() is None:
        until(lambda: server.connections() <= 0, "their end")
    said = server.end()
    if server.process.returncode != 0:
        return [f"the server ended with {server.process.returncode}: {said}", *clients.problems]
    found, accepted = server.metrics, server.metrics["accepted"]
    print(
        f"{server.tier}: {accepted} connections, {server.counts['late']} late frames, "
        f"{found['completions']} completions, {grown / 1024:+.0f} KiB, "
        f"the slowest took {clients.slowest:.2f} s, {seen}"
    )
    expected = {
        "foreign bytes": (server.counts.get("foreign", 0), 0),
        "connections": (accepted, clients.counts["connections"]),
        "overflows the kernel saw": (seen["io_uring_cqe_overflow"] > 0, found["cq_overflows"] > 0),
        "entries refused": (seen["io_uring_req_failed"], 0),
        "short writes": (seen["io_uring_short_write"], 0),
    }
    wrong = [f"{name}: {a}, expected {b}" for name, (a, b) in expected.items() if a != b]
    return wrong + server.left_over() + clients.problems


@pytest.mark.parametrize("tier", ["base", "high"])
def test_f38_late_bytes_reach_nobody_else(tier: str, rng: random.Random) -> None:
    with Server("churn_server.py", tier=tier) as server:
        assert churn(server, rng, 1.0) == []


@full_only
@pytest.mark.parametrize("tier", ["base", "mid", "high"])
def test_f38_the_kernel_never_writes_into_freed_memory(
    tier: str, rng: random.Random, tmp_path: Path
) -> None:
    with Server("churn_server.py", package=poisoned_package(tmp_path), tier=tier) as server:
        assert churn(server, rng, SECONDS / 3) == []


@full_only
@pytest.mark.parametrize("tier", ["base", "high"])
def test_f38_the_poisoned_library_notices_a_release_at_close(
    tier: str, rng: random.Random, tmp_path: Path
) -> None:
    package = poisoned_package(tmp_path, RELEASED_AT_CLOSE)
    with Server("churn_server.py", package=package, tier=tier) as server:
        problems = churn(server, rng, 2.0)
    # A provided buffer is picked when the bytes come, so that only the completion is late there.
    noticed = STOPPED if tier == "base" else "stale_completions"
    assert any(noticed in problem for problem in problems), problems
