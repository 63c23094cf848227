"""The parts a WSGI reply is made of: what start_response takes, files, the error stream.

Pure Python: no engine, no sockets.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from pyuring.wsgi_errors import ErrorStream
from pyuring.wsgi_file import FileWrapper, NoBody
from pyuring.wsgi_headers import KNOWN_NAMES, check_field, check_status, length_of

# --- the head ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["200 OK", "200", "200 ", "404 Not Found", "599 Hm: é"])
def test_a_status_that_is_one_passes(status: str) -> None:
    check_status(status)


@pytest.mark.parametrize(
    "status",
    ["", "OK", "20 OK", "2000 OK", "199 Early", "101 Switching Protocols", "200 €", "600 X",
     "200OK", "200 OK\r\nX: y", "200 \x00", " 200 OK", "200\tOK", "200 OK\n", "２00 OK"],
)  # fmt: skip
def test_a_status_that_is_none_is_refused(status: str) -> None:
    with pytest.raises(ValueError, match="status"):
        check_status(status)


@pytest.mark.parametrize("status", [200, b"200 OK", None, ["200 OK"]])
def test_a_status_of_another_type_is_refused(status: Any) -> None:
    with pytest.raises(TypeError, match="status must be a str"):
        check_status(status)


@pytest.mark.parametrize(
    "name", ["Connection", "keep-alive", "TE", "Trailers", "Transfer-Encoding", "UPGRADE",
             "Proxy-Authenticate", "Proxy-Authorization"],
)  # fmt: skip
def test_hop_by_hop_fields_are_refused_however_they_are_written(name: str) -> None:
    for spelt in (name, name.lower(), name.upper()):
        with pytest.raises(ValueError, match="hop-by-hop"):
            check_field((spelt, "x"))


@pytest.mark.parametrize("name", ["", "a b", "a:", "ä", "a\r\n", "a\n"])
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        check_field((name, "x"))


@pytest.mark.parametrize(
    "field", [("a",), ("a", "b", "c"), ["a", "b"], "ab", (b"a", "b"), ("a", b"b"), ("a", 1), None]
)
def test_a_field_of_another_shape_is_refused(field: Any) -> None:
    with pytest.raises(TypeError, match="header field"):
        check_field(field)


def test_text_of_a_subclass_will_do() -> None:
    class Safe(str):
        __slots__ = ()

    check_field((Safe("Location"), Safe("/x")))
    check_status(Safe("200 OK"))


def test_an_application_that_makes_names_up_does_not_fill_the_memory() -> None:
    for number in range(3000):
        check_field((f"X-{number}", "x"))
    assert len(KNOWN_NAMES) <= 1000


def test_length_of_finds_the_content_length() -> None:
    assert length_of([("A", "1"), ("cOnTeNt-LeNgTh", "12")]) == 12
    assert length_of([("A", "1")]) is None
    for wrong in ("", "-1", "+1", "1 ", "1_0", "０", "x", "1" * 20, "1\n"):
        with pytest.raises(ValueError, match="Content-Length"):
            length_of([("Content-Length", wrong)])


# --- files -------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    return path


@pytest.mark.parametrize("buffering", [-1, 0])
def test_a_plain_file_is_sent_from_where_it_stands(path: Path, buffering: int) -> None:
    with open(path, "rb", buffering=buffering) as file:
        file.read(3)
        found = FileWrapper(file).body(None)
    assert found is not None
    assert found.parts == [(3, 7)]
    assert os.pread(found.owner.fd, 7, 3) == b"3456789"


def test_the_copy_of_the_descriptor_closes_with_its_owner(
    path: Path, descriptors_kept: None
) -> None:
    with open(path, "rb") as file:
        found = FileWrapper(file).body(None)
        assert found is not None
        del found


def test_what_was_written_to_a_file_is_sent_too(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(b"ab")
        file.seek(8)
        found = FileWrapper(file).body(None)
    assert found is not None
    assert found.parts == [(8, 4)]


def test_content_length_says_how_much_is_sent(path: Path) -> None:
    with open(path, "rb") as file:
        file.seek(2)
        found = FileWrapper(file).body(5)
        assert found is not None
        assert (found.parts, found.length) == ([(2, 5)], 5)
        with pytest.raises(ValueError, match="8 bytes left"):
            FileWrapper(file).body(9)


def test_a_position_behind_the_end_leaves_nothing(path: Path) -> None:
    with open(path, "rb") as file:
        file.seek(100)
        found = FileWrapper(file).body(None)
    assert found is not None
    assert found.length == 0


def test_a_compressed_file_is_read_although_it_has_a_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(b"x" * 1000))
    with gzip.open(path) as file:
        wrapper = FileWrapper(file, 300)
        assert wrapper.body(None) is None
        assert [len(block) for block in wrapper] == [300, 300, 300, 100]


def test_a_pipe_is_read(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"abc")
    with open(os.dup(pipe[0]), "rb", buffering=0) as file:
        assert FileWrapper(file).body(None) is None


def test_objects_that_only_read_are_read_and_closed() -> None:
    file = io.BytesIO(b"abcde")
    wrapper = FileWrapper(file, 2)
    assert wrapper.body(None) is None
    assert list(wrapper) == [b"ab", b"cd", b"e"]
    wrapper.close()
    assert file.closed


def test_an_object_without_close_is_no_problem() -> None:
    class Reader:
        def read(self, count: int) -> bytes:
            return b""

    wrapper = FileWrapper(Reader())
    assert list(wrapper) == []
    wrapper.close()


# --- wsgi.input without a body -----------------------------------------------------------


def test_an_input_without_a_body_is_at_its_end_whatever_is_done_with_it() -> None:
    empty = NoBody()
    for change in (
        lambda: empty.write(b"x"),
        lambda: empty.writelines([b"x"]),
        lambda: empty.truncate(5),
        lambda: empty.__setstate__((b"x", 0, None)),
    ):
        with pytest.raises(io.UnsupportedOperation, match="cannot be written"):
            change()
    with pytest.raises(AttributeError, match="shared"):
        empty.note = "of one request"
    with pytest.raises(TypeError):
        empty.__init__(b"x")  # type: ignore[call-arg,misc]
    with empty as entered:
        assert entered.seek(5) == 0
    assert not empty.closed
    assert (empty.read(), empty.readline(), list(empty), empty.tell()) == (b"", b"", [], 0)


# --- wsgi.errors -------------------------------------------------------------------------


def test_errors_come_out_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    class Stderr(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    monkeypatch.setattr(sys, "stderr", Stderr())
    stream = ErrorStream()
    assert stream.write("one") == 3
    assert written == []
    stream.write(" line\nand an")
    assert written == ["one line\n"]
    stream.writelines(["other", "\n"])
    assert written == ["one line\n", "and another\n"]
    stream.write("begun")
    stream.flush()
    assert written[-1] == "begun"
    print("printed", file=stream)
    assert written[-1] == "printed\n"


def test_lines_of_two_threads_do_not_mix(capsys: pytest.CaptureFixture[str]) -> None:
    stream = ErrorStream()
    stream.write("a")
    thread = threading.Thread(target=lambda: stream.write("b\n"))
    thread.start()
    thread.join()
    stream.write("a\n")
    assert capsys.readouterr().err == "b\naa\n"


def test_a_line_without_an_end_does_not_fill_the_memory(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ErrorStream().write("x" * 100_000)
    assert len(capsys.readouterr().err) == 100_000


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError("no space")


@pytest.mark.parametrize("stderr", [None, io.StringIO(), Broken()], ids=["none", "closed", "full"])
def test_errors_never_raise(stderr: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if type(stderr) is io.StringIO:
        stderr.close()
    monkeypatch.setattr(sys, "stderr", stderr)
    stream = ErrorStream()
    stream.write("text\n")
    stream.write(b"no text\n")
    stream.flush()
    stream.close()
    assert not stream.closed


def test_a_text_that_stderr_cannot_encode_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, "ascii"))
    stream = ErrorStream()
    stream.write("é\udc80\n")
    stream.flush()
    assert raw.getvalue() == b"\\xe9\\udc80\n"
