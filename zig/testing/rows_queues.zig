//! Faults of the two queues and of io_uring_enter, each on the model kernel by itself.
//! Owns no state: rows.zig makes the model.

const std = @import("std");
const kernel = @import("../kernel.zig");
const Token = @import("../token.zig").Token;
const linux = kernel.linux;
const rows = @import("rows.zig");
const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;

test "test_f01 a short submission is submitted on, and a refused entry takes only its own connection" {
    for ([_]u16{ 0, 700 }) |short| {
        const model = try rows.start(.{ .seed = short }, .echo);
        defer model.destroy();
        model.kernel.faults.short_submit = short;
        model.kernel.refused_receives = 2;
        for (0..12) |_| _ = model.client(.half_close, 300);
        try rows.until_through(model);
        try rows.expect_echoed(model);
        var refused: u32 = 0;
        for (model.app.sessions.items) |session| {
            if (session.reason == @intFromEnum(kernel.E.INVAL)) refused += 1 else try expectEqual(0, session.reason);
        }
        try expectEqual(2, refused);
        try rows.end(model);
    }
}

test "test_f02 with two or four entries every kind of operation is issued in the end" {
    for ([_]u32{ 2, 4 }) |entries| for (0..6) |seed| {
        const model = try rows.Model.create(.{ .seed = seed, .cq_entries = 8, .config = .{
            .ring_entries = entries,
            .max_connections = 64,
            .buffer_count = 4,
            .buffer_size = 64,
            .write_high_water = 256,
            .write_low_water = 64,
            .send_queue_pause = 512,
        } });
        defer model.destroy();
        model.kernel.faults = .{ .refuse_enter = 300, .short_submit = 300, .end_multishot = 200 };
        model.app.pause_chance = 100;
        for (0..20) |_| _ = model.peers.add(model.peers.random_peer(model.listeners[0]), 1000);
        for (0..4) |_| {
            _ = model.connect_out(model.peers.random_peer(null), .succeed, rows.second) catch {};
            model.turns(5);
        }
        model.peers.calm = true;
        try rows.until_through(model);
        try rows.end(model);
    };
}

test "test_f02 a listener that found no entry is armed before the worker sleeps" {
    const model = try rows.start(.{ .config = .{ .ring_entries = 2, .max_connections = 8, .buffer_count = 4, .buffer_size = 64 } }, .echo);
    defer model.destroy();
    model.turn(0);
    model.kernel.faults.end_multishot = 1000;
    _ = model.kernel.network.connect(model.listeners[0]).?;
    model.kernel.settle();
    model.turn(0);
    try expect(model.worker.listeners.items[0].accept == .none);
    model.kernel.faults = .{};
    // Both entries are taken, and the kernel does not want them just then.
    for (0..2) |i| {
        const sqe = model.worker.ring.get_sqe().?;
        sqe.opcode = .ASYNC_CANCEL;
        sqe.user_data = Token.init(.cancel_accept, 0, 0).to_user_data();
        sqe.addr = 0xffff + i;
        model.worker.metrics.ops_in_flight += 1;
    }
    model.kernel.enter_failure = kernel.negative(.AGAIN);
    model.turn(rows.ms);
    try model.expect_sound();
    _ = try rows.open(model);
    try rows.end(model);
}

test "test_f06 completions that overflow are flushed until none is left" {
    const model = try rows.start(.{ .cq_entries = 4 }, .echo);
    defer model.destroy();
    for (0..40) |_| _ = model.client(.half_close, 400);
    try rows.until_through(model);
    try rows.expect_echoed(model);
    try expect(model.kernel.counts.overflows > 0);
    try expect(model.worker.metrics.cq_overflows > 0);
    try expectEqual(0, model.kernel.completions.overflow.items.len);
    try rows.end(model);
}

test "test_f07 a wait ends at the next deadline although nobody moves" {
    var options = rows.Options{};
    options.config.write_timeout_ns = rows.second;
    options.config.write_high_water = 1 << 30;
    const model = try rows.start(options, .burst);
    defer model.destroy();
    model.app.limit_most = 1;
    const socket = try rows.open(model);
    const session = rows.session_of(model, socket);
    session.limit = 50_000; // more than the way holds
    model.app.burst_now(model.worker, session);
    const from = model.kernel.now_ns;
    while (session.state == .live and !model.kernel.stuck) model.turn(null);
    try expectEqual(@intFromEnum(kernel.E.TIMEDOUT), session.reason);
    try expect(model.kernel.now_ns - from < rows.second + 10 * rows.ms);
    try rows.end(model);
}

test "test_f07 another thread ends a wait that has no end" {
    const model = try rows.start(.{}, .echo);
    defer model.destroy();
    const socket = try rows.open(model);
    const session = rows.session_of(model, socket);
    model.app.wish(session);
    model.turn(null); // may end with what was under way still
    if (!model.state.notified) model.turn(null);
    try expect(model.state.notified);
    try expect(!model.kernel.stuck);
    try rows.end(model);
}

