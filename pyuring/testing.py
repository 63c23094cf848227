"""For the tests of those who use pyuring: an engine on a free port, and a request without one.

Owns nothing that outlives its `with` block. Never hides a handler's exception: it is raised
again at the end of the block.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from pyuring import _native
from pyuring.engine import Engine
from pyuring.http_config import HttpConfig
from pyuring.request import Request

if TYPE_CHECKING:
    from pyuring.addresses import AddressLike
    from pyuring.config import EngineConfig

__all__ = ["HandlerError", "request", "serve"]


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


def request(
    method: str = "GET",
    target: str = "/",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    body: bytes | str = b"",
    *,
    peer: tuple[str, int] | None = ("127.0.0.1", 50000),
    config: HttpConfig | None = None,
) -> Request:
    """Return a request as a handler gets it, for calling the handler: no socket, no engine.

    It is the real type, and its head has been through the real parser: ValueError, with the status,
    for what a server would refuse. Host and Content-Length are added where they are missing; `peer`
    None stands for a Unix socket. `config` is the application's: limits of bodies, who is trusted.
    """
    content = body.encode() if isinstance(body, str) else bytes(body)
    fields = list(headers.items() if isinstance(headers, Mapping) else headers)
    names = {name.lower() for name, _ in fields}
    if "host" not in names:
        fields.insert(0, ("Host", "testserver"))
    if content and not names & {"content-length", "transfer-encoding"}:
        fields.append(("Content-Length", str(len(content))))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    if any(char in line for line in lines for char in "\r\n"):
        raise ValueError("a CR or LF within the head")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    config = HttpConfig() if config is None else config
    # As Http has one of its own, with its configuration.
    members = {"__slots__": (), "_config": config, "_peer": lambda self: peer}
    kind = type("Request", (Request,), {"__module__": Request.__module__, **members})
    limits = _native.http_config(config.native_settings())
    made = cast("Request", _native.pylib.pyuring_request_alone(kind, limits, head, content))
    if made.content_length not in (None, len(content)):
        raise ValueError(f"Content-Length is not {len(content)}, as long as the body is")
    return made
