//! Faults of sending parts of files, each on the model kernel by itself.
//! Owns no state: rows.zig makes the model.

const std = @import("std");
const closing = @import("../closing.zig");
const kernel = @import("../kernel.zig");
const rows = @import("rows.zig");
const Socket = @import("fake_network.zig").Socket;
const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;

/// A connection whose way out has so much room, and the session behind it.
fn open(model: *rows.Model, room: usize) !struct { *Socket, *rows.Session } {
    model.kernel.network.outbound_capacity = room;
    const socket = try rows.open(model);
    return .{ socket, rows.session_of(model, socket) };
}

/// Bytes, a part of a file, bytes: what a reply with a file looks like.
fn reply(model: *rows.Model, session: *rows.Session, before: u64, count: usize, after: u64) !void {
    model.worker.now_ns = model.kernel.now_ns;
    if (before > 0) model.app.write_pattern(model.worker, session, before);
    try expect(model.app.write_file(model.worker, session, count));
    if (after > 0) model.app.write_pattern(model.worker, session, after);
}

/// Turns, with a client that takes all there is, until it has so much. How much it has.
fn take(model: *rows.Model, socket: *Socket, wanted: u64) !u64 {
    for (0..10_000) |_| {
        while (rows.read(model, socket) > 0) {}
        if (socket.peer_got >= wanted) break;
        model.turn(rows.ms);
        try model.expect_sound();
    }
    return socket.peer_got;
}

test "test_f36 bytes and parts of files keep their order, however short each send is" {
    for (0..20) |seed| {
        const model = try rows.start(.{ .seed = seed, .cq_entries = 16 }, .echo);
        defer model.destroy();
        model.app.file_chance = 500;
        model.kernel.network.outbound_capacity = 100;
        model.kernel.faults = .{
            .short_send = 600,
            .file_again = 200,
            .file_interrupt = 200,
            .poll_early = 200,
            .delay = 300,
            .delay_completion = 300,
        };
        for (0..6) |_| _ = model.client(.half_close, 4000);
        try rows.until_through(model);
        try rows.expect_echoed(model);
        try expect(model.kernel.counts.file_bytes > 4000 and model.kernel.counts.polls > 100);
        try rows.end(model);
    }
}

test "test_f35 a part of a file waits for the send before it, and the bytes behind for the part" {
    const model = try rows.start(.{}, .sink);
    defer model.destroy();
    model.kernel.faults = .{ .delay = 1000, .delay_completion = 1000 };
    const socket, const session = try open(model, 64);
    for (0..40) |i| try reply(model, session, 1 + i, 10 * i + 1, i % 3);
    model.app.finish(model.worker, session);
    try expectEqual(session.written, try take(model, socket, session.written));
    model.turns(100);
    try expectEqual(0, session.reason);
    try rows.end(model);
}

/// How a client goes. A reset is found by the receive in flight too, unless that is late.
const Leaving = enum { closes, resets, resets_unseen, breaks_in_the_call };

fn leave(model: *rows.Model, socket: *Socket, how: Leaving) void {
    switch (how) {
        .closes => model.kernel.network.peer_close(socket),
        .resets => model.kernel.network.peer_reset(socket),
        .resets_unseen => {
            model.kernel.faults.delay = 1000;
            model.kernel.network.peer_reset(socket);
        },
        .breaks_in_the_call => model.kernel.faults.send_error = 1000,
    }
    model.kernel.settle();
}

test "test_f40 a client that leaves at any point of a file harms nobody, flushing or not" {
    for (std.enums.values(Leaving)) |how| for ([_]bool{ false, true }) |closes| for (0..24) |point| {
        const model = try rows.start(.{ .seed = point }, .sink);
        defer model.destroy();
        const socket, const session = try open(model, 256);
        try reply(model, session, 100, 3000, 50);
        if (closes) model.app.finish(model.worker, session);
        // Nothing sent yet; sent and waiting for room; and so on, to the last byte but a few.
        for (0..point) |_| {
            model.turn(rows.ms);
            _ = rows.read(model, socket);
        }
        const done = socket.peer_got == session.written;
        leave(model, socket, how);
        if (how == .breaks_in_the_call) while (rows.read(model, socket) > 0) {};
        model.turns(200);
        if (closes or !done) try expect(session.state == .lost);
        if (!done and closes and how != .resets_unseen) {
            const reason: kernel.E = @enumFromInt(session.reason);
            const injected = std.mem.indexOfScalar(i32, &socket.errnos, session.reason) != null;
            try expect(reason == .PIPE or reason == .CONNRESET or injected or socket.peer_got + 256 >= session.written);
        }
        if (session.state == .lost) try expectEqual(0, model.app.owners.out);
        model.kernel.faults = .{};
        try rows.end(model);
    };
}

