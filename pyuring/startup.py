"""How an engine finds the tier it runs on: the way down the ladder, with real workers.

Owns the translation of configuration and strategy into native settings, and the smaller rings
where memory is short. Never guesses from a version: a tier counts once a worker runs on it.
"""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyuring.capability import Tier, probe
from pyuring.config import TIER_NAMES, nanoseconds
from pyuring.errors import RingUnavailableError, unavailable
from pyuring.ladder import Ladder, descend
from pyuring.reports import notice
from pyuring.tiers import TierStrategy, decisions, strategy_of

if TYPE_CHECKING:
    from pyuring.config import EngineConfig
    from pyuring.worker import Worker

__all__ = ["start_first", "start_next"]

_VARIABLE = "PYURING_TIER"  # the command has it too, as one of its options
_NO_CPU = 0xFFFF_FFFF  # worker_config.zig: let the kernel choose
_FEWEST_ENTRIES = 64
_LARGEST_BLOCK = 16 << 20

MakeWorker = Callable[[int, "dict[str, int]"], "Worker"]


def start_first(config: EngineConfig, make: MakeWorker) -> tuple[Worker, Ladder]:
    """Start worker 0 on the highest tier the kernel grants; return it and the way down there.

    Where io_uring is refused (F15), or even small rings find no memory (F16), that is tier
    NONE, over epoll; the ladder has the reason in words. Raises what epoll cannot cure either.
    """

    _keep_heaps()

    def attempt(strategy: TierStrategy) -> Worker:
        return _start_smaller(make, 0, _settings(config, strategy))

    asked = _asked(config)
    if asked is Tier.NONE:  # nothing needs to be asked of the kernel
        return attempt(strategy_of(asked)), Ladder(asked, asked)
    wants_sqpoll = asked is Tier.OPTIONAL or getattr(asked, "tier", None) is Tier.OPTIONAL
    worker, _, ladder = descend(probe(sqpoll=wants_sqpoll), asked, attempt)
    if ladder.achieved is Tier.NONE:
        notice("; ".join(ladder.missed()))
    return worker, ladder


def _keep_heaps() -> None:
    """Let glibc keep freed memory from one turn to the next, once a process.

    A turn makes dozens of bytes objects and frees them together. While glibc's trim threshold is
    at its first 128 KiB, every turn of 16 KiB messages gives the pages back and faults them in
    again, a third of its time. glibc doubles the threshold past the largest block it has mapped
    and freed (mallopt(3), M_MMAP_THRESHOLD), so one such block, never touched, is all it takes;
    settings made through the environment stay in force.
    """
    bytearray(_LARGEST_BLOCK)


def start_next(config: EngineConfig, first: Worker, index: int, make: MakeWorker) -> Worker:
    """Start one more worker with the settings that the first one runs on.

    Where the first rings have taken the memory that there is (F16), this one runs over epoll.
    """
    try:
        return _start_smaller(make, index, dict(first.settings))
    except RingUnavailableError as error:
        if error.errno != errno.ENOMEM:
            raise
        notice(f"epoll serves in place of io_uring in worker {index}: {error}")
        return _start_smaller(make, index, _settings(config, strategy_of(Tier.NONE)))


def _asked(config: EngineConfig) -> TierStrategy | Tier | None:
    """Return what the configuration asks for, or the environment; None leaves it to the kernel."""
    if not isinstance(config.tier, str):
        return config.tier
    name = config.tier.lower()
    if name == "auto":
        name = (os.environ.get(_VARIABLE) or "auto").lower()
        if name not in TIER_NAMES:
            raise ValueError(f"{_VARIABLE}: {name!r} is none of {', '.join(TIER_NAMES)}")
    return None if name == "auto" else Tier[name.upper()]


def _start_smaller(make: MakeWorker, index: int, settings: dict[str, int]) -> Worker:
    """Start a worker; while memory is short, with rings half as large (F16)."""
    while True:
        worker = make(index, settings)
        try:
            worker.start()
        except OSError as error:
            short = error.errno == errno.ENOMEM and not isinstance(error, RingUnavailableError)
            if not short or settings["epoll"]:  # no limit of locked memory is met there
                raise
            if settings["ring_entries"] // 2 < _FEWEST_ENTRIES:
                raise unavailable(errno.ENOMEM) from error
            settings = {**settings, "ring_entries": settings["ring_entries"] // 2}
            settings["cq_entries"] //= 2
        else:
            return worker


def _settings(config: EngineConfig, strategy: TierStrategy) -> dict[str, int]:
    """Return the fields of `_native.WorkerConfig`."""
    decided = dataclasses.asdict(decisions(strategy))
    del decided["tier"]
    copied = (
        "ring_entries", "buffer_count", "buffer_size", "max_connections", "write_high_water",
        "write_low_water", "send_queue_pause", "send_queue_limit",
    )  # fmt: skip
    return {
        **{name: int(value) for name, value in decided.items()},
        **{name: getattr(config, name) for name in copied},
        "cq_entries": config.completion_entries,
        "sq_thread_cpu": _NO_CPU if config.sqpoll_cpu is None else config.sqpoll_cpu,
        "idle_timeout_ns": nanoseconds(config.idle_timeout),
        "write_timeout_ns": nanoseconds(config.write_timeout),
        "linger_timeout_ns": nanoseconds(config.linger_timeout),
        "turn_budget_ns": nanoseconds(config.turn_budget),
    }
