"""The access log: its formats, what cannot get into it, rotation, and files that fail."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import select
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import RunPython
from peers import until

from pyuring import access_log
from pyuring.access_log import FORMATS, AccessLog

FULL = "/dev/full"


class Asked:
    """A request as far as the log asks it."""

    def __init__(self, target: str = "/", peer: Any = ("192.0.2.1", 5), **fields: str) -> None:
        self.method, self.target, self.http_version = "GET", target, "1.1"
        self.peer, self.fields = peer, {k.replace("_", "-"): v for k, v in fields.items()}
        self.client = "198.51.100.7"

    def _peer(self) -> Any:
        return self.peer

    def header(self, name: str, default: str | None = None) -> str | None:
        return self.fields.get(name, default)


def lines(path: Path) -> list[str]:
    return path.read_text("ascii").split("\n")[:-1]


def one_line(path: Path, request: Any, kind: str, **more: Any) -> str:
    log = AccessLog(str(path), kind)
    log.write(request, 200, 512, 1_234_567, **more)
    log.close()
    (line,) = lines(path)
    return line


# --- formats ---------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


TIME = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"


def test_common_is_apaches(path: Path) -> None:
    line = one_line(path, Asked("/a?b=c"), "common")
    assert re.fullmatch(rf'192\.0\.2\.1 - - {TIME} "GET /a\?b=c HTTP/1\.1" 200 512', line)


def test_combined_has_referer_and_user_agent(path: Path) -> None:
    asked = Asked(referer="https://example.org/", user_agent="curl/8")
    line = one_line(path, asked, "combined")
    assert line.endswith('"GET / HTTP/1.1" 200 512 "https://example.org/" "curl/8"')
    path.unlink()
    assert one_line(path, Asked(), "combined").endswith(' 512 "-" "-"')


def test_json_has_everything(path: Path) -> None:
    found = json.loads(one_line(path, Asked(user_agent="curl/8"), "json"))
    moment = found.pop("time")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", moment)
    assert found == {
        "client": "192.0.2.1",
        "method": "GET",
        "target": "/",
        "version": "1.1",
        "status": 200,
        "bytes": 512,
        "duration_us": 1234,
        "referer": None,
        "user_agent": "curl/8",
    }


def test_the_clock_is_right_and_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XYZ-5:30")
    time.tzset()
    try:
        assert access_log._common_clock(0) == "01/Jan/1970:05:30:00 +0530"
        assert access_log._json_clock(0) == "1970-01-01T00:00:00Z"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_peer_on_a_unix_socket_and_a_proxys_client(path: Path) -> None:
    assert one_line(path, Asked(peer=None), "common").startswith("- - - [")
    path.unlink()
    assert one_line(path, Asked(), "common", client="203.0.113.9").startswith("203.0.113.9 - ")


def test_http_calls_it_with_the_client_and_seconds(path: Path) -> None:
    log = AccessLog(str(path), "json")
    log(Asked(), 204, 0, 0.002)
    log.close()
    found = json.loads(lines(path)[0])
    assert (found["client"], found["duration_us"], found["bytes"]) == ("198.51.100.7", 2000, 0)


def test_an_unknown_format_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="'nice' is none of common, combined, json"):
        AccessLog(str(path), "nice")
    assert not path.exists()


# --- what clients send -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_nothing_that_a_client_sends_forges_a_line_or_reaches_a_terminal(
    path: Path, kind: str, rng: random.Random
) -> None:
    odd = [chr(n) for n in (*range(256), 0x2028, 0xDC80, 0x202E, 0x1F600)]
    asked = []
    for _ in range(300):
        text = "".join(rng.choices([*odd, '"', "\\", "\n", "\x1b", " "], k=rng.randrange(40)))
        asked.append(Asked("/" + text, (text, 1), referer=text, user_agent=text))
    log = AccessLog(str(path), kind)
    for each in asked:
        log.write(each, 200, 1, 1)
    log.close()
    data = path.read_bytes()
    assert set(data) <= set(range(0x20, 0x7F)) | {0x0A}
    found = data.decode().split("\n")[:-1]
    assert len(found) == len(asked)
    shape = re.compile(
        rf'[^"]* - - {TIME} "GET /[^"]* HTTP/1\.1" 200 1'
        + (r' "[^"]*" "[^"]*"' if kind == "combined" else "")
    )
    for line, each in zip(found, asked, strict=True):
        if kind == "json":
            told = json.loads(line)
            assert (told["target"], told["user_agent"]) == (each.target, each.target[1:])
        else:
            assert shape.fullmatch(re.sub(r"\\(?:x..|u....|U.{8})", "", line)), line


def test_escapes_are_apaches(path: Path) -> None:
    line = one_line(path, Asked('/"\\\x1b\u00e9\n'), "common")
    assert r'"GET /\x22\x5c\x1b\xe9\x0a HTTP/1.1"' in line
    path.unlink()
    assert r'"GET /\xe9 HTTP/1.1"' in one_line(path, Asked("/\u00e9"), "common")


# --- when it is written ----------------------------------------------------------------------


def test_lines_come_without_a_flush_and_in_order(path: Path) -> None:
    log = AccessLog(str(path), "common")
    reader, writer = os.pipe()
    log._sink._fd, old = writer, log._sink._fd  # a file that tells when it is written to
    log._sink._path = "-"
    os.close(old)
    for number in range(3):
        log.write(Asked(f"/{number}"), 200, 1, 1)
    assert select.select([reader], [], [], 10)[0], "nothing was written"
    found = re.findall(rb"/(\d) HTTP", os.read(reader, 4096))
    assert found == [b"0", b"1", b"2"]
    log.close()
    os.close(reader)


def test_flush_writes_at_once(path: Path) -> None:
    log = AccessLog(str(path), "common")
    log.write(Asked(), 200, 1, 1)
    log.flush()
    assert len(lines(path)) == 1
    log.close()
    log.close()


def test_workers_may_write_at_the_same_time(path: Path) -> None:
    log = AccessLog(str(path), "combined")

    def work(name: int) -> None:
        for number in range(2000):
            log.write(Asked(f"/{name}/{number}"), 200, 1, 1)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    found = [re.findall(r'"GET /(\d)/(\d+) ', line)[0] for line in lines(path)]
    assert len(found) == 8000
    for name in "0123":
        assert [int(number) for who, number in found if who == name] == list(range(2000))


def test_the_end_of_the_process_writes_what_waits(path: Path, run_python: RunPython) -> None:
    code = (
        "import sys; sys.path[:0] = ['tests', '.']\n"
        "from test_access_log import AccessLog, Asked\n"
        "log = AccessLog(sys.argv[1]); log.write(Asked(), 200, 1, 1)"
    )
    done = run_python(code, str(path))
    assert done.returncode == 0, done.stderr
    assert len(lines(path)) == 1


def test_a_child_process_writes_its_own_lines_only(path: Path, run_python: RunPython) -> None:
    code = (
        "import sys, os; sys.path[:0] = ['tests', '.']\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "from test_access_log import AccessLog, Asked\n"
        "log = AccessLog(sys.argv[1]); log.write(Asked('/parent'), 200, 1, 1)\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    log.write(Asked('/child'), 200, 1, 1); log.close(); os._exit(0)\n"
        "os.waitpid(pid, 0)"
    )
    done = run_python(code, str(path))
    assert done.returncode == 0, done.stderr
    found = sorted(re.findall(r"GET /(\w+) ", path.read_text()))
    assert found == ["child", "parent"]


def test_a_dash_is_stdout(run_python: RunPython) -> None:
    code = (
        "import sys; sys.path[:0] = ['tests', '.']\n"
        "from test_access_log import AccessLog, Asked\n"
        "AccessLog('-').write(Asked(), 200, 1, 1)"
    )
    assert '"GET / HTTP/1.1" 200 1 "-" "-"\n' in run_python(code).stdout


# --- files that move, fill up, or are gone -----------------------------------------------------


def test_follows_a_rotation(path: Path, descriptors_kept: None) -> None:
    log = AccessLog(str(path), "common")
    log.write(Asked("/before"), 200, 1, 1)
    log.flush()
    moved = path.rename(path.with_suffix(".1"))
    log.write(Asked("/after"), 200, 1, 1)
    log.flush()
    assert "/before" in moved.read_text()
    assert "/before" not in path.read_text()
    assert "/after" in path.read_text()
    path.unlink()
    log.write(Asked("/again"), 200, 1, 1)
    log.close()
    assert "/again" in path.read_text()


def test_keeps_the_old_file_where_the_new_one_cannot_be_opened(tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    path = directory / "log"
    log = AccessLog(str(path), "common")
    moved = directory.rename(tmp_path / "gone")
    log.write(Asked("/kept"), 200, 1, 1)
    log.close()
    assert "/kept" in (moved / "log").read_text()


def test_a_file_that_cannot_be_opened_is_an_error_at_first(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        AccessLog(str(tmp_path / "none" / "log"))


def test_a_full_disk_costs_lines_and_is_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    log = AccessLog(FULL, "common")
    for _ in range(3):
        log.write(Asked(), 200, 1, 1)
        log.flush()
    told = capfd.readouterr().err
    assert told == f"pyuring: access log {FULL}: lines are lost: {os.strerror(errno.ENOSPC)}\n"
    reader, writer = os.pipe()
    os.dup2(writer, log._sink._fd)
    os.close(writer)
    log._sink._path = "-"
    log.write(Asked("/recovered"), 200, 1, 1)
    log.flush()
    assert b"/recovered" in os.read(reader, 4096)
    assert "written again, 3 lines were lost" in capfd.readouterr().err
    log.close()
    os.close(reader)


def test_a_reader_that_is_gone_costs_lines(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = AccessLog(str(path), "common")
    reader, writer = os.pipe()
    os.dup2(writer, log._sink._fd)
    os.close(writer)
    os.close(reader)
    log._sink._path = "-"
    log.write(Asked(), 200, 1, 1)
    log.flush()
    assert os.strerror(errno.EPIPE) in capfd.readouterr().err
    log.close()


def test_a_reader_that_is_stuck_holds_no_worker_up(
    path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log, "_MOST_CHARS", 300_000)
    log = AccessLog(str(path), "common")
    reader, writer = os.pipe()
    log._sink._path = "-"  # before the descriptor changes: no file has been moved away
    os.dup2(writer, log._sink._fd)
    os.close(writer)
    asked = Asked("/" + "x" * 1000)
    for _ in range(300):  # more than the pipe takes: the writer is stuck with what it has taken
        log.write(asked, 200, 1, 1)
    until(lambda: log.write(asked, 200, 1, 1) or log._dropped > 0, "a line without room")
    os.close(reader)  # now the writer gets EPIPE and ends
    log.close()
    assert "lines are lost" in capfd.readouterr().err


def test_a_pipe_gets_whole_lines_in_pieces_that_it_does_not_divide(path: Path) -> None:
    """So that lines of several processes, which share it, are not mixed (pipe(7), PIPE_BUF)."""
    log = AccessLog(str(path), "common")
    texts = [f"{number:0{size}}\n" for number, size in enumerate([2000] * 5 + [9, 5000, 9])]
    assert [count for count, _ in log._sink._blocks(texts)] == [8]
    reader, writer = os.pipe()
    os.dup2(writer, log._sink._fd)
    blocks = log._sink._blocks(texts)
    assert b"".join(block for _, block in blocks).decode() == "".join(texts)
    assert [count for count, _ in blocks] == [2, 2, 2, 1, 1]
    for count, block in blocks:
        assert block.endswith(b"\n")
        assert len(block) <= select.PIPE_BUF or count == 1
    log.close()
    os.close(reader)
    os.close(writer)


def test_a_torn_line_is_ended_before_the_next(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AccessLog(str(path), "common")
    real, calls = os.write, []

    def short(fd: int, data: Any) -> int:
        calls.append(fd)
        if len(calls) == 1:
            return real(fd, data[:10])
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "full")
        return real(fd, data)

    log.write(Asked("/torn"), 200, 1, 1)
    monkeypatch.setattr(os, "write", short)
    log.flush()
    log.write(Asked("/whole"), 200, 1, 1)
    log.flush()
    monkeypatch.undo()
    log.close()
    torn, whole = lines(path)
    assert len(torn) == 10
    assert whole.startswith("192.0.2.1 - - [")
