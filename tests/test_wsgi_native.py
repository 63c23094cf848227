"""The native half of a WSGI call: what it takes by itself is checked no less than the rest.

What an application said before is taken without the checks of wsgi_headers.py, by type and by name;
each test says it twice, so that the second time is the one that might be waved through.
"""

from __future__ import annotations

import gc
import io
import weakref
from typing import Any

import pytest
from peers import TYPES_STAY
from wsgi_fakes import TEXT, Served

from pyuring import _native
from pyuring.wsgi_call import Call

native: Any = _native


class Text(str):
    """A string that is none of the plain ones."""


def twice(app: Any) -> list[Any]:
    """Ask an application two times; return the replies."""
    served = Served(app, valid=False)
    return [served.ask().reply() for _ in range(2)]


def said(*arguments: Any, **named: Any) -> Any:
    """Return what asks an application that says this twice and is refused the second time."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        start_response(*arguments, **named)
        return [b"not reached"]

    return app


@pytest.mark.parametrize("fields", [TEXT, [*TEXT, ("Content-Length", "5")], []])
def test_what_has_passed_is_replied_again(fields: list[tuple[str, str]]) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", fields)
        return [b"hello"]

    assert twice(app) == [("200 OK", fields, b"hello")] * 2


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        ("200 OK", tuple(TEXT)),
        ("200 OK", None),
        ("200 OK", [["Content-Type", "text/plain"]]),
        ("200 OK", [("Content-Type", "text/plain", "more")]),
        ("200 OK", [("Content-Type", b"text/plain")]),
        ("200 OK", [("Content-Type", None)]),
        ("200 OK", [(b"Content-Type", "text/plain")]),
        ("200 OK", [("Connection", "close")]),
        ("200 OK", [*TEXT, ("Content Type", "text/plain")]),
        (b"200 OK", TEXT),
        (200, TEXT),
        ([], TEXT),
        ("101 Switching Protocols", TEXT),
    ],
)
def test_f53_a_wrong_argument_is_refused_each_time(status: Any, fields: Any) -> None:
    refused = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with pytest.raises((TypeError, ValueError)) as caught:
            start_response(status, fields)
        refused.append(caught.value)
        start_response("200 OK", TEXT)
        return [b"ok"]

    twice(app)
    assert len(refused) == 2


def test_a_subclass_of_str_passes_the_long_way() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(Text("201 Created"), [(Text("X-Subclass"), Text("value"))])
        return [b"ok"]

    assert twice(app) == [("201 Created", [("X-Subclass", "value")], b"ok")] * 2
    assert all(type(known) is str for known in native.KNOWN_STATUSES | native.KNOWN_NAMES)


def test_a_second_call_needs_exc_info() -> None:
    seen = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        with pytest.raises(AssertionError, match="without exc_info"):
            start_response("200 OK", TEXT)
        try:
            raise KeyError("mistake")
        except KeyError as error:
            start_response("500 Error", TEXT, exc_info=(KeyError, error, error.__traceback__))
        seen.append(environ["REQUEST_METHOD"])
        return [b"sorry"]

    assert twice(app) == [("500 Error", TEXT, b"sorry")] * 2
    assert seen == ["GET", "GET"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), {}),
        (("200 OK",), {}),
        (("200 OK", TEXT, None, None), {}),
        (("200 OK",), {"headers": []}),
    ],
)
def test_f53_a_wrong_number_of_arguments_raises(
    arguments: tuple[Any, ...], named: dict[str, Any]
) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with pytest.raises(TypeError, match="start"):
            start_response(*arguments, **named)
        start_response(status="200 OK", response_headers=TEXT)
        return [b"ok"]

    assert twice(app) == [("200 OK", TEXT, b"ok")] * 2


def test_start_response_returns_write() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", TEXT)
        write(b"one ")
        with pytest.raises(TypeError, match="bytes"):
            write("two")
        return [b"three"]

    assert twice(app) == [("200 OK", TEXT, b"one three")] * 2


@pytest.mark.parametrize("result", [(b"block",), [b"blo", b"ck"], iter([b"block"]), [bytearray()]])
def test_only_one_block_of_bytes_goes_the_short_way(result: Any) -> None:
    served = Served(lambda environ, start: start("200 OK", TEXT) and result, valid=False)
    request = served.ask()
    expected = 500 if isinstance(result, list) and result == [bytearray()] else "200 OK"
    assert request.reply()[0] == expected


def test_an_application_that_forgets_start_response_is_told() -> None:
    served = Served(lambda environ, start: [b"block"], valid=False)
    assert served.ask().reply()[0] == 500
    assert "did not call start_response" in str(served.worker.exceptions[0][0])


def test_f52_an_application_that_keeps_start_response_is_collected() -> None:
    class App:
        def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
            self.kept = start_response, start_response("200 OK", TEXT)
            return [b"ok"]

    app = App()
    served = Served(app, valid=False)
    served.ask()
    watched = weakref.ref(app)
    del app, served
    gc.collect()
    assert TYPES_STAY or watched() is None


@pytest.mark.parametrize("kept", ["start_response", "write"])
def test_what_is_kept_of_a_call_is_no_later_one(kept: str) -> None:
    seen: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        for one in seen:
            with pytest.raises(AssertionError, match="again without exc_info"):
                one("500 Wrong", [])
        write = start_response("200 OK", TEXT)
        call = getattr(write, "__self__", write)  # write() is the call itself, or a method of it
        seen.append(start_response if kept == "start_response" else call.start_response)
        del call, write, start_response
        return [b"ok"]

    served = Served(app, valid=False)
    assert [served.ask().reply() for _ in range(3)] == [("200 OK", TEXT, b"ok")] * 3


def test_a_weak_reference_to_start_response_ends_with_its_call() -> None:
    seen: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        assert [one() for one in seen] == [None] * len(seen)
        start_response("200 OK", TEXT)
        seen.append(weakref.ref(start_response))
        return [b"ok"]

    served = Served(app, valid=False)
    assert [served.ask().reply() for _ in range(3)] == [("200 OK", TEXT, b"ok")] * 3


def test_a_call_knows_nothing_of_the_one_before() -> None:
    asked: list[int] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        asked.append(len(asked))
        if asked[-1] != 2:
            start_response("200 OK", TEXT)
        if asked[-1] == 1:
            start_response.__self__.written = [b"left behind"]
        return [b"ok"]

    served = Served(app, valid=False)
    replies = [served.ask().reply() for _ in range(4)]
    assert [reply[0] for reply in replies] == ["200 OK", "200 OK", 500, "200 OK"]
    assert replies[1][2] == b"left behindok"
    assert replies[3] == replies[0]


def test_f53_the_native_types_check_what_they_are_made_of() -> None:
    with pytest.raises(TypeError):
        native.WsgiHandler()
    with pytest.raises(TypeError, match="subclass of CallCore"):
        native.WsgiHandler(print, {}, object, None, io.BytesIO)
    with pytest.raises(TypeError):
        native.WsgiHandler(print, {}, 5, None, io.BytesIO)
    with pytest.raises(TypeError):
        native.CallCore()
    with pytest.raises(AttributeError):
        native.WsgiHandler(print, {}, Call, None, io.BytesIO).handle(object())
    with pytest.raises((SystemError, TypeError)):
        native.WsgiHandler(print, [], Call, None, io.BytesIO).handle(object())
