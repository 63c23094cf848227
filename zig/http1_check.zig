//! HTTP/1.1, for tests only: lets tests/test_http1.py put requests to the parser without a server.
//! Reads records on stdin until it ends, prints one line each: STATUS REASON CONSUMED BODY_LEN BODY_HASH.
//! A record is its length and a manner of feeding, both u32 in little-endian, then the request.
//! STATUS is 0 for accepted, 1 for incomplete; with `every`, DIFFERS and the index when cuts disagree.

const std = @import("std");
const linux = std.os.linux;
const Drive = @import("http1_drive.zig").Drive;
const Verdict = @import("http1_drive.zig").Verdict;

/// Without traces, which take most of the time that compiling this takes.
pub const panic = std.debug.simple_panic;

/// Cut in two before the index, where it is none of these.
const whole = 0xffff_ffff;
const bytes = 0xffff_fffe;
/// Whole, byte by byte, and at every index; prints the common verdict.
const every = 0xffff_fffd;

const request_max = 1 << 22;

var request: [request_max]u8 = undefined;
var drive: Drive = .{};

pub fn main(init: std.process.Init.Minimal) !u8 {
    var args = init.args.iterate();
    _ = args.skip();
    drive.limits.body = 1 << 20;
    // NAME VALUE pairs set limits.
    while (args.next()) |name| {
        const value = try std.fmt.parseInt(u64, args.next() orelse return 2, 10);
        inline for (std.meta.fields(@TypeOf(drive.limits))) |field| {
            if (std.mem.eql(u8, field.name, name)) {
                @field(drive.limits, field.name) = @intCast(value);
            }
        }
    }
    var head: [8]u8 = undefined;
    while (read_full(&head)) {
        const length = std.mem.readInt(u32, head[0..4], .little);
        const manner = std.mem.readInt(u32, head[4..8], .little);
        if (length > request_max or !read_full(request[0..length])) return 2;
        answer(request[0..length], manner);
    }
    return 0;
}

fn answer(input: []const u8, manner: u32) void {
    const verdict = switch (manner) {
        whole, every => drive.run(input, .whole),
        bytes => drive.run(input, .bytes),
        else => |index| drive.run(input, .{ .at = index }),
    };
    if (manner == every) {
        if (!std.meta.eql(verdict, drive.run(input, .bytes))) return print("DIFFERS bytes\n", .{});
        for (1..@max(1, input.len)) |index| {
            if (std.meta.eql(verdict, drive.run(input, .{ .at = index }))) continue;
            return print("DIFFERS {d}\n", .{index});
        }
    }
    const reason = if (verdict.reason) |given| @tagName(given) else "-";
    print("{d} {s} {d} {d} {x}\n", .{
        verdict.status, reason, verdict.consumed, verdict.body_len, verdict.body_hash,
    });
}

fn print(comptime format: []const u8, arguments: anytype) void {
    var buffer: [256]u8 = undefined;
    const text = std.fmt.bufPrint(&buffer, format, arguments) catch unreachable;
    _ = linux.write(1, text.ptr, text.len);
}

fn read_full(buffer: []u8) bool {
    var at: usize = 0;
    while (at < buffer.len) {
        const got = linux.read(0, buffer.ptr + at, buffer.len - at);
        if (got == 0 or got > buffer.len - at) return false;
        at += got;
    }
    return true;
}
