"""An echo server that tells what became of its connections.

Run as `python echo_server.py CONFIG`, a JSON object of EngineConfig's fields and `address`. Says
where it listens, and at the end of standard input its counters as JSON.
"""

from __future__ import annotations

import errno
import json
import sys
from collections import Counter
from typing import Any

from pyuring import Engine, Protocol, Transport

counts: Counter[str] = Counter()


class Echo(Protocol):
    """Writes what it reads, and stops reading while the peer does not take its replies."""

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        number = getattr(exc, "errno", None)
        counts[errno.errorcode.get(number, repr(exc)) if exc else "orderly"] += 1


def main(config: dict[str, Any]) -> None:
    address = config.pop("address", "127.0.0.1:0")
    with Engine(Echo, address, linger_timeout=0.1, **config) as engine:
        print(engine.address, engine.tier.name, flush=True)
        sys.stdin.read()
        engine.shutdown(10)
        metrics = engine.metrics()
    found = {name: getattr(metrics, name) for name in metrics.__slots__}
    print(json.dumps({"counts": counts, "metrics": found}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
