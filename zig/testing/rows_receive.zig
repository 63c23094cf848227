//! Faults of receiving and of its buffers, each on the model kernel by itself.
//! Owns no state: rows.zig makes the model. F34 has no test here: the worker uses no bundles.

const std = @import("std");
const rows = @import("rows.zig");
const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;

test "test_f26 out of buffers is no end and no reason to spin" {
    const model = try rows.start(.{ .config = .{ .max_connections = 64, .buffer_count = 2, .buffer_size = 64 } }, .echo);
    defer model.destroy();
    for (0..64) |_| _ = model.client(.half_close, 1000);
    try rows.until_through(model);
    try rows.expect_echoed(model);
    const metrics = &model.worker.metrics;
    try expect(metrics.enobufs > 0);
    try expectEqual(0, metrics.errors_receive);
    // Each turn arms a receive once at most, and somebody gets bytes in each.
    try expect(metrics.turns < 4 * metrics.messages_received + 1000);
    try expectEqual(2, model.kernel.buffers.available());
    try rows.end(model);
}

test "test_f27 every buffer comes back, with ends and late bytes of connections long closed too" {
    for (0..20) |seed| {
        const model = try rows.start(.{ .seed = seed }, if (seed % 2 == 0) .abort_after else .close_after);
        defer model.destroy();
        model.kernel.faults = .{ .buffer_at_end = 1000, .late_bytes = 1000, .delay = 200, .receive_error = 20 };
        model.app.limit_most = 300;
        for (0..40) |_| _ = model.client(.half_close, 600);
        try rows.until_through(model);
        model.kernel.faults = .{};
        model.worker.drain(0);
        while (!model.state.drained) model.turn(rows.second);
        try expectEqual(model.kernel.buffers.count, model.kernel.buffers.available());
        try rows.end(model);
    }
}

test "test_f32 one receive at a time, through pauses and cancels, keeps the bytes in order" {
    for (0..20) |seed| {
        const multishot: u8 = @intCast(seed % 2);
        const model = try rows.start(.{ .seed = seed, .config = .{
            .multishot_recv = multishot,
            .max_connections = 16,
            .buffer_count = 8,
            .buffer_size = 128,
        } }, .echo);
        defer model.destroy();
        model.kernel.faults = .{ .short_receive = 500, .delay = 200, .late_bytes = 700, .cancel_already = 300, .end_multishot = 200 };
        model.app.pause_chance = 200;
        model.app.pause_longest_ns = 200_000; // over before the cancel is, at times
        for (0..8) |_| _ = model.client(.half_close, 5000);
        try rows.until_through(model);
        try rows.expect_echoed(model);
        try rows.end(model);
    }
}

test "test_f33 a paused application holds a few buffers' bytes, whatever is sent" {
    const model = try rows.start(.{}, .echo);
    defer model.destroy();
    model.kernel.network.inbound_capacity = 1 << 20;
    const socket = try rows.open(model);
    const session = rows.session_of(model, socket);
    const connection = session.connection.?;
    connection.flags.paused = true; // between two turns, with the receive armed
    var sent: u64 = 0;
    while (sent < 1 << 20) {
        const count = rows.write(model, socket, sent, 1024);
        if (count == 0) break;
        sent += count;
        if (sent % (64 * 1024) == 0) {
            model.worker.mark_dirty(connection);
            model.turn(rows.ms);
        }
    }
    const most = @as(usize, model.kernel.buffers.count) * 512 * 2;
    try expect(connection.held_bytes > 0 and connection.held_bytes <= most);
    try expect(connection.receive == .none);
    try expectEqual(0, session.received);
    connection.flags.paused = false;
    model.worker.mark_dirty(connection);
    var got: u64 = 0;
    for (0..100_000) |_| {
        if (got == sent) break;
        model.turn(rows.ms);
        try expect(connection.queued_bytes <= model.worker.config.send_queue_pause + 64 * 1024);
        got += rows.read(model, socket);
    }
    try expectEqual(sent, got);
    try rows.end(model);
}

test "test_f61 beside a fire hose a hundred others are answered within a few turns" {
    const model = try rows.start(.{ .cq_entries = 256, .config = .{
        .ring_entries = 64,
        .max_connections = 256,
        .buffer_count = 16,
        .buffer_size = 512,
    } }, .sink);
    defer model.destroy();
    model.kernel.network.inbound_capacity = 1 << 20;
    const hose = try rows.open(model);
    model.app.mode = .echo;
    var others: [100]*@import("fake_network.zig").Socket = undefined;
    for (&others) |*socket| socket.* = try rows.open(model);
    var poured: u64 = 0;
    for (0..20) |round| {
        for (others) |socket| try expectEqual(32, rows.write(model, socket, round * 32, 32));
        var answered: usize = 0;
        var turns: u32 = 0;
        while (answered < others.len) : (turns += 1) {
            while (true) { // as much as fits, always
                const count = rows.write(model, hose, poured, 1024);
                poured += count;
                if (count == 0) break;
            }
            const before = rows.session_of(model, hose).received;
            model.turn(rows.ms);
            // No more than the buffers there are, each turn.
            try expect(rows.session_of(model, hose).received - before <= 2 * 16 * 512);
            for (others) |socket| answered += @intFromBool(rows.read(model, socket) == 32);
            try expect(turns < 40);
        }
    }
    try rows.end(model);
}
