"""What a run of the suite measures: rounds, windows, servers; the full one and the quick one.

Owns which servers are spared which scenarios for time's sake, and the estimate of that time.
Never measures.
"""

from __future__ import annotations

from dataclasses import dataclass

import echo
import http_excluded
from generator import Scenario
from http_load import Scenario as HttpScenario
from http_scenarios import SCENARIOS as HTTP
from http_servers import SERVERS as HTTP_SERVERS

BROADCAST = Scenario("broadcast", connections=1000, mode="broadcast")
ECHO_SERVERS: tuple[str, ...] = (
    "pyuring",
    "pyuring-buffered",
    "pyuring-none",
    "uvloop",
    "uvloop-buffered",
)
ECHO_SERVERS += ("zloop", "zloop-epoll", "rloop", "asyncio", "epoll", "floor")
CHURN_SERVERS: tuple[str, ...] = (
    "pyuring",
    "pyuring-mid",
    "pyuring-none",
    "uvloop",
    "zloop-epoll",
    "rloop",
)
CHURN_SERVERS += ("asyncio", "epoll")
LOOPS = ("pyuring", "pyuring-none", "uvloop", "zloop-epoll", "rloop", "asyncio")
PROXIES = (*LOOPS, "nginx-stream")
IDLE_ECHO = ("pyuring", "pyuring-none", "uvloop", "asyncio", "epoll", "floor")
BY_WRK = ("hello-64", "headers-64", "pipeline-16")
_WRK_SERVERS: tuple[str, ...] = (
    "floor",
    "pyuring",
    "pyuring-wsgi",
    "fastwsgi",
    "bjoern",
    "granian-wsgi",
)
_WRK_SERVERS += ("granian-rsgi", "uvicorn", "nginx")
VARIANTS = ("pyuring-epoll", "pyuring-wsgi-epoll", "raw-uvloop", "raw-asyncio", "gunicorn-sync")
FOR_VARIANTS: tuple[str, ...] = (
    "full-64",
    "full-headers-64",
    "full-pipeline-16",
    "flask-mix",
    "reply-16K",
)
FOR_VARIANTS += ("post-1K", "close-64")
WRK_REASON = "wrk checks our own load with the servers that bars are about"
VARIANT_REASON = "a variant, measured in some of the scenarios"
GROUP_REASON = {
    "file-100M": "only servers that can be handed a file",
    "flask-mix": "only servers with WSGI",
    "full-two-workers": "only servers that run several workers themselves",
    "slow-beside": "a few: a round takes as long as their limit for a head",
    "idle-http-beside": "one for each kind of server",
    "tail-half": "one for each kind of server",
}


