"""Processes that stand still or are killed, at either end: the others do not notice, or soon do."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from peers import connect, echoes, read_exactly, until

from faults.churn import Churn
from faults.subject import Server

FULL = os.environ.get("PYURING_FAULTS") == "1"
CLIENT = Path(__file__).with_name("echo_client.py")
MIB = 1 << 20
TOLD = {"cut:end", "cut:ConnectionResetError"}  # and none waits until its patience is over


def client(server: Server, count: int, size: int, *stay: str) -> subprocess.Popen[str]:
    host, _, port = server.address.rpartition(":")
    words = [host, port, str(count), str(size), "30", "1", *stay]
    command = [sys.executable, str(CLIENT), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finished(running: subprocess.Popen[str]) -> str:
    return running.communicate(timeout=60)[0].strip()


def test_f37_clients_that_stand_still_are_timed_out_and_the_others_served() -> None:
    # Who stands still either leaves replies waiting or sends no more: one of the two it is.
    with Server("echo_server.py", write_timeout=0.5, idle_timeout=0.5) as server:
        running = client(server, 4, 64 * MIB)
        until(lambda: server.connections() >= 4, "the clients")
        running.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        while server.connections() > 0:
            assert echoes(server.address)
            assert time.monotonic() - began < 10
        running.send_signal(signal.SIGCONT)
        said = finished(running)
        assert server.end() == ""
    assert "whole" not in said
    assert "wrong" not in said
    assert server.left_over() == []
    assert server.counts["ETIMEDOUT"] == server.metrics["timeouts"] == 4


@pytest.mark.skipif(not FULL, reason="seconds of standing still: nox -s faults")
def test_f62_clients_and_a_server_that_stand_still_for_a_while_lose_nothing() -> None:
    with Server("echo_server.py", write_timeout=5.0, idle_timeout=2.0) as server:
        running = client(server, 8, 64 * MIB)
        with connect(server.address) as idle:
            for number in range(6):
                whom = server.process if number % 2 else running
                whom.send_signal(signal.SIGSTOP)
                time.sleep(0.5 if number < 5 else 4.0)  # the time it stands still is the test
                idle.sendall(b"ping")  # in time, but for the server that stands still
                whom.send_signal(signal.SIGCONT)
                assert read_exactly(idle, 4) == b"ping"
        assert finished(running) == "whole=8"
        assert server.end() == ""
    assert server.left_over() == []


@pytest.mark.parametrize("tier", ["base", "high"] if FULL else ["high"])
def test_clients_killed_in_the_middle_leave_nothing_behind(tier: str) -> None:
    with Server("echo_server.py", tier=tier) as server:
        for _ in range(5 if FULL else 1):
            running = client(server, 8, 16 * MIB, "stay")
            until(lambda: server.connections() >= 8, "the clients")
            running.kill()
            running.communicate()
            assert echoes(server.address)
        until(lambda: server.connections() <= 0, "their end")
        assert server.end() == ""
    assert server.left_over() == []


@pytest.mark.parametrize("rounds", [20 if FULL else 2])
def test_f57_a_killed_server_gives_its_port_to_the_next_one(rounds: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    for _ in range(rounds):
        with Server("echo_server.py", address=address) as server:
            assert server.address == address
            running = client(server, 8, 16 * MIB, "stay")
            until(lambda: server.connections() >= 8, "the clients")
            server.process.kill()
            said = finished(running)
            assert {word.partition("=")[0] for word in said.split()} <= TOLD, said


@pytest.mark.skipif(not FULL, reason="half a minute of it: nox -s faults")
def test_everybody_stands_still_and_is_killed_at_random(rng: random.Random) -> None:
    with Server("churn_server.py", idle_timeout=30.0) as server:
        churn = Churn(server.address, rng)
        over = threading.Event()

        def disturb() -> None:
            while not over.wait(rng.uniform(0.05, 0.3)):
                server.process.send_signal(signal.SIGSTOP)
                time.sleep(rng.uniform(0.01, 0.2))
                server.process.send_signal(signal.SIGCONT)
                victim = client(server, 4, MIB)
                time.sleep(rng.uniform(0.05, 0.2))
                victim.kill()
                victim.communicate()

        thread = threading.Thread(target=disturb)
        thread.start()
        try:
            churn.run(30, width=64)
        finally:
            over.set()
            thread.join()
        assert churn.problems == []
        until(lambda: server.connections() <= 0, "their end")
        assert server.end() == ""
    assert server.left_over() == []
    print(f"{churn.counts}, the slowest took {churn.slowest:.2f} s")
