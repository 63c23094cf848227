"""From options to something that serves: the application, the engine, logs and metrics around it.

Owns what `pyuring serve` does in one process, and its signals; several are supervised.py's. Never
reads a flag, a variable or a file itself. What belongs to HTTP is imported where it is used: a
protocol's server does without.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from pyuring.errors import RingUnavailableError, remedy
from pyuring.options import DEFAULT_BIND, TABLE, Options
from pyuring.reports import notice_nothing
from pyuring.usage import UsageError, say

if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue

    from pyuring.access_log import AccessLog
    from pyuring.addresses import AddressLike
    from pyuring.engine import Engine
    from pyuring.loading import Application
    from pyuring.metrics_server import MetricsServer
    from pyuring.worker import Worker

__all__ = [
    "Around",
    "announce",
    "application",
    "make_engine",
    "open_access_log",
    "serve",
    "snapshots",
    "start",
    "wanted_addresses",
]


def serve(options: Options) -> int:
    """Serve in this process until the first SIGINT or SIGTERM, drain, return the exit status."""
    from queue import SimpleQueue

    log = open_access_log(options)
    engine = make_engine(options, application(options), wanted_addresses(options), log)
    events: SimpleQueue[int] = SimpleQueue()
    watch_signals(events)
    with Around(options, log) as around:
        around.tell(lambda: snapshots(engine))
        start(engine)
        if options.log_level in ("debug", "info"):
            announce(engine, options.workers)
        elif options.log_level == "warning" and engine.ladder and not engine.ladder.achieved:
            say(*engine.ladder.missed())
        engine.on_end(lambda: events.put(0))
        stopped_by = events.get()
        if stopped_by == signal.SIGHUP and options.log_level in ("debug", "info", "warning"):
            say("SIGHUP reloads where there are several processes (--processes 2); one ends")
        if stopped_by and options.log_level in ("debug", "info"):
            say(f"stopping within {options.graceful_timeout:g} s; a second signal ends at once")
        if not engine.shutdown(options.graceful_timeout):
            abandon(engine)
        if engine.failure is not None and not stopped_by:
            raise engine.failure
    return 0


def abandon(engine: Engine) -> None:
    """Leave workers behind whose handlers do not return: the exit must not wait for them again."""
    stuck = sum(not worker.join(0) for worker in engine.workers)
    if stuck:
        from pyuring import running

        running.discard(engine)
        say(f"a handler has not returned in time, {stuck} of the workers left behind")


def start(engine: Engine) -> None:
    """Start an engine; what keeps it from that is the caller's to put right."""
    try:
        engine.start()
    except RingUnavailableError as error:
        raise UsageError(error.strerror) from None
    except (OSError, ValueError) as error:
        text, helps = getattr(error, "strerror", None), remedy(getattr(error, "errno", None))
        raise UsageError("; ".join(filter(None, (text or str(error), helps)))) from None


def application(options: Options) -> Application:
    """Load what MODULE:NAME names; without it there are the files of --static alone."""
    from pyuring.loading import Application, load

    if options.app is None:
        from pyuring.errors import HttpError

        def nothing_else(request: object) -> None:
            raise HttpError(404)

        return Application("handler", nothing_else)

    return load(
        options.app,
        options.interface,
        factory=options.factory,
        directory=options.app_dir,
    )


def wanted_addresses(options: Options) -> list[AddressLike]:
    """Return what is listened on: what was said, else what a service manager handed over."""
    from pyuring.listeners import handed_over, inherited

    if options.bind:
        if handed_over() and not any(each.startswith("fd:") for each in options.bind):
            say(f"not listening on the sockets of LISTEN_FDS, but on {', '.join(options.bind)}")
        return [*options.bind]
    try:
        found: list[AddressLike] = [*inherited()]
    except OSError as error:
        raise UsageError(error.strerror) from None
    if not found and os.environ.get("LISTEN_PID") == str(os.getppid()):
        say("LISTEN_FDS is for the process that started this one, which should exec it: ignored")
    return found or [DEFAULT_BIND]


def make_engine(
    options: Options,
    application: Application,
    addresses: list[AddressLike],
    log: AccessLog | None = None,
) -> Engine:
    """Make an engine for one process; wrong values are the caller's mistakes."""
    from pyuring.engine import Engine

    notice_nothing()  # `announce` and the supervisor say it
    try:
        return Engine(
            _served(options, application, log),
            addresses,
            workers=options.workers,
            tier=options.tier,
            backlog=options.backlog,
            reuse_port=options.reuse_port,
            max_connections=options.limit_concurrency,
            write_timeout=options.timeout_write or None,
            idle_timeout=options.timeout_idle or None,
        )
    except (ValueError, TypeError) as error:
        raise UsageError(error) from None


def snapshots(engine: Engine) -> list[dict[str, Any]]:
    """Return the counters of each worker, with the labels `process` and `worker`."""
    process = str(os.getpid())
    return [
        {
            "process": process,
            "worker": str(index),
            "tier": int(engine.tier),
            **worker.metrics(),
            **_cpu_of(worker),
        }
        for index, worker in enumerate(engine.workers)
    ]


def _cpu_of(worker: Worker) -> dict[str, float]:
    """Return the CPU time of a worker's thread, where /proc tells it (proc(5), schedstat)."""
    try:
        with open(
            f"/proc/self/task/{worker._thread.native_id}/schedstat", encoding="ascii"
        ) as file:
            return {"cpu_seconds": int(file.read().split()[0]) / 1e9}
    except (OSError, ValueError, IndexError):
        return {}  # the thread has ended, or this kernel counts nothing


