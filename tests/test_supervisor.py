"""Several processes under one parent: started, replaced, reloaded, and nobody lost meanwhile."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from load import Load
from peers import connect, echoes, read_exactly, read_to_end, until
from supervised import APPLICATION, FREE, TWO, Supervised, at_a_standstill, gone, who, write


def ask(address: str) -> tuple[str, int]:
    with connect(address) as peer:
        return who(peer)


def test_connections_spread_over_the_processes(application: Path) -> None:
    with Supervised(*TWO, cwd=application) as served:
        peers = [connect(served.address) for _ in range(64)]
        share = Counter(who(peer)[1] for peer in peers)
        assert set(share) == set(served.children())
        assert min(share.values()) >= 10, share  # of 64: five standard deviations from 32
        for peer in peers:
            peer.close()
        served.stop()


def test_connections_spread_over_a_unix_socket_too(application: Path) -> None:
    bind = ("--bind", f"unix:{application}/socket")
    with Supervised("application:App", *bind, "--processes", "2", cwd=application) as served:
        seen: set[int] = set()

        def both_have_answered() -> bool:
            seen.add(ask(served.address)[1])
            return len(seen) == 2

        until(both_have_answered, "answers of both processes")
        served.stop()
    assert not (application / "socket").exists()


def test_several_workers_each_have_a_socket(application: Path) -> None:
    with Supervised(*TWO, "--workers", "2", cwd=application) as served:
        assert "2 processes, 2 workers each" in served.seen[-1]
        assert len({ask(served.address)[1] for _ in range(64)}) == 2
        served.stop()


def test_a_killed_process_takes_only_its_own_connections_with_it(application: Path) -> None:
    with Supervised(*TWO, cwd=application) as served:
        first, second = served.children()
        peers = [connect(served.address) for _ in range(32)]
        owner = {peer: who(peer)[1] for peer in peers}
        assert set(owner.values()) == {first, second}
        os.kill(first, signal.SIGKILL)
        served.expect(f"process {first} was ended by SIGKILL; another starts now")
        for peer in peers:
            if owner[peer] == second:
                assert who(peer) == ("one", second)
        until(lambda: len(served.children()) == 2, "a successor")
        until(lambda: ask(served.address)[1] not in (first, second), "service by the successor")
        for peer in peers:
            peer.close()
        served.stop()


@pytest.mark.parametrize("kind", ["TCP", "Unix"])
def test_who_waits_in_the_queue_of_killed_processes_is_served(application: Path, kind: str) -> None:
    bind = FREE if kind == "TCP" else ("--bind", f"unix:{application}/socket")
    arguments = ("application:App", *bind, "--processes", "2")
    with Supervised(*arguments, cwd=application) as served:
        children = served.children()
        for pid in children:
            os.kill(pid, signal.SIGSTOP)
        until(lambda: all(map(at_a_standstill, children)), "their standstill")
        peers = [connect(served.address) for _ in range(16)]
        for peer in peers:
            peer.sendall(b"who\n")
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        for peer in peers:
            assert read_exactly(peer, 4) == b"one "
            peer.close()
        served.stop()


def test_under_load_a_kill_costs_no_more_than_what_was_in_flight(application: Path) -> None:
    with Supervised(*TWO, cwd=application) as served, Load(served.address, 4) as load:
        until(lambda: load.total() > 100, "answers")
        victim = served.children()[0]
        os.kill(victim, signal.SIGKILL)
        served.expect(f"process {victim} was ended by SIGKILL")
        mark = load.total()
        until(lambda: load.total() > mark + 100, "answers after the kill")
        until(lambda: len(answering(load)) == 3, "answers of the successor")
    assert len(load.problems) <= 4, load.problems  # one a client


def answering(load: Load) -> set[bytes]:
    return set(load.answers)


def test_sighup_reloads_without_refusing_or_losing_anybody(application: Path) -> None:
    with Supervised(*TWO, cwd=application) as served:
        old = set(served.children())
        with Load(served.address, 3) as load, Load(served.address, 3, keep=True) as kept:
            until(lambda: load.total() > 50 and kept.total() > 50, "answers")
            write(application / "application.py", APPLICATION.replace('b"one"', 'b"two"'))
            served.signal(signal.SIGHUP)
            served.expect("reloading")
            served.expect(": reloaded$")
            mark = load.total()
            until(lambda: load.total() > mark + 50, "answers after the reload")
            assert ask(served.address)[0] == "two"
        assert load.problems == kept.problems == []
        gone(*old)
        served.stop()


def test_a_connection_outlives_the_reload(application: Path) -> None:
    with Supervised(*TWO, cwd=application) as served, connect(served.address) as peer:
        _, old = who(peer)
        served.signal(signal.SIGHUP)
        done = False
        while not done:  # it is never quiet for a tenth of a second
            assert who(peer) == ("one", old)
            done = not served._lines.empty() and "reloaded" in served.line()
        assert who(peer) == ("one", old)
        peer.shutdown(socket.SHUT_WR)
        assert read_to_end(peer) == b""
        gone(old)


def test_a_broken_application_is_not_reloaded(application: Path) -> None:
    with Supervised(*TWO, cwd=application) as served:
        before = set(served.children())
        write(application / "application.py", "import not_there_at_all\n")
        served.signal(signal.SIGHUP)
        line = served.expect("not reloaded, the old processes go on: (.*)")
        assert "needs 'not_there_at_all', which is not installed" in line[1]
        until(lambda: len(served.children()) == 2, "the end of the one that could not serve")
        assert set(served.children()) == before
        assert ask(served.address)[0] == "one"
        write(application / "application.py", APPLICATION.replace('b"one"', 'b"two"'))
        served.signal(signal.SIGHUP)
        served.expect(": reloaded$")
        until(lambda: ask(served.address)[0] == "two", "the new application")
        served.stop()


def test_a_place_is_filled_even_after_a_reload_that_failed(application: Path) -> None:
    with Supervised(*TWO, cwd=application) as served:
        write(application / "application.py", "1 / 0\n")
        os.kill(served.children()[0], signal.SIGKILL)
        served.expect("another starts in 0.5 s")
        served.signal(signal.SIGHUP)
        served.expect("not reloaded")
        write(application / "application.py", APPLICATION.replace('b"one"', 'b"two"'))
        until(lambda: ask(served.address)[0] == "two", "the new process")
        until(lambda: ask(served.address)[0] == "one", "the old one")
        served.stop()


def test_a_process_that_dies_while_it_serves_does_not_hold_up_a_reload(application: Path) -> None:
    with Supervised(*TWO, cwd=application) as served:
        served.signal(signal.SIGHUP)
        served.expect("reloading")
        for _ in range(3):
            with connect(served.address) as peer:
                peer.sendall(b"die\n")
                try:
                    assert read_to_end(peer) == b""
                except ConnectionResetError:
                    pass
        served.expect("was ended by SIGABRT")
        served.expect(": reloaded$")
        assert ask(served.address)[0] == "one"
        served.stop()


def test_a_broken_application_ends_the_first_start_with_one_line(application: Path) -> None:
    write(application / "application.py", "import not_there_at_all\n")
    with Supervised(*TWO, cwd=application, ready=False) as served:
        assert served.wait() == 2
        line, *more = served.rest()
        assert line.startswith("pyuring: module 'application' needs 'not_there_at_all'")
        assert not more


def test_an_address_in_use_ends_the_first_start_with_one_line(application: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        bind = ("--bind", f"127.0.0.1:{busy.getsockname()[1]}")
        arguments = ("application:App", *bind, "--processes", "2")
        with Supervised(*arguments, cwd=application, ready=False) as served:
            assert served.wait() == 2
            (line,) = served.rest()
            assert "Address already in use" in line


def test_a_limit_that_the_parent_meets_is_told_with_what_helps(application: Path) -> None:
    # Enough for the interpreter and the command, not for the parent's sockets and channels.
    code = (
        "import resource, sys; from pyuring.__main__ import main; "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (7, 7)); sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "serve", *TWO]
    done = subprocess.run(command, capture_output=True, text=True, cwd=application, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("; raise RLIMIT_NOFILE (ulimit -n, LimitNOFILE= in systemd)\n")


def test_processes_that_die_at_once_are_not_started_without_end(application: Path) -> None:
    with Supervised(*TWO[:-1], "1", "--max-requests", "1000000", cwd=application) as served:
        write(application / "application.py", "import os\nos.abort()\n")
        began = time.monotonic()
        os.kill(served.children()[0], signal.SIGKILL)
        served.expect("another starts now")
        served.expect("before it served; another starts in 0.5 s")
        served.expect("another starts in 1 s")
        assert time.monotonic() - began >= 0.5
        write(application / "application.py", APPLICATION)
        served.signal(signal.SIGHUP)  # puts an end to the waiting
        assert ask(served.address)[0] == "one"
        served.stop()


def test_ps_tells_the_parent_and_each_process_by_its_place(application: Path) -> None:
    def name(pid: int) -> str:
        return Path(f"/proc/{pid}/comm").read_text().strip()

    def words(pid: int) -> list[str]:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")

    with Supervised(*TWO, cwd=application) as served:
        assert name(served.process.pid) == "pyuring-parent"
        before = served.children()
        assert [name(pid) for pid in before] == ["pyuring-1", "pyuring-2"]
        for number, pid in enumerate(before, 1):
            at = words(pid).index("pyuring")
            assert words(pid)[at + 1 : at + 4] == [f"process-{number}", "serve", TWO[0]]
        served.signal(signal.SIGHUP)
        served.expect("reloaded")
        until(lambda: not set(before) & set(served.children()), "the old processes' end")
        assert {name(pid) for pid in served.children()} == {"pyuring-1", "pyuring-2"}
        served.signal(signal.SIGTTIN)
        served.expect("3 processes")
        until(lambda: "pyuring-3" in [name(pid) for pid in served.children()], "the third")
        served.stop()


def test_a_process_that_is_told_to_end_is_followed_by_another(application: Path) -> None:
    with Supervised(*TWO, cwd=application) as served, Load(served.address, 3) as load:
        victim = served.children()[0]
        os.kill(victim, signal.SIGTERM)
        served.expect(f"process {victim} was told to end: another follows it")
        until(lambda: victim not in served.children(), "its burial")
        assert len(served.children()) == 2
    assert load.problems == []


def test_more_and_fewer_processes(application: Path) -> None:
    with Supervised(*TWO, cwd=application) as served, Load(served.address, 3) as load:
        served.signal(signal.SIGTTIN)
        served.expect("3 processes from now on")
        until(lambda: len(answering(load)) == 3, "answers of the third")
        served.signal(signal.SIGTTOU)
        served.expect("2 processes from now on")
        until(lambda: len(served.children()) == 2, "the end of the third")
        served.signal(signal.SIGTTOU)
        served.expect("1 process from now on")
        until(lambda: len(served.children()) == 1, "the end of the second")
        mark = load.total()
        until(lambda: load.total() > mark + 20, "answers of the first")
    assert load.problems == []


def test_sigusr1_tells_what_each_process_does(application: Path) -> None:
    with Supervised(*TWO, cwd=application) as served, connect(served.address) as peer:
        _, pid = who(peer)
        served.signal(signal.SIGUSR1)
        served.expect(rf"process {pid}: ready, \d+ s, 1 requests, 1 connections")


def test_after_max_requests_another_process_follows(application: Path) -> None:
    arguments = ("application:App", *FREE, "--max-requests", "50", "--max-requests-jitter", "20")
    with Supervised(*arguments, cwd=application) as served, Load(served.address, 2) as load:
        found = served.expect(r"process \d+ has served (\d+) requests: another follows it")
        assert int(found[1]) >= 50
        served.expect("another follows it")
        until(lambda: len(answering(load)) >= 3, "answers of the third process")
    assert load.problems == []


def test_reload_follows_an_edit(application: Path) -> None:
    with Supervised("application:App", *FREE, "--reload", cwd=application) as served:
        assert ask(served.address)[0] == "one"
        write(application / "application.py", APPLICATION.replace('b"one"', 'b"two"'))
        served.expect("application.py has changed")
        served.expect(": reloaded$")
        until(lambda: ask(served.address)[0] == "two", "the new application")
        write(application / "application.py", "import helper_module\n")
        write(application / "helper_module.py", "1 / 0\n")
        served.expect("not reloaded, the old processes go on: .*")
        write(application / "helper_module.py", "")
        write(application / "application.py", APPLICATION.replace('b"one"', 'b"three"'))
        served.expect(": reloaded$")
        until(lambda: ask(served.address)[0] == "three", "the mended application")
        served.stop()


def test_twenty_reloads_leave_no_descriptor_and_no_process_behind(application: Path) -> None:
    with Supervised(*TWO, cwd=application) as served:

        def reload() -> None:
            served.signal(signal.SIGHUP)
            served.expect(": reloaded$")

        def descriptors() -> int:
            return len(os.listdir(f"/proc/{served.process.pid}/fd"))

        before = descriptors()
        for _ in range(20):
            reload()
        until(lambda: len(served.children()) == 2, "the end of the old ones")
        until(lambda: descriptors() == before, "descriptors as before")
        assert echoes(served.address)
        served.stop()
