//! When a connection or a listener is looked at again: its deadlines, and what happens then.
//! Deadlines are kept lazily: traffic only writes down its time, and a deadline that comes due is
//! computed anew; what moved on is set again.

const std = @import("std");
const kernel = @import("kernel.zig");
const accept = @import("accept.zig");
const closing = @import("closing.zig");
const Connection = @import("connection.zig").Connection;

/// Longer than any scheduling hiccup: the process was stopped or the machine suspended.
const gap_ns = 1 * std.time.ns_per_s;

/// The time of what is not to happen: it is later than any other.
const never = std.math.maxInt(u64);

/// When a connection that was neither idle nor quiet may be.
const look_again_ns = std.time.ns_per_s / 10;

/// How long after a gap the kernel's polling thread (SQPOLL) may take to carry out what came meanwhile:
/// nobody's call makes it do so.
const grace_ns = std.time.ns_per_s / 4;

/// True when the worker woke much later than it asked to: what came meanwhile is read first, so
/// that live peers are not timed out for our own absence (F62). While draining a moment is enough
/// for that: a handler that took long, when others' requests came and wait in their sockets.
pub fn is_gap(worker: anytype) bool {
    const moment = std.math.clamp(worker.quiet_ns / 2, std.time.ns_per_ms, gap_ns);
    const gap = if (worker.draining) moment else gap_ns;
    const late = worker.now_ns > worker.wake_by_ns +| gap;
    worker.wake_by_ns = std.math.maxInt(u64);
    const polled = worker.config.setup_flags & kernel.linux.IORING_SETUP_SQPOLL != 0;
    if (late and polled) worker.grace_until_ns = worker.now_ns + @min(gap, grace_ns);
    return late or worker.now_ns < worker.grace_until_ns;
}

/// The wait's bound in a turn after a gap.
pub fn gap_limit(worker: anytype) u64 {
    return worker.grace_until_ns -| worker.now_ns;
}

/// The wait's bound: the caller's, or the next deadline (F7).
pub fn wait_limit(worker: anytype, asked_ns: ?u64) ?u64 {
    const due = worker.deadlines.next() orelse return asked_ns;
    const left = due -| worker.now_ns;
    return if (asked_ns) |ns| @min(ns, left) else left;
}

pub fn run_due(worker: anytype) void {
    while (worker.deadlines.pop_due(worker.now_ns)) |id| {
        if (id >= worker.slab.connections.len) {
            accept.backoff_over(worker, id - @as(u32, @intCast(worker.slab.connections.len)));
            continue;
        }
        const connection = &worker.slab.connections[id];
        const at = due_at(worker, connection);
        if (at == never) continue;
        if (at > worker.now_ns) worker.deadlines.set(id, at) else expire(worker, connection);
    }
}

/// Sets the connection's deadline from its present state, unless an earlier one stands.
pub fn refresh(worker: anytype, connection: *Connection) void {
    const at = due_at(worker, connection);
    if (at == never) return;
    worker.deadlines.set_at_latest(connection.slot, at);
    // Between two turns nothing has been waited for yet that would tell a gap from here on.
    worker.wake_by_ns = @min(worker.wake_by_ns, at);
}

fn due_at(worker: anytype, connection: *const Connection) u64 {
    return switch (connection.phase) {
        .free, .releasing => never,
        .connecting, .lingering => if (connection.phase_until_ns == 0) never else connection.phase_until_ns,
        .open => @min(
            handler_until(connection),
            quiet_until(worker, connection),
            write_until(worker, connection),
        ),
        .flushing => write_until(worker, connection),
    };
}

fn handler_until(connection: *const Connection) u64 {
    return if (connection.handler_until_ns == 0) never else connection.handler_until_ns;
}

fn quiet_until(worker: anytype, connection: *const Connection) u64 {
    // Looked at again in any case: nobody sets a deadline when the handler is through.
    const last = if (connection.flags.busy) worker.now_ns + look_again_ns else @max(connection.last_receive_ns, connection.send_progress_ns);
    const drain = if (worker.draining) last + worker.quiet_ns else never;
    const idle = worker.config.idle_timeout_ns;
    return @min(drain, if (idle == 0) never else last + idle);
}

fn write_until(worker: anytype, connection: *const Connection) u64 {
    // A wait for room that has just ended in vain is no progress: the time goes on.
    const waits = connection.send != .none or connection.flags.polling;
    if (!waits or worker.config.write_timeout_ns == 0) return never;
    return connection.send_progress_ns + worker.config.write_timeout_ns;
}

fn expire(worker: anytype, connection: *Connection) void {
    const timed_out = @intFromEnum(kernel.E.TIMEDOUT);
    switch (connection.phase) {
        .free, .releasing => {},
        .connecting => {
            worker.metrics.timeouts += 1;
            closing.abort(worker, connection, timed_out);
        },
        .lingering => closing.abort(worker, connection, 0),
        .open, .flushing => {
            const write_at = write_until(worker, connection);
            if (write_at <= worker.now_ns) {
                worker.metrics.timeouts += 1;
                return closing.abort(worker, connection, timed_out);
            }
            const handler_at = handler_until(connection);
            if (connection.phase == .open and handler_at <= worker.now_ns) {
                connection.handler_until_ns = 0;
                worker.handler.expired(worker, connection);
                return refresh(worker, connection);
            }
            if (connection.queue_first != null or connection.held_first != null) {
                // Busy writing, or its application has yet to take what came: not idle, not quiet.
                // Its other deadlines stand.
                const again = worker.now_ns + @max(worker.quiet_ns, look_again_ns);
                return worker.deadlines.set(connection.slot, @min(again, handler_at, write_at));
            }
            if (!worker.draining) {
                worker.metrics.timeouts += 1;
                connection.reason = timed_out;
            }
            closing.close(worker, connection);
        },
    }
}
