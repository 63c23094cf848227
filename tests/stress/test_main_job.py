"""The main job: clients that nobody here wrote send random data and get the same data back.

`nox -s stress` runs it in full: 64 clients with 16 MiB each, every tier, one and two workers.
Elsewhere a small version runs: 8 clients with 1 MiB each.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Served

from pyuring import Tier, probe

FULL = os.environ.get("PYURING_STRESS") == "1"
CLIENTS = 64 if FULL else 8
SIZE = (16 if FULL else 1) << 20
TIERS = ["base", "mid", "high", "optional"] if FULL else ["auto"]
PATIENCE = 600 if FULL else 60

STREAMS = str(Path(__file__).with_name("streams_client.py"))
KINDS = {
    "socat": ["socat", "-t", "60", "-", "TCP:{host}:{port}"],
    "nc": ["nc", "-N", "{host}", "{port}"],
    "streams": [sys.executable, STREAMS, "{host}", "{port}"],
}


class Client:
    """One client process, fed and read by a thread each."""

    def __init__(self, kind: str, address: str, seed: int) -> None:
        host, _, port = address.rpartition(":")
        command = [word.format(host=host, port=port) for word in KINDS[kind]]
        self.name = f"{kind} with seed {seed}"
        self._seed = seed
        self._sent, self._received = hashlib.sha256(), hashlib.sha256()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.threads = [threading.Thread(target=call) for call in (self._send, self._receive)]
        for thread in self.threads:
            thread.start()

    def same(self) -> bool:
        """Wait for the end, and return whether what came back is what went out."""
        for thread in self.threads:
            thread.join(PATIENCE)
        assert self.process.wait(PATIENCE) == 0, self.name
        return self._sent.digest() == self._received.digest()

    def _send(self) -> None:
        assert self.process.stdin is not None
        with self.process.stdin as pipe:
            for piece in random_pieces(self._seed, SIZE):
                self._sent.update(piece)
                pipe.write(piece)
                pipe.flush()

    def _receive(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as pipe:
            while piece := pipe.read1(1 << 18):
                self._received.update(piece)


def random_pieces(seed: int, size: int) -> Iterator[bytes]:
    """Yield `size` random bytes in pieces of random lengths, from a byte to 128 KiB."""
    rng = random.Random(seed)
    while size > 0:
        length = min(size, rng.choice((1, 100, 5_000, 70_000, 131_072)), rng.randint(1, 131_072))
        yield rng.randbytes(length)
        size -= length


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("tier", TIERS)
def test_main_job(tier: str, workers: int, seed: int) -> None:
    kinds = [kind for kind, command in KINDS.items() if shutil.which(command[0])]
    if FULL and len(kinds) < len(KINDS):
        pytest.skip(f"this machine has only {', '.join(kinds)} of {', '.join(KINDS)}")
    if tier != "auto" and not probe(sqpoll=True).allows(Tier[tier.upper()]):
        pytest.skip(f"this kernel lacks tier {tier}")
    arguments = ("--bind", "127.0.0.1:0", "--workers", str(workers), "--tier", tier)
    with Served("examples.echo:Echo", *arguments) as served:
        assert tier in ("auto", served.tier.lower())
        clients = [
            Client(kinds[number % len(kinds)], served.address, seed + number)
            for number in range(CLIENTS)
        ]
        wrong = [client.name for client in clients if not client.same()]
        assert wrong == []
        served.process.terminate()
        assert served.wait() == 0
        assert "stopping" in served.stderr.read().splitlines()[-1]