def open_access_log(options: Options) -> AccessLog | None:
    """Open the access log, if one was asked for."""
    if options.access_log is None:
        return None
    from pyuring.access_log import AccessLog

    try:
        return AccessLog(options.access_log, options.access_log_format)
    except OSError as error:
        raise UsageError(f"--access-log {options.access_log}: {error.strerror}") from None


def announce(engine: Engine, workers: int) -> None:
    """Write the line that says that connections are accepted, and one a tier that was missed."""
    where = " and ".join(engine.addresses)
    threads = "1 worker" if workers == 1 else f"{workers} workers"
    line = f"listening on {where} (tier {engine.tier.name}, {threads})"
    say(line, *(engine.ladder.missed() if engine.ladder is not None else ()))


def watch_signals(events: SimpleQueue[int]) -> None:
    """Put the first SIGINT, SIGTERM or SIGHUP into the queue; the second ends the process.

    Of hang-ups several may come, from a terminal and its shell: a further one is nothing.
    """
    came: list[int] = []

    def note(number: int, frame: object) -> None:
        if came:
            if number == signal.SIGHUP:
                return
            os._exit(128 + number)
        came.append(number)
        events.put(number)  # SimpleQueue.put may be called within itself; Event.set may not

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # else nohup(1) has it ignored
        signal.signal(signal.SIGHUP, note)


class Around:
    """What lives as long as a server does: pid file, access log, metrics endpoint."""

    def __init__(self, options: Options, log: AccessLog | None = None) -> None:
        self._options, self._log = options, log
        self._metrics: MetricsServer | None = None
        self._pid: str | None = None

    def __enter__(self) -> Around:
        """Write the pid file; where root becomes a user, that waits until it has."""
        if self._options.user is None:
            self.begin()
        return self

    def begin(self) -> None:
        """Write the pid file, if one was asked for."""
        if self._options.pid is not None:
            write_pid(self._options.pid)
            self._pid = self._options.pid

    def tell(self, found: Callable[[], list[dict[str, Any]]]) -> None:
        """Serve metrics, if that was asked for."""
        if self._options.metrics is not None:
            self._metrics = open_metrics(self._options, found)

    def __exit__(self, *_: object) -> None:
        """Close and remove what there is."""
        if self._metrics is not None:
            self._metrics.close()
        if self._log is not None:
            self._log.close()
        if self._pid is not None:
            remove_pid(self._pid)


def open_metrics(options: Options, snapshots: Callable[[], list[dict[str, Any]]]) -> MetricsServer:
    """Open the endpoint that --metrics asks for."""
    from pyuring.metrics_server import MetricsServer

    assert options.metrics is not None
    try:
        return MetricsServer(options.metrics, snapshots)
    except OSError as error:
        raise UsageError(f"--metrics: {error.strerror or error}") from None


def write_pid(path: str) -> None:
    """Write this process's id."""
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
    except OSError as error:
        raise UsageError(f"--pid {path}: {error.strerror}") from None


def remove_pid(path: str) -> None:
    """Remove the file, unless another process has written its own id there meanwhile."""
    try:
        with open(path, encoding="ascii") as file:
            ours = file.read().strip() == str(os.getpid())
        if ours:
            os.unlink(path)
    except (OSError, ValueError):
        pass  # gone already, or not ours: nothing to tidy up


# --- HTTP: imported where it is used ----------------------------------------------------------


def _served(options: Options, application: Application, log: AccessLog | None) -> Any:
    """Return what the engine serves: a protocol factory, or an HTTP application."""
    kind, target = application
    if kind in ("protocol", "ready"):
        _tell_what_is_in_vain(options, kind)
        return target
    from pyuring.http import Http
    from pyuring.wsgi import Wsgi

    served = Wsgi if kind == "wsgi" else Http
    return served(target, http_config(options, log), mounts=mounts(options))


def _tell_what_is_in_vain(options: Options, kind: str) -> None:
    """Say which options change nothing for what is served."""
    said = [
        f"--{option.key}"
        for option in TABLE
        if option.is_for_http and getattr(options, option.name) != option.default
    ]
    if said and options.log_level in ("debug", "info", "warning"):
        what = "is a protocol" if kind == "protocol" else "has a configuration of its own"
        say(f"{options.app} {what}: {', '.join(said)} will change nothing")


def http_config(options: Options, log: AccessLog | None) -> Any:
    """Return the HttpConfig that the options describe; a 0 that means never becomes None."""
    from pyuring.http import HttpConfig
    from pyuring.proxy import Trust

    try:
        return HttpConfig(
            request_line=options.limit_request_line,
            field_line=options.limit_request_field_size,
            field_count=options.limit_request_fields,
            head=options.limit_request_head,
            body=options.limit_request_body or None,
            body_memory=options.limit_body_memory,
            head_timeout=options.timeout_head or None,
            body_timeout=options.timeout_body or None,
            keep_alive_timeout=options.timeout_keep_alive or None,
            requests_per_connection=options.limit_requests_per_connection or None,
            threads=options.threads,
            access_log=log,
            multiprocess=options.processes > 1,
            timed=options.metrics is not None,
            trust=Trust(options.forwarded_allow_ips, options.forwarded_headers),
            proxy_protocol=options.proxy_protocol,
            root_path=options.root_path,
        )
    except (ValueError, TypeError) as error:
        raise UsageError(error) from None


def mounts(options: Options) -> dict[str, Any]:
    """Return what --static mounts; nothing when it says nothing."""
    if options.static is None:
        return {}
    if not os.path.isdir(options.static):
        raise UsageError(f"--static: {options.static} is no directory")
    from pyuring.static import StaticFiles

    alone = options.app is None
    return {"/" if alone else options.static_path or "/": StaticFiles(options.static)}
