//! What the tests of single faults share: a model on its best day, to which one fault is added.
//! Each test is named after its row of the list of faults, and fails when the rule is broken.

const std = @import("std");
const FakeRing = @import("fake_ring.zig").FakeRing;
const application = @import("model_application.zig");
const model_module = @import("model.zig");
const Socket = @import("fake_network.zig").Socket;

pub const Model = model_module.ModelType(FakeRing);
pub const Options = model_module.Options;
pub const Session = application.Session;
pub const ms = std.time.ns_per_ms;
pub const second = std.time.ns_per_s;

pub fn start(options: Options, mode: application.Mode) !*Model {
    const model = try Model.create(options);
    model.app.mode = mode;
    return model;
}

/// Turns that sleep as long as they like, until every peer is through.
pub fn until_through(model: *Model) !void {
    var left: u32 = 100_000;
    while (model.peers.left > 0) : (left -= 1) {
        model.turn(null);
        try model.expect_sound();
        if (left == 1 or (model.kernel.stuck and model.peers.left > 0)) {
            model.print_left();
            return error.NobodyMoves;
        }
    }
    try std.testing.expectEqual(0, model.failure);
}

/// Every untouched peer sent all it had and got as much.
pub fn expect_echoed(model: *const Model) !void {
    for (model.peers.list.items) |*peer| {
        if (peer.socket.?.taint.any()) continue;
        try std.testing.expectEqual(peer.to_send, peer.sent);
        try std.testing.expectEqual(peer.to_send, peer.received);
    }
}

/// A client without a plan of its own: the test writes and reads for it. Accepted and
/// listened to when it returns.
pub fn open(model: *Model) !*Socket {
    const socket = model.kernel.network.connect(model.listeners[0]).?;
    model.kernel.settle();
    for (0..20) |_| {
        model.turn(ms);
        if (model.app.find(socket) == null) continue;
        model.turn(0); // the receive is armed in the turn that follows
        return socket;
    }
    return error.NotAccepted;
}

pub fn session_of(model: *const Model, socket: *const Socket) *Session {
    return model.app.find(socket).?;
}

/// The next bytes of the socket's stream; how many went in.
pub fn write(model: *Model, socket: *Socket, position: u64, count: usize) usize {
    var buffer: [1024]u8 = undefined;
    const bytes = buffer[0..@min(count, buffer.len)];
    for (bytes, 0..) |*byte, i| byte.* = application.pattern(socket.id, position + i);
    defer model.kernel.settle();
    return model.kernel.network.peer_write(socket, bytes);
}

/// What has come for the client, checked; how much it is.
pub fn read(model: *Model, socket: *Socket) usize {
    var buffer: [4096]u8 = undefined;
    defer model.kernel.settle();
    const count = model.kernel.network.peer_read(socket, &buffer);
    for (buffer[0..count], 0..) |byte, i| {
        if (byte == application.pattern(socket.id, socket.peer_got + i)) continue;
        model.kernel.violated("a peer got another's bytes, or out of order", socket.id);
        break;
    }
    socket.peer_got += count;
    return count;
}

/// Ends the worker and expects nothing left and nothing wrong.
pub fn end(model: *Model) !void {
    model.finish();
    try model.expect_sound();
}
