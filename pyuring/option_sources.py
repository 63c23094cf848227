"""Where options come from: flags before the environment, before a file, before the defaults.

Owns the order, and the one line that says where a wrong value stands. Never acts on a value.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyuring.options import GROUPS, TABLE, Option, Options
from pyuring.usage import UsageError

if TYPE_CHECKING:
    import argparse

__all__ = ["Effective", "add_arguments", "gather", "show"]

_FLAG, _ENVIRONMENT, _FILE, _DEFAULT = 3, 2, 1, 0
_CONFIG_VARIABLE = "PYURING_CONFIG"


@dataclasses.dataclass(frozen=True, slots=True)
class Effective:
    """The values that count, and for each name where it came from, in words."""

    options: Options
    sources: Mapping[str, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser every option of the table, in groups; what is not said is not set."""
    import argparse

    for title in GROUPS:
        group = parser.add_argument_group(title)
        for option in TABLE:
            if option.group != title:
                continue
            told: dict[str, Any] = {"help": _help(option), "dest": option.name}
            if option.name == "app":
                group.add_argument("app", nargs="?", metavar="MODULE:NAME", help=told["help"])
            elif option.kind.is_flag:
                told |= {"action": "store_const", "default": None}
                group.add_argument(f"--{option.key}", const=["yes"], **told)
                told["help"] = argparse.SUPPRESS  # the manual tells of it
                group.add_argument(f"--no-{option.key}", const=["no"], **told)
            else:
                told |= {"action": "append", "metavar": option.kind.metavar}
                group.add_argument(f"--{option.key}", **told)
    group = parser.add_argument_group("Configuration")
    group.add_argument(
        "--config", metavar="FILE",
        help="a TOML file with these names (default: pyuring.toml here, or [tool.pyuring] of "
        "pyproject.toml)",
    )  # fmt: skip
    group.add_argument(
        "--print-config", action="store_true", help="print every value and where it came from"
    )


def gather(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Effective:
    """Return the values that count; raises UsageError for the first wrong one."""
    from pyuring import config_file

    asked = arguments.config or environment.get(_CONFIG_VARIABLE)
    where, table = config_file.read(asked, os.getcwd())
    in_file = _check_names(where, table)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    ranks: dict[str, int] = {}
    for option in TABLE:
        rank, source, value = _find(option, vars(arguments), environment, where, in_file)
        ranks[option.name], sources[option.name], values[option.name] = rank, source, value
    _fold_host_and_port(values, sources, ranks)
    return Effective(Options(**values), sources)


def show(effective: Effective) -> str:
    """Return every value with its origin, as a file that `--config` reads."""
    lines = ["# flag > environment > file > default"]
    for title in GROUPS:
        lines.append(f"\n# {title}")
        for option in TABLE:
            if option.group == title:
                value = getattr(effective.options, option.name)
                origin = effective.sources[option.name]
                if value is None:
                    lines.append(f"{'# ' + option.key + ' =':<48} # {origin}")
                else:
                    lines.append(f"{option.key + ' = ' + _toml(value):<48} # {origin}")
    return "\n".join(lines) + "\n"


def _find(
    option: Option,
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    where: str,
    in_file: Mapping[str, Any],
) -> tuple[int, str, Any]:
    """Return the rank, the place and the value of an option."""
    given = flags.get(option.name)
    if given is not None:
        name = "MODULE:NAME" if option.name == "app" else f"--{option.key}"
        said = [given] if isinstance(given, str) else given
        return _FLAG, name, _value(f"argument {name}", option.kind.read_all, said)
    text = environment.get(option.environment)
    if text:  # an empty one is as good as none: compose files and units leave such behind
        name = option.environment
        return _ENVIRONMENT, name, _value(name, option.kind.read_all, [text])
    if option.name in in_file:
        place = f"{where}: {option.key}"
        return _FILE, where, _value(place, option.kind.check, in_file[option.name])
    return _DEFAULT, "default", option.default


def _value(place: str, convert: Any, given: Any) -> Any:
    try:
        return convert(given)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{place}: {error}") from None


def _check_names(where: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file's values by field name; an unknown name is a mistake, with a guess."""
    known = {option.name: option.key for option in TABLE}
    found = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in known:
            import difflib  # for mistakes only: its import takes milliseconds

            near = difflib.get_close_matches(key, known.values(), 1)
            guess = f"; is it {near[0]}?" if near else ""
            raise UsageError(f"{where}: there is no option {key!r}{guess}")
        if name in found:
            raise UsageError(f"{where}: {known[name]} is there twice, with - and with _")
        found[name] = value
    return found


def _fold_host_and_port(
    values: dict[str, Any], sources: dict[str, str], ranks: dict[str, int]
) -> None:
    """Make --host and --port an address to bind, where no --bind of a higher rank is."""
    rank = max(ranks["host"], ranks["port"])
    if rank == _DEFAULT or rank < ranks["bind"]:
        return
    told = [name for name in ("host", "port") if ranks[name] == rank]
    places = " and ".join(sources[name] for name in told)
    if rank == ranks["bind"]:
        raise UsageError(f"{places}: not together with --bind, which says the same")
    host = values["host"] or "127.0.0.1"
    port = 8000 if values["port"] is None else values["port"]
    text = f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
    from pyuring.addresses import parse

    _value(places, parse, text)
    values |= {"bind": (text,), "host": None, "port": None}
    sources |= {"bind": places, "host": "in bind", "port": "in bind"}


def _help(option: Option) -> str:
    """Return the help text, with the default where there is one to tell."""
    text = option.help
    if option.default not in (None, (), "", 0, False) and "default" not in text:
        text = f"{text} (default {option.default_text})"
    return text.replace("%", "%%")


def _toml(value: Any) -> str:
    """Return a value as TOML writes it; JSON's strings are TOML's."""
    if isinstance(value, tuple):
        return f"[{', '.join(json.dumps(each) for each in value)}]"
    return json.dumps(value).replace("\x7f", "\\u007f")