test "a file that has become shorter than promised ends the connection, and nothing follows its bytes" {
    for ([_]bool{ false, true }) |closes| for ([_]u64{ 0, 1, 400, 2999 }) |length| {
        const model = try rows.start(.{}, .sink);
        defer model.destroy();
        const socket, const session = try open(model, 256);
        try reply(model, session, 10, 3000, 20);
        const file = session.connection.?.queue_first.?.next.?.file;
        model.kernel.files.truncate(file, 10 + length);
        if (closes) model.app.finish(model.worker, session);
        for (0..200) |_| {
            while (rows.read(model, socket) > 0) {}
            model.turn(rows.ms);
        }
        try expectEqual(10 + length, socket.peer_got);
        try expect(session.state == .lost and socket.closed);
        try expectEqual(@intFromEnum(kernel.E.NODATA), session.reason);
        try expectEqual(0, model.app.owners.out);
        try rows.end(model);
    };
}

test "a file that cannot be read ends the connection with the errno" {
    const model = try rows.start(.{}, .sink);
    defer model.destroy();
    const socket, const session = try open(model, 256);
    model.kernel.faults.file_error = 1000;
    try reply(model, session, 10, 3000, 20);
    model.turns(20);
    try expect(session.reason != 0);
    try expectEqual(socket.errnos[0], session.reason);
    try rows.end(model);
}

test "nothing is sent any more when the application aborts on hearing that its queue is short" {
    var options = rows.Options{};
    options.config.write_high_water = 1000;
    options.config.write_low_water = 500;
    for ([_]@FieldType(rows.Session, "mode"){ .abort_after, .close_after }) |mode| {
        const model = try rows.start(options, mode);
        defer model.destroy();
        const socket, const session = try open(model, 100_000);
        try reply(model, session, 0, 10_000, 0);
        try reply(model, session, 0, 100, 0);
        model.turns(20);
        const sent: u64 = if (mode == .abort_after) 10_000 else 10_100;
        try expectEqual(sent, try take(model, socket, sent));
        try expect(session.state == .lost and socket.outbound.length() == 0);
        try rows.end(model);
    }
}

test "test_f38 an abort while waiting for room cancels that first, and closes then, whatever is late" {
    for (0..20) |seed| {
        const model = try rows.start(.{ .seed = seed }, .sink);
        defer model.destroy();
        const socket, const session = try open(model, 256);
        try reply(model, session, 0, 3000, 20);
        model.turns(5);
        const connection = session.connection.?;
        try expect(connection.send == .armed and connection.flags.polling);
        model.kernel.faults = .{ .delay = 300, .delay_completion = 500, .late_bytes = 800, .cancel_already = 500 };
        if (seed % 4 == 0) {
            // Room comes in the same turn: the poll ends by itself, its cancel finds nothing.
            _ = rows.read(model, socket);
        }
        socket.taint.aborted = true;
        closing.abort(model.worker, connection, 0);
        model.turns(2);
        try expect(session.state == .lost);
        try expect(socket.closed == (connection.phase == .free));
        for (0..1000) |_| if (!socket.closed) model.turn(rows.ms);
        try expect(socket.closed);
        try expectEqual(0, model.app.owners.out);
        try rows.end(model);
    }
}

