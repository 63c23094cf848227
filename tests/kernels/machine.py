"""Boots one kernel in qemu: no disk, no network, a serial console whose text comes back.

It owns the process and ends it at its time limit. It judges nothing: outcome.py does. KVM is used
where a machine really starts with it; elsewhere qemu translates the instructions (TCG), many
times slower.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LIMITS", "Console", "accelerator", "boot", "obstacle"]

QEMU = "qemu-system-x86_64"
# Seconds for a whole machine. One that hangs costs so long, so they are not generous.
LIMITS = {"kvm": 120, "tcg": 600}
TRIAL_SECONDS = 15
MEMORY_MIB = 1024
# Two processors, so that what only shows between two can show. An oops ends the machine, and a
# machine that ends is a qemu that ends (-no-reboot).
OPTIONS = "console=ttyS0 quiet panic=-1 oops=panic reboot=t random.trust_cpu=1"


@dataclass(frozen=True, slots=True)
class Console:
    """What a machine wrote, whether it was ended by the time limit, and how long it ran."""

    text: str
    ended_by_limit: bool
    seconds: float
    status: int = 0


def obstacle() -> str | None:
    """Return why no machine can be started here, or None."""
    if os.uname().machine != "x86_64":
        return f"the kernels are amd64's, this machine is {os.uname().machine}"
    if shutil.which(QEMU) is None:
        return f"{QEMU} is not installed (Debian's package qemu-system-x86)"
    return None


def command(kernel: Path, initramfs: Path | None, accel: str, limit: float, log: Path) -> list[str]:
    """Return qemu's command line."""
    parts = [
        QEMU, "-accel", accel, "-cpu", "host" if accel == "kvm" else "max",
        "-m", str(MEMORY_MIB), "-smp", "2", "-nodefaults", "-no-user-config", "-no-reboot",
        "-display", "none", "-serial", f"file:{log}", "-kernel", str(kernel),
        "-append", f"{OPTIONS} pyuring.limit={int(limit * 0.9)}",
    ]  # fmt: skip
    return parts if initramfs is None else [*parts, "-initrd", str(initramfs)]


def boot(kernel: Path, initramfs: Path | None, accel: str, limit: float) -> Console:
    """Run one machine until it ends, at most `limit` seconds, and return its console."""
    with tempfile.TemporaryDirectory(prefix="pyuring-kernels-") as place:
        log = Path(place, "console")
        log.touch()
        started = time.monotonic()
        ended_by_limit = False
        parts = command(kernel, initramfs, accel, limit, log)
        with subprocess.Popen(parts, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            try:
                _, errors = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                ended_by_limit = True
                process.kill()
                _, errors = process.communicate()
        text = log.read_text(encoding="utf-8", errors="replace")
    seconds = time.monotonic() - started
    said = errors.decode(errors="replace")
    return Console(
        text + (f"\nqemu: {said}" if said else ""), ended_by_limit, seconds, process.returncode
    )


def accelerator(kernel: Path) -> str:
    """Return "kvm" where a kernel really runs with it, else "tcg".

    The device may be there and not work, as inside some virtual machines. Without an initramfs
    a kernel panics within a second or two, and that it says so is the proof.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    return "kvm" if "Kernel panic" in boot(kernel, None, "kvm", TRIAL_SECONDS).text else "tcg"
