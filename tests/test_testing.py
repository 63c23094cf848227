"""A request for a unit test of a handler: the real type, the real parser, and no server."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest
from http_client import Client
from peers import TYPES_STAY

from pyuring import Http, HttpConfig, HttpError, Request, Response
from pyuring.testing import request, serve


def hello(request: Request) -> Any:
    if request.method == "POST":
        return Response.json({"got": request.json()}, status=201)
    return f"Hello, {request.query.get('name', 'nobody')}!"


def test_a_handler_is_called_with_it() -> None:
    assert hello(request("GET", "/?name=you")) == "Hello, you!"
    answer = hello(request("POST", "/", {"Content-Type": "application/json"}, '{"a": [1]}'))
    assert answer.status == 201
    with pytest.raises(HttpError) as caught:
        hello(request("POST", "/", body=b"{"))
    assert caught.value.status == 400


def test_it_says_what_a_served_one_says() -> None:
    """Every attribute, over HTTP and without."""
    names = [
        name
        for kind in (Request, Request.__base__)
        for name in vars(kind)
        if not name.startswith("_") and not callable(vars(kind)[name])
    ]
    assert {"path", "query", "cookies", "client", "url", "body", "content_length"} <= set(names)
    found: list[dict[str, Any]] = []

    def note(one: Request) -> str:
        values = {name: getattr(one, name) for name in names if name not in ("stream", "headers")}
        values |= {"stream": one.stream.read(), "headers": one.headers.fields}
        found.append({**values, "form": one.form(), "repr": repr(one), "text": one.text()})
        return ""

    sent = [
        ("Host", "there:81"),
        ("Cookie", 'a=1; b="2"'),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("X-Forwarded-For", "192.0.2.7"),
        ("Content-Length", "7"),
    ]
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent)
    with serve(Http(note)) as engine, Client(engine.address) as client:
        client.send(f"PUT /a%20b?q=%C3%BC&q=2 HTTP/1.1\r\n{lines}\r\nx=1&y=2".encode())
        assert client.reply("PUT").status == 200
        peer = client.sock.getsockname()
    note(request("PUT", "/a%20b?q=%C3%BC&q=2", sent, b"x=1&y=2", peer=peer))
    served, made = found
    assert made == served
    assert made["path"] == "/a b"


def test_host_and_length_are_added_where_they_are_missing() -> None:
    one = request("POST", "/", body="ü")
    assert one.header_list() == [("Host", "testserver"), ("Content-Length", "2")]
    assert (one.host, one.content_length, one.body) == ("testserver", 2, b"\xc3\xbc")
    assert one.client == "127.0.0.1"
    assert not one.is_disconnected
    chunked = request("POST", "/", {"host": "a", "Transfer-Encoding": "chunked"}, b"abc")
    assert (chunked.content_length, chunked.body) == (None, b"abc")
    assert request(peer=None).client is None


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"method": "G T"}, "would answer 400"),
        ({"target": "no-slash"}, "the request target has no form .*: the server would answer 400"),
        ({"headers": {"Host": "a b"}}, "Host is not host"),
        ({"headers": [("Host", "a"), ("Host", "b")]}, "more than one Host field"),
        ({"headers": {"X": "a\r\nY: b"}}, "a CR or LF within the head"),
        ({"headers": {"X": "a" * 20000}}, "a field line is too long: the server would answer 431"),
        ({"headers": {"Content-Length": "9"}, "body": b"abc"}, "Content-Length is not 3"),
        ({"method": ""}, "would answer 400"),
    ],
)
def test_what_a_server_would_refuse_is_refused(told: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        request(**told)


def test_the_configuration_is_the_applications() -> None:
    config = HttpConfig(body_memory=2, root_path="/app", scheme="https")
    one = request("POST", "/x", body=b"abc", config=config)
    assert one.url == "https://testserver/app/x"
    with pytest.raises(HttpError) as caught:
        _ = one.body
    assert caught.value.status == 413
    with pytest.raises(ValueError, match="414"):
        request(target="/" + "x" * 100, config=HttpConfig(request_line=64))


def test_it_outlives_what_it_was_made_of_and_any_thread_reads_it() -> None:
    made = [request("GET", f"/{number}", {"X": str(number)}) for number in range(200)]
    gc.collect()
    paths: list[str] = []
    kept = list(made)

    def read() -> None:
        paths.extend(one.path + one.headers["x"] for one in kept)
        kept.clear()

    reader = threading.Thread(target=read)
    reader.start()
    reader.join()
    assert paths == [f"/{number}{number}" for number in range(200)]
    kind = weakref.ref(type(made[0]))
    del made
    gc.collect()
    assert TYPES_STAY or kind() is None


def test_it_cannot_be_answered_behind_the_handlers_back() -> None:
    with pytest.raises(RuntimeError, match="already answered"):
        request()._reply(200, [], b"")
