"""`pyuring top`: rates between two looks, quantiles, plain frames, a canned server."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from command import run

from pyuring import top
from pyuring.metrics_server import MetricsServer
from pyuring.top import Look, look, once, plain, rows
from pyuring.usage import UsageError


def worker(name: str, process: str = "1", **counters: Any) -> dict[str, Any]:
    return {"process": process, "worker": name, **counters}


BEFORE = Look(100.0, [worker("0", requests=10, active=3, bytes_sent=0, request_us=[5, 5])])
AFTER = Look(
    102.0,
    [
        worker("0", requests=30, active=4, bytes_sent=4096, errors_send=6, cpu_seconds=1.0,
               request_us=[5, 25]),
        worker("1", requests=2, active=1, bytes_sent=0, request_us=[0, 2]),
    ],
)  # fmt: skip


def test_rates_are_differences_over_time_and_levels_are_levels() -> None:
    first, second, total = rows(BEFORE, AFTER)
    assert (first.name, first.requests, first.connections) == ("0", 10.0, 4)
    assert (first.bytes_out, first.errors, first.cpu) == (2048.0, 3.0, 0.5)
    assert (second.name, second.requests, second.cpu) == ("1", 1.0, None)
    assert (total.name, total.requests, total.connections) == ("all", 11.0, 5)
    assert total.bytes_out == 2048.0


def test_quantiles_are_those_of_the_interval() -> None:
    first, _, total = rows(BEFORE, AFTER)
    assert first.p50 is not None
    assert 1e-6 <= first.p50 <= 2e-6  # the five fast ones were before
    assert total.p99 is not None
    assert first.p50 < total.p99 <= 2e-6


def test_a_server_that_began_anew_counts_from_nothing() -> None:
    after = Look(101.0, [worker("0", requests=4, active=0, request_us=[1, 0])])
    first, total = rows(BEFORE, after)
    assert first.requests == total.requests == 0
    other = Look(101.0, [worker("0", process="2", requests=4)])
    assert rows(BEFORE, other)[0].requests == 4


def test_processes_are_named_when_there_are_several() -> None:
    after = Look(101.0, [worker("0"), worker("0", process="2")])
    assert [row.name for row in rows(BEFORE, after)] == ["1/0", "2/0", "all"]


def test_a_frame_is_aligned_text() -> None:
    frame = plain(rows(BEFORE, AFTER)).split("\n")
    assert len({len(line) for line in frame}) == 1
    assert frame[0].split() == list(top._COLUMNS)
    assert frame[1].split() == [
        "0", "10", "4", "0", "0B", "2.05kB", "2µs", "2µs", "0", "3", "50%", "-"
    ]  # fmt: skip
    assert frame[3].split()[:3] == ["all", "11", "5"]


def test_the_tier_of_each_is_named_and_none_of_all_together() -> None:
    after = Look(101.0, [worker("0", tier=0), worker("1", tier=3), worker("2", tier="?")])
    names = [line.split()[-1] for line in plain(rows(after, after)).split("\n")]
    assert names == ["tier", "NONE", "HIGH", "-", "-"]
    (strange, _) = rows(after, Look(102.0, [worker("0", tier=77)]))
    assert top._cells(strange)[-1] == "-"


def test_a_name_from_the_server_cannot_speak_to_the_terminal() -> None:
    after = Look(101.0, [worker("\x1b[2J0")])
    assert "\x1b" not in plain(rows(BEFORE, after))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.25, "0.25"), (99.4, "99.4"), (999, "999"), (1000, "1k"), (12345, "12.3k"),
     (5e6, "5M"), (7.2e9, "7.2G"), (1e13, "10T")],
)  # fmt: skip
def test_numbers_are_short(value: float, text: str) -> None:
    assert top._number(value) == text


def test_times_are_short() -> None:
    given = (None, 5e-6, 0.0012, 0.25, 2.5)
    assert [top._time(each) for each in given] == ["-", "5µs", "1.2ms", "250ms", "2.5s"]


# --- a canned server ---------------------------------------------------------------------------


class Canned:
    """A server whose worker answers a hundred more requests at every look."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> list[dict[str, Any]]:
        self.looks += 1
        return [worker("0", requests=100 * self.looks, active=2, request_us=[0, self.looks])]


def test_once_prints_a_frame_of_a_server() -> None:
    server = MetricsServer(":0", Canned())
    try:
        done = run("top", server.address, "--once", "--interval", "0.1")
    finally:
        server.close()
    assert done.returncode == 0, done.stderr
    _, first, total = done.stdout.splitlines()
    assert first.split()[0] == "0"
    assert total.split()[0] == "all"
    assert first.split()[2] == "2"
    assert first.split()[1] not in ("0", "-")


def test_a_unix_socket_and_a_bare_port_are_addresses(tmp_path: Path) -> None:
    server = MetricsServer(f"unix:{tmp_path}/m", Canned())
    assert len(look(f"unix:{tmp_path}/m").workers) == 1
    server.close()
    server = MetricsServer(":0", Canned())
    port = server.address.rpartition(":")[2]
    for address in (port, f":{port}"):
        assert "all" in once(address, 0.05)
    server.close()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("127.0.0.1:1", "--once"), "Connection refused; is it the server's --metrics address?"),
        (("nowhere", "--once"), "'nowhere' is no address"),
        (("fd:3", "--once"), "top connects to host:port or unix:/path"),
        (("127.0.0.1:1", "--interval", "0"), "--interval: must be 0.05 to 3600 seconds, not 0"),
        (("127.0.0.1:1", "--interval", "soon"), "invalid float value: 'soon'"),
        ((), "the following arguments are required: ADDR"),
    ],
)
def test_a_mistake_gets_one_line_and_status_2(arguments: tuple[str, ...], line: str) -> None:
    done = run("top", *arguments)
    assert done.returncode == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("page", [b"<html>", b"[]", b'{"time": 1, "workers": 5}', b"{}"])
def test_another_server_is_not_taken_for_ours(page: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyuring.metrics_server.json.dumps", lambda _: page.decode())
    server = MetricsServer(":0", Canned())
    try:
        with pytest.raises(UsageError, match="not a metrics endpoint of pyuring"):
            look(server.address)
    finally:
        server.close()


def test_without_rich_the_line_says_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.live", None)
    with pytest.raises(UsageError, match=r"pip install 'pyuring-engine\[top\]'; --once does with"):
        top.watch("127.0.0.1:1")


def test_a_table_is_drawn() -> None:
    rich_console = pytest.importorskip("rich.console")
    console = rich_console.Console(width=120, record=True, file=io.StringIO())
    console.print(top._table("unix:[x]", rows(BEFORE, AFTER), "lost [it]"))
    console.print(top._table("unix:[x]", [], "…"))
    text = console.export_text()
    assert "unix:[x]" in text
    assert "lost [it]" in text
    assert "2.05kB" in text
