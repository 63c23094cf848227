"""Proxying: a TCP proxy between a client and an echo, each client with a connection of its own.

Owns the target (epoll_echo.zig, on the load's core) and the servers that pass bytes on. The load
sleeps between replies here, as it shares its core; the target's CPU time counts as the load's.
"""

from __future__ import annotations

import contextlib
import functools
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import servers
from generator import Sample, Scenario, load
from harness import (
    CACHE,
    CELL_FAILURES,
    LOAD_CORE,
    Running,
    Server,
    cpu_ns,
    failure,
    free_port,
    listening,
    put_to_sleep,
    serving,
)
from rounds import Rounds
from syscalls import Counters

WARMUP = 0.3
SCENARIOS = (Scenario("proxy-64B"), Scenario("proxy-16KiB", size=16 * 1024))
NGINX = "nginx-stream"
MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
_NGINX = """
load_module {module};
daemon off; worker_processes 1; pid nginx-stream.pid; worker_rlimit_nofile 20000;
events {{ worker_connections 16384; }}
stream {{ server {{
  listen 127.0.0.1:{port} backlog=1024; tcp_nodelay on; proxy_pass 127.0.0.1:{target};
}} }}
"""


def unavailable(name: str, python: str) -> str:
    """Why the server cannot pass bytes on here, or an empty string."""
    if name == NGINX:
        return "" if MODULE.exists() else "nginx's stream module is not installed"
    return "" if servers.available(name, python) else "it cannot be imported"


def measure(rounds: Rounds, names: Iterable[str], python: str, nice: int) -> None:
    """Run both scenarios through each proxy, in interleaved rounds."""
    echo = servers.server("epoll", python)
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(serving(echo, nice, core=LOAD_CORE))
        running = []
        for name in names:
            try:
                running.append(_start(stack, name, python, nice, target.port))
            except CELL_FAILURES as error:
                rounds.fail(name, "proxy", failure(error))
        for scenario in SCENARIOS:
            window = functools.partial(_window, scenario, target.pid, nice)
            rounds.scenario(scenario.name, running, window)


def _start(stack: contextlib.ExitStack, name: str, python: str, nice: int, target: int) -> Running:
    if name != NGINX:
        return servers.start(stack, name, python, nice, "proxy", f"127.0.0.1:{target}")
    port = free_port()
    configuration = CACHE / "nginx-stream.conf"
    configuration.write_text(_NGINX.format(module=MODULE, port=port, target=target))
    command = ("nginx", "-p", str(CACHE), "-e", "stderr", "-c", str(configuration))
    running = stack.enter_context(listening(Server(name, command), port, nice))
    put_to_sleep(running.pid)
    return running


def _window(
    scenario: Scenario,
    target: int,
    nice: int,
    one: Running,
    seconds: float,
    counters: Counters | None,
) -> Sample:
    before = cpu_ns(target)
    sample = load(one, scenario, seconds, WARMUP, nice, False, counters)
    # The warm-up is in it; the share of the window is what the window took of both.
    used = int((cpu_ns(target) - before) * seconds / (seconds + WARMUP))
    return replace(
        sample,
        load_cpu_ns=sample.load_cpu_ns + used,
        load_work_ns=sample.load_work_ns + used,
    )


def nginx_version() -> str:
    """What nginx calls itself, or an empty string where there is none."""
    with contextlib.suppress(OSError):
        done = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=False)
        return done.stderr.strip().rpartition("/")[2]
    return ""
