"""A network engine for Linux built on io_uring: the public names, each loaded when it is used.

Owns the list of names and where each comes from; holds nothing else, and imports nothing until
a name is asked for (PEP 562), so that `import pyuring` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyuring.errors import (
        BufferGroupError as BufferGroupError,
        BufferInUseError as BufferInUseError,
        BufferNotHeldError as BufferNotHeldError,
        ForkedError as ForkedError,
        NativeLibraryError as NativeLibraryError,
        PyuringError as PyuringError,
        RingClosedError as RingClosedError,
        RingError as RingError,
        RingUnavailableError as RingUnavailableError,
        SqeStateError as SqeStateError,
        WrongThreadError as WrongThreadError,
    )

# Module -> the names that it gives. Each name stands in the block above too, for type checkers.
_PUBLIC = {
    "errors": (
        "BufferGroupError",
        "BufferInUseError",
        "BufferNotHeldError",
        "ForkedError",
        "NativeLibraryError",
        "PyuringError",
        "RingClosedError",
        "RingError",
        "RingUnavailableError",
        "SqeStateError",
        "WrongThreadError",
    ),
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    """Import the module that has `name`, and keep the object for the next time."""
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"pyuring.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return sorted(set(globals()) | set(__all__))
