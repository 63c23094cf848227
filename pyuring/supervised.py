"""`pyuring serve` with several processes: the parent's side, and that of each process.

Owns the decision which of the two this process is, and what options mean for it. Never supervises
by itself: supervisor.py and child.py do, and are imported only where they are needed.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from pyuring import serving
from pyuring.options import Options
from pyuring.usage import UsageError, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pyuring.identity import Identity
    from pyuring.settings import SupervisorSettings
    from pyuring.supervisor import Supervisor

__all__ = ["serve", "tell_parent"]

_CHILD_VARIABLE = "PYURING_CHILD_FD"  # child.ENVIRONMENT, without importing it


def serve(options: Options, arguments: Sequence[str]) -> int:
    """Serve until the end, in this process or as the parent of several; return the status.

    `arguments` are the command line's: each process is started with the same ones.
    """
    child = _child()
    if child is not None:
        return _serve_as_child(child, options)
    if options.app is None and options.static is None:
        raise UsageError("the following arguments are required: MODULE:NAME, or --static DIR")
    if options.processes > 1 or options.reload or options.max_requests or options.user:
        return _supervise(options, arguments)
    return serving.serve(options)


def tell_parent(problem: UsageError) -> bool:
    """Tell the supervisor, if there is one, why this process cannot serve."""
    child = _child()
    if child is None:
        return False
    child.failed(str(problem))
    return True


def _child() -> Any:
    """Return this process's side of its supervision, or None; before the application is loaded."""
    if _CHILD_VARIABLE not in os.environ and "pyuring.child" not in sys.modules:
        return None
    from pyuring.child import channel

    return channel()


def _serve_as_child(child: Any, options: Options) -> int:
    """Serve what the parent listens on, until it says otherwise."""
    log = serving.open_access_log(options)
    try:
        engine = serving.make_engine(options, serving.application(options), child.addresses(), log)
        serving.start(engine)
        child.ready(engine)
        return int(child.serve_until_told(engine))
    finally:
        if log is not None:
            log.close()


def _supervise(options: Options, arguments: Sequence[str]) -> int:
    """Be the parent of processes that serve."""
    from pyuring.naming import call
    from pyuring.supervisor import run

    for directory in options.reload_dir:
        if not os.path.isdir(directory):
            raise UsageError(f"--reload-dir: {directory} is no directory")
    if options.reload:
        # Bytecode goes by its source's second and size: an edit within both would not be seen.
        os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    user = _user(options)
    call("pyuring-parent")
    with serving.Around(options) as around:

        def started(parent: Supervisor) -> None:
            around.tell(lambda: snapshots(parent.metrics()))

        settings = _settings(options, started, user, around.begin if user is not None else None)
        return run(settings, list(arguments))


def _user(options: Options) -> Identity | None:
    """Return whom root is to become, if that was asked for."""
    if options.user is None:
        return None
    from pyuring.identity import find

    if os.geteuid() != 0:
        raise UsageError(f"--user: only root can become another user, this is uid {os.geteuid()}")
    try:
        return find(options.user)
    except ValueError as error:
        raise UsageError(f"--user {options.user}: {error}") from None


def _settings(
    options: Options,
    started: Callable[[Supervisor], object],
    user: Identity | None,
    bound: Callable[[], object] | None,
) -> SupervisorSettings:
    """Return what the options say to the supervisor."""
    from pyuring.settings import SupervisorSettings

    quiet = options.log_level not in ("debug", "info")

    def log(text: str) -> None:
        if not (quiet and text.startswith(("listening on ", "stopping within ", "not "))):
            say(text)

    try:
        return SupervisorSettings(
            bind=serving.wanted_addresses(options),
            processes=options.processes,
            workers=options.workers,
            backlog=options.backlog,
            reuse_port=options.reuse_port,
            max_requests=options.max_requests,
            max_requests_jitter=options.max_requests_jitter,
            graceful_timeout=options.graceful_timeout,
            reload=options.reload,
            sources=lambda: sources(options.reload_dir),
            log=log,
            user=user,
            bound=bound,
            started=started,
        )
    except ValueError as error:
        raise UsageError(error) from None


def snapshots(processes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the counters of each process, labelled; those that have ended are added up in one."""
    return [
        {"process": str(each["pid"] or "ended"), "worker": "all", **_tier(each), **each["metrics"]}
        for each in processes
        if each["pid"] or any(map(_is_above_zero, each["metrics"].values()))
    ]


def _tier(process: dict[str, Any]) -> dict[str, int]:
    """Return the number of a process's tier; nothing before it serves, nor after its end."""
    tier = process.get("tier")
    return {} if tier is None else {"tier": tier}


def _is_above_zero(value: Any) -> bool:
    return any(value) if isinstance(value, (list, tuple)) else bool(value)


def sources(directories: Sequence[str]) -> Iterator[str]:
    """Yield the Python files below some directories, hidden ones and caches left out."""
    for directory in directories:
        for place, inner, names in os.walk(directory):
            inner[:] = [name for name in inner if not name.startswith((".", "__"))]
            yield from (os.path.join(place, name) for name in names if name.endswith(".py"))
