//! Receiving in bulk (bulk.zig), on the model kernel: when a connection begins and stops to, and
//! what pauses, cancels, ends and false reports do to it. Owns no state: rows.zig makes the model.

const std = @import("std");
const bulk = @import("../bulk.zig");
const rows = @import("rows.zig");
const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;

fn start(options: rows.Options, mode: @FieldType(rows.Session, "mode")) !*rows.Model {
    const model = try rows.start(options, mode);
    model.app.block_chance = 1000;
    model.kernel.network.inbound_capacity = 1 << 16;
    return model;
}

/// Puts bytes into the socket, all of them before the worker's next turn.
fn pour(model: *rows.Model, socket: anytype, sent: *u64, count: usize) !void {
    const until = sent.* + count;
    while (sent.* < until) {
        const went = rows.write(model, socket, sent.*, until - sent.*);
        try expect(went > 0);
        sent.* += went;
    }
}

fn take_all(model: *rows.Model, session: *const rows.Session, sent: u64) !void {
    for (0..1000) |_| {
        if (session.received == sent) return;
        model.turn(rows.ms);
        try model.expect_sound();
    }
    return error.BytesAreMissing;
}

const tiers = [_]rows.Options{
    .{}, // multishot
    .{ .config = .{ .multishot_recv = 0, .max_connections = 8, .buffer_count = 8, .buffer_size = 512 } },
    .{ .config = .{ .provided_buffers = 0, .multishot_recv = 0, .max_connections = 8, .buffer_size = 512 } },
};

test "many bytes come in blocks, few do not, and between two receives nobody has a block" {
    for (tiers) |options| {
        const model = try start(options, .sink);
        defer model.destroy();
        const socket = try rows.open(model);
        const session = rows.session_of(model, socket);
        const connection = session.connection.?;
        var sent: u64 = 0;
        for (0..20) |_| { // exactly a buffer's worth is not many
            try pour(model, socket, &sent, 512);
            try take_all(model, session, sent);
        }
        try expectEqual(0, model.kernel.counts.blocks);
        try pour(model, socket, &sent, 40_000);
        try take_all(model, session, sent);
        model.turn(0);
        try expect(model.kernel.counts.blocks >= 10 and connection.flags.bulk);
        try expect(connection.flags.awaits_bytes and connection.target == null);
        try expectEqual(0, model.app.owners.out);
        for (0..bulk.shorts_max) |_| { // the model's blocks are short by themselves at times
            try pour(model, socket, &sent, 10);
            try take_all(model, session, sent);
            model.turn(0);
        }
        try expect(!connection.flags.bulk and !connection.flags.awaits_bytes);
        const before = model.kernel.counts.blocks;
        try pour(model, socket, &sent, 10);
        try take_all(model, session, sent);
        try expectEqual(before, model.kernel.counts.blocks);
        try rows.end(model);
    }
}

test "who has no block for a connection is asked once" {
    const model = try start(.{}, .sink);
    defer model.destroy();
    model.app.block_chance = 0;
    const socket = try rows.open(model);
    const session = rows.session_of(model, socket);
    var sent: u64 = 0;
    for (0..10) |_| {
        try pour(model, socket, &sent, 40_000);
        try take_all(model, session, sent);
    }
    try expect(session.connection.?.flags.no_bulk);
    try expectEqual(1, model.kernel.counts.polls);
    try expectEqual(0, model.kernel.counts.blocks);
    try rows.end(model);
}

test "test_f62 who changes its way to receive after the clock has jumped has not been idle" {
    var options = tiers[0];
    options.config.idle_timeout_ns = 10 * rows.second;
    const model = try start(options, .sink);
    defer model.destroy();
    const socket = try rows.open(model);
    const session = rows.session_of(model, socket);
    var sent: u64 = 0;
    try pour(model, socket, &sent, 20_000);
    try take_all(model, session, sent);
    model.turn(0);
    try expect(session.connection.?.flags.awaits_bytes);
    model.app.block_chance = 0;
    model.kernel.now_ns += 60 * rows.second;
    try pour(model, socket, &sent, 100);
    try take_all(model, session, sent);
    try expect(session.state == .live);
    try rows.end(model);
}

test "test_f33 an application that pauses in bulk holds nothing" {
    const model = try start(.{}, .sink);
    defer model.destroy();
    const socket = try rows.open(model);
    const session = rows.session_of(model, socket);
    const connection = session.connection.?;
    var sent: u64 = 0;
    try pour(model, socket, &sent, 20_000);
    try take_all(model, session, sent);
    model.turn(0);
    try expect(connection.flags.awaits_bytes);
    connection.flags.paused = true; // between two turns, with the wait in flight
    model.worker.mark_dirty(connection);
    const received = sent;
    try pour(model, socket, &sent, 20_000);
    for (0..20) |_| model.turn(rows.ms);
    try expectEqual(received, session.received);
    try expectEqual(0, connection.held_bytes);
    try expect(connection.receive == .none);
    connection.flags.paused = false;
    model.worker.mark_dirty(connection);
    try take_all(model, session, sent);
    try rows.end(model);
}

test "test_f32 bytes in bulk keep their order, through changes of manner, pauses and cancels" {
    var blocks: u64 = 0;
    for (0..20) |seed| {
        var options = tiers[seed % tiers.len];
        options.seed = seed;
        options.config.max_connections = 16;
        options.config.buffer_size = 128;
        const model = try start(options, .echo);
        defer model.destroy();
        model.kernel.faults = .{ .short_receive = 300, .delay = 200, .late_bytes = 700, .cancel_already = 300, .end_multishot = 200, .cancel_missed = 200 };
        model.app.pause_chance = 100;
        model.app.pause_longest_ns = 200_000;
        for (0..8) |_| _ = model.client(.half_close, 20_000);
        try rows.until_through(model);
        try rows.expect_echoed(model);
        blocks += model.kernel.counts.blocks;
        try rows.end(model);
    }
    try expect(blocks > 100);
}

test "test_f63 what is reported and is no bytes ends receiving in bulk, and is not looked for again" {
    const model = try start(.{}, .sink);
    defer model.destroy();
    const socket = try rows.open(model);
    const session = rows.session_of(model, socket);
    var sent: u64 = 0;
    try pour(model, socket, &sent, 20_000);
    model.kernel.faults.poll_early = 1000; // like an error queue that nobody reads
    try take_all(model, session, sent);
    for (0..20) |_| model.turn(rows.ms);
    const before = model.kernel.counts.polls;
    for (0..20) |_| model.turn(rows.ms);
    try expectEqual(before, model.kernel.counts.polls);
    try expect(!session.connection.?.flags.bulk and session.connection.?.receive == .armed);
    try rows.end(model);
}
