//! SQE builders for files and paths, as in liburing: each writes numbers and addresses into an SQE.
//! Owns no memory; the list at the end gives every builder its Python signature and a line of text.
//! Source: man 3 io_uring_prep_read and its neighbours, include/liburing.h (2.15).

const std = @import("std");
const kernel = @import("kernel.zig");
const sqe_types = @import("sqe.zig");
const linux = kernel.linux;
const Sqe = sqe_types.Sqe;
const Fd = sqe_types.Fd;
const Offset = sqe_types.Offset;
const Source = sqe_types.Source;
const Target = sqe_types.Target;
const SourceVector = sqe_types.SourceVector;
const TargetVector = sqe_types.TargetVector;
const Path = sqe_types.Path;
const OpenHow = sqe_types.OpenHow;
const FileIndex = sqe_types.FileIndex;
const Ints = sqe_types.Ints;
const Room = sqe_types.Room;
const set = sqe_types.set;
const set_file_index = sqe_types.set_file_index;
const unsigned = sqe_types.unsigned;

const at_cwd: i32 = linux.AT.FDCWD;

fn prep_read(sqe: *Sqe, fd: Fd, buffer: Target, offset: Offset) void {
    set(sqe, .READ, fd.number, buffer.addr, buffer.len, offset.value);
}

fn prep_write(sqe: *Sqe, fd: Fd, buffer: Source, offset: Offset) void {
    set(sqe, .WRITE, fd.number, buffer.addr, buffer.len, offset.value);
}

fn prep_readv(sqe: *Sqe, fd: Fd, buffers: TargetVector, offset: Offset) void {
    set(sqe, .READV, fd.number, buffers.addr, buffers.count, offset.value);
}

fn prep_readv2(sqe: *Sqe, fd: Fd, buffers: TargetVector, offset: Offset, flags: u32) void {
    prep_readv(sqe, fd, buffers, offset);
    sqe.rw_flags = flags;
}

fn prep_writev(sqe: *Sqe, fd: Fd, buffers: SourceVector, offset: Offset) void {
    set(sqe, .WRITEV, fd.number, buffers.addr, buffers.count, offset.value);
}

fn prep_writev2(sqe: *Sqe, fd: Fd, buffers: SourceVector, offset: Offset, flags: u32) void {
    prep_writev(sqe, fd, buffers, offset);
    sqe.rw_flags = flags;
}

fn prep_read_fixed(sqe: *Sqe, fd: Fd, buffer: Target, offset: Offset, buf_index: u16) void {
    set(sqe, .READ_FIXED, fd.number, buffer.addr, buffer.len, offset.value);
    sqe.buf_index = buf_index;
}

fn prep_write_fixed(sqe: *Sqe, fd: Fd, buffer: Source, offset: Offset, buf_index: u16) void {
    set(sqe, .WRITE_FIXED, fd.number, buffer.addr, buffer.len, offset.value);
    sqe.buf_index = buf_index;
}

fn prep_readv_fixed(sqe: *Sqe, fd: Fd, buffers: TargetVector, offset: Offset, flags: u32, index: u16) void {
    prep_readv2(sqe, fd, buffers, offset, flags);
    sqe.opcode = kernel.OP_READV_FIXED;
    sqe.buf_index = index;
}

fn prep_writev_fixed(sqe: *Sqe, fd: Fd, buffers: SourceVector, offset: Offset, flags: u32, index: u16) void {
    prep_writev2(sqe, fd, buffers, offset, flags);
    sqe.opcode = kernel.OP_WRITEV_FIXED;
    sqe.buf_index = index;
}

fn prep_read_multishot(sqe: *Sqe, fd: Fd, length: u32, offset: Offset, buf_group: u16) void {
    set(sqe, .READ_MULTISHOT, fd.number, 0, length, offset.value);
    sqe.buf_index = buf_group;
    sqe.flags = linux.IOSQE_BUFFER_SELECT;
}

fn prep_fsync(sqe: *Sqe, fd: Fd, flags: u32) void {
    set(sqe, .FSYNC, fd.number, 0, 0, 0);
    sqe.rw_flags = flags;
}

fn prep_sync_file_range(sqe: *Sqe, fd: Fd, length: u32, offset: u64, flags: u32) void {
    set(sqe, .SYNC_FILE_RANGE, fd.number, 0, length, offset);
    sqe.rw_flags = flags;
}

fn prep_fallocate(sqe: *Sqe, fd: Fd, mode: u32, offset: u64, length: u64) void {
    set(sqe, .FALLOCATE, fd.number, length, mode, offset);
}

fn prep_ftruncate(sqe: *Sqe, fd: Fd, length: u64) void {
    set(sqe, .FTRUNCATE, fd.number, 0, 0, length);
}

