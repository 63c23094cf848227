"""What a handler sees of a request, over a head that native code has checked."""

from __future__ import annotations

import io
from typing import Any

import pytest
from fake_core import FakeRequest, make_gateway

from pyuring import HttpConfig, HttpError, Request


def request(*fields: tuple[str, str], **options: Any) -> Any:
    return FakeRequest(fields=list(fields), **options)


def configured(**config: Any) -> Any:
    return type("Request", (FakeRequest,), {"_config": HttpConfig(**config)})


def status_of(call: Any) -> int:
    with pytest.raises(HttpError) as caught:
        call()
    return caught.value.status


def test_headers_have_no_case_and_keep_their_order() -> None:
    headers = request(("Host", "a"), ("X-Two", "1"), ("x-two", "2"), ("Accept", "*/*")).headers
    assert headers["host"] == headers["HOST"] == "a"
    assert headers["X-TWO"] == "1"
    assert headers.get_all("x-Two") == headers.getlist("X-two") == ["1", "2"]
    assert headers.get("nothing") is None
    assert headers.get_all("nothing") == []
    assert list(headers) == ["Host", "X-Two", "Accept"]
    assert dict(headers.items()) == {"Host": "a", "X-Two": "1", "Accept": "*/*"}
    assert len(headers) == 3
    assert "x-two" in headers
    assert 1 not in headers  # type: ignore[comparison-overlap]
    with pytest.raises(KeyError, match="Nothing"):
        headers["Nothing"]
    assert headers.fields[2] == ("x-two", "2")
    assert "X-Two" in repr(headers)


def test_queries_are_multi_maps() -> None:
    query = request(target="/?a=1&b=%C3%BC+x&a=2&empty=&flag").query
    assert query == {"a": "1", "b": "ü x", "empty": "", "flag": ""}
    assert query.get_all("a") == query.getlist("a") == ["1", "2"]
    assert query.fields[:2] == [("a", "1"), ("b", "ü x")]
    assert request(target="/").query == {}
    assert request(target="/?%zz=%ff").query == {"%zz": "�"}


def test_a_query_of_very_many_fields_is_400() -> None:
    assert len(request(target="/?" + "&".join(f"a{n}=" for n in range(1000))).query) == 1000
    assert status_of(lambda: request(target="/?" + "a=&" * 1001).query) == 400


def test_cookies_are_read_as_sent() -> None:
    cookies = request(
        ("Cookie", 'a=1; b="two"; a=3;c = x=y ; broken; =z'), ("cookie", "d=4")
    ).cookies
    assert cookies == {"a": "1", "b": "two", "c": "x=y", "d": "4"}
    assert request().cookies == {}


@pytest.mark.parametrize(
    ("target", "host", "url"),
    [
        ("/a%20b?c=d", "example.org:8000", "http://example.org:8000/a%20b?c=d"),
        ("/", "", "http:///"),
    ],
)
def test_urls_are_put_together(target: str, host: str, url: str) -> None:
    fields = [("Host", host)] if host else []
    assert request(*fields, target=target).url == url
    assert request(*fields, target=target).host == host


def test_a_target_in_absolute_form_names_the_host() -> None:
    asked = request(("Host", "other"), target="http://example.org:81/x?y")
    assert asked.host == "example.org:81"


def test_scheme_and_root_are_the_configurations() -> None:
    asked = configured(scheme="https", root_path="/app")(target="/x", fields=[("Host", "h")])
    assert asked.scheme == "https"
    assert asked.root_path == "/app"
    assert asked.url == "https://h/app/x"


def test_a_body_in_memory_is_bytes_text_and_a_file() -> None:
    asked = request(("Content-Type", 'text/plain; Charset="latin-1"'), body=b"\xfc\nx")
    assert asked.body == b"\xfc\nx"
    assert asked.text() == "ü\nx"
    assert asked.content_type == "text/plain"
    assert asked.stream is asked.stream
    assert isinstance(asked.stream, io.BytesIO)
    assert asked.stream.readlines() == [b"\xfc\n", b"x"]
    assert asked.stream.read() == b""
    assert asked.body == b"\xfc\nx"
    assert request(body="ü".encode()).text() == "ü"


@pytest.mark.parametrize("charset", ["utf-8", "no-such-charset", "ascii"])
def test_text_that_is_none_is_400(charset: str) -> None:
    asked = request(("Content-Type", f"text/plain; charset={charset}"), body=b"\xff")
    assert status_of(asked.text) == 400


def test_json_is_parsed_and_bad_json_is_400() -> None:
    assert request(body=b'{"a": [1, null]}').json() == {"a": [1, None]}
    for body in (b"", b"{", b"\xff", b"[" * 100_000, b"NaN", b"[-Infinity]"):
        assert status_of(request(body=body).json) == 400


def test_forms_are_multi_maps() -> None:
    kind = ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
    form = request(kind, body=b"a=1&a=2&b=%C3%BC").form()
    assert form == {"a": "1", "b": "ü"}
    assert form.get_all("a") == ["1", "2"]
    assert status_of(request(kind, body=b"a=\xff").form) == 400
    assert status_of(request(body=b"a=1").form) == 415
    assert status_of(request(("Content-Type", "multipart/form-data"), body=b"").form) == 415


def test_a_body_above_the_limit_is_413() -> None:
    small = configured(body_memory=5)
    assert small(body=b"12345").body == b"12345"
    assert status_of(lambda: small(body=b"123456").body) == 413
    assert small(body=b"123456").stream.read() == b"123456"  # as a stream it has none


def test_a_large_body_is_read_once_and_kept() -> None:
    asked = request(body=None)
    gateway = make_gateway(lambda _: b"")
    gateway._pool.submit = lambda *_: None  # type: ignore[method-assign]
    gateway.start(asked)
    gateway.body_data(asked, b"abc")
    gateway.body_end(asked)
    assert asked.body == b"abc"
    assert asked.body == b"abc"
    assert asked.json.__self__ is asked
    assert asked.stream.read() == b""


def test_a_large_body_above_the_limit_is_413() -> None:
    gateway = make_gateway(lambda _: b"")
    gateway._pool.submit = lambda *_: None  # type: ignore[method-assign]
    declared = configured(body_memory=5)(fields=[("Content-Length", "6")], body=None)
    gateway.start(declared)
    assert status_of(lambda: declared.body) == 413  # without waiting for it
    chunked = configured(body_memory=5)(body=None)
    gateway.start(chunked)
    gateway.body_data(chunked, b"123456")
    assert status_of(lambda: chunked.body) == 413


def test_a_body_that_nothing_waits_for_cannot_be_read() -> None:
    with pytest.raises(RuntimeError, match="nothing waits"):
        request(body=None).stream  # noqa: B018


def test_the_peer_is_the_client_where_nobody_is_trusted() -> None:
    asked = request(("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-Proto", "https"))
    assert asked.peer == ("127.0.0.1", 4711)
    assert asked.client == "127.0.0.1"
    assert asked.scheme == "http"
    assert request(peer=None).peer is None
    assert request(peer=None).client is None


def test_a_request_tells_what_it_is() -> None:
    assert repr(request(target="/a\x1b")) == "<Request GET '/a\\x1b'>"
    assert Request.__slots__ == ()


def test_an_http_error_is_an_error() -> None:
    for status in (200, 399, 600, "404"):
        with pytest.raises(ValueError, match="400 to 599"):
            HttpError(status)  # type: ignore[arg-type]
    assert str(HttpError(404)) == "404"
    assert str(HttpError(404, "gone fishing")) == "404 gone fishing"
