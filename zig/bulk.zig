//! Receiving much at once: a connection that sends more than receive buffers take in is read by
//! recv(2), straight into a block of its handler's, whenever the ring says that bytes are there.
//! Never lends memory to the kernel, and never decides what is wanted: receive.zig does (decision 0014).
//!
//! Who owns the block: the worker, from the handler's `block` to the end of `ready`, all within one
//! completion; the handler may take it over with the bytes, as any target. Between two receives
//! nobody has one: what is in flight is a wait (POLL_ADD), in the place of the receive and under its
//! token, so that it is cancelled, counted and found stale like one. It takes no byte from the socket,
//! and so there is none that a cancel could lose or put out of order.

const std = @import("std");
const kernel = @import("kernel.zig");
const linux = kernel.linux;
const receive = @import("receive.zig");
const Connection = @import("connection.zig").Connection;
const assert = std.debug.assert;

/// So many receives in a row that a buffer would have held, and the buffers do again.
pub const shorts_max = 8;

/// A receive buffer has come full. If the socket has more, and the kernel says so, that comes
/// by blocks: the receive in flight ends first.
pub noinline fn filled(worker: anytype, connection: *Connection, cqe: *const linux.io_uring_cqe) void {
    if (cqe.flags & linux.IORING_CQE_F_SOCK_NONEMPTY == 0) return;
    const flags = &connection.flags;
    if (flags.bulk or flags.no_bulk or connection.target != null) return;
    flags.bulk = true;
    flags.bulk_shorts = 0;
    worker.mark_dirty(connection);
}

/// Whether the receive to be armed is a wait.
pub inline fn waits(connection: *const Connection) bool {
    return connection.flags.bulk and connection.phase == .open;
}

/// Waits for bytes, without memory for them. False: no entry was free.
pub noinline fn arm(worker: anytype, connection: *Connection) bool {
    assert(connection.receive == .none and connection.target == null);
    const sqe = worker.issue(connection, .receive) orelse return false;
    sqe.opcode = .POLL_ADD;
    sqe.fd = connection.fd;
    sqe.rw_flags = linux.POLL.IN;
    connection.flags.awaits_bytes = true;
    connection.receive = .armed;
    connection.last_receive_ns = worker.now_ns; // between two ways to receive nobody is idle (F62)
    return true;
}

/// The wait is over: bytes are there, or an end or an error that the receive will name.
pub noinline fn ready(worker: anytype, connection: *Connection, cqe: *const linux.io_uring_cqe) void {
    assert(connection.receive != .none and connection.target == null);
    connection.flags.awaits_bytes = false;
    connection.receive = .none;
    if (cqe.res < 0) return receive.ended(worker, connection, cqe.res);
    connection.last_receive_ns = worker.now_ns; // something came, whoever will receive it, and when
    worker.mark_dirty(connection);
    if (connection.phase != .open or !receive.wanted(connection)) return; // the bytes wait in the socket
    connection.target = worker.handler.block(worker, connection) orelse return refuse(connection);
    defer receive.release_target(worker, connection);
    // To make the block the handler may have asked the application, which may have changed its mind.
    if (connection.phase != .open or !receive.wanted(connection)) return;
    const memory = connection.target.?.memory;
    const result = worker.ring.receive_now(connection.fd, memory);
    // What was reported is no bytes, and is reported for ever when it is an error queue that nobody reads:
    // a receive is not woken by that (F63).
    if (result == kernel.negative(.AGAIN)) connection.flags.bulk = false;
    if (result <= 0) return receive.ended(worker, connection, result);
    const length: usize = @intCast(result);
    assert(length <= memory.len);
    note_length(worker, connection, length);
    receive.arrived(worker, connection, memory[0..length]);
}

fn note_length(worker: anytype, connection: *Connection, length: usize) void {
    const flags = &connection.flags;
    if (length >= worker.config.buffer_size) {
        flags.bulk_shorts = 0;
        return;
    }
    flags.bulk_shorts += 1;
    if (flags.bulk_shorts == shorts_max) flags.bulk = false;
}

/// The handler has no block for this connection: it is not asked again.
fn refuse(connection: *Connection) void {
    connection.flags.bulk = false;
    connection.flags.no_bulk = true;
}
