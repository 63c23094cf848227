//! The echo load's bytes moved by readiness: one epoll, level-triggered, one receive per event.
//! Used where io_uring is refused, or by `--io epoll`. Never looks into the bytes.

const std = @import("std");
const linux = std.os.linux;
const net = @import("net.zig");
const load_echo = @import("load_echo.zig");
const Connection = load_echo.Connection;

var echo: *load_echo.Echo = undefined;
var epoll: net.fd_t = undefined;
var buffer: [net.piece_max]u8 = undefined;

pub fn init(the_echo: *load_echo.Echo) void {
    echo = the_echo;
    epoll = @intCast(net.must(linux.epoll_create1(0), "epoll_create1"));
    for (echo.connections) |*connection| {
        const op = linux.EPOLL.CTL_ADD;
        net.epoll_set(epoll, op, connection.fd, linux.EPOLL.IN, connection.stream);
        send(connection, net.monotonic_ns());
    }
}

/// One turn, which ends after a tenth of a second at the latest; false when there was nothing.
pub fn poll() bool {
    const due = echo.options.rate > 0;
    if (due) while (echo.next_due(net.monotonic_ns())) |connection| {
        if (connection.open) send(connection, net.monotonic_ns());
    };
    var events: [256]linux.epoll_event = undefined;
    const rc = linux.epoll_wait(epoll, &events, events.len, if (echo.options.spin == 1) 0 else 100);
    if (linux.errno(rc) == .INTR) return due;
    const count = net.must(rc, "epoll_wait");
    for (events[0..count]) |event| {
        const connection = &echo.connections[event.data.u32];
        if (!connection.open) continue;
        if (event.events == linux.EPOLL.OUT) {
            send(connection, net.monotonic_ns());
        } else {
            receive(connection);
        }
    }
    return count > 0;
}

fn send(connection: *Connection, now: u64) void {
    while (true) {
        const piece = echo.next_piece(connection);
        if (piece.len == 0) return watch(connection, false);
        const flags = linux.MSG.NOSIGNAL;
        const rc = linux.sendto(connection.fd, piece.ptr, piece.len, flags, null, 0);
        switch (linux.errno(rc)) {
            .SUCCESS => echo.sent(connection, rc, now),
            .AGAIN => return watch(connection, true),
            else => return lose(connection),
        }
    }
}

fn watch(connection: *Connection, wants_room: bool) void {
    if (connection.sending == wants_room) return;
    connection.sending = wants_room;
    const events: u32 = linux.EPOLL.IN | if (wants_room) @as(u32, linux.EPOLL.OUT) else 0;
    net.epoll_set(epoll, linux.EPOLL.CTL_MOD, connection.fd, events, connection.stream);
}

fn receive(connection: *Connection) void {
    const rc = linux.recvfrom(connection.fd, &buffer, buffer.len, 0, null, null);
    switch (linux.errno(rc)) {
        .SUCCESS => {},
        .AGAIN => return,
        else => return lose(connection),
    }
    if (rc == 0) return lose(connection);
    const now = net.monotonic_ns();
    if (!echo.received(connection, buffer[0..rc], now)) return drop(connection);
    send(echo.sender(connection), now);
}

fn lose(connection: *Connection) void {
    echo.report.disconnects += 1;
    drop(connection);
}

fn drop(connection: *Connection) void {
    net.epoll_set(epoll, linux.EPOLL.CTL_DEL, connection.fd, 0, 0);
    load_echo.close(connection);
}