fn prep_fadvise(sqe: *Sqe, fd: Fd, offset: u64, length: u32, advice: u32) void {
    set(sqe, .FADVISE, fd.number, 0, length, offset);
    sqe.rw_flags = advice;
}

fn prep_fadvise64(sqe: *Sqe, fd: Fd, offset: u64, length: u64, advice: u32) void {
    set(sqe, .FADVISE, fd.number, length, 0, offset);
    sqe.rw_flags = advice;
}

fn prep_madvise(sqe: *Sqe, memory: Target, advice: u32) void {
    set(sqe, .MADVISE, -1, memory.addr, memory.len, 0);
    sqe.rw_flags = advice;
}

fn prep_madvise64(sqe: *Sqe, memory: Target, advice: u32) void {
    set(sqe, .MADVISE, -1, memory.addr, 0, memory.len);
    sqe.rw_flags = advice;
}

fn prep_splice(sqe: *Sqe, fd_in: Fd, off_in: Offset, fd_out: Fd, off_out: Offset, nbytes: u32, flags: u32) void {
    set(sqe, .SPLICE, fd_out.number, off_in.value, nbytes, off_out.value);
    sqe.splice_fd_in = fd_in.number;
    sqe.rw_flags = flags;
}

fn prep_tee(sqe: *Sqe, fd_in: Fd, fd_out: Fd, nbytes: u32, flags: u32) void {
    set(sqe, .TEE, fd_out.number, 0, nbytes, 0);
    sqe.splice_fd_in = fd_in.number;
    sqe.rw_flags = flags;
}

fn prep_openat(sqe: *Sqe, dfd: i32, path: Path, flags: i32, mode: u32) void {
    set(sqe, .OPENAT, dfd, path.addr, mode, 0);
    sqe.rw_flags = unsigned(flags);
}

fn prep_openat_direct(sqe: *Sqe, dfd: i32, path: Path, flags: i32, mode: u32, index: FileIndex) void {
    prep_openat(sqe, dfd, path, flags, mode);
    set_file_index(sqe, index);
}

fn prep_open(sqe: *Sqe, path: Path, flags: i32, mode: u32) void {
    prep_openat(sqe, at_cwd, path, flags, mode);
}

fn prep_open_direct(sqe: *Sqe, path: Path, flags: i32, mode: u32, index: FileIndex) void {
    prep_openat_direct(sqe, at_cwd, path, flags, mode, index);
}

fn prep_openat2(sqe: *Sqe, dfd: i32, path: Path, how: OpenHow) void {
    set(sqe, .OPENAT2, dfd, path.addr, 24, how.addr);
}

fn prep_openat2_direct(sqe: *Sqe, dfd: i32, path: Path, how: OpenHow, index: FileIndex) void {
    prep_openat2(sqe, dfd, path, how);
    set_file_index(sqe, index);
}

fn prep_close(sqe: *Sqe, fd: Fd) void {
    set(sqe, .CLOSE, fd.number, 0, 0, 0);
}

fn prep_close_direct(sqe: *Sqe, index: FileIndex) void {
    // Slot + 1 and no FIXED_FILE flag: with the flag the kernel answers EBADF (F18).
    set(sqe, .CLOSE, 0, 0, 0, 0);
    set_file_index(sqe, index);
}

fn prep_files_update(sqe: *Sqe, fds: Ints, offset: u32) void {
    set(sqe, .FILES_UPDATE, -1, fds.addr, fds.count, offset);
}

fn prep_fixed_fd_install(sqe: *Sqe, slot: u32, flags: u32) void {
    set(sqe, .FIXED_FD_INSTALL, @bitCast(slot), 0, 0, 0);
    sqe.flags = linux.IOSQE_FIXED_FILE;
    sqe.rw_flags = flags;
}

fn prep_statx(sqe: *Sqe, dfd: i32, path: Path, flags: u32, mask: u32, buffer: Room(256)) void {
    set(sqe, .STATX, dfd, path.addr, mask, buffer.addr);
    sqe.rw_flags = flags;
}

fn prep_unlinkat(sqe: *Sqe, dfd: i32, path: Path, flags: u32) void {
    set(sqe, .UNLINKAT, dfd, path.addr, 0, 0);
    sqe.rw_flags = flags;
}

fn prep_unlink(sqe: *Sqe, path: Path, flags: u32) void {
    prep_unlinkat(sqe, at_cwd, path, flags);
}

fn prep_renameat(sqe: *Sqe, old_dfd: i32, old: Path, new_dfd: i32, new: Path, flags: u32) void {
    set(sqe, .RENAMEAT, old_dfd, old.addr, unsigned(new_dfd), new.addr);
    sqe.rw_flags = flags;
}

