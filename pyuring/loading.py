"""MODULE:NAME on a command line: what it names, and what kind of application that is.

Owns the import and the look at the object. Never calls it, except the factory that it is told to
call, and never lets a mistake out as a traceback: UsageError, one line.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from typing import Any, NamedTuple

from pyuring import usage
from pyuring.usage import UsageError

__all__ = ["Application", "detect", "load"]

_DEFAULT_NAMES = ("app", "application")
_MAKERS = re.compile(r"(create|make|build|get)_(\w+_)?(app|application)")
_SAY = "say which with --interface protocol, handler or wsgi"


class Application(NamedTuple):
    """What is served, and what it is: "protocol" (a factory), "handler", "wsgi" or "ready".

    Ready is what an engine takes as it is, such as an Http with a configuration of its own.
    """

    kind: str
    target: Any


def load(
    target: str, interface: str = "auto", *, factory: bool = False, directory: str | None = "."
) -> Application:
    """Import MODULE:NAME and return what it is; raises UsageError in one line.

    `directory` is looked in first, as `python -m` does. With `factory`, or for MODULE:NAME(), the
    object is called without arguments, and what it returns is served.
    """
    module_name, found, label, called = _find(target, directory)
    if factory or called:
        found = _call(label, found)
        label += "()"
    if inspect.ismodule(found):
        raise UsageError(f"{label} is a module; write {module_name}.{label.split(':')[-1]}:NAME")
    try:
        kind = detect(found) if interface == "auto" else interface
    except UsageError as error:
        raise UsageError(f"{label} {error}") from None
    if kind != "ready":
        _check(kind, label, found)
    return Application(kind, found)


def detect(found: Any) -> str:
    """Return "protocol", "handler", "wsgi", "asgi" or "ready", after how it can be called.

    What has `for_worker` is ready: an engine takes it as it is, with its own configuration.
    A class with data_received or get_buffer and anything callable without arguments makes
    protocols; two arguments are WSGI's, one a handler's, three of a coroutine ASGI's. Raises
    UsageError, which says what the object is, where that does not tell.
    """
    if not inspect.isclass(found) and hasattr(found, "for_worker"):
        return "ready"
    if inspect.isclass(found) and _receives(found):
        return "protocol"
    if not callable(found):
        kind = type(found).__name__
        hint = ": give the class, not an instance" if _receives(found) else ""
        raise UsageError(f"is {kind}, not a protocol class or a factory, nor an application{hint}")
    names = _parameters(found)
    if _is_coroutine(found):
        if len(names.needed) == 3 or names.needed[:1] == ["scope"]:
            return "asgi"
        raise UsageError("is a coroutine function; pyuring serves protocols, handlers and WSGI")
    if names.needed[:3] == ["scope", "receive", "send"] or names.needed == ["scope"]:
        return "asgi"
    if inspect.isclass(found) and len(names.needed) != 2:
        if "__call__" in _attributes(found):
            raise UsageError("is a class whose instances are called: give one, or add --factory")
        raise UsageError("has neither data_received nor get_buffer: not a protocol")
    if names.any_number and len(names.needed) != 2:
        raise UsageError(f"takes any arguments, which tells nothing: {_SAY}")
    if len(names.needed) == 2 or names.all[1:2] == ["start_response"]:
        return "wsgi"
    if len(names.needed) == 1:
        return "handler"
    if not names.needed:
        name = getattr(found, "__name__", "")
        if _MAKERS.fullmatch(name):
            raise UsageError(
                "takes no arguments: add --factory if it makes the application, or "
                "--interface protocol if it makes a protocol for each connection"
            )
        return "protocol"
    raise UsageError(f"takes {len(names.needed)} arguments: neither a handler (1) nor WSGI (2)")


class _Names(NamedTuple):
    needed: list[str]
    all: list[str]
    any_number: bool


def _parameters(found: Any) -> _Names:
    """Return the names of the positional parameters; UsageError where Python cannot tell."""
    try:
        parameters = inspect.signature(found).parameters.values()
    except (ValueError, TypeError):
        raise UsageError(f"does not tell what it is called with: {_SAY}") from None
    kinds = inspect.Parameter
    several = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    keywords = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is kinds.empty]
    if keywords:
        raise UsageError(f"needs the keyword argument {keywords[0].name!r}")
    return _Names(
        [p.name for p in several if p.default is kinds.empty],
        [p.name for p in several],
        any(p.kind is kinds.VAR_POSITIONAL for p in parameters),
    )


def _is_coroutine(found: Any) -> bool:
    if inspect.iscoroutinefunction(found):
        return True
    if inspect.isclass(found) or not callable(found):
        return False
    return inspect.iscoroutinefunction(type(found).__call__)


def _attributes(cls: type) -> set[str]:
    return {name for each in cls.__mro__ if each is not object for name in vars(each)}


def _receives(found: Any) -> bool:
    return hasattr(found, "data_received") or hasattr(found, "get_buffer")


def _check(kind: str, label: str, found: Any) -> None:
    """Raise unless `found` can be called as its kind is, as far as can be seen."""
    if kind == "asgi":
        raise UsageError(f"{label} is an ASGI application, which pyuring does not serve yet")
    if not callable(found):
        raise UsageError(f"{label} is {type(found).__name__}, which cannot be called")
    if _is_coroutine(found):
        raise UsageError(f"{label} is a coroutine function; pyuring does not await")
    if kind == "protocol" and inspect.isclass(found):
        if not _receives(found):
            raise UsageError(f"{label} has neither data_received nor get_buffer: not a protocol")
        if not hasattr(found, "connection_made"):
            raise UsageError(f"{label} has no connection_made: not a protocol")
    count, how = {"protocol": (0, "without arguments"), "handler": (1, "with a request"),
                  "wsgi": (2, "with environ and start_response")}[kind]  # fmt: skip
    try:
        inspect.signature(found).bind(*[None] * count)
    except TypeError as error:
        raise UsageError(f"{label} cannot be called {how}: {error}") from None
    except ValueError:
        pass  # a builtin without a signature


def _find(target: str, directory: str | None) -> tuple[str, Any, str, bool]:
    """Return the module's name, the object, how it is called in messages, and whether ()."""
    module_name, colon, name = target.partition(":")
    called = name.endswith("()")
    name = name.removesuffix("()")
    if not module_name or (colon and not name) or "(" in name:
        raise UsageError(f"{target!r} is not MODULE:NAME")
    if module_name.endswith(".py") or "/" in module_name:
        module = module_name.removeprefix("./").removesuffix(".py").replace("/", ".")
        rest = f":{name}" if name else ""
        raise UsageError(f"{module_name!r} is a file; write the module: {module}{rest}")
    _look_first_in(os.path.abspath(directory or "."))
    module = _import(module_name, os.path.abspath(directory or "."))
    if not name:
        for each in _DEFAULT_NAMES:
            if hasattr(module, each):
                return module_name, getattr(module, each), f"{module_name}:{each}", called
        names = " nor ".join(repr(each) for each in _DEFAULT_NAMES)
        raise UsageError(f"module {module_name!r} has neither {names}: write {module_name}:NAME")
    found = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise UsageError(f"module {module_name!r} has no {name!r}") from None
    return module_name, found, f"{module_name}:{name}", called


