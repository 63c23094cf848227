"""Whose work a sample is: the rules of bench/profile_request.py, without perf."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "bench"))

import profile_groups as groups  # noqa: E402
import profile_request as profiles  # noqa: E402
import report  # noqa: E402

SEND = ["__tcp_transmit_skb", "tcp_write_xmit", "tcp_sendmsg", "io_send", "io_issue_sqe"]


@pytest.mark.parametrize(
    ("chain", "group"),
    [
        (SEND, groups.NETWORK),
        (["_raw_spin_lock", "kmem_cache_alloc", *SEND], groups.NETWORK),
        (["io_issue_sqe", "io_submit_sqes", "do_syscall_64"], groups.RING),
        (["ep_send_events", "do_epoll_wait", "do_syscall_64"], groups.RING),
        (["try_to_wake_up", "sock_def_readable", "tcp_rcv_established"], groups.SYSTEM),
        (["mutex_lock", "do_syscall_64"], groups.SYSTEM),
        (["a_function_of_the_future"], groups.UNKNOWN),
    ],
)
def test_a_sample_in_the_kernel_is_the_innermost_known_callers(
    chain: list[str], group: str
) -> None:
    assert groups.of_kernel(chain) == group


@pytest.mark.parametrize(
    ("library", "symbol", "group"),
    [
        ("/lib/libpython3.13.so.1.0", "_PyObject_Malloc", groups.OBJECTS),
        ("/usr/bin/python3.12", "insertdict", groups.OBJECTS),
        ("/usr/bin/python3.12", "_PyEval_EvalFrameDefault", groups.HANDLER),
        ("/usr/bin/python3.12", "take_gil", groups.INTERPRETER),
        ("/lib/libc.so.6", "__memmove_avx_unaligned_erms", groups.COPYING),
        ("[vdso]", "__vdso_clock_gettime", groups.WORKER),
        ("/lib/libssl.so.3", "SSL_read", groups.UNKNOWN),
    ],
)
def test_a_function_of_the_process_is_told_by_its_name(
    library: str, symbol: str, group: str
) -> None:
    assert groups.of_user(library, symbol) == group


def test_every_file_of_the_library_is_somebodys() -> None:
    found = {groups.of_file(str(path)) for path in (ROOT / "zig").glob("*.zig")}
    wanted = {groups.WORKER, groups.PARSING, groups.OBJECTS, groups.HANDLER, groups.REPLY}
    assert found == wanted
    assert groups.of_file("/zig/http1_writer.zig") == groups.REPLY
    assert groups.of_file("/zig/http1_scan.zig") == groups.PARSING


def test_an_address_is_the_librarys_own_whether_perf_prints_a_place_or_memory() -> None:
    mapped = profiles.Mapping(process=0x7F00_0000_0000, numbering=0x1000)
    assert mapped.address(0xD328) == 0xE328
    assert mapped.address(0x7F00_0000_D328) == 0xE328


def test_the_table_has_a_row_for_each_group() -> None:
    shares = {**dict.fromkeys(groups.GROUPS, 0.0), groups.NETWORK: 0.75, groups.UNKNOWN: 0.25}
    text = profiles.markdown([profiles.Profile("hello", "epoll", 4.0, 800, shares)])
    assert f"| {groups.NETWORK} | 75.0% |" in text
    assert "| µs a request | 4.00 |" in text


def test_a_page_gets_each_programs_table_between_its_own_marks(tmp_path: Path) -> None:
    page, end = tmp_path / "page.md", "<!-- end -->"
    page.write_text(f"1\n<!-- begin: a -->\nold\n{end}\n2\n<!-- begin: b -->\n{end}\n3\n")
    report.put_into_page(page, "b", "new b")
    report.put_into_page(page, "a", "new a")
    expected = f"1\n<!-- begin: a -->\nnew a\n{end}\n2\n<!-- begin: b -->\nnew b\n{end}\n3\n"
    assert page.read_text() == expected
    with pytest.raises(ValueError, match="no marks of c"):
        report.put_into_page(page, "c", "")


def test_a_table_says_what_it_was_measured_on() -> None:
    machine = {"python": "3.13.0", "kernel": "6.18", "cpu": "a processor", "load_average": 0.25}
    said = report.ground({**machine, "time": "2026-01-02T03:04:05Z"})
    assert said.startswith(
        "CPython 3.13.0, Linux 6.18, a processor, 2026-01-02; the machine's load"
    )
