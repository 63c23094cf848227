"""What this kernel, in this process, really does: probed once, kept, and put into words.

Owns `CapabilityProfile`, `Tier` and the cache. Never believes a version number (F14) and leaves
nothing behind (F17); the questions themselves are asked by zig/probe.zig.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from types import MappingProxyType
from typing import Any

from pyuring import _native
from pyuring.constants import Features, Op
from pyuring.reasons import RULES, SINCE, TRANSIENT, reason

__all__ = ["CapabilityProfile", "Tier", "probe"]


class Tier(IntEnum):
    """How much of io_uring an engine uses; each tier needs what the kernel was seen to do."""

    NONE = 0
    BASE = 1
    MID = 2
    HIGH = 3
    OPTIONAL = 4

    def __str__(self) -> str:
        """Return the name: from Python 3.11 on an IntEnum is printed as its number."""
        return self.name


# The lowest tier needs all of its row, the next one its own row and the ones before.
# OPTIONAL stands beside HIGH, not above it: SQPOLL excludes DEFER_TASKRUN (F13).
_NEEDS: Mapping[Tier, tuple[str, ...]] = MappingProxyType(
    {
        Tier.NONE: (),
        Tier.BASE: ("io_uring", "single_shot", "async_cancel"),
        Tier.MID: ("coop_taskrun", "taskrun_flag", "buffer_rings", "multishot_accept"),
        Tier.HIGH: ("single_issuer", "defer_taskrun", "multishot_recv"),
        Tier.OPTIONAL: ("sqpoll", "sqpoll_single_issuer", "multishot_recv"),
    }
)
_NO_FEATURES = Features(0)
_BELOW = {Tier.BASE: Tier.NONE, Tier.MID: Tier.BASE, Tier.HIGH: Tier.MID, Tier.OPTIONAL: Tier.MID}


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityProfile:
    """The kernel's answers: one bool a capability, and for each False the reason in `missing`.

    A value: `probe()` makes it, tests may make others with `dataclasses.replace`. A capability
    is True when it was carried out and its effect was seen. Source: io_uring_setup(2).
    """

    os: str
    kernel_release: str
    """As uname(2) gives it. For people: nothing is derived from it."""
    kernel_version: tuple[int, ...]
    cpu_count: int
    """CPUs this process may run on."""
    numa_nodes: int
    sqpoll_requested: bool = False
    """SQPOLL costs a core, so that OPTIONAL is chosen only for a profile that asked for it."""

    io_uring: bool = False
    # Set-up flags.
    cqsize: bool = False
    clamp: bool = False
    r_disabled: bool = False
    attach_wq: bool = False
    submit_all: bool = False
    coop_taskrun: bool = False
    taskrun_flag: bool = False
    single_issuer: bool = False
    defer_taskrun: bool = False
    sqpoll: bool = False
    sqpoll_single_issuer: bool = False
    sqe128: bool = False
    cqe32: bool = False
    cqe_mixed: bool = False
    iopoll: bool = False
    hybrid_iopoll: bool = False
    no_sqarray: bool = False
    # What was carried out on sockets of the probe's own.
    ext_arg: bool = False
    single_shot: bool = False
    linked: bool = False
    provided_buffers: bool = False
    buffer_rings: bool = False
    multishot_accept: bool = False
    multishot_recv: bool = False
    incremental_buffers: bool = False
    recv_bundle: bool = False
    send_bundle: bool = False
    send_zc: bool = False
    async_cancel: bool = False
    cancel_fd: bool = False
    sync_cancel: bool = False
    registered_ring_fd: bool = False
    registered_buffers: bool = False
    direct_descriptors: bool = False
    msg_ring: bool = False
    operations_known: bool = False

    features: Features = _NO_FEATURES
    operations: frozenset[str] = frozenset()
    """Names of the opcodes the kernel carries out, as in `Op`; a newer one by its number."""
    missing: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Capability -> why it is missing and what helps."""
    answers: Mapping[str, int] = field(default_factory=dict, hash=False)
    """The raw answers, the forbidden flag combinations included: 0, -errno, or a probe code."""

    @property
    def tier(self) -> Tier:
        """The highest tier this profile allows; OPTIONAL only when SQPOLL was asked for."""
        if self.sqpoll_requested and self.allows(Tier.OPTIONAL):
            return Tier.OPTIONAL
        return next(t for t in (Tier.HIGH, Tier.MID, Tier.BASE, Tier.NONE) if self.allows(t))

    def allows(self, tier: Tier) -> bool:
        """Return whether every capability that `tier` stands on is there."""
        return self.obstacle(tier) is None

    def obstacle(self, tier: Tier) -> str | None:
        """Return why `tier` cannot be had, in words, or None if it can."""
        if tier is Tier.NONE:
            return None
        below = self.obstacle(_BELOW[tier])
        if below is not None:
            return below
        lacking = [name for name in _NEEDS[tier] if not getattr(self, name)]
        parts = [(n, *self.missing.get(n, "missing").partition(": ")) for n in lacking]
        text = ""
        for index, (name, refused, colon, cause) in enumerate(parts):
            text += f"; {name}: {refused}"
            # A limit that is too low is the cause of several: told behind the last of them.
            if not any(later[3] == cause for later in parts[index + 1 :]):
                text += colon + cause
        return text.removeprefix("; ") or None

    def capabilities(self) -> dict[str, bool]:
        """Return every capability by name, in the order they are declared."""
        return {name: bool(getattr(self, name)) for name in SINCE}

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values that json can write."""
        return {
            "os": self.os,
            "kernel_release": self.kernel_release,
            "kernel_version": list(self.kernel_version),
            "tier": self.tier.name,
            "sqpoll_requested": self.sqpoll_requested,
            "cpu_count": self.cpu_count,
            "numa_nodes": self.numa_nodes,
            "capabilities": self.capabilities(),
            "missing": dict(self.missing),
            "features": _names(self.features),
            "operations": sorted(self.operations),
        }

    def describe(self) -> str:
        """Return the profile as a table for people, several lines without a final newline."""
        nodes = f"{self.numa_nodes} NUMA node{'s' if self.numa_nodes != 1 else ''}"
        cpus = f"{self.cpu_count} CPU{'s' if self.cpu_count != 1 else ''}"
        lines = [f"{self.os} {self.kernel_release}, {cpus}, {nodes}", f"tier {self.tier.name}"]
        if not self.capabilities()["io_uring"]:  # nothing else could be asked
            why = f"  io_uring is not to be had: {self.missing['io_uring']}"
            return "\n".join([*lines, why, "  engines run on epoll"])
        lines += [f"  not {tier.name}: {why}" for tier, why in self._obstacles()]
        if self.allows(Tier.OPTIONAL) and not self.sqpoll_requested:
            lines.append(
                "  OPTIONAL (SQPOLL) works too; it costs a core, so it is taken when asked"
            )
        lines.append("")
        width = max(map(len, SINCE))
        for name, has in self.capabilities().items():
            lines.append(
                f"{name:{width}}  {'yes' if has else 'no   ' + self.missing.get(name, '')}"
            )
        lines += ["", f"features    {' '.join(_names(self.features)) or 'none'}"]
        absent = [op.name for op in Op if op.name not in self.operations]
        lines.append(f"operations  {len(self.operations)} carried out by this kernel")
        if absent and self.operations:
            lines.append(f"  without   {' '.join(absent)}")
        return "\n".join(lines)

    def _obstacles(self) -> list[tuple[Tier, str]]:
        """Return the tiers above ours that cannot be had; OPTIONAL only where it was asked for."""
        wanted = [Tier.BASE, Tier.MID, Tier.HIGH] + [Tier.OPTIONAL] * self.sqpoll_requested
        reasons = [(tier, self.obstacle(tier)) for tier in wanted if tier > self.tier]
        # One reason is said once: a tier that only lacks the tier below it adds nothing.
        found: list[tuple[Tier, str]] = []
        for tier, why in reasons:
            if why is not None and why not in (text for _, text in found):
                found.append((tier, why))
        return found


_cache: dict[tuple[int, bool], CapabilityProfile] = {}


def probe(*, sqpoll: bool = False, refresh: bool = False) -> CapabilityProfile:
    """Ask the kernel what it does; the answer is kept for this process.

    `sqpoll=True` asks for tier OPTIONAL, whose polling thread costs a core. `refresh=True` asks
    again. Takes some milliseconds the first time, with the interpreter lock released; any
    thread. Never raises for a missing capability: the reason is in `missing`. An answer that
    may be another one in a moment (no memory, no descriptors left) is not kept.
    """
    pid = os.getpid()
    profile = None if refresh else _cache.get((pid, False))
    if profile is None:
        profile = _ask()
        if TRANSIENT.isdisjoint(profile.answers.values()):
            _cache.clear()  # a forked child's parent has other limits, perhaps
            _cache[pid, False] = profile
    if not sqpoll:
        return profile
    asked = _cache.get((pid, True))
    if asked is None or asked.answers is not profile.answers:
        asked = _cache[pid, True] = replace(profile, sqpoll_requested=True)
    return asked


def _ask() -> CapabilityProfile:
    """Run the native probe and put its answers into a profile."""
    found = _native.probe()
    answers = {name: int(getattr(found, name)) for name in (*SINCE, *RULES)}
    uname = os.uname()
    return CapabilityProfile(
        os=uname.sysname,
        kernel_release=uname.release,
        kernel_version=_version(uname.release),
        cpu_count=len(os.sched_getaffinity(0)),
        numa_nodes=_numa_nodes(),
        features=Features(found.features),
        operations=frozenset(_operation(n) for n, has in enumerate(found.operations) if has),
        missing=MappingProxyType({n: reason(n, answers[n]) for n in SINCE if answers[n] != 0}),
        answers=MappingProxyType(answers),
        **{name: answers[name] == 0 for name in SINCE},
    )


def _version(release: str) -> tuple[int, ...]:
    """Return the leading numbers of a release: "6.18.44-fc" gives (6, 18, 44)."""
    match = re.match(r"\d+(?:\.\d+)*", release)
    return tuple(map(int, match[0].split("."))) if match else ()


def _numa_nodes(path: str = "/sys/devices/system/node/online") -> int:
    """Return how many NUMA nodes are online, from a list such as "0-1,3"; 1 where unknown."""
    try:
        with open(path, encoding="ascii") as file:
            parts = [part.split("-") for part in file.read().strip().split(",")]
        return sum(int(part[-1]) - int(part[0]) + 1 for part in parts)
    except (OSError, ValueError):
        return 1


def _operation(number: int) -> str:
    try:
        return Op(number).name
    except ValueError:
        return f"OP_{number}"


def _names(features: Features) -> list[str]:
    """Return the names of the feature bits that are set; an unknown bit by its number."""
    known = [bit.name or hex(bit) for bit in Features if bit & features]
    unknown = int(features) & ~sum(int(bit) for bit in Features)
    return known + ([hex(unknown)] if unknown else [])


assert {f.name for f in fields(CapabilityProfile)} >= set(SINCE)
