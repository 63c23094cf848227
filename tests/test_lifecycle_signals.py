"""Signals whose handlers end an engine: SIGTERM, and Ctrl-C anywhere (F48).

Each in a child, at random moments; `nox -s border` has many more.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from border.ctrl_c import ROUNDS
from conftest import RunPython as Run

import pyuring

ROOT = Path(__file__).resolve().parent.parent
TIMES = int(os.environ.get("PYURING_BORDER_TIMES", "1"))
SOME = {"engine": 25, "listen": 25, "ring": 60}

BEGIN = """
import os, random, signal, sys, threading
sys.path.insert(0, "tests")
from peers import Echo, connect, read_exactly, until
from pyuring import Engine
def engine_on():
    return Engine(Echo, "127.0.0.1:0", linger_timeout=0.1, drain_quiet=0.0)
"""


@pytest.mark.parametrize("what", ROUNDS)
def test_f48_ctrl_c_anywhere_leaves_what_can_be_closed(what: str, seed: int) -> None:
    script = ROOT / "tests" / "border" / "ctrl_c.py"
    done = subprocess.run(
        [sys.executable, str(script), what, str(TIMES * SOME[what]), str(seed)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(pyuring.__file__).parent.parent)},
        timeout=60 * TIMES,
        check=False,
    )
    print(done.stdout[-500:])
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_guides_handler_for_sigterm_drains(run_python: Run) -> None:
    guide = (Path(__file__).parent.parent / "docs/engine.md").read_text("utf-8")
    (line,) = (each for each in guide.splitlines() if each.startswith("signal.signal("))
    done = run_python(
        BEGIN
        + f"""
engine = engine_on()
{line}
def client():
    until(lambda: engine.running)
    with connect(engine.address) as peer:
        peer.sendall(b"ping")
        os.kill(os.getpid(), signal.SIGTERM)
        print(read_exactly(peer, 4), peer.recv(1))
thread = threading.Thread(target=client)
thread.start()
engine.listen()
thread.join()
print(engine.running)
"""
    )
    assert (done.stdout, done.stderr) == ("b'ping' b''\nFalse\n", "")


def test_a_sigterm_that_comes_as_listening_begins_or_ends_is_no_deadlock(run_python: Run) -> None:
    done = run_python(
        BEGIN
        + """
for turn in range(30):
    engine = engine_on().start()
    signal.signal(signal.SIGTERM, lambda *_: engine.shutdown())
    ready = threading.Event()
    def kill():
        ready.wait()
        for _ in range(random.randrange(60)):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
    thread = threading.Thread(target=kill)
    thread.start()
    ready.set()
    engine.listen()
    thread.join()
    assert not engine.running
print("ended")
"""
    )
    assert (done.stdout, done.stderr) == ("ended\n", "")
