"""WSGI applications on a fake core: asked as native code asks, on the worker's thread or a pool's.

It owns no test. `Served` has a gateway and a worker whose thread is the test's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

from fake_core import FakeRequest, FakeWorker

from pyuring.wsgi import Wsgi

TEXT = [("Content-Type", "text/plain")]
Application = Callable[..., Iterable[bytes]]


class Request(FakeRequest):  # type: ignore[misc]
    """A request over the fake core, with what native code puts into an environ."""

    def __init__(self, method: str = "GET", body: bytes | None = b"", **options: Any) -> None:
        self.environ: dict[str, str] = options.pop("environ", {})
        super().__init__(method, body=body, **options)

    def _environ(self, environ: dict[str, Any]) -> None:
        peer = self._peer()
        environ.update(
            REQUEST_METHOD=self.method,
            PATH_INFO="/",
            QUERY_STRING="",
            SERVER_PROTOCOL="HTTP/1.1",
            REMOTE_ADDR=peer[0] if peer is not None else "",
        )
        if peer is not None:
            environ["REMOTE_PORT"] = str(peer[1])
        if self._body:
            environ["CONTENT_LENGTH"] = str(len(self._body))
        environ.update(self.environ)

    def _reply(self, status: Any, fields: Any, body: bytes) -> None:
        """Check Content-Length as native code does."""
        told = [int(value) for name, value in fields if name.lower() == "content-length"]
        bodiless = self.method == "HEAD" or str(status)[:3] in ("204", "304")
        if told and told[0] != len(body) and not (bodiless and not body):
            raise ValueError(f"Content-Length says {told[0]} bytes, the body has {len(body)}")
        super()._reply(status, fields, b"" if bodiless else body)

    def reply(self) -> tuple[Any, Any, bytes]:
        """Return the reply, which must be complete."""
        assert (self.stage, self.aborted) == ("ended", False)
        return self.status, self.sent_fields, self.content


class Served:
    """An application on one worker, asked as native code asks."""

    def __init__(self, app: Application, valid: bool = True, **config: Any) -> None:
        self.worker = FakeWorker()
        self.worker._listeners = config.pop("listeners", ())  # type: ignore[attr-defined]
        wsgi = Wsgi(validator(app) if valid else app, **config)
        self.gateway: Any = wsgi.for_worker(self.worker)  # type: ignore[arg-type]

    def request(self, *arguments: Any, **options: Any) -> Request:
        """Return a request to this application."""
        request = Request(*arguments, worker=self.worker, **options)
        request._config = self.gateway.config
        return request

    def ask(self, *arguments: Any, **options: Any) -> Request:
        """Have a request handled on the worker's thread, as native code does, and return it."""
        request = self.request(*arguments, **options)
        try:
            result = self.gateway.handler(request)
            if type(result) is tuple and len(result) == 3:
                request._reply(*result)
            else:
                self.gateway.reply(request, result)
        except Exception as error:
            self.gateway.failed(request, error)
        self.worker.run()
        return request

    def ask_on_pool(self, *arguments: Any, **options: Any) -> Request:
        """Have a request handled on a thread of the pool, and return it."""
        request = self.request(*arguments, **options)
        self.gateway.start(request)
        self.worker.run(until=lambda: request.stage == "ended")
        return request

    @property
    def reported(self) -> list[BaseException]:
        """What the exception hook was told."""
        return [exc for exc, _ in self.worker.exceptions]


def handle(app: Application, *arguments: Any, valid: bool = True) -> Any:
    """Return what the handler of `app` returns to native code."""
    return Served(app, valid).gateway.handler(Request(*arguments))


class Blocks:
    """An iterable that counts its close()."""

    def __init__(self, blocks: Iterable[Any], fails: BaseException | None = None) -> None:
        self.blocks = iter(blocks)
        self.closed = 0
        self.fails = fails

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self.blocks)

    def close(self) -> None:
        self.closed += 1
        if self.fails is not None:
            raise self.fails


def answering(result: Any, fields: list[tuple[str, str]] = TEXT) -> Application:
    """Return an application that answers 200 with `result`."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", list(fields))
        return result

    return app
