//! Faults of sending and closing, each on the model kernel by itself.
//! Owns no state: rows.zig makes the model.

const std = @import("std");
const kernel = @import("../kernel.zig");
const rows = @import("rows.zig");
const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;

test "test_f35 one send at a time, what is queued meanwhile goes out in one" {
    for (0..20) |seed| {
        const model = try rows.start(.{ .seed = seed }, .echo);
        defer model.destroy();
        model.kernel.network.outbound_capacity = 100;
        model.kernel.faults = .{ .short_send = 500, .delay = 300, .delay_completion = 300 };
        for (0..6) |_| _ = model.client(.half_close, 4000);
        try rows.until_through(model);
        try rows.expect_echoed(model);
        try rows.end(model);
    }
}

test "test_f36 after an error the queue is released and the application told once" {
    for ([_]bool{ false, true }) |short| {
        var options = rows.Options{};
        options.config.write_high_water = 1 << 30;
        const model = try rows.start(options, .burst);
        defer model.destroy();
        if (short) model.kernel.faults.short_send = 900;
        model.app.limit_most = 1;
        const socket = try rows.open(model);
        const session = rows.session_of(model, socket);
        session.limit = 10 << 20;
        model.app.burst_now(model.worker, session);
        try expect(session.connection.?.queued_bytes == 10 << 20);
        var got: u64 = 0;
        for (0..50) |_| {
            model.turn(rows.ms);
            got += rows.read(model, socket);
        }
        try expect(got > 0);
        model.kernel.network.peer_reset(socket);
        model.kernel.settle();
        model.turns(10);
        try expect(session.state == .lost);
        const reason: kernel.E = @enumFromInt(session.reason);
        try expect(reason == .CONNRESET or reason == .PIPE);
        try expectEqual(0, model.app.owners.out);
        try rows.end(model);
    }
}

test "test_f37 peers that never read: reading from them stops, and what is queued has a bound" {
    var options = rows.Options{ .cq_entries = 4096 };
    options.config.max_connections = 1100;
    options.config.send_queue_pause = 2048;
    const model = try rows.start(options, .echo);
    defer model.destroy();
    model.kernel.network.outbound_capacity = 256;
    for (0..1000) |_| {
        var peer = model.peers.random_peer(model.listeners[0]);
        peer.plan = .no_read;
        peer.to_send = 1 << 20;
        peer.slowest_ns = 1_000_000;
        _ = model.peers.add(peer, 1);
    }
    model.run_for(300 * rows.ms);
    try model.expect_sound();
    var choked: u32 = 0;
    for (model.worker.slab.slots()) |*connection| {
        // One turn's buffers may come on top before the receive has ended.
        try expect(connection.queued_bytes <= 2048 + 16 * 512 * 2);
        choked += @intFromBool(connection.flags.choked);
    }
    try expect(choked > 900);
    try rows.end(model);
}

test "test_f37 an application that writes on and on is stopped at the limit" {
    var options = rows.Options{};
    options.config.write_high_water = 1 << 30;
    options.config.send_queue_limit = 64 * 1024;
    const model = try rows.start(options, .burst);
    defer model.destroy();
    model.app.limit_most = 1;
    const socket = try rows.open(model);
    const session = rows.session_of(model, socket);
    session.limit = 1 << 20;
    model.app.burst_now(model.worker, session);
    try expect(session.written <= 64 * 1024 + 4096);
    model.turns(10);
    try expectEqual(@intFromEnum(kernel.E.NOBUFS), session.reason);
    try expectEqual(0, model.app.owners.out);
    try rows.end(model);
}

test "test_f38 a descriptor is closed and memory released when nothing is in flight, whatever is late" {
    for (0..12) |seed| {
        const model = try rows.start(.{ .seed = seed, .cq_entries = 256, .config = .{
            .ring_entries = 64,
            .max_connections = 256,
            .buffer_count = 32,
            .buffer_size = 128,
            .provided_buffers = @intFromBool(seed % 3 != 0),
            .multishot_recv = @intFromBool(seed % 3 == 1),
        } }, if (seed % 2 == 0) .abort_after else .close_after);
        defer model.destroy();
        model.app.limit_most = 500;
        model.kernel.faults = .{ .delay = 200, .delay_completion = 300, .late_bytes = 800, .cancel_already = 500, .cancel_missed = 300 };
        for (0..256) |_| {
            var peer = model.peers.random_peer(model.listeners[0]);
            peer.plan = .wait_for_echo;
            _ = model.peers.add(peer, 1);
        }
        model.run_for(50 * rows.ms);
        model.peers.calm = true;
        try rows.until_through(model);
        try rows.end(model);
    }
}

test "test_f39 no entry names a descriptor whose number is another's by now" {
    for (0..12) |seed| {
        // Aborted as soon as it is there; few slots, so that others are refused and closed at once.
        const model = try rows.start(.{ .seed = seed, .cq_entries = 16, .config = .{
            .ring_entries = 4,
            .max_connections = 3,
            .buffer_count = 4,
            .buffer_size = 64,
        } }, null_or(seed));
        defer model.destroy();
        model.app.limit_most = 50;
        model.kernel.faults = .{ .short_submit = 500, .refuse_enter = 200, .delay_completion = 300 };
        for (0..60) |_| _ = model.client(.wait_for_echo, 100);
        model.peers.calm = true;
        try rows.until_through(model);
        try rows.end(model);
    }
}

fn null_or(seed: u64) @import("model_application.zig").Mode {
    return if (seed % 2 == 0) .reject else .close_after;
}

test "test_f58 a worker that ends in the middle of everything leaves nothing in flight" {
    for (0..30) |seed| {
        const model = try rows.Model.create(.{ .seed = seed });
        defer model.destroy();
        model.kernel.faults = .{ .delay = 300, .delay_completion = 300, .late_bytes = 500, .cancel_already = 300 };
        model.app.pause_chance = 50;
        for (0..30) |_| _ = model.peers.add(model.peers.random_peer(model.listeners[0]), 1000);
        _ = try model.connect_out(model.peers.random_peer(null), .silent, 0);
        model.turns(@intCast(seed));
        try rows.end(model);
        try expectEqual(0, model.kernel.in_flight);
    }
}
