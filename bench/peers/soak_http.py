"""Well-behaved HTTP clients of soak.py: all that comes back is compared with what it must be.

Owns requests and the reading of replies. A connection that is closed between two requests, before
a byte of the next reply, is told as `retired` with its process, which must then be a leaving one.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from soak_app import content
from soak_desk import LOST, Desk, Stream

SIZES = (0, 1, 100, 5000, 5000, 65_536, 65_537, 300_000, 1_000_000)
HOST = b"Host: soak\r\n"


class Broken(Exception):
    """A reply that is not what it must be."""


class Session:
    """One connection's exchanges, and how far the present one has got."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.rng = stream, stream.desk.rng
        self.served, self.pid = 0, 0
        self.step = "send"  # send, wait, reply
        self.keep = True

    async def head(self) -> dict[str, str]:
        """The next reply's head; only 200 will do."""
        self.step = "wait"
        try:
            lines = (await self.stream.until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                self.step = "reply"
            raise
        self.step = "reply"
        if not lines[0].startswith("HTTP/1.1 200"):
            raise Broken(f"status {lines[0]!r}")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:-2])
        self.pid = int(fields["x-pid"])
        self.keep = fields.get("connection") != "close"
        return fields

    async def reply(self, slow: float = 0.0) -> bytes:
        """The next reply's body."""
        fields = await self.head()
        if fields.get("transfer-encoding") == "chunked":
            body = await self.chunks(slow)
        else:
            body = await self.stream.exactly(int(fields["content-length"]), slow)
        self.served += 1
        self.stream.desk.counts["requests"] += 1
        self.step = "send"
        return body

    async def chunks(self, slow: float) -> bytes:
        """A chunked body."""
        pieces = []
        while True:
            size = int((await self.stream.until(b"\r\n"))[:-2], 16)
            pieces.append(await self.stream.exactly(size, slow))
            if await self.stream.exactly(2) != b"\r\n":
                raise Broken("a chunk without its end")
            if not size:
                return b"".join(pieces)

    def expect(self, found: bytes, wanted: bytes, what: str) -> None:
        """Compare a body."""
        if found != wanted:
            at = next((i for i, (a, b) in enumerate(zip(found, wanted)) if a != b), -1)  # noqa: B905
            raise Broken(f"{what}: {len(found)} bytes for {len(wanted)}, first wrong at {at}")

    async def get(self, slow: float = 0.0, size: int | None = None) -> None:
        """Fetch one body."""
        path, wanted = self.target(size)
        request = b"GET %b HTTP/1.1\r\n" % path + HOST + b"\r\n"
        if slow and self.rng.random() < 0.5:
            await self.stream.drip(request, 8, 0.3)
        else:
            await self.stream.send(request)
        self.expect(await self.reply(slow), wanted, path.decode())

    def target(self, size: int | None = None) -> tuple[bytes, bytes]:
        """A path, and the body that belongs to it."""
        kind = self.rng.choice(("bytes", "bytes", "parts", "file"))
        seed = self.rng.randrange(1 << 30)
        size = self.rng.choice(SIZES) if size is None else size
        return f"/{kind}/{seed}/{size}".encode(), content(seed, size)

    async def post(self, slow: float = 0.0) -> None:
        """Send a body, with its length or in chunks, and have it summed or sent back."""
        body = content(self.rng.randrange(1 << 30), self.rng.choice(SIZES))
        kind = self.rng.choice((b"sum", b"echo"))
        start = b"POST /%b HTTP/1.1\r\n" % kind + HOST
        if self.rng.random() < 0.5:
            whole = start + b"Content-Length: %d\r\n\r\n" % len(body) + body
        else:
            step = self.rng.choice((1000, 50_000, 500_000))
            cut = (body[at : at + step] for at in range(0, len(body), step))
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in cut)
            whole = start + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
        if slow:
            head, mark, rest = whole.partition(b"\r\n\r\n")
            await self.stream.send(head + mark)
            await self.stream.drip(rest, 12, 0.3)
        else:
            await self.stream.send(whole)
        wanted = body if kind == b"echo" else f"{len(body)} {zlib.crc32(body)}".encode()
        self.expect(await self.reply(slow / 4), wanted, f"POST /{kind.decode()} {len(body)}")

    async def pipeline(self) -> None:
        """Send many requests at once; the replies come in their order."""
        targets = [self.target(self.rng.choice((0, 10, 3000, 70_000))) for _ in range(16)]
        await self.stream.send(
            b"".join(b"GET %b HTTP/1.1\r\n" % path + HOST + b"\r\n" for path, _ in targets)
        )
        for path, wanted in targets:
            self.expect(await self.reply(), wanted, path.decode())
            if not self.keep:
                return

    async def half_close(self) -> None:
        """Ask, say that no more will come, and get the whole reply and the end."""
        path, wanted = self.target()
        await self.stream.send(b"GET %b HTTP/1.1\r\n" % path + HOST + b"\r\n")
        self.stream.writer.write_eof()
        self.expect(await self.reply(), wanted, path.decode())
        if await self.stream.some(100):
            raise Broken("bytes behind the last reply")
        self.keep = False


async def exchanges(session: Session) -> None:
    """What one connection does: one request often, else several."""
    rng = session.rng
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        kind = rng.randrange(12)
        if kind < 5:
            await session.get()
        elif kind < 9:
            await session.post()
        elif kind < 10:
            await session.pipeline()
        elif kind < 11:
            await session.half_close()
        else:
            await asyncio.sleep(rng.uniform(0, 1.0))
        if not session.keep or not session.stream.desk.open:
            return


async def slowly(session: Session) -> None:
    """A slow reader, or a slow writer."""
    if session.rng.random() < 0.5:
        await session.get(slow=0.03, size=session.rng.choice((20_000, 500_000, 2_000_000)))
    else:
        await session.post(slow=0.03)


async def run(desk: Desk, what: Callable[[Session], Awaitable[None]], buffer: int = 0) -> None:
    """One connection from its beginning to its end; what goes wrong is told."""
    stream = await desk.connect(desk.http, buffer)
    if stream is None:
        return
    session = Session(stream)
    detail: dict[str, Any] = {"server": "http"}
    try:
        await what(session)
    except asyncio.TimeoutError:
        desk.tell("stuck", step=session.step, **detail)
    except LOST as error:
        if session.served and session.step != "reply":
            desk.tell("retired", pid=session.pid, step=session.step)
        else:
            detail |= {"step": session.step, "silence": stream.silence}
            age = time.monotonic() - stream.began
            desk.tell("closed", age=age, error=repr(error)[:200], **detail)
    except (Broken, ValueError, KeyError) as error:
        desk.tell("broken", error=repr(error)[:300], **detail)
    finally:
        await stream.close()


KINDS = (
    (8, lambda desk: run(desk, exchanges)),
    (2, lambda desk: run(desk, slowly, 16_384)),
)
