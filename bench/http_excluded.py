"""Which HTTP server takes no part in which scenario, and why: tables for http1.py and the suite.

What is not in the table is measured, and fails loudly where a server cannot do it.
"""

from __future__ import annotations

PIPELINED = ("pipeline-16", "full-pipeline-16")
POSTS = ("post-1K", "post-64K")
# What our own load does; it never opens a connection anew.
KEPT_OPEN: tuple[str, ...] = (
    "full-1",
    "full-16",
    "full-64",
    "full-512",
    "full-headers-64",
    "full-pipeline-16",
)
KEPT_OPEN += (*POSTS, "reply-1K", "reply-16K", "reply-64K", "reply-1M")

EXCLUDED: tuple[tuple[tuple[str, ...], tuple[str, ...], str], ...] = (
    (("floor", "raw-uvloop", "raw-asyncio"), ("close-64",), "never closes a connection"),
    (
        ("gunicorn-sync",),
        ("pipeline-16", *KEPT_OPEN),
        "closes after each reply: it has no keep-alive and no pipelining",
    ),
    (("nginx",), POSTS, "a fixed reply refuses a POST there"),
    (
        ("bjoern",),
        PIPELINED,
        "answers the first of several requests in one packet, and waits for ever with the rest",
    ),
    (("socketify",), ("close-64",), "closes without having said so, which is a broken reply"),
    (("socketify",), POSTS, "loses connections under POSTs, and ends"),
    (("fastpysgi-asgi",), ("close-64",), "stops accepting"),
)


def reason(server: str, scenario: str) -> str:
    """Why the server takes no part, or an empty string."""
    for servers, scenarios, why in EXCLUDED:
        if server in servers and scenario in scenarios:
            return why
    return ""
