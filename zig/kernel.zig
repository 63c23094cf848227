//! The io_uring ABI as the kernel's headers give it, where std.os.linux lacks a name or a shape,
//! and the few plain system calls the library makes. Owns nothing and keeps no state.
//!
//! A system call's result stays what the kernel says, >= 0 or -errno, as an i32: `ok` and `errno_of`
//! read it. Errors become Zig error sets one layer up, where their meaning is known.

const std = @import("std");
const builtin = @import("builtin");
const poison = @import("poison.zig");
pub const linux = std.os.linux;

pub const Cqe = linux.io_uring_cqe;
pub const Params = linux.io_uring_params;
pub const E = linux.E;

// Set-up flags after NO_SQARRAY (include/uapi/linux/io_uring.h, 6.18).
pub const IORING_SETUP_HYBRID_IOPOLL: u32 = 1 << 17;
pub const IORING_SETUP_CQE_MIXED: u32 = 1 << 18;

// Feature bits after LINKED_FILE.
pub const IORING_FEAT_REG_REG_RING: u32 = 1 << 13;
pub const IORING_FEAT_RECVSEND_BUNDLE: u32 = 1 << 14;
pub const IORING_FEAT_MIN_TIMEOUT: u32 = 1 << 15;
pub const IORING_FEAT_RW_ATTR: u32 = 1 << 16;
pub const IORING_FEAT_NO_IOWAIT: u32 = 1 << 17;

// Operations after RECV_ZC: 6.15 (the first three) and 6.16.
pub const OP_EPOLL_WAIT: linux.IORING_OP = @enumFromInt(59);
pub const OP_READV_FIXED: linux.IORING_OP = @enumFromInt(60);
pub const OP_WRITEV_FIXED: linux.IORING_OP = @enumFromInt(61);
pub const OP_PIPE: linux.IORING_OP = @enumFromInt(62);

comptime {
    std.debug.assert(@intFromEnum(linux.IORING_OP.RECV_ZC) == 58);
    for (.{ "EPOLL_WAIT", "READV_FIXED", "WRITEV_FIXED", "PIPE" }) |name| {
        if (@hasField(linux.IORING_OP, name)) {
            std.debug.assert(@field(linux.IORING_OP, name) == @field(@This(), "OP_" ++ name));
        }
    }
}

// Every check below fails to compile once std's value exists and differs from ours.
comptime {
    for (.{
        "IORING_SETUP_HYBRID_IOPOLL",  "IORING_SETUP_CQE_MIXED",  "IORING_FEAT_REG_REG_RING",
        "IORING_FEAT_RECVSEND_BUNDLE", "IORING_FEAT_MIN_TIMEOUT", "IORING_FEAT_RW_ATTR",
        "IORING_FEAT_NO_IOWAIT",
    }) |name| {
        if (@hasDecl(linux, name)) std.debug.assert(@field(linux, name) == @field(@This(), name));
    }
}

/// struct io_uring_buf: an entry of a ring of buffers. The first entry's `tail` is the ring's (F28).
pub const BufferEntry = extern struct { addr: u64, len: u32, bid: u16, tail: u16 };

/// struct io_uring_buf_reg.
pub const BufferRegistration = extern struct {
    ring_addr: u64,
    ring_entries: u32,
    bgid: u16,
    flags: u16 = 0,
    resv: [3]u64 = @splat(0),
};

comptime {
    std.debug.assert(@sizeOf(BufferEntry) == 16 and @offsetOf(BufferEntry, "tail") == 14);
    std.debug.assert(@sizeOf(BufferRegistration) == 40);
}

/// True for a result that is not an error.
pub fn ok(result: i32) bool {
    return result >= 0;
}

/// -errno for one of the kernel's error numbers.
pub fn negative(e: E) i32 {
    return -@as(i32, @intFromEnum(e));
}

/// The error number of a negative result.
pub fn errno_of(result: i32) E {
    std.debug.assert(result < 0);
    return @enumFromInt(-result);
}

/// A raw system call's return value as >= 0 or -errno.
pub fn result_of(raw: usize) i32 {
    const signed: isize = @bitCast(raw);
    std.debug.assert(signed >= -4095 and signed <= std.math.maxInt(i32));
    return @intCast(signed);
}

pub fn setup(entries: u32, params: *Params) i32 {
    return result_of(linux.io_uring_setup(entries, params));
}

/// io_uring_enter(2) with its extended argument: a raw call, for std's wrapper takes a signal set.
pub fn enter(fd: i32, to_submit: u32, min_complete: u32, flags: u32, arg: ?*const anyopaque, size: usize) i32 {
    return result_of(linux.syscall6(
        .io_uring_enter,
        @as(usize, @bitCast(@as(isize, fd))),
        to_submit,
        min_complete,
        flags,
        @intFromPtr(arg),
        size,
    ));
}

