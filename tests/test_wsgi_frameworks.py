"""Real frameworks on real sockets: the same site in each, asked everything a browser asks.

The sites are in wsgi_apps/. Each test runs over kept-alive connections of http.client, with the
application on the worker's own thread and on a pool's.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peers import PATIENCE
from wsgi_apps.content import BLOCKS, LARGE, digest

from pyuring import Wsgi
from pyuring.testing import serve

FRAMEWORKS = ("flask", "django", "bottle", "falcon")
FORM = "application/x-www-form-urlencoded"

Answer = tuple[int, http.client.HTTPMessage, bytes]


class Client:
    """One connection, kept as long as the server keeps it; notes whether it did."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self.connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
        self.connection.connect()
        self.socket = self.connection.sock

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Send a request and return status, fields and body."""
        self.connection.request(method, path, body, headers or {})
        reply = self.connection.getresponse()
        return reply.status, reply.headers, reply.read()

    @property
    def kept(self) -> bool:
        """Whether everything so far went over one connection, which is still open."""
        return self.connection.sock is self.socket is not None


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("site") / "file.bin"
    path.write_bytes(os.urandom(3 * 1024 * 1024 + 17))
    return path


@pytest.fixture(scope="module", params=FRAMEWORKS)
def site(request: pytest.FixtureRequest, file: Path) -> Any:
    name = request.param
    pytest.importorskip(name, reason=f"the package {name} is not installed")
    return importlib.import_module(f"wsgi_apps.{name}_app").make_app(file)


@pytest.fixture(scope="module", params=[0, 2], ids=["inline", "threads"])
def address(request: pytest.FixtureRequest, site: Any) -> Iterator[str]:
    with serve(Wsgi(site, threads=request.param)) as engine:
        yield engine.address


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    client = Client(address)
    with contextlib.closing(client.connection):
        yield client


def test_a_query_is_decoded(client: Client) -> None:
    status, fields, body = client.ask("GET", "/query?a=1&b=%C3%BC+x")
    assert status == 200
    assert fields["Content-Type"].startswith("application/json")
    assert int(fields["Content-Length"]) == len(body)
    assert json.loads(body) == {"args": {"a": "1", "b": "ü x"}, "path": "/query"}
    assert client.kept


def test_a_form_is_read(client: Client) -> None:
    for _ in range(3):
        answer = client.ask("POST", "/form", "a=1&b=%C3%BC+x", {"Content-Type": FORM})
        assert answer[0] == 200
        assert json.loads(answer[2]) == {"a": "1", "b": "ü x"}
    assert client.kept


def test_json_comes_back(client: Client) -> None:
    value = {"list": [1, 2.5, None], "text": "ü" * 1000}
    body = json.dumps(value)
    answer = client.ask("POST", "/json", body, {"Content-Type": "application/json"})
    assert answer[0] == 200
    assert json.loads(answer[2]) == value
    assert client.kept


def multipart(content: bytes) -> tuple[bytes, str]:
    """Return a form with a field and a file, and its content type."""
    mark = "----boundary-5f3d"
    head = (
        f"--{mark}\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nwith a file\r\n"
        f"--{mark}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"up.bin\"\r\n"
        "Content-Type: application/octet-stream\r\n\r\n"
    )  # fmt: skip
    return (
        head.encode() + content + f"\r\n--{mark}--\r\n".encode(),
        f"multipart/form-data; boundary={mark}",
    )


@pytest.mark.parametrize("size", [1000, 5 * 1024 * 1024], ids=["small", "large"])
def test_a_file_is_uploaded(client: Client, size: int) -> None:
    content = os.urandom(size)
    body, kind = multipart(content)
    answer = client.ask("POST", "/upload", body, {"Content-Type": kind})
    assert answer[0] == 200
    assert json.loads(answer[2]) == {
        "name": "up.bin",
        "digest": digest(content),
        "note": "with a file",
    }
    assert client.ask("GET", "/query")[0] == 200
    assert client.kept


def test_a_reply_is_streamed(client: Client) -> None:
    status, fields, body = client.ask("GET", "/stream")
    assert (status, body) == (200, b"".join(BLOCKS))
    assert fields["Transfer-Encoding"] == "chunked"
    assert client.kept


def test_a_large_reply_comes_whole(client: Client) -> None:
    status, fields, body = client.ask("GET", "/large")
    assert (status, fields["Content-Length"], body == LARGE) == (200, str(len(LARGE)), True)
    assert client.kept


def test_cookies_go_both_ways(client: Client) -> None:
    _, fields, body = client.ask("GET", "/cookie")
    assert body == b"none"
    cookies = [value.partition(";")[0] for value in fields.get_all("Set-Cookie") or []]
    assert sorted(cookies) == ["a=1", "b=2"]
    assert client.ask("GET", "/cookie", None, {"Cookie": "; ".join(cookies)})[2] == b"1"
    assert client.kept


def test_a_redirect_says_where_to(client: Client) -> None:
    status, fields, _ = client.ask("GET", "/redirect")
    assert status in (302, 303)
    assert fields["Location"].endswith("/query")
    assert client.kept


def test_a_page_that_is_not_there_is_a_404(client: Client) -> None:
    assert client.ask("GET", "/missing")[0] == 404
    assert client.kept


def test_a_view_that_raises_is_a_500(client: Client) -> None:
    assert client.ask("GET", "/error")[0] == 500
    assert client.ask("GET", "/query")[0] == 200
    assert client.kept


def test_a_reply_without_content(client: Client) -> None:
    status, fields, body = client.ask("GET", "/nothing")
    assert (status, body) == (204, b"")
    assert "Transfer-Encoding" not in fields
    assert "Content-Length" not in fields
    assert client.kept


@pytest.mark.parametrize("path", ["/query", "/stream", "/large", "/file"])
def test_head_sends_no_body(client: Client, path: str, request: pytest.FixtureRequest) -> None:
    status, _, body = client.ask("HEAD", path)
    assert (status, body) == (200, b"")
    assert client.ask("GET", "/query")[0] == 200
    assert client.kept


def test_a_file_is_sent(client: Client, file: Path) -> None:
    for _ in range(2):
        status, _, body = client.ask("GET", "/file")
        assert status == 200
        assert body == file.read_bytes()
    assert client.kept


def test_a_url_names_the_host(client: Client, address: str) -> None:
    assert client.ask("GET", "/scheme")[2].decode() == f"http://{address}/scheme"


def test_a_form_in_chunks_is_read(file: Path) -> None:
    """Of the four only Werkzeug asks for wsgi.input_terminated; the others need a length."""
    pytest.importorskip("flask", reason="the package flask is not installed")
    from wsgi_apps.flask_app import make_app

    with serve(Wsgi(make_app(file))) as engine:
        client = Client(engine.address)
        with contextlib.closing(client.connection):
            for _ in range(2):
                pieces = iter([b"a=1&", b"b=2"])
                answer = client.ask("POST", "/form", pieces, {"Content-Type": FORM})
                assert json.loads(answer[2]) == {"a": "1", "b": "2"}
            assert client.kept
