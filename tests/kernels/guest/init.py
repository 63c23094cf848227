"""The first process of a virtual machine: mounts what Python needs, runs the smoke set.

It owns the machine: it may switch io_uring off, and it becomes nobody for one of the runs. What it
has to say is one line of JSON between markers on the console; the words before are for people.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import re
import socket
import struct
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

# outcome.py looks for these.
STARTED = "@@PYURING-KERNELS-STARTED"
BEGIN, END = "@@PYURING-KERNELS", "@@END"

_NOBODY = 65534
_RB_AUTOBOOT = 0x01234567
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_SWITCH = Path("/proc/sys/kernel/io_uring_disabled")  # since Linux 6.6
# What the kernel says when something is wrong with it; its own drivers' warnings are not ours.
_COMPLAINT = re.compile(r"BUG:|WARNING:|Oops|general protection|io_uring|soft lockup|rcu.*stall")

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Run everything, print the line, and end the machine, whatever happens."""
    print(STARTED, flush=True)
    try:
        prepare()
        line = json.dumps(answers(limit()))
    except BaseException:
        traceback.print_exc()
        line = json.dumps({"crash": traceback.format_exc(limit=-2)})
    # One write, so that a message of the kernel's does not come in between.
    os.write(1, f"\n{BEGIN} {line} {END}\n".encode())
    os.sync()
    _libc.reboot(_RB_AUTOBOOT)  # qemu -no-reboot: it ends


def prepare() -> None:
    """Mount the usual file systems and bring the loopback interface up."""
    for kind, place in (
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
    ):
        os.makedirs(place, exist_ok=True)
        if _libc.mount(kind.encode(), place.encode(), kind.encode(), 0, None):
            raise OSError(ctypes.get_errno(), f"mounting {place}")
    os.chmod("/tmp", 0o1777)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(sock, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def limit() -> float:
    """Return how many seconds the machine has, from the kernel's command line."""
    match = re.search(r"pyuring\.limit=(\d+)", Path("/proc/cmdline").read_text())
    return float(match[1]) if match else 600.0


def answers(seconds: float) -> dict[str, Any]:
    """Run the smoke set as root and, less of it, as nobody; then with io_uring switched off."""
    uname = os.uname()
    found: dict[str, Any] = {"release": uname.release, "version": uname.version}
    found["root"] = smoke(seconds * 0.6)
    # An ordinary process may lock 64 KiB only before 5.16; rings are charged to it before 5.12.
    found["nobody"] = smoke(seconds * 0.25, "--brief", user=_NOBODY)
    if _SWITCH.exists():
        _SWITCH.write_text("2")
        found["refused"] = smoke(seconds * 0.15, "--refused")
        _SWITCH.write_text("0")
    found["complaints"] = complaints()
    return found


def smoke(seconds: float, *arguments: str, user: int = 0) -> dict[str, Any]:
    """Run the smoke set in a process of its own, so that its death can be told."""
    place = f"/tmp/answers-{user}-{len(arguments)}-{arguments[-1:]}"
    command = [sys.executable, "-X", "faulthandler", "-m", "kernels.guest.smoke", "--json", place]
    command += ["--limit", str(seconds), *arguments]
    ids: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if user else {}
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path[:2]), "HOME": "/tmp"}
    try:
        done = subprocess.run(command, timeout=seconds + 5, check=False, env=environment, **ids)
    except subprocess.TimeoutExpired:
        return {"crash": f"no end within {seconds:.0f} s: the console has its stack"}
    try:
        found: dict[str, Any] = json.loads(Path(place).read_text())
    except (OSError, ValueError):
        return {"crash": f"the smoke set ended with status {done.returncode} and without a word"}
    if done.returncode not in (0, 1):  # it died on the way: what it had said is not all
        found["crash"] = f"ended with status {done.returncode} after {len(found['checks'])} checks"
    return found


def complaints() -> list[str]:
    """Return the lines of the kernel's log that tell of trouble, at most twenty."""
    found: list[str] = []
    log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    while len(found) < 20:
        try:
            record = os.read(log, 8192).decode(errors="replace")
        except BlockingIOError:
            break
        except BrokenPipeError:
            continue  # overwritten while we read
        text = record.partition(";")[2].splitlines()[0]
        if _COMPLAINT.search(text) and "Kernel command line" not in text:
            found.append(text)
    os.close(log)
    return found
