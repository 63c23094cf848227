"""Well-behaved echo clients of soak.py, and those who behave badly towards both servers.

The bad ones never judge what they get: that the others are served, and that nothing is left of
them, is the test.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from soak_app import content
from soak_desk import LOST, Desk, Stream

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tests"))
from http_mutants import mutant

HOST = b"Host: soak\r\n"


async def echo(desk: Desk, slow: float = 0.0) -> None:
    """Some messages on one connection, compared; the server has no reason to close it."""
    stream = await desk.connect(desk.echo, 16_384 if slow else 0)
    if stream is None:
        return
    try:
        for _ in range(desk.rng.choice((1, 1, 1, 1, 5, 30))):
            size = desk.rng.choice((1, 64, 64, 64, 5000, 100_000, 1_000_000))
            message = content(desk.rng.randrange(1 << 30), size)
            sending = asyncio.ensure_future(stream.send(message))
            answer = await stream.exactly(size, slow)
            await sending
            desk.counts["messages"] += 1
            if answer != message:
                desk.tell("broken", server="echo", error=f"{size} bytes differ")
            if not desk.open:
                return
            if desk.rng.random() < 0.1:
                await asyncio.sleep(desk.rng.uniform(0, 1.0))
    except asyncio.TimeoutError:
        desk.tell("stuck", server="echo", step="echo")
    except LOST as error:
        desk.tell("closed", server="echo", step="echo", error=repr(error)[:200])
    finally:
        await stream.close()


Bad = Callable[[Desk, Stream], Awaitable[None]]


def bad(port: str, name: str, what: Bad, buffer: int = 0) -> Callable[[Desk], Awaitable[None]]:
    """One connection of somebody who behaves badly; whatever comes of it is right."""

    async def run(desk: Desk) -> None:
        stream = await desk.connect(getattr(desk, port), buffer)
        if stream is None:
            return
        desk.counts[name] += 1
        try:
            await what(desk, stream)
        except (*LOST, asyncio.TimeoutError, asyncio.LimitOverrunError):
            pass
        if desk.rng.random() < 0.5:
            stream.reset()
        try:
            await asyncio.wait_for(stream.close(), 0.5)
        except asyncio.TimeoutError:  # what nobody takes is still to be sent
            stream.reset()

    return run


async def malformed(desk: Desk, stream: Stream) -> None:
    """What is no request, or nearly, in one piece or two; then see what comes for a moment."""
    request = mutant(desk.rng)
    at = desk.rng.randrange(len(request) + 1)
    await stream.send(request[:at])
    if desk.rng.random() < 0.3:
        await asyncio.sleep(0.001)
    await stream.send(request[at:])
    if desk.rng.random() < 0.3:
        stream.writer.write_eof()
    try:
        await asyncio.wait_for(stream.reader.read(), desk.rng.choice((0.0, 0.05, 0.3)))
    except asyncio.TimeoutError:
        pass


async def quit_upload(desk: Desk, stream: Stream) -> None:
    """Promise a body and go in the middle of it."""
    path = desk.rng.choice((b"sum", b"echo"))
    await stream.send(b"POST /%b HTTP/1.1\r\n" % path + HOST + b"Content-Length: 5000000\r\n\r\n")
    await stream.send(bytes(desk.rng.choice((0, 100, 100_000, 1_000_000))))
    await asyncio.sleep(desk.rng.uniform(0, 0.05))


async def quit_download(desk: Desk, stream: Stream) -> None:
    """Ask for much, take some, and go."""
    kind = desk.rng.choice((b"bytes", b"parts", b"file"))
    await stream.send(b"GET /%b/1/4000000 HTTP/1.1\r\n" % kind + HOST + b"\r\n")
    await stream.exactly(desk.rng.choice((1, 1000, 300_000)))
    await asyncio.sleep(desk.rng.uniform(0, 0.05))


async def never_read(desk: Desk, stream: Stream) -> None:
    """Ask for much and take nothing, until the server ends it."""
    await stream.send(b"GET /bytes/1/9000000 HTTP/1.1\r\n" + HOST + b"\r\n")
    stream.writer.transport.pause_reading()  # type: ignore[attr-defined]
    while desk.open:
        await asyncio.sleep(0.5)


async def slow_head(desk: Desk, stream: Stream) -> None:
    """A byte of the head a second, until the server ends it."""
    for byte in b"GET / HTTP/1.1\r\nX-Slow: " + b"x" * 100:
        await stream.send(bytes((byte,)))
        await asyncio.sleep(1.0)
        if not desk.open:
            return


async def silent(desk: Desk, stream: Stream) -> None:
    """Say nothing, and go."""
    await asyncio.sleep(desk.rng.choice((0.0, 0.0, 0.01, 1.0)))


async def flood(desk: Desk, stream: Stream) -> None:
    """Send and do not take the answer."""
    stream.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.wait_for(stream.send(bytes(8_000_000)), desk.rng.uniform(0.1, 2.0))


STEADY = (
    (8, echo),
    (1, lambda desk: echo(desk, 0.01)),
)
ROUGH = (
    (20, bad("http", "malformed", malformed)),
    (3, bad("http", "quit_upload", quit_upload)),
    (3, bad("http", "quit_download", quit_download)),
    (1, bad("http", "never_read", never_read, 4096)),
    (1, bad("http", "slow_head", slow_head)),
    (4, bad("http", "silent", silent)),
    (4, bad("echo", "silent", silent)),
    (2, bad("echo", "flood", flood, 4096)),
)
