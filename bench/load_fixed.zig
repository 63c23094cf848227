//! The fixed load's bytes: one request again and again, and the reply that each must bring.
//! Owns both texts, read from standard input, the reply behind the request. Knows nothing of HTTP.

const std = @import("std");
const linux = std.os.linux;
const load = @import("load.zig");
const net = @import("net.zig");

/// Stands in the reply for a byte that may be anything: the date's.
const any: u8 = 0;

pub const Fixed = struct {
    /// The request, repeated as often as fits, so that several are sent in one piece.
    requests: []const u8,
    reply: []const u8,

    /// What is sent from `offset` on, `len` bytes at most.
    pub fn piece(fixed: *const Fixed, offset: u64, len: u64) []const u8 {
        const rest = fixed.requests[@intCast(offset % fixed.requests.len)..];
        return rest[0..@intCast(@min(len, rest.len))];
    }

    /// Whether `bytes` stand at `offset` of the replies.
    pub fn is_right(fixed: *const Fixed, offset: u64, bytes: []const u8) bool {
        var at: usize = @intCast(offset % fixed.reply.len);
        for (bytes) |byte| {
            if (byte != fixed.reply[at] and fixed.reply[at] != any) return false;
            at += 1;
            if (at == fixed.reply.len) at = 0;
        }
        return true;
    }
};

var storage: Fixed = undefined;

/// Reads `size` bytes of request and `reply` bytes of reply from standard input.
pub fn read(options: *const load.Options) *const Fixed {
    if (options.size > net.piece_max) net.die("--size: {d} at most", .{net.piece_max});
    const text = net.allocate(u8, @as(usize, options.size) + options.reply);
    var filled: usize = 0;
    while (filled < text.len) {
        const count = net.must(linux.read(0, text[filled..].ptr, text.len - filled), "read");
        if (count == 0) net.die("standard input ended early", .{});
        filled += count;
    }
    const times = net.piece_max / options.size;
    const requests = net.allocate(u8, times * options.size);
    for (0..times) |index| @memcpy(requests[index * options.size ..][0..options.size], text[0..options.size]);
    storage = .{ .requests = requests, .reply = text[options.size..] };
    return &storage;
}
