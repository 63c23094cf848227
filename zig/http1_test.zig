//! HTTP/1.1: the parser's tests, every request whole, cut in two at every byte, and byte by byte.
//! tests/http_cases.py has the table of cases; here are the rules' edges and what the parser reports.

const std = @import("std");
const http1 = @import("http1.zig");
const Drive = @import("http1_drive.zig").Drive;
const Verdict = @import("http1_drive.zig").Verdict;
const testing = std.testing;

test {
    _ = @import("http1_scan.zig");
    _ = @import("http1_target.zig");
    _ = @import("http1_fields.zig");
    _ = @import("http1_body.zig");
    _ = @import("http1_invariants.zig");
}

/// Feed in all three manners, which must agree.
fn feed(drive: *Drive, input: []const u8) !Verdict {
    const whole = drive.run(input, .whole);
    for (0..input.len) |index| {
        try testing.expectEqualDeep(whole, drive.run(input, .{ .at = index }));
    }
    try testing.expectEqualDeep(whole, drive.run(input, .bytes));
    return whole;
}

fn expect(reason: ?http1.Reason, input: []const u8) !void {
    var drive: Drive = .{};
    return expect_with(&drive, reason, input);
}

fn expect_with(drive: *Drive, reason: ?http1.Reason, input: []const u8) !void {
    errdefer std.debug.print("input: {f}\n", .{std.ascii.hexEscape(input, .lower)});
    const verdict = try feed(drive, input);
    try testing.expectEqual(reason, verdict.reason);
    try testing.expectEqual(if (reason) |given| given.status() else 0, verdict.status);
}

const host = "Host: a\r\n";

test "http1 a plain request" {
    try expect(null, "GET / HTTP/1.1\r\nHost: localhost:8000\r\n\r\n");
    try expect(null, "POST /a?b=c HTTP/1.1\r\n" ++ host ++ "Content-Length: 3\r\n\r\nabc");
    const chunked = "POST / HTTP/1.1\r\n" ++ host ++ "Transfer-Encoding: chunked\r\n\r\n";
    try expect(null, chunked ++ "3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nX: y\r\n\r\n");
    try expect(.bare_lf, "GET / HTTP/1.1\n" ++ host ++ "\r\n");
    try expect(.length_with_coding, "POST / HTTP/1.1\r\n" ++ host ++
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
}
