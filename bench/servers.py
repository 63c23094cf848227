"""The servers of messages: pyuring, the event loops and the native floors, by name.

Owns how each is started. Never decides which are compared: the benchmarks do.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

from harness import (
    BENCH,
    ROOT,
    BenchError,
    Running,
    Server,
    native,
    peers_python,
    put_to_sleep,
    serving,
)

PEERS = os.pathsep.join((str(BENCH / "peers"), str(ROOT)))
LOOP_ECHO = str(BENCH / "peers" / "loop_echo.py")
APPS = {
    "protocol": "examples.echo:Echo",
    "broadcast": "bench.peers.loop_echo:Broadcast",
    "proxy": "examples.proxy:Proxy",
}
NAMES = (
    "pyuring",
    "pyuring-buffered",
    "uvloop",
    "uvloop-buffered",
    "zloop",
    "zloop-epoll",
    "rloop",
    "rloop-buffered",
    "asyncio",
    "epoll",
    "floor",
)
_ZLOOP_NOTE = (
    "zloop runs with ZLOOP_IO_URING=completion and unverified: in this mode version 0.0.1 gives "
    "clients one another's bytes as soon as there are two, so only lengths are checked. "
    "It does not survive churn."
)


def server(name: str, python: str, service: str = "protocol", target: str = "") -> Server:
    """The server of that name; Python ones run on `python` (see harness.peers_python).

    It echoes, or gives another service: "broadcast", or "proxy" to a target.
    """
    if name in ("epoll", "floor"):
        return Server(name, (native("epoll_echo" if name == "epoll" else "floor"),))
    env = {"PROXY_TARGET": target}
    loop, _, style = name.partition("-")
    if loop == "pyuring":
        app = "bench.peers.loop_echo:BufferedEcho" if style == "buffered" else APPS[service]
        tier = style if style not in ("", "buffered") else "auto"
        serve = (python, "-m", "pyuring", "serve", app, "--bind", "127.0.0.1:0")
        return Server(name, (*serve, "--tier", tier), env | {"PYTHONPATH": PEERS})
    style = "buffered" if style == "buffered" else service
    command = (python, LOOP_ECHO, loop, style)
    if name == "zloop":
        env["ZLOOP_IO_URING"] = "completion"
        return Server(name, command, env, verify=False, churns=False, note=_ZLOOP_NOTE)
    return Server(name, command, env | {"ZLOOP_IO_URING": ""})


def python_for(names: list[str], base: str) -> str:
    """The interpreter for these servers: `base`, or its environment with peers if one is asked."""
    loops = {name.partition("-")[0] for name in names}
    return peers_python(base) if loops & {"uvloop", "zloop", "rloop"} else base


def has_ring(running: Running) -> bool:
    """Whether the process has an io_uring open."""
    folder = Path(f"/proc/{running.pid}/fd")
    for entry in os.listdir(folder):
        try:
            if "io_uring" in os.readlink(folder / entry):
                return True
        except FileNotFoundError:
            continue
    return False


def start(
    stack: contextlib.ExitStack,
    name: str,
    python: str,
    nice: int,
    service: str = "protocol",
    target: str = "",
) -> Running:
    """Start a server for as long as the stack lives, in the mode its name says, and stop it.

    `rounds.Rounds` lets it run when it is its turn.

    zloop falls back to epoll without a word when its ring cannot be had: it gets three attempts.
    """
    for _ in range(3):
        running = stack.enter_context(serving(server(name, python, service, target), nice))
        if name != "zloop" or has_ring(running):
            put_to_sleep(running.pid)
            return running
    raise BenchError("zloop did not switch to io_uring: its figures would mislead")


def available(name: str, python: str) -> bool:
    """Whether the server can be started at all here."""
    if name == "floor":
        return (BENCH / "floor.zig").exists()
    if name.startswith("pyuring"):
        return (ROOT / "examples" / "echo.py").exists() and (ROOT / "pyuring/__main__.py").exists()
    loop = name.partition("-")[0]
    if loop in ("asyncio", "epoll"):
        return True
    return subprocess.run([python, "-c", f"import {loop}"], capture_output=True).returncode == 0