test "test_f39 slots of clients that left in a file are taken again, and nobody gets another's bytes" {
    for (0..12) |seed| {
        const model = try rows.start(.{ .seed = seed, .cq_entries = 16, .config = .{
            .ring_entries = 4,
            .max_connections = 3,
            .buffer_count = 4,
            .buffer_size = 64,
        } }, .abort_after);
        defer model.destroy();
        model.app.limit_most = 300;
        model.app.file_chance = 700;
        model.kernel.network.outbound_capacity = 64;
        model.kernel.faults = .{ .short_submit = 500, .refuse_enter = 200, .delay_completion = 300, .late_bytes = 500, .cancel_already = 300 };
        for (0..60) |_| _ = model.client(.wait_for_echo, 300);
        model.peers.calm = true;
        try rows.until_through(model);
        try expect(model.kernel.counts.file_sends > 0);
        try rows.end(model);
    }
}

test "test_f37 a peer that takes nothing of a file is timed out, also when it is told to have room" {
    for ([_]u16{ 0, 1000 }) |early| {
        var options = rows.Options{};
        options.config.write_timeout_ns = rows.second;
        const model = try rows.start(options, .sink);
        defer model.destroy();
        const socket, const session = try open(model, 256);
        try reply(model, session, 0, 100_000, 0);
        // Slow is not stuck.
        for (0..8) |_| {
            model.run_for(500 * rows.ms);
            try expectEqual(256, rows.read(model, socket));
        }
        model.kernel.faults = .{ .poll_early = early, .delay = early };
        model.turns(2);
        const from = model.kernel.now_ns;
        while (session.state == .live and model.kernel.now_ns < from + 5 * rows.second) model.turn(null);
        const waited = model.kernel.now_ns - from;
        try expect(early == 0 or model.kernel.counts.polls > 20);
        try expect(waited > 900 * rows.ms and waited < 1100 * rows.ms);
        try expectEqual(@intFromEnum(kernel.E.TIMEDOUT), session.reason);
        model.kernel.faults = .{};
        try rows.end(model);
    }
}

test "a drain waits for a file, as long as its client takes some" {
    const model = try rows.start(.{}, .sink);
    defer model.destroy();
    const socket, const session = try open(model, 256);
    try reply(model, session, 10, 10_000, 10);
    model.turns(3);
    model.worker.drain(10 * rows.ms);
    while (socket.peer_got < session.written) {
        model.run_for(50 * rows.ms);
        try model.expect_sound();
        try expect(session.state == .live and !model.state.drained);
        _ = rows.read(model, socket);
    }
    model.run_for(500 * rows.ms);
    try expect(session.state == .lost and socket.shut);
    try expectEqual(0, session.reason);
    try rows.end(model);
}

/// What send.zig gives a file in one go.
const part_most = 1 << 20;

test "deadlines are kept beside a file that a slow disk holds up in every turn" {
    const model = try rows.start(.{}, .sink);
    defer model.destroy();
    const idle = try rows.open(model);
    const idle_session = rows.session_of(model, idle);
    const size = 64 * part_most;
    const socket, const session = try open(model, size);
    try reply(model, session, 0, size, 0);
    model.kernel.files.call_ns = 60 * rows.ms;
    model.worker.drain(10 * rows.ms);
    model.turns(10);
    try expect(idle_session.state == .lost and session.state == .live);
    try expect(socket.outbound.length() > 0 and model.kernel.counts.file_bytes < size);
    try rows.end(model);
}

test "a file that went into the socket whole leaves nothing to wait for" {
    const model = try rows.start(.{}, .sink);
    defer model.destroy();
    const socket, const session = try open(model, part_most);
    try reply(model, session, 0, part_most, 0);
    model.app.finish(model.worker, session);
    model.turns(5);
    // Nobody has read a byte, and yet the end is said.
    try expect(session.state == .lost and socket.shut);
    try expectEqual(0, model.kernel.counts.polls);
    try expectEqual(part_most, try take(model, socket, part_most));
    try rows.end(model);
}

