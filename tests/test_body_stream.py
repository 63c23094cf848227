"""A body that comes while it is read: whatever the pieces and the reads, the bytes are the same."""

from __future__ import annotations

import io
import os
import random
import signal
import threading
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import given, settings, strategies as st

from pyuring import ClientDisconnectedError, ForkedError
from pyuring.body_stream import BodyStream


def stream_of(*pieces: bytes) -> BodyStream:
    stream = BodyStream(lambda _: None)
    for piece in pieces:
        stream.feed(piece)
    stream.finish()
    return stream


pieces_of_text = st.lists(st.binary(min_size=1, max_size=20).map(lambda b: b.replace(b"a", b"\n")))
calls = st.lists(
    st.tuples(
        st.sampled_from(["read", "read1", "readline", "readinto", "readinto1"]),
        st.integers(-1, 30),
    )
)


@given(pieces_of_text, calls)
@settings(max_examples=200, deadline=None)
def test_it_reads_as_a_file_does(pieces: list[bytes], wanted: list[tuple[str, int]]) -> None:
    stream, plain = stream_of(*pieces), io.BytesIO(b"".join(pieces))
    for name, size in wanted:
        if name.startswith("readinto"):
            room = bytearray(max(size, 0))
            count = getattr(stream, name)(room)
            assert room[:count] == plain.read(count)
            assert count == len(room) or name == "readinto1" or plain.read(1) == b""
        elif name == "read1":
            got = stream.read1(size)
            assert got == plain.read(len(got))
            assert got or size == 0 or plain.read(1) == b""
        else:
            assert getattr(stream, name)(size) == getattr(plain, name)(size)
    assert stream.read() == plain.read()
    assert stream.read() == stream.read(5) == stream.readline() == stream.read1() == b""


def test_lines_are_iterated_and_listed() -> None:
    text = [b"one\ntw", b"o\n\nth", b"ree"]
    assert list(stream_of(*text)) == [b"one\n", b"two\n", b"\n", b"three"]
    assert stream_of(*text).readlines() == [b"one\n", b"two\n", b"\n", b"three"]
    assert io.TextIOWrapper(stream_of(*text), "ascii").read() == "one\ntwo\n\nthree"


def test_a_reader_waits_for_what_it_asked_for() -> None:
    stream = BodyStream(lambda _: None)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.extend([stream.read(6), stream.read()]))
    reader.start()
    for piece in (b"ab", b"cd", b"ef", b"gh"):
        stream.feed(piece)
    stream.finish()
    reader.join(10)
    assert got == [b"abcdef", b"gh"]


class Sender:
    """Plays native code: sends ahead so many bytes, then waits until it is asked for more."""

    def __init__(self, pieces: Iterator[bytes], ahead: int = 256 * 1024) -> None:
        self.pieces, self.ahead = pieces, ahead
        self.stream = BodyStream(self.ask)
        self.asked = threading.Semaphore(0)
        self.asks = 0
        self.thread = threading.Thread(target=self.run)

    def ask(self, _: int) -> None:
        self.asks += 1
        self.asked.release()

    def run(self) -> None:
        unread = self.ahead  # nothing before it is asked for
        for piece in self.pieces:
            while unread >= self.ahead:
                assert self.asked.acquire(timeout=10)
                unread = 0
            self.stream.feed(piece)
            unread += len(piece)
        self.stream.finish()


def test_a_reader_asks_often_enough_and_not_too_often(rng: random.Random) -> None:
    data = rng.randbytes(5_000_000)
    cuts = sorted(rng.sample(range(len(data)), 400))
    parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    sender = Sender(iter(parts))
    sender.thread.start()
    got = bytearray()
    while block := sender.stream.read(rng.choice([1, 1000, 20_000, 300_000])):
        got += block
    sender.thread.join(10)
    assert got == data
    assert sender.asks <= len(data) // (64 * 1024) + 2


def test_nothing_is_asked_for_before_the_first_read_nor_after_the_end() -> None:
    asks: list[int] = []
    stream = BodyStream(asks.append)
    stream.feed(b"abc")
    assert not asks
    assert stream.read1() == b"abc"
    assert asks == [1]
    stream.finish()
    assert stream.read() == b""
    assert asks == [1]


def test_a_client_that_goes_is_told_after_what_came() -> None:
    stream = BodyStream(lambda _: None)
    stream.feed(b"abc")
    cause = ConnectionResetError("reset by peer")
    stream.fail(cause)
    assert stream.read1() == b"abc"
    with pytest.raises(ClientDisconnectedError) as caught:
        stream.read(1)
    assert caught.value.__cause__ is cause
    assert isinstance(caught.value, ConnectionResetError)


def test_a_client_that_goes_wakes_the_reader() -> None:
    waiting = threading.Event()
    stream = BodyStream(lambda _: waiting.set())
    failures: list[BaseException] = []

    def read() -> None:
        try:
            stream.read(1)
        except ClientDisconnectedError as error:
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    assert waiting.wait(10)
    stream.fail(None)
    reader.join(10)
    assert len(failures) == 1


def test_f20_a_forked_child_does_not_wait_for_what_comes_to_its_parent() -> None:
    coming, whole = BodyStream(lambda: None), stream_of(b"all")
    coming.feed(b"some")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork beside threads
        child = os.fork()
    if child == 0:
        signal.alarm(5)  # ends a child that waits
        try:
            coming.read()
        except ForkedError:
            os._exit(0 if whole.read() == b"all" else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


def test_a_client_that_goes_after_its_body_spoils_nothing() -> None:
    stream = stream_of(b"abc")
    stream.fail(None)
    assert stream.read() == b"abc"
    assert stream.read() == b""


def test_nothing_is_read_once_the_reply_is_complete() -> None:
    stream = BodyStream(lambda _: pytest.fail("asked for more"))
    stream.feed(b"abc")
    stream.end_exchange()
    with pytest.raises(ValueError, match="the reply is complete"):
        stream.read(1)


def test_a_body_in_memory_has_its_limit() -> None:
    assert stream_of(b"abc", b"de").read_at_most(5) == b"abcde"
    assert stream_of(b"abc", b"def").read_at_most(5) is None
    endless = BodyStream(lambda _: None)
    endless.feed(b"x" * 10)
    assert endless.read_at_most(5) is None  # at once, not at the end
