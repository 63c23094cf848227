//! The native floor by readiness: an echo server in the shape a C programmer writes it. One epoll,
//! level-triggered, a 64 KiB buffer, recv and at once send, no Python. Prints its address and runs
//! until it is killed. What a full socket does not take is kept and sent when there is room.

const std = @import("std");
const linux = std.os.linux;
const net = @import("net.zig");

const max_fds = 20_000;
const listener_tag = std.math.maxInt(u32);

/// Bytes that the peer had no room for, by descriptor. While there are some, nothing is read.
var kept: [max_fds]?[]u8 = @splat(null);
var buffer: [64 * 1024]u8 = undefined;
var epoll: net.fd_t = undefined;

pub fn main() void {
    const listener = listen();
    epoll = @intCast(net.must(linux.epoll_create1(0), "epoll_create1"));
    net.epoll_set(epoll, linux.EPOLL.CTL_ADD, listener, linux.EPOLL.IN, listener_tag);
    var events: [256]linux.epoll_event = undefined;
    while (true) {
        const rc = linux.epoll_wait(epoll, &events, events.len, -1);
        if (linux.errno(rc) == .INTR) continue;
        for (events[0..net.must(rc, "epoll_wait")]) |event| {
            if (event.data.u32 == listener_tag) {
                accept(listener);
            } else if (kept[event.data.u32] != null) {
                resume_sending(@intCast(event.data.u32));
            } else {
                echo(@intCast(event.data.u32));
            }
        }
    }
}

fn listen() net.fd_t {
    const fd = net.tcp_socket();
    net.set_option(fd, linux.SOL.SOCKET, linux.SO.REUSEADDR, 1);
    var here = net.address(.{ 127, 0, 0, 1 }, 0);
    var len: linux.socklen_t = @sizeOf(@TypeOf(here));
    _ = net.must(linux.bind(fd, @ptrCast(&here), len), "bind");
    _ = net.must(linux.listen(fd, 1024), "listen");
    _ = net.must(linux.getsockname(fd, @ptrCast(&here), &len), "getsockname");
    var line: [64]u8 = undefined;
    const port = std.mem.bigToNative(u16, here.port);
    const text = std.fmt.bufPrint(&line, "listening on 127.0.0.1:{d}\n", .{port}) catch unreachable;
    _ = linux.write(2, text.ptr, text.len);
    return fd;
}

fn accept(listener: net.fd_t) void {
    while (true) {
        const flags = linux.SOCK.NONBLOCK | linux.SOCK.CLOEXEC;
        const rc = linux.accept4(listener, null, null, flags);
        if (linux.errno(rc) != .SUCCESS) return;
        const fd: net.fd_t = @intCast(rc);
        if (fd >= max_fds) net.die("too many connections", .{});
        net.set_option(fd, linux.IPPROTO.TCP, linux.TCP.NODELAY, 1);
        net.epoll_set(epoll, linux.EPOLL.CTL_ADD, fd, linux.EPOLL.IN, @intCast(fd));
    }
}

fn echo(fd: net.fd_t) void {
    const rc = linux.recvfrom(fd, &buffer, buffer.len, 0, null, null);
    if (linux.errno(rc) == .AGAIN) return;
    if (linux.errno(rc) != .SUCCESS or rc == 0) return drop(fd);
    send(fd, buffer[0..rc]);
}

fn send(fd: net.fd_t, bytes: []const u8) void {
    const rc = linux.sendto(fd, bytes.ptr, bytes.len, linux.MSG.NOSIGNAL, null, 0);
    const sent = switch (linux.errno(rc)) {
        .SUCCESS => rc,
        .AGAIN => 0,
        else => return drop(fd),
    };
    if (sent == bytes.len) return;
    const rest = std.heap.page_allocator.dupe(u8, bytes[sent..]) catch net.die("memory", .{});
    kept[@intCast(fd)] = rest;
    net.epoll_set(epoll, linux.EPOLL.CTL_MOD, fd, linux.EPOLL.OUT, @intCast(fd));
}

fn resume_sending(fd: net.fd_t) void {
    const rest = kept[@intCast(fd)].?;
    defer std.heap.page_allocator.free(rest);
    kept[@intCast(fd)] = null;
    net.epoll_set(epoll, linux.EPOLL.CTL_MOD, fd, linux.EPOLL.IN, @intCast(fd));
    send(fd, rest);
}

fn drop(fd: net.fd_t) void {
    if (kept[@intCast(fd)]) |rest| std.heap.page_allocator.free(rest);
    kept[@intCast(fd)] = null;
    _ = linux.close(fd);
}
