//! Faults of accepting and of many connections at once, each on the model kernel by itself.
//! Owns no state: rows.zig makes the model.

const std = @import("std");
const accept = @import("../accept.zig");
const kernel = @import("../kernel.zig");
const rows = @import("rows.zig");
const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;

test "test_f21 out of descriptors the worker backs off, and accepts again when one is freed or the time is over" {
    const model = try rows.start(.{}, .echo);
    defer model.destroy();
    model.kernel.network.limit = model.kernel.network.open + 2;
    const first = try rows.open(model);
    _ = try rows.open(model);
    for (0..5) |_| _ = model.client(.half_close, 100);
    model.run_for(100 * rows.ms);
    const accepts = model.kernel.counts.accepts;
    const turns = model.worker.metrics.turns;
    model.run_for(10 * rows.second);
    // Ten tries a second at most, and not deaf either.
    try expect(model.kernel.counts.accepts - accepts <= 110);
    try expect(model.kernel.counts.accepts - accepts >= 50);
    try expect(model.worker.metrics.turns - turns < 1000);
    // A descriptor comes free: no need to wait for the time. The five take turns with it.
    model.kernel.network.peer_reset(first);
    model.kernel.settle();
    model.run_for(400 * rows.ms);
    try expectEqual(0, model.peers.left);
    try rows.expect_echoed(model);
    try rows.end(model);
}

test "test_f21 a listener on which accepting can never work is given up loudly" {
    const model = try rows.start(.{}, .echo);
    defer model.destroy();
    model.turn(0);
    model.kernel.completions.post(.{ .user_data = 1 << 56, .res = kernel.negative(.OPNOTSUPP), .flags = 0 });
    model.worker.metrics.ops_in_flight += 1;
    model.turn(0);
    try expectEqual(1, model.app.accept_failures);
    const accepts = model.kernel.counts.accepts;
    model.turns(10);
    try expectEqual(accepts, model.kernel.counts.accepts);
}

test "test_f23 accepting has stopped only when no accept is in flight, however its cancel goes" {
    for (0..40) |seed| {
        const model = try rows.start(.{ .seed = seed, .listeners = 2 }, .echo);
        defer model.destroy();
        model.kernel.faults = .{ .delay = 300, .delay_completion = 300, .cancel_already = 300, .late_bytes = 300 };
        for (0..10) |_| {
            model.turns(2);
            model.worker.listeners.paused = true;
            for (0..10_000) |_| {
                model.turn(rows.ms);
                if (model.state.accept_stopped) break;
            } else return error.NeverStopped;
            for (model.listeners[0..2]) |listener| try expectEqual(null, listener.acceptor);
            accept.resume_all(model.worker);
        }
        model.kernel.faults = .{};
        _ = try rows.open(model);
        try rows.end(model);
    }
}

test "test_f24 who connected before the pause is served, whoever else hung up meanwhile" {
    for ([_]bool{ false, true }) |aborted| {
        const model = try rows.start(.{ .config = .{ .multishot_accept = 0, .max_connections = 64, .buffer_count = 16, .buffer_size = 512 } }, .echo);
        defer model.destroy();
        model.turn(0);
        for (0..10) |_| _ = model.client(.half_close, 100);
        model.kernel.now_ns += 10;
        model.kernel.run_due(); // they are in the backlog, and the worker knows of one at most
        model.worker.listeners.paused = true;
        model.kernel.aborted_accepts = @intFromBool(aborted);
        while (!model.state.accept_stopped) model.turn(rows.ms);
        accept.remove_all(model.worker);
        model.worker.ring.close_descriptor(model.listeners[0].fd);
        try rows.until_through(model);
        try rows.expect_echoed(model);
        try expectEqual(@as(usize, if (aborted) 9 else 10), model.app.sessions.items.len);
        try rows.end(model);
    }
}

test "test_f43 ten thousand connections end, each once" {
    const count = 10_000;
    const model = try rows.start(.{ .cq_entries = 4096, .config = .{
        .ring_entries = 256,
        .max_connections = count + 100,
        .buffer_count = 16,
        .buffer_size = 256,
    } }, .sink);
    defer model.destroy();
    model.kernel.network.backlog_most = count;
    for (0..count) |_| _ = model.kernel.network.connect(model.listeners[0]).?;
    for (0..200) |_| {
        model.turn(0);
        if (model.app.sessions.items.len == count) break;
    }
    try expectEqual(count, model.app.live);
    model.worker.abort_all(0);
    for (0..2000) |_| {
        model.turn(0);
        if (model.worker.slab.active == 0) break;
    }
    try expectEqual(0, model.app.live);
    try expectEqual(count, model.worker.metrics.closed);
    for (model.app.sessions.items) |session| try expect(session.state == .lost);
    try rows.end(model);
}
