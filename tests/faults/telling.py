"""How the servers of these tests end: what they counted goes to whoever started them, as JSON.

Owns the way from a configuration on the command line to that line. Never counts by itself.
"""

from __future__ import annotations

import errno
import json
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from pyuring import Engine


def count_end(counts: Counter[str], exc: BaseException | None) -> None:
    """Count how a connection was lost: by its errno's name, "orderly" without one."""
    number = getattr(exc, "errno", None)
    counts[errno.errorcode.get(number, repr(exc)) if exc else "orderly"] += 1


def serve_and_tell(factory: Callable[[], Any], counts: Counter[str]) -> None:
    """Say where it listens; at the end of standard input, what was counted."""
    config = json.loads(sys.argv[1])
    address = config.pop("address", "127.0.0.1:0")
    with Engine(factory, address, linger_timeout=0.1, **config) as engine:
        print(engine.address, engine.tier.name, flush=True)
        sys.stdin.read()
        engine.shutdown(10)
        metrics = engine.metrics()
    found = {name: getattr(metrics, name) for name in metrics.__slots__}
    print(json.dumps({"counts": counts, "metrics": found}))
