"""One server for every event loop that speaks asyncio: asyncio, uvloop, zloop, rloop.

Run as `python loop_echo.py LOOP protocol|buffered|broadcast|proxy`; prints its address on stderr.
The protocol classes are those of examples/echo.py and examples/proxy.py, or run on pyuring as they
are, so that loops are compared and not the classes on them. Never imports pyuring.

rloop 0.5.0 closes its listener when serve_forever() follows create_server(), which has started it
already: nobody's serve_forever() is called here.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import ClassVar, cast

from loop_proxy import Proxy


class Echo(asyncio.Protocol):
    """Send back what comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class BufferedEcho(asyncio.BufferedProtocol):
    """Send back what comes, received into one buffer per connection.

    Loops may keep the object they are given until it is sent: it is a copy.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.buffer = bytearray(64 * 1024)
        self.view = memoryview(self.buffer)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(bytes(self.view[:nbytes]))


class Broadcast(asyncio.Protocol):
    """Send what comes from one to all; a byte in the beginning says that one has joined."""

    members: ClassVar[set[Broadcast]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.members.add(self)
        self.transport.write(b"+")

    def data_received(self, data: bytes) -> None:
        for member in self.members:
            member.transport.write(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.members.discard(self)


STYLES: dict[str, Callable[[], asyncio.BaseProtocol]] = {
    "protocol": Echo,
    "buffered": BufferedEcho,
    "broadcast": Broadcast,
    "proxy": Proxy,
}


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """The new-loop function of the named package."""
    if name == "uvloop":
        import uvloop

        return cast("Callable[[], asyncio.AbstractEventLoop]", uvloop.new_event_loop)
    if name == "zloop":
        import zloop

        return cast("Callable[[], asyncio.AbstractEventLoop]", zloop.new_event_loop)
    if name == "rloop":
        import rloop

        return cast("Callable[[], asyncio.AbstractEventLoop]", rloop.new_event_loop)
    return asyncio.new_event_loop


async def serve(factory: Callable[[], asyncio.BaseProtocol]) -> None:
    """Listen on a free port, say which, and serve until killed."""
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port = listener.getsockname()[1]
    server = await loop.create_server(factory, sock=listener, backlog=1024)
    print(f"listening on 127.0.0.1:{port}", file=sys.stderr, flush=True)
    await loop.create_future()
    server.close()


def main() -> None:
    """Run the loop named on the command line."""
    name, style = sys.argv[1:]
    loop = loop_factory(name)()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(serve(STYLES[style]))


if __name__ == "__main__":
    main()
