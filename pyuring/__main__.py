"""The command: `pyuring serve MODULE:NAME` and `pyuring probe`.

Owns the command line, the signals and the exit status. Never prints a traceback for a mistake
of the caller's: one line on stderr, and status 2.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from queue import SimpleQueue

    from pyuring.addresses import AddressLike
    from pyuring.engine import Engine

__all__ = ["main"]

DEFAULT_BIND = "127.0.0.1:8000"


class UsageError(Exception):
    """Something the caller can put right; the text is the one line that is printed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, or 2 for a mistake of the caller's."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except UsageError as error:
        print(f"pyuring: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    import argparse

    class OneLineParser(argparse.ArgumentParser):
        def error(self, message: str) -> Any:
            raise SystemExit(self._refuse(message))

        def _refuse(self, message: str) -> int:
            print(f"pyuring: {message} (see {self.prog} --help)", file=sys.stderr)
            return 2

    class Version(argparse.Action):
        def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
            print(f"pyuring {_version()}")
            parser.exit()

    parser = OneLineParser(prog="pyuring", description="A network engine built on io_uring.")
    parser.add_argument("--version", action=Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(required=True, metavar="serve | probe")
    probe = commands.add_parser("probe", help="say what this kernel can do")
    probe.add_argument("--json", action="store_true", help="for programs to read")
    probe.set_defaults(command=_probe)
    serve = commands.add_parser("serve", help="serve a protocol", description=_SERVE)
    serve.add_argument("target", metavar="MODULE:NAME", help="a protocol class, or a factory")
    serve.add_argument(
        "--bind",
        metavar="ADDR",
        action="append",
        help="host:port, [v6]:port, unix:/path or fd:N; several times for several "
        f"(default: the sockets of LISTEN_FDS, else {DEFAULT_BIND})",
    )
    serve.add_argument("--workers", type=int, default=1, metavar="N", help="threads (default 1)")
    serve.add_argument(
        "--tier", default="auto", choices=("auto", "base", "mid", "high", "optional"),
        help="how to use the ring (default auto)",
    )  # fmt: skip
    serve.add_argument(
        "--interface", default="auto", choices=("auto", "protocol"),
        help="what NAME is (default: found out)",
    )  # fmt: skip
    serve.set_defaults(command=_serve)
    return parser


def _version() -> str:
    """Return the version of the distribution that is installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("pyuring-engine")
    except PackageNotFoundError:
        return "(not installed, imported from a clone)"


_SERVE = "Serve MODULE:NAME until SIGINT or SIGTERM; a second one exits at once."


def _probe(options: argparse.Namespace) -> int:
    """Print what the kernel answered."""
    from pyuring.capability import probe

    profile = probe()  # the tier an engine takes unasked; the table says whether SQPOLL works
    if options.json:
        import json

        text = json.dumps(profile.to_dict(), indent=2)
    else:
        text = profile.describe()
    try:
        print(text, flush=True)
    except BrokenPipeError:  # `pyuring probe | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
    return 0


def _serve(options: argparse.Namespace) -> int:
    """Load the application, serve it, and drain on the first signal."""
    from queue import SimpleQueue

    factory = load(options.target)
    engine = _engine(factory, options)
    events: SimpleQueue[int] = SimpleQueue()
    _watch_signals(events)
    try:
        engine.start()
    except (OSError, ValueError) as error:
        raise UsageError(getattr(error, "strerror", None) or error) from None
    _announce(engine, options.workers)
    engine.on_end(lambda: events.put(0))
    stopped_by = events.get()
    engine.shutdown()
    if engine.failure is not None and not stopped_by:
        raise engine.failure
    return 0


def _engine(factory: Callable[[], Any], options: argparse.Namespace) -> Engine:
    """Make the engine; wrong values are the caller's mistakes."""
    from pyuring.engine import Engine
    from pyuring.listeners import inherited

    wanted: list[AddressLike] = options.bind or [*inherited()] or [DEFAULT_BIND]
    try:
        return Engine(factory, wanted, workers=options.workers, tier=options.tier)
    except (ValueError, TypeError) as error:
        raise UsageError(error) from None


def _announce(engine: Engine, workers: int) -> None:
    """Write the line that says that connections are accepted, and one a tier that was missed."""
    where = " and ".join(engine.addresses)
    threads = "1 worker" if workers == 1 else f"{workers} workers"
    line = f"pyuring: listening on {where} (tier {engine.tier.name}, {threads})"
    steps = engine.ladder.steps if engine.ladder is not None else ()
    missed = [f"pyuring: not {step.tier.name}: {step.reason}" for step in steps]
    print(line, *missed, sep="\n", file=sys.stderr, flush=True)


def _watch_signals(events: SimpleQueue[int]) -> None:
    """Put the first SIGINT or SIGTERM into the queue; the second ends the process."""
    came: list[int] = []

    def note(number: int, frame: object) -> None:
        if came:
            os._exit(128 + number)
        came.append(number)
        events.put(number)  # SimpleQueue.put may be called within itself; Event.set may not

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)


def load(target: str) -> Callable[[], Any]:
    """Return what MODULE:NAME names, a protocol factory; raises UsageError in one line."""
    module_name, colon, name = target.partition(":")
    if not colon or not module_name or not name:
        raise UsageError(f"{target!r} is not MODULE:NAME")
    if module_name.endswith(".py") or "/" in module_name:
        module = module_name.removeprefix("./").removesuffix(".py").replace("/", ".")
        raise UsageError(f"{module_name!r} is a file; write the module: {module}:{name}")
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does
    found = _import(module_name)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise UsageError(f"module {module_name!r} has no {name!r}") from None
    _check_factory(target, found)
    factory: Callable[[], Any] = found
    return factory


def _import(name: str) -> Any:
    """Import a module; where it is itself at fault, the line says with what and where."""
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(missing + "."):
            raise UsageError(f"no module named {missing!r} (looked in {os.getcwd()} too)") from None
        raise UsageError(f"module {name!r} needs {missing!r}, which is not installed") from None
    except (Exception, SystemExit) as error:
        what = f"SyntaxError({error.msg!r})" if isinstance(error, SyntaxError) else repr(error)
        where = _last_line(error)
        raise UsageError(f"module {name!r} cannot be imported: {what}{where}") from None


def _last_line(error: BaseException) -> str:
    """Return the place an exception was raised at."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" at {error.filename}:{error.lineno}"
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


def _check_factory(target: str, found: Any) -> None:
    """Raise unless `found` can be called without arguments and may give a protocol."""
    import inspect

    if not callable(found):
        raise UsageError(f"{target} is {type(found).__name__}, not a protocol class or a factory")
    if inspect.iscoroutinefunction(found):
        raise UsageError(f"{target} is a coroutine function; pyuring serves protocols")
    receives = hasattr(found, "data_received") or hasattr(found, "get_buffer")
    if inspect.isclass(found) and not receives:
        raise UsageError(f"{target} has neither data_received nor get_buffer: not a protocol")
    if inspect.isclass(found) and not hasattr(found, "connection_made"):
        raise UsageError(f"{target} has no connection_made: not a protocol")
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise UsageError(f"{target} cannot be called without arguments: {error}") from None
    except ValueError:
        pass  # a builtin without a signature


if __name__ == "__main__":
    sys.exit(main())
