"""One case a builder: the call in liburing's C, and the same call in Python.

In C, `P(k)` is the k-th symbolic address. In Python, the memory helper `m` makes the argument and
remembers what stands for `P(k)`: an address to find in the SQE, or bytes to find behind it.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from typing import Any

SYMBOL = 0x5EED_0000_0000
CWD = -100
ALLOC = 0xFFFFFFFF


def symbol(number: int) -> int:
    return SYMBOL + number * 0x1000


def timespec(seconds: float) -> bytes:
    return struct.pack("=qq", int(seconds), round((seconds - int(seconds)) * 1e9))


def epoll_event(events: int, data: int) -> bytes:
    import platform

    layout = "=IQ" if platform.machine() == "x86_64" else "=IxxxxQ"
    return struct.pack(layout, events, data)


Case = tuple[str, str, Callable[[Any], tuple[Any, ...]]]

FILES: list[Case] = [
    ("read", "read(s, 5, P(0), 100, 1000)", lambda m: (5, m.target(0, 100), 1000)),
    ("read", "read(s, 5, P(0), 100, -1)", lambda m: (5, m.target(0, 100))),
    ("write", "write(s, 5, P(0), 100, 1L<<40)", lambda m: (5, m.source(0, 100), 1 << 40)),
    ("readv", "readv(s, 5, P(0), 2, 7)", lambda m: (5, m.vector(0, 10, 20), 7)),
    ("readv2", "readv2(s, 5, P(0), 2, 7, 8)", lambda m: (5, m.vector(0, 10, 20), 7, 8)),
    ("writev", "writev(s, 5, P(0), 2, 7)", lambda m: (5, m.vector(0, 10, 20), 7)),
    ("writev2", "writev2(s, 5, P(0), 2, 7, 8)", lambda m: (5, m.vector(0, 10, 20), 7, 8)),
    ("read_fixed", "read_fixed(s, 5, P(0), 9, 3, 2)", lambda m: (5, m.target(0, 9), 3, 2)),
    ("write_fixed", "write_fixed(s, 5, P(0), 9, 3, 2)", lambda m: (5, m.source(0, 9), 3, 2)),
    (
        "readv_fixed",
        "readv_fixed(s, 5, P(0), 2, 3, 8, 6)",
        lambda m: (5, m.vector(0, 1, 2), 3, 8, 6),
    ),
    (
        "writev_fixed",
        "writev_fixed(s, 5, P(0), 2, 3, 8, 6)",
        lambda m: (5, m.vector(0, 1, 2), 3, 8, 6),
    ),
    ("read_multishot", "read_multishot(s, 5, 64, -1, 3)", lambda m: (5, 64, -1, 3)),
    ("fsync", "fsync(s, 5, 1)", lambda m: (5, 1)),
    ("sync_file_range", "sync_file_range(s, 5, 6, 7, 2)", lambda m: (5, 6, 7, 2)),
    ("fallocate", "fallocate(s, 5, 3, 1L<<33, 1L<<34)", lambda m: (5, 3, 1 << 33, 1 << 34)),
    ("ftruncate", "ftruncate(s, 5, 1L<<33)", lambda m: (5, 1 << 33)),
    ("fadvise", "fadvise(s, 5, 1L<<33, 77, 4)", lambda m: (5, 1 << 33, 77, 4)),
    ("fadvise64", "fadvise64(s, 5, 8, 1L<<33, 4)", lambda m: (5, 8, 1 << 33, 4)),
    ("madvise", "madvise(s, P(0), 4096, 4)", lambda m: (m.target(0, 4096), 4)),
    ("madvise64", "madvise64(s, P(0), 4096, 4)", lambda m: (m.target(0, 4096), 4)),
    ("splice", "splice(s, 5, -1, 6, 99, 1000, 2)", lambda m: (5, -1, 6, 99, 1000, 2)),
    ("tee", "tee(s, 5, 6, 1000, 2)", lambda m: (5, 6, 1000, 2)),
    ("openat", "openat(s, -100, P(0), 66, 0644)", lambda m: (CWD, m.path(0), 66, 0o644)),
    (
        "openat_direct",
        "openat_direct(s, -100, P(0), 66, 0644, 4)",
        lambda m: (CWD, m.path(0), 66, 0o644, 4),
    ),
    ("open", "open(s, P(0), 66, 0644)", lambda m: (m.path(0), 66, 0o644)),
    (
        "open_direct",
        "open_direct(s, P(0), 66, 0644, IORING_FILE_INDEX_ALLOC)",
        lambda m: (m.path(0), 66, 0o644, ALLOC),
    ),
    (
        "openat2",
        "openat2(s, -100, P(0), P(1))",
        lambda m: (CWD, m.path(0), m.expect(1, struct.pack("=QQQ", 1, 2, 3), (1, 2, 3))),
    ),
    (
        "openat2_direct",
        "openat2_direct(s, -100, P(0), P(1), 9)",
        lambda m: (CWD, m.path(0), m.expect(1, struct.pack("=QQQ", 1, 2, 3), (1, 2, 3)), 9),
    ),
    ("close", "close(s, 5)", lambda m: (5,)),
    ("close_direct", "close_direct(s, 5)", lambda m: (5,)),
    ("files_update", "files_update(s, P(0), 2, 4)", lambda m: (m.target(0, 8), 4)),
    ("fixed_fd_install", "fixed_fd_install(s, 5, 1)", lambda m: (5, 1)),
    (
        "statx",
        "statx(s, -100, P(0), 256, 2047, P(1))",
        lambda m: (CWD, m.path(0), 256, 2047, m.target(1, 256)),
    ),
    ("unlinkat", "unlinkat(s, 5, P(0), 512)", lambda m: (5, m.path(0), 512)),
    ("unlink", "unlink(s, P(0), 0)", lambda m: (m.path(0),)),
    (
        "renameat",
        "renameat(s, 5, P(0), -100, P(1), 1)",
        lambda m: (5, m.path(0), CWD, m.path(1), 1),
    ),
    ("rename", "rename(s, P(0), P(1))", lambda m: (m.path(0), m.path(1))),
    ("mkdirat", "mkdirat(s, 5, P(0), 0755)", lambda m: (5, m.path(0), 0o755)),
    ("mkdir", "mkdir(s, P(0), 0755)", lambda m: (m.path(0), 0o755)),
    ("symlinkat", "symlinkat(s, P(0), 5, P(1))", lambda m: (m.path(0), 5, m.path(1))),
    ("symlink", "symlink(s, P(0), P(1))", lambda m: (m.path(0), m.path(1))),
    (
        "linkat",
        "linkat(s, 5, P(0), -100, P(1), 1024)",
        lambda m: (5, m.path(0), CWD, m.path(1), 1024),
    ),
    ("link", "link(s, P(0), P(1), 0)", lambda m: (m.path(0), m.path(1))),
    (
        "getxattr",
        "getxattr(s, P(0), P(1), P(2), 64)",
        lambda m: (m.path(0), m.target(1, 64), m.path(2)),
    ),
    (
        "setxattr",
        "setxattr(s, P(0), P(1), P(2), 1, 64)",
        lambda m: (m.path(0), m.source(1, 64), m.path(2), 1),
    ),
    ("fgetxattr", "fgetxattr(s, 5, P(0), P(1), 64)", lambda m: (5, m.path(0), m.target(1, 64))),
    (
        "fsetxattr",
        "fsetxattr(s, 5, P(0), P(1), 2, 64)",
        lambda m: (5, m.path(0), m.source(1, 64), 2),
    ),
    ("pipe", "pipe(s, P(0), 2048)", lambda m: (m.target(0, 8), 2048)),
    ("pipe_direct", "pipe_direct(s, P(0), 2048, 3)", lambda m: (m.target(0, 8), 2048, 3)),
    ("cmd_discard", "cmd_discard(s, 5, 512, 1L<<33)", lambda m: (5, 512, 1 << 33)),
]

ROOM = struct.pack("=I", 128)

SOCKETS: list[Case] = [
    ("accept", "accept(s, 5, P(0), P(1), 2048)", lambda m: (5, m.room(0, 1, 128), 2048)),
    ("accept", "accept(s, 5, 0, 0, 0)", lambda m: (5,)),
    (
        "accept_direct",
        "accept_direct(s, 5, P(0), P(1), 2048, 7)",
        lambda m: (5, m.room(0, 1, 128), 2048, 7),
    ),
    ("multishot_accept", "multishot_accept(s, 5, 0, 0, 2048)", lambda m: (5, None, 2048)),
    (
        "multishot_accept_direct",
        "multishot_accept_direct(s, 5, 0, 0, 2048)",
        lambda m: (5, None, 2048),
    ),
    ("connect", "connect(s, 5, P(0), 16)", lambda m: (5, m.source(0, 16))),
    ("bind", "bind(s, 5, P(0), 28)", lambda m: (5, m.source(0, 28))),
    ("listen", "listen(s, 5, 128)", lambda m: (5, 128)),
    ("shutdown", "shutdown(s, 5, 1)", lambda m: (5, 1)),
    ("socket", "socket(s, 2, 1, 6, 3)", lambda m: (2, 1, 6, 3)),
    ("socket_direct", "socket_direct(s, 2, 1, 6, 7, 3)", lambda m: (2, 1, 6, 7, 3)),
    ("socket_direct_alloc", "socket_direct_alloc(s, 2, 1, 6, 3)", lambda m: (2, 1, 6, 3)),
    ("send", "send(s, 5, P(0), 100, 0x4000)", lambda m: (5, m.source(0, 100), 0x4000)),
    ("send_bundle", "send_bundle(s, 5, 100, 1)", lambda m: (5, 100, 1)),
    (
        "sendto",
        "sendto(s, 5, P(0), 9, 1, P(1), 16)",
        lambda m: (5, m.source(0, 9), 1, m.source(1, 16)),
    ),
    ("send_zc", "send_zc(s, 5, P(0), 100, 1, 8)", lambda m: (5, m.source(0, 100), 1, 8)),
    (
        "send_zc_fixed",
        "send_zc_fixed(s, 5, P(0), 100, 1, 8, 3)",
        lambda m: (5, m.source(0, 100), 1, 8, 3),
    ),
    ("sendmsg", "sendmsg(s, 5, P(0), 1)", lambda m: (5, m.message(0), 1)),
    ("sendmsg_zc", "sendmsg_zc(s, 5, P(0), 1)", lambda m: (5, m.message(0), 1)),
    ("sendmsg_zc_fixed", "sendmsg_zc_fixed(s, 5, P(0), 1, 3)", lambda m: (5, m.message(0), 1, 3)),
    ("recv", "recv(s, 5, P(0), 100, 2)", lambda m: (5, m.target(0, 100), 2)),
    ("recv_multishot", "recv_multishot(s, 5, 0, 0, 2)", lambda m: (5, 0, 2)),
    (
        "recv_zc",
        "rw(IORING_OP_RECV_ZC, s, 5, 0, 100, 0); s->ioprio |= 2; s->zcrx_ifq_idx = 3",
        lambda m: (5, 100, 3),
    ),
    ("recvmsg", "recvmsg(s, 5, P(0), 1)", lambda m: (5, m.message(0), 1)),
    ("recvmsg_multishot", "recvmsg_multishot(s, 5, P(0), 1)", lambda m: (5, m.message(0), 1)),
    ("uring_cmd", "uring_cmd(s, 77, 5)", lambda m: (77, 5)),
    (
        "cmd_sock",
        "cmd_sock(s, 2, 5, 1, 4, P(0), 8)",
        lambda m: (2, 5, 1, 4, m.target(0, 8)),
    ),
    (
        "cmd_getsockname",
        "cmd_getsockname(s, 5, P(0), P(1), 1)",
        lambda m: (5, m.room(0, 1, 128), 1),
    ),
]

RING: list[Case] = [
    ("nop", "nop(s)", lambda m: ()),
    (
        "timeout",
        "timeout(s, P(0), 3, 1)",
        lambda m: (m.expect(0, timespec(1.5), 1.5), 3, 1),
    ),
    ("timeout_remove", "timeout_remove(s, 42, 1)", lambda m: (42, 1)),
    (
        "timeout_update",
        "timeout_update(s, P(0), 42, 1)",
        lambda m: (m.expect(0, timespec(2), 2), 42, 1),
    ),
    ("link_timeout", "link_timeout(s, P(0), 4)", lambda m: (m.expect(0, timespec(0.25), 0.25), 4)),
    ("poll_add", "poll_add(s, 5, 1 | 1u<<31)", lambda m: (5, 1 | 1 << 31)),
    ("poll_multishot", "poll_multishot(s, 5, 1)", lambda m: (5, 1)),
    ("poll_remove", "poll_remove(s, 42)", lambda m: (42,)),
    ("poll_update", "poll_update(s, 42, 43, 4, 3)", lambda m: (42, 43, 4, 3)),
    ("cancel", "cancel(s, (void *)42, 1)", lambda m: (42, 1)),
    ("cancel64", "cancel64(s, 1ull<<63, 1)", lambda m: (1 << 63, 1)),
    ("cancel_fd", "cancel_fd(s, 5, 1)", lambda m: (5, 1)),
    (
        "epoll_ctl",
        "epoll_ctl(s, 5, 6, 1, P(0))",
        lambda m: (5, 6, 1, m.expect(0, epoll_event(5, 1 << 60), (5, 1 << 60))),
    ),
    ("epoll_wait", "epoll_wait(s, 5, P(0), 4, 0)", lambda m: (5, m.target(0, 4 * m.epoll_size))),
    (
        "provide_buffers",
        "provide_buffers(s, P(0), 64, 4, 7, 3)",
        lambda m: (m.target(0, 256), 64, 4, 7, 3),
    ),
    ("remove_buffers", "remove_buffers(s, 4, 7)", lambda m: (4, 7)),
    ("msg_ring", "msg_ring(s, 5, 6, 1ull<<63, 1)", lambda m: (5, 6, 1 << 63, 1)),
    (
        "msg_ring_cqe_flags",
        "msg_ring_cqe_flags(s, 5, 6, 7, 1, 9)",
        lambda m: (5, 6, 7, 1, 9),
    ),
    ("msg_ring_fd", "msg_ring_fd(s, 5, 6, 7, 8, 1)", lambda m: (5, 6, 7, 8, 1)),
    ("msg_ring_fd_alloc", "msg_ring_fd_alloc(s, 5, 6, 8, 1)", lambda m: (5, 6, 8, 1)),
    (
        "waitid",
        "waitid(s, P_PID, 77, P(0), 4, 0)",
        lambda m: (1, 77, m.target(0, 128), 4),
    ),
    (
        "futex_wake",
        "futex_wake(s, P(0), 1, 0xffffffff, 2, 0)",
        lambda m: (m.target(0, 4), 1, 0xFFFFFFFF, 2),
    ),
    (
        "futex_wait",
        "futex_wait(s, P(0), 1, 0xffffffff, 2, 0)",
        lambda m: (m.target(0, 4), 1, 0xFFFFFFFF, 2),
    ),
    ("futex_waitv", "futex_waitv(s, P(0), 2, 0)", lambda m: (m.waiters(0),)),
]

CASES = FILES + SOCKETS + RING

assert sys.byteorder == "little"
