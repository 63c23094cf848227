//! Faults of time: deadlines, timers and clocks that jump, each on the model kernel by itself.
//! Owns no state: rows.zig makes the model.

const std = @import("std");
const kernel = @import("../kernel.zig");
const time = @import("model_time.zig");
const rows = @import("rows.zig");
const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;
const timed_out = @intFromEnum(kernel.E.TIMEDOUT);

fn with_idle(idle_ns: u64) rows.Options {
    var options = rows.Options{};
    options.config.idle_timeout_ns = idle_ns;
    return options;
}

test "test_f44 bytes put off the idle deadline, and never that of a closing connection" {
    const model = try rows.start(with_idle(rows.second), .sink);
    defer model.destroy();
    const socket = try rows.open(model);
    const session = rows.session_of(model, socket);
    for (0..10) |i| {
        try expectEqual(1, rows.write(model, socket, i, 1));
        model.run_for(500 * rows.ms);
        try expect(session.state == .live);
    }
    const quiet_from = socket.moved_ns;
    while (session.state == .live) model.turn(null);
    try expectEqual(timed_out, session.reason);
    const waited = model.kernel.now_ns - quiet_from;
    try expect(waited >= rows.second and waited < rows.second + 10 * rows.ms);
    // It is told, and lingers: from here a byte now and then puts nothing off.
    var position: u64 = 10;
    const until = model.kernel.now_ns + model.worker.config.linger_timeout_ns + 10 * rows.ms;
    while (!socket.closed) {
        try expect(model.kernel.now_ns < until);
        position += rows.write(model, socket, position, 1);
        model.run_for(300 * rows.ms);
    }
    try rows.end(model);
}

test "test_f45 no connection has a timer in the kernel" {
    var options = with_idle(rows.second);
    options.config.write_timeout_ns = rows.second;
    options.config.max_connections = 300;
    const model = try rows.start(options, .echo);
    defer model.destroy();
    for (0..200) |_| _ = model.client(.half_close, 200);
    try rows.until_through(model);
    for (0..100) |_| _ = try rows.open(model);
    model.turns(2);
    try expectEqual(0, model.kernel.counts.timeouts);
    // A receive each, the accept, and the mailbox's read.
    try expectEqual(102, model.kernel.in_flight);
    try rows.end(model);
}

test "test_f46 an idle worker times an idle connection out, with no completion to tell the time" {
    const model = try rows.start(with_idle(5 * rows.second), .echo);
    defer model.destroy();
    const socket = try rows.open(model);
    const session = rows.session_of(model, socket);
    const from = model.kernel.now_ns;
    var turns: u32 = 0;
    while (session.state == .live) : (turns += 1) model.turn(null);
    const waited = model.kernel.now_ns - from;
    try expect(waited > 5 * rows.second - 100 * rows.ms and waited < 5 * rows.second + 100 * rows.ms);
    try expect(!model.kernel.stuck);
    try expect(turns < 10); // and does not wake up in between (F63)
    try rows.end(model);
}

test "test_f62 after the clock has jumped, what came meanwhile is read before anyone is timed out" {
    const model = try rows.start(with_idle(10 * rows.second), .echo);
    defer model.destroy();
    const talker = try rows.open(model);
    const silent = try rows.open(model);
    model.turn(rows.second);
    // Stopped for a minute, between two turns; the talker's bytes came during that time.
    model.kernel.now_ns += 60 * rows.second;
    _ = rows.write(model, talker, 0, 100);
    model.turns(5);
    try expect(rows.session_of(model, talker).state == .live);
    try expectEqual(100, rows.read(model, talker));
    try expect(rows.session_of(model, silent).state == .lost);
    try expectEqual(timed_out, rows.session_of(model, silent).reason);
    try rows.end(model);
}

