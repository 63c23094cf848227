"""The Flask application of the mix without any server: `http_app_alone.py SECONDS`.

Prints the CPU time of a request in microseconds: a prepared environ, the call, the reply's parts
joined. What a server's figure is above this is its own share.
"""

from __future__ import annotations

import io
import json
import sys
import time
from typing import Any

import http_apps

BODY = json.dumps({"name": "a name", "tags": ["one", "two", "three"], "text": "x" * 950}).encode()
FIELDS = {
    "HTTP_HOST": "127.0.0.1:8000",
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "HTTP_ACCEPT": "application/json",
    "HTTP_ACCEPT_LANGUAGE": "en-US,en;q=0.5",
    "HTTP_ACCEPT_ENCODING": "gzip, deflate, br, zstd",
    "HTTP_COOKIE": "session=8f14e45fceea167a5a36dedd4bea2543; theme=dark",
    "HTTP_CACHE_CONTROL": "no-cache",
    "CONTENT_TYPE": "application/json",
    "CONTENT_LENGTH": str(len(BODY)),
}


def environ(number: int) -> dict[str, Any]:
    """A whole environ, but for the input, which is new for every request."""
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": f"/items/{number}",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "40000",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **FIELDS,
    }


def start_response(status: str, fields: list[tuple[str, str]], exc_info: Any = None) -> None:
    """Only looks at the status."""
    assert status == "200 OK"


def one(app: Any, prepared: dict[str, Any]) -> int:
    """One request; the length of its reply."""
    parts = app({**prepared, "wsgi.input": io.BytesIO(BODY)}, start_response)
    body = b"".join(parts)
    close = getattr(parts, "close", None)
    if close is not None:
        close()
    return len(body)


def main() -> None:
    """Warm up, then call until the time is over."""
    app = http_apps.flask_application()
    ready = [environ(number) for number in range(1, 11)]
    for prepared in ready * 20:
        assert one(app, prepared) > 900
    calls, began, cpu = 0, time.monotonic(), time.process_time_ns()
    while time.monotonic() - began < float(sys.argv[1]):
        for prepared in ready:
            one(app, prepared)
        calls += len(ready)
    print((time.process_time_ns() - cpu) / calls / 1e3)


if __name__ == "__main__":
    main()
