//! Outgoing connections, on the same ring as the accepted ones. Owns the address while it is lent
//! to the kernel; from success on, a connection is like any other.

const std = @import("std");
const kernel = @import("kernel.zig");
const linux = kernel.linux;
const closing = @import("closing.zig");
const timing = @import("timing.zig");
const Connection = @import("connection.zig").Connection;
const assert = std.debug.assert;

/// Connects `fd` (a fresh socket, the worker's from here) to `address`, a sockaddr. `user` is the
/// handler's until `connected` or `connect_failed` gives it back. Returns 0, or -errno when nothing
/// was started and the descriptor is still the caller's.
pub fn start(worker: anytype, fd: i32, address: []const u8, timeout_ns: u64, user: *anyopaque) i32 {
    if (address.len > 128) return kernel.negative(.INVAL);
    const lent = worker.addresses.take() orelse return kernel.negative(.NOMEM);
    const connection = worker.slab.take(fd, .connecting) orelse {
        worker.addresses.give(lent);
        return kernel.negative(.NOBUFS);
    };
    const sqe = worker.issue(connection, .connect) orelse {
        worker.addresses.give(lent);
        connection.phase = .releasing;
        worker.slab.give(connection);
        return kernel.negative(.AGAIN);
    };
    @memcpy(lent.bytes[0..address.len], address);
    lent.length = @intCast(address.len);
    sqe.opcode = .CONNECT;
    sqe.fd = fd;
    sqe.addr = @intFromPtr(&lent.bytes);
    sqe.off = lent.length;
    connection.address = lent;
    connection.user = user;
    connection.write_high = worker.config.write_high_water;
    connection.write_low = worker.config.write_low_water;
    if (timeout_ns != 0) {
        connection.phase_until_ns = worker.now_ns + timeout_ns;
        timing.refresh(worker, connection);
    }
    return 0;
}

pub fn completed(worker: anytype, connection: *Connection, cqe: *const linux.io_uring_cqe) void {
    worker.addresses.give(connection.address.?);
    connection.address = null;
    if (connection.phase == .releasing) return; // timed out or aborted meanwhile
    assert(connection.phase == .connecting);
    if (cqe.res < 0) {
        worker.metrics.errors_connect += 1;
        return closing.abort(worker, connection, -cqe.res);
    }
    worker.deadlines.clear(connection.slot);
    connection.phase = .open;
    connection.flags.connected = true;
    connection.phase_until_ns = 0;
    connection.last_receive_ns = worker.now_ns;
    worker.metrics.connected += 1;
    worker.metrics.active += 1;
    timing.refresh(worker, connection);
    worker.mark_dirty(connection);
    worker.handler.connected(worker, connection, null);
}
