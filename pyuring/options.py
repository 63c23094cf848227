"""Every option of `pyuring serve`: one table, from which flags, environment and files are read.

Owns `Options`: each field is an option, with its default, kind, group and help. Never reads
anything itself (option_sources.py does), and never acts on a value (serving.py does).

The names are gunicorn's, uvicorn's or granian's where one of them has the option. A field
`timeout_head` is `--timeout-head`, `PYURING_TIMEOUT_HEAD`, and `timeout-head` in a file.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from pyuring import option_kinds as kind
from pyuring.option_kinds import Kind

__all__ = ["DEFAULT_BIND", "GROUPS", "TABLE", "Option", "Options"]

DEFAULT_BIND = "127.0.0.1:8000"
KIB, MIB = 1 << 10, 1 << 20

APPLICATION, LISTENING, WORKERS = "The application", "Listening", "Workers and processes"
HTTP, PROXIES, LIMITS, TIMEOUTS = "HTTP", "Behind a proxy", "Limits", "Timeouts"
LOGS, DEVELOPING = "Logs and metrics", "While developing"
GROUPS = (
    APPLICATION, LISTENING, WORKERS, HTTP, PROXIES, LIMITS, TIMEOUTS, LOGS, DEVELOPING
)  # fmt: skip
_FOR_HTTP = (
    "threads", "limit_request_line", "limit_request_fields", "limit_request_field_size",
    "limit_request_head", "limit_request_body", "limit_body_memory",
    "limit_requests_per_connection", "timeout_head", "timeout_body", "timeout_keep_alive",
    "access_log", "access_log_format",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """One row of the table."""

    name: str
    kind: Kind
    default: Any
    help: str
    group: str

    @property
    def key(self) -> str:
        """The name in a file, and on the command line behind the dashes."""
        return self.name.replace("_", "-")

    @property
    def environment(self) -> str:
        """The name of its environment variable."""
        return f"PYURING_{self.name.upper()}"

    @property
    def is_for_http(self) -> bool:
        """Whether it changes nothing for a protocol, nor for an application configured in code."""
        return self.group in (HTTP, PROXIES) or self.name in _FOR_HTTP

    @property
    def default_text(self) -> str:
        """The default as people write it: 64K, yes; nothing where there is none."""
        if self.default is None or self.default in ((), ""):
            return ""
        if isinstance(self.default, tuple):
            return ", ".join(self.default)
        if isinstance(self.default, bool):
            return "yes" if self.default else "no"
        if self.kind.metavar != "BYTES" or self.default % KIB:
            return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)
        for unit, letter in ((MIB, "M"), (KIB, "K")):
            if self.default >= unit and self.default % unit == 0:
                return f"{self.default // unit}{letter}"
        return str(self.default)


def _option(group: str, default: Any, kind_of: Kind, help_text: str) -> Any:
    metadata = {"group": group, "kind": kind_of, "help": help_text}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `pyuring serve` was told; times are seconds, sizes bytes. Read-only, may be pickled."""

    app: str | None = _option(
        APPLICATION, None, kind.text("MODULE:NAME"),
        "what is served; NAME may be left out where it is `app` or `application`",
    )  # fmt: skip
    interface: str = _option(
        APPLICATION, "auto", kind.choice("auto", "protocol", "handler", "wsgi"),
        "what NAME is: auto looks at it, protocol, handler or wsgi insists",
    )  # fmt: skip
    factory: bool = _option(
        APPLICATION, False, kind.flag(), "call NAME() to get the application; so does MODULE:NAME()"
    )
    app_dir: str | None = _option(
        APPLICATION, ".", kind.text("DIR"), "where MODULE is looked for first"
    )

    bind: tuple[str, ...] = _option(
        LISTENING, (), kind.addresses(),
        "host:port, [v6]:port, unix:/path, unix:@abstract or fd:N; several times for several. "
        f"Without it: the sockets of LISTEN_FDS, else {DEFAULT_BIND}",
    )  # fmt: skip
    host: str | None = _option(
        LISTENING, None, kind.text("HOST"), "with --port, another way to say --bind"
    )
    port: int | None = _option(
        LISTENING, None, kind.integer(0, 65535), "with --host, another way to say --bind"
    )
    backlog: int = _option(
        LISTENING, 4096, kind.integer(1, 65535), "connections that wait in the kernel"
    )
    reuse_port: bool = _option(
        LISTENING, False, kind.flag(), "let other servers listen on the same port"
    )

    workers: int = _option(
        WORKERS, 1, kind.integer(1, 1024), "threads a process, each with its own ring and listener"
    )
    processes: int = _option(
        WORKERS, 1, kind.integer(1, 1024), "processes, each with its own workers"
    )
    threads: int = _option(
        WORKERS, 0, kind.integer(0, 1024),
        "threads a worker for handlers that wait; 0: they run on the worker's own",
    )  # fmt: skip
    tier: str = _option(
        WORKERS, "auto", kind.choice("auto", "none", "base", "mid", "high", "optional"),
        "how to use the ring: auto, base, mid, high, optional; none: epoll in its place",
    )  # fmt: skip
    max_requests: int = _option(
        WORKERS, 0, kind.integer(0, 1 << 40),
        "replace a process after so many requests; 0: never",
    )  # fmt: skip
    max_requests_jitter: int = _option(
        WORKERS, 0, kind.integer(0, 1 << 40),
        "at most so many more, at random, so that not all are replaced at once",
    )  # fmt: skip
    user: str | None = _option(
        WORKERS, None, kind.text("USER[:GROUP]"), "started as root: whom to be once ports are bound"
    )
    pid: str | None = _option(WORKERS, None, kind.text("FILE"), "write the process id to FILE")

    root_path: str = _option(
        HTTP, "", kind.prefix(), "where the application is mounted (SCRIPT_NAME)"
    )
    static: str | None = _option(HTTP, None, kind.text("DIR"), "serve the files of DIR")
    static_path: str = _option(HTTP, "/static", kind.prefix(), "below which path")

    proxy_protocol: bool = _option(
        PROXIES, False, kind.flag(),
        "expect a PROXY protocol header (v1 or v2) on every connection",
    )  # fmt: skip
    forwarded_allow_ips: tuple[str, ...] = _option(
        PROXIES, (), kind.networks(),
        "whose forwarding headers are believed: addresses, networks, `unix`, `*`; nobody's "
        "unless said",
    )  # fmt: skip
    forwarded_headers: tuple[str, ...] = _option(
        PROXIES, ("x-forwarded-for", "x-forwarded-proto"),
        kind.words(
            "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port",
            "forwarded",
        ),
        "which of them; name those that your proxy sets on every request",
    )  # fmt: skip

    limit_request_line: int = _option(LIMITS, 8 * KIB, kind.size(64, 16 * MIB), "the request line")
    limit_request_fields: int = _option(LIMITS, 100, kind.integer(1, 256), "how many header fields")
    limit_request_field_size: int = _option(
        LIMITS, 16 * KIB, kind.size(64, 16 * MIB), "one header field"
    )
    limit_request_head: int = _option(
        LIMITS, 64 * KIB, kind.size(256, 16 * MIB), "request line and header fields together"
    )
    limit_request_body: int = _option(
        LIMITS, 0, kind.size(0), "a request's body, which is streamed; 0: no limit"
    )
    limit_body_memory: int = _option(
        LIMITS, 16 * MIB, kind.size(0), "a body that the application has put together in memory"
    )
    limit_concurrency: int = _option(
        LIMITS, 16384, kind.integer(1, 1 << 20), "connections a worker; further ones wait"
    )
    limit_requests_per_connection: int = _option(
        LIMITS, 0, kind.integer(0, 1 << 40), "then it is closed; 0: no limit"
    )

    timeout_head: float = _option(
        TIMEOUTS, 10.0, kind.seconds(), "for a request's head, from its first byte"
    )
    timeout_body: float = _option(
        TIMEOUTS, 30.0, kind.seconds(), "without a byte of a body that is awaited"
    )
    timeout_keep_alive: float = _option(TIMEOUTS, 75.0, kind.seconds(), "between two requests")
    timeout_write: float = _option(
        TIMEOUTS, 60.0, kind.seconds(), "in which the client took nothing of a waiting reply"
    )
    timeout_idle: float = _option(
        TIMEOUTS, 0.0, kind.seconds(), "protocols: without a byte in either direction"
    )
    graceful_timeout: float = _option(
        TIMEOUTS, 30.0, kind.seconds(), "for open connections to finish at the end"
    )

    access_log: str | None = _option(
        LOGS, None, kind.text("FILE"), "write a line for each request; `-` is stdout"
    )
    access_log_format: str = _option(
        LOGS, "combined", kind.choice("common", "combined", "json"), "common, combined or json"
    )
    log_level: str = _option(
        LOGS, "info", kind.choice("debug", "info", "warning", "error", "critical"),
        "what is said on stderr: debug, info, warning, error, critical",
    )  # fmt: skip
    metrics: str | None = _option(
        LOGS, None, kind.address(),
        "serve /metrics (Prometheus) and /metrics.json there; :9100 is on loopback",
    )  # fmt: skip

    reload: bool = _option(DEVELOPING, False, kind.flag(), "start anew when a source file changes")
    reload_dir: tuple[str, ...] = _option(
        DEVELOPING, (), kind.texts("DIR"), "the directories to watch (default: --app-dir)"
    )


TABLE: tuple[Option, ...] = tuple(
    Option(
        field.name,
        field.metadata["kind"],
        field.default,
        field.metadata["help"],
        field.metadata["group"],
    )
    for field in dataclasses.fields(Options)
)
