"""WSGI replies in blocks: who is asked for the next one and when, write(), files, disconnects.

Each reply is made on the worker's thread and on a pool's; both have to come to the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_core import HIGH
from peers import PATIENCE, until
from wsgi_fakes import TEXT, Blocks, Request, Served, answering

Ask = Callable[..., Request]


@pytest.fixture(params=["ask", "ask_on_pool"])
def ask(request: pytest.FixtureRequest) -> Iterator[Callable[[Served], Ask]]:
    """Return a function that gives a served application's `ask` or `ask_on_pool`."""
    asked: list[Served] = []

    def choose(served: Served) -> Ask:
        asked.append(served)
        method: Ask = getattr(served, request.param)
        return method

    yield choose
    assert all(served.gateway.close(PATIENCE) for served in asked)


# --- blocks ------------------------------------------------------------------------------


@pytest.mark.parametrize("valid", [True, False])
def test_blocks_are_sent_one_by_one(ask: Any, valid: bool) -> None:
    served = Served(answering(Blocks([b"", b"one", b"", b"two", b"three"])), valid)
    request = ask(served)()
    assert request.reply() == ("200 OK", TEXT, b"onetwothree")
    assert request.sent == [b"one", b"two", b"three"]
    assert request.length is None


def test_the_iterable_is_closed_when_all_is_sent(ask: Any) -> None:
    blocks = Blocks([b"one", b"two"])
    ask(Served(answering(blocks), valid=False))()
    assert blocks.closed == 1


def test_content_length_frames_the_blocks(ask: Any) -> None:
    fields = [*TEXT, ("Content-Length", "6")]
    request = ask(Served(answering(iter([b"one", b"two"]), fields)))()
    assert request.reply() == ("200 OK", fields, b"onetwo")
    assert request.length == 6


def test_start_response_may_come_with_the_first_block(ask: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("201 Created", list(TEXT))
        yield b"one"
        yield b"two"

    assert ask(Served(app))().reply() == ("201 Created", TEXT, b"onetwo")


def test_a_slow_client_slows_the_application_down() -> None:
    pulled: list[int] = []

    def blocks() -> Iterator[bytes]:
        for number in range(100):
            pulled.append(number)
            yield b"x" * 10_000

    served = Served(answering(blocks()))
    request = served.ask()
    before = len(pulled)
    assert HIGH // 10_000 <= before <= HIGH // 10_000 + 2
    while request.stage != "ended":
        request.take(served.gateway)
        served.worker.run()
    assert len(pulled) == 100
    assert request.reply()[2] == b"x" * 1_000_000


def test_a_slow_client_slows_a_pool_s_thread_down() -> None:
    pulled: list[int] = []

    def blocks() -> Iterator[bytes]:
        for number in range(100):
            pulled.append(number)
            yield b"x" * 10_000

    served = Served(answering(blocks()), valid=False)
    request = served.request()
    served.gateway.start(request)
    served.worker.run(until=lambda: request.congested)
    assert len(pulled) <= HIGH // 10_000 + 3

    def taken() -> bool:
        request.take(served.gateway)
        return bool(request.stage == "ended")

    served.worker.run(until=taken)
    assert request.reply()[2] == b"x" * 1_000_000
    assert served.gateway.close(PATIENCE)


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not")]
)
def test_where_no_body_is_sent_no_further_block_is_asked_for(
    ask: Any, method: str, status: str
) -> None:
    asked: list[int] = []

    def blocks() -> Iterator[bytes]:
        for number in range(5):
            asked.append(number)
            yield b"block"

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(status, [])
        return blocks()

    request = ask(Served(app, valid=False))(method)
    assert (request.status, request.content, request.stage) == (status, b"", "ended")
    assert asked == [0]


# --- what goes wrong ---------------------------------------------------------------------


def failing(error: Exception) -> Iterator[bytes]:
    yield b"one"
    yield b"two"
    raise error


