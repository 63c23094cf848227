"""Whose work a sample is: the rules of bench/profile_request.py, without perf."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "bench"))

import profile_groups as groups  # noqa: E402
import profile_request as profiles  # noqa: E402

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


def test_the_page_gets_the_table_between_its_marks(tmp_path: Path) -> None:
    shares = {**dict.fromkeys(groups.GROUPS, 0.0), groups.NETWORK: 0.75, groups.UNKNOWN: 0.25}
    page = tmp_path / "page.md"
    page.write_text(f"before\n{profiles.BEGIN}\nold\n{profiles.END}\nafter\n")
    machine = {"python": "3.13.0", "kernel": "6.18", "cpu": "a processor", "load_average": 0.25}
    profiles.write_page(page, [profiles.Profile("hello", "epoll", 4.0, 800, shares)], machine)
    text = page.read_text()
    assert "old" not in text
    assert "CPython 3.13.0, Linux 6.18, a processor; the machine's load was 0.2" in text
    assert f"| {groups.NETWORK} | 75.0% |" in text
    assert "| µs a request | 4.00 |" in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
