//! How a connection ends. Orderly: the queue goes out, our end is said, the peer's end is awaited.
//! By abort: whatever is in flight is cancelled. Either way the descriptor is closed, in ring
//! order, only when no operation names the slot any more (F38, F39), and then the slot is free.

const std = @import("std");
const kernel = @import("kernel.zig");
const linux = kernel.linux;
const accept = @import("accept.zig");
const receive = @import("receive.zig");
const send = @import("send.zig");
const timing = @import("timing.zig");
const Connection = @import("connection.zig").Connection;
const assert = std.debug.assert;

/// The application, or the peer's end, closes the connection: what is queued still goes out.
pub fn close(worker: anytype, connection: *Connection) void {
    if (connection.phase != .open) return;
    connection.phase = .flushing;
    receive.drop_held(worker, connection);
    worker.mark_dirty(connection);
}

/// Ends the connection now; `reason` is an errno for connection_lost, or 0.
pub fn abort(worker: anytype, connection: *Connection, reason: i32) void {
    switch (connection.phase) {
        .free, .releasing => return,
        .connecting, .open, .flushing, .lingering => {},
    }
    connection.phase = .releasing;
    if (connection.reason == 0) connection.reason = reason;
    worker.mark_dirty(connection);
}

/// Says our end once the queue is empty, when the application asked for that (write_eof).
pub fn shut_down_writing(worker: anytype, connection: *Connection) bool {
    const flags = connection.flags;
    if (!flags.write_end or flags.shutdown_in_flight or flags.shutdown_done) return true;
    if (connection.queue_first != null) return true;
    return issue_shutdown(worker, connection);
}

fn issue_shutdown(worker: anytype, connection: *Connection) bool {
    const sqe = worker.issue(connection, .shutdown) orelse return false;
    sqe.opcode = .SHUTDOWN;
    sqe.fd = connection.fd;
    sqe.len = linux.SHUT.WR;
    connection.flags.shutdown_in_flight = true;
    return true;
}

/// Everything has gone out: tell the application, say our end, wait for the peer's.
pub fn finish_flush(worker: anytype, connection: *Connection) bool {
    assert(connection.phase == .flushing);
    if (connection.queue_first != null or connection.send != .none) return true;
    tell_lost(worker, connection);
    if (connection.phase != .flushing) return false;
    if (connection.flags.peer_ended) {
        abort(worker, connection, 0);
        return release(worker, connection);
    }
    if (!connection.flags.shutdown_done) {
        return connection.flags.shutdown_in_flight or issue_shutdown(worker, connection);
    }
    start_lingering(worker, connection);
    return receive.adjust(worker, connection);
}

pub fn shutdown_completed(worker: anytype, connection: *Connection, cqe: *const linux.io_uring_cqe) void {
    connection.flags.shutdown_in_flight = false;
    connection.flags.shutdown_done = true;
    if (connection.phase != .flushing) return;
    // ENOTCONN: the peer is gone already.
    if (cqe.res < 0) return abort(worker, connection, 0);
    worker.mark_dirty(connection);
}

/// A cancel that missed (ENOENT, EALREADY) names something that has completed, or that was on its
/// way between two places where the kernel looks: what is there still is cancelled again.
pub fn cancel_completed(worker: anytype, connection: *Connection, cqe: *const linux.io_uring_cqe) void {
    if (cqe.res >= 0) return;
    if (connection.receive == .cancelling) connection.receive = .armed;
    if (connection.send == .cancelling) connection.send = .armed;
    connection.flags.connect_cancelled = false;
    worker.mark_dirty(connection);
}

fn start_lingering(worker: anytype, connection: *Connection) void {
    if (worker.config.linger_timeout_ns == 0) return abort(worker, connection, 0);
    connection.phase = .lingering;
    connection.phase_until_ns = worker.now_ns + worker.config.linger_timeout_ns;
    timing.refresh(worker, connection);
}

/// Cancels what is in flight and closes the descriptor when nothing is. False: look again.
pub fn release(worker: anytype, connection: *Connection) bool {
    assert(connection.phase == .releasing);
    tell_lost(worker, connection);
    receive.drop_held(worker, connection);
    if (connection.send == .none) send.drop_queue(worker, connection);
    if (connection.receive == .armed) {
        if (!worker.issue_cancel(connection, .receive)) return false;
        connection.receive = .cancelling;
    }
    if (connection.send == .armed) {
        if (!worker.issue_cancel(connection, .send)) return false;
        connection.send = .cancelling;
    }
    if (connection.address != null and !connection.flags.connect_cancelled) {
        if (!worker.issue_cancel(connection, .connect)) return false;
        connection.flags.connect_cancelled = true;
    }
    if (connection.ops > 0 or connection.flags.close_in_flight) return true;
    const sqe = worker.issue(connection, .close) orelse return false;
    sqe.opcode = .CLOSE;
    sqe.fd = connection.fd;
    connection.flags.close_in_flight = true;
    return true;
}

pub fn close_completed(worker: anytype, connection: *Connection, cqe: *const linux.io_uring_cqe) void {
    // EBADF: the application has closed our descriptor itself, and its number may by now be
    // another's. Its mistake, so it is told, and nobody else's connection ends for it.
    if (cqe.res == kernel.negative(.BADF)) worker.handler.close_failed(worker, -cqe.res);
    // Refused, not carried out: a close that was tried has no such result.
    if (cqe.res == kernel.negative(.INVAL)) worker.ring.close_descriptor(connection.fd);
    worker.deadlines.clear(connection.slot);
    // A late mark of the same turn: take it back, the slot is about to be free.
    if (connection.flags.dirty) unmark(worker, connection);
    receive.forbid_own_buffer(worker, connection);
    worker.slab.give(connection);
    accept.descriptor_freed(worker);
}

fn unmark(worker: anytype, connection: *Connection) void {
    var link = &worker.dirty_first;
    while (link.* != connection.slot) link = &worker.slab.connections[link.*].dirty_next;
    link.* = connection.dirty_next;
    connection.flags.dirty = false;
}

/// The handler hears of each connection's end once; of a failed connect as such.
fn tell_lost(worker: anytype, connection: *Connection) void {
    if (connection.flags.lost_told) return;
    connection.flags.lost_told = true;
    if (connection.flags.connected) {
        worker.metrics.closed += 1;
        worker.metrics.active -= 1;
        // No user: the handler could not make its object.
        if (connection.user != null) worker.handler.lost(worker, connection, connection.reason);
    } else {
        worker.handler.connect_failed(worker, connection, connection.reason);
    }
    assert(connection.user == null);
}