test "test_f08 signals and refusals are no errors, and the others are told" {
    const model = try rows.start(.{ .cq_entries = 8 }, .echo);
    defer model.destroy();
    model.kernel.faults = .{ .interrupt = 500, .refuse_enter = 300, .busy_enter = 500 };
    for (0..30) |_| _ = model.client(.half_close, 400);
    try rows.until_through(model);
    try rows.expect_echoed(model);
    model.kernel.faults = .{};
    model.kernel.enter_failure = kernel.negative(.BADR);
    model.turn(0);
    try expectEqual(kernel.negative(.BADR), model.failure);
    try rows.end(model);
}

test "test_f11 a completion of an operation that nobody knows is counted" {
    const model = try rows.start(.{}, .echo);
    defer model.destroy();
    const socket = try rows.open(model);
    model.kernel.counts.unknown += 1;
    model.kernel.completions.post(.{ .user_data = 200 << 56, .res = 0, .flags = 0 });
    model.turn(rows.ms);
    try expectEqual(1, model.worker.metrics.unknown_completions);
    try expectEqual(10, rows.write(model, socket, 0, 10));
    for (0..3) |_| model.turn(rows.ms);
    try expectEqual(10, rows.read(model, socket));
    try rows.end(model);
}

/// A connection has come and gone, another has its slot; and what the first one's token was.
fn take_over(model: *rows.Model) !struct { *@import("fake_network.zig").Socket, Token } {
    const first = try rows.open(model);
    const connection = rows.session_of(model, first).connection.?;
    const token = Token.init(.receive, connection.slot, connection.generation);
    model.kernel.network.peer_reset(first);
    model.kernel.settle();
    model.turns(10);
    const second = try rows.open(model);
    try expectEqual(connection, rows.session_of(model, second).connection.?);
    return .{ second, token };
}

test "test_f12 a former owner's completion is dropped, its buffer recycled, its operation no longer counted" {
    const model = try rows.start(.{}, .echo);
    defer model.destroy();
    const socket, const old = try take_over(model);
    const bid, const memory = model.kernel.buffers.peek(&model.kernel.report, 0).?;
    model.kernel.buffers.commit(bid);
    @memset(memory, 'x');
    model.kernel.counts.stale += 1;
    model.worker.metrics.ops_in_flight += 1;
    model.kernel.completions.post(.{
        .user_data = old.to_user_data(),
        .res = @intCast(memory.len),
        .flags = linux.IORING_CQE_F_BUFFER | @as(u32, bid) << linux.IORING_CQE_BUFFER_SHIFT,
    });
    model.turns(3);
    try model.expect_sound();
    try expectEqual(1, model.worker.metrics.stale_completions);
    try expectEqual(0, rows.session_of(model, socket).received);
    try expectEqual(model.kernel.buffers.count, model.kernel.buffers.available());
    try rows.end(model);
}

test "test_f42 a former owner's close or error does not touch the slot's new owner" {
    const model = try rows.start(.{}, .echo);
    defer model.destroy();
    const socket, const old = try take_over(model);
    inline for (.{ .close, .receive, .send, .cancel, .shutdown, .connect }) |operation| {
        model.kernel.counts.stale += 1;
        model.worker.metrics.ops_in_flight += 1;
        const late = Token.init(operation, old.slot, old.generation).to_user_data();
        model.kernel.completions.post(.{ .user_data = late, .res = kernel.negative(.CONNRESET), .flags = 0 });
    }
    model.turns(3);
    try expectEqual(6, model.worker.metrics.stale_completions);
    try expectEqual(20, rows.write(model, socket, 0, 20));
    model.turns(3);
    try expectEqual(20, rows.read(model, socket));
    try expect(rows.session_of(model, socket).state == .live);
    try rows.end(model);
}

test "test_f41 no turn takes longer than it was given, while draining too" {
    const model = try rows.start(.{}, .close_after);
    defer model.destroy();
    model.app.limit_most = 1;
    for (0..8) |i| {
        const socket = try rows.open(model);
        // Half of them are closed by the application and linger: their peers say nothing.
        if (i % 2 == 0) _ = rows.write(model, socket, 0, 5);
    }
    model.worker.drain(100 * rows.ms);
    for (0..4000) |_| {
        const before = model.kernel.now_ns;
        model.turn(rows.ms);
        try expect(model.kernel.now_ns - before < 2 * rows.ms);
        if (model.state.drained) break;
    }
    try expect(model.state.drained);
    try rows.end(model);
}

test "a worker whose mailbox cannot be armed looks now and then, and sleeps in between" {
    const model = try rows.start(.{}, .echo);
    defer model.destroy();
    model.kernel.faults = .{ .read_error = 1000 };
    model.worker.mailbox.force(); // the read that is armed ends with it
    model.turns(4);
    try expectEqual(1, model.app.deaf);
    const from = model.kernel.now_ns;
    const before = model.worker.metrics.turns;
    while (model.kernel.now_ns - from < rows.second) model.turn(null);
    try expect(!model.kernel.stuck);
    try expect(model.worker.metrics.turns - before < 150); // every 10 ms, and twice when it tries anew
    model.worker.mailbox.notify();
    model.turn(null);
    model.turn(null);
    try expect(!model.kernel.stuck);
    model.kernel.faults = .{};
    model.run_for(200 * rows.ms);
    const calm = model.worker.metrics.turns;
    model.run_for(rows.second);
    try expect(model.worker.metrics.turns - calm < 10); // it sleeps as before
    try expectEqual(1, model.app.deaf);
    try rows.end(model);
}
