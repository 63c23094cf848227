//! Listening sockets: the accept in flight on each, back-off, pause and the connection limit.
//! The sockets belong to the caller, who may close one only after `is_stopped` (F23).

const std = @import("std");
const kernel = @import("kernel.zig");
const linux = kernel.linux;
const timing = @import("timing.zig");
const Connection = @import("connection.zig").Connection;
const InFlight = @import("connection.zig").InFlight;
const Token = @import("token.zig").Token;
const assert = std.debug.assert;

pub const listeners_max = 8;

/// With fewer free slots connections are accepted one by one: a multishot accept would take all
/// who wait in the backlog, and those beyond the limit would have to be refused.
const multishot_room = 64;

/// How long to wait when descriptors or memory ran out, unless a connection ends before (F21).
const backoff_ns = 100 * std.time.ns_per_ms;

pub const Listener = struct {
    fd: i32 = -1,
    accept: InFlight = .none,
    multishot: bool = false,
    backing_off: bool = false,
    /// The errno after which accepting can never work again; 0 while it can.
    failed: i32 = 0,
    /// The queue was emptied after the last accept ended, so the socket may be closed (F59).
    emptied: bool = false,
};

pub const Listeners = struct {
    items: [listeners_max]Listener = @splat(.{}),
    count: u32 = 0,
    /// Asked to stop for now, by the application or for the end.
    paused: bool = false,
};

/// Starts accepting on a listening socket. Returns its index, or -errno when there are too many.
pub fn add(worker: anytype, fd: i32) i32 {
    const listeners = &worker.listeners;
    if (listeners.count == listeners_max) return kernel.negative(.NOSPC);
    listeners.items[listeners.count] = .{ .fd = fd };
    listeners.count += 1;
    return @intCast(listeners.count - 1);
}

pub fn adjust_all(worker: anytype) void {
    for (worker.listeners.items[0..worker.listeners.count], 0..) |*listener, index| {
        adjust(worker, listener, @intCast(index));
    }
}

/// Arms or cancels the listener's accept, as the worker's state wants it. When no submission
/// entry is free, the next turn tries again, and this one does not sleep: nothing might wake it.
fn adjust(worker: anytype, listener: *Listener, index: u32) void {
    const room = worker.slab.connections.len - worker.slab.active;
    const wanted = !worker.listeners.paused and !listener.backing_off and listener.failed == 0 and room > 0;
    const crowded = listener.multishot and room < multishot_room;
    if (wanted and listener.accept == .none) {
        arm(worker, listener, index);
    } else if ((!wanted or crowded) and listener.accept == .armed) {
        const sqe = entry(worker) orelse return;
        sqe.opcode = .ASYNC_CANCEL;
        sqe.fd = listener.fd; // as in Worker.issue_cancel
        sqe.addr = Token.init(.accept, index, 0).to_user_data();
        sqe.user_data = Token.init(.cancel_accept, index, 0).to_user_data();
        worker.metrics.ops_in_flight += 1;
        listener.accept = .cancelling;
    } else if (worker.listeners.paused and listener.accept == .none and !listener.emptied and
        !worker.destroying)
    {
        empty_queue(worker, listener, index);
    }
}

fn entry(worker: anytype) ?*linux.io_uring_sqe {
    if (worker.get_sqe()) |sqe| return sqe;
    worker.stay_awake = true;
    return null;
}

fn arm(worker: anytype, listener: *Listener, index: u32) void {
    const sqe = entry(worker) orelse return;
    sqe.opcode = .ACCEPT;
    sqe.fd = listener.fd;
    // No address here: a multishot accept would share one buffer among all (F60).
    sqe.rw_flags = linux.SOCK.NONBLOCK | linux.SOCK.CLOEXEC; // accept_flags (F22)
    const room = worker.slab.connections.len - worker.slab.active;
    listener.multishot = worker.config.multishot_accept != 0 and room >= multishot_room;
    if (listener.multishot) sqe.ioprio = linux.IORING_ACCEPT_MULTISHOT;
    sqe.user_data = Token.init(.accept, index, 0).to_user_data();
    worker.metrics.ops_in_flight += 1;
    listener.accept = .armed;
    listener.emptied = false;
}

