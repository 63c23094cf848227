//! The fixed load's bytes: one request again and again, and the reply that each must bring.
//! Owns both texts, read from standard input, the reply behind the request. Knows nothing of HTTP.

const std = @import("std");
const linux = std.os.linux;
const load = @import("load.zig");
const net = @import("net.zig");

pub const Fixed = struct {
    /// The request, repeated as often as fits, so that several are sent in one piece.
    requests: []const u8,
    reply: []const u8,
    /// From here to before there the reply may be anything: its date.
    vary_from: usize,
    vary_to: usize,

    /// What is sent from `offset` on, `len` bytes at most.
    pub fn piece(fixed: *const Fixed, offset: u64, len: u64) []const u8 {
        const rest = fixed.requests[@intCast(offset % fixed.requests.len)..];
        return rest[0..@intCast(@min(len, rest.len))];
    }

    /// Whether `bytes` stand at `offset` of the replies.
    pub fn is_right(fixed: *const Fixed, offset: u64, bytes: []const u8) bool {
        var at: usize = @intCast(offset % fixed.reply.len);
        var rest = bytes;
        while (rest.len > 0) {
            const varies = at >= fixed.vary_from and at < fixed.vary_to;
            const end = if (varies) fixed.vary_to else if (at < fixed.vary_from) fixed.vary_from else fixed.reply.len;
            const len = @min(rest.len, end - at);
            if (!varies and !std.mem.eql(u8, fixed.reply[at..][0..len], rest[0..len])) return false;
            rest = rest[len..];
            at = if (at + len == fixed.reply.len) 0 else at + len;
        }
        return true;
    }
};

var storage: Fixed = undefined;

/// Reads `size` bytes of request and `reply` bytes of reply from standard input.
pub fn read(options: *const load.Options) *const Fixed {
    if (options.vary_from > options.vary_to or options.vary_to > options.reply) net.die("--vary-to?", .{});
    const text = net.allocate(u8, @as(usize, options.size) + options.reply);
    var filled: usize = 0;
    while (filled < text.len) {
        const count = net.must(linux.read(0, text[filled..].ptr, text.len - filled), "read");
        if (count == 0) net.die("standard input ended early", .{});
        filled += count;
    }
    const times = @max(1, net.piece_max / options.size);
    const requests = net.allocate(u8, times * options.size);
    for (0..times) |index| @memcpy(requests[index * options.size ..][0..options.size], text[0..options.size]);
    storage = .{
        .requests = requests,
        .reply = text[options.size..],
        .vary_from = options.vary_from,
        .vary_to = options.vary_to,
    };
    return &storage;
}