def test_an_error_after_the_head_ends_the_connection(ask: Any) -> None:
    blocks = Blocks(failing(LookupError("in a block")))
    served = Served(answering(blocks), valid=False)
    request = ask(served)()
    served.worker.run(until=lambda: request.aborted and served.reported)
    assert request.content.startswith(b"one")
    assert [type(exc) for exc in served.reported] == [LookupError]
    assert blocks.closed == 1


def test_an_error_before_the_head_is_a_500(ask: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [*TEXT, ("X-A", "b")])
        raise LookupError("in the application")

    served = Served(app)
    request = ask(served)()
    assert request.reply()[0] == 500
    assert request.field("X-A") is None
    assert [type(exc) for exc in served.reported] == [LookupError]


def test_an_error_in_the_first_block_is_a_500(ask: Any) -> None:
    def blocks() -> Iterator[bytes]:
        raise LookupError("in the first block")
        yield b""

    result = Blocks(blocks())
    served = Served(answering(result), valid=False)
    assert ask(served)().reply()[0] == 500
    assert [type(exc) for exc in served.reported] == [LookupError]
    assert result.closed == 1


def test_too_few_bytes_end_the_connection(ask: Any) -> None:
    blocks = Blocks([b"one", b"two"])
    served = Served(answering(blocks, [("Content-Length", "7")]), valid=False)
    request = ask(served)()
    served.worker.run(until=lambda: served.reported)
    assert request.aborted
    assert "shorter" in str(served.reported[0])
    assert blocks.closed == 1


def test_too_many_bytes_end_the_connection(ask: Any) -> None:
    blocks = Blocks([b"one", b"two", b"three"])
    served = Served(answering(blocks, [("Content-Length", "5")]), valid=False)
    request = ask(served)()
    served.worker.run(until=lambda: request.aborted and served.reported)
    assert request.content == b"one"
    assert "longer" in str(served.reported[0])
    assert blocks.closed == 1


def test_a_text_among_the_blocks_ends_the_connection(ask: Any) -> None:
    blocks = Blocks([b"one", "two"])
    served = Served(answering(blocks), valid=False)
    request = ask(served)()
    served.worker.run(until=lambda: request.aborted and served.reported)
    assert "must be bytes" in str(served.reported[0])
    assert blocks.closed == 1


