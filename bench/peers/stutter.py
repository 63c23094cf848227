"""An echo that does nothing for a tenth of a second, twice a second: a load must tell of it.

Never a peer: only the smoke test starts it.
"""

from __future__ import annotations

import asyncio
import sys
import time

PAUSE, EVERY = 0.1, 0.5


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes."""
    while data := await reader.read(65536):
        writer.write(data)


async def main() -> None:
    """Listen on a free port and say which; then pause again and again."""
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(f"listening on 127.0.0.1:{port}", file=sys.stderr, flush=True)
    while True:
        await asyncio.sleep(EVERY - PAUSE)
        time.sleep(PAUSE)


if __name__ == "__main__":
    asyncio.run(main())
