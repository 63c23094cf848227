//! The echo load: every connection keeps `depth` messages in flight and checks each byte that
//! comes back against its place in its own stream; or against a fixed reply (load_fixed.zig).
//! Owns the connections and the accounting; load_ring.zig and load_epoll.zig move the bytes, the
//! first being cheaper, so that the server under test is what limits the rate.

const std = @import("std");
const linux = std.os.linux;
const net = @import("net.zig");
const load = @import("load.zig");
const Fixed = @import("load_fixed.zig").Fixed;
const by_epoll = @import("load_epoll.zig");
const by_ring = @import("load_ring.zig");

pub const Connection = struct {
    fd: net.fd_t,
    stream: u32,
    /// Bytes handed to the kernel, and bytes that came back right.
    sent: u64 = 0,
    received: u64 = 0,
    /// When each message in flight was sent, a ring of `depth`.
    sent_at: []u64,
    open: bool = true,
    /// For the transport: room is waited for (epoll), a send is in flight (ring).
    sending: bool = false,
};

/// What is sent and what must come back.
pub const Content = union(enum) {
    echo: *const net.Pattern,
    fixed: *const Fixed,

    fn piece(content: Content, connection: *const Connection, len: u64) []const u8 {
        return switch (content) {
            .echo => |pattern| pattern.at(connection.stream, connection.sent, @intCast(@min(len, net.piece_max))),
            .fixed => |fixed| fixed.piece(connection.sent, len),
        };
    }

    fn is_right(content: Content, connection: *const Connection, bytes: []const u8) bool {
        return switch (content) {
            .echo => |pattern| std.mem.eql(u8, pattern.at(connection.stream, connection.received, bytes.len), bytes),
            .fixed => |fixed| fixed.is_right(connection.received, bytes),
        };
    }
};

pub const Echo = struct {
    options: *const load.Options,
    content: Content,
    report: *load.Report,
    connections: []Connection,
    /// Nothing new is sent, what was sent is awaited.
    stopping: bool = false,

    /// What the connection may send now; empty when its depth is used up.
    pub fn next_piece(echo: *const Echo, connection: *const Connection) []const u8 {
        if (echo.stopping) return "";
        const allowed = (connection.received / echo.options.reply + echo.options.depth) * echo.options.size;
        return echo.content.piece(connection, allowed - connection.sent);
    }

    /// Account for bytes handed over; a message's clock starts with its first byte.
    pub fn sent(echo: *Echo, connection: *Connection, len: usize, now: u64) void {
        const size = echo.options.size;
        var message = std.math.divCeil(u64, connection.sent, size) catch unreachable;
        connection.sent += len;
        while (message * size < connection.sent) : (message += 1) {
            connection.sent_at[message % echo.options.depth] = now;
        }
    }

    /// Check and account for bytes that came back; false when they are wrong.
    pub fn received(echo: *Echo, connection: *Connection, bytes: []const u8, now: u64) bool {
        const size = echo.options.reply;
        // An echo comes back byte by byte, a reply only after its whole request.
        const due = if (echo.content == .echo) connection.sent else connection.sent / echo.options.size * size;
        const early = connection.received + bytes.len > due;
        const right = !early and echo.content.is_right(connection, bytes);
        if (early or (echo.options.verify == 1 and !right)) {
            echo.report.mismatches += 1;
            return false;
        }
        var message = connection.received / size;
        connection.received += bytes.len;
        while (message < connection.received / size) : (message += 1) {
            echo.report.messages += 1;
            echo.report.latency.add(now - connection.sent_at[message % echo.options.depth]);
        }
        return true;
    }

    /// Messages that were sent whole and have not come back; a part of one is of no interest.
    fn outstanding(echo: *const Echo) u64 {
        const options = echo.options;
        var sum: u64 = 0;
        for (echo.connections) |connection| {
            if (connection.open) sum += connection.sent / options.size - connection.received / options.reply;
        }
        return sum;
    }
};

var echo_storage: Echo = undefined;

pub fn run(options: *const load.Options, content: Content, report: *load.Report) void {
    const echo = &echo_storage;
    echo.* = .{
        .options = options,
        .content = content,
        .report = report,
        .connections = net.allocate(Connection, options.connections),
    };
    for (echo.connections, 0..) |*connection, i| connect(echo, connection, @intCast(i));
    const ring = options.io != .epoll and by_ring.init(echo);
    if (!ring and options.io == .ring) net.die("--io ring: io_uring is refused here", .{});
    if (!ring) by_epoll.init(echo);
    const poll: *const fn () void = if (ring) by_ring.poll else by_epoll.poll;
    var schedule = load.Schedule.init(options);
    while (schedule.turn(report)) poll();
    const messages = report.messages;
    echo.stopping = true;
    const deadline = net.monotonic_ns() + 5 * std.time.ns_per_s;
    while (echo.outstanding() > 0 and net.monotonic_ns() < deadline) poll();
    report.missing += echo.outstanding();
    report.messages = messages;
}

fn connect(echo: *Echo, connection: *Connection, stream: u32) void {
    connection.* = .{
        .fd = net.tcp_socket(),
        .stream = stream,
        .sent_at = net.allocate(u64, echo.options.depth),
    };
    const server = net.address(.{ 127, 0, 0, 1 }, echo.options.port);
    const rc = linux.connect(connection.fd, &server, @sizeOf(@TypeOf(server)));
    if (linux.errno(rc) != .INPROGRESS) _ = net.must(rc, "connect");
    var wait = [1]linux.pollfd{.{ .fd = connection.fd, .events = linux.POLL.OUT, .revents = 0 }};
    if (linux.poll(&wait, 1, 5000) != 1) net.die("connect: no answer in 5 s", .{});
    if (wait[0].revents & linux.POLL.ERR != 0) net.die("connect: refused", .{});
}

pub fn close(connection: *Connection) void {
    _ = linux.shutdown(connection.fd, linux.SHUT.RDWR);
    connection.open = false;
}
