"""The site in Falcon."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import falcon

from wsgi_apps.content import BLOCKS, LARGE, BrokenError, digest

View = Callable[[falcon.Request, falcon.Response], None]


class Get:
    """A resource of one function."""

    def __init__(self, view: View, head: View | None = None) -> None:
        self.on_get = lambda request, response: view(request, response)
        self.on_head = lambda request, response: (head or view)(request, response)


class Post:
    def __init__(self, view: View) -> None:
        self.on_post = lambda request, response: view(request, response)


def query(request: falcon.Request, response: falcon.Response) -> None:
    response.media = {"args": request.params, "path": request.path}


def echo(request: falcon.Request, response: falcon.Response) -> None:
    response.media = request.get_media()


def upload(request: falcon.Request, response: falcon.Response) -> None:
    answer: dict[str, Any] = {}
    for part in request.get_media():
        if part.filename:
            answer.update(name=part.filename, digest=digest(part.stream.read()))
        else:
            answer[part.name] = part.text
    response.media = answer


def stream(request: falcon.Request, response: falcon.Response) -> None:
    response.content_type = "text/plain"
    response.stream = iter(BLOCKS)


def large(request: falcon.Request, response: falcon.Response) -> None:
    response.content_type = "application/octet-stream"
    response.data = LARGE


def cookie(request: falcon.Request, response: falcon.Response) -> None:
    response.content_type = "text/plain"
    response.text = request.cookies.get("a", "none")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")


def redirect(request: falcon.Request, response: falcon.Response) -> None:
    raise falcon.HTTPFound("/query")


def nothing(request: falcon.Request, response: falcon.Response) -> None:
    response.status = 204


def error(request: falcon.Request, response: falcon.Response) -> None:
    raise BrokenError


def scheme(request: falcon.Request, response: falcon.Response) -> None:
    response.content_type = "text/plain"
    response.text = request.uri


def make_app(file: Path) -> Any:
    def send(request: falcon.Request, response: falcon.Response) -> None:
        response.content_type = "application/octet-stream"
        response.set_stream(file.open("rb"), file.stat().st_size)

    def send_head(request: falcon.Request, response: falcon.Response) -> None:
        response.content_length = file.stat().st_size  # Falcon would leave the stream open

    app = falcon.App()
    for view in (query, stream, large, cookie, redirect, nothing, error, scheme):
        app.add_route(f"/{view.__name__}", Get(view))
    app.add_route("/file", Get(send, send_head))
    app.add_route("/form", Post(echo))
    app.add_route("/json", Post(echo))
    app.add_route("/upload", Post(upload))
    # Falcon answers 500 itself for what it does not know; the others let it out in debug mode.
    return app
