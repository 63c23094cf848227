"""The site in Bottle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bottle

from wsgi_apps.content import BLOCKS, LARGE, BrokenError, digest


def make_app(file: Path) -> Any:
    app = bottle.Bottle()
    request, response = bottle.request, bottle.response

    @app.get("/query")
    def query() -> Any:
        return {"args": dict(request.query.decode()), "path": request.path}

    @app.post("/form")
    def form() -> Any:
        return dict(request.forms.decode())

    @app.post("/json")
    def json() -> Any:
        return request.json

    @app.post("/upload")
    def upload() -> Any:
        given = request.files["file"]
        whole = digest(given.file.read())
        fields = request.forms.decode()
        given.file.close()  # bottle leaves both to the collector, and 3.14 warns of that
        request.body.close()
        return {"name": given.raw_filename, "digest": whole, **fields}

    @app.get("/stream")
    def stream() -> Any:
        response.content_type = "text/plain"
        yield from BLOCKS

    @app.get("/large")
    def large() -> Any:
        response.content_type = "application/octet-stream"
        return LARGE

    @app.get("/cookie")
    def cookie() -> Any:
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return request.get_cookie("a", "none")

    @app.get("/redirect")
    def redirect() -> Any:
        bottle.redirect("/query")

    @app.get("/nothing")
    def nothing() -> Any:
        response.status = 204
        return ""

    @app.get("/error")
    def error() -> Any:
        raise BrokenError

    @app.get("/file")
    def send() -> Any:
        response.content_type = "application/octet-stream"
        return open(file, "rb")

    @app.get("/scheme")
    def scheme() -> Any:
        return request.url

    return app