test "test_f62 who found no buffer after the clock has jumped has not been idle" {
    var options = with_idle(10 * rows.second);
    options.config.buffer_count = 2;
    options.config.buffer_size = 64;
    const model = try rows.start(options, .echo);
    defer model.destroy();
    var talkers: [40]*@import("fake_network.zig").Socket = undefined;
    for (&talkers) |*socket| socket.* = try rows.open(model);
    model.turn(rows.second);
    model.kernel.now_ns += 60 * rows.second;
    for (talkers) |socket| try expectEqual(32, rows.write(model, socket, 0, 32));
    model.turns(100);
    for (talkers) |socket| {
        try expect(rows.session_of(model, socket).state == .live);
        try expectEqual(32, rows.read(model, socket));
    }
    try rows.end(model);
}

test "test_f62 a connection begun just before the clock has jumped gets its chance" {
    const model = try rows.start(with_idle(200 * rows.second), .echo);
    defer model.destroy();
    const socket = try rows.open(model);
    _ = rows.write(model, socket, 0, 10);
    model.turn(null); // it would have waited for as long as that
    const session = try model.connect_out(model.peers.random_peer(null), .succeed, 100 * rows.ms);
    model.kernel.now_ns += 60 * rows.second; // before its operation was submitted
    model.turns(5);
    try expect(session.state == .live or session.state == .lost and session.reason == 0);
    try rows.end(model);
}

test "a deadline of the handler's is told once, when it has come" {
    const model = try rows.start(.{}, .sink);
    defer model.destroy();
    const socket = try rows.open(model);
    const session = rows.session_of(model, socket);
    model.worker.now_ns = model.kernel.now_ns;
    time.set_deadline(model.worker, session, rows.second);
    time.set_deadline(model.worker, session, 2 * rows.second); // moved
    const until = session.until_ns;
    while (model.app.expired == 0) {
        try expect(model.kernel.now_ns < until + 2 * rows.ms);
        model.turn(null);
    }
    try model.expect_sound(); // nor was it told before its time
    time.set_deadline(model.worker, session, rows.second);
    time.set_deadline(model.worker, session, 0); // taken back
    model.run_for(10 * rows.second);
    try expectEqual(1, model.app.expired);
    try expect(session.state == .live);
    try rows.end(model);
}

test "what is not idle because bytes wait is told its deadline all the same, and timed out in time" {
    for ([_]bool{ false, true }) |drains| {
        var options = rows.Options{};
        options.config.write_timeout_ns = rows.second + 50 * rows.ms;
        options.config.idle_timeout_ns = if (drains) 0 else rows.second;
        const model = try rows.start(options, .sink);
        defer model.destroy();
        model.kernel.network.outbound_capacity = 64;
        const socket = try rows.open(model);
        const session = rows.session_of(model, socket);
        const from = model.kernel.now_ns;
        model.worker.now_ns = from;
        model.app.write_pattern(model.worker, session, 1000);
        time.set_deadline(model.worker, session, rows.second + 10 * rows.ms);
        if (drains) model.worker.drain(rows.second);
        while (session.state == .live) model.turn(null);
        try model.expect_sound();
        try expectEqual(1, model.app.expired);
        try expectEqual(timed_out, session.reason);
        try expect(model.kernel.now_ns - from < rows.second + 60 * rows.ms);
        try rows.end(model);
    }
}

test "a connection that its handler is busy for is neither idle nor quiet, until it is through" {
    for ([_]bool{ false, true }) |drains| {
        const model = try rows.start(with_idle(if (drains) 0 else rows.second), .sink);
        defer model.destroy();
        const socket = try rows.open(model);
        const session = rows.session_of(model, socket);
        session.connection.?.flags.busy = true;
        if (drains) model.worker.drain(0);
        model.run_for(5 * rows.second);
        try expect(session.state == .live);
        // Nothing else is called: the worker finds out.
        session.connection.?.flags.busy = false;
        model.run_for(1200 * rows.ms);
        try expect(session.state == .lost);
        try expectEqual(if (drains) 0 else timed_out, session.reason);
        try rows.end(model);
    }
}
