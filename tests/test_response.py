"""Responses: what is put in comes out, and what would break a head is refused where it is set."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from pyuring import Response


def type_of(response: Response) -> str | None:
    return response.headers.get("content-type")


def test_bodies_have_their_types() -> None:
    assert type_of(Response("x")) == type_of(Response.text("x")) == "text/plain; charset=utf-8"
    assert type_of(Response(b"x")) == type_of(Response([b"x"])) == "application/octet-stream"
    assert type_of(Response.html("x")) == "text/html; charset=utf-8"
    assert type_of(Response.json([])) == "application/json"
    assert type_of(Response("x", content_type="a/b")) == "a/b"
    assert type_of(Response("x", headers={"content-TYPE": "a/b"})) == "a/b"
    both = Response("x", headers={"content-TYPE": "a/b"}, content_type="c/d")
    assert both._fields == [("Content-Type", "c/d")]
    assert type_of(Response.file("/x.bin")) is None  # its name says, when it is sent


def test_what_native_code_reads_is_bytes() -> None:
    assert Response("ü")._body == "ü".encode()
    assert Response(bytearray(b"x"))._body == Response(memoryview(b"x"))._body == b"x"
    response = Response(b"x")
    response.body = "ü"
    assert response._body == response.body == "ü".encode()
    assert Response.json({"a": "ü", "b": [1, None]})._body == '{"a":"ü","b":[1,null]}'.encode()


@pytest.mark.parametrize("data", [float("nan"), [float("inf")], b"bytes", {1j: 2}])
def test_what_has_no_form_in_json_is_refused(data: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Response.json(data)


@pytest.mark.parametrize("body", [1, None, {"a": 1}, object()])
def test_what_is_no_body_is_refused(body: Any) -> None:
    with pytest.raises(TypeError, match="a body cannot be"):
        Response(body)


@pytest.mark.parametrize("status", [200, 599, "404", "404 Not Found", "299 Grüezi"])
def test_statuses(status: int | str) -> None:
    response = Response(b"", status)
    assert response.status == status
    assert response.status_code == int(str(status)[:3])


@pytest.mark.parametrize(
    "status", [100, 199, 600, -1, "", "2", "20 OK", "2000", "abc", "²00", "200 a\r\nb", "200 a\0"]
)
def test_what_is_no_status_is_refused(status: int | str) -> None:
    with pytest.raises(ValueError, match="status"):
        Response(b"", status)


BAD_FIELDS = [
    ("X", "a\r\nSet-Cookie: b"),
    ("X", "a\nb"),
    ("X", "a\rb"),
    ("X", "a\0b"),
    ("X", "a\x7fb"),
    ("X", "a\x1bb"),
    ("X", "€"),
    ("", "a"),
    ("X Y", "a"),
    ("X:", "a"),
    ("X\r\nY", "a"),
    ("Ü", "a"),
]
SETTERS: list[Callable[[str, str], Any]] = [
    lambda name, value: Response(headers={name: value}),
    lambda name, value: Response(headers=[(name, value)]),
    lambda name, value: Response().headers.__setitem__(name, value),
    lambda name, value: Response().headers.add(name, value),
    lambda name, value: Response().headers.setdefault(name, value),
    lambda name, value: Response().headers.update({name: value}),
]


@pytest.mark.parametrize("put", SETTERS)
@pytest.mark.parametrize(("name", "value"), BAD_FIELDS)
def test_a_field_that_would_be_two_is_refused(name: str, value: str, put: Any) -> None:
    with pytest.raises(ValueError, match=r"field's name|control characters|latin-1"):
        put(name, value)


def test_a_field_is_two_strings() -> None:
    with pytest.raises(TypeError, match="two strings"):
        Response(headers={"X": 1})  # type: ignore[dict-item]
    Response(headers={"X": "tab\tand ü"})


def test_headers_change_the_reply() -> None:
    response = Response(b"", headers=[("A", "1"), ("B", "2"), ("a", "3")], content_type="c/d")
    headers = response.headers
    assert headers["a"] == "1"
    assert headers.get_all("A") == ["1", "3"]
    headers["a"] = "4"
    assert response._fields == [("a", "4"), ("B", "2"), ("Content-Type", "c/d")]
    headers.add("b", "5")
    assert headers.get_all("B") == ["2", "5"]
    assert list(headers) == ["a", "B", "Content-Type"]
    assert len(headers) == 3
    del headers["b"]
    assert "B" not in headers
    with pytest.raises(KeyError):
        del headers["b"]
    with pytest.raises(KeyError):
        headers["b"]


def test_redirects() -> None:
    response = Response.redirect("/grüezi wohl?a=b%20c#d", 308)
    assert response.status == 308
    assert response.headers["location"] == "/gr%C3%BCezi%20wohl?a=b%20c#d"
    assert Response.redirect("//x\r\ny").headers["location"] == "//x%0D%0Ay"
    with pytest.raises(ValueError, match="redirects nobody"):
        Response.redirect("/", 200)


def cookie(*args: Any, **options: Any) -> str:
    response = Response()
    response.set_cookie(*args, **options)
    return response.headers["set-cookie"]


def test_cookies() -> None:
    assert cookie("a", "b") == "a=b; Path=/; SameSite=Lax"
    when = datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    full = cookie(
        "a", "b c", max_age=5, expires=when, path="/x", domain="d.example",
        secure=True, httponly=True, samesite="None",
    )  # fmt: skip
    assert set(full.split("; ")) == {
        'a="b c"', "Max-Age=5", "expires=Wed, 02 Jan 2030 02:04:05 GMT", "Path=/x",
        "Domain=d.example", "Secure", "HttpOnly", "SameSite=None",
    }  # fmt: skip
    assert cookie("a", "b", path=None, samesite=None) == "a=b"
    with pytest.raises(ValueError, match="control characters"):
        cookie("a", "b\r\nX: y")


def test_several_cookies_are_several_fields_and_one_can_be_deleted() -> None:
    response = Response()
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    response.delete_cookie("c", path="/x")
    assert len(response.headers.get_all("set-cookie")) == 3
    gone = response.headers.get_all("set-cookie")[2]
    assert "Max-Age=0" in gone
    assert "expires=Thu, 01 Jan 1970 00:00:00 GMT" in gone
    assert "Path=/x" in gone


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a b", {}),
        ("", {}),
        ("a;b", {}),
        ("ü", {}),
        ("a\r\nb", {}),
        ("path", {}),
        ("a", {"path": "/; Domain=x"}),
        ("a", {"domain": "x\r\ny"}),
        ("a", {"samesite": "Lax; Secure"}),
    ],
)
def test_what_cannot_be_in_a_cookie_is_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cookie"):
        Response().set_cookie(name, "x", **options)


def test_validators() -> None:
    response = Response()
    response.set_etag("v1")
    response.set_last_modified(0)
    assert response.headers["etag"] == '"v1"'
    assert response.headers["last-modified"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    response.set_etag("v2", weak=True)
    response.set_last_modified(datetime(2030, 1, 2))
    assert response.headers.get_all("etag") == ['W/"v2"']
    assert response.headers["last-modified"] == "Wed, 02 Jan 2030 00:00:00 GMT"
    for bad in ("", 'a"b', "a b", "a\r\n", "ü"):
        with pytest.raises(ValueError, match="entity tag"):
            response.set_etag(bad)


def test_files_are_named_and_described() -> None:
    response = Response.file("/x", download="report.pdf", cache_control="no-store")
    assert response._body == Path("/x")
    assert response.headers["content-disposition"] == 'attachment; filename="report.pdf"'
    assert response.headers["cache-control"] == "no-store"
    named = Response.file("/x", download='Grüße "1"\r\n.txt').headers["content-disposition"]
    assert named == (
        'attachment; filename="Gr__e _1___.txt"; '
        "filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%221%22%0D%0A.txt"
    )


def test_a_response_tells_what_it_is() -> None:
    assert repr(Response(b"abc", 404)) == "<Response 404 3 bytes>"
    assert repr(Response(iter([]))) == "<Response 200 list_iterator>"
