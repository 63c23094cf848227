"""A client made of Python's asyncio streams: stdin to the server, the server to stdout.

Run as `python streams_client.py HOST PORT`. It knows nothing of pyuring.
"""

from __future__ import annotations

import asyncio
import os
import sys


async def main(host: str, port: int) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    loop = asyncio.get_running_loop()

    async def send() -> None:
        while data := await loop.run_in_executor(None, os.read, 0, 1 << 16):
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    sending = asyncio.create_task(send())
    while data := await reader.read(1 << 16):
        await loop.run_in_executor(None, write_all, data)
    await sending
    writer.close()
    await writer.wait_closed()


def write_all(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
