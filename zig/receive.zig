//! Receiving: the one receive in flight per connection (F32), and who owns each buffer.
//! Never parses, and never keeps a provided buffer beyond its completion. What comes in bulk is
//! received by bulk.zig.
//!
//! A provided buffer is the kernel's from `publish` until a completion names it, ours from there
//! until `recycle`, which follows within the same completion: the handler copies what it keeps.
//! So every buffer is back before the next wait, and a connection that found none (ENOBUFS, F26)
//! is armed again in the next turn, its bytes waiting in the socket.

const std = @import("std");
const kernel = @import("kernel.zig");
const poison = @import("poison.zig");
const linux = kernel.linux;
const bulk = @import("bulk.zig");
const closing = @import("closing.zig");
const BufferGroup = @import("buffer_group.zig").BufferGroup;
const Connection = @import("connection.zig").Connection;
const assert = std.debug.assert;

const group_id = 0;

/// What a closing peer may still send before we stop listening to it.
const discard_max = 16 * 1024 * 1024;

pub fn init_buffers(worker: anytype, failure: *i32) error{SetupFailed}!void {
    const config = &worker.config;
    if (config.provided_buffers != 0) {
        const count: u16 = @intCast(config.buffer_count);
        worker.group = try BufferGroup.init(&worker.ring, group_id, count, config.buffer_size, failure);
        return;
    }
    const size = @as(usize, config.max_connections) * config.buffer_size;
    worker.own_buffers = kernel.map_anonymous(size) orelse return error.SetupFailed;
}

pub fn deinit_buffers(worker: anytype) void {
    if (worker.group) |*group| group.deinit(&worker.ring);
    if (worker.own_buffers) |memory| kernel.unmap(memory);
}

/// Arms or cancels the receive, as the connection's state wants it. False: no entry was free.
pub fn adjust(worker: anytype, connection: *Connection) bool {
    const wants = wanted(connection);
    if (wants and connection.receive == .none) return arm(worker, connection);
    const outdated = connection.flags.bulk and !connection.flags.awaits_bytes and connection.phase == .open;
    if ((!wants or outdated) and connection.receive == .armed and connection.phase != .flushing) {
        if (!worker.issue_cancel(connection, .receive)) return false;
        connection.receive = .cancelling;
    }
    return true;
}

/// Whether bytes are wanted now.
pub inline fn wanted(connection: *const Connection) bool {
    const flags = connection.flags;
    return !flags.peer_ended and switch (connection.phase) {
        .open => !flags.paused and !flags.choked and connection.held_first == null,
        .lingering => true,
        else => false,
    };
}

fn arm(worker: anytype, connection: *Connection) bool {
    if (bulk.waits(connection)) return bulk.arm(worker, connection);
    const sqe = worker.issue(connection, .receive) orelse return false;
    sqe.opcode = .RECV;
    sqe.fd = connection.fd;
    // Only who is still there has a place for what comes.
    if (connection.phase == .open and connection.target == null) {
        connection.target = worker.handler.target(worker, connection);
    }
    if (connection.target) |target| {
        sqe.addr = @intFromPtr(target.memory.ptr);
        sqe.len = @intCast(target.memory.len);
    } else if (worker.group != null) {
        sqe.flags = linux.IOSQE_BUFFER_SELECT;
        sqe.buf_index = group_id; // a union: buf_group
        if (worker.config.multishot_recv != 0) {
            sqe.ioprio = linux.IORING_RECV_MULTISHOT;
        } else {
            sqe.len = worker.config.buffer_size;
        }
    } else {
        const own = own_buffer(worker, connection);
        sqe.addr = @intFromPtr(own.ptr);
        sqe.len = @intCast(own.len);
    }
    connection.receive = .armed;
    return true;
}

fn own_buffer(worker: anytype, connection: *Connection) []u8 {
    const size = worker.config.buffer_size;
    if (poison.enabled) {
        if (connection.own_buffer == null) connection.own_buffer = poison.take(size).?;
        return connection.own_buffer.?[0..size];
    }
    return worker.own_buffers.?[@as(usize, connection.slot) * size ..][0..size];
}

/// The slot is about to be free, so nothing may come any more.
pub fn forbid_own_buffer(worker: anytype, connection: *Connection) void {
    if (!poison.enabled) return;
    if (connection.own_buffer) |own| poison.give(own, worker.config.buffer_size);
    connection.own_buffer = null;
}

/// Gives back the buffer of a completion that has no connection any more (F27).
pub fn recycle_stale(worker: anytype, cqe: *const linux.io_uring_cqe) void {
    if (cqe.flags & linux.IORING_CQE_F_BUFFER == 0) return;
    worker.group.?.taken();
    recycle(worker, cqe);
}

/// Gives a completion's buffer back. Looks at the CQE's flags alone (F27).
fn recycle(worker: anytype, cqe: *const linux.io_uring_cqe) void {
    if (cqe.flags & linux.IORING_CQE_F_BUFFER == 0) return;
    const group = &worker.group.?;
    group.recycle(@intCast(cqe.flags >> linux.IORING_CQE_BUFFER_SHIFT));
    worker.metrics.buffers_held = group.count - group.available;
}

