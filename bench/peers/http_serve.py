"""Starts one HTTP server that has no command of its own: `python http_serve.py SERVER PORT APP`.

APP is a name of http_apps. Each is started in the fastest way its documentation names, in one
process, without an access log.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import http_apps
import http_raw

HOST = "127.0.0.1"
LARGE = 100 * 1024 * 1024


def fastwsgi(port: int, app: str) -> None:
    """Log level 0 is "no log"."""
    import fastwsgi

    fastwsgi.run(getattr(http_apps, app), HOST, port, loglevel=0)


def fastpysgi(port: int, app: str) -> None:
    """Like fastwsgi, whose successor it is; WSGI or ASGI by the application's kind.

    Its limit of 10 MB for a body is lifted for the upload.
    """
    import fastpysgi

    fastpysgi.server.max_content_length = 2 * LARGE
    fastpysgi.run(getattr(http_apps, app), HOST, port, loglevel=0)


def bjoern(port: int, app: str) -> None:
    """It has no settings."""
    import bjoern

    bjoern.run(getattr(http_apps, app), HOST, port)


def socketify(port: int, app: str) -> None:
    """Its own interface; sizes by a parameter."""
    from socketify import App

    server = App()

    def hello(response: Any, request: Any) -> None:
        response.write_header("Content-Type", http_apps.TEXT)
        response.end(http_apps.HELLO)

    def sized(response: Any, request: Any) -> None:
        response.write_header("Content-Type", http_apps.TEXT)
        response.end(http_apps.body_of(request.get_url()))

    async def counted(response: Any, request: Any) -> None:
        body = await response.get_data()
        response.write_header("Content-Type", http_apps.TEXT)
        response.end(str(len(body.getvalue())))

    server.get("/", hello)
    server.get("/bytes/:count", sized)
    server.post("/", counted)
    server.listen(port, lambda config: None)
    server.run()


def robyn(port: int, app: str) -> None:
    """Its own interface; one process and one worker are its defaults."""
    os.environ["ROBYN_BROWSER_OPEN"] = "0"
    from robyn import Headers, Request, Response, Robyn

    server = Robyn(__file__)

    @server.get("/")
    def hello(request: Request) -> Any:
        return http_apps.HELLO

    @server.get("/bytes/:count")
    def sized(request: Request) -> Any:
        body = http_apps.body_of(request.url.path)
        return Response(200, Headers({"Content-Type": http_apps.TEXT}), body)

    @server.post("/")
    def counted(request: Request) -> Any:
        return str(len(request.body))

    server.start(port=port, host=HOST)


def aiohttp(port: int, app: str) -> None:
    """On uvloop, with its C parser (checked), as its documentation advises for speed."""
    import uvloop
    from aiohttp import web
    from aiohttp.http_parser import HttpRequestParser

    assert HttpRequestParser.__module__ == "aiohttp._http_parser"

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=http_apps.HELLO)

    async def sized(request: web.Request) -> web.StreamResponse:
        if int(request.match_info["count"]) >= LARGE:
            return web.FileResponse(os.environ["BENCH_FILE"])
        body = http_apps.body_of(request.path)
        return web.Response(body=body, headers={"Content-Type": http_apps.TEXT})

    async def counted(request: web.Request) -> web.Response:
        count = 0
        async for piece in request.content.iter_any():
            count += len(piece)
        return web.Response(text=str(count))

    server = web.Application()
    server.router.add_get("/", hello)
    server.router.add_get("/bytes/{count}", sized)
    server.router.add_post("/", counted)
    web.run_app(
        server, host=HOST, port=port, access_log=None, print=None, loop=uvloop.new_event_loop()
    )


def raw_uvloop(port: int, app: str) -> None:
    """uvloop with a protocol that parses nothing."""
    import uvloop

    uvloop.run(_raw(port))


def raw_asyncio(port: int, app: str) -> None:
    """The same on asyncio's own loop."""
    asyncio.run(_raw(port))


async def _raw(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(http_raw.Hello, HOST, port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    name, number, application = sys.argv[1:]
    globals()[name.replace("-", "_")](int(number), application)
