//! Sockets, clocks and the byte pattern that the load generator and the native peer share.
//! Owns no state. Never retries, never hides an error: a bench that cannot connect must say so and end.

const std = @import("std");
const linux = std.os.linux;

pub const fd_t = linux.fd_t;

/// A length that divides no message size we use, so that a message never repeats at the same place.
const pattern_period = 65521;
/// The longest piece that can be sent or verified at once.
pub const piece_max = 64 * 1024;

/// Write one line to a descriptor and stop on failure.
pub fn die(comptime format: []const u8, args: anytype) noreturn {
    var line: [512]u8 = undefined;
    const text = std.fmt.bufPrint(&line, "bench: " ++ format ++ "\n", args) catch "bench: error\n";
    _ = linux.write(2, text.ptr, text.len);
    linux.exit_group(1);
}

/// The result of a system call, or the end of the program with the call's name and errno.
pub fn must(rc: usize, comptime what: []const u8) usize {
    const err = linux.errno(rc);
    if (err != .SUCCESS) die("{s}: {s}", .{ what, @tagName(err) });
    return rc;
}

pub fn monotonic_ns() u64 {
    var ts: linux.timespec = undefined;
    _ = linux.clock_gettime(.MONOTONIC, &ts);
    return to_ns(ts);
}

/// CPU time of a process, all its threads, exited ones and kernel workers included, user and
/// system, in ns. The clock's number is made from the pid as in clock_getcpuclockid(3).
pub fn process_cpu_ns(pid: i32) u64 {
    const cpuclock_sched: i32 = 2;
    const clock: i32 = (~pid << 3) | cpuclock_sched;
    var ts: linux.timespec = undefined;
    const number: usize = @bitCast(@as(isize, clock));
    _ = must(linux.syscall2(.clock_gettime, number, @intFromPtr(&ts)), "clock_gettime of the server");
    return to_ns(ts);
}

fn to_ns(ts: linux.timespec) u64 {
    return @as(u64, @intCast(ts.sec)) * std.time.ns_per_s + @as(u64, @intCast(ts.nsec));
}

pub fn address(host: [4]u8, port: u16) linux.sockaddr.in {
    return .{ .port = std.mem.nativeToBig(u16, port), .addr = @bitCast(host) };
}

pub fn set_option(fd: fd_t, level: i32, name: u32, value: u32) void {
    _ = must(linux.setsockopt(fd, level, name, std.mem.asBytes(&value), 4), "setsockopt");
}

pub fn tcp_socket() fd_t {
    const kind = linux.SOCK.STREAM | linux.SOCK.NONBLOCK | linux.SOCK.CLOEXEC;
    const fd: fd_t = @intCast(must(linux.socket(linux.AF.INET, kind, 0), "socket"));
    set_option(fd, linux.IPPROTO.TCP, linux.TCP.NODELAY, 1);
    return fd;
}

pub fn allocate(comptime T: type, count: usize) []T {
    return std.heap.page_allocator.alloc(T, count) catch die("out of memory", .{});
}

pub fn epoll_set(epoll: fd_t, op: u32, fd: fd_t, events: u32, tag: u32) void {
    var event: linux.epoll_event = .{ .events = events, .data = .{ .u32 = tag } };
    _ = must(linux.epoll_ctl(epoll, op, fd, &event), "epoll_ctl");
}

/// An endless pseudo-random byte stream per connection. Both ends can be cut out of one small
/// table without copying, so that sending and verifying cost next to nothing and are still real:
/// bytes of another connection, another message or another order do not match.
pub const Pattern = struct {
    bytes: [pattern_period + piece_max]u8,

    pub fn init(pattern: *Pattern) void {
        var random = std.Random.DefaultPrng.init(0x70797572696e67);
        random.fill(pattern.bytes[0..pattern_period]);
        @memcpy(pattern.bytes[pattern_period..][0..pattern_period], pattern.bytes[0..pattern_period]);
        @memcpy(
            pattern.bytes[2 * pattern_period ..],
            pattern.bytes[0 .. pattern.bytes.len - 2 * pattern_period],
        );
    }

    /// The bytes of connection `stream` from `offset` on; `len` is at most piece_max.
    pub fn at(pattern: *const Pattern, stream: u64, offset: u64, len: usize) []const u8 {
        const start = (stream *% 7919 +% offset) % pattern_period;
        return pattern.bytes[start..][0..len];
    }
};

comptime {
    // init() unrolls the period exactly twice and a rest.
    std.debug.assert(piece_max > pattern_period);
    std.debug.assert(piece_max - pattern_period < pattern_period);
}
