"""A live test for each operation that the kernel carries out: files, memory, the ring itself."""

from __future__ import annotations

import array
import errno
import mmap
import os
import select
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from raw import collect, need, open_ring, prepared, result, run

import pyuring
from pyuring import CancelFlags, Op, Ring, SqeFlags

CWD = -100


@pytest.fixture
def ring() -> Iterator[Ring]:
    with open_ring() as ring:
        yield ring


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT, 0o600)
    yield fd
    os.close(fd)


def test_nop(ring: Ring) -> None:
    assert result(ring, "nop") == 0


def test_read_and_write(ring: Ring, file: int) -> None:
    assert result(ring, "write", file, b"hello world", 0) == 11
    buffer = bytearray(5)
    assert result(ring, "read", file, buffer, 6) == 5
    assert buffer == b"world"


def test_readv_and_writev(ring: Ring, file: int) -> None:
    assert result(ring, "writev", file, [b"ab", b"cde"], 0) == 5
    assert result(ring, "writev2", file, [b"X"], 5, os.RWF_DSYNC) == 1
    parts = [bytearray(3), bytearray(3)]
    assert result(ring, "readv", file, parts, 0) == 6
    assert parts == [b"abc", b"deX"]
    assert result(ring, "readv2", file, parts, 3, 0) == 3
    assert parts[0] == b"deX"


def test_fixed_buffers(ring: Ring, file: int) -> None:
    memory = bytearray(b"0123456789")
    ring.register_buffers([memory])
    assert result(ring, "write_fixed", file, memory, 0, 0) == 10
    view = memoryview(memory)
    assert result(ring, "read_fixed", file, view[2:5], 7, 0) == 3
    assert memory == b"0178956789"
    view.release()
    with pytest.raises(BufferError):
        memory.append(1)
    ring.unregister_buffers()
    memory.append(1)


def test_vectored_fixed_buffers(ring: Ring, file: int) -> None:
    need(ring, Op.READV_FIXED)
    memory = bytearray(b"0123456789")
    ring.register_buffers(1)
    ring.update_buffers(0, [memory])
    view = memoryview(memory)
    assert result(ring, "writev_fixed", file, [view[5:], view[:5]], 0, 0, 0) == 10
    assert result(ring, "readv_fixed", file, [view[:3]], 0, 0, 0) == 3
    assert memory == b"5673456789"


def test_read_multishot(ring: Ring) -> None:
    need(ring, Op.READ_MULTISHOT)
    reader, writer = os.pipe()
    with pyuring.BufferGroup(ring, 3, 4, 64) as group:
        prepared(ring, "read_multishot", reader, 0, -1, 3, user_data=9)
        ring.submit()
        for text in (b"one", b"three"):
            os.write(writer, text)
            (cqe,) = collect(ring, 1)
            assert cqe.more
            with group.view(cqe) as data:
                assert data == text
            group.return_buffer(cqe.buffer_id or 0)
        os.close(writer)
        (cqe,) = collect(ring, 1)
        assert (cqe.res, cqe.more) == (0, False)
    os.close(reader)


def test_fsync_and_ranges(ring: Ring, file: int) -> None:
    assert result(ring, "fallocate", file, 0, 0, 8192) == 0
    assert os.fstat(file).st_size == 8192
    assert result(ring, "fsync", file, 1) == 0
    assert result(ring, "sync_file_range", file, 4096, 0, 2) == 0
    assert result(ring, "fadvise", file, 0, 4096, os.POSIX_FADV_WILLNEED) == 0
    assert result(ring, "fadvise64", file, 0, 4096, os.POSIX_FADV_WILLNEED) == 0


def test_ftruncate(ring: Ring, file: int) -> None:
    need(ring, Op.FTRUNCATE)
    assert result(ring, "ftruncate", file, 100) == 0
    assert os.fstat(file).st_size == 100


def test_madvise(ring: Ring) -> None:
    with mmap.mmap(-1, 8192) as memory:
        memory[:5] = b"hello"
        assert result(ring, "madvise", memory, mmap.MADV_WILLNEED) == 0
        assert run(ring, "madvise64", memory, mmap.MADV_DONTNEED).res in (0, -errno.EINVAL)