pub fn register(fd: i32, opcode: u32, arg: ?*const anyopaque, count: u32) i32 {
    return result_of(linux.syscall4(
        .io_uring_register,
        @as(usize, @bitCast(@as(isize, fd))),
        opcode,
        @intFromPtr(arg),
        count,
    ));
}

/// Anonymous zeroed memory from the kernel, or null. Page aligned; `unmap` returns it.
pub fn map_anonymous(size: usize) ?[]align(std.heap.page_size_min) u8 {
    const raw = linux.mmap(
        null,
        size,
        .{ .READ = true, .WRITE = true },
        .{ .TYPE = .PRIVATE, .ANONYMOUS = true },
        -1,
        0,
    );
    if (linux.errno(raw) != .SUCCESS) return null;
    const pointer: [*]align(std.heap.page_size_min) u8 = @ptrFromInt(raw);
    return pointer[0..size];
}

pub fn unmap(memory: []align(std.heap.page_size_min) const u8) void {
    if (poison.enabled) return poison.give(@constCast(memory.ptr), memory.len);
    _ = linux.munmap(memory.ptr, memory.len);
}

pub fn close(fd: i32) void {
    _ = linux.close(fd);
}

/// accept4(2) that does not block, whatever the listener's own mode: it is polled first. Another
/// process that accepts from it may have been faster: then it waits for a millisecond.
pub fn accept_nonblocking(listener: i32) i32 {
    var ready = linux.pollfd{ .fd = listener, .events = linux.POLL.IN, .revents = 0 };
    const polled = result_of(linux.poll(@ptrCast(&ready), 1, 0));
    if (polled < 0) return polled;
    if (ready.revents & linux.POLL.IN == 0) return negative(.AGAIN);
    return accept_briefly(listener);
}

/// The time is the socket's, which others may share: it is given back at once (socket(7)).
fn accept_briefly(listener: i32) i32 {
    var before: linux.timeval = undefined;
    var size: linux.socklen_t = @sizeOf(linux.timeval);
    _ = linux.getsockopt(listener, linux.SOL.SOCKET, linux.SO.RCVTIMEO, std.mem.asBytes(&before), &size);
    const endless = size == @sizeOf(linux.timeval) and before.sec == 0 and before.usec == 0;
    if (endless) set_receive_time(listener, .{ .sec = 0, .usec = 1000 });
    defer if (endless) set_receive_time(listener, before);
    return result_of(linux.accept4(listener, null, null, linux.SOCK.NONBLOCK | linux.SOCK.CLOEXEC));
}

fn set_receive_time(socket: i32, time: linux.timeval) void {
    _ = linux.setsockopt(socket, linux.SOL.SOCKET, linux.SO.RCVTIMEO, std.mem.asBytes(&time), @sizeOf(linux.timeval));
}

// What an epoll ring carries out itself, on descriptors that it was told are ready. Addresses are
// those of a submission entry.

pub fn read(fd: i32, address: u64, count: usize) i32 {
    return result_of(linux.read(fd, @ptrFromInt(address), count));
}

/// Whether bytes lie in a socket.
pub fn has_bytes(socket: i32) bool {
    var count: i32 = 0;
    return ok(result_of(linux.ioctl(socket, linux.T.FIONREAD, @intFromPtr(&count)))) and count > 0;
}

pub fn receive(socket: i32, address: u64, count: usize) i32 {
    return result_of(linux.recvfrom(socket, @ptrFromInt(address), count, linux.MSG.DONTWAIT, null, null));
}

pub fn send(socket: i32, address: u64, count: usize, flags: u32) i32 {
    return result_of(linux.sendto(socket, @ptrFromInt(address), count, flags, null, 0));
}

pub fn send_message(socket: i32, header: u64, flags: u32) i32 {
    return result_of(linux.sendmsg(socket, @ptrFromInt(header), flags));
}

pub fn connect(socket: i32, address: u64, length: u32) i32 {
    return result_of(linux.connect(socket, @ptrFromInt(address), length));
}

pub fn shutdown(socket: i32, how: i32) i32 {
    return result_of(linux.shutdown(socket, how));
}

/// What became of a connect that was in progress: 0, or -errno.
pub fn socket_error(socket: i32) i32 {
    var code: i32 = 0;
    var size: linux.socklen_t = @sizeOf(i32);
    const result = result_of(linux.getsockopt(socket, linux.SOL.SOCKET, linux.SO.ERROR, @ptrCast(&code), &size));
    return if (result < 0) result else -code;
}

