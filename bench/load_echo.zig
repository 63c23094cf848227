//! The echo load: every connection keeps `depth` messages in flight and checks each byte that
//! comes back against its place in its own stream; or against a fixed reply (load_fixed.zig); or, of
//! a broadcast, in the first connection's stream, which alone sends. With a rate messages are due on
//! a schedule, and their time begins when they were due, not when they could be sent at last.
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
    /// When each message in flight was sent, or was due, a ring of `depth`.
    sent_at: []u64,
    /// Messages that the schedule has had due so far.
    due: u64 = 0,
    open: bool = true,
    /// For the transport: room is waited for (epoll), a send is in flight (ring).
    sending: bool = false,
};

/// What is sent and what must come back.
pub const Content = union(enum) {
    echo: *const net.Pattern,
    broadcast: *const net.Pattern,
    fixed: *const Fixed,

    fn piece(content: Content, connection: *const Connection, len: u64) []const u8 {
        return switch (content) {
            .echo, .broadcast => |pattern| pattern.at(connection.stream, connection.sent, @intCast(@min(len, net.piece_max))),
            .fixed => |fixed| fixed.piece(connection.sent, len),
        };
    }

    fn is_right(content: Content, connection: *const Connection, bytes: []const u8) bool {
        return switch (content) {
            .echo => |pattern| std.mem.eql(u8, pattern.at(connection.stream, connection.received, bytes.len), bytes),
            .broadcast => |pattern| std.mem.eql(u8, pattern.at(0, connection.received, bytes.len), bytes),
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
    /// Messages of a broadcast that have come, over all connections.
    arrived: u64 = 0,
    /// When the schedule began, and how many messages have been due since.
    began_ns: u64 = 0,
    issued: u64 = 0,

    /// What the connection may send now; empty when its depth is used up.
    pub fn next_piece(echo: *const Echo, connection: *const Connection) []const u8 {
        const options = echo.options;
        // What was due in the window is sent late rather than left out of its latencies.
        if (echo.stopping and options.rate == 0) return "";
        var allowed = connection.received / options.reply + options.depth;
        if (echo.content == .broadcast) {
            allowed = if (connection.stream == 0) echo.arrived / echo.connections.len + 1 else 0;
        }
        // What has begun is finished, though the schedule counts whole messages.
        if (options.rate > 0) allowed = @min(allowed, connection.due);
        return echo.content.piece(connection, allowed * options.size -| connection.sent);
    }

    /// Who may have something to send after this one has received.
    pub fn sender(echo: *const Echo, connection: *Connection) *Connection {
        return if (echo.content == .broadcast) &echo.connections[0] else connection;
    }

    /// The next connection for which a message has become due, if any has.
    pub fn next_due(echo: *Echo, now: u64) ?*Connection {
        if (echo.options.rate == 0 or echo.stopping or echo.due_at(echo.issued) > now) return null;
        const connection = &echo.connections[@intCast(echo.issued % echo.connections.len)];
        echo.issued += 1;
        connection.due += 1;
        return connection;
    }

    fn due_at(echo: *const Echo, number: u64) u64 {
        return echo.began_ns + number * std.time.ns_per_s / echo.options.rate;
    }

    /// Account for bytes handed over; a message's clock starts with its first byte.
    pub fn sent(echo: *Echo, connection: *Connection, len: usize, now: u64) void {
        const size = echo.options.size;
        var message = std.math.divCeil(u64, connection.sent, size) catch unreachable;
        connection.sent += len;
        while (message * size < connection.sent) : (message += 1) {
            const due = echo.options.rate > 0;
            connection.sent_at[@intCast(message % echo.options.depth)] =
                if (due) echo.due_at(message * echo.connections.len + connection.stream) else now;
        }
    }

    /// Check and account for bytes that came back; false when they are wrong.
    pub fn received(echo: *Echo, connection: *Connection, bytes: []const u8, now: u64) bool {
        const size = echo.options.reply;
        // An echo comes back byte by byte, a reply only after its whole request.
        const due = switch (echo.content) {
            .echo => connection.sent,
            .broadcast => echo.connections[0].sent,
            .fixed => connection.sent / echo.options.size * size,
        };
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
            echo.arrived += 1;
            const sent_at = echo.sender(connection).sent_at[@intCast(message % echo.options.depth)];
            echo.report.latency.add(now -| sent_at);
        }
        return true;
    }

    /// Messages that were sent whole and have not come back; a part of one is of no interest.
    fn outstanding(echo: *const Echo) u64 {
        const options = echo.options;
        if (echo.content == .broadcast) {
            return echo.connections[0].sent / options.size * echo.connections.len - echo.arrived;
        }
        var sum: u64 = 0;
        for (echo.connections) |connection| {
            const wanted = if (options.rate > 0) connection.due else connection.sent / options.size;
            if (connection.open) sum += wanted - connection.received / options.reply;
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
    const poll: *const fn () bool = if (ring) by_ring.poll else by_epoll.poll;
    echo.began_ns = net.monotonic_ns();
    var schedule = load.Schedule.init(options);
    var idle = false;
    while (schedule.turn(report, idle)) idle = !poll();
    if (options.rate > 0) {
        report.behind = echo.issued;
        for (echo.connections) |connection| report.behind -|= connection.sent / options.size;
    }
    const messages = report.messages;
    echo.stopping = true;
    const deadline = net.monotonic_ns() + 5 * std.time.ns_per_s;
    while (echo.outstanding() > 0 and net.monotonic_ns() < deadline) _ = poll();
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
    if (echo.content == .broadcast) await_welcome(connection);
}

/// A server that broadcasts says with one byte that the connection will be told everything from now on.
fn await_welcome(connection: *Connection) void {
    var wait = [1]linux.pollfd{.{ .fd = connection.fd, .events = linux.POLL.IN, .revents = 0 }};
    if (linux.poll(&wait, 1, 5000) != 1) net.die("connect: no welcome in 5 s", .{});
    var byte: [1]u8 = undefined;
    const count = net.must(linux.recvfrom(connection.fd, &byte, 1, 0, null, null), "recv");
    if (count != 1) net.die("connect: no welcome", .{});
}

pub fn close(connection: *Connection) void {
    _ = linux.shutdown(connection.fd, linux.SHUT.RDWR);
    connection.open = false;
}