pub fn completed(worker: anytype, connection: *Connection, cqe: *const linux.io_uring_cqe) void {
    if (connection.flags.awaits_bytes) return bulk.ready(worker, connection, cqe);
    const buffer = claim(worker, connection, cqe);
    if (cqe.res > 0) {
        const length: usize = @intCast(cqe.res);
        if (length == worker.config.buffer_size) bulk.filled(worker, connection, cqe);
        arrived(worker, connection, buffer[0..length]);
    }
    recycle(worker, cqe);
    if (cqe.flags & linux.IORING_CQE_F_MORE != 0) return;
    connection.receive = .none;
    release_target(worker, connection);
    ended(worker, connection, cqe.res);
}

/// Bytes have come: they are counted, and go where they are wanted.
pub inline fn arrived(worker: anytype, connection: *Connection, data: []const u8) void {
    worker.metrics.bytes_received += data.len;
    worker.metrics.messages_received += 1;
    connection.last_receive_ns = worker.now_ns;
    take(worker, connection, data);
}

/// The receive that wrote there is complete; its handler may have taken it over.
pub fn release_target(worker: anytype, connection: *Connection) void {
    const target = connection.target orelse return;
    connection.target = null;
    worker.handler.release(target.owner);
}

/// The memory a completion's bytes lie in, ours until `recycle`.
fn claim(worker: anytype, connection: *Connection, cqe: *const linux.io_uring_cqe) []u8 {
    if (cqe.flags & linux.IORING_CQE_F_BUFFER == 0) {
        if (connection.target) |target| return target.memory;
        return if (worker.group == null) own_buffer(worker, connection) else &.{};
    }
    const group = &worker.group.?;
    group.taken();
    worker.metrics.buffers_held = group.count - group.available;
    return group.slice(@intCast(cqe.flags >> linux.IORING_CQE_BUFFER_SHIFT));
}

/// The receive is over: find out why, and whether it is to be armed again.
pub fn ended(worker: anytype, connection: *Connection, res: i32) void {
    worker.mark_dirty(connection);
    if (res > 0) {
        if (worker.config.multishot_recv != 0) worker.metrics.rearms += 1;
        return;
    }
    if (res == 0) {
        connection.flags.peer_ended = true;
        if (connection.phase == .lingering) return closing.abort(worker, connection, 0);
        return tell_end(worker, connection);
    }
    switch (kernel.errno_of(res)) {
        .CANCELED, .INTR, .AGAIN => {},
        .NOBUFS => {
            worker.metrics.enobufs += 1;
            connection.last_receive_ns = worker.now_ns; // its bytes wait: it is not idle (F62)
        },
        else => {
            if (connection.phase == .open or connection.phase == .flushing) worker.metrics.errors_receive += 1;
            connection.flags.peer_ended = true;
            closing.abort(worker, connection, -res);
        },
    }
}

/// Hands received bytes up, keeps them while the application has paused, or drops them when the
/// connection is closing.
fn take(worker: anytype, connection: *Connection, data: []const u8) void {
    if (connection.phase != .open) {
        connection.held_bytes += data.len;
        if (connection.held_bytes > discard_max) closing.abort(worker, connection, 0);
        return;
    }
    if (!connection.flags.paused and connection.held_first == null) {
        return worker.handler.received(worker, connection, data);
    }
    const piece = worker.pieces.take() orelse
        return closing.abort(worker, connection, @intFromEnum(kernel.E.NOMEM));
    if (!worker.handler.hold(data, piece)) {
        worker.pieces.give(piece);
        return closing.abort(worker, connection, @intFromEnum(kernel.E.NOMEM));
    }
    connection.hold(piece);
}

/// What came during a pause goes up first, in order, until the application pauses again.
pub fn deliver_held(worker: anytype, connection: *Connection) void {
    while (connection.phase == .open and !connection.flags.paused) {
        const piece = connection.unhold() orelse break;
        worker.handler.received_held(worker, connection, piece);
        worker.handler.release(piece.owner);
        worker.pieces.give(piece);
    }
    if (connection.flags.peer_ended) tell_end(worker, connection);
}

/// Tells the application of the peer's end, once, after all its bytes. Unless the application
/// wants to go on writing, the connection closes when its queue has gone out: a client that shut
/// down writing gets its whole reply (F56).
fn tell_end(worker: anytype, connection: *Connection) void {
    const flags = connection.flags;
    if (connection.phase != .open or flags.end_told or flags.paused) return;
    if (connection.held_first != null) return;
    connection.flags.end_told = true;
    if (!worker.handler.ended(worker, connection)) closing.close(worker, connection);
}

pub fn drop_held(worker: anytype, connection: *Connection) void {
    while (connection.unhold()) |piece| {
        worker.handler.release(piece.owner);
        worker.pieces.give(piece);
    }
    connection.held_bytes = 0;
}
