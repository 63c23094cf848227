"""What somebody meant who typed an option that there is not: the nearest, or another server's.

Owns the words for options of gunicorn, uvicorn and granian that are called otherwise here or are
not needed, and the guess at a misspelt name. Never decides anything: it only words a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pyuring.options import TABLE

__all__ = ["explained", "variables"]

_PREFIX = "PYURING_"
_OURS = ("PYURING_CONFIG", "PYURING_CHILD_FD")  # variables that are no options
_ALIKE = 0.75  # TEIR is so much like TIER; the variables of our tests and builds are like nothing

_WAITING = "there is one kind of worker; handlers that wait have --threads"
_STDERR = "what goes wrong is told on stderr"
_MANAGER = "that is for a service manager or the container"
_GROUP = "is it --user USER:GROUP?"
_TLS = "TLS is for a proxy in front"
_NOTHING = "there is nothing to choose here: leave it out"

# Options of other servers, by what is the same here.
_ELSEWHERE: Mapping[str, str] = {
    "-w": "is it --processes? (--workers are threads within one)",
    "-k": _WAITING,
    "--worker-class": _WAITING,
    "-b": "is it --bind?",
    "--uds": "is it --bind unix:PATH?",
    "--fd": "is it --bind fd:N?",
    "-c": "is it --config? (a TOML file)",
    "-p": "is it --pid?",
    "--chdir": "is it --app-dir?",
    "-t": "a handler may take its time; clients are limited by --timeout-head and its like",
    "--timeout": "a handler may take its time; clients are limited by --timeout-head and its like",
    "--keep-alive": "is it --timeout-keep-alive?",
    "--timeout-graceful-shutdown": "is it --graceful-timeout?",
    "--worker-connections": "is it --limit-concurrency?",
    "--limit-max-requests": "is it --max-requests?",
    "--limit-request-field_size": "is it --limit-request-field-size?",
    "--blocking-threads": "is it --threads?",
    "--proxy-headers": "is it --forwarded-allow-ips? (which says whose are believed)",
    "--access-logfile": "is it --access-log?",
    "--access-logformat": "is it --access-log-format? (common, combined or json)",
    "--error-logfile": _STDERR,
    "--log-file": _STDERR,
    "--log-config": _STDERR,
    "--preload": "each process imports the application itself",
    "-D": _MANAGER,
    "--daemon": _MANAGER,
    "-u": "is it --user?",
    "-g": _GROUP,
    "--group": _GROUP,
    "--certfile": _TLS,
    "--keyfile": _TLS,
    "--ssl-certfile": _TLS,
    "--ssl-keyfile": _TLS,
    "--loop": _NOTHING,
    "--http": _NOTHING,
    "--ws": _NOTHING,
    "--lifespan": _NOTHING,
    "--worker-tmp-dir": _NOTHING,
}


def explained(message: str, arguments: Sequence[str]) -> str:
    """Return the line for a mistake that argparse found, with a guess, and where to read on."""
    first = arguments[0] if arguments else ""
    if "invalid choice" in message and ":" in first:
        return f"there is no command {first!r}; is it pyuring serve {first}?"
    command = first if first in ("serve", "probe", "top") else ""
    start, wrong, rest = message.partition("unrecognized arguments: ")
    if wrong and not start and command == "serve":
        hint = _of_flag(rest.split()[0].partition("=")[0])
        message += f"; {hint}" if hint else ""
    return f"{message} (see {' '.join(filter(None, ('pyuring', command)))} --help)"


def variables(environment: Mapping[str, str]) -> list[str]:
    """Return a line for each variable that looks like an option's and is none's.

    What resembles no option is somebody else's business: Kubernetes sets PYURING_PORT_80_TCP in
    every container beside a service called `pyuring`.
    """
    known = {option.environment for option in TABLE}.union(_OURS)
    lines = []
    for name in sorted(environment):
        if not name.startswith(_PREFIX) or name in known or not environment[name]:
            continue
        near = _nearest(name.removeprefix(_PREFIX), (option.name.upper() for option in TABLE))
        if near is not None:
            lines.append(f"{name} is no option's variable and ignored; is it {_PREFIX}{near}?")
    return lines


def _of_flag(name: str) -> str | None:
    if name in _ELSEWHERE:
        return _ELSEWHERE[name]
    keys = (f"--{option.key}" for option in TABLE if option.name != "app")
    near = _nearest(name, keys) if name.startswith("--") else None
    return f"is it {near}?" if near else None


def _nearest(name: str, known: Iterable[str]) -> str | None:
    import difflib  # for mistakes only: its import takes milliseconds

    near = difflib.get_close_matches(name, list(known), 1, _ALIKE)
    return near[0] if near else None
