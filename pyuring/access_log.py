r"""The access log: a line for each request, in Apache's two formats or as JSON.

Owns the file and the lines that wait for it. Never blocks or ends a worker: a thread of its own
writes, and what a full disk or a reader that is gone does not take is counted and dropped.

Some facts about what gets in. Method, target, Referer and User-Agent are the client's. Whatever
is not printable ASCII, and the quote and the backslash, is written as \xhh, so that no client can
forge a line, a field, or speak to the terminal that shows the file (\x1b).
"""

from __future__ import annotations

import atexit
import os
import re
import stat
import threading
import time
import weakref
from json.encoder import encode_basestring_ascii
from typing import Any

from pyuring.usage import say

__all__ = ["FORMATS", "AccessLog"]

FORMATS = ("common", "combined", "json")

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ODD = re.compile(r"[^ !#-\[\]-~]")  # all but printable ASCII without the quote and backslash
_FLUSH_SECONDS = 0.5
_FLUSH_CHARS = 64 * 1024
_MOST_CHARS = 8 * 1024 * 1024  # more cannot wait: whoever reads it is stuck
_PIPE_BUF = 4096  # pipe(7): a write of so much is not mixed with other processes'
_MODE = 0o644


class AccessLog:
    """Writes lines to a file, or to stdout for "-"; any thread, several workers at a time.

    Lines are written at most half a second late, and at the end. The file is opened again when
    another one stands at its path (log rotation), and shared by processes: each write appends
    whole lines. Raises OSError when it cannot be opened at first, and never after that.
    """

    def __init__(self, path: str, format: str = "combined") -> None:
        if format not in FORMATS:
            raise ValueError(f"format: {format!r} is none of {', '.join(FORMATS)}")
        self._line = _LINES[format]
        self._clock = _json_clock if format == "json" else _common_clock
        self._sink = _Sink(path)
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._chars = 0
        self._dropped = 0
        self._second, self._now = -1, ""
        self._closed = False
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._full = threading.Event()
        _logs.add(self)

    def write(
        self, request: Any, status: int, sent: int, duration_ns: int, client: str | None = None
    ) -> None:
        """Take note of a request that is over; `sent` is in bytes.

        `request` has the getters of `pyuring.Request`. `client` is what a trusted proxy said,
        and counts instead of the peer.
        """
        second = int(time.time())
        if second != self._second:
            self._now, self._second = self._clock(second), second  # in this order: threads
        if client is None:
            peer = request._peer()
            client = "-" if peer is None else peer[0]
        line = self._line(request, status, sent, duration_ns, client, self._now)
        with self._lock:
            if self._chars > _MOST_CHARS or self._closed:
                self._dropped += 1
                return
            self._lines.append(line)
            self._chars += len(line)
            if len(self._lines) > 1 and self._chars < _FLUSH_CHARS:
                return
            if self._thread is None:
                self._start()
        (self._full if self._chars >= _FLUSH_CHARS else self._wake).set()

    def __call__(self, request: Any, status: int, sent: int, seconds: float) -> None:
        """Do as `write`, with the client as the request tells it: HttpConfig's access_log."""
        self.write(request, status, sent, int(seconds * 1e9), request.client or "-")

    def flush(self) -> None:
        """Write what waits, on the caller's thread; it may block as long as the file does."""
        with self._sink.lock:
            with self._lock:
                lines, dropped = self._lines, self._dropped
                self._lines, self._chars, self._dropped = [], 0, 0
            self._sink.put(lines, dropped)

    def close(self) -> None:
        """Write what waits, and close the file; lines that come later are dropped."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._full.set()
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(5.0)  # a reader that is stuck must not keep the server
            if thread.is_alive():
                return
        self.flush()
        self._sink.close()

    def _start(self) -> None:
        """Start the thread that writes, with the first line; with the lock held."""
        self._thread = threading.Thread(target=self._run, name="pyuring-access-log", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait()
            self._full.wait(_FLUSH_SECONDS)
            self._wake.clear()
            self._full.clear()
            self.flush()

    def _after_fork_in_child(self) -> None:
        """Begin anew: the thread, and the lines that wait, are the parent's."""
        self._lock = threading.Lock()
        self._wake, self._full = threading.Event(), threading.Event()
        self._lines, self._chars, self._dropped = [], 0, 0
        self._thread = None
        self._sink.lock = threading.Lock()