pub fn set_nonblocking(fd: i32) void {
    const flags = linux.fcntl(fd, linux.F.GETFL, 0);
    const nonblocking: u32 = @bitCast(linux.O{ .NONBLOCK = true });
    _ = linux.fcntl(fd, linux.F.SETFL, flags | nonblocking);
}

/// Maps a ring's shared area; a child made by fork does not get it.
pub fn map_area(fd: i32, size: usize, offset: u64, failure: *i32) error{SetupFailed}![]align(std.heap.page_size_min) u8 {
    const raw = linux.mmap(
        null,
        size,
        .{ .READ = true, .WRITE = true },
        .{ .TYPE = .SHARED, .POPULATE = true },
        fd,
        @intCast(offset),
    );
    if (linux.errno(raw) != .SUCCESS) {
        failure.* = negative(linux.errno(raw));
        return error.SetupFailed;
    }
    const pointer: [*]align(std.heap.page_size_min) u8 = @ptrFromInt(raw);
    // A child made by fork must not share the queues (F20): it would corrupt the parent's ring.
    _ = linux.madvise(pointer, size, linux.MADV.DONTFORK);
    return pointer[0..size];
}

/// sendfile(2) from `offset`, on a socket that does not block. To a peer that is gone it sends SIGPIPE
/// to the thread, for it knows no MSG_NOSIGNAL: where the application has restored that signal's
/// default, as programs that write to pipes do, any peer could end the process.
pub fn send_file(socket: i32, file: i32, offset: u64, count: usize) i32 {
    var from: i64 = @intCast(offset);
    var pipe = linux.sigemptyset();
    linux.sigaddset(&pipe, .PIPE);
    var before: linux.sigset_t = undefined;
    _ = linux.sigprocmask(linux.SIG.BLOCK, &pipe, &before);
    const result = result_of(linux.sendfile(socket, file, &from, count));
    // Bytes that went before the end was noticed hide the error.
    if (result != count and !linux.sigismember(&before, .PIPE)) {
        const now = linux.timespec{ .sec = 0, .nsec = 0 };
        _ = linux.syscall4(.rt_sigtimedwait, @intFromPtr(&pipe), 0, @intFromPtr(&now), @sizeOf(linux.sigset_t));
    }
    _ = linux.sigprocmask(linux.SIG.SETMASK, &before, null);
    return result;
}

/// Has a close end the connection by a reset, which no peer takes for an orderly end. A socket
/// that knows no resets stays as it is.
pub fn reset_when_closed(socket: i32) void {
    const Linger = extern struct { on: c_int = 1, seconds: c_int = 0 };
    _ = linux.setsockopt(socket, linux.SOL.SOCKET, linux.SO.LINGER, std.mem.asBytes(&Linger{}), @sizeOf(Linger));
}

/// Nanoseconds since 1970, as the machine's clock has it.
pub fn real_ns() u64 {
    var now: linux.timespec = undefined;
    const raw = linux.clock_gettime(.REALTIME, &now);
    std.debug.assert(linux.errno(raw) == .SUCCESS);
    return @as(u64, @intCast(now.sec)) * std.time.ns_per_s + @as(u64, @intCast(now.nsec));
}

/// Nanoseconds of the monotonic clock (CLOCK_MONOTONIC: no jumps, stops in suspend).
pub fn monotonic_ns() u64 {
    var now: linux.timespec = undefined;
    const raw = linux.clock_gettime(.MONOTONIC, &now);
    std.debug.assert(linux.errno(raw) == .SUCCESS);
    return @as(u64, @intCast(now.sec)) * std.time.ns_per_s + @as(u64, @intCast(now.nsec));
}

test "an accept that another process was faster for does not wait, and leaves the socket as it was" {
    const listener = result_of(linux.socket(linux.AF.UNIX, linux.SOCK.STREAM | linux.SOCK.CLOEXEC, 0));
    try std.testing.expect(ok(listener));
    defer close(listener);
    const address = linux.sockaddr.un{ .path = @splat(0) }; // abstract: the kernel gives it a name
    try std.testing.expectEqual(0, linux.bind(listener, @ptrCast(&address), @sizeOf(linux.sa_family_t)));
    try std.testing.expectEqual(0, linux.listen(listener, 1));
    try std.testing.expectEqual(negative(.AGAIN), accept_briefly(listener)); // nobody is there: it would block
    var after: linux.timeval = undefined;
    var size: linux.socklen_t = @sizeOf(linux.timeval);
    _ = linux.getsockopt(listener, linux.SOL.SOCKET, linux.SO.RCVTIMEO, std.mem.asBytes(&after), &size);
    try std.testing.expectEqual(0, after.sec);
    try std.testing.expectEqual(0, after.usec);
}