test "a socket that takes all it is given is not asked for room, and a turn gives it one part" {
    for ([_]usize{ 0, 1, part_most - 1 }) |rest| {
        const model = try rows.start(.{}, .sink);
        defer model.destroy();
        const size = 4 * part_most + rest;
        const socket, const session = try open(model, 2 * size);
        try reply(model, session, 0, size, 0);
        model.app.finish(model.worker, session);
        for (1..5) |turn| {
            model.turn(rows.second);
            try expectEqual(turn * part_most, model.kernel.counts.file_bytes);
        }
        model.turns(3);
        try expect(socket.shut);
        try expectEqual(size, try take(model, socket, size));
        try expectEqual(4 + @as(u64, @intFromBool(rest > 0)), model.kernel.counts.file_sends);
        try expectEqual(0, model.kernel.counts.polls);
        try rows.end(model);
    }
}

test "a socket that took less than it was given is full: it is asked for room, not tried again" {
    const model = try rows.start(.{}, .sink);
    defer model.destroy();
    const socket, const session = try open(model, 256);
    try reply(model, session, 0, 3000, 0);
    try expectEqual(3000, try take(model, socket, 3000));
    try expectEqual(12, model.kernel.counts.file_sends);
    try expectEqual(11, model.kernel.counts.polls);
    try rows.end(model);
}

test "test_f37 a file in the queue takes no memory: the marks that guard it are not about files" {
    var options = rows.Options{};
    options.config.send_queue_pause = 500;
    options.config.send_queue_limit = 1000;
    const model = try rows.start(options, .sink);
    defer model.destroy();
    const socket, const session = try open(model, 256);
    try reply(model, session, 100, 100_000, 300);
    const connection = session.connection.?;
    // The application waits for it all the same.
    try expect(connection.flags.congested and !connection.flags.choked);
    try expectEqual(400, connection.queued_in_memory());
    _ = try take(model, socket, 50_000);
    try expect(session.state == .live and connection.queued_in_memory() == 300);
    try reply(model, session, 300, 1000, 0);
    try expect(connection.flags.choked);
    try expectEqual(session.written, try take(model, socket, session.written));
    try expect(!connection.flags.choked);
    try expectEqual(600, model.worker.metrics.send_queue_high_water);
    try reply(model, session, 0, 1000, 1001);
    model.turns(10);
    try expectEqual(@intFromEnum(kernel.E.NOBUFS), session.reason);
    try expectEqual(0, model.app.owners.out);
    try rows.end(model);
}

test "test_f61 beside a large file fifty others are answered, and a turn sends a bounded part of it" {
    const model = try rows.start(.{ .cq_entries = 256, .config = .{
        .ring_entries = 64,
        .max_connections = 64,
        .buffer_count = 16,
        .buffer_size = 512,
    } }, .sink);
    defer model.destroy();
    const size = 6 * part_most + 1;
    const hose, const session = try open(model, 2 * size);
    model.kernel.network.outbound_capacity = 4096;
    model.app.mode = .echo;
    var others: [50]*Socket = undefined;
    for (&others) |*socket| socket.* = try rows.open(model);
    try reply(model, session, 0, size, 0);
    var round: usize = 0;
    while (hose.peer_got < size) : (round += 1) {
        for (others) |socket| try expectEqual(32, rows.write(model, socket, round * 32, 32));
        var answered: usize = 0;
        var turns: u32 = 0;
        while (answered < others.len) : (turns += 1) {
            const before = model.kernel.counts.file_bytes;
            model.turn(rows.ms);
            try expect(model.kernel.counts.file_bytes - before <= part_most);
            while (rows.read(model, hose) > 0) {}
            for (others) |socket| answered += @intFromBool(rows.read(model, socket) == 32);
            try expect(turns < 20);
        }
        try expect(round < 20);
    }
    try expect(round >= 2);
    try rows.end(model);
}

test "room that is told of again and again, and takes nothing, does not put off the write timeout" {
    var options = rows.Options{};
    options.config.write_timeout_ns = rows.second;
    const model = try rows.start(options, .sink);
    defer model.destroy();
    const socket, const session = try open(model, 256);
    try reply(model, session, 10, 3000, 20);
    model.kernel.faults.poll_early = 1000;
    model.turns(6);
    try expect(session.state == .live);
    model.kernel.jump(2 * rows.second);
    model.turns(4);
    try expect(session.state == .lost and socket.peer_got == 0);
    try expectEqual(@intFromEnum(kernel.E.TIMEDOUT), session.reason);
    try rows.end(model);
}
