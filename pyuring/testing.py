"""For the tests of those who use pyuring: an engine on a free port, and what went wrong in it.

Owns nothing that outlives its `with` block. Never hides a handler's exception: it is raised
again at the end of the block.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pyuring.engine import Engine

if TYPE_CHECKING:
    from pyuring.addresses import AddressLike
    from pyuring.config import EngineConfig

__all__ = ["HandlerError", "serve"]


class HandlerError(AssertionError):
    """A handler raised during the block; the cause is the exception, `where` names the method."""

    def __init__(self, where: str, problem: BaseException) -> None:
        super().__init__(f"{where} raised {problem!r}")
        self.where = where
        self.__cause__ = problem


@contextlib.contextmanager
def serve(
    protocol_factory: Callable[[], Any],
    address: AddressLike = "127.0.0.1:0",
    config: EngineConfig | None = None,
    *,
    shutdown_timeout: float = 5.0,
    **overrides: Any,
) -> Iterator[Engine]:
    """Run an engine for the length of a `with` block; `engine.address` has the real port.

    The first exception of a handler is raised at the end as HandlerError, unless the
    configuration has an exception_hook of its own, or the block itself raises. Without a
    configuration connections that the test forgot to close do not linger.
    """
    if config is None:
        overrides.setdefault("linger_timeout", 0.1)
    problems: list[tuple[str, BaseException]] = []
    if "exception_hook" not in overrides and (config is None or config.exception_hook is None):
        overrides["exception_hook"] = lambda problem, where, _: problems.append((where, problem))
    engine = Engine(protocol_factory, address, config, **overrides)
    engine.start()
    try:
        yield engine
    finally:
        engine.shutdown(shutdown_timeout)
    if problems:
        raise HandlerError(*problems[0])
