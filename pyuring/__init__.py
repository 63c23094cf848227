"""A network engine for Linux built on io_uring: the public names, each loaded when it is used.

Owns the list of names and where each comes from; holds nothing else, and imports nothing until
a name is asked for (PEP 562), so that `import pyuring` costs next to nothing.
"""

from __future__ import annotations

# True for type checkers; typing itself would be most of what `import pyuring` costs.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyuring.buffers import BufferGroup as BufferGroup
    from pyuring.capability import (
        CapabilityProfile as CapabilityProfile,
        Tier as Tier,
        probe as probe,
    )
    from pyuring.config import EngineConfig as EngineConfig, ExceptionHook as ExceptionHook
    from pyuring.constants import (
        FILE_INDEX_ALLOC as FILE_INDEX_ALLOC,
        NOTIF_USAGE_ZC_COPIED as NOTIF_USAGE_ZC_COPIED,
        AcceptFlags as AcceptFlags,
        CancelFlags as CancelFlags,
        CqeFlags as CqeFlags,
        Features as Features,
        Op as Op,
        PollFlags as PollFlags,
        RecvSendFlags as RecvSendFlags,
        SetupFlags as SetupFlags,
        SqeFlags as SqeFlags,
        TimeoutFlags as TimeoutFlags,
    )
    from pyuring.engine import Engine as Engine
    from pyuring.errors import (
        BufferGroupError as BufferGroupError,
        BufferInUseError as BufferInUseError,
        BufferNotHeldError as BufferNotHeldError,
        ClientDisconnectedError as ClientDisconnectedError,
        EngineClosedError as EngineClosedError,
        ForkedError as ForkedError,
        HttpError as HttpError,
        NativeLibraryError as NativeLibraryError,
        PyuringError as PyuringError,
        RingClosedError as RingClosedError,
        RingError as RingError,
        RingUnavailableError as RingUnavailableError,
        SqeStateError as SqeStateError,
        WrongThreadError as WrongThreadError,
    )
    from pyuring.headers import Headers as Headers, ResponseHeaders as ResponseHeaders
    from pyuring.http import Http as Http, serve as serve
    from pyuring.http_config import AccessLog as AccessLog, HttpConfig as HttpConfig
    from pyuring.ladder import Ladder as Ladder, LadderStep as LadderStep, descend as descend
    from pyuring.metrics import EngineMetrics as EngineMetrics
    from pyuring.request import Query as Query, Request as Request
    from pyuring.response import Response as Response
    from pyuring.ring import (
        Batch as Batch,
        Cqe as Cqe,
        Message as Message,
        Ring as Ring,
        Sqe as Sqe,
        pack_address as pack_address,
        unpack_address as unpack_address,
    )
    from pyuring.static import StaticFiles as StaticFiles
    from pyuring.tiers import (
        BaseTier as BaseTier,
        EpollTier as EpollTier,
        HighTier as HighTier,
        MidTier as MidTier,
        OptionalTier as OptionalTier,
        TierDecisions as TierDecisions,
        TierStrategy as TierStrategy,
        decisions as decisions,
        lower_tiers as lower_tiers,
        select_tier as select_tier,
        strategy_of as strategy_of,
    )
    from pyuring.timers import Handle as Handle, TimerHandle as TimerHandle
    from pyuring.transport import (
        BaseProtocol as BaseProtocol,
        BufferedProtocol as BufferedProtocol,
        Protocol as Protocol,
        Transport as Transport,
        TransportSocket as TransportSocket,
    )
    from pyuring.worker import Worker as Worker, current_worker as current_worker
    from pyuring.wsgi import Wsgi as Wsgi

# Module -> the names that it gives. Each name stands in the block above too, for type checkers.
_PUBLIC = {
    "buffers": ("BufferGroup",),
    "capability": ("CapabilityProfile", "Tier", "probe"),
    "config": ("EngineConfig", "ExceptionHook"),
    "constants": (
        "AcceptFlags",
        "CancelFlags",
        "CqeFlags",
        "FILE_INDEX_ALLOC",
        "Features",
        "NOTIF_USAGE_ZC_COPIED",
        "Op",
        "PollFlags",
        "RecvSendFlags",
        "SetupFlags",
        "SqeFlags",
        "TimeoutFlags",
    ),
    "engine": ("Engine",),
    "headers": ("Headers", "ResponseHeaders"),
    "http": ("Http", "serve"),
    "http_config": ("AccessLog", "HttpConfig"),
    "ladder": ("Ladder", "LadderStep", "descend"),
    "metrics": ("EngineMetrics",),
    "request": ("Query", "Request"),
    "response": ("Response",),
    "ring": ("Batch", "Cqe", "Message", "Ring", "Sqe", "pack_address", "unpack_address"),
    "tiers": (
        "BaseTier",
        "EpollTier",
        "HighTier",
        "MidTier",
        "OptionalTier",
        "TierDecisions",
        "TierStrategy",
        "decisions",
        "lower_tiers",
        "select_tier",
        "strategy_of",
    ),
    "static": ("StaticFiles",),
    "timers": ("Handle", "TimerHandle"),
    "transport": ("BaseProtocol", "BufferedProtocol", "Protocol", "Transport", "TransportSocket"),
    "worker": ("Worker", "current_worker"),
    "wsgi": ("Wsgi",),
    "errors": (
        "BufferGroupError",
        "BufferInUseError",
        "BufferNotHeldError",
        "ClientDisconnectedError",
        "EngineClosedError",
        "ForkedError",
        "HttpError",
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
