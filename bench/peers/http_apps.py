"""The applications that every HTTP server of bench/http.py runs, once for each interface.

All answer `/` with the same thirteen bytes of text, `/bytes/N` with N bytes, and a POST with the
number of bytes that came. Nothing here opens a socket, and pyuring is imported by its handler only.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from typing import Any

HELLO = "Hello, world!"
HELLO_BYTES = HELLO.encode()
TEXT = "text/plain; charset=utf-8"
PIECE = 256 * 1024

Fields = list[tuple[str, str]]


@cache
def body_of(path: str) -> bytes:
    """The body for a GET of this path; the byte at place i is i modulo 251."""
    if not path.startswith("/bytes/"):
        return HELLO_BYTES
    count = int(path[7:])
    period = bytes(range(251))
    return (period * (count // 251 + 1))[:count]


def handler(request: Any) -> Any:
    """The smallest handler for pyuring, which answers a str as text."""
    return HELLO


def gc_handler(request: Any) -> Any:
    """Hello that leaves a cycle behind, so that Python's collector runs again and again.

    `/collections` says how often it has run so far, whole collections last.
    """
    garbage: list[Any] = []
    garbage.append(garbage)
    if request.path == "/collections":
        return " ".join(str(one["collections"]) for one in gc.get_stats())
    return HELLO


def bytes_handler(request: Any) -> Any:
    """Sizes and counting for pyuring's handler interface."""
    from pyuring.http import Response  # type: ignore[import-not-found,unused-ignore]

    if request.method == "POST":
        return str(len(request.body))
    return Response(body_of(request.path), content_type=TEXT)


def file_handler(request: Any) -> Any:
    """The large file for pyuring, which has the kernel send it."""
    from pyuring.http import Response  # type: ignore[import-not-found,unused-ignore]

    return Response.file(os.environ["BENCH_FILE"], content_type=TEXT)


def upload_handler(request: Any) -> Any:
    """Count a body that is too large to be held, piece by piece, for pyuring."""
    count = 0
    while piece := request.stream.read(PIECE):
        count += len(piece)
    return str(count)


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Hello for WSGI, as small as it can be."""
    start_response("200 OK", [("Content-Type", TEXT), ("Content-Length", "13")])
    return [HELLO_BYTES]


def wsgi_bytes(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Sizes and counting for WSGI."""
    if environ["REQUEST_METHOD"] == "POST":
        body = str(_count(environ)).encode()
    else:
        body = body_of(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", TEXT), ("Content-Length", str(len(body)))])
    return [body]


def wsgi_file(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    """The large file, in the server's own wrapper."""
    file = open(os.environ["BENCH_FILE"], "rb")  # noqa: SIM115  (the server closes it)
    size = os.fstat(file.fileno()).st_size
    start_response("200 OK", [("Content-Type", TEXT), ("Content-Length", str(size))])
    return environ["wsgi.file_wrapper"](file, PIECE)


def _count(environ: dict[str, Any]) -> int:
    """Read the body to its end; by its length, as not every server ends the input there."""
    left = int(environ.get("CONTENT_LENGTH") or 0)
    read, count = environ["wsgi.input"].read, 0
    while count < left and (piece := read(min(PIECE, left - count))):
        count += len(piece)
    return count


_ASGI_HELLO = [(b"content-type", TEXT.encode()), (b"content-length", b"13")]


async def asgi(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Hello, sizes and counting for ASGI."""
    if scope["type"] != "http":
        return
    if scope["method"] == "POST":
        count, more = 0, True
        while more:
            message = await receive()
            count += len(message.get("body", b""))
            more = message.get("more_body", False)
        body = str(count).encode()
    else:
        body = body_of(scope["path"])
    fields = _ASGI_HELLO
    if len(body) != len(HELLO_BYTES):
        fields = [_ASGI_HELLO[0], (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": body})


_RSGI_FIELDS = [("content-type", TEXT)]


async def rsgi(scope: Any, proto: Any) -> None:
    """Hello, sizes and counting for granian's own interface."""
    if scope.method == "POST":
        count = 0
        async for piece in proto:
            count += len(piece)
        body = str(count).encode()
    else:
        body = body_of(scope.path)
        if body is HELLO_BYTES:
            proto.response_str(200, _RSGI_FIELDS, HELLO)
            return
    proto.response_bytes(200, _RSGI_FIELDS, body)


def flask_application() -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    """The application of the mix: JSON of 1 KiB in and out, or 16 KiB out, a number in the path."""
    import flask

    app = flask.Flask("mix")
    pages = "x" * (16 * 1024 - 40)

    @app.post("/items/<int:number>")
    def item(number: int) -> Any:
        sent = flask.request.get_json()
        if number % 5 == 0:
            return {"number": number, "page": pages}
        return {"number": number, "name": sent["name"], "tags": sent["tags"], "text": sent["text"]}

    application: Callable[..., Iterable[bytes]] = app
    return application


def __getattr__(name: str) -> Any:
    """Make `mix`, the Flask application, when a server asks for it: others need no Flask."""
    if name != "mix":
        raise AttributeError(name)
    application = flask_application()
    globals()["mix"] = application
    return application
