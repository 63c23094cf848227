//! The churn load: `connections` slots, each connecting, sending one message, checking its echo,
//! closing, and starting again. Every failure is counted and the slot goes on.
//! The source address moves through 127.0.0.1–250, since each closed connection keeps its port
//! for a minute (TIME_WAIT). Never resets: it closes as an ordinary client does.

const std = @import("std");
const linux = std.os.linux;
const net = @import("net.zig");
const load = @import("load.zig");

const Slot = struct {
    fd: net.fd_t = -1,
    round: u64 = 0,
    sent: u32 = 0,
    received: u32 = 0,
    began_ns: u64 = 0,
};

const Loop = struct {
    options: *const load.Options,
    pattern: *const net.Pattern,
    report: *load.Report,
    epoll: net.fd_t,
    slots: []Slot,
    rounds: u64 = 0,
    stopping: bool = false,
    buffer: [net.piece_max]u8 = undefined,

    fn begin(loop: *Loop, slot: *Slot) void {
        loop.rounds += 1;
        const fd = net.tcp_socket();
        slot.* = .{ .fd = fd, .round = loop.rounds, .began_ns = net.monotonic_ns() };
        net.set_option(fd, linux.IPPROTO.IP, linux.IP.BIND_ADDRESS_NO_PORT, 1);
        const source = net.address(.{ 127, 0, 0, @intCast(1 + loop.rounds % 250) }, 0);
        _ = net.must(linux.bind(fd, @ptrCast(&source), @sizeOf(@TypeOf(source))), "bind");
        const server = net.address(.{ 127, 0, 0, 1 }, loop.options.port);
        const rc = linux.connect(fd, &server, @sizeOf(@TypeOf(server)));
        const err = linux.errno(rc);
        const tag: u32 = @intCast(slot - loop.slots.ptr);
        if (err != .SUCCESS and err != .INPROGRESS) {
            loop.report.refused += 1;
            return loop.end(slot);
        }
        net.epoll_set(loop.epoll, linux.EPOLL.CTL_ADD, fd, linux.EPOLL.OUT, tag);
        loop.send(slot);
    }

    /// On loopback the connection is usually there already, so sending is tried before waiting.
    fn send(loop: *Loop, slot: *Slot) void {
        const rest = loop.options.size - slot.sent;
        const piece = loop.pattern.at(slot.round, slot.sent, rest);
        const rc = linux.sendto(slot.fd, piece.ptr, rest, linux.MSG.NOSIGNAL, null, 0);
        switch (linux.errno(rc)) {
            .SUCCESS => slot.sent += @intCast(rc),
            .AGAIN => return,
            .CONNREFUSED => {
                loop.report.refused += 1;
                return loop.end(slot);
            },
            else => return loop.lose(slot),
        }
        if (slot.sent < loop.options.size) return;
        const tag: u32 = @intCast(slot - loop.slots.ptr);
        net.epoll_set(loop.epoll, linux.EPOLL.CTL_MOD, slot.fd, linux.EPOLL.IN, tag);
    }

    fn receive(loop: *Loop, slot: *Slot) void {
        const rc = linux.recvfrom(slot.fd, &loop.buffer, loop.buffer.len, 0, null, null);
        switch (linux.errno(rc)) {
            .SUCCESS => {},
            .AGAIN => return,
            else => return loop.lose(slot),
        }
        if (rc == 0) return loop.lose(slot);
        if (rc > loop.options.size - slot.received) return loop.mismatch(slot);
        const expected = loop.pattern.at(slot.round, slot.received, rc);
        if (!std.mem.eql(u8, expected, loop.buffer[0..rc])) return loop.mismatch(slot);
        slot.received += @intCast(rc);
        if (slot.received < loop.options.size) return;
        loop.report.messages += 1;
        loop.report.latency.add(net.monotonic_ns() - slot.began_ns);
        loop.end(slot);
    }

    fn lose(loop: *Loop, slot: *Slot) void {
        loop.report.disconnects += 1;
        loop.end(slot);
    }

    fn mismatch(loop: *Loop, slot: *Slot) void {
        loop.report.mismatches += 1;
        loop.end(slot);
    }

    fn end(loop: *Loop, slot: *Slot) void {
        _ = loop;
        _ = linux.close(slot.fd);
        slot.fd = -1;
    }

    /// Closed slots begin again here and not in end(), which would recurse on failures.
    fn refill(loop: *Loop) void {
        for (loop.slots) |*slot| if (slot.fd < 0) loop.begin(slot);
    }

    fn poll(loop: *Loop, timeout_ms: i32) void {
        var events: [256]linux.epoll_event = undefined;
        const rc = linux.epoll_wait(loop.epoll, &events, events.len, timeout_ms);
        if (linux.errno(rc) == .INTR) return;
        for (events[0..net.must(rc, "epoll_wait")]) |event| {
            const slot = &loop.slots[event.data.u32];
            if (slot.fd < 0) continue;
            if (slot.sent < loop.options.size) loop.send(slot) else loop.receive(slot);
        }
    }

    fn busy(loop: *const Loop) u64 {
        var sum: u64 = 0;
        for (loop.slots) |slot| sum += @intFromBool(slot.fd >= 0);
        return sum;
    }
};

var loop_storage: Loop = undefined;

pub fn run(options: *const load.Options, pattern: *const net.Pattern, report: *load.Report) void {
    if (options.size > net.piece_max) net.die("churn sends at most {d} bytes", .{net.piece_max});
    const loop = &loop_storage;
    const slots = net.allocate(Slot, options.connections);
    @memset(slots, .{});
    loop.* = .{
        .options = options,
        .pattern = pattern,
        .report = report,
        .epoll = @intCast(net.must(linux.epoll_create1(0), "epoll_create1")),
        .slots = slots,
    };
    var schedule = load.Schedule.init(options);
    while (schedule.turn(report, false)) {
        loop.refill();
        loop.poll(100);
    }
    const messages = report.messages;
    const deadline = net.monotonic_ns() + 5 * std.time.ns_per_s;
    while (loop.busy() > 0 and net.monotonic_ns() < deadline) loop.poll(100);
    report.missing += loop.busy();
    report.messages = messages;
}
