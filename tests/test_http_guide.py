"""What docs/http.md shows runs as it stands, and `serve` blocks until Ctrl-C."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

import pyuring
from pyuring import Http, HttpError, Request, Response, StaticFiles
from pyuring.testing import HandlerError, serve

ROOT = Path(__file__).resolve().parent.parent
GUIDE = (ROOT / "docs/http.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", GUIDE, re.M | re.S)


def block(with_text: str) -> dict[str, Any]:
    """Run the only block of the guide that has `with_text`, and return its names."""
    (text,) = (each for each in BLOCKS if with_text in each)
    names: dict[str, Any] = {
        "HttpError": HttpError, "Response": Response, "handler": lambda request: b"",
        "Http": Http, "StaticFiles": StaticFiles, "index": lambda request: b"index",
        "login": lambda request: b"login",
    }  # fmt: skip
    exec(re.sub(r"^serve\(.*$", "", text, flags=re.M), names)
    return names


def ask(handler: Callable[[Request], Any], method: str, target: str, body: Any = None) -> Any:
    with serve(Http(handler)) as engine:
        connection = HTTPConnection(engine.address, timeout=20)
        connection.request(method, target, body)
        reply = connection.getresponse()
        text = reply.read()
        connection.close()
    return reply.status, text


def test_every_block_is_python() -> None:
    assert len(BLOCKS) > 10
    for text in BLOCKS:
        compile(text, "docs/http.md", "exec")


def test_the_first_block_greets() -> None:
    app = block("Hello, {name}!\\n")["app"]
    assert ask(app, "GET", "/?name=you") == (200, b"Hello, you!\n")


def test_an_upload_is_digested() -> None:
    import hashlib

    data = bytes(range(256)) * 8192
    status, text = ask(block("sha256")["digest"], "POST", "/", data)
    assert (status, text.decode()) == (200, hashlib.sha256(data).hexdigest())


def test_pages_for_errors_and_routes() -> None:
    routes = block("ROUTES")["app"]
    assert ask(routes, "GET", "/") == (200, b"index")
    assert ask(routes, "POST", "/login", b"") == (200, b"login")
    pages = block("with_pages")["with_pages"](routes)
    assert ask(pages, "GET", "/nothing") == (404, b"<h1>404</h1>")


def test_an_exception_is_raised_at_the_end_of_a_test() -> None:
    def broken(request: Request) -> None:
        raise KeyError("oops")

    with pytest.raises(HandlerError, match="handler raised KeyError"):
        ask(broken, "GET", "/")


def test_the_tests_that_are_shown_pass() -> None:
    app = block("Hello, {name}!\\n")["app"]
    for with_text in ("test_hello_alone", "HTTPConnection(engine.address)"):
        shown = block(with_text)
        shown["app"] = app
        ran = [shown[name]() for name in list(shown) if name.startswith("test_")]
        assert ran


SERVE = """
import signal, pyuring
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
pyuring.serve(lambda request: "hi", "127.0.0.1:0", workers=2, threads=1)
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_says_where_it_listens_and_blocks_until_a_signal(number: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("pyuring: listening on 127.0.0.1:")
        connection = HTTPConnection(line.split()[-1], timeout=20)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"hi"
        process.send_signal(number)
        assert process.stdout.read() == "ended\n"
        assert process.wait(20) == 0
        connection.close()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def test_a_workers_threads_end_with_it() -> None:
    before = set(threading.enumerate())
    with serve(Http(lambda request: "hi", threads=2)) as engine:
        connection = HTTPConnection(engine.address, timeout=20)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"hi"
        connection.close()
        threads = [t for t in set(threading.enumerate()) - before if "handler" in t.name]
        assert len(threads) == 1
    threads[0].join(10)
    assert not threads[0].is_alive()


def test_serve_tells_wrong_options_apart() -> None:
    with pytest.raises(TypeError, match="own configuration"):
        pyuring.serve(Http(print), threads=2)
    with pytest.raises(TypeError, match="nonsense"):
        pyuring.serve(print, nonsense=2)
    with pytest.raises(TypeError, match="not a handler"):
        pyuring.serve(1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="config: "):
        Http(print, {})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="given to Engine"):
        Http(print)()


def test_a_handler_may_return_a_new_thing_each_time() -> None:
    def app(request: Request) -> Any:
        return [b"bytes", "str", Response("response"), (b"pa", "rts")][int(request.path[1:])]

    for number, text in enumerate((b"bytes", b"str", b"response", b"parts")):
        assert ask(app, "GET", f"/{number}") == (200, text)
