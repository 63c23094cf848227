"""The questions of the smoke set: each carries something out and checks every byte of it.

They own nothing afterwards: engines are shut down, sockets closed. What is wrong is an
AssertionError that names it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from http_client import HOST, Client, served
from peers import Echo, connect, read_exactly, read_to_end, refused as nobody_listens

from pyuring import BufferGroup, Protocol, Request, Ring, SqeFlags, Transport, probe
from pyuring.testing import serve

KIB = 1024
SEED = 20260


def open_descriptors() -> set[tuple[str, str]]:
    """Return number and target of every open descriptor of this process."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add((name, os.readlink(f"/proc/self/fd/{name}")))
        except FileNotFoundError:
            continue  # the listing's own
    return found


def together(calls: Iterable[Callable[[], None]]) -> None:
    """Run every call on a thread of its own; the first problem is raised when all have ended."""
    problems: list[BaseException] = []

    def guard(call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=guard, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


def same(found: bytes, wanted: bytes, what: str) -> None:
    """Compare by length and checksum, so that a difference is told in a line."""
    told = [
        f"{len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()[:16]}"
        for data in (found, wanted)
    ]
    assert told[0] == told[1], f"{what}: got {told[0]}, wanted {told[1]}"


# --- the probe -------------------------------------------------------------------------------


def probe_tells() -> str:
    """The command says what the library says, and asking leaves nothing behind."""
    profile = probe(refresh=True)
    command = [sys.executable, "-m", "pyuring", "probe", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    odd = [
        name for name, has in profile.capabilities().items() if has != told["capabilities"][name]
    ]
    reasons = [told["missing"].get(name, profile.missing.get(name)) for name in odd]
    assert not odd, f"the command and the library differ: {reasons}"
    has = sum(profile.capabilities().values())
    return f"{has} of {len(profile.capabilities())} capabilities, tier {profile.tier.name}"


def refused() -> str:
    """Where io_uring is switched off the probe says so, and says what helps."""
    profile = probe(refresh=True)
    assert profile.tier.name == "NONE", (
        f"tier {profile.tier.name} although io_uring is switched off"
    )
    reason = profile.missing["io_uring"]
    assert "EPERM" in reason, reason
    assert "kernel.io_uring_disabled" in reason, reason
    return reason


# --- streams ---------------------------------------------------------------------------------


def echo(tier: str, size: tuple[int, int], protocol: type[Protocol] = Echo) -> str:
    """Several connections at once, each with bytes of its own, each byte back in order."""
    connections, kib = size
    with serve(protocol, tier=tier) as engine:
        achieved(engine, tier)
        together(
            [partial(echo_once, engine.address, kib * KIB, SEED + n) for n in range(connections)]
        )
    return f"{connections} x {kib} KiB"


def echo_once(address: str, size: int, seed: int) -> None:
    """Send random bytes in random pieces while reading them back."""
    rng = random.Random(seed)
    data = rng.randbytes(size)
    with connect(address) as peer:

        def send() -> None:
            at = 0
            while at < size:
                piece = data[at : at + rng.randint(1, 64 * KIB)]
                peer.sendall(piece)
                at += len(piece)
            peer.shutdown(socket.SHUT_WR)

        got: list[bytes] = []
        together([send, lambda: got.append(read_exactly(peer, size))])
        same(got[0], data, f"echo (seed {seed})")
        assert peer.recv(1) == b"", "the end did not come back"


def workers(tier: str) -> str:
    """Two workers on one port both serve."""
    with serve(Echo, tier=tier, workers=2) as engine:
        achieved(engine, tier)
        rounds = 0
        while min(worker.metrics()["accepted"] for worker in engine.workers) == 0:
            rounds += 1
            assert rounds < 50, "one worker never got a connection"
            echo_once(engine.address, 4 * KIB, SEED + rounds)
    return f"both served within {rounds} connections"


def shutdown(tier: str) -> str:
    """A reply that is on its way when the engine is shut down arrives whole."""
    body = random.Random(SEED).randbytes(8 << 20)

    class Gives(Protocol):
        def connection_made(self, transport: Transport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(body)

    with serve(Gives, tier=tier) as engine, connect(engine.address) as peer:
        peer.sendall(b"?")
        begun = read_exactly(peer, 1)
        rest: list[bytes] = []
        ended: list[bool] = []
        together(
            [lambda: rest.append(read_to_end(peer)), lambda: ended.append(engine.shutdown(20))]
        )
        same(begun + rest[0], body, "the reply under way")
        assert ended == [True], "the shutdown had to abort a connection"
        assert nobody_listens(engine.address), "somebody still listens"
    return "8 MiB arrived whole"


def restart(tier: str, times: int) -> str:
    """A successor gets the same port at once, although an accept was pending."""
    with serve(Echo, tier=tier) as engine:
        address = engine.address
    slowest = 0.0
    for number in range(times):
        with serve(Echo, address, tier=tier) as engine:
            assert engine.address == address
            with connect(address) as peer:
                peer.sendall(b"%04d" % number)
                same(read_exactly(peer, 4), b"%04d" % number, "echo")
            begun = time.monotonic()
            assert engine.shutdown(20), "the shutdown had to abort a connection"
            slowest = max(slowest, time.monotonic() - begun)
    return f"{times} times on one port, the slowest end {slowest:.1f} s"


def achieved(engine: Any, tier: str) -> None:
    """Check that the engine runs on the tier it was asked for, not on a lower one."""
    found = engine.tier.name.lower()
    assert found == tier, f"asked for {tier}, got {found}: {engine.ladder}"


# --- HTTP ------------------------------------------------------------------------------------

LARGE = random.Random(SEED).randbytes(64 * KIB)


def answer(request: Request) -> Any:
    """Reply 13 bytes, 64 KiB, or what was uploaded, in chunks as it comes."""
    if request.path == "/small":
        return b"Hello, world!"
    if request.path == "/large":
        return LARGE
    return iter(lambda: request.stream.read(32 * KIB), b"")


def http(tier: str, clients: int) -> str:
    """Small, large and uploaded bodies, kept connections, requests sent ahead."""
    with served(answer, engine_tier=tier) as engine:
        achieved(engine, tier)
        together(partial(http_once, engine.address, SEED + n) for n in range(clients))
    return f"{clients} clients: 13 B, 64 KiB, 1 MiB in chunks both ways, 32 ahead"


def http_once(address: str, seed: int) -> None:
    """Ask everything once on one connection."""
    rng = random.Random(seed)
    with Client(address) as client:
        for _ in range(10):
            same(client.get("/small").body, b"Hello, world!", "13 bytes")
            same(client.get("/large").body, LARGE, "64 KiB")
        body = rng.randbytes(1 << 20)
        upload(client, body, rng)
        reply = client.reply("POST")
        assert reply["Transfer-Encoding"] == "chunked", reply.fields
        same(reply.body, body, "the upload")
        client.send((b"GET /small HTTP/1.1\r\n" + HOST + b"\r\n") * 32)
        for _ in range(32):
            same(client.reply().body, b"Hello, world!", "a request sent ahead")


def upload(client: Client, body: bytes, rng: random.Random) -> None:
    """Send a body in chunks of random sizes."""
    client.send(b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
    at = 0
    while at < len(body):
        piece = body[at : at + rng.randint(1, 128 * KIB)]
        client.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
        at += len(piece)
    client.send(b"0\r\n\r\n")


# --- buffer groups ---------------------------------------------------------------------------


def buffers(legacy: bool, rounds: int = 500) -> str:
    """Every buffer of a group goes round many times, out of order, with the right bytes in it."""
    rng = random.Random(SEED)
    one, other = socket.socketpair()
    with one, other, Ring(32) as ring:
        if not legacy and not probe().buffer_rings:
            return without_rings(ring)
        with BufferGroup(ring, 7, 8, 256, legacy=legacy) as group:
            assert group.legacy == legacy
            held: list[tuple[int, bytes]] = []
            for _ in range(rounds):
                data = rng.randbytes(rng.randint(1, 256))
                other.sendall(data)
                held.append((receive(ring, one, group, data), data))
                assert group.available_count == 8 - len(held)
                while len(held) > rng.randint(0, 7):
                    give_back(group, *held.pop(rng.randrange(len(held))))
            for buf_id, data in held:
                give_back(group, buf_id, data)
            assert group.available_count == 8
    return f"{rounds} messages through 8 buffers"


def without_rings(ring: Ring) -> str:
    """Asked for what this kernel lacks, the group is refused; not asked, it is a legacy one."""
    number = 0
    try:
        BufferGroup(ring, 7, 8, 256, legacy=False).close()
    except OSError as error:
        number = error.errno or 0
    assert number == errno.EINVAL, f"ring-mapped buffers, which the probe missed: errno {number}"
    with BufferGroup(ring, 7, 8, 256) as group:
        assert group.legacy
    return "not in this kernel, and refused; unasked, legacy ones are taken"


def receive(ring: Ring, sock: socket.socket, group: BufferGroup, wanted: bytes) -> int:
    """Carry one receive into the group out; return the buffer that it took."""
    sqe = ring.get_sqe()
    assert sqe is not None
    sqe.prep_recv(sock, group.size)
    sqe.flags |= SqeFlags.BUFFER_SELECT
    sqe.buf_group = group.group_id
    ring.submit_and_wait_timeout(10)
    (cqe,) = ring.completions()
    with group.view(cqe) as found:
        same(bytes(found), wanted, "a buffer")
    assert cqe.buffer_id is not None
    return cqe.buffer_id


def give_back(group: BufferGroup, buf_id: int, wanted: bytes) -> None:
    """Look at a held buffer once more, and return it."""
    with group.get_buffer(buf_id, len(wanted)) as found:
        same(bytes(found), wanted, "a held buffer")
    group.return_buffer(buf_id)
