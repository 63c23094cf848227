"""The WSGI gateway, call by call: what becomes of what an application says.

The native half is played by a fake core, so that every call can be seen; the standard library's
validator stands around the applications. test_wsgi_frameworks.py has real servers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from peers import PATIENCE
from wsgi_fakes import TEXT, Application, Blocks, Served, answering, handle


@pytest.fixture(params=["ask", "ask_on_pool"])
def whole(request: pytest.FixtureRequest) -> Any:
    """Return a function that gives an application's whole reply, without a report."""

    def ask(app: Application, *arguments: Any, valid: bool = True) -> Any:
        served = Served(app, valid)
        reply = getattr(served, request.param)(*arguments).reply()
        assert served.reported == []
        served.gateway.close(PATIENCE)
        return reply

    return ask


# --- whole replies -----------------------------------------------------------------------


@pytest.mark.parametrize("valid", [True, False])
def test_one_block_is_a_whole_reply(valid: bool, whole: Any) -> None:
    fields = [*TEXT, ("X-A", "b")]
    assert whole(answering([b"hello"], fields), valid=valid) == ("200 OK", fields, b"hello")


def test_one_block_goes_to_native_code_in_one_go() -> None:
    assert handle(answering([b"hello"]), valid=False) == ("200 OK", TEXT, b"hello")


@pytest.mark.parametrize(
    ("result", "body"),
    [([], b""), ((), b""), ((b"a",), b"a"), ([b"a", b"", b"b"], b"ab"), ((b"a", b"b"), b"ab")],
)
def test_lists_and_tuples_are_joined(result: Any, body: bytes) -> None:
    assert handle(answering(result), valid=False) == ("200 OK", TEXT, body)


def test_a_generator_of_nothing_is_an_empty_reply() -> None:
    assert handle(answering(iter([b"", b""]))) == ("200 OK", TEXT, b"")


def test_the_length_of_an_iterable_with_one_block_is_known() -> None:
    class One(Blocks):
        def __len__(self) -> int:
            return 1

    one = One([b"block"])
    assert handle(answering(one), valid=False) == ("200 OK", TEXT, b"block")
    assert one.closed == 1


def test_a_first_block_as_long_as_content_length_is_the_whole_reply() -> None:
    fields = [*TEXT, ("Content-Length", "5")]
    blocks = Blocks([b"", b"block"])
    assert handle(answering(blocks, fields)) == ("200 OK", fields, b"block")
    assert blocks.closed == 1


# --- start_response ----------------------------------------------------------------------


def test_start_response_may_come_with_the_first_block() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("201 Created", [*TEXT, ("Content-Length", "4")])
        yield b"late"

    assert handle(app) == ("201 Created", [*TEXT, ("Content-Length", "4")], b"late")


@pytest.mark.parametrize("result", [[b"x"], [b"x", b"y"], (b"x",), [], iter([b"x"]), iter([])])
def test_an_application_that_never_calls_it_is_an_error(result: Any) -> None:
    blocks = Blocks(result) if not isinstance(result, (list, tuple)) else result
    with pytest.raises(AssertionError, match="start_response"):
        handle(lambda environ, start_response: blocks, valid=False)
    assert isinstance(blocks, (list, tuple)) or blocks.closed == 1


def test_a_second_call_without_exc_info_is_an_error() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", list(TEXT))
        start_response("200 OK", list(TEXT))
        return []

    with pytest.raises(AssertionError, match="exc_info"):
        handle(app)


def test_exc_info_replaces_what_was_said_before_the_head_is_out(whole: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [*TEXT, ("X-First", "1")])
        try:
            raise LookupError
        except LookupError:
            start_response("500 Oh", list(TEXT), sys.exc_info())
        return [b"sorry"]

    assert whole(app) == ("500 Oh", TEXT, b"sorry")


def test_exc_info_may_come_with_the_first_call_and_by_name() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            raise LookupError
        except LookupError:
            start_response("500 Oh", list(TEXT), exc_info=sys.exc_info())
        return [b"sorry"]

    assert handle(app, valid=False) == ("500 Oh", TEXT, b"sorry")


@pytest.mark.parametrize(
    ("status", "fields", "error"),
    [
        (200, TEXT, TypeError),
        (b"200 OK", TEXT, TypeError),
        (["200 OK"], TEXT, TypeError),
        ("OK", TEXT, ValueError),
        ("100 Continue", TEXT, ValueError),
        ("200 OK", tuple(TEXT), TypeError),
        ("200 OK", None, TypeError),
        ("200 OK", dict(TEXT), TypeError),
        ("200 OK", [("A",)], TypeError),
        ("200 OK", [(["A"], "b")], TypeError),
        ("200 OK", [("A", 1)], TypeError),
        ("200 OK", [("A", b"b")], TypeError),
        ("200 OK", [None], TypeError),
        ("200 OK", [("Connection", "close")], ValueError),
        ("200 OK", [("A b", "c")], ValueError),
    ],
)
def test_what_is_wrong_raises_in_the_application(
    status: Any, fields: Any, error: type[Exception]
) -> None:
    seen: list[BaseException] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            start_response(status, fields)
        except Exception as exc:
            seen.append(exc)
            start_response("200 OK", [])  # the wrong call has not counted
        return []

    handle(app, valid=False)
    assert [type(exc) for exc in seen] == [error]
    assert "unpack" not in str(seen[0])
    assert "hashable" not in str(seen[0])


# --- blocks ------------------------------------------------------------------------------


@pytest.mark.parametrize("block", ["text", bytearray(b"x"), memoryview(b"x"), 1, None])
@pytest.mark.parametrize("kind", [list, Blocks, lambda blocks: [b"a", *blocks]])
def test_blocks_that_are_not_bytes_are_an_error(block: Any, kind: Any) -> None:
    result = kind([block])
    with pytest.raises(TypeError, match="must be bytes"):
        handle(answering(result), valid=False)
    assert isinstance(result, list) or result.closed == 1


@pytest.mark.parametrize("result", [None, 7])
def test_a_result_that_cannot_be_iterated_is_an_error(result: Any) -> None:
    with pytest.raises(TypeError):
        handle(answering(result), valid=False)


def test_a_first_block_that_is_too_long_is_an_error() -> None:
    blocks = Blocks([b"too long"])
    with pytest.raises(ValueError, match="Content-Length"):
        handle(answering(blocks, [("Content-Length", "3")]), valid=False)
    assert blocks.closed == 1


# --- close and errors --------------------------------------------------------------------


def test_an_iterable_that_raises_is_closed() -> None:
    def blocks() -> Iterator[bytes]:
        raise LookupError("no block")
        yield b""

    result = Blocks(blocks())
    with pytest.raises(LookupError):
        handle(answering(result))
    assert result.closed == 1


def test_a_close_that_raises_is_reported_and_the_reply_stands() -> None:
    served = Served(answering(Blocks([], fails=LookupError("in close"))), valid=False)
    assert served.ask().reply() == ("200 OK", TEXT, b"")
    assert [type(exc) for exc in served.reported] == [LookupError]


def test_an_iter_that_raises_closes_too() -> None:
    class NoIterator(Blocks):
        def __iter__(self) -> Iterator[Any]:
            raise LookupError("no iterator")

    result = NoIterator([])
    with pytest.raises(LookupError):
        handle(answering(result), valid=False)
    assert result.closed == 1
