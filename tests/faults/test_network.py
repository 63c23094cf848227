"""A network that loses packets, is slow, or is cut: between two namespaces, so nobody else's.

TCP mends what is lost; what is to be seen is that the engine holds out: every byte in order, a
bounded queue for who is slow, and an end with a reason for who is gone.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peers import until

from faults.namespaces import SERVER, Cable
from faults.subject import Server

FULL = os.environ.get("PYURING_FAULTS") == "1"
CLIENT = Path(__file__).with_name("echo_client.py")
full_only = pytest.mark.skipif(not FULL, reason="takes its time: nox -s faults")


@pytest.fixture
def cable() -> Iterator[Cable]:
    with Cable() as cable:
        yield cable


def server_at(cable: Cable, **config: Any) -> Server:
    prefix = cable.ends[0].command()
    return Server("echo_server.py", prefix=prefix, address=f"{SERVER}:0", **config)


def clients(cable: Cable, server: Server, count: int, size: int, seconds: float) -> Any:
    """Start them; `communicate` waits for their line."""
    host, _, port = server.address.rpartition(":")
    seed = random.SystemRandom().randrange(1 << 32)
    words = [host, port, str(count), str(size), str(seconds), str(seed)]
    command = cable.ends[1].command(sys.executable, str(CLIENT), *words)
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finished(running: Any) -> str:
    return str(running.communicate(timeout=300)[0]).strip()


@full_only
@pytest.mark.parametrize("tier", ["base", "high"])
@pytest.mark.parametrize("percent", [2, 10, 15])
def test_lost_packets_cost_time_and_no_byte(cable: Cable, percent: int, tier: str) -> None:
    count, size = 16, 1 << 19
    with server_at(cable, tier=tier) as server:
        cable.lose(percent)
        assert finished(clients(cable, server, count, size, 120)) == f"whole={count}"
        cable.mend()
        assert server.end() == ""
    assert server.left_over() == []
    assert server.metrics["bytes_sent"] == server.metrics["bytes_received"] == count * size


@full_only
@pytest.mark.parametrize("tier", ["base", "high"])
def test_f33_a_slow_line_holds_the_sender_back_and_not_the_memory(cable: Cable, tier: str) -> None:
    count, size = 8, 1 << 20
    with server_at(cable, tier=tier) as server:
        cable.slow_down("8mbit")
        before = server.resident()
        assert finished(clients(cable, server, count, size, 120)) == f"whole={count}"
        grown = server.resident() - before
        assert server.end() == ""
    assert server.left_over() == []
    high = server.metrics["send_queue_high_water"]
    print(f"{tier}: {grown / 1024:+.0f} KiB, at most {high} bytes of one connection queued")
    assert high < 1 << 18
    assert grown < (2 << 20) + (count << 18)  # the worker's buffers, and what is queued


@full_only
def test_a_line_that_is_slow_and_loses(cable: Cable) -> None:
    with server_at(cable) as server:
        cable.slow_down("16mbit")
        cable.lose(3)
        assert finished(clients(cable, server, 8, 1 << 19, 120)) == "whole=8"
        cable.mend()
        assert server.end() == ""
    assert server.left_over() == []


def test_f37_who_is_cut_off_is_timed_out_and_the_next_one_is_served(cable: Cable) -> None:
    with server_at(cable, write_timeout=0.5, idle_timeout=0.7) as server:
        cable.slow_down("8mbit")  # so that there is something left to cut
        running = clients(cable, server, 4, 1 << 20, 1.5)
        until(lambda: server.connections() >= 4, "the clients' connections")
        cable.cut()
        until(lambda: server.connections() <= 0, "their end")
        assert "whole" not in finished(running)
        cable.mend()
        assert finished(clients(cable, server, 2, 1000, 10)) == "whole=2"
        assert server.end() == ""
    assert server.left_over() == []
    assert server.counts.get("ETIMEDOUT", 0) > 0
    assert server.metrics["timeouts"] == 4