fn prep_rename(sqe: *Sqe, old: Path, new: Path) void {
    prep_renameat(sqe, at_cwd, old, at_cwd, new, 0);
}

fn prep_mkdirat(sqe: *Sqe, dfd: i32, path: Path, mode: u32) void {
    set(sqe, .MKDIRAT, dfd, path.addr, mode, 0);
}

fn prep_mkdir(sqe: *Sqe, path: Path, mode: u32) void {
    prep_mkdirat(sqe, at_cwd, path, mode);
}

fn prep_symlinkat(sqe: *Sqe, target: Path, new_dfd: i32, path: Path) void {
    set(sqe, .SYMLINKAT, new_dfd, target.addr, 0, path.addr);
}

fn prep_symlink(sqe: *Sqe, target: Path, path: Path) void {
    prep_symlinkat(sqe, target, at_cwd, path);
}

fn prep_linkat(sqe: *Sqe, old_dfd: i32, old: Path, new_dfd: i32, new: Path, flags: u32) void {
    set(sqe, .LINKAT, old_dfd, old.addr, unsigned(new_dfd), new.addr);
    sqe.rw_flags = flags;
}

fn prep_link(sqe: *Sqe, old: Path, new: Path, flags: u32) void {
    prep_linkat(sqe, at_cwd, old, at_cwd, new, flags);
}

fn prep_getxattr(sqe: *Sqe, name: Path, value: Target, path: Path) void {
    set(sqe, .GETXATTR, 0, name.addr, value.len, value.addr);
    sqe.addr3 = path.addr;
}

fn prep_setxattr(sqe: *Sqe, name: Path, value: Source, path: Path, flags: u32) void {
    set(sqe, .SETXATTR, 0, name.addr, value.len, value.addr);
    sqe.addr3 = path.addr;
    sqe.rw_flags = flags;
}

fn prep_fgetxattr(sqe: *Sqe, fd: Fd, name: Path, value: Target) void {
    set(sqe, .FGETXATTR, fd.number, name.addr, value.len, value.addr);
}

fn prep_fsetxattr(sqe: *Sqe, fd: Fd, name: Path, value: Source, flags: u32) void {
    set(sqe, .FSETXATTR, fd.number, name.addr, value.len, value.addr);
    sqe.rw_flags = flags;
}

fn prep_pipe(sqe: *Sqe, fds: Room(8), flags: u32) void {
    set(sqe, kernel.OP_PIPE, 0, fds.addr, 0, 0);
    sqe.rw_flags = flags;
}

fn prep_pipe_direct(sqe: *Sqe, fds: Room(8), flags: u32, index: FileIndex) void {
    prep_pipe(sqe, fds, flags);
    set_file_index(sqe, index);
}

fn prep_cmd_discard(sqe: *Sqe, fd: Fd, offset: u64, nbytes: u64) void {
    const block_discard = 0x1200; // BLOCK_URING_CMD_DISCARD = _IO(0x12, 0), linux/blkdev.h
    set(sqe, .URING_CMD, fd.number, offset, 0, block_discard);
    sqe.addr3 = nbytes;
}

