"""Serve a directory, and an upload counter beside it: `python examples/static_site.py DIRECTORY`.

`pyuring serve examples.static_site:app` takes the directory from the variable SITE.
"""

from __future__ import annotations

import os
import sys

from pyuring import Http, Request, Response, StaticFiles, serve


def count(request: Request) -> Response:
    """Read an upload of any size in constant memory, and say how long it was."""
    if request.method != "POST":
        return Response("send me something\n", 405, {"Allow": "POST"})
    length = 0
    while block := request.stream.read(64 * 1024):
        length += len(block)
    return Response.json({"bytes": length})


def make(directory: str) -> Http:
    site = StaticFiles(directory, cache_control="max-age=60")
    return Http(count, mounts={"/": site, "/count": count})


app = make(os.environ.get("SITE", "."))

if __name__ == "__main__":
    serve(make(sys.argv[1] if len(sys.argv) > 1 else "."), "127.0.0.1:8000")
