"""Say hello over HTTP: `pyuring serve examples.hello:app`, or `python examples/hello.py`."""

from __future__ import annotations

from pyuring import Request, Response, serve


def app(request: Request) -> Response:
    name = request.query.get("name", "world")
    return Response.text(f"Hello, {name}!\n")


if __name__ == "__main__":
    serve(app, "127.0.0.1:8000")