/// Name, function, Python parameters, what it does.
pub const builders = .{
    .{ "read", prep_read, "fd, buffer, offset=-1", "Read into buffer, as pread(2)." },
    .{ "write", prep_write, "fd, buffer, offset=-1", "Write buffer, as pwrite(2)." },
    .{ "readv", prep_readv, "fd, buffers, offset=-1", "Read into several buffers, as preadv(2)." },
    .{ "readv2", prep_readv2, "fd, buffers, offset=-1, flags=0", "As prep_readv, with RWF_* flags." },
    .{ "writev", prep_writev, "fd, buffers, offset=-1", "Write several buffers, as pwritev(2)." },
    .{ "writev2", prep_writev2, "fd, buffers, offset=-1, flags=0", "As prep_writev, with RWF_* flags." },
    .{ "read_fixed", prep_read_fixed, "fd, buffer, offset, buf_index", "Read into a part of registered buffer buf_index." },
    .{ "write_fixed", prep_write_fixed, "fd, buffer, offset, buf_index", "Write a part of registered buffer buf_index." },
    .{ "readv_fixed", prep_readv_fixed, "fd, buffers, offset, flags, buf_index", "Read into parts of a registered buffer (6.15)." },
    .{ "writev_fixed", prep_writev_fixed, "fd, buffers, offset, flags, buf_index", "Write parts of a registered buffer (6.15)." },
    .{ "read_multishot", prep_read_multishot, "fd, length, offset, buf_group", "Read into provided buffers again and again (6.7)." },
    .{ "fsync", prep_fsync, "fd, flags=0", "Flush a file to its device, as fsync(2)." },
    .{ "sync_file_range", prep_sync_file_range, "fd, length, offset, flags", "Flush a part, as sync_file_range(2)." },
    .{ "fallocate", prep_fallocate, "fd, mode, offset, length", "Reserve or punch, as fallocate(2)." },
    .{ "ftruncate", prep_ftruncate, "fd, length", "Set a file's length, as ftruncate(2) (6.9)." },
    .{ "fadvise", prep_fadvise, "fd, offset, length, advice", "Announce a use, as posix_fadvise(2)." },
    .{ "fadvise64", prep_fadvise64, "fd, offset, length, advice", "As prep_fadvise, with a 64-bit length." },
    .{ "madvise", prep_madvise, "memory, advice", "Announce a use of memory, as madvise(2)." },
    .{ "madvise64", prep_madvise64, "memory, advice", "As prep_madvise, with a 64-bit length." },
    .{ "splice", prep_splice, "fd_in, off_in, fd_out, off_out, nbytes, flags=0", "Move bytes between pipes and files, as splice(2)." },
    .{ "tee", prep_tee, "fd_in, fd_out, nbytes, flags=0", "Copy bytes between pipes, as tee(2)." },
    .{ "openat", prep_openat, "dfd, path, flags, mode=0", "Open a file, as openat(2)." },
    .{ "openat_direct", prep_openat_direct, "dfd, path, flags, mode, file_index", "Open into the fixed files." },
    .{ "open", prep_open, "path, flags, mode=0", "Open a file, as open(2)." },
    .{ "open_direct", prep_open_direct, "path, flags, mode, file_index", "Open into the fixed files." },
    .{ "openat2", prep_openat2, "dfd, path, how", "Open as openat2(2); how is (flags, mode, resolve)." },
    .{ "openat2_direct", prep_openat2_direct, "dfd, path, how, file_index", "As prep_openat2, into the fixed files." },
    .{ "close", prep_close, "fd", "Close a descriptor, as close(2)." },
    .{ "close_direct", prep_close_direct, "file_index", "Empty a slot of the fixed files." },
    .{ "files_update", prep_files_update, "fds, offset", "Fill slots of the fixed files from array('i')." },
    .{ "fixed_fd_install", prep_fixed_fd_install, "slot, flags=0", "Make an ordinary descriptor of a fixed file (6.8)." },
    .{ "statx", prep_statx, "dfd, path, flags, mask, buffer", "Read metadata into 256 bytes, as statx(2)." },
    .{ "unlinkat", prep_unlinkat, "dfd, path, flags=0", "Remove a name, as unlinkat(2)." },
    .{ "unlink", prep_unlink, "path, flags=0", "Remove a name, as unlink(2)." },
    .{ "renameat", prep_renameat, "old_dfd, old_path, new_dfd, new_path, flags=0", "Rename, as renameat2(2)." },
    .{ "rename", prep_rename, "old_path, new_path", "Rename, as rename(2)." },
    .{ "mkdirat", prep_mkdirat, "dfd, path, mode=511", "Make a directory, as mkdirat(2)." },
    .{ "mkdir", prep_mkdir, "path, mode=511", "Make a directory, as mkdir(2)." },
    .{ "symlinkat", prep_symlinkat, "target, new_dfd, path", "Make a symbolic link, as symlinkat(2)." },
    .{ "symlink", prep_symlink, "target, path", "Make a symbolic link, as symlink(2)." },
    .{ "linkat", prep_linkat, "old_dfd, old_path, new_dfd, new_path, flags=0", "Make a hard link, as linkat(2)." },
    .{ "link", prep_link, "old_path, new_path, flags=0", "Make a hard link, as link(2)." },
    .{ "getxattr", prep_getxattr, "name, value, path", "Read an extended attribute, as getxattr(2)." },
    .{ "setxattr", prep_setxattr, "name, value, path, flags=0", "Set an extended attribute, as setxattr(2)." },
    .{ "fgetxattr", prep_fgetxattr, "fd, name, value", "Read an extended attribute, as fgetxattr(2)." },
    .{ "fsetxattr", prep_fsetxattr, "fd, name, value, flags=0", "Set an extended attribute, as fsetxattr(2)." },
    .{ "pipe", prep_pipe, "fds, flags=0", "Make a pipe, as pipe2(2), into array('i', [0, 0]) (6.16)." },
    .{ "pipe_direct", prep_pipe_direct, "fds, flags, file_index", "Make a pipe in the fixed files (6.16)." },
    .{ "cmd_discard", prep_cmd_discard, "fd, offset, nbytes", "Discard a block device's bytes (6.12)." },
};
