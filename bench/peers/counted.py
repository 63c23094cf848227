"""An engine that tells what it holds: `counted.py echo|http TIER WORKERS` listens on a free port.

Each line on standard input is answered by one of JSON: `state` with the metrics and what the
interpreter and the kernel count for this process, `pause` and `resume` when accepting has stopped
and begun again. The end of standard input ends it.
"""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import json
import os
import sys
import threading
from typing import Any

from examples.echo import Echo
from pyuring import Engine, Http


def state(engine: Engine) -> dict[str, Any]:
    """Count what could be lost; what is garbage or free by now is given back before.

    malloc_trim(3): below what is at the top of a heap free memory stays (decision 0006), and
    blocks of 128 KiB leave much of it.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return {
        "metrics": dataclasses.asdict(engine.metrics()),
        "objects": len(gc.get_objects()),
        "blocks": sys.getallocatedblocks(),
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")) - 1,
    }


def main() -> None:
    """Serve until standard input ends."""
    kind, tier, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    served = Echo if kind == "echo" else Http(lambda request: "Hello, world!")
    with Engine(served, "127.0.0.1:0", tier=tier, workers=workers, write_timeout=20.0) as engine:
        print(f"listening on {engine.address} (tier {engine.tier.name})", file=sys.stderr)
        for line in sys.stdin:
            answer: dict[str, Any] = {}
            if line.strip() == "pause":
                engine.pause_accept()
            elif line.strip() == "resume":
                engine.resume_accept()
            else:
                answer = state(engine)
            print(json.dumps(answer), flush=True)
        engine.shutdown(5.0)


if __name__ == "__main__":
    main()