def test_splice_and_tee(ring: Ring, file: int) -> None:
    os.pwrite(file, b"through pipes", 0)
    first, second = os.pipe(), os.pipe()
    assert result(ring, "splice", file, 0, first[1], -1, 13) == 13
    assert result(ring, "tee", first[0], second[1], 7) == 7
    assert os.read(second[0], 99) == b"through"
    assert os.read(first[0], 99) == b"through pipes"
    for fd in (*first, *second):
        os.close(fd)


def test_open_and_close(ring: Ring, tmp_path: Path) -> None:
    path = tmp_path / "new"
    fd = result(ring, "open", path, os.O_CREAT | os.O_WRONLY, 0o640)
    assert path.stat().st_mode & 0o777 == 0o640
    assert result(ring, "close", fd) == 0
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)
    directory = os.open(tmp_path, os.O_DIRECTORY)
    for name, arguments in (
        ("openat", (directory, b"new", os.O_RDONLY)),
        ("openat2", (directory, "new", (os.O_RDONLY, 0, 0))),
    ):
        os.close(result(ring, name, *arguments))
    os.close(directory)
    with pytest.raises(FileNotFoundError):
        result(ring, "open", tmp_path / "none", os.O_RDONLY)


def test_f18_direct_descriptors_end_to_end(ring: Ring, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    ring.register_files(4)
    path, how = tmp_path / "a", (os.O_RDONLY, 0, 0)
    buffer = bytearray(4)
    for _ in range(10):
        assert result(ring, "open_direct", path, os.O_RDONLY, 0, 1) == 0
        assert result(ring, "openat_direct", CWD, path, os.O_RDONLY, 0, 2) == 0
        picked = result(ring, "openat2_direct", CWD, path, how, pyuring.FILE_INDEX_ALLOC)
        for slot in (1, 2, picked):
            assert result(ring, "read", slot, buffer, 0, flags=SqeFlags.FIXED_FILE) == 4
            assert result(ring, "close_direct", slot) == 0
        with pytest.raises(OSError, match="Bad file"):
            result(ring, "read", 1, buffer, 0, flags=SqeFlags.FIXED_FILE)
    ring.unregister_files()


def test_files_update_and_install(ring: Ring, file: int) -> None:
    ring.register_files([-1, -1, file])
    fds = array.array("i", [file])
    assert result(ring, "files_update", fds, 1) == 1
    assert ring.update_files(2, [-1]) == 1
    need(ring, Op.FIXED_FD_INSTALL)
    fd = result(ring, "fixed_fd_install", 1, 0)
    assert os.fstat(fd).st_ino == os.fstat(file).st_ino
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_statx(ring: Ring, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(1234))
    buffer = bytearray(256)
    assert result(ring, "statx", CWD, tmp_path / "a", 0, 0x7FF, buffer) == 0
    assert struct.unpack_from("=Q", buffer, 40) == (1234,)


def test_names(ring: Ring, tmp_path: Path) -> None:
    need(ring, Op.LINKAT)
    where = os.open(tmp_path, os.O_DIRECTORY)
    assert result(ring, "mkdir", tmp_path / "d") == 0
    assert result(ring, "mkdirat", where, "e", 0o700) == 0
    (tmp_path / "d" / "f").write_text("x")
    assert result(ring, "link", tmp_path / "d/f", tmp_path / "g") == 0
    assert result(ring, "linkat", where, "g", where, "h") == 0
    assert result(ring, "symlink", "h", tmp_path / "s") == 0
    assert result(ring, "symlinkat", "g", where, "t") == 0
    assert result(ring, "rename", tmp_path / "h", tmp_path / "i") == 0
    assert result(ring, "renameat", where, "i", where, "j", 1) == 0
    assert result(ring, "unlink", tmp_path / "g") == 0
    assert result(ring, "unlinkat", where, "e", 0x200) == 0
    assert sorted(os.listdir(tmp_path)) == ["d", "j", "s", "t"]
    assert os.readlink(tmp_path / "t") == "g"
    os.close(where)


def test_extended_attributes(ring: Ring, tmp_path: Path) -> None:
    need(ring, Op.FSETXATTR)
    path = tmp_path / "a"
    path.touch()
    if run(ring, "setxattr", "user.one", b"value", path).res == -errno.EOPNOTSUPP:
        pytest.skip("this file system has no extended attributes")
    buffer = bytearray(16)
    assert result(ring, "getxattr", "user.one", buffer, path) == 5
    fd = os.open(path, os.O_RDWR)
    assert result(ring, "fsetxattr", fd, "user.two", b"other") == 0
    assert result(ring, "fgetxattr", fd, "user.two", buffer) == 5
    assert buffer[:5] == b"other"
    os.close(fd)


def test_pipe(ring: Ring) -> None:
    need(ring, Op.PIPE)
    fds = array.array("i", [0, 0])
    assert result(ring, "pipe", fds, os.O_CLOEXEC) == 0
    os.write(fds[1], b"x")
    assert os.read(fds[0], 1) == b"x"
    os.close(fds[0])
    os.close(fds[1])
    ring.register_files(2)
    assert result(ring, "pipe_direct", fds, 0, pyuring.FILE_INDEX_ALLOC) == 0
    assert sorted(fds) == [0, 1]


def test_timeouts(ring: Ring) -> None:
    assert run(ring, "timeout", 0.001).res == -errno.ETIME
    prepared(ring, "timeout", 3600, user_data=5)
    ring.submit()
    prepared(ring, "timeout_update", 0.001, 5, user_data=6)
    ring.submit()
    assert [(c.user_data, c.res) for c in collect(ring, 2)] == [(6, 0), (5, -errno.ETIME)]
    prepared(ring, "timeout", 3600, user_data=-5)
    prepared(ring, "timeout_remove", -5, user_data=8)
    ring.submit()
    assert {c.user_data: c.res for c in collect(ring, 2)} == {8: 0, -5: -errno.ECANCELED}


def test_link_timeout(ring: Ring) -> None:
    reader, writer = os.pipe()
    prepared(ring, "read", reader, bytearray(1), user_data=1, flags=SqeFlags.IO_LINK)
    prepared(ring, "link_timeout", 0.001, user_data=2)
    ring.submit()
    assert {c.user_data: c.res for c in collect(ring, 2)} == {1: -errno.ECANCELED, 2: -errno.ETIME}
    os.close(reader)
    os.close(writer)


def test_polls(ring: Ring) -> None:
    reader, writer = os.pipe()
    assert result(ring, "poll_add", writer, select.POLLOUT) & select.POLLOUT
    prepared(ring, "poll_multishot", reader, select.POLLIN, user_data=1 << 70)
    ring.submit()
    os.write(writer, b"x")
    (cqe,) = collect(ring, 1)
    assert (cqe.user_data, cqe.more) == (1 << 70, True)
    os.read(reader, 1)
    rename = pyuring.PollFlags.UPDATE_USER_DATA | pyuring.PollFlags.ADD_MULTI
    assert result(ring, "poll_update", 1 << 70, -3, 0, rename, user_data=4) == 0
    prepared(ring, "poll_remove", -3, user_data=5)
    ring.submit()
    assert {c.user_data: c.res for c in collect(ring, 2)} == {5: 0, -3: -errno.ECANCELED}
    assert run(ring, "poll_remove", 1 << 70).res == -errno.ENOENT
    os.close(reader)
    os.close(writer)


def test_cancels(ring: Ring) -> None:
    reader, writer = os.pipe()
    for data in (1, 1, 1, 2, 1 << 64 | 2):
        prepared(ring, "poll_add", reader, select.POLLIN, user_data=data)
    ring.submit()
    prepared(ring, "cancel", 1 << 64 | 2, user_data=9)
    ring.submit()
    seen = {c.user_data: c.res for c in collect(ring, 2)}
    assert seen == {1 << 64 | 2: -errno.ECANCELED, 9: 0}
    prepared(ring, "cancel", 1, CancelFlags.ALL, user_data=9)
    ring.submit()
    found = sorted((c.user_data, c.res) for c in collect(ring, 4))
    assert found == [(1, -errno.ECANCELED)] * 3 + [(9, 3)]
    prepared(ring, "cancel_fd", reader, CancelFlags.ALL, user_data=9)
    ring.submit()
    assert sorted((c.user_data, c.res) for c in collect(ring, 2)) == [(2, -errno.ECANCELED), (9, 1)]
    os.close(reader)
    os.close(writer)


def test_epoll(ring: Ring) -> None:
    reader, writer = os.pipe()
    poll = select.epoll()
    assert result(ring, "epoll_ctl", poll, reader, 1, (select.EPOLLIN, 77)) == 0
    os.write(writer, b"x")
    assert poll.poll(5) == [(77, select.EPOLLIN)]
    if Op.EPOLL_WAIT in ring.operations():
        assert result(ring, "epoll_wait", poll, bytearray(32)) == 1
    poll.close()
    os.close(reader)
    os.close(writer)


def test_messages_between_rings(ring: Ring, file: int) -> None:
    need(ring, Op.MSG_RING)
    with open_ring() as other:
        assert result(ring, "msg_ring", other, 55, 1 << 63 | 7) == 0
        (cqe,) = collect(other, 1)
        assert (cqe.user_data, cqe.res) == (1 << 63 | 7, 55)
        assert result(ring, "msg_ring_cqe_flags", other, 56, 8, 0, 1 << 20) == 0
        (cqe,) = collect(other, 1)
        assert (cqe.user_data, cqe.res, cqe.flags) == (8, 56, 1 << 20)
        ring.register_files([file])
        other.register_files(2)
        assert result(ring, "msg_ring_fd", other, 0, 1, 5, 0) == 0
        assert result(ring, "msg_ring_fd_alloc", other, 0, 6, 0) == 0
        assert [c.user_data for c in collect(other, 2)] == [5, 6]


def test_waitid(ring: Ring) -> None:
    need(ring, Op.WAITID)
    child = os.posix_spawn("/bin/true", ["true"], {})
    info = bytearray(128)
    assert result(ring, "waitid", os.P_PID, child, info, os.WEXITED) == 0
    assert struct.unpack_from("=iii", info) == (17, 0, 1)  # SIGCHLD, no error, CLD_EXITED
    assert child in struct.unpack_from("=2i", info, 12)  # after padding on 64-bit machines


def test_futexes(ring: Ring) -> None:
    need(ring, Op.FUTEX_WAITV)
    futex, other = array.array("I", [7]), array.array("I", [1])
    size_u32, anyone = 2, 0xFFFFFFFF
    prepared(ring, "futex_wait", futex, 7, anyone, size_u32, user_data=1)
    ring.submit()
    with pytest.raises(BufferError):
        futex.append(1)
    prepared(ring, "futex_wake", futex, 1, anyone, size_u32, user_data=2)
    ring.submit()
    assert {c.user_data: c.res for c in collect(ring, 2)} == {1: 0, 2: 1}
    prepared(ring, "futex_waitv", [(futex, 7, size_u32), (other, 1, size_u32)], user_data=3)
    ring.submit()
    prepared(ring, "futex_wake", other, 1, anyone, size_u32, user_data=4)
    ring.submit()
    assert {c.user_data: c.res for c in collect(ring, 2)} == {3: 1, 4: 1}


def test_buffers_provided_and_removed(ring: Ring) -> None:
    assert result(ring, "provide_buffers", bytearray(256), 64, 4, 7, 0) >= 0
    assert result(ring, "remove_buffers", 4, 7) == 4


def test_driver_commands(ring: Ring, file: int) -> None:
    need(ring, Op.URING_CMD)
    assert run(ring, "uring_cmd", 0, file).res == -errno.EOPNOTSUPP
    assert run(ring, "cmd_discard", file, 0, 512).res < 0