def _look_first_in(directory: str) -> None:
    if directory in sys.path or (directory == os.getcwd() and "" in sys.path):
        return
    if not os.path.isdir(directory):
        raise UsageError(f"--app-dir: {directory} is no directory")
    sys.path.insert(0, directory)


def _call(label: str, found: Any) -> Any:
    """Return what a factory makes; where it raises, the line says with what and where."""
    if not callable(found):
        raise UsageError(f"{label} is {type(found).__name__}, not a factory")
    if _is_coroutine(found):
        raise UsageError(f"{label} is a coroutine function; a factory must be a plain one")
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise UsageError(f"{label} cannot be called without arguments: {error}") from None
    except ValueError:
        pass
    try:
        return found()
    except (Exception, SystemExit) as error:
        raise UsageError(f"{label}() raised {error!r}{_last_line(error)}") from None


def _import(name: str, directory: str) -> Any:
    """Import a module; where it is itself at fault, the line says with what and where."""
    usage.importing = True
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(missing + "."):
            raise UsageError(f"no module named {missing!r} (looked in {directory} too)") from None
        raise UsageError(f"module {name!r} needs {missing!r}, which is not installed") from None
    except (Exception, SystemExit) as error:
        what = f"SyntaxError({error.msg!r})" if isinstance(error, SyntaxError) else repr(error)
        where = _last_line(error)
        raise UsageError(f"module {name!r} cannot be imported: {what}{where}") from None
    finally:
        usage.importing = False


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