pub fn completed(worker: anytype, index: u32, cqe: *const linux.io_uring_cqe) void {
    assert(index < worker.listeners.count);
    const listener = &worker.listeners.items[index];
    if (cqe.flags & linux.IORING_CQE_F_MORE == 0) {
        listener.accept = .none;
        if (cqe.res >= 0 and listener.multishot) worker.metrics.rearms += 1;
    }
    if (cqe.res >= 0) return admit(worker, cqe.res, index);
    switch (kernel.errno_of(cqe.res)) {
        .CANCELED, .INTR, .AGAIN => {},
        .MFILE, .NFILE, .NOMEM, .NOBUFS, .NOSPC => {
            // Out of descriptors, memory or epoll's watches: arming at once would spin. The clients wait in the
            // backlog until the time is over or a connection has ended.
            worker.metrics.errors_accept += 1;
            listener.backing_off = true;
            worker.deadlines.set(deadline_id(worker, index), worker.now_ns + backoff_ns);
        },
        .BADF, .INVAL, .NOTSOCK, .OPNOTSUPP => {
            worker.metrics.errors_accept += 1;
            listener.failed = -cqe.res;
            worker.handler.accept_failed(worker, index, -cqe.res);
        },
        // One client's bad luck (ECONNABORTED, EPROTO, a firewall's EPERM …): accept on.
        else => worker.metrics.errors_accept += 1,
    }
}

/// A cancel that missed (ENOENT, EALREADY: the accept was on its way between two places where the
/// kernel looks) is sent again while the accept is there: `adjust` sees it armed.
pub fn cancel_completed(worker: anytype, index: u32, cqe: *const linux.io_uring_cqe) void {
    const listener = &worker.listeners.items[index];
    if (cqe.res < 0 and listener.accept == .cancelling) listener.accept = .armed;
}

/// A connected descriptor becomes a connection, or is refused when all slots are taken.
fn admit(worker: anytype, fd: i32, index: u32) void {
    const connection = if (worker.destroying) null else worker.slab.take(fd, .open);
    if (connection) |taken| return welcome(worker, taken, index);
    worker.metrics.refused += 1;
    worker.ring.close_descriptor(fd);
}

fn welcome(worker: anytype, connection: *Connection, index: u32) void {
    worker.metrics.accepted += 1;
    worker.metrics.active += 1;
    connection.last_receive_ns = worker.now_ns;
    connection.flags.connected = true;
    connection.write_high = worker.config.write_high_water;
    connection.write_low = worker.config.write_low_water;
    timing.refresh(worker, connection);
    worker.mark_dirty(connection);
    worker.handler.connected(worker, connection, index);
}

/// Serves who connected before the pause: their connections would be reset when the socket
/// closes (F24, F59).
fn empty_queue(worker: anytype, listener: *Listener, index: u32) void {
    var unlucky: u32 = 0;
    while (worker.slab.active < worker.slab.connections.len and unlucky < 1024) {
        const fd = worker.ring.accept_now(listener.fd);
        if (fd >= 0) {
            admit(worker, fd, index);
            continue;
        }
        switch (kernel.errno_of(fd)) {
            // Empty; or nobody can be accepted now, whoever waits.
            .AGAIN, .MFILE, .NFILE, .NOMEM, .NOBUFS, .BADF, .INVAL, .NOTSOCK, .OPNOTSUPP => break,
            // One client's bad luck (ECONNABORTED …): others wait behind it.
            else => unlucky += 1,
        }
    }
    listener.emptied = true;
}

/// The back-off's time is over, or a descriptor was freed.
pub fn backoff_over(worker: anytype, index: u32) void {
    worker.listeners.items[index].backing_off = false;
}

pub fn descriptor_freed(worker: anytype) void {
    for (worker.listeners.items[0..worker.listeners.count], 0..) |*listener, index| {
        if (!listener.backing_off) continue;
        listener.backing_off = false;
        worker.deadlines.clear(deadline_id(worker, @intCast(index)));
    }
}

fn deadline_id(worker: anytype, index: u32) u32 {
    return @as(u32, @intCast(worker.slab.connections.len)) + index;
}

pub fn is_stopped(worker: anytype) bool {
    if (!worker.listeners.paused) return false;
    for (worker.listeners.items[0..worker.listeners.count]) |*listener| {
        if (listener.accept != .none or !listener.emptied) return false;
    }
    return true;
}

/// Accepts again after a pause, on the same sockets.
pub fn resume_all(worker: anytype) void {
    worker.listeners.paused = false;
    for (worker.listeners.items[0..worker.listeners.count]) |*listener| listener.emptied = false;
}

/// Forgets the sockets, after `is_stopped`: the caller closes them.
pub fn remove_all(worker: anytype) void {
    assert(is_stopped(worker) or worker.listeners.count == 0);
    worker.listeners = .{ .paused = worker.listeners.paused };
}
