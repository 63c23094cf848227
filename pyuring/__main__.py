"""The command: `pyuring serve MODULE:NAME`, `pyuring probe` and `pyuring top ADDR`.

Owns the command line and the exit status. Never prints a traceback for a mistake of the
caller's: one line on stderr, and status 2.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from pyuring.usage import UsageError, say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["main"]

_CHILD_VARIABLE = "PYURING_CHILD_FD"  # child.ENVIRONMENT: the parent has said it then
_AUDIBLE = ("debug", "info", "warning")  # the levels at which a warning is heard

_SERVE = "Serve MODULE:NAME until SIGINT or SIGTERM; a second one exits at once."
_SOURCES = (
    "Each option is also a variable (PYURING_TIMEOUT_HEAD=5) and a line of a TOML file "
    "(timeout-head = 5). A flag counts before a variable, a variable before the file."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, or 2 for a mistake of the caller's."""
    _fill_standard_descriptors()
    given = sys.argv[1:] if arguments is None else arguments
    if _CHILD_VARIABLE in os.environ:
        given = _without_place(given)
    options = _parser(given).parse_args(given)
    options.arguments = given
    try:
        return int(options.command(options))
    except UsageError as error:
        from pyuring.supervised import tell_parent

        if not tell_parent(error):
            say(error)
        return 2


def _without_place(given: Sequence[str]) -> Sequence[str]:
    """Take the name that the parent has given this process, for whoever looks at ps(1)."""
    from pyuring.naming import call, place_of

    place = place_of(given)
    if place is None:
        return given
    call(f"pyuring-{place + 1}")
    return given[1:]


def _fill_standard_descriptors() -> None:
    """Put /dev/null where stdin, stdout or stderr is closed.

    Else a connection would get that number, and the access log or a child's output go to it.
    """
    try:
        while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(fd, True)
        os.close(fd)
    except OSError:
        pass  # no /dev, or no descriptor left: what opens one next says so


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    import argparse

    from pyuring.option_sources import add_arguments

    class OneLineParser(argparse.ArgumentParser):
        def error(self, message: str) -> Any:
            from pyuring.hints import explained

            say(explained(message, given))
            raise SystemExit(2)

    class Version(argparse.Action):
        def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
            print(f"pyuring {_version()}")
            parser.exit()

    class Format(argparse.HelpFormatter):
        def __init__(self, prog: str) -> None:
            super().__init__(prog, max_help_position=36, width=100)

    parser = OneLineParser(
        prog="pyuring", description="A network engine built on io_uring.", allow_abbrev=False
    )
    parser.add_argument("--version", action=Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(required=True, metavar="serve | probe | top")
    probe = commands.add_parser("probe", help="say what this kernel can do", allow_abbrev=False)
    probe.add_argument("--json", action="store_true", help="for programs to read")
    probe.set_defaults(command=_probe)
    serve = commands.add_parser(
        "serve", help="serve an application or a protocol", description=_SERVE, epilog=_SOURCES,
        usage="pyuring serve MODULE:NAME [options]", formatter_class=Format, allow_abbrev=False,
    )  # fmt: skip
    add_arguments(serve)
    serve.set_defaults(command=_serve)
    top = commands.add_parser("top", help="watch a server at work", allow_abbrev=False)
    top.add_argument("address", metavar="ADDR", help="the server's --metrics address")
    top.add_argument(
        "--interval", type=float, default=1.0, metavar="SECONDS", help="between looks (default 1)"
    )
    top.add_argument("--once", action="store_true", help="print one frame as plain text, and end")
    top.set_defaults(command=_top)
    return parser


def _version() -> str:
    """Return the version of the distribution that is installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("pyuring-engine")
    except PackageNotFoundError:
        return "(not installed, imported from a clone)"


def _serve(arguments: argparse.Namespace) -> int:
    """Serve, or print the configuration that would be served with."""
    from pyuring.option_sources import gather, show

    effective = gather(arguments, os.environ)
    if _CHILD_VARIABLE not in os.environ and effective.options.log_level in _AUDIBLE:
        from pyuring.hints import variables

        say(*variables(os.environ))
    if arguments.print_config:
        _print(show(effective).rstrip("\n"))
        return 0
    from pyuring.supervised import serve

    return serve(effective.options, arguments.arguments)


def _probe(options: argparse.Namespace) -> int:
    """Print what the kernel answered."""
    from pyuring.capability import probe

    profile = probe()  # the tier an engine takes unasked; the table says whether SQPOLL works
    if options.json:
        import json

        text = json.dumps(profile.to_dict(), indent=2)
    else:
        text = profile.describe()
    _print(text)
    return 0


def _top(options: argparse.Namespace) -> int:
    """Show a server's counters as they move."""
    from pyuring.top import once, watch

    if not 0.05 <= options.interval <= 3600:
        raise UsageError(f"--interval: must be 0.05 to 3600 seconds, not {options.interval}")
    if options.once:
        _print(once(options.address, options.interval))
        return 0
    return int(watch(options.address, options.interval))


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # `pyuring probe | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit


if __name__ == "__main__":
    sys.exit(main())
