"""What bench/http1.py measures, and the bars: tables only."""

from __future__ import annotations

from http_load import Scenario
from http_servers import BYTES, FILE, FILE_BYTES, HELLO, MIX, TWO, UPLOAD

KIB = 1024
SCENARIOS = (
    # wrk's, which is often the limit itself
    Scenario("hello-64", HELLO),
    Scenario("headers-64", HELLO, browser=True),
    Scenario("pipeline-16", HELLO, "pipeline", depth=16),
    # our own load's
    Scenario("full-1", HELLO, "full", connections=1),
    Scenario("full-16", HELLO, "full", connections=16),
    Scenario("full-64", HELLO, "full"),
    Scenario("full-512", HELLO, "full", connections=512),
    Scenario("full-headers-64", HELLO, "full", browser=True),
    Scenario("full-pipeline-16", HELLO, "full", depth=16),
    Scenario("full-two-workers", TWO, "full"),
    Scenario("close-64", HELLO, "close"),
    Scenario("post-1K", BYTES, "full", size=KIB),
    Scenario("post-64K", BYTES, "full", size=64 * KIB),
    Scenario("reply-1K", BYTES, "full", path=f"/bytes/{KIB}", reply=KIB),
    Scenario("reply-16K", BYTES, "full", path=f"/bytes/{16 * KIB}", reply=16 * KIB),
    Scenario("reply-64K", BYTES, "full", path=f"/bytes/{64 * KIB}", reply=64 * KIB),
    Scenario("reply-1M", BYTES, "full", path=f"/bytes/{KIB * KIB}", reply=KIB * KIB, connections=8),
    Scenario("flask-mix", MIX, "mix"),
    Scenario("file-100M", FILE, "get", 1, path=f"/bytes/{FILE_BYTES}", reply=FILE_BYTES),
    Scenario("upload-100M", UPLOAD, "upload", 1, size=FILE_BYTES),
)
# What --quick runs.
QUICK = ("hello-64", "headers-64", "pipeline-16", "reply-64K", "flask-mix")

_PYTHON: tuple[str, ...] = (
    "fastwsgi",
    "fastpysgi",
    "fastpysgi-asgi",
    "bjoern",
    "granian-wsgi",
    "granian-rsgi",
)
_PYTHON += ("uvicorn", "gunicorn-sync", "gunicorn-gthread", "aiohttp", "socketify", "robyn")
# scenario, ours, the peers of which the cheapest counts, limit of the CPU time for a request
BARS: tuple[tuple[str, str, tuple[str, ...], float], ...] = (
    ("hello-64", "pyuring", ("floor",), 1.20),
    ("pipeline-16", "pyuring", ("floor",), 1.80),
    ("headers-64", "pyuring", ("fastwsgi",), 0.70),
    ("headers-64", "pyuring", ("granian-wsgi",), 0.35),
    ("headers-64", "pyuring", ("granian-rsgi",), 0.35),
    ("headers-64", "pyuring", ("uvicorn",), 0.25),
    ("headers-64", "pyuring", ("nginx",), 0.80),
    ("hello-64", "pyuring-wsgi", ("fastwsgi",), 0.85),
    ("hello-64", "pyuring-wsgi", ("bjoern",), 0.85),
    ("hello-64", "pyuring-wsgi", ("granian-wsgi",), 0.45),
    ("full-64", "pyuring", ("floor",), 1.20),
    ("full-pipeline-16", "pyuring", ("floor",), 1.80),
    ("full-headers-64", "pyuring", ("fastwsgi",), 0.70),
    ("full-headers-64", "pyuring", ("granian-wsgi",), 0.35),
    ("full-headers-64", "pyuring", ("granian-rsgi",), 0.35),
    ("full-headers-64", "pyuring", ("uvicorn",), 0.25),
    ("full-headers-64", "pyuring", ("nginx",), 0.80),
    ("full-64", "pyuring-wsgi", ("fastwsgi",), 0.85),
    ("full-64", "pyuring-wsgi", ("bjoern",), 0.85),
    ("full-64", "pyuring-wsgi", ("granian-wsgi",), 0.45),
    ("full-64", "pyuring-epoll", ("raw-uvloop",), 1.15),
    ("full-headers-64", "pyuring-epoll", ("fastwsgi",), 0.70),
    ("full-headers-64", "pyuring-epoll", ("granian-wsgi",), 0.35),
    ("full-headers-64", "pyuring-epoll", ("granian-rsgi",), 0.35),
    ("full-headers-64", "pyuring-wsgi-epoll", ("fastwsgi",), 0.85),
    ("full-headers-64", "pyuring-wsgi-epoll", ("granian-wsgi",), 0.45),
    ("flask-mix", "pyuring-wsgi", ("gunicorn-sync", "gunicorn-gthread"), 1.0),
    ("flask-mix", "pyuring-wsgi", ("granian-wsgi",), 1.0),
    ("flask-mix", "pyuring-wsgi", ("fastwsgi",), 1.0),
    ("reply-64K", "pyuring", _PYTHON, 1.0),
    ("reply-1M", "pyuring", _PYTHON, 1.0),
    ("upload-100M", "pyuring", _PYTHON, 1.0),
    ("file-100M", "pyuring", ("nginx",), 1.1),
)
