//! What the worker writes into user_data: operation · generation · slot, in one u64.
//! A completion is matched by all three, so that one which belongs to a slot's former owner is
//! told apart from the new owner's (F12).

const std = @import("std");

pub const Operation = enum(u8) {
    wakeup,
    accept,
    cancel_accept,
    connect,
    receive,
    send,
    cancel,
    shutdown,
    close,
    _,
};

pub const Token = packed struct(u64) {
    slot: u24,
    generation: u32,
    operation: Operation,

    pub fn init(operation: Operation, slot: u32, generation: u32) Token {
        return .{ .slot = @intCast(slot), .generation = generation, .operation = operation };
    }

    pub fn to_user_data(self: Token) u64 {
        return @bitCast(self);
    }

    pub fn from_user_data(user_data: u64) Token {
        return @bitCast(user_data);
    }
};

/// Slots that a token can name.
pub const slots_max = std.math.maxInt(u24);

test "a token survives user_data" {
    const token = Token.init(.send, slots_max, 0xdeadbeef);
    try std.testing.expectEqual(token, Token.from_user_data(token.to_user_data()));
    try std.testing.expect(Token.init(.send, 1, 1).to_user_data() !=
        Token.init(.send, 1, 2).to_user_data());
}