class _Sink:
    """The file behind a log: opened, opened again, and never a reason to fail."""

    def __init__(self, path: str) -> None:
        self.lock = threading.Lock()
        self._path = path
        self._lost = 0
        self._torn = False  # a line was written in part
        if path == "-":
            self._fd = 1
        else:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)

    def put(self, lines: list[str], dropped: int) -> None:
        """Write lines, as many as the file takes; with the lock held."""
        if not lines and not dropped:
            return
        self._reopen_if_moved()
        number, done = 0, 0
        try:
            for count, block in self._blocks(lines):
                self._write_all(block)
                done += count
        except OSError as error:
            number = error.errno or 0
        lost = len(lines) - done + dropped
        if lost and not self._lost:
            reason = os.strerror(number) if number else "it is not taken fast enough"
            say(f"access log {self._path}: lines are lost: {reason}")
        elif self._lost and not lost:
            say(f"access log {self._path}: written again, {self._lost} lines were lost")
        self._lost = self._lost + lost if lost else 0

    def close(self) -> None:
        """Close the file; stdout stays open."""
        with self.lock:
            fd, self._fd = self._fd, -1
            if fd > 2:
                os.close(fd)

    def _blocks(self, lines: list[str]) -> list[tuple[int, bytes]]:
        """Return (number of lines, bytes): all at once, or what a pipe takes undivided."""
        if not self._is_pipe():
            return [(len(lines), "".join(lines).encode("ascii", "replace"))]
        blocks: list[tuple[int, bytes]] = []
        count, block = 0, b""
        for line in lines:
            data = line.encode("ascii", "replace")
            if block and len(block) + len(data) > _PIPE_BUF:
                blocks.append((count, block))
                count, block = 0, b""
            count, block = count + 1, block + data
        return [*blocks, (count, block)]

    def _is_pipe(self) -> bool:
        try:
            return stat.S_ISFIFO(os.fstat(self._fd).st_mode)
        except OSError:
            return False

    def _write_all(self, data: bytes) -> None:
        view = memoryview(b"\n" + data if self._torn else data)
        while view:
            written = os.write(self._fd, view)
            self._torn = written < len(view)
            view = view[written:]

    def _reopen_if_moved(self) -> None:
        """Follow a rotation: open the path again when it is another file, or none."""
        if self._path == "-":
            return
        try:
            there = os.stat(self._path)
        except OSError:
            there = None
        try:
            mine = os.fstat(self._fd)
            if there is not None and (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
                return
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            fd = os.open(self._path, flags, _MODE)
        except OSError:
            return  # the old file is still better than none
        os.close(self._fd)
        self._fd, self._torn = fd, False


def escape(text: str) -> str:
    """Return text that cannot end a field or a line, nor reach a terminal."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text  # half a microsecond faster than the expression
    return _ODD.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    number = ord(found[0])
    if number > 0xFFFF:
        return f"\\U{number:08x}"
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def _common_line(
    request: Any, status: int, sent: int, duration_ns: int, client: str, now: str
) -> str:
    """Return a line as Apache's LogFormat "common" says."""
    first = escape(f"{request.method} {request.target} HTTP/{request.http_version}")
    return f'{escape(client)} - - [{now}] "{first}" {status} {sent or "-"}\n'


def _combined_line(
    request: Any, status: int, sent: int, duration_ns: int, client: str, now: str
) -> str:
    """Return a line as Apache's LogFormat "combined" says."""
    first = escape(f"{request.method} {request.target} HTTP/{request.http_version}")
    referer = escape(request.header("referer") or "-")
    agent = escape(request.header("user-agent") or "-")
    return f'{escape(client)} - - [{now}] "{first}" {status} {sent or "-"} "{referer}" "{agent}"\n'


def _json_line(
    request: Any, status: int, sent: int, duration_ns: int, client: str, now: str
) -> str:
    """Return a line of JSON, which escapes all but printable ASCII."""
    return (
        f'{{"time":"{now}","client":{_quoted(client)},"method":{_quoted(request.method)},'
        f'"target":{_quoted(request.target)},"version":{_quoted(request.http_version)},'
        f'"status":{status},"bytes":{sent},"duration_us":{duration_ns // 1000},'
        f'"referer":{_quoted(request.header("referer"))},'
        f'"user_agent":{_quoted(request.header("user-agent"))}}}\n'
    )


def _quoted(text: str | None) -> str:
    if text is None:
        return "null"
    quoted = encode_basestring_ascii(text)
    return quoted.replace("\x7f", "\\u007f") if "\x7f" in quoted else quoted


def _common_clock(second: int) -> str:
    """Return 24/Nov/2026:16:49:00 +0000, with English months whatever the locale."""
    now = time.localtime(second)
    month = _MONTHS[now.tm_mon - 1]
    return f"{now.tm_mday:02}/{month}/{now.tm_year}:{time.strftime('%H:%M:%S %z', now)}"


def _json_clock(second: int) -> str:
    """Return the time as RFC 3339 writes it, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


_LINES = {"common": _common_line, "combined": _combined_line, "json": _json_line}

_logs: weakref.WeakSet[AccessLog] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for log in list(_logs):
        log._after_fork_in_child()


def _at_exit() -> None:
    for log in list(_logs):
        log.close()


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork_in_child)