def test_exc_info_after_the_head_comes_out_again(ask: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", list(TEXT))
        yield b"one"
        yield b"two"
        try:
            raise LookupError("too late to tell")
        except LookupError:
            start_response("500 Oh", list(TEXT), sys.exc_info())
        yield b"never"

    served = Served(app)
    request = ask(served)()
    served.worker.run(until=lambda: request.aborted and served.reported)
    assert request.status == "200 OK"
    assert b"never" not in request.content
    assert "too late to tell" in str(served.reported[0])


def test_a_client_that_goes_has_the_iterable_closed() -> None:
    blocks = Blocks(b"x" * 10_000 for _ in range(100))
    served = Served(answering(blocks), valid=False)
    request = served.ask()
    assert (request.stage, blocks.closed) == ("begun", 0)
    request.lose(served.gateway)
    assert blocks.closed == 1
    assert served.reported == []


def test_a_client_that_goes_has_a_pool_s_iterable_closed() -> None:
    blocks = Blocks(b"x" * 10_000 for _ in range(100))
    served = Served(answering(blocks), valid=False)
    request = served.request()
    served.gateway.start(request)
    served.worker.run(until=lambda: request.congested)
    request.lose(served.gateway)
    until(lambda: blocks.closed == 1)
    served.worker.run()
    assert served.gateway.close(PATIENCE)
    assert served.reported == []


# --- write() -----------------------------------------------------------------------------


def writing(*blocks: Any, result: Any, fields: Any = TEXT) -> Any:
    """Return an application that writes blocks and returns `result`."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        write = start_response("200 OK", list(fields))
        for block in blocks:
            write(block)
        return result

    return app


@pytest.mark.parametrize("result", [[], (b"three",), iter([b"three"]), iter([])])
def test_what_is_written_comes_before_what_is_returned(ask: Any, result: Any) -> None:
    several = list(result)
    expected = b"onetwo" + b"".join(several)
    given = several if isinstance(result, (list, tuple)) else iter(several)
    served = Served(writing(b"one", b"", b"two", result=given), valid=False)
    assert ask(served)().reply() == ("200 OK", TEXT, expected)


def test_the_validator_has_nothing_against_write(ask: Any) -> None:
    assert ask(Served(writing(b"one", result=[b"two"])))().reply() == ("200 OK", TEXT, b"onetwo")


def test_what_is_written_is_closed_after(ask: Any) -> None:
    blocks = Blocks([b"two"])
    assert ask(Served(writing(b"one", result=blocks), valid=False))().reply()[2] == b"onetwo"
    assert blocks.closed == 1


@pytest.mark.parametrize("block", ["text", bytearray(b"x"), None])
def test_only_bytes_can_be_written(ask: Any, block: Any) -> None:
    served = Served(writing(block, result=[]), valid=False)
    assert ask(served)().reply()[0] == 500
    assert "must be bytes" in str(served.reported[0])


def test_an_error_after_write_is_no_whole_reply(ask: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", list(TEXT))(b"one")
        raise LookupError("after write")

    served = Served(app, valid=False)
    request = ask(served)()
    served.worker.run(until=lambda: served.reported)
    assert request.aborted or request.status == 500
    assert [type(exc) for exc in served.reported] == [LookupError]


def test_exc_info_after_write_comes_out_again(ask: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", list(TEXT))(b"one")
        try:
            raise LookupError("after write")
        except LookupError:
            start_response("500 Oh", list(TEXT), sys.exc_info())
        return []

    served = Served(app, valid=False)
    request = ask(served)()
    served.worker.run(until=lambda: served.reported)
    assert request.aborted or request.status == 500
    assert [type(exc) for exc in served.reported] == [LookupError]


def test_more_written_than_promised_is_an_error(ask: Any) -> None:
    served = Served(writing(b"one", b"two", result=[], fields=[("Content-Length", "4")]), False)
    request = ask(served)()
    served.worker.run(until=lambda: served.reported)
    assert request.aborted or request.status == 500


# --- files -------------------------------------------------------------------------------


def file_app(path: Path, fields: list[tuple[str, str]], position: int = 0) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [*TEXT, *fields])
        file = path.open("rb")
        file.seek(position)
        return environ["wsgi.file_wrapper"](file, 1000)

    return app


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 100)
    return path


def test_a_file_is_never_read(ask: Any, path: Path, descriptors_kept: None) -> None:
    request = ask(Served(file_app(path, []), valid=False))()
    assert request.length == 25600
    assert request.reply()[2] == path.read_bytes()
    assert not any(isinstance(part, bytes) for part in request.sent)


def test_a_file_is_sent_from_where_it_stands_as_far_as_content_length(ask: Any, path: Path) -> None:
    request = ask(Served(file_app(path, [("Content-Length", "10")], 250), valid=False))()
    assert request.reply()[2] == path.read_bytes()[250:260]


def test_a_file_that_is_too_short_is_a_500(ask: Any, path: Path, descriptors_kept: None) -> None:
    served = Served(file_app(path, [("Content-Length", "25601")]), valid=False)
    assert ask(served)().reply()[0] == 500
    assert "25600 bytes left" in str(served.reported[0])


def test_head_of_a_file_tells_its_length(ask: Any, path: Path, descriptors_kept: None) -> None:
    request = ask(Served(file_app(path, []), valid=False))("HEAD")
    assert (request.length, request.content) == (25600, b"")


def test_a_wrapped_wrapper_is_read_in_blocks(ask: Any, path: Path) -> None:
    request = ask(Served(file_app(path, []), valid=True))()  # the validator hides it
    assert request.reply()[2] == path.read_bytes()
    assert all(len(part) <= 1000 for part in request.sent)
