"""How several processes end: by signals, by a terminal, in a drain, without their parent."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from load import Load
from peers import connect, read_exactly, read_to_end, refused, until
from supervised import TWO, Supervised, alive, gone, who

STOPPING = "pyuring: stopping within 30 s; a second signal ends at once\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_drains_every_process(application: Path, number: signal.Signals) -> None:
    with Supervised(*TWO, cwd=application) as served:
        children = served.children()
        peers = [connect(served.address) for _ in range(8)]
        for peer in peers:
            who(peer)
            peer.sendall(b"half a line")
        served.signal(number)
        for peer in peers:
            assert read_exactly(peer, 11) == b"half a line"
            assert read_to_end(peer) == b""
            peer.close()
        assert served.wait() == 0
        assert not any(alive(pid) for pid in children)
        assert refused(served.address)
        assert served.rest() == [STOPPING]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_all_at_once(application: Path, number: signal.Signals) -> None:
    with Supervised(*TWO, cwd=application) as served, connect(served.address) as peer:
        children = served.children()
        who(peer)
        served.signal(number)
        assert read_to_end(peer) == b""  # it drains, and waits for us to close as well
        served.signal(number)
        assert served.wait(5) == 128 + number
        gone(*children)


def test_a_drain_that_takes_too_long_is_cut_short(application: Path) -> None:
    arguments = (*TWO, "--graceful-timeout", "0.5")
    with Supervised(*arguments, cwd=application) as served, Load(served.address, 1, True) as load:
        until(lambda: load.total() > 10, "answers")
        began = time.monotonic()
        served.signal(signal.SIGTERM)
        assert served.wait() == 0
        assert time.monotonic() - began < 10


def test_the_signals_of_a_terminal_reach_only_the_parent(application: Path) -> None:
    with Supervised(*TWO, cwd=application, start_new_session=True) as served:
        with connect(served.address) as peer:
            who(peer)
            os.killpg(served.process.pid, signal.SIGINT)
            assert read_to_end(peer) == b""
        assert served.wait() == 0
        assert served.rest() == [STOPPING]


def test_without_their_parent_the_processes_end(application: Path) -> None:
    with Supervised(*TWO, cwd=application) as served, connect(served.address) as peer:
        children = served.children()
        who(peer)
        peer.sendall(b"half a line")
        served.process.kill()
        assert read_exactly(peer, 11) == b"half a line"
        assert read_to_end(peer) == b""
        peer.close()
        gone(*children)
        assert refused(served.address)
