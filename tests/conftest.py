"""What every test may ask for: a seed that replays, a Python in a process of its own, an engine.

It owns no test; what is no fixture lies in peers.py (the engine's tests) and raw.py (the ring's).
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from peers import Notebook
from raw import MATRIX, open_ring
from supervised import APPLICATION, write

from pyuring import Engine, Ring, Worker
from pyuring.testing import serve

ROOT = Path(__file__).resolve().parent.parent
RunPython = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Return the number a random test starts from: PYURING_SEED, or a new one that is printed."""
    value = int(os.environ.get("PYURING_SEED") or random.SystemRandom().randrange(2**32))
    print(f"PYURING_SEED={value}  (replays {request.node.name})")
    return value


@pytest.fixture
def rng(seed: int) -> random.Random:
    """Return a generator started from `seed`."""
    return random.Random(seed)


@pytest.fixture
def run_python() -> RunPython:
    """Return a function that runs code in a fresh interpreter and hands back what it did."""

    def run(code: str, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-X", "faulthandler", "-c", code, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False, cwd=ROOT
        )

    return run


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """Return a directory with application.py, which tells its version and its process."""
    write(tmp_path / "application.py", APPLICATION)
    return tmp_path


@pytest.fixture
def descriptors_kept() -> Iterator[None]:
    """Fail the test that leaves a descriptor open, or closes one that is not its own."""
    before = open_descriptors()
    yield
    after = open_descriptors()
    assert after == before, f"before {before}, after {after}"


def open_descriptors() -> dict[str, str]:
    """Return number and target of every open descriptor of this process."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the listing's own descriptor
    return found


@pytest.fixture
def notebook() -> Notebook:
    """Return a protocol class of its own, and the queue of what happens to it."""
    return Notebook()


@pytest.fixture
def engine(notebook: Notebook) -> Iterator[Engine]:
    """Serve the notebook's protocol."""
    with serve(notebook.protocol) as engine:
        yield engine


@pytest.fixture
def worker(engine: Engine) -> Worker:
    """Return the only worker of `engine`."""
    return engine.workers[0]


@pytest.fixture
def ring() -> Iterator[Ring]:
    """Return a ring of the plainest kind."""
    with open_ring() as ring:
        yield ring


@pytest.fixture(params=MATRIX, ids=repr)
def any_ring(request: pytest.FixtureRequest) -> Iterator[Ring]:
    """Return a small ring, once for each set of flags that this kernel takes."""
    try:
        ring = open_ring(8, flags=request.param)
    except ValueError as error:
        pytest.skip(str(error))
    with ring:
        yield ring


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Return a pipe's two ends."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)