@dataclass(frozen=True)
class Plan:
    """One run: lengths in seconds, what is measured, and by how many rounds."""

    name: str
    rounds: int
    seconds: float
    counting: float
    http: tuple[str, ...]
    echo: tuple[str, ...]
    streams: bool
    slow_rounds: int
    idle_rounds: int
    tail_seconds: float
    ring_seconds: float
    starts: int
    servers: tuple[str, ...] = ()  # none named: all
    tail_servers: tuple[str, ...] = ()

    def http_scenarios(self) -> list[HttpScenario]:
        """The HTTP scenarios in their order."""
        return [one for one in HTTP if one.name in self.http]

    def http_servers(self) -> list[str]:
        """The HTTP servers in their order."""
        return [name for name in HTTP_SERVERS if self.wants(name)]

    def wants(self, server: str) -> bool:
        """Whether the server takes part at all."""
        return not self.servers or server in self.servers

    def named(self, servers: tuple[str, ...]) -> list[str]:
        """Those of the servers that take part."""
        return [name for name in servers if self.wants(name)]

    def estimate(self) -> float:
        """About how many seconds the measuring takes, without installing anything."""
        window = self.seconds + 0.35
        cell = self.rounds * window + self.counting + 0.6
        total = 0.0
        for scenario in self.http_scenarios():
            there = [one for one in self.http_servers() if takes_part(one, scenario)]
            each = cell + self.rounds * max(0.0, 1 - self.seconds) * (scenario.load != "full")
            total += len(there) * each
        # Starting and warming them, group by group.
        total += 1.2 * len(self.http_servers()) * len({one.group for one in self.http_scenarios()})
        total += cell * len(self.echo) * len(self.named(ECHO_SERVERS))
        if self.streams:
            cells = 2 * len(self.named(PROXIES)) + len(self.named(LOOPS))
            total += cell * (cells + len(self.named(CHURN_SERVERS)))
        slow = [one for one in self.http_servers() if "slow" in HTTP_SERVERS[one].groups]
        total += self.slow_rounds * len(slow) * (2 * window + 17)  # until the slow ones end
        idle = [one for one in self.http_servers() if "idle" in HTTP_SERVERS[one].groups]
        total += self.idle_rounds * (len(idle) + len(self.named(IDLE_ECHO))) * (3 * window + 4)
        tail = [one for one in self.http_servers() if "tail" in HTTP_SERVERS[one].groups]
        total += self.rounds * len(tail) * (window + 2 * (self.tail_seconds + 0.5))
        return total + self.rounds * 8 * (self.ring_seconds + 0.3) + self.starts * 0.1


def excluded(server: str, scenario: str) -> str:
    """Why the server takes no part in an HTTP scenario of the suite, or an empty string."""
    if scenario in BY_WRK and server not in _WRK_SERVERS:
        return WRK_REASON
    if server in VARIANTS and scenario not in FOR_VARIANTS:
        return VARIANT_REASON
    return http_excluded.reason(server, scenario)


def takes_part(server: str, scenario: HttpScenario) -> bool:
    """Whether the server has a cell in the scenario."""
    groups = HTTP_SERVERS[server].groups
    return scenario.group in groups and not excluded(server, scenario.name)


FULL = Plan(
    "full",
    rounds=5,
    seconds=0.7,
    counting=0.3,
    http=tuple(one.name for one in HTTP),
    echo=tuple(one.name for one in echo.SCENARIOS),
    streams=True,
    slow_rounds=2,
    idle_rounds=3,
    tail_seconds=2.0,
    ring_seconds=0.8,
    starts=30,
)
QUICK = Plan(
    "quick",
    rounds=2,
    seconds=0.4,
    counting=0.15,
    http=("full-64", "full-headers-64", "full-pipeline-16", "reply-16K"),
    echo=("64B", "16KiB"),
    streams=True,
    slow_rounds=0,
    idle_rounds=0,
    tail_seconds=0.5,
    ring_seconds=0.2,
    starts=5,
    servers=(
        *("pyuring", "pyuring-wsgi", "pyuring-gc", "pyuring-none", "floor", "epoll", "nginx"),
        *("fastwsgi", "fastpysgi", "bjoern", "granian-wsgi", "granian-rsgi", "uvicorn"),
        *("gunicorn-gthread", "aiohttp", "socketify", "robyn", "uvloop", "rloop", "asyncio"),
        "nginx-stream",
    ),
    tail_servers=("floor", "pyuring", "pyuring-gc", "nginx", "uvicorn"),
)
SMOKE = Plan(
    "smoke",
    rounds=1,
    seconds=0.3,  # shorter, nothing may be served at all on a loaded machine
    counting=0.1,
    http=("full-64",),
    echo=("64B",),
    streams=False,
    slow_rounds=0,
    idle_rounds=0,
    tail_seconds=0.2,
    ring_seconds=0.0,
    starts=0,
    servers=("pyuring", "pyuring-gc", "floor", "epoll"),
    tail_servers=("pyuring-gc", "floor"),
)
PLANS = {plan.name: plan for plan in (FULL, QUICK, SMOKE)}
