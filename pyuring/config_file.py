"""The configuration file: `pyuring.toml`, or `[tool.pyuring]` of a pyproject.toml.

Owns finding and reading it. Never looks at the values: option_sources.py checks them.
"""

from __future__ import annotations

import importlib
import os
import re
from typing import Any

from pyuring.usage import UsageError

__all__ = ["read"]

_OWN, _PROJECT = "pyuring.toml", "pyproject.toml"
_MOST_BYTES = 1 << 20
# A cheap look, so that a project that does not mean us costs no parsing, and on Python 3.10 no
# package that reads TOML.
_MEANT = re.compile(r"^\s*\[?\s*tool\s*\.\s*[\"']?pyuring\b", re.MULTILINE)


def read(asked: str | None, directory: str) -> tuple[str, dict[str, Any]]:
    """Return a file's name and its table; ("", {}) when there is none.

    `asked` must be there; the files that are looked for in `directory` need not. Raises
    UsageError, which names the file.
    """
    if asked:
        project = os.path.basename(asked) == _PROJECT
        return asked, _table(asked, _text(asked), project)
    for name in (_OWN, _PROJECT):
        path = os.path.join(directory, name)
        if os.path.isfile(path):
            text = _text(path, name)
            if name == _OWN or _MEANT.search(text):
                return name, _table(name, text, name == _PROJECT)
    return "", {}


def _text(path: str, name: str | None = None) -> str:
    name = name or path
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from None
    if len(data) > _MOST_BYTES:
        raise UsageError(f"{name}: more than {_MOST_BYTES} bytes: no configuration")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{name}: not UTF-8, which TOML must be") from None


def _table(name: str, text: str, project: bool) -> dict[str, Any]:
    """Parse TOML, and return the part that is ours."""
    loads = _parser(name)
    try:
        table: dict[str, Any] = loads(text)
    except ValueError as error:  # TOMLDecodeError
        raise UsageError(f"{name}: {error}") from None
    except RecursionError:
        raise UsageError(f"{name}: nested too deeply") from None
    if not project:
        return table
    tool = table.get("tool", {})
    own = tool.get("pyuring", {}) if isinstance(tool, dict) else {}
    if not isinstance(own, dict):
        raise UsageError(f"{name}: tool.pyuring must be a table")
    return own


def _parser(name: str) -> Any:
    """Return the function that parses TOML: Python 3.11 has one, older ones need a package."""
    for module in ("tomllib", "tomli"):
        try:
            return importlib.import_module(module).loads
        except ModuleNotFoundError:
            continue
    raise UsageError(
        f"{name}: Python 3.10 cannot read TOML by itself: install the package tomli, use "
        "Python 3.11 or newer, or say it in the environment (PYURING_WORKERS=4)"
    )
