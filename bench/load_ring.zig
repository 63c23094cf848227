//! The echo load's bytes moved by io_uring: multishot receives into provided buffers, one send in
//! flight per connection, one system call per turn: cheaper than by epoll.
//! Independent of pyuring's own ring on purpose: a fault there must not hide itself here.
//! Never looks into the bytes; when it may sleep at all, then a tenth of a second at most.

const std = @import("std");
const linux = std.os.linux;
const IoUring = linux.IoUring;
const net = @import("net.zig");
const load_echo = @import("load_echo.zig");
const Connection = load_echo.Connection;

const group = 0;
const send_bit: u64 = 1 << 32;
const tick_tag: u64 = 1 << 33;
const timeout_multishot = 1 << 6;
const tick: linux.kernel_timespec = .{ .sec = 0, .nsec = 100 * std.time.ns_per_ms };

var echo: *load_echo.Echo = undefined;
var ring: IoUring = undefined;
var buffer_ring: *align(std.heap.page_size_min) linux.io_uring_buf_ring = undefined;
var buffers: []u8 = undefined;
var buffer_size: u32 = undefined;
var buffer_count: u16 = undefined;

/// False when this kernel or this container does not offer what is needed.
pub fn init(the_echo: *load_echo.Echo) bool {
    echo = the_echo;
    var params = std.mem.zeroInit(linux.io_uring_params, .{
        .flags = linux.IORING_SETUP_SINGLE_ISSUER | linux.IORING_SETUP_DEFER_TASKRUN |
            linux.IORING_SETUP_CQSIZE,
        .cq_entries = 16384,
    });
    ring = IoUring.init_params(4096, &params) catch return false;
    if (!provide_buffers()) {
        ring.deinit();
        return false;
    }
    const timer = sqe();
    timer.prep_timeout(&tick, 0, timeout_multishot);
    timer.user_data = tick_tag;
    for (echo.connections) |*connection| {
        arm(connection);
        send(connection, net.monotonic_ns());
    }
    return true;
}

/// Buffers as large as what a connection has in flight, two for each connection: few enough to
/// stay in the processor's cache with small messages.
fn provide_buffers() bool {
    const in_flight = @as(u64, echo.options.reply) * echo.options.depth;
    buffer_size = @intCast(std.math.clamp(in_flight, 2048, net.piece_max));
    const wanted = std.math.clamp(echo.options.connections * 2, 64, 8192);
    buffer_count = std.math.ceilPowerOfTwo(u16, @intCast(wanted)) catch unreachable;
    buffers = net.allocate(u8, @as(usize, buffer_size) * buffer_count);
    buffer_ring = IoUring.setup_buf_ring(ring.fd, buffer_count, group, .{ .inc = false }) catch
        return false;
    IoUring.buf_ring_init(buffer_ring);
    for (0..buffer_count) |id| give_back(@intCast(id));
    return true;
}

fn buffer(id: u16) []u8 {
    return buffers[@as(usize, buffer_size) * id ..][0..buffer_size];
}

fn give_back(id: u16) void {
    IoUring.buf_ring_add(buffer_ring, buffer(id), id, buffer_count - 1, 0);
    IoUring.buf_ring_advance(buffer_ring, 1);
}

/// A free SQE; when there is none the queue is handed to the kernel first.
fn sqe() *linux.io_uring_sqe {
    return ring.get_sqe() catch {
        _ = ring.submit() catch |err| net.die("io_uring_enter: {s}", .{@errorName(err)});
        return ring.get_sqe() catch unreachable;
    };
}

fn arm(connection: *Connection) void {
    const entry = sqe();
    entry.prep_rw(.RECV, connection.fd, 0, 0, 0);
    entry.ioprio = linux.IORING_RECV_MULTISHOT;
    entry.flags |= linux.IOSQE_BUFFER_SELECT;
    entry.buf_index = group;
    entry.user_data = connection.stream;
}

fn send(connection: *Connection, now: u64) void {
    if (connection.sending) return;
    const piece = echo.next_piece(connection);
    if (piece.len == 0) return;
    connection.sending = true;
    const entry = sqe();
    entry.prep_send(connection.fd, piece, linux.MSG.NOSIGNAL | linux.MSG.WAITALL);
    entry.user_data = connection.stream | send_bit;
    // Handed over now: with WAITALL the kernel sends all of it or fails.
    echo.sent(connection, piece.len, now);
}

/// One turn: submit, wait for something, handle what there is; false when there was nothing.
pub fn poll() bool {
    const spin = echo.options.spin == 1;
    var sent = false;
    if (echo.options.rate > 0) {
        const now = net.monotonic_ns();
        while (echo.next_due(now)) |connection| {
            sent = true;
            if (connection.open) send(connection, now);
        }
    }
    const submitted = ring.flush_sq();
    _ = ring.enter(submitted, @intFromBool(!spin), linux.IORING_ENTER_GETEVENTS) catch |err|
        switch (err) {
            error.SignalInterrupt => return sent,
            else => net.die("io_uring_enter: {s}", .{@errorName(err)}),
        };
    var cqes: [256]linux.io_uring_cqe = undefined;
    const count = ring.copy_cqes(&cqes, 0) catch 0;
    const now = net.monotonic_ns();
    for (cqes[0..count]) |cqe| {
        if (cqe.user_data == tick_tag) continue;
        const connection = &echo.connections[@as(u32, @truncate(cqe.user_data))];
        if (cqe.user_data & send_bit != 0) {
            on_sent(connection, cqe, now);
        } else {
            on_received(connection, cqe, now);
        }
    }
    return sent or count > 0;
}

fn on_sent(connection: *Connection, cqe: linux.io_uring_cqe, now: u64) void {
    connection.sending = false;
    if (!connection.open) return;
    if (cqe.res < 0) return lose(connection);
    send(connection, now);
}

fn on_received(connection: *Connection, cqe: linux.io_uring_cqe, now: u64) void {
    if (cqe.res > 0) {
        const id = cqe.buffer_id() catch unreachable;
        const bytes = buffer(id)[0..@intCast(cqe.res)];
        const right = !connection.open or echo.received(connection, bytes, now);
        give_back(id);
        if (!right) return load_echo.close(connection);
    }
    if (!connection.open) return;
    if (cqe.res == 0) return lose(connection);
    if (cqe.res < 0 and cqe.err() != .NOBUFS) return lose(connection);
    if (cqe.flags & linux.IORING_CQE_F_MORE == 0) arm(connection);
    send(echo.sender(connection), now);
}

fn lose(connection: *Connection) void {
    echo.report.disconnects += 1;
    load_echo.close(connection);
}
