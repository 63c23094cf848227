//! The echo load: every connection keeps `depth` messages in flight and checks each byte that
//! comes back against its place in its own stream. One epoll, level-triggered, one receive per
//! event. Never sleeps, so that the server under test is what limits the rate.

const std = @import("std");
const linux = std.os.linux;
const net = @import("net.zig");
const load = @import("load.zig");

const Connection = struct {
    fd: net.fd_t,
    stream: u64,
    /// Bytes handed to the kernel, and bytes that came back right.
    sent: u64 = 0,
    received: u64 = 0,
    /// When each message in flight was sent, a ring of `depth`.
    sent_at: []u64,
    waits_for_room: bool = false,
    open: bool = true,
};

const Loop = struct {
    options: *const load.Options,
    pattern: *const net.Pattern,
    report: *load.Report,
    epoll: net.fd_t,
    connections: []Connection,
    stopping: bool = false,
    buffer: [net.piece_max]u8 = undefined,

    /// Send what the depth allows; a full socket is waited for.
    fn send(loop: *Loop, connection: *Connection, now: u64) void {
        const size = loop.options.size;
        const allowed = (connection.received / size + loop.options.depth) * size;
        while (connection.sent < allowed) {
            const len: usize = @intCast(@min(allowed - connection.sent, net.piece_max));
            const piece = loop.pattern.at(connection.stream, connection.sent, len);
            const rc = linux.sendto(connection.fd, piece.ptr, len, linux.MSG.NOSIGNAL, null, 0);
            switch (linux.errno(rc)) {
                .SUCCESS => {},
                .AGAIN => break,
                else => return loop.lose(connection),
            }
            stamp(connection, loop.options, rc, now);
        }
        loop.watch(connection, connection.sent < allowed);
    }

    /// A message's clock starts when its first byte is handed over.
    fn stamp(connection: *Connection, options: *const load.Options, len: usize, now: u64) void {
        var message = std.math.divCeil(u64, connection.sent, options.size) catch unreachable;
        connection.sent += len;
        while (message * options.size < connection.sent) : (message += 1) {
            connection.sent_at[message % options.depth] = now;
        }
    }

    fn watch(loop: *Loop, connection: *Connection, wants_room: bool) void {
        if (connection.waits_for_room == wants_room) return;
        connection.waits_for_room = wants_room;
        const events: u32 = linux.EPOLL.IN | if (wants_room) @as(u32, linux.EPOLL.OUT) else 0;
        const tag: u32 = @intCast(connection.stream);
        net.epoll_set(loop.epoll, linux.EPOLL.CTL_MOD, connection.fd, events, tag);
    }

    fn receive(loop: *Loop, connection: *Connection) void {
        const rc = linux.recvfrom(connection.fd, &loop.buffer, loop.buffer.len, 0, null, null);
        switch (linux.errno(rc)) {
            .SUCCESS => {},
            .AGAIN => return,
            else => return loop.lose(connection),
        }
        if (rc == 0) return loop.lose(connection);
        const expected = loop.pattern.at(connection.stream, connection.received, rc);
        const right = std.mem.eql(u8, expected, loop.buffer[0..rc]);
        if (loop.options.verify == 1 and !right) {
            loop.report.mismatches += 1;
            return loop.close(connection);
        }
        loop.account(connection, rc);
    }

    fn account(loop: *Loop, connection: *Connection, len: usize) void {
        const now = net.monotonic_ns();
        const size = loop.options.size;
        var message = connection.received / size;
        connection.received += len;
        while (message < connection.received / size) : (message += 1) {
            loop.report.messages += 1;
            loop.report.latency.add(now - connection.sent_at[message % loop.options.depth]);
        }
        if (!loop.stopping) loop.send(connection, now);
    }

    fn lose(loop: *Loop, connection: *Connection) void {
        loop.report.disconnects += 1;
        loop.close(connection);
    }

    fn close(loop: *Loop, connection: *Connection) void {
        _ = loop;
        _ = linux.close(connection.fd);
        connection.open = false;
    }

    fn poll(loop: *Loop, timeout_ms: i32) usize {
        var events: [256]linux.epoll_event = undefined;
        const rc = linux.epoll_wait(loop.epoll, &events, events.len, timeout_ms);
        if (linux.errno(rc) == .INTR) return 0;
        for (events[0..net.must(rc, "epoll_wait")]) |event| {
            const connection = &loop.connections[event.data.u32];
            if (!connection.open) continue;
            const out_only = event.events == linux.EPOLL.OUT;
            if (!out_only) loop.receive(connection);
            if (out_only and connection.open) loop.send(connection, net.monotonic_ns());
        }
        return rc;
    }

    /// Every message that was sent whole must still come back; a part of one is of no interest.
    fn drain(loop: *Loop) void {
        loop.stopping = true;
        const deadline = net.monotonic_ns() + 5 * std.time.ns_per_s;
        while (loop.outstanding() > 0 and net.monotonic_ns() < deadline) _ = loop.poll(100);
        loop.report.missing += loop.outstanding();
    }

    fn outstanding(loop: *const Loop) u64 {
        const size = loop.options.size;
        var sum: u64 = 0;
        for (loop.connections) |connection| {
            if (connection.open) sum += connection.sent / size - connection.received / size;
        }
        return sum;
    }
};

var loop_storage: Loop = undefined;

pub fn run(options: *const load.Options, pattern: *const net.Pattern, report: *load.Report) void {
    const loop = &loop_storage;
    loop.* = .{
        .options = options,
        .pattern = pattern,
        .report = report,
        .epoll = @intCast(net.must(linux.epoll_create1(0), "epoll_create1")),
        .connections = allocate(Connection, options.connections),
    };
    for (loop.connections, 0..) |*connection, i| connect(loop, connection, @intCast(i));
    for (loop.connections) |*connection| loop.send(connection, net.monotonic_ns());
    var schedule = load.Schedule.init(options);
    while (schedule.turn(report)) _ = loop.poll(100);
    const messages = report.messages;
    loop.drain();
    report.messages = messages;
    for (loop.connections) |*connection| if (connection.open) loop.close(connection);
}

fn connect(loop: *Loop, connection: *Connection, tag: u32) void {
    connection.* = .{
        .fd = net.tcp_socket(),
        .stream = tag,
        .sent_at = allocate(u64, loop.options.depth),
    };
    const server = net.address(.{ 127, 0, 0, 1 }, loop.options.port);
    const rc = linux.connect(connection.fd, &server, @sizeOf(@TypeOf(server)));
    if (linux.errno(rc) != .INPROGRESS) _ = net.must(rc, "connect");
    var wait = [1]linux.pollfd{.{ .fd = connection.fd, .events = linux.POLL.OUT, .revents = 0 }};
    if (linux.poll(&wait, 1, 5000) != 1) net.die("connect: no answer in 5 s", .{});
    if (wait[0].revents & linux.POLL.ERR != 0) net.die("connect: refused", .{});
    net.epoll_set(loop.epoll, linux.EPOLL.CTL_ADD, connection.fd, linux.EPOLL.IN, tag);
}

fn allocate(comptime T: type, count: usize) []T {
    return std.heap.page_allocator.alloc(T, count) catch net.die("out of memory", .{});
}
