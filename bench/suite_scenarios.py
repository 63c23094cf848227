"""Every scenario of the suite as its report tells it: section, title, unit; tables only.

Owns the order of the report. How a scenario is measured is in the module that measures it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One scenario: `figure` is the column that ranks, `gist` what a reader must know."""

    key: str
    section: str
    title: str
    unit: str = "request"
    figure: str = "cpu_us"
    gist: str = ""


HELLO, BODIES, LIVES = "HTTP: hello, world", "HTTP: bodies", "HTTP: connections"
TAIL, ECHO, STREAMS, RING = "HTTP: the tail", "Echo", "Broadcast and proxy", "The ring itself"
SECTIONS = {
    HELLO: "Thirteen bytes of text for every request; only nginx and the floors run no Python.",
    BODIES: "The same bytes from everybody, each compared.",
    LIVES: "What connections cost: opened anew, slow, or silent.",
    TAIL: "Requests on a schedule, timed from when they were due: waiting behind a pause counts.",
    ECHO: "The same protocol class on every loop; every byte is compared.",
    STREAMS: "Bytes that go to somebody else.",
    RING: "io_uring driven from Python, one operation at a time and in batches.",
}
_BULK = "one connection, a transfer after the other"
_ONE_CORE = "both workers on one core: what the second adds to a request"
SCENARIOS = (
    Entry("full-1", HELLO, "1 connection"),
    Entry("full-16", HELLO, "16 connections"),
    Entry("full-64", HELLO, "64 connections"),
    Entry("full-512", HELLO, "512 connections"),
    Entry("full-headers-64", HELLO, "64 connections, eight header fields as a browser sends them"),
    Entry("full-pipeline-16", HELLO, "64 connections, 16 requests in flight on each"),
    Entry("full-two-workers", HELLO, "64 connections, two workers", gist=_ONE_CORE),
    Entry("hello-64", HELLO, "64 connections, by wrk", gist="a check of our own load by another"),
    Entry("headers-64", HELLO, "eight header fields, by wrk"),
    Entry("pipeline-16", HELLO, "16 requests in flight, by wrk"),
    Entry("post-1K", BODIES, "POST of 1 KiB"),
    Entry("post-64K", BODIES, "POST of 64 KiB"),
    Entry("reply-1K", BODIES, "replies of 1 KiB"),
    Entry("reply-16K", BODIES, "replies of 16 KiB"),
    Entry("reply-64K", BODIES, "replies of 64 KiB"),
    Entry("reply-1M", BODIES, "replies of 1 MiB, 8 connections"),
    Entry("flask-mix", BODIES, "a Flask application: JSON in and out, every fifth reply 16 KiB"),
    Entry("file-100M", BODIES, "a static file of 100 MiB", gist=_BULK),
    Entry("upload-100M", BODIES, "an upload of 100 MiB", gist=_BULK),
    Entry("close-64", LIVES, "a connection for each request (churn)", gist="by wrk"),
    Entry("slow-alone", LIVES, "64 fast clients, alone", gist="by wrk"),
    Entry("slow-beside", LIVES, "64 fast clients beside 5,000 that send a byte a second"),
    Entry("idle-http-alone", LIVES, "64 busy connections, alone"),
    Entry("idle-http-beside", LIVES, "64 busy connections beside 10,000 idle ones"),
    Entry("tail-half", TAIL, "half of each server's own peak", figure="p999_us"),
    Entry("tail-at-ours", TAIL, "half of pyuring's peak, the same for all", figure="p999_us"),
    Entry("64B", ECHO, "64 bytes", "message"),
    Entry("1KiB", ECHO, "1 KiB", "message"),
    Entry("16KiB", ECHO, "16 KiB", "message"),
    Entry("256KiB", ECHO, "256 KiB", "message"),
    Entry("64B-depth16", ECHO, "64 bytes, 16 messages in flight on each connection", "message"),
    Entry("64B-1conn", ECHO, "64 bytes, 1 connection", "message"),
    Entry("churn", ECHO, "connect, echo 64 bytes, close", "connection"),
    Entry("idle-echo-alone", ECHO, "64 busy connections, alone", "message"),
    Entry("idle-echo-beside", ECHO, "64 busy connections beside 10,000 idle ones", "message"),
    Entry("broadcast", STREAMS, "64 bytes from one to 1,000", "delivery"),
    Entry("proxy-64B", STREAMS, "an echo of 64 bytes through a TCP proxy", "message"),
    Entry("proxy-16KiB", STREAMS, "an echo of 16 KiB through a TCP proxy", "message"),
    Entry("ring-nops", RING, "batches of 64 NOPs", "operation"),
    Entry("ring-reads", RING, "reads of 4 KiB at depth 32 into registered buffers", "operation"),
)
BY_KEY = {entry.key: entry for entry in SCENARIOS}

# What measures a scenario without the suite; the last are in nothing else.
_ALONE = {
    "slow-": "bench/http1.py --scenarios slow",
    "idle-http-": "bench/beside_idle.py --kinds http --connections 10000",
    "idle-echo-": "bench/beside_idle.py --kinds echo --connections 10000",
    "churn": "bench/churn.py",
    "ring-": "bench/lowlevel.py",
}
_SUITE = ("tail-", "broadcast", "proxy-")


def command(key: str) -> str:
    """The command that measures the scenario, and little else where there is one for it."""
    if key.startswith(_SUITE):
        return "nox -s bench"
    for begin, program in _ALONE.items():
        if key.startswith(begin):
            return f"python {program}"
    program = "echo" if BY_KEY[key].section == ECHO else "http1"
    return f"python bench/{program}.py --scenarios {key}"


OURS = "pyuring"
# The native floors: our ring and worker without Python; an epoll loop.
FLOORS = ("floor", "epoll")
# Not a Python server, or one that does not parse what it answers.
NO_PEERS = (*FLOORS, "nginx", "nginx-2", "nginx-stream", "raw-uvloop", "raw-asyncio")


def is_ours(server: str) -> bool:
    """Whether the server is one of pyuring's."""
    return server.startswith(OURS)


def is_peer(server: str) -> bool:
    """Whether the server is one that a Python program could use in place of pyuring."""
    return not is_ours(server) and server not in NO_PEERS
