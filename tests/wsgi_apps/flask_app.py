"""The site in Flask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flask

from wsgi_apps.content import BLOCKS, LARGE, BrokenError, digest


def make_app(file: Path) -> Any:
    app = flask.Flask("site")
    request = flask.request

    @app.get("/query")
    def query() -> Any:
        return {"args": request.args.to_dict(), "path": request.path}

    @app.post("/form")
    def form() -> Any:
        return request.form.to_dict()

    @app.post("/json")
    def json() -> Any:
        return flask.jsonify(request.get_json())

    @app.post("/upload")
    def upload() -> Any:
        given = request.files["file"]
        return {"name": given.filename, "digest": digest(given.read()), **request.form.to_dict()}

    @app.get("/stream")
    def stream() -> Any:
        return flask.Response((block for block in BLOCKS), mimetype="text/plain")

    @app.get("/large")
    def large() -> Any:
        return flask.Response(LARGE, mimetype="application/octet-stream")

    @app.get("/cookie")
    def cookie() -> Any:
        reply = flask.make_response(request.cookies.get("a", "none"))
        reply.set_cookie("a", "1")
        reply.set_cookie("b", "2")
        return reply

    @app.get("/redirect")
    def redirect() -> Any:
        return flask.redirect("/query")

    @app.get("/nothing")
    def nothing() -> Any:
        return "", 204

    @app.get("/error")
    def error() -> Any:
        raise BrokenError

    @app.get("/file")
    def send() -> Any:
        return flask.send_file(file, mimetype="application/octet-stream")

    @app.get("/scheme")
    def scheme() -> Any:
        return request.url

    return app
