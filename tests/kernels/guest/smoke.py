"""The smoke set: the questions that every kernel is asked, each with its verdict and its time.

`python -m kernels.guest.smoke [--json FILE] [--brief | --quick | --refused]`. It needs no root and
no virtual machine. A check that leaves a descriptor open has failed, whatever it found.
"""

from __future__ import annotations

import argparse
import faulthandler
import functools
import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kernels.guest import checks
from pyuring import EngineConfig, probe
from pyuring.capability import CapabilityProfile, Tier

Check = tuple[str, Callable[[], str]]


def accepted_tiers() -> list[Tier]:
    """Return the tiers that an engine can be asked for; NONE too, once pyuring takes it."""
    return [tier for tier in sorted(Tier, reverse=True) if _accepts(tier.name.lower())]


def tiers_here(profile: CapabilityProfile) -> list[Tier]:
    """Return those that this kernel has; without io_uring NONE alone, where pyuring has it."""
    return [tier for tier in accepted_tiers() if profile.allows(tier)]


def set_for(profile: CapabilityProfile, arguments: argparse.Namespace) -> Iterator[Check]:
    """Yield the checks by name."""
    if arguments.refused:
        yield "refused", checks.refused
        if Tier.NONE in accepted_tiers():
            yield "echo none", functools.partial(checks.echo, "none", (2, 64))
        return
    yield "probe", checks.probe_tells
    tiers = tiers_here(profile)
    if arguments.brief:
        tiers = [tier for tier in tiers if tier is profile.tier]
    many = (2, 128) if arguments.quick or arguments.brief else (8, 2048)
    for tier in tiers:
        name = tier.name.lower()
        yield f"echo {name}", functools.partial(checks.echo, name, many)
        yield f"http {name}", functools.partial(checks.http, name, 2 if arguments.quick else 4)
        yield f"shutdown {name}", functools.partial(checks.shutdown, name)
        yield f"restart {name}", functools.partial(checks.restart, name, 2 if many[0] == 2 else 10)
    if profile.tier in tiers:
        yield "workers", functools.partial(checks.workers, profile.tier.name.lower())
    if profile.io_uring:
        for kind in ("mapped", "legacy"):
            yield f"buffers {kind}", functools.partial(checks.buffers, kind == "legacy")


def carry_out(call: Callable[[], str]) -> dict[str, Any]:
    """Run one check; say how it went, how long it took, and what it left open."""
    started = time.monotonic()
    before = checks.open_descriptors()
    try:
        found: dict[str, Any] = {"ok": True, "detail": call()}
    except Exception as error:
        traceback.print_exc()
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{os.path.basename(where.filename)}:{where.lineno}"
        found = {"ok": False, "detail": f"{type(error).__name__} at {place}: {error}"[:500]}
    gc.collect()
    left = checks.open_descriptors() - before
    if left and found["ok"]:
        found = {"ok": False, "detail": f"left open: {sorted(left)}"[:500]}
    return {**found, "seconds": round(time.monotonic() - started, 2)}


def main() -> int:
    """Run the set; 0 when every check held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where the answers are written")
    parser.add_argument(
        "--limit", type=float, default=600, help="seconds until every stack is told"
    )
    manner = parser.add_mutually_exclusive_group()
    manner.add_argument("--brief", action="store_true", help="the tier achieved only, small")
    manner.add_argument("--quick", action="store_true", help="every tier, small")
    manner.add_argument("--refused", action="store_true", help="that io_uring is refused, in words")
    arguments = parser.parse_args()
    faulthandler.dump_traceback_later(arguments.limit, exit=True)
    profile = probe()
    found: dict[str, Any] = {"tier": profile.tier.name, "probe": profile.to_dict(), "checks": {}}
    for name, call in set_for(profile, arguments):
        result = found["checks"][name] = carry_out(call)
        word = "ok   " if result["ok"] else "WRONG"
        print(f"{word} {name:16} {result['seconds']:6.2f} s  {result['detail']}", flush=True)
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(found))
    faulthandler.cancel_dump_traceback_later()
    return 0 if all(result["ok"] for result in found["checks"].values()) else 1


def _accepts(name: str) -> bool:
    try:
        EngineConfig(tier=name)
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
