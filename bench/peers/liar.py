"""A server that answers with the right number of wrong bytes, to see that the load notices.

Never a peer: only the smoke test starts it.
"""

from __future__ import annotations

import asyncio
import sys


async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Change the last byte of what comes, and send it back."""
    while data := await reader.read(65536):
        writer.write(data[:-1] + bytes([data[-1] ^ 1]))


async def main() -> None:
    """Listen on a free port and say which."""
    server = await asyncio.start_server(lie, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(f"listening on 127.0.0.1:{port}", file=sys.stderr, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
