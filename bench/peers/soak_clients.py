"""A process of soak.py's clients: `soak_clients.py KIND HTTP_PORT ECHO_PORT SEED SECONDS TASKS`.

`steady` ones behave well and compare everything; `rough` ones behave badly, some good ones among
them, and are killed in the middle of it by the driver.
"""

from __future__ import annotations

import asyncio
import sys

import soak_http
import soak_raw
from soak_desk import Desk

MIXES = {
    "steady": (*soak_http.KINDS, *soak_raw.STEADY),
    "rough": (*soak_raw.ROUGH, *soak_http.KINDS, *soak_raw.STEADY),
}


async def work(desk: Desk, kind: str) -> None:
    """One connection after the other until the time is over."""
    weights, kinds = zip(*MIXES[kind], strict=True)
    while desk.open:
        (what,) = desk.rng.choices(kinds, weights)
        await what(desk)


async def tell(desk: Desk) -> None:
    """Write the counts now and then: this process may be killed at any time."""
    while True:
        await asyncio.sleep(0.5)
        desk.flush()


async def main() -> None:
    """Work until the time is over and the last connection has ended."""
    kind, http, echo, seed, seconds, tasks = sys.argv[1:]
    desk = Desk(int(http), int(echo), int(seed), float(seconds))
    teller = asyncio.ensure_future(tell(desk))
    await asyncio.gather(*(work(desk, kind) for _ in range(int(tasks))))
    teller.cancel()
    desk.flush()


if __name__ == "__main__":
    asyncio.run(main())
